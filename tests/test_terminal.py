"""Streams that lack characters, are full, or are closed: the work goes on, or ends in one error."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from twofold.errors import RunError
from twofold.terminal import command, note, print_csv, print_json, print_table, say, short_count, steady_streams

NAME = "caf\udce9 猫 ±\u00a0…"


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")


def written(stream: io.TextIOWrapper) -> str:
    content = stream.buffer
    assert isinstance(content, io.BytesIO)
    return content.getvalue().decode(stream.encoding)


def closed_pipe() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", encoding="utf-8")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("ascii", r"caf\xe9 \u732b +- ..."), ("cp1252", "caf\\xe9 \\u732b ±\u00a0…"), ("utf-8", "caf\\xe9 猫 ±\u00a0…")],
)
def test_what_an_encoding_lacks_is_spelt(encoding: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output, messages = stream(encoding), stream(encoding)
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", messages)
    with steady_streams():
        say(NAME, "2")
        note(NAME)
        print(NAME)
        print_table(("name", ">n"), [(NAME, "1")], title=NAME)
        print_json({NAME: 1})
    assert sys.stdout is output
    assert written(messages) == f"{text}\n"
    lines = written(output).splitlines()
    assert lines[:2] == [f"{text}\t2", text]
    assert lines[2] == text
    assert lines[-2].startswith(text)
    assert json.loads(lines[-1]) == {NAME: 1}


def test_a_table_and_a_line_take_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [("[red]:cat:[/]",), ("a\nb\x1b[2J",)], title="[bold]t\n")
    say("[red]\t", "x")
    lines = [line for line in capsys.readouterr().out.splitlines() if not set(line) <= set("─ ")]
    assert lines == [r"[bold]t\n", "name", "[red]:cat:[/]", r"a\nb\x1b[2J", "[red]\\t\tx"]


def test_a_full_standard_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(RunError, match="^cannot write standard output: No space left on device$"), steady_streams():
            # Held back until the end of the context.
            print("x")
        assert sys.stdout is full


def test_a_reader_that_has_gone_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_pipe() as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(BrokenPipeError), steady_streams():
            say("x")


def test_messages_that_cannot_be_written_are_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    output = stream("utf-8")
    with open("/dev/full", "w", encoding="utf-8") as full, closed_pipe() as pipe:
        monkeypatch.setattr(sys, "stdout", output)
        for messages in (full, pipe):
            monkeypatch.setattr(sys, "stderr", messages)
            with steady_streams():
                note("lost")
                say("kept")
                note("lost")
    assert written(output) == "kept\nkept\n"


def test_closed_streams_take_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with steady_streams():
        note("x")
        say("x")
        print_json({})
        print_table(("a",), [("b",)])
    assert (sys.stdout, sys.stderr) == (None, None)


def test_what_a_stream_has_beside_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with steady_streams():
            assert (sys.stdout.isatty(), sys.stdout.fileno(), sys.stdout.encoding) == (False, file.fileno(), "utf-8")
            sys.stdout.buffer.write(b"bytes")
    assert (tmp_path / "out").read_bytes() == b"bytes"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1 k"),
        (61_706, "61.7 k"),
        (999_499, "999 k"),
        (999_500, "1 M"),
        (11_181_642, "11.2 M"),
        (999_600_000, "1 G"),
        (15_470_264_320, "15.5 G"),
        (10**13, "10,000 G"),
    ],
)
def test_counts_in_short_have_three_digits(count: int, text: str) -> None:
    assert short_count(count) == text


def test_a_note_of_any_length_is_told_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    note("error: " + "x" * 10_000_000 + ": no such file")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: xxx")
    assert line.endswith("xxx: no such file")
    assert len(line) < 25_000


def test_a_command_of_letters_that_the_terminal_lacks_works_when_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("runs/运行 é")
    assert command("predict", path) == "twofold predict 'runs/运行 é'"
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    line = command("predict", path)
    assert line.isascii()
    done = subprocess.run(
        ["bash", "-c", f"printf %s {line.removeprefix('twofold predict ')}"], capture_output=True, check=True
    )
    assert done.stdout.decode() == str(path)


def test_csv_in_a_file_is_utf_8_whatever_the_terminal_spells(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with steady_streams():
        print_csv(["path", "class"], ["照片/1.png", "猫"])
    content = stream.buffer
    assert isinstance(content, io.BytesIO)
    assert content.getvalue().decode() == "path,class\n照片/1.png,猫\n"
