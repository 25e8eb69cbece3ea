"""Every verb, where standard output is full, lost its reader, or takes ASCII alone: one line at most, no traceback."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processes import CommandLine
from twofold.cli import models
from twofold.cli.main import VERBS, main
from twofold.engine.stopping import StopRequest
from twofold.models.registry import MODELS
from twofold.serving.server import RunningServer

Arguments = Callable[[str], list[str]]
TRAINING = ("--epochs", "1", "--image-size", "28", "--batch-size", "64", "--precision", "float32")
RACE = ("--seeds", "1", "--trials", "1", "--trial-epochs", "1", "--epochs", "1", "--threads", "1", "--image-size", "28")
LR = ("--steps", "60", "--optimizer", "sgd", "--augment", "none")
# The least that each verb can do; RUN is a run, DATA its folder of images, IMAGE one of them.
LEAST = {
    "train": ("lenet", "--data", "DATA", *TRAINING),
    "finetune": ("RUN", "--data", "DATA", "--epochs", "1", "--precision", "float32"),
    "lr-find": ("lenet-bn", "--data", "DATA", "--image-size", "28", "--batch-size", "16", *LR),
    "race": ("--data", "DATA", "--optimizer", "sgd", "--model", "lenet", *RACE),
    "models": (),
    "recipes": (),
    "predict": ("RUN", "IMAGE"),
    "eval": ("RUN",),
    "explain": ("RUN", "IMAGE"),
    "report": ("RUN",),
    "runs": ("RUN/..",),
    "export": ("RUN",),
    "serve": ("RUN", "--port", "0", "--drain", "0"),
    "bench": ("RUN", "--forms", "onnx", "--seconds", "0.1", "--batch-size", "1", "--quiet"),
    "completion": ("bash",),
    "ideas": (),
    "show": ("relu",),
    "verify": ("relu", "--cases", "1"),
    "cost": ("relu", "--repeats", "1"),
    "summary": ("lenet",),
    "surface": ("parabola", "--steps", "2", "--lr", "0.1"),
    "schedule": ("step",),
    "curvature": ("RUN", "--images", "16"),
    "batch-study": ("--batch-size", "1500", "--quiet"),
    "claims": ("memory",),
    "lab": ("shapes", "--print"),
    "data": ("check", "DATA"),
    "augment": ("IMAGE",),
}
# They write a file, and nothing to standard output.
WRITERS = {"explain", "augment"}


@pytest.fixture
def arguments(run: Path, images: Path, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arguments:
    """Return a function that gives a verb and the least arguments for it; what it writes is written elsewhere."""
    monkeypatch.chdir(tmp_path)
    is_ready = RunningServer.is_ready

    def ended_when_ready(server: RunningServer, *, within: float) -> bool:
        if ready := is_ready(server, within=within):
            monkeypatch.setattr(StopRequest, "received", signal.SIGTERM)
        return ready

    monkeypatch.setattr(RunningServer, "is_ready", ended_when_ready)
    monkeypatch.setattr(models, "MODELS", {name: MODELS[name] for name in ("lenet", "lenet-bn")})
    given = {"RUN": str(run), "RUN/..": str(run.parent), "DATA": str(images), "IMAGE": str(boot)}

    def words(verb: str) -> list[str]:
        return [verb, *(str(given.get(word, word)) for word in LEAST[verb])]

    return words


def code_of(words: list[str]) -> object:
    try:
        return main(words)
    except SystemExit as leaving:
        return leaving.code or 0


def test_every_verb_is_here() -> None:
    assert set(LEAST) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_device_ends_in_one_line(
    verb: str, arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(verb)
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = code_of(words)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    if verb in WRITERS:
        assert (code, lines) == (0, [])
    else:
        assert (code, lines) == (1, ["error: cannot write standard output: No space left on device"])


@pytest.mark.parametrize("verb", VERBS)
def test_ascii_is_enough_for_results_and_messages(
    verb: str, arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = arguments(verb)
    output, messages = (io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", messages)
    assert code_of(words) == 0
    content = output.buffer
    assert isinstance(content, io.BytesIO)
    assert (content.getvalue() == b"") == (verb in WRITERS)
    # Neither a hard space, which a plain one can stand for, nor the escapes of lines and boxes.
    assert b"\\xa0" not in content.getvalue()
    assert b"\\u25" not in content.getvalue()


@pytest.mark.parametrize(
    "verb", ["models", "recipes", "completion", "runs", "ideas", "show", "verify", "summary", "surface"]
)
def test_a_reader_that_has_gone_ends_it_in_silence(
    verb: str, arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(verb)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(words) == 141
    assert "rror" not in capsys.readouterr().err


# Python's own end, which writes what is held back, and says so if it cannot.
@pytest.mark.parametrize(
    ("words", "redirection", "code", "error"),
    [
        (["--help"], "> /dev/full", 1, "error: cannot write standard output: No space left on device\n"),
        (["train", "--help"], "> /dev/full", 1, "error: cannot write standard output: No space left on device\n"),
        (["recipes"], "> /dev/full 2> /dev/full", 1, ""),
        (["recipes", "no"], "2> /dev/full", 2, ""),
        (["show", "conv2d"], "| head -n 1 > /dev/null; exit ${PIPESTATUS[0]}", 141, ""),
        (["recipes"], "2>&1 >&- | cat", 0, ""),
        (["recipes"], ">&- 2>&-", 0, ""),
    ],
)
def test_python_ends_in_silence(words: list[str], redirection: str, code: int, error: str) -> None:
    script = f'"$@" {redirection}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *CommandLine.words(*words)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", error)
