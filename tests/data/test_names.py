import subprocess
import sys
from pathlib import Path

import pytest

import twofold.data
from twofold.data import NAMED_DATA, check_data_name, looks_like_path
from twofold.errors import TwofoldError


def test_names_need_nothing_heavy():
    code = (
        "import twofold.data.names, sys; print([m for m in ('torch', 'numpy', 'PIL', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in twofold.data.__all__:
        assert getattr(twofold.data, name).__class__ is not None
        assert name in dir(twofold.data)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        twofold.data.nothing  # noqa: B018


def test_public_names_are_those_of_the_modules_that_define_them():
    for name in twofold.data.__all__:
        value = getattr(twofold.data, name)
        assert getattr(value, "__module__", "twofold.data").startswith("twofold.data")


def test_named_data_are_consistent():
    assert set(NAMED_DATA) == {
        "fashion-mini",
        "fashion-scenes",
        "fashion-mnist",
        "mnist",
        "cifar10",
        "cifar100",
        "svhn",
        "voc2007",
        "voc2012",
        "coco",
    }
    for info in NAMED_DATA.values():
        assert info.class_names is None or len(info.class_names) == info.num_classes
        assert info.channels in (1, 3)
        assert info.licence
        assert info.source
    assert [name for name, info in NAMED_DATA.items() if info.offline] == ["fashion-mini", "fashion-scenes"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("mnist", False), ("./mnist", True), ("photos/train", True), ("/data", True), ("~", True), ("mnst", False)],
)
def test_looks_like_path(text, expected):
    assert looks_like_path(text) is expected


def test_an_existing_folder_is_a_path(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not looks_like_path("photos")
    (tmp_path / "photos").mkdir()
    assert looks_like_path("photos")
    check_data_name("photos")


def test_check_data_name(tmp_path: Path):
    check_data_name("cifar10")
    check_data_name(str(tmp_path))
    with pytest.raises(TwofoldError, match=r"unknown data set 'fashion-mnits'.*did you mean fashion-mnist"):
        check_data_name("fashion-mnits")
    with pytest.raises(TwofoldError, match=r"no such folder: .*/nowhere"):
        check_data_name(str(tmp_path / "nowhere"))
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(TwofoldError, match=r"a\.png is a file, not a folder"):
        check_data_name(str(tmp_path / "a.png"))
