"""Packing real folders and reading them back: the same pixels, the same bytes after any interruption, damage named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from safetensors.torch import load_file

import twofold
import twofold.data.sources.pack as pack_module
from data.conftest import save_folder, save_image
from data.test_inspection import bomb, picture
from processes import CommandLine
from twofold.data import Data, DataError, LabelSetTargets, MemoryImages, load_data, load_eval_images, open_image
from twofold.data.decode import RECORD_FORMATS, bare_pixels
from twofold.data.images import prefetch
from twofold.data.pixels import to_pixels
from twofold.data.sources.folder import open_folder
from twofold.data.sources.pack import PackOptions, PackResult, pack_folder
from twofold.data.sources.packed import find_damage, open_packed
from twofold.data.spec import ModelSpec, PixelSpec
from twofold.engine.options import Options
from twofold.errors import RunError, TwofoldError


def pack(root: Path, out: Path, *, skip_broken: bool = False, **options: int | bool | str) -> PackResult:
    return pack_folder(root, out, PackOptions(**options), skip_broken=skip_broken, show_progress=False)  # type: ignore[arg-type]


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Three splits in formats of all kinds, none larger than 40 px."""
    root = save_folder(tmp_path / "photos", {"train/cat": 9, "train/dog": 7, "val/cat": 2, "test/dog": 3})
    for suffix, folder in ((".jpg", "train/cat"), (".webp", "train/dog"), (".bmp", "test/dog"), (".tif", "train/cat")):
        save_image(root / folder / f"other{suffix}", size=(40, 33), seed=77)
    picture(1).convert("P").save(root / "train/dog/palette.png")
    picture(2).convert("CMYK").save(root / "train/dog/print.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(3).save(root / "train/cat/turned.jpg", exif=turned)
    return root


@pytest.mark.parametrize("limit", [None, 0], ids=["memory", "streamed"])
@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
def test_packed_images_are_those_of_the_folder(splits: Path, tmp_path: Path, limit, resize) -> None:
    """Not larger than the size: every pixel of every split is the same, in the same order."""
    pack(splits, tmp_path / "packed", shard_bytes=20_000)
    folder, packed = (
        load_data(str(root), image_size=24, resize=resize, memory_limit=limit, show_progress=False)
        for root in (splits, tmp_path / "packed")
    )
    assert (packed.class_names, packed.spec) == (folder.class_names, folder.spec)
    for split in ("train", "val", "test"):
        ours, theirs = getattr(packed, split), getattr(folder, split)
        everything = torch.arange(len(theirs))
        assert torch.equal(ours.targets.labels, theirs.targets.labels)
        assert torch.equal(ours.load(everything), theirs.load(everything))
        for index in range(len(theirs)):
            assert theirs.describe(index).endswith(ours.describe(index).split(" (in ")[0])


def test_a_folder_without_splits_is_split_the_same(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "packed")
    folder, packed = (load_data(str(root), seed=3, show_progress=False) for root in (photos, tmp_path / "packed"))
    assert packed.spec == folder.spec
    for ours, theirs in ((packed.train, folder.train), (packed.val, folder.val)):
        assert isinstance(ours, MemoryImages)
        assert isinstance(theirs, MemoryImages)
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.targets.labels, theirs.targets.labels)


def test_evaluation_matches_classes_by_name(splits: Path, tmp_path: Path) -> None:
    pack(splits, tmp_path / "packed")
    spec = ModelSpec(
        channels=3,
        image_size=(16, 16),
        architecture="lenet",
        architecture_options={},
        class_names=("zebra", "dog", "cat"),
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
    )
    folder, packed = (load_eval_images(str(root), spec, show_progress=False) for root in (splits, tmp_path / "packed"))
    assert packed.split == folder.split == "test"
    assert packed.images.targets.labels.tolist() == folder.images.targets.labels.tolist() == [1] * 4
    assert torch.equal(packed.images.load(torch.arange(4)), folder.images.load(torch.arange(4)))


