"""`twofold VERB …`: finds the verb, runs it, and turns errors into one line and an exit code.

Only the verb's own file is imported, and none of them imports torch before its arguments have been read, so that
help and mistakes are answered at once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

import twofold
from twofold.errors import TwofoldError, check_known
from twofold.terminal import shown_lines

VERBS: dict[str, str] = {
    "train": "train a network, or resume a run",
    "finetune": "go on from trained weights with other images",
    "eval": "measure a run's weights over every image once",
    "predict": "classify images, folders or standard input",
    "augment": "draw what an augmentation policy makes of an image",
    "explain": "draw what a network sees in an image, or what excites one of its channels",
    "report": "write a run's report.html again",
    "runs": "compare runs in a table",
    "ideas": "list the ideas and their two forms",
    "show": "print an idea: formula, source code, fast form, paper",
    "verify": "prove that the two forms of each idea agree",
    "cost": "measure what the readable form costs on this machine",
    "curvature": "measure how the loss bends while a network trains: the edge of stability",
    "claims": "measure what is said of gradients and steps, and compare with theory",
    "race": "compare update rules on a real network: same start, same search, a page",
    "lr-find": "find a learning rate by raising it until the loss bursts",
    "batch-study": "measure what a batch size costs: loss against time",
    "data": "check a folder of images, or pack it to train faster",
    "summary": "print a network layer by layer: shapes, parameters, receptive field",
    "schedule": "draw how the learning rate moves",
    "surface": "watch optimisers walk down a surface",
    "models": "list the networks: parameters, multiply-adds, source",
    "recipes": "list the named recipes",
    "completion": "print a shell completion script",
}

_EXAMPLES = (
    ("twofold train lenet-bn", "train on the embedded images, no network needed"),
    ("twofold train resnet18 --data photos/", "train on a folder with one sub-folder a class"),
    ("twofold predict runs/RUN picture.png", "use what was trained"),
    ("twofold show conv2d", "read how it works, forward and backward"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for work that failed, 2 for wrong use, 128 + n for signal n."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        return _dispatch(arguments)
    except TwofoldError as error:
        if debug:
            raise
        print(f"error: {shown_lines(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        if debug:
            raise
        message = str(interrupt) or "stopped"
        print(f"\n{message}", file=sys.stderr)
        return 128 + getattr(interrupt, "signal_number", signal.SIGINT)
    except BrokenPipeError:
        # Whoever read our output has gone (`twofold runs | head`); pointing stdout elsewhere keeps the exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_help())
        return 0
    if arguments[0] in {"-V", "--version"}:
        print(f"twofold {twofold.__version__}")
        return 0
    verb, *rest = arguments
    check_known("command", verb, VERBS)
    code: int = importlib.import_module(f"twofold.cli.{verb.replace('-', '_')}").run(rest)
    return code


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items())
    wide = max(len(command) for command, _ in _EXAMPLES)
    examples = "\n".join(f"  {command:<{wide}}  {summary}" for command, summary in _EXAMPLES)
    return (
        f"twofold {twofold.__version__}: hands-on deep learning for vision\n\n"
        f"usage: twofold COMMAND [OPTIONS]\n\ncommands:\n{verbs}\n\nexamples:\n{examples}\n\n"
        "twofold COMMAND --help lists a command's options; --debug adds the traceback to an error."
    )


if __name__ == "__main__":
    sys.exit(main())
