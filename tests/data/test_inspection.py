"""What `inspect_folder` says of real folders: clean ones, hostile ones, and copies made as people make them."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageEnhance

from twofold.data import DataError
from twofold.data.duplicates import Fingerprint, distance, fingerprint, near_groups
from twofold.data.inspection import KINDS, Inspection, inspect_folder, name_trouble
from twofold.figures.drawing import save_figure
from twofold.figures.odd_images import draw_odd_images
from twofold.terminal import shown


def picture(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Return a smooth random colour image of `size` (width, height): unlike noise, scaling leaves it alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save_pictures(root: Path, counts: dict[str, int]) -> Path:
    seed = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(seed).save(root / name / f"{number:03d}.png")
            seed += 1
    return root


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "clean", {"train/cat": 6, "train/dog": 5, "test/cat": 2, "test/dog": 2})


def inspect(root: Path, **options: int) -> Inspection:
    return inspect_folder(root, show_progress=False, **options)


def paths(inspection: Inspection, kind: str) -> set[str]:
    return {path for finding in inspection.of(kind) for path in finding.paths}


def bomb(side: int) -> bytes:
    """Return a PNG of a few bytes whose header declares side × side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def test_a_clean_folder_has_no_findings(clean: Path) -> None:
    result = inspect(clean)
    assert result.findings == ()
    assert not result.has_broken
    assert (result.num_files, result.num_readable, result.median_side) == (15, 15, 64)
    assert result.counts == {"train": {"cat": 6, "dog": 5}, "test": {"cat": 2, "dog": 2}}
    assert result.num_bytes == sum(path.stat().st_size for path in clean.rglob("*.png"))


