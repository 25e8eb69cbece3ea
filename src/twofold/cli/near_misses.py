"""Words of other tools, and what they are called here.

Who comes from another tool types its words first: `fit`, `--learning-rate`, `--optimizer momentum`. Each gets an
answer that names ours. A word is looked up only where a verb does not have it itself.
"""

from __future__ import annotations

from collections.abc import Collection

from twofold.errors import nearest


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
        "models, twofold recipes or twofold runs": "list ls",
        "runs": "compare history",
        "augment IMAGE": "augmentation transforms",
        "data check PATH": "check dataset datasets",
        "data pack PATH": "pack",
    }
)

# The same of options; theirs stand without dashes.
OPTIONS = _by_theirs(
    {
        "--lr": "learning-rate lr0 base-lr max-lr",
        "--optimizer": "optim opt optimizers optimiser rule rules",
        "--batch-size": "batch bs batchsize sizes train-batch-size",
        "--image-size": "img imgsz img-size size input-size resolution crop-size",
        "--epochs": "num-epochs max-epochs n-epochs nepochs num-train-epochs",
        "--weight-decay": "wd decay l2",
        "--epsilon": "eps adam-epsilon",
        "--beta1 and --beta2": "betas",
        "--augment": "policy aug augmentation auto-augment transforms aa",
        "--schedule": "scheduler lr-scheduler lr-scheduler-type sched",
        "--warmup, a share of the training": "warmup-epochs warmup-ratio warmup-steps",
        "--label-smoothing": "smoothing",
        "--mix mixup or --mix cutmix": "mixup cutmix",
        "--grad-clip": "clip clip-grad max-grad-norm gradient-clip-val",
        "--ema-decay": "ema model-ema model-ema-decay",
        "--accumulate": "accum-iter accumulate-grad-batches gradient-accumulation-steps grad-accum-steps",
        "--patience": "early-stopping early-stop early-stopping-patience",
        "--val-fraction": "val-split validation-split val-size",
        "--precision bfloat16": "amp fp16 bf16 half mixed-precision",
        "--device cuda": "gpu gpus cuda accelerator",
        "--device cpu": "cpu no-cuda",
        "--seed": "random-seed manual-seed",
        "--data": "dataset data-dir data-path dataset-path root source",
        "--out": "output output-dir outdir save-dir project logdir log-dir",
        "--figure": "plot save png",
        "--weights DEFAULT": "pretrained init load-weights",
        "--resume": "checkpoint ckpt ckpt-path resume-from",
        "--recipe": "config cfg",
        "--top": "topk top-k",
        "--quiet, which turns progress off": "verbose",
    }
)
# Another tool's option for which ours is an argument without dashes.
_NETWORK = ("model", "arch", "architecture", "backbone", "network")
# Another tool's option for which there is none.
_NEEDLESS = {
    **dict.fromkeys(("workers", "num-workers", "nw"), "images are read in this process, by its threads"),
    **dict.fromkeys(("shuffle", "no-shuffle"), "training images are shuffled anew each epoch"),
}

# Another tool's value of an option -> ours, as it is typed.
VALUES = {
    ("optimizer", "momentum"): "--optimizer sgd --momentum 0.9 --nesterov False",
    ("optimizer", "nesterov"): "--optimizer sgd --momentum 0.9 --nesterov True",
    ("schedule", "cosine"): "--schedule warmup-cosine",
    ("schedule", "onecycle"): "--schedule one-cycle",
    ("schedule", "multistep"): "--schedule step",
    ("precision", "fp32"): "--precision float32",
    ("precision", "bf16"): "--precision bfloat16",
    ("precision", "fp16"): "--precision bfloat16",
    ("precision", "float16"): "--precision bfloat16",
    ("device", "gpu"): "--device cuda",
    ("device", "0"): "--device cuda",
}


def unknown_option(name: str, known: Collection[str], *, verb: str, model_is_argument: bool) -> str:
    """Return the error about an option that a verb does not have.

    Args:
        name: the option, without its dashes.
        known: those that the verb has.
        verb: the command.
        model_is_argument: whether the verb takes the network's name as an argument without an option.
    """
    ours = OPTIONS.get(name, "")
    if name in _NETWORK and "model" in known:
        return f"--{name} is called --model here"
    if name in _NETWORK and model_is_argument:
        return f"--{name} is left out here: the network's name stands alone, as in twofold train resnet18"
    if name in _NEEDLESS:
        return f"there is no --{name}: {_NEEDLESS[name]}; leave it out"
    if ours and ours.split()[0].strip("-,") in known:
        return f"--{name} is called {ours} here"
    close = nearest(f"--{name}", [f"--{option}" for option in known])
    hint = f": {close}" if close.startswith("did you mean") else f"; see twofold {verb} --help"
    return f"there is no option --{name}{hint}"
