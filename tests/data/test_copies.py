"""Which images are copies of one another, and that what was seen of an image is seen anew when it changes."""

import os
import shutil
from pathlib import Path

import pytest
import torch

import twofold.data.copies
from twofold.data import PackOptions, Part, load_data, pack_folder
from twofold.data.copies import copy_groups
from twofold.data.sources.find import find_data
from twofold.errors import RunError


def part_of(source: Path) -> Part:
    (part,) = find_data(str(source), show_progress=False).splits.values()
    return part


def groups_of(*parts: Part, name: str = "clothes") -> list[int]:
    return copy_groups(parts, name, show_progress=False).tolist()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that are decoded to see what they look like, by their descriptions."""
    seen: list[str] = []
    look = twofold.data.copies._look
    monkeypatch.setattr(
        twofold.data.copies, "_look", lambda part, index: (seen.append(part.describe(index)), look(part, index))[1]
    )
    return seen


def test_copies_are_found_in_parts_of_any_kind(clothes: Path):
    part = part_of(clothes)
    groups = groups_of(part)
    names = [Path(part.describe(index)).name for index in range(len(part))]
    together = {name for name, group in zip(names, groups, strict=True) if group == groups[0]}
    assert together == {names[0], "copy.png", "large.png", "darker.png"}
    assert len(set(groups)) == len(names) - 3
    embedded = load_data("fashion-mini", val_fraction=0.0, show_progress=False).test
    assert groups_of(embedded.select(torch.tensor([5, 6, 5]))) == [0, 1, 0]


def test_an_image_is_looked_at_again_when_it_has_changed(clothes: Path, looked: list[str]):
    first = groups_of(part_of(clothes))
    assert len(looked) == 39
    looked.clear()
    assert groups_of(part_of(clothes)) == first
    assert groups_of(part_of(clothes).select(torch.tensor([3, 0, 12]))) == [0, 1, 1]  # the last is copy.png
    assert looked == []
    large, copy = clothes / "bag" / "large.png", clothes / "bag" / "copy.png"
    before = copy.stat()
    other = sorted((clothes / "shirt").iterdir())[0]
    shutil.copyfile(other, copy)  # another content
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # the same, touched
    again = groups_of(part_of(clothes))
    assert sorted(map(os.path.basename, looked)) == ["copy.png", "large.png"]
    names = [Path(part_of(clothes).describe(index)).name for index in range(39)]
    same_as = {name: again[names.index(name)] for name in ("copy.png", "large.png", other.name)}
    assert same_as["copy.png"] == same_as[other.name] != same_as["large.png"] == again[0]


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: b"x" * 90])
def test_a_damaged_cache_is_as_good_as_none(clothes: Path, looked: list[str], damage, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "cache"))
    first = groups_of(part_of(clothes))
    (cache,) = (tmp_path / "cache" / "copies").iterdir()
    content = cache.read_bytes()
    flipped = bytearray(content)
    flipped[-9] ^= 1
    for broken in (damage(content), bytes(flipped)):
        looked.clear()
        cache.write_bytes(broken)
        assert groups_of(part_of(clothes)) == first
        assert len(looked) == 39
        assert cache.read_bytes() == content


def test_a_cache_that_cannot_be_written_costs_time_alone(clothes: Path, monkeypatch, tmp_path: Path):
    first = groups_of(part_of(clothes))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "file"))
    assert groups_of(part_of(clothes)) == first


def test_packs_and_the_hub_are_remembered_too(clothes: Path, tmp_path: Path, looked: list[str]):
    import datasets

    pack_folder(clothes, tmp_path / "packed", PackOptions(), show_progress=False)
    paths = [str(path) for path in sorted(clothes.rglob("*.png"))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": paths, "label": [number % 2 for number in range(len(paths))]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    parts = [part_of(tmp_path / "packed"), find_data(f"hf:{tmp_path / 'saved'}", show_progress=False).splits["train"]]
    groups = [groups_of(part, name=name) for part, name in zip(parts, ("pack", "hub"), strict=True)]
    assert [len(set(each)) for each in groups] == [36, 36]
    assert len(looked) == 78
    looked.clear()
    assert [groups_of(part, name=name) for part, name in zip(parts, ("pack", "hub"), strict=True)] == groups
    assert looked == []


def test_an_image_that_is_gone_is_named(clothes: Path):
    part = part_of(clothes)
    (clothes / "bag" / "copy.png").unlink()
    with pytest.raises(RunError, match=r"copy\.png: cannot be read"):
        groups_of(part)
