"""Curves for TensorBoard: read back by TensorBoard itself, forgotten where a run begins again, a disk that is full."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from twofold.engine.curves import Curves
from twofold.errors import RunError


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_reads_each_point_as_soon_as_it_is_written(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "curves")
    for step in range(3):
        curves.add({"loss": 0.5 * step, "lr": 2.0}, step)
        assert points(tmp_path / "curves", "loss") == [(past, 0.5 * past) for past in range(step + 1)]
    curves.close()
    assert points(tmp_path / "curves", "lr") == [(0, 2.0), (1, 2.0), (2, 2.0)]


def test_a_resumed_run_forgets_what_was_drawn_after_its_checkpoint(tmp_path: Path) -> None:
    for begin, value in ((0, 1.0), (3, 2.0)):
        curves = Curves(tmp_path, purge_step=begin or None)
        for step in range(begin, begin + 5):
            curves.add({"loss": value}, step)
        curves.close()
    assert points(tmp_path, "loss") == [*((step, 1.0) for step in range(3)), *((step, 2.0) for step in range(3, 8))]


def test_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff a\n\xe9")
    curves = Curves(folder)
    curves.add({"loss": 1.0}, 0)
    curves.close()
    assert next(folder.iterdir()).stat().st_size > 50


def test_what_cannot_be_written_is_an_error_of_one_line_and_no_thread_s(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file.*: "):
        Curves(tmp_path / "file")
    before = threading.active_count()
    curves = Curves(tmp_path / "full")
    assert threading.active_count() == before
    (path,) = (tmp_path / "full").iterdir()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, curves._file.fileno())
    with pytest.raises(RunError, match=rf"cannot write {path}: No space left on device"):
        curves.add({"loss": 1.0}, 0)
    curves.close()
    os.close(full)
