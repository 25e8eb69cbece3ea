from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from twofold.errors import RunError, TwofoldError, nearest
from twofold.files import atomic_path, cache_folder, parse_json, read_json, write_json, write_text


def test_write_replaces_whole_file_and_leaves_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old and long")
    write_text(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_failure_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(KeyError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_keep_is_the_file_that_was_replaced(tmp_path: Path) -> None:
    target, keep = tmp_path / "last", tmp_path / "previous"
    for content in ("1", "2", "3"):
        with atomic_path(target, keep=keep) as temporary:
            temporary.write_text(content)
    assert (target.read_text(), keep.read_text()) == ("3", "2")


def test_os_error_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write .*missing.*a.txt: No such file"):
        write_text(tmp_path / "missing" / "a.txt", "x")


def test_result_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_text(tmp_path / "ours", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_json_round_trip_and_errors(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"名": [1, None, 0.1]})
    assert read_json(target) == {"名": [1, None, 0.1]}
    target.write_text("{")
    with pytest.raises(TwofoldError, match="not valid JSON"):
        read_json(target)
    with pytest.raises(TwofoldError, match="No such file"):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_json_is_read_as_windows_saves_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text('{"é": 1}', encoding=encoding)
    assert read_json(tmp_path / "a.json") == {"é": 1}


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_json_is_nested_a_hundred_levels_deep_at_most(begin: str, end: str) -> None:
    for levels in (100, 101, 900, 100_000):
        text = begin * levels + "0" + end * levels
        if levels == 100:
            assert parse_json(text, source="a.json")
        else:
            with pytest.raises(TwofoldError, match=r"^a\.json is not valid JSON: it is nested too deeply$"):
                parse_json(text, source="a.json")
    wide = "[" + ", ".join(['"[[["', "[]", "{}"] * 200) + "]"
    assert len(parse_json(wide, source="a.json")) == 600


def test_a_number_of_too_many_digits_is_said_in_plain_words() -> None:
    with pytest.raises(TwofoldError, match="a number in it has thousands of digits$"):
        parse_json("9" * 5000, source="a.json")


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("TWOFOLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "twofold"


def test_nearest_lists_all_when_nothing_is_near() -> None:
    assert nearest("lenett", ["lenet", "resnet18"]) == "did you mean lenet?"
    assert nearest("qqq", ["lenet", "resnet18"]) == "known are lenet, resnet18"