def same_data(one: Data, other: Data) -> None:
    """Both give the same images with the same labels, split by split."""
    assert (one.class_names, one.spec) == (other.class_names, other.spec)
    for split in ("train", "val", "test"):
        ours, theirs = getattr(one, split), getattr(other, split)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.targets.digest() == theirs.targets.digest()
            assert torch.equal(ours.load(torch.arange(len(ours))), theirs.load(torch.arange(len(theirs))))


def test_a_pack_of_a_folder_with_several_labels_an_image_trains_as_the_folder(outfits: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    result = pack_folder(outfits, out, PackOptions(shard_bytes=20_000), several_labels=True, show_progress=False)
    assert result.num_images == 120
    assert result.num_shards > 2
    folder = load_data(f"multilabel:{outfits}", test_fraction=0.2, show_progress=False)
    for name in (str(out), f"multilabel:{out}"):
        packed = load_data(name, test_fraction=0.2, show_progress=False)
        assert isinstance(packed.train.targets, LabelSetTargets)
        same_data(packed, folder)
    with tarfile.open(next(out.glob("all-*.tar"))) as tar:
        names = tar.getnames()[:2]
        content = tar.extractfile(names[1])
        assert content is not None
        assert names[1] == names[0].replace(".png", ".json")
        assert set(json.loads(content.read())) <= {0, 1, 2}
    assert find_damage(out, show_progress=False) == []


def test_a_pack_of_a_table_holds_label_sets_and_groups(tmp_path: Path) -> None:
    photos = save_folder(tmp_path / "photos", {"all": 24}) / "all"
    files = sorted(path.name for path in photos.iterdir())
    sets = ("cat", "dog", "", "cat|dog")
    rows = [f"{name},{sets[number % 4]},{number // 3}" for number, name in enumerate(files)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["image,label,patient", *rows]))
    options = {"images": photos, "show_progress": False}
    result = pack_folder(table, tmp_path / "packed", PackOptions(), **options)
    assert result.notes == ("images with the same 'patient' stay in the same split",)
    for fractions in ({"test_fraction": 0.25}, {"val_fraction": 0.3}):
        settings = {"image_size": 16, "seed": 2, "show_progress": False, **fractions}
        packed = load_data(str(tmp_path / "packed"), **settings)
        same_data(packed, load_data(str(table), images=photos, **settings))
        sides = [
            {files.index(each.describe(number).split(" ")[0]) // 3 for number in range(len(each))}
            for each in (packed.train, packed.val, packed.test)
            if each is not None
        ]
        assert sum(map(len, sides)) == len(set().union(*sides)) == 8  # no patient is on two sides
    # Other groups are other data, though the images are the same.
    table.write_text("\n".join(["image,label,patient", *(row.replace(",7", ",6") for row in rows)]))
    pack_folder(table, tmp_path / "other", PackOptions(), **options)
    assert open_packed(tmp_path / "other").fingerprint != open_packed(tmp_path / "packed").fingerprint


def test_how_images_were_read_is_said_by_packing_and_by_the_pack(tmp_path: Path) -> None:
    root = save_folder(tmp_path / "photos", {"cat": 3, "dog": 3})
    frames = [picture(number).convert("P") for number in (1, 2)]
    for path in (root / "cat" / "b.gif", root / "dog" / "a.gif"):
        frames[0].save(path, save_all=True, append_images=frames[1:])
    deep = np.arange(240, dtype=np.uint16).reshape(12, 20) * 17
    Image.fromarray(deep).save(root / "dog" / "deep.png")
    lines = tuple(
        line for line in open_folder(root, show_progress=False).notes if "images have" in line or "1 im" in line
    )
    assert [line.split(" (")[1] for line in lines] == ["cat/b.gif, …)", "dog/deep.png)"]
    first, again = (pack(root, tmp_path / "packed", shard_bytes=1000) for _ in range(2))
    assert (first.was_there, again.was_there) == (False, True)
    assert first.notes == again.notes == open_packed(tmp_path / "packed").notes == lines


def test_a_pack_of_before_is_read_and_made_the_same(photos: Path, tmp_path: Path) -> None:
    pack(photos, tmp_path / "packed")
    index = json.loads((tmp_path / "packed" / "index.json").read_text())
    shard = json.loads((tmp_path / "packed" / "all-00000.json").read_text())
    assert set(index) == {
        *("format", "version", "name", "class_names", "splits", "size", "quality", "store", "source", "fingerprint"),
        "skipped",
    }
    assert set(shard) == {
        *("format", "version", "bytes", "sha256", "split", "first", "stop", "number", "offset", "length", "crc32"),
        *("label", "height", "width", "grey", "path", "broken"),
    }


def test_any_tar_reader_reads_the_shards(splits: Path, tmp_path: Path) -> None:
    """The format of WebDataset: pairs of members with one key, the label as text; classes mixed."""
    pack(splits, tmp_path / "packed", shard_bytes=15_000)
    shards = sorted((tmp_path / "packed").glob("train-*.tar"))
    assert len(shards) > 2
    labels, keys = [], []
    for shard in shards:
        assert shard.stat().st_size <= 15_000 + 10_240  # tar rounds its end up to this
        index = json.loads(shard.with_suffix(".json").read_text())
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
            assert not any(member.mtime or member.uid or member.uname for member in members)
            for place, (image, label) in enumerate(zip(members[::2], members[1::2], strict=True)):
                assert image.name.split(".")[0] == label.name.split(".")[0] == f"{index['number'][place]:08d}"
                assert (image.offset_data, image.size) == (index["offset"][place], index["length"][place])
                open_image(tar.extractfile(image).read())  # type: ignore[union-attr]
                labels.append(int(tar.extractfile(label).read()))  # type: ignore[union-attr]
                keys.append(int(image.name.split(".")[0]))
    assert sorted(keys) == list(range(len(keys)))
    assert keys != sorted(keys)
    assert labels != sorted(labels)
    by_number = [label for _, label in sorted(zip(keys, labels, strict=True))]
    assert by_number == sorted(by_number)


@pytest.mark.parametrize(
    ("options", "signature"),
    [
        ({"size": 200}, b"\xff\xd8"),
        ({"size": 200, "store": "png"}, b"\x89PNG"),
        ({"size": 200, "store": "raw"}, b"P6"),
        ({"size": 100}, b"P6"),
    ],
    ids=["jpeg", "png", "raw", "small"],
)
def test_large_images_are_scaled_once(tmp_path: Path, options, signature) -> None:
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            image = picture(number, (1500, 1000) if name == "a" else (900, 1300))
            image.save(tmp_path / "photos" / name / f"{number}.jpg", quality=95)
    result = pack(tmp_path / "photos", tmp_path / "packed", **options)
    assert result.num_images == 4
    records = open_packed(tmp_path / "packed").splits["all"]
    for index in range(4):
        stored = records.record(index)
        image = open_image(stored, formats=RECORD_FORMATS)
        with Image.open(tmp_path / "photos" / "ab"[index // 2] / f"{index % 2}.jpg") as original:
            assert min(image.size) == options["size"]
            assert image.width / image.height == pytest.approx(original.width / original.height, rel=0.01)
            wanted = np.asarray(original.resize(image.size, Image.Resampling.BILINEAR)).astype(float)
        assert np.abs(np.asarray(image) - wanted).mean() < 1.5
        assert stored.startswith(signature)


def test_small_grey_images_stay_grey(tmp_path: Path) -> None:
    save_folder(tmp_path / "photos", {"a": 2, "b": 2}, size=(90, 60), mode="L")
    pack(tmp_path / "photos", tmp_path / "packed", size=30)
    records = open_packed(tmp_path / "packed").splits["all"]
    with Image.open(tmp_path / "photos/b/001.png") as original:
        wanted = np.asarray(original.resize((45, 30), Image.Resampling.BILINEAR))
    assert records.record(3).startswith(b"P5")
    images = records.open(PixelSpec(channels=1, image_size=(30, 45)))
    assert np.array_equal(images.load(torch.tensor([3]))[0, 0].numpy(), wanted)


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bare_records_are_the_pixels_of_any_image(tmp_path: Path, mode: str, channels: int, resize: str) -> None:
    save_folder(tmp_path / "photos", {"a": 2, "b": 2}, size=(91, 60), mode=mode)
    pack(tmp_path / "photos", tmp_path / "packed", size=30)
    records = open_packed(tmp_path / "packed").splits["all"]
    assert all(records.record(index)[:2] == (b"P6" if mode == "RGB" else b"P5") for index in range(4))
    for image_size in ((30, 46), (30, 30), (30, 31), (7, 46), (16, 20), (60, 30)):
        spec = PixelSpec(channels=channels, image_size=image_size, resize=resize, convert_colour=True)
        images = records.open(spec)
        wanted = [to_pixels(open_image(records.record(index), formats=RECORD_FORMATS), spec) for index in (2, 0, 3)]
        assert torch.equal(images.load(torch.tensor([2, 0, 3])), torch.from_numpy(np.stack(wanted)))


def test_raw_packs_hold_the_folder_s_pixels_at_any_size(tmp_path: Path) -> None:
    root = save_folder(tmp_path / "photos", {"a": 2, "b": 2}, size=(40, 31))
    save_image(root / "a" / "002.jpg", size=(300, 200), seed=7)
    save_image(root / "b" / "002.png", size=(41, 30), seed=8, mode="L")
    pack(root, tmp_path / "packed", size=200, store="raw")
    records = open_packed(tmp_path / "packed").splits["all"]
    scan = open_folder(root, show_progress=False).splits["all"]
    assert records.side.tolist() == [31, 31, 200, 31, 31, 30]
    for index, path in enumerate(scan.paths):
        pixels = bare_pixels(records.record(index))
        assert pixels is not None
        assert np.array_equal(pixels, np.atleast_3d(np.asarray(open_image(path))))
    for image_size in ((200, 200), (31, 31), (20, 33)):
        spec = PixelSpec(channels=3, image_size=image_size)
        wanted = [to_pixels(open_image(path), spec) for path in scan.paths]
        assert torch.equal(records.open(spec).load(torch.arange(6)), torch.from_numpy(np.stack(wanted)))


def test_what_is_not_just_pixels_is_left_to_the_decoder() -> None:
    pixels = bytes(range(12))
    whole = b"P6\n2 2\n255\n" + pixels
    made = bare_pixels(whole)
    assert made is not None
    assert made.tolist() == np.arange(12).reshape(2, 2, 3).tolist()
    grey = bare_pixels(b"P5\n4 3\n255\n" + pixels)
    assert grey is not None
    assert grey.shape == (3, 4, 1)
    others = (
        b"",
        whole[:-1],  # cut off
        whole + b"\0",
        whole.replace(b"255", b"127"),  # other levels
        whole.replace(b"2 2", b"0 2"),
        whole.replace(b"2 2", b"99999999 99999999"),
        whole.replace(b"2 2", b"2  2"),
        whole.replace(b"P6", b"P3"),
        b"#" + whole,
    )
    assert [bare_pixels(content) for content in others] == [None] * len(others)


def test_lossless_scaling_without_reduced_decoding_is_exact(tmp_path: Path) -> None:
    save_folder(tmp_path / "photos", {"a": 2, "b": 2}, size=(90, 60))
    pack(tmp_path / "photos", tmp_path / "packed", size=30)
    record = open_packed(tmp_path / "packed").splits["all"].record(0)
    with Image.open(tmp_path / "photos/a/000.png") as original:
        wanted = original.resize((45, 30), Image.Resampling.BILINEAR)
    assert np.array_equal(np.asarray(open_image(record, formats=RECORD_FORMATS)), np.asarray(wanted))


def test_odd_shapes_and_grey_survive(tmp_path: Path) -> None:
    root = save_folder(tmp_path / "photos", {"a": 1, "b": 1}, mode="L")
    save_image(root / "a" / "dot.png", size=(1, 1), mode="L")
    save_image(root / "a" / "thread.png", size=(20_000, 1), mode="L")
    save_image(root / "b" / "tall.bmp", size=(300, 9000), mode="L")
    pack(root, tmp_path / "packed", size=150)
    packed = open_packed(tmp_path / "packed")
    assert packed.channels == 1
    sizes = [open_image(packed.splits["all"].record(index)).size for index in range(5)]
    assert sizes == [(20, 12), (1, 1), (20_000, 1), (20, 12), (150, 4500)]


def test_packing_again_does_nothing_and_other_options_are_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    assert not pack(photos, out).was_there
    before = content(out)
    assert pack(photos, out).was_there
    assert content(out) == before
    with pytest.raises(TwofoldError, match="holds a pack of other images, or with other options"):
        pack(photos, out, size=10)
    save_image(photos / "cat" / "new.png")
    with pytest.raises(TwofoldError, match="holds a pack of other images"):
        pack(photos, out)
    assert content(out) == before


def test_two_do_not_pack_into_one_folder(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    out.mkdir()
    with FileLock(out / ".packing.lock"), pytest.raises(TwofoldError, match="is being packed by another process"):
        pack(photos, out)
    assert pack(photos, out).num_images == 16


def test_where_nothing_is_packed(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="lies inside of"):
        pack(photos, photos / "packed")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(TwofoldError, match=r"holds other files, such as letter\.txt"):
        pack(photos, tmp_path / "mine")
    with pytest.raises(TwofoldError, match="is a file; give a folder"):
        pack(photos, tmp_path / "mine" / "letter.txt")
    pack(photos, tmp_path / "packed")
    with pytest.raises(TwofoldError, match="is packed already; use it as it is"):
        pack(tmp_path / "packed", tmp_path / "twice")
    with pytest.raises(DataError, match="no such folder"):
        pack(tmp_path / "nowhere", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_broken_files_are_listed_and_the_work_is_kept(photos: Path, tmp_path: Path, monkeypatch) -> None:
    (photos / "cat" / "bad.png").write_bytes(b"\x89PNG")
    (photos / "dog" / "bomb.png").write_bytes(bomb(60_000))
    (photos / "dog" / "gone.png").symlink_to(tmp_path / "nothing")
    out = tmp_path / "packed"
    with pytest.raises(DataError) as raised:
        pack(photos, out)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith(f"{photos} has 3 problems")
    for name in ("cat/bad.png", "dog/bomb.png", "dog/gone.png"):
        assert sum(line.startswith(f"  {name}: ") for line in lines) == 1
    with pytest.raises(TwofoldError, match="only partly packed"):
        load_data(str(out), show_progress=False)
    # Nothing is encoded a second time.
    monkeypatch.setattr(pack_module, "_encode", None)
    result = pack(photos, out, skip_broken=True)
    assert result.num_images == 16
    assert sorted(path for path, _ in result.skipped) == ["cat/bad.png", "dog/bomb.png", "dog/gone.png"]
    data = load_data(str(out), show_progress=False)
    assert len(data.train) + len(data.val or ()) == 16
    assert any("cat/bad.png" in note for note in data.notes)


def test_a_class_of_broken_images_is_no_class(photos: Path, tmp_path: Path) -> None:
    (photos / "eel").mkdir()
    for number in range(200):  # more than are looked at beforehand
        (photos / "eel" / f"{number}.png").write_bytes(b"\x89PNG")
    with pytest.raises(RunError, match="the class eel of .* has no image that can be read"):
        pack(photos, tmp_path / "packed", skip_broken=True)


def test_a_file_that_changes_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "packed"
    plan = pack_module._plan

    def meddling(change):
        """Have the folder change after packing has begun."""
        calls = []

        def planned(scan, folder):
            made = plan(scan, folder)
            calls.append(made)
            if len(calls) == 1:
                change()
            return made

        monkeypatch.setattr(pack_module, "_plan", planned)

    meddling(lambda: save_image(photos / "cat" / "003.png", size=(31, 7), seed=9))
    with pytest.raises(RunError, match=r"^cat/003\.png was changed while the folder was packed"):
        pack(photos, out)
    meddling((photos / "dog" / "001.png").unlink)
    with pytest.raises(RunError, match=r"^dog/001\.png is gone"):
        pack(photos, out)
    meddling(lambda: save_image(photos / "dog" / "late.png", seed=10))
    with pytest.raises(RunError, match=r"^dog/late\.png is new"):
        pack(photos, out)
    assert not (out / "index.json").exists()
    monkeypatch.setattr(pack_module, "_plan", plan)
    pack(photos, out)
    pack(photos, tmp_path / "other")
    assert content(out) == content(tmp_path / "other")


def large_folder(root: Path, num_images: int = 100) -> Path:
    """Return a folder that takes a second or two to pack: pictures of 400 × 300 px, scaled to 200."""
    for name in "ab":
        (root / name).mkdir(parents=True)
    for seed in range(12):
        picture(seed, (900, 700)).save(root / "a" / f"{seed:04d}.jpg")
    for number in range(12, num_images):
        shutil.copy(root / "a" / f"{number % 12:04d}.jpg", root / "ab"[number % 2] / f"{number:04d}.jpg")
    return root


_SMALL = ("--size", "200", "--shard-mb", "1", "--store", "png", "--quiet")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large_folder(tmp_path_factory.mktemp("large") / "photos")


@pytest.fixture(scope="module")
def reference(large: Path) -> Path:
    out = large.parent / "reference"
    pack_folder(large, out, PackOptions(size=200, store="png", shard_bytes=1_000_000), show_progress=False)
    return out


def wait_for_shards(process: subprocess.Popen[str], out: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(out.glob("all-*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_and_stopped_it_goes_on_to_the_same_bytes(large: Path, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    assert len(list(reference.glob("*.tar"))) >= 6
    command = CommandLine()
    process = command.start("data", "pack", large, "--out", out, *_SMALL)
    wait_for_shards(process, out, 1)
    process.kill()
    process.communicate()
    assert not (out / "index.json").exists()
    # What a kill in the middle of a write leaves behind.
    (out / ".all-00003.tar.x7_k2.tmp").write_bytes(b"half")
    # One more shard, and as many as can be left to do: the signal must come before the end, however slow it is sent.
    finished = len(list(out.glob("*.json"))) - 1
    process = command.start("data", "pack", large, "--out", out, *_SMALL)
    wait_for_shards(process, out, finished + 1)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "were packed before; going on" in errors
    assert "the finished shards are kept: run the same command again to go on" in errors
    assert "Traceback" not in errors
    assert not list(out.glob(".*.tmp"))
    pack(large, out, size=200, store="png", shard_bytes=1_000_000)
    assert content(out) == content(reference)


def test_a_damaged_or_half_shard_is_written_again(large: Path, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    shutil.copytree(reference, out)
    index = json.loads((out / "index.json").read_text())
    (out / "index.json").unlink()
    scan = pack_module.open_folder(large, check=False, show_progress=False)
    options = PackOptions(size=200, store="png", shard_bytes=1_000_000)
    (out / "packing.json").write_text(json.dumps(pack_module._state(pack_module._plan(scan, large), options)) + "\n")
    damaged = bytearray((out / "all-00002.tar").read_bytes())
    damaged[5000] ^= 1
    (out / "all-00002.tar").write_bytes(damaged)
    (out / "all-00004.json").write_text('{"half": ')
    pack_folder(large, out, options, show_progress=False)
    assert content(out) == content(reference)
    assert index["version"] == 1


_FULL_DISK = r"""
set -eu
mount -t tmpfs -o size=3m none "$PACKED"
"$PYTHON" -m twofold.cli.main data pack "$PHOTOS" --out "$PACKED" $SMALL && exit 9
cp -r "$PACKED" "$OUT/copy"
"""


def test_a_full_disk_leaves_no_half_shard(large: Path, reference: Path, tmp_path: Path) -> None:
    """A tmpfs of 3 MB holds two shards of 1 MB; with room, packing goes on to the same bytes."""
    (tmp_path / "packed").mkdir()
    environment = os.environ | {
        "PHOTOS": str(large),
        "PACKED": str(tmp_path / "packed"),
        "OUT": str(tmp_path),
        "PYTHON": sys.executable,
        "SMALL": " ".join(_SMALL),
    }
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", _FULL_DISK],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    left = sorted(content(tmp_path / "copy"))
    assert "all-00000.json" in left
    assert "index.json" not in left
    assert not any(name.endswith(".tmp") for name in left)
    pack(large, tmp_path / "copy", size=200, store="png", shard_bytes=1_000_000)
    assert content(tmp_path / "copy") == content(reference)


@pytest.fixture(scope="module")
def small_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    save_folder(root / "photos", {"cat": 5, "dog": 4})
    pack(root / "photos", root / "packed", shard_bytes=6_000)
    return root / "packed"


@given(st.integers(0, 8), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_of_a_record_is_named(small_pack: Path, index: int, where: float, bit: int) -> None:
    records = open_packed(small_pack).splits["all"]
    name = f"{records.names[int(records.shard[index])]}.tar"
    path = small_pack / name
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(records.offset[index]) + int(where * int(records.length[index]))] ^= 1 << bit
    try:
        path.write_bytes(damaged)
        images = records.open(PixelSpec(channels=3, image_size=(8, 8)))
        with pytest.raises(RunError) as raised:
            images.load(torch.arange(9))
        message = str(raised.value)
        assert f"{path} is damaged" in message
        source = f"cat/{index:03d}.png" if index < 5 else f"dog/{index - 5:03d}.png"
        assert source in message
        assert "\n" not in message
        assert find_damage(small_pack, show_progress=False) == [message]
    finally:
        path.write_bytes(whole)
    assert find_damage(small_pack, show_progress=False) == []


def test_cut_and_missing_shards_and_indices_are_named(small_pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    shutil.copytree(small_pack, out)
    shard = sorted(out.glob("*.tar"))[1]
    whole = shard.read_bytes()
    opened = open_packed(out)
    shard.write_bytes(whole[:700])
    with pytest.raises(RunError, match=f"{shard} has 700 bytes, written were {len(whole):,}: it is cut off"):
        open_packed(out)
    # One that is cut off while it is used.
    images = opened.splits["all"].open(PixelSpec(channels=3, image_size=(8, 8)))
    with pytest.raises(RunError, match=r"is cut off: of (cat|dog)/00\d\.png \(in packed/all-00001\.tar\) only"):
        images.load(torch.arange(9))
    shard.unlink()
    with pytest.raises(RunError, match=f"cannot read {shard}: No such file"):
        open_packed(out)
    with pytest.raises(RunError, match=r"cannot read (cat|dog)/00\d\.png .*No such file"):
        images.load(torch.arange(9))
    shard.write_bytes(whole)
    index = shard.with_suffix(".json")
    text = index.read_text()
    index.write_text(text.replace('"label":[', '"label":[ '))
    with pytest.raises(TwofoldError, match="is not what was written: its SHA-256 differs"):
        open_packed(out)
    index.write_text(text)
    damaged = bytearray(whole)
    damaged[2] ^= 1  # in the name of the first member: no image is hurt
    shard.write_bytes(damaged)
    assert find_damage(out, show_progress=False) == [
        f"{shard} is damaged outside of its images; copy it again, or pack again"
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda index: index["splits"]["all"][0].update(name="../../etc/passwd"), "splits.all.0.name"),
        (lambda index: index["splits"]["all"][0].update(bytes=-1), "splits.all.0.bytes"),
        (lambda index: index.update(version=2), "version"),
        (lambda index: index.update(surprise=1), "surprise"),
        (lambda index: index.update(class_names=["cat"]), "names 1 classes, but a record has the label 1"),
        (lambda index: index.update(splits={"test": index["splits"]["all"]}), "needs one of the splits train and all"),
        (lambda index: index.update(splits={"all": []}), "lists no images"),
    ],
    ids=["traversal", "negative", "version", "surprise", "classes", "splits", "empty"],
)
def test_an_index_is_not_believed(small_pack: Path, tmp_path: Path, change, words: str) -> None:
    out = tmp_path / "packed"
    shutil.copytree(small_pack, out)
    index = json.loads((out / "index.json").read_text())
    change(index)
    (out / "index.json").write_text(json.dumps(index))
    with pytest.raises(TwofoldError) as raised:
        open_packed(out)
    assert words in str(raised.value)


def test_another_index_json_is_no_pack(photos: Path) -> None:
    (photos / "index.json").write_text('{"format": "something"}')
    assert len(load_data(str(photos), val_fraction=0.0, show_progress=False).train) == 16


def test_records_can_come_from_an_object_store(small_pack: Path, tmp_path: Path) -> None:
    """Only the JSON files are here; ranges of the shards come from elsewhere."""
    here = tmp_path / "index"
    here.mkdir()
    for path in small_pack.glob("*.json"):
        shutil.copy(path, here)
    asked = []

    def read(name: str, offset: int, length: int) -> bytes:
        asked.append(name)
        return (small_pack / name).read_bytes()[offset : offset + length]

    spec = PixelSpec(channels=3, image_size=(12, 20))
    remote = open_packed(here, read=read).splits["all"].open(spec)
    local = open_packed(small_pack).splits["all"].open(spec)
    assert torch.equal(remote.load(torch.arange(9)), local.load(torch.arange(9)))
    assert len(asked) == 9


def test_pixels_do_not_depend_on_threads_or_order(small_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = PixelSpec(channels=3, image_size=(10, 10))
    order = torch.tensor([3, 8, 0, 0, 5])
    loaded = []
    for workers in (1, 6):
        monkeypatch.setattr("twofold.data.images.num_workers", lambda workers=workers: workers)
        images = open_packed(small_pack).splits["all"].open(spec)
        everything = images.load(torch.arange(9))
        assert torch.equal(images.load(order), everything[order])
        loaded.append(torch.cat(list(prefetch(order.split(2), images))))
    assert torch.equal(*loaded)


def test_memory_stays_flat_as_the_pack_grows(tmp_path: Path) -> None:
    root = save_folder(tmp_path / "photos", {"a": 4, "b": 4})
    pack(root, tmp_path / "packed")
    records = open_packed(tmp_path / "packed").splits["all"]
    spec = PixelSpec(channels=3, image_size=(160, 160))
    process = psutil.Process()

    def growth(times: int) -> int:
        images = records.select(torch.arange(8).repeat(times)).open(spec)
        before = process.memory_info().rss
        return max(process.memory_info().rss for _ in prefetch(torch.arange(len(images)).split(16), images)) - before

    growth(20)  # what is allocated on first use is not counted
    assert 8 * 200 * 3 * 160 * 160 > 120_000_000
    assert growth(200) < 60_000_000


def test_memory_of_packing_stays_flat(tmp_path: Path) -> None:
    first = save_image(tmp_path / "picture.png", size=(256, 256))
    process = psutil.Process()

    def growth(name: str, count: int) -> int:
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(count // 2):
                os.link(first, tmp_path / name / label / f"{number}.png")
        before = process.memory_info().rss
        seen, done = [before], threading.Event()

        def watch() -> None:
            while not done.wait(0.005):
                seen.append(process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            pack(tmp_path / name, tmp_path / f"{name}-packed", shard_bytes=10_000_000)
        finally:
            done.set()
            watcher.join()
        return max(seen) - before

    growth("once", 50)  # what is allocated on first use is not counted
    assert growth("tenfold", 500) < 40_000_000
    assert sum(path.stat().st_size for path in (tmp_path / "tenfold-packed").glob("*.tar")) > 90_000_000


def test_training_from_a_pack_is_training_from_the_folder(image_folder: Path, tmp_path: Path) -> None:
    """Bit for bit: the same weights after training, from memory and from shards."""
    pack(image_folder, tmp_path / "packed")
    recipe = twofold.Recipe(model="lenet-bn", epochs=1, batch_size=16, augment="flip-crop", precision="float32", seed=4)
    weights = []
    for name, data, limit in (("folder", image_folder, None), ("packed", tmp_path / "packed", 0)):
        options = Options(show=False, memory_limit=limit)
        run = twofold.train(recipe.override(data=str(data)), out=tmp_path / "runs", name=name, options=options)
        weights.append(load_file(run.folder / "checkpoints" / "last.safetensors"))
    theirs, ours = weights
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
