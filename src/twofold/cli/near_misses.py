"""Words of other tools, and what they are called here.

Who comes from another tool types its words first: `fit`, `--learning-rate`, `--optimizer momentum`. Each gets an
answer that names ours. A word is looked up only where a verb does not have it itself. `engine/other_words.py` has those
for the settings of a recipe, which Python takes too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twofold.cli.settings import on_command_line
from twofold.engine.other_words import SETTINGS, unknown_setting
from twofold.errors import near_names


def _by_theirs(words: dict[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, several in words.items() for theirs in several.split()}


# Ours, as it is typed, and other tools' commands for it.
COMMANDS = _by_theirs(
    {
        "train MODEL": "fit training",
        "train --resume RUN": "resume continue",
        "finetune WEIGHTS --data PATH": "fine-tune fine_tune finetuning transfer",
        "eval RUN": "test val validate evaluate evaluation",
        "predict RUN IMAGE": "infer inference classify prediction",
        "lr-find MODEL": "lr_find lrfind find-lr lr-finder tune",
        "explain RUN IMAGE": "gradcam grad-cam visualize interpret",
        "summary MODEL": "info describe",
        "cost NAME": "time timing profile",
        "bench RUN": "benchmark speed latency throughput",
        "export RUN": "onnx to-onnx convert freeze save",
        "serve RUN": "deploy server api host web",
        "models, twofold recipes or twofold runs": "list ls",
        "runs": "compare history",
        "augment IMAGE": "augmentation transforms",
        "data check PATH": "check dataset datasets",
        "data pack PATH": "pack",
    }
)

# The same of options that are no settings of a recipe; theirs stand without dashes.
OPTIONS = _by_theirs(
    {
        "--out": "output output-dir outdir save-dir project logdir log-dir",
        "--figure": "plot save png",
        "--resume": "checkpoint ckpt ckpt-path resume-from",
        "--recipe": "config cfg",
        "--top": "topk top-k",
        "--to-grey": "to-gray grey gray greyscale grayscale",
        "--save-every": "save-freq save-period save-interval save-steps checkpoint-interval",
        "--keep-best": "save-top-k checkpoint-hist save-total-limit",
        "--quiet, which turns progress off": "verbose",
    }
)
# Another tool's option for which ours is an argument without dashes, by the names of our arguments.
_ARGUMENTS = {
    "model": "model arch architecture backbone network",
    "run": "run run-dir run-folder model weights checkpoint ckpt network",
    "weights": "weights checkpoint ckpt pretrained from",
    "paths": "path image images img input source file folder data",
    "image": "path image images img input source file",
}
# How a command that takes arguments without dashes is typed.
_EXAMPLES = {
    "train": "train MODEL",
    "predict": "predict RUN IMAGE",
    "finetune": "finetune WEIGHTS --data PATH",
    "explain": "explain RUN IMAGE",
}
# Another tool's option for which there is none.
_NEEDLESS = {
    **dict.fromkeys(("workers", "num-workers", "nw"), "images are read in this process, by its threads"),
    **dict.fromkeys(("shuffle", "no-shuffle"), "training images are shuffled anew each epoch"),
}


def unknown_option(name: str, known: Collection[str], *, verb: str, arguments: Sequence[str]) -> str:
    """Return the error about an option that a verb does not have.

    Args:
        name: the option, without its dashes.
        known: those that the verb has.
        verb: the command.
        arguments: the verb's arguments without dashes, by the names of their fields.
    """
    for argument in arguments:
        if name == argument or name in _ARGUMENTS.get(argument, "").split():
            usage = _EXAMPLES.get(verb, " ".join([verb, *map(str.upper, arguments)]))
            what = {"model": "the network's name", "run": "the run", "weights": "the weights"}.get(argument, "it")
            return f"--{name} is left out here: {what} stands alone, as in twofold {usage}"
    if name in _NEEDLESS:
        return f"there is no --{name}: {_NEEDLESS[name]}; leave it out"
    ours = OPTIONS.get(name, "")
    if ours and ours.split()[0].strip("-,") in known:
        return f"--{name} is called {ours} here"
    if error := unknown_setting(name.replace("-", "_"), [option.replace("-", "_") for option in known]):
        return error.written(on_command_line)
    by_verb = {other.split()[0]: other for other in COMMANDS.values() if other.split()[-1].isupper()}
    if name not in SETTINGS and (other := by_verb.get(name) or COMMANDS.get(name)) and name != verb:
        return f"there is no option --{name}; a command does that: twofold {other}"
    close = [f"--{option}" for option in near_names(name, known)]
    hint = f": did you mean {' or '.join(close)}?" if close else f"; see twofold {verb} --help"
    return f"there is no option --{name}{hint}"
