"""Every source answers with the same: what holds for one holds for all."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from data.conftest import save_folder
from twofold.data import (
    ClassTargets,
    Found,
    Images,
    MemoryImages,
    PackOptions,
    Part,
    PixelSpec,
    StreamedImages,
    class_labels,
    find_data,
    open_image,
    pack_folder,
)
from twofold.errors import TwofoldError


def save_table(photos: Path, out: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    datasets.Dataset.from_dict(
        {
            "image": [{"bytes": path.read_bytes(), "path": None} for path in files],
            "label": [path.parent.name for path in files],
        },
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}),
    ).save_to_disk(str(out))


@pytest.fixture(params=["folder", "splits", "packed", "hub", "named"])
def text(request: pytest.FixtureRequest, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a user writes for each source."""
    if request.param == "folder":
        return str(photos)
    if request.param == "splits":
        return str(save_folder(tmp_path / "splits", {"train/cat": 9, "train/dog": 2, "val/cat": 2, "test/dog": 3}))
    if request.param == "packed":
        pack_folder(photos, tmp_path / "packed", PackOptions(), show_progress=False)
        return str(tmp_path / "packed")
    if request.param == "hub":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        save_table(photos, tmp_path / "table")
        return f"hf:{tmp_path / 'table'}"
    return "fashion-mini"


def test_every_source_keeps_the_contract(text: str) -> None:
    found = find_data(text, show_progress=False)
    assert isinstance(found, Found)
    assert found.source == text
    assert found.notes == ()
    assert ("train" in found.splits) != ("all" in found.splits)
    assert find_data(text, show_progress=False).fingerprint == found.fingerprint
    spec = PixelSpec(channels=3, image_size=(16, 20))
    order = torch.tensor([3, 0, 1, 3])
    for part in found.splits.values():
        if len(part) < 4:
            continue
        assert isinstance(part, Part)
        assert len(part) == len(part.targets) == len(class_labels(part.targets))
        images = part.open(spec)
        assert isinstance(images, Images)
        assert isinstance(images, StreamedImages)
        held = images.to_memory(label="", show_progress=False)
        assert isinstance(held, MemoryImages)
        chosen = part.select(order)
        assert torch.equal(chosen.open(spec).load(torch.arange(4)), images.load(order))
        assert torch.equal(held.load(order), images.load(order))
        assert torch.equal(class_labels(chosen.targets), class_labels(part.targets)[order])
        for position, index in enumerate(order.tolist()):
            assert chosen.describe(position) == part.describe(index) == images.describe(index) == held.describe(index)
        ones = ClassTargets(torch.ones(len(part), dtype=torch.int64))
        other = part.with_targets(ones)
        assert other.open(spec).targets.digest() == ones.digest()
        assert other.describe(2) == part.describe(2)
        assert torch.equal(other.open(spec).load(order), images.load(order))


def test_images_at_their_own_size_are_opened_as_they_are() -> None:
    found = find_data("fashion-mini", show_progress=False)
    assert (found.channels, found.image_size) == (1, (28, 28))
    part = found.splits["test"]
    assert part.open(PixelSpec(channels=1, image_size=(28, 28))) is part
    assert not part.open(PixelSpec(channels=1, image_size=(28, 29))).in_memory


def test_the_same_images_are_the_same_from_every_source(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pack_folder(photos, tmp_path / "packed", PackOptions(), show_progress=False)
    save_table(photos, tmp_path / "table")
    texts = (str(photos), str(tmp_path / "packed"), f"hf:{tmp_path / 'table'}")
    folder, packed, table = (find_data(text, show_progress=False) for text in texts)
    assert folder.class_names == packed.class_names == table.class_names == ("cat", "dog")
    assert (folder.channels, folder.median_side) == (packed.channels, packed.median_side) == (3, 12)
    assert (table.channels, table.median_side) == (3, 12)
    parts = (folder.splits["all"], packed.splits["all"], table.splits["train"])
    spec = PixelSpec(channels=3, image_size=(12, 20))
    expected = np.stack([np.asarray(open_image(path)).transpose(2, 0, 1) for path in parts[0].paths])  # type: ignore[attr-defined]
    for part in parts:
        assert class_labels(part.targets).tolist() == [0] * 10 + [1] * 6
        assert np.array_equal(part.open(spec).load(torch.arange(16)).numpy(), expected)


def test_a_name_is_no_path_and_a_path_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_folder(tmp_path / "mnist", {"a": 1, "b": 1})
    assert find_data("./mnist", show_progress=False).class_names == ("a", "b")
    with pytest.raises(TwofoldError, match="unknown data set 'mnits'"):
        find_data("mnits")


def test_a_home_folder_is_found(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photos.parent))
    assert find_data("~/photos", show_progress=False).source == str(photos)
