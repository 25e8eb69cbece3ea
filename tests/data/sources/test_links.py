"""A folder of links: an image in several class folders is one image with several labels, where that is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from several_labels import label_sets
from twofold.data import ClassTargets, Found, LabelSetTargets, find_data, load_data, load_eval_images
from twofold.data.names import check_data_name, plain_name
from twofold.data.sources.pack import PackOptions, pack_folder
from twofold.errors import TwofoldError

SETS = {f"{index:03d}.png": set(labels) for index, labels in enumerate(label_sets(120))}


def names_by_image(found: Found) -> dict[str, set[str]]:
    """The labels that each image was found with."""
    (part,) = found.splits.values()
    assert isinstance(part.targets, LabelSetTargets)
    return {
        Path(part.describe(index)).name: {found.class_names[label] for label in row.nonzero().flatten().tolist()}
        for index, row in enumerate(part.targets.has)
    }


def test_links_and_copies_of_an_image_are_one_image_with_their_labels(outfits: Path) -> None:
    found = find_data(f"multilabel:{outfits}", show_progress=False)
    assert names_by_image(found) == SETS
    assert found.name == "outfits"


def test_each_split_has_its_own_images(outfits: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        shutil.copytree(outfits, tmp_path / split)  # links become files with the same bytes
    data = load_data(f"multilabel:{tmp_path}", image_size=28, show_progress=False)
    assert data.val is not None
    assert [len(data.train), len(data.val)] == [120, 120]
    assert torch.equal(data.train.targets.has, data.val.targets.has)


def test_without_being_asked_each_file_is_an_image_of_one_class_and_a_note_says_how_to_ask(outfits: Path) -> None:
    found = find_data(str(outfits), show_progress=False)
    assert isinstance(found.splits["all"].targets, ClassTargets)
    assert len(found.splits["all"]) == sum(map(len, SETS.values()))
    (said,) = (line for line in found.notes if "linked" in line)
    # Of copies nothing is said: to find them takes reading all files, which `data check` does.
    assert said == (
        f"40 images are linked into several classes; if an image may have several labels: --data multilabel:{outfits}"
    )
    assert not [line for line in find_data(f"multilabel:{outfits}", show_progress=False).notes if "linked" in line]


def test_images_of_one_size_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    for name, values in (("cat", (1, 2)), ("dog", (2, 3))):
        (tmp_path / name).mkdir()
        for value in values:
            Image.new("L", (8, 8), value).save(tmp_path / name / f"{value}.bmp")
    found = find_data(f"multilabel:{tmp_path}", show_progress=False)
    assert names_by_image(found) == {"1.bmp": {"cat"}, "2.bmp": {"cat", "dog"}, "3.bmp": {"dog"}}


def test_another_label_is_another_fingerprint(outfits: Path, tmp_path: Path) -> None:
    shutil.copytree(outfits, tmp_path / "outfits")
    name = f"multilabel:{tmp_path / 'outfits'}"
    before = find_data(name, show_progress=False).fingerprint
    assert find_data(name, show_progress=False).fingerprint == before
    (tmp_path / "outfits" / "bag" / "003.png").unlink()
    assert find_data(name, show_progress=False).fingerprint != before


def test_validation_images_have_every_label_in_the_same_share(outfits: Path) -> None:
    data = load_data(f"multilabel:{outfits}", image_size=28, val_fraction=0.25, show_progress=False)
    assert data.val is not None
    assert [len(data.train), len(data.val)] == [90, 30]
    for counts, share in ((data.train.targets.has.sum(dim=0), 0.75), (data.val.targets.has.sum(dim=0), 0.25)):
        assert (counts - 60 * share).abs().max() <= 2
    assert data.model_spec(architecture="lenet", architecture_options={}).task == "multilabel"


def test_a_network_for_labels_is_evaluated_on_links_unasked(outfits: Path, image_folder: Path) -> None:
    spec = load_data(f"multilabel:{outfits}", image_size=28, show_progress=False).model_spec(
        architecture="lenet", architecture_options={}
    )
    several = load_eval_images(str(outfits), spec, show_progress=False).images.targets
    assert isinstance(several, LabelSetTargets)
    assert several.has.sum() == sum(map(len, SETS.values()))
    one = load_eval_images(str(image_folder), spec, show_progress=False).images.targets
    assert isinstance(one, LabelSetTargets)
    assert one.has.sum(dim=1).tolist() == [1] * 120
    classes = spec.model_copy(update={"task": "classify"})
    with pytest.raises(TwofoldError, match="has several labels an image, and the network was trained for one"):
        load_eval_images(f"multilabel:{outfits}", classes, show_progress=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "multilabel:fashion-mini",
            "fashion-mini says by itself how many labels an image has; write fashion-mini, not",
        ),
        ("multilabel:hf:OWNER/NAME", "write hf:OWNER/NAME, not multilabel:hf:OWNER/NAME"),
        ("multilabel:", "lacks a folder: write multilabel:FOLDER"),
        ("multilabel:./nowhere", "no such folder: ./nowhere"),
    ],
)
def test_what_has_one_class_an_image_is_refused(name: str, words: str) -> None:
    with pytest.raises(TwofoldError, match=words):
        check_data_name(name)


def test_a_pack_of_one_class_an_image_is_refused(image_folder: Path, tmp_path: Path) -> None:
    pack_folder(image_folder, tmp_path / "packed", PackOptions(size=28), show_progress=False)
    assert json.loads((tmp_path / "packed" / "index.json").read_text())["class_names"]
    with pytest.raises(TwofoldError, match="is packed, with one class an image"):
        find_data(f"multilabel:{tmp_path / 'packed'}", show_progress=False)
    assert plain_name(f"multilabel:{tmp_path}") == str(tmp_path)