def test_hostile_files_are_each_named_once(clean: Path, tmp_path: Path) -> None:
    folder = clean / "train" / "cat"
    whole = (folder / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    picture(90, (300, 200)).save(tmp_path / "whole.jpg")
    jpeg = (tmp_path / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("hello")
    (folder / "page.jpg").write_text("<!DOCTYPE html><title>404</title>")
    (folder / "pointer.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    picture(91).save(folder / "film.gif")
    (folder / "film.gif").rename(folder / "film.jpg")
    (folder / "bomb.png").write_bytes(bomb(60_000))
    (folder / "large.png").write_bytes(bomb(11_000))
    (folder / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")  # whoever opens it waits for ever
    result = inspect(clean)
    broken = {finding.paths[0].split("/")[-1]: finding.message for finding in result.of("broken file")}
    assert len(broken) == len(result.of("broken file"))
    expected = {
        "cut.png": "truncated",
        "cut.jpg": "truncated",
        "empty.png": "is empty",
        "text.jpg": "not an image",
        "page.jpg": "an HTML page, perhaps of a failed download",
        "pointer.jpg": "a Git LFS pointer",
        "bomb.png": "decompression bomb",
        "large.png": "over the limit",
        "gone.png": "which is not there",
        "loop.png": "leads back to itself",
    }
    assert broken.keys() == expected.keys()
    for name, words in expected.items():
        assert words in broken[name], name
        assert "\n" not in broken[name]
    assert result.has_broken
    assert result.num_readable == 16
    assert paths(result, "wrong extension") == {"train/cat/film.jpg"}


def test_unusual_images_are_named_and_read(clean: Path, tmp_path: Path) -> None:
    folder = clean / "train" / "dog"
    base = picture(92)
    base.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    picture(93).convert("CMYK").save(folder / "print.jpg", quality=95)
    wide = np.asarray(picture(94).convert("L")).astype(np.uint16) * 257
    Image.fromarray(wide).save(folder / "deep.png")
    picture(95).convert("RGBA").save(folder / "glass.png")
    picture(96).save(folder / "really.png", format="JPEG")
    Image.new("RGB", (64, 64), (9, 200, 30)).save(folder / "even.png")
    picture(97, (1, 1)).save(folder / "dot.png")
    picture(98, (20_000, 1)).save(folder / "thread.png")
    picture(99, (900, 600)).save(folder / "huge.png")
    outside = tmp_path / "outside.png"
    picture(89).save(outside)
    (folder / "link.png").symlink_to(outside)
    result = inspect(clean)
    at = "train/dog/"
    assert {finding.paths[0]: finding.message.split(",")[0] for finding in result.of("unusual pixels")} == {
        f"{at}palette.png": "a palette of colours",
        f"{at}print.jpg": "CMYK",
        f"{at}deep.png": "16 bits a channel",
        f"{at}glass.png": "transparency",
    }
    assert paths(result, "wrong extension") == {f"{at}really.png"}
    assert paths(result, "odd colours") == {f"{at}deep.png"}
    assert paths(result, "odd size") == {f"{at}dot.png", f"{at}thread.png", f"{at}huge.png"}
    assert paths(result, "odd shape") == {f"{at}thread.png"}
    assert paths(result, "flat image") == {f"{at}even.png", f"{at}dot.png"}
    assert paths(result, "link outside") == {f"{at}link.png"}
    assert not result.has_broken
    assert result.num_readable == 25


def test_16_bit_colour_is_seen(clean: Path) -> None:
    """Pillow opens it as plain RGB, so its raw mode has to be asked."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    values = np.random.default_rng(0).integers(0, 65536, (40, 60, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 60, 40, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (clean / "train" / "cat" / "deep.png").write_bytes(content)
    assert paths(inspect(clean), "unusual pixels") == {"train/cat/deep.png"}


def test_copies_across_splits_and_classes_are_told(clean: Path) -> None:
    shutil.copy(clean / "train/cat/000.png", clean / "test/cat/copy.png")
    shutil.copy(clean / "train/dog/001.png", clean / "train/cat/wrong.png")
    (found,) = (f for f in inspect(clean).of("exact duplicate") if "test/cat/copy.png" in f.paths)
    assert found.paths == ("train/cat/000.png", "test/cat/copy.png")
    assert found.message == "2 files, across train and test"
    (found,) = (f for f in inspect(clean).of("exact duplicate") if "train/cat/wrong.png" in f.paths)
    assert found.message == "2 files, in different classes (cat, dog)"
    assert not inspect(clean).of("near duplicate")


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((48, 32), Image.Resampling.LANCZOS),
        lambda image: image.resize((250, 190), Image.Resampling.BILINEAR),
        lambda image: ImageEnhance.Brightness(image).enhance(0.85),
        lambda image: ImageEnhance.Contrast(image).enhance(0.9),
        lambda image: image.convert("L"),
    ],
    ids=["smaller", "larger", "darker", "paler", "grey"],
)
def test_near_duplicates_are_found(clean: Path, change) -> None:
    with Image.open(clean / "train/dog/003.png") as image:
        change(image).save(clean / "test/dog/again.jpg", quality=70)
    (found,) = inspect(clean).of("near duplicate")
    assert found.paths == ("train/dog/003.png", "test/dog/again.jpg")
    assert found.message == "2 files, across train and test"


def test_different_images_are_no_duplicates() -> None:
    prints = [fingerprint(picture(seed)) for seed in range(400)]
    assert near_groups(prints, max_bits=8) == []
    same = fingerprint(Image.new("L", (50, 50), 200))
    assert same.is_flat
    assert near_groups([same, same], max_bits=4) == []


def test_the_thumbnail_decides_where_the_hash_is_the_same() -> None:
    """Two ramps have one hash, all bits set, however different they are."""
    ramp = np.tile(np.linspace(0, 255, 64), (64, 1))
    steep = np.tile(np.linspace(0, 1, 64) ** 8 * 255, (64, 1))
    ramps = [Image.fromarray(values.astype(np.uint8)) for values in (ramp, np.maximum(steep, ramp / 2), ramp * 0.8)]
    first, second, third = map(fingerprint, ramps)
    assert distance(first, second) == 0
    assert near_groups([first, second, third], max_bits=0) == [[0, 2]]


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 63), max_size=8)), max_size=25),
    st.integers(0, 10),
)
@settings(max_examples=60)
def test_the_table_by_bands_finds_what_comparing_all_finds(bases, flips, max_bits) -> None:
    thumb = bytes(range(256))
    prints = [Fingerprint(bits, thumb) for bits in bases]
    for base, places in flips:
        bits = bases[base % len(bases)]
        for place in places:
            bits ^= 1 << place
        prints.append(Fingerprint(bits, thumb))
    groups: dict[int, list[int]] = {}
    for index, own in enumerate(prints):
        near = [leader for leader in groups if (own.bits ^ prints[leader].bits).bit_count() <= max_bits]
        groups.setdefault(near[0] if near else index, []).append(index)
    assert near_groups(prints, max_bits=max_bits) == [members for members in groups.values() if len(members) > 1]


def test_imbalance_and_missing_classes(tmp_path: Path) -> None:
    root = save_pictures(tmp_path / "photos", {"train/a": 20, "train/b": 2, "train/c": 3, "test/a": 1, "test/b": 0})
    found = {finding.paths[0]: finding.message for finding in inspect(root).of("class imbalance")}
    assert found == {
        "train/b": "has 2 images, the largest class 20",
        "test/b": "has no image that can be read",
        "test/c": "this class of train/ is not in test/",
    }


def test_the_minority_of_grey_and_colour_is_odd(tmp_path: Path) -> None:
    root = save_pictures(tmp_path / "photos", {"a": 3, "b": 2})
    for path in sorted(root.rglob("*.png"))[:4]:
        picture(int(path.stem) + 50 * ("b" in path.parts)).convert("L").save(path)
    (found,) = inspect(root).of("odd colours")
    assert (found.paths, found.message) == (("b/001.png",), "colour among grey")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"cat\x1b[2J", "cannot be printed"),
        (b"two\nlines", "cannot be printed"),
        (b"bad\xff", "not valid UTF-8"),
        (b"..", None),
        (b"-rf", "a shell takes"),
        (b"C:\\temp", "Windows does not allow"),
        (b" cat", "space or dot"),
        ("猫".encode(), None),
    ],
)
def test_hostile_class_names(clean: Path, name: bytes, words: str | None) -> None:
    text = os.fsdecode(name)
    assert ("" if (trouble := name_trouble(text)) is None else trouble).find(words or "") >= 0 or name == b".."
    if name == b"..":  # no folder can have this name; it is refused all the same
        assert name_trouble(text) is not None
        return
    folder = clean / "train" / text
    folder.mkdir()
    picture(70).save(folder / "x.png")
    result = inspect(clean)
    assert result.counts["train"][text] == 1
    found = [finding for finding in result.of("class name") if finding.paths == (text,)]
    assert bool(found) == (words is not None)
    assert all(words in finding.message for finding in found if words)
    assert shown(text).isprintable()


def test_letter_case_alone(clean: Path) -> None:
    (clean / "train" / "Cat").mkdir()
    picture(71).save(clean / "train/Cat/x.png")
    found = {finding.paths[0]: finding.message for finding in inspect(clean).of("class name")}
    assert found == {"cat": "differs from 'Cat' in letter case alone"}


def test_two_looks_say_the_same_whatever_the_number_of_threads(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(clean / "train/cat/000.png", clean / "test/cat/copy.png")
    (clean / "train/cat/cut.png").write_bytes(b"\x89PNG")
    results = []
    for workers in (1, 7):
        monkeypatch.setattr("twofold.data.parallel.num_workers", lambda workers=workers: workers)
        results.append(inspect(clean))
    assert results[0] == results[1]
    assert len(results[0].findings) == 2
    order = list(KINDS)
    places = [order.index(finding.kind) for finding in results[0].findings]
    assert places == sorted(places)


def test_what_is_no_folder_of_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        inspect(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        inspect(tmp_path)


def test_the_figure_shows_each_kind(clean: Path, tmp_path: Path) -> None:
    shutil.copy(clean / "train/cat/000.png", clean / "test/cat/copy.png")
    (clean / "train/cat/cut $x_1$\n.png").write_bytes(b"\x89PNG")
    picture(98, (20_000, 1)).save(clean / "train/dog/thread.png")
    result = inspect(clean)
    figure = draw_odd_images(result)
    texts = [text.get_text() for text in figure.texts]
    for kind in ("broken file: 1 file", "exact duplicate: 2 files", "odd size: 1 file", "odd shape: 1 file"):
        assert kind in texts
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert len(labels) == 5 + len(result.of("flat image"))
    assert labels[0].startswith(r"cut $x_1$\n.png")
    assert [bool(axes.images) for axes in figure.axes[:3]] == [False, True, True]
    # Only the second of two copies is joined to the one before it; the cross of the broken file is two lines.
    assert [len(axes.lines) for axes in figure.axes] == [2, 0, 1] + [0] * (len(labels) - 3)
    for suffix in (".png", ".svg"):
        save_figure(figure, tmp_path / f"odd{suffix}")
        assert (tmp_path / f"odd{suffix}").stat().st_size > 1000


def test_the_figure_of_a_clean_folder_says_so(clean: Path) -> None:
    figure = draw_odd_images(inspect(clean))
    assert "nothing odd was found" in [text.get_text() for text in figure.texts]
    assert figure.axes == []
