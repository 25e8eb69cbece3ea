"""Names from disks: whatever bytes they are, they are shown on one line, stored as UTF-8, and read back the same."""

from __future__ import annotations

import json
import os
import re
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel

import twofold
from twofold.files import read_json, write_json
from twofold.names import Name, json_text, name_bytes, shown, shown_lines

# What a disk allows: any bytes but a slash and zero; and any text, as JSON may hold it.
on_disk = st.binary(min_size=1, max_size=60).filter(lambda name: not {0, ord("/")} & set(name))
names = on_disk.map(os.fsdecode) | st.text(st.characters())

HARMLESS = ["猫", "مرحبا", "می\u200cخواهم", "👩\u200d🔬", "a b", "a\u00a0b", "naïve", "[red]", "<b>&amp;", ""]


@given(names)
def test_any_name_is_shown_on_one_line_of_harmless_text(name: str) -> None:
    text = shown(name)
    text.encode()
    assert len(text.splitlines()) <= 1
    strange = {sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert strange <= {"\u200c", "\u200d"}
    assert shown(text) == text
    assert shown_lines(f"{name}\n{name}").count("\n") == 2 * name.count("\n") + 1


@pytest.mark.parametrize("name", HARMLESS)
def test_a_name_that_does_no_harm_is_shown_as_it_is(name: str) -> None:
    assert shown(name) == name
    assert json_text(name) == f'"{name}"'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("caf\udce9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("a\tb\r\n", r"a\tb\r\n"),
        ("\x1b[2J\x7f\x85", r"\x1b[2J\x7f\x85"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("a\u2028b\ufeff", r"a\u2028b\ufeff"),
    ],
)
def test_what_may_do_harm_is_shown_as_an_escape(name: str, text: str) -> None:
    assert shown(name) == text


@given(names)
def test_any_name_is_stored_as_harmless_utf8_and_read_back_the_same(name: str) -> None:
    for indent in (None, 2):
        text = json_text({name: [name]}, indent=indent)
        text.encode()
        assert shown_lines(text) == text
        assert json.loads(text) == {name: [name]} or _has_a_pair(name)
    json_text(name, ascii_only=True).encode("ascii")
    assert json.loads(json_text(name, ascii_only=True)) == name or _has_a_pair(name)


def _has_a_pair(name: str) -> bool:
    """Two halves side by side are one character to JSON; bytes from a disk never give the first half."""
    return re.search(r"[\ud800-\udbff][\udc00-\udfff]", name) is not None


@given(on_disk)
def test_the_bytes_of_a_name_are_those_on_disk(name: bytes) -> None:
    assert name_bytes(os.fsdecode(name)) == name


def test_other_halves_have_bytes_too() -> None:
    assert name_bytes("a\ud800") != name_bytes("a\ud801")


@given(on_disk)
def test_a_folder_is_found_by_the_name_that_a_file_holds(name: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "f" + os.fsdecode(name))
        folder.mkdir()
        write_json(Path(root, "name.json"), str(folder))
        assert Path(read_json(Path(root, "name.json"))).is_dir()


# Ways by which a name would go past `twofold.names` and `twofold.terminal`, and the files in which they are right.
PAST = {
    r"ensure_ascii=False": (),
    r"model_dump_json": (),
    r"model_validate_json": ("data/sources/packed.py",),  # of a shard, whose names are as they are shown
    r"shlex\.quote": ("terminal.py",),
    r"sys\.(stdout|stderr)\.write": ("terminal.py",),
    r"class_names: tuple\[str, \.\.\.\] = Field": (),
}


@pytest.mark.parametrize("pattern", PAST)
def test_no_name_goes_another_way(pattern: str) -> None:
    root = Path(twofold.__file__).parent
    found = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if re.search(pattern, path.read_text())}
    assert found <= set(PAST[pattern])


class Model(BaseModel):
    name: Name
    others: tuple[Name, ...] = ()


def test_a_pydantic_field_takes_any_name_and_nothing_else() -> None:
    model = Model(name="caf\udce9\n", others=["\udcff"])  # type: ignore[arg-type]
    assert Model(**json.loads(json_text(model.model_dump()))) == model
    with pytest.raises(ValueError, match="should be a valid string"):
        Model(name=3)  # type: ignore[arg-type]
