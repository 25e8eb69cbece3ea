"""`twofold VERB …`: finds the verb, runs it, and turns errors into one line and an exit code.

Only the verb's own file is imported, and none of them imports torch before its arguments have been read, so that
help and mistakes are answered at once.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import signal
import sys
from collections.abc import Sequence

import twofold
from twofold.engine.stopping import Attention
from twofold.errors import SettingError, TwofoldError, check_known
from twofold.names import shown
from twofold.terminal import note, steady_streams

_OVERVIEW = """\
train: train      train a network            finetune     adapt a trained one
       lr-find    find a learning rate       race         compare optimizers
       models     list the networks          recipes      list training recipes
use:   predict    classify images            eval         test a run's accuracy
       explain    show what a network sees   report       rewrite a run's report
       runs       compare trained networks   summary      list network layers
ship:  export     write files for others     serve        answer over HTTP
       bench      time all its forms         completion   set up Tab completion
read:  ideas      list the ideas             show         print an idea's code
       verify     prove its two forms equal  cost         time its two forms
watch: surface    watch optimizers descend   schedule     draw learning rates
       curvature  measure loss curvature     batch-study  compare batch sizes
       claims     check gradient theory      lab          touch it in a browser
data:  data       check or pack images       augment      draw augmented images

examples:
  twofold train lenet-bn                  on the embedded images, offline
  twofold train resnet18 --data photos/   on a folder with a sub-folder a class
  twofold predict runs/RUN photo.png      use what was trained
  twofold show conv2d                     read how it works

twofold help COMMAND lists its options; --debug adds the traceback to an error."""

_TABLE = _OVERVIEW.partition("\n\n")[0]
VERBS = tuple(verb for line in _TABLE.splitlines() for verb in re.split(" {2,}", line[7:])[::2])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for work that failed, 2 for wrong use, 128 + n for signal n."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with steady_streams():
            with Attention():
                code = _answer(arguments, debug=debug)
            if argv is None and code > 128:
                # Threads may have work to end: a further Ctrl-C is then the system's, which says nothing.
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                # Python ends by the signal, not by our exit code, if the interrupt came through exec (of a dataclass in
                # a module that was being imported) and no other exec follows.
                exec("")
            return code
    except TwofoldError as error:
        if debug:
            raise
        # Standard output is gone; where standard error is too, only the exit code can tell.
        with contextlib.suppress(OSError):
            note(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone (`twofold runs | head`).
        return 128 + signal.SIGPIPE


def _answer(arguments: list[str], *, debug: bool) -> int:
    try:
        return _dispatch(arguments)
    except TwofoldError as error:
        if debug:
            raise
        lines = error.lines
        if isinstance(error, SettingError):
            from twofold.cli.settings import on_command_line

            lines = (error.written(on_command_line),)
        for number, line in enumerate(lines):
            note(line if number else f"error: {line}")
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        # A name that is too long, a folder that may not be entered: what no command can know beforehand.
        if debug or error.filename is None:
            raise
        note(f"error: {shown(str(error.filename))}: {error.strerror}")
        return 2
    except KeyboardInterrupt as interrupt:
        if debug:
            raise
        # On a terminal, ^C stands in the line already.
        if sys.stderr.isatty():
            note("")
        note(str(interrupt) or "stopped")
        return 128 + getattr(interrupt, "signal_number", signal.SIGINT)


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["help"] and len(arguments) > 1:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(f"twofold {twofold.__version__}: deep learning for vision; every idea as code to read and to run")
        print(f"usage: twofold COMMAND [OPTIONS]\n\n{_OVERVIEW}")
        return 0
    if arguments[0] in {"-V", "--version"}:
        print(f"twofold {twofold.__version__}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        from twofold.cli.near_misses import COMMANDS

        if ours := COMMANDS.get(verb.lower()):
            raise TwofoldError(f"{verb} is called twofold {ours} here")
    check_known("command", verb, VERBS)
    code: int = importlib.import_module(f"twofold.cli.{verb.replace('-', '_')}").run(rest)
    return code


if __name__ == "__main__":
    sys.exit(main())
