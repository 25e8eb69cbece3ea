"""Packs of images with boxes: the same targets as the files, whatever size the images are stored in."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import torch

from data.sources.boxed import SCENES, coco_content, make_coco, make_csv, make_voc, make_yolo
from twofold.data import BoxTargets, DataError, PackOptions, load_data, pack_folder
from twofold.data.sources.packed import open_packed
from twofold.errors import TwofoldError


def pack(root: Path, out: Path, *, size: int = 256, **options):
    return pack_folder(root, out, PackOptions(size=size), show_progress=False, **options)


@pytest.mark.parametrize("size", [256, 16], ids=["as they are", "scaled"])
def test_a_pack_trains_as_the_folder(tmp_path: Path, size: int) -> None:
    root = make_yolo(tmp_path / "set", splits=True)
    result = pack(root, tmp_path / "packed", size=size)
    assert (result.num_images, result.was_there, result.skipped) == (4, False, ())
    options = {"image_size": 16, "channels": 3, "show_progress": False}
    one, other = load_data(str(root), **options), load_data(str(tmp_path / "packed"), **options)
    assert one.class_names == other.class_names
    for split in ("train", "val"):
        left, right = getattr(one, split), getattr(other, split)
        assert isinstance(right.targets, BoxTargets)
        assert left.targets.digest() == right.targets.digest()
        if size == 256:
            indices = torch.arange(len(left))
            assert torch.equal(left.load(indices), right.load(indices))
    assert pack(root, tmp_path / "packed", size=size).was_there


def test_crowds_areas_and_images_without_boxes_are_packed(tmp_path: Path) -> None:
    path = make_coco(tmp_path / "set")
    pack(path, tmp_path / "packed", boxes="coco")
    before = load_data(f"coco:{path}", val_fraction=0, show_progress=False).train.targets
    assert isinstance(before, BoxTargets)
    packed = open_packed(tmp_path / "packed").splits["all"]
    assert before.digest() == packed.targets.digest()
    assert packed.targets.crowd.any()
    assert (packed.targets.counts == 0).any()
    with tarfile.open(tmp_path / "packed" / "all-00000.tar") as tar:
        # A reader of WebDataset finds everything beside the image.
        beside = [json.loads(tar.extractfile(name).read()) for name in tar.getnames() if name.endswith(".json")]
    assert {"label", "boxes", "area", "crowd", "full_size"} == beside[0].keys()
    assert sum(len(each["boxes"]) for each in beside) == 5


def test_a_table_and_voc_are_packed(tmp_path: Path) -> None:
    for number, made in enumerate((make_csv(tmp_path / "csv"), make_voc(tmp_path / "voc"))):
        pack(made, tmp_path / f"packed{number}")
        packed = open_packed(tmp_path / f"packed{number}")
        assert sum(len(part.targets.boxes) for part in packed.splits.values()) == 5
        names = {Path(each.split(" (in ")[0]).stem for part in packed.splits.values() for each in part.describe_all()}
        assert names == SCENES.keys()


def test_boxes_that_changed_make_another_pack(tmp_path: Path) -> None:
    root = make_yolo(tmp_path / "set")
    pack(root, tmp_path / "packed")
    first = open_packed(tmp_path / "packed").fingerprint
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(TwofoldError, match="holds a pack of other images"):
        pack(root, tmp_path / "packed")
    pack(root, tmp_path / "again")
    assert open_packed(tmp_path / "again").fingerprint != first


def test_problems_stop_a_pack_or_are_left_out(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][0]["bbox"][2] = 0
    path = make_coco(tmp_path / "set", content)
    with pytest.raises(DataError, match="box without area"):
        pack(path, tmp_path / "packed", boxes="coco")
    result = pack(path, tmp_path / "packed", boxes="coco", skip_broken=True)
    assert result.skipped == (("instances.json annotation 1000", result.skipped[0][1]),)
    assert len(open_packed(tmp_path / "packed").splits["all"].targets.boxes) == 4


def test_an_index_with_other_numbers_of_boxes_is_refused(tmp_path: Path) -> None:
    import hashlib

    pack(make_yolo(tmp_path / "set"), tmp_path / "packed")
    shard, index = tmp_path / "packed" / "all-00000.json", tmp_path / "packed" / "index.json"
    content = json.loads(shard.read_text())
    content["boxes"][0] = [*content["boxes"][0], [0, 0, 1, 1]]
    old = hashlib.sha256(shard.read_bytes()).hexdigest()
    shard.write_text(json.dumps(content))
    index.write_text(index.read_text().replace(old, hashlib.sha256(shard.read_bytes()).hexdigest()))
    with pytest.raises(TwofoldError, match="an image has more classes than boxes, or fewer"):
        open_packed(tmp_path / "packed")
