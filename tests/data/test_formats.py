"""No image vanishes in silence: what Pillow reads is read, and the rest is counted with what to do about it."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image

from data.conftest import deep_png, save_folder, save_image
from twofold.data import BrokenImageError, formats, load_data, open_image
from twofold.data.decode import remarks_of
from twofold.data.formats import FORMAT_OF_SUFFIX, IMAGE_SUFFIXES, unread_notes
from twofold.data.inspection import inspect_folder
from twofold.data.sources.folder import open_folder
from twofold.data.sources.pack import PackOptions, pack_folder

GRADIENT = np.arange(240, dtype=np.uint8).reshape(12, 20)
COLOUR = np.stack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1]], axis=-1)


def saved(path: Path, image: Image.Image, **options) -> Path:
    """Write an image in the format that the ending of `path` stands for."""
    if FORMAT_OF_SUFFIX[path.suffix.lower()] == "HEIF":
        pillow_heif.from_pillow(image).save(path, **options)
    else:
        image.save(path, FORMAT_OF_SUFFIX[path.suffix.lower()], **options)
    return path


@pytest.mark.parametrize("suffix", sorted({*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES)}))
def test_every_ending_that_is_listed_is_read(tmp_path: Path, suffix: str) -> None:
    smooth = Image.fromarray(COLOUR).resize((96, 64), Image.Resampling.BICUBIC)
    path = saved(tmp_path / f"a{suffix}", smooth.convert("L") if suffix.lower() == ".pgm" else smooth)
    result = open_image(path)
    assert result.size == (96, 64)
    wanted = smooth.convert("1" if suffix.lower() == ".pbm" else result.mode).convert(result.mode)
    if suffix.lower() != ".pbm":
        assert np.abs(np.asarray(result).astype(int) - np.asarray(wanted)).mean() < 8
    assert remarks_of(result) == ()


def test_a_folder_of_all_endings_is_listed_checked_packed_and_loaded(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for number, suffix in enumerate([".jfif", ".JPE", ".avif", ".gif", ".HEIC", ".tga", ".jp2", ".ppm", ".APNG"]):
        image = Image.fromarray(np.roll(COLOUR, number, axis=1)).resize((40, 30), Image.Resampling.BICUBIC)
        for name in ("cat", "dog"):
            (root / name).mkdir(parents=True, exist_ok=True)
            saved(root / name / f"{number}{suffix}", image)
    found = open_folder(root, show_progress=False)
    assert len(found.splits["all"]) == 18
    assert inspect_folder(root, show_progress=False).of("wrong extension") == []
    whole = load_data(str(root), image_size=32, val_fraction=0, show_progress=False)
    pack_folder(root, tmp_path / "packed", PackOptions(), show_progress=False)
    packed = load_data(str(tmp_path / "packed"), image_size=32, val_fraction=0, show_progress=False)
    assert torch.equal(whole.train.load(torch.arange(18)), packed.train.load(torch.arange(18)))


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_a_phone_held_sideways(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((32, 64), 255, dtype=np.uint8)
    pixels[:16, :16] = 0
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise for viewing
    stored = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).convert("RGB")
    result = np.asarray(open_image(saved(tmp_path / f"a{suffix}", stored, exif=exif.tobytes())).convert("L"))
    assert result.shape == (32, 64)
    assert np.abs(result.astype(int) - pixels).max() < 60


FILMS = [("gif", "GIF", {}), ("webp", "WEBP", {"lossless": True}), ("png", "PNG", {}), ("tif", "TIFF", {})]


@pytest.mark.parametrize(("suffix", "format", "options"), FILMS)
def test_of_a_film_the_first_frame_is_taken_and_it_is_said_once(tmp_path: Path, suffix, format, options) -> None:
    frames = [Image.new("RGB", (20, 12), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    save_folder(tmp_path, {"cat": 2, "dog": 2})
    for number in range(3):
        path = tmp_path / "cat" / f"film{number}.{suffix}"
        frames[0].save(path, format, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(open_image(path)).reshape(-1, 3).tolist() == [[255, 0, 0]] * 240
    line = f"3 images have several frames or pages, of which the first is taken (cat/film0.{suffix}, …)"
    for _ in range(2):  # the second time from the cache
        assert open_folder(tmp_path, show_progress=False).notes == (line,)


def test_a_damaged_second_frame_does_not_cost_the_first() -> None:
    stream = io.BytesIO()
    frames = [Image.fromarray(np.roll(GRADIENT, shift)) for shift in (0, 5)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    content = stream.getvalue()
    for cut in range(len(content) - 60, len(content)):
        assert open_image(content[:cut]).size == (20, 12)


@pytest.mark.parametrize(
    ("values", "wanted", "remark"),
    [
        ([0, 16, 2048, 4095], [0, 1, 128, 255], "own range"),  # a 12-bit camera
        ([0, 16, 300, 1023], [0, 1, 18, 63], "own range"),  # the same, of something dark: as dark beside the others
        ([0, 1, 128, 255], [0, 1, 128, 255], "own range"),  # 8 bits, saved as 16
        ([0, 256, 4096, 65535], [0, 1, 16, 255], "16 bits"),
    ],
)
def test_values_in_sixteen_bits_are_scaled_by_what_the_file_uses(values, wanted, remark) -> None:
    pixels = np.array([values], dtype=np.uint16)
    for format in ("PNG", "TIFF"):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, format)
        result = open_image(stream.getvalue())
        assert (np.asarray(result)[0].tolist(), remarks_of(result)) == (wanted, (remark,))
    for channels in (3, 4):
        planes = np.repeat(pixels[..., None], channels, axis=-1)
        planes[..., 3:] = 65535
        result = open_image(deep_png(planes))
        assert (np.asarray(result)[0, :, 1].tolist(), remarks_of(result)) == (wanted, (remark,))


def ppm(magic: str, largest: int, values: list[int]) -> bytes:
    """A PGM (P2, P5) or PPM (P3, P6) of one row of grey values."""
    values = [value for value in values for _ in range(3 if magic in ("P3", "P6") else 1)]
    text = " ".join(map(str, values)).encode()
    content = text if magic in ("P2", "P3") else np.array(values, dtype=">u2").tobytes()
    return f"{magic}\n{len(values) // (3 if magic in ('P3', 'P6') else 1)} 1\n{largest}\n".encode() + content


@pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize(
    ("largest", "values", "wanted", "remark"),
    [
        (4095, [0, 15, 16, 28, 2047, 2048, 4095], [0, 0, 1, 1, 127, 128, 255], "own range"),
        (65535, [0, 15, 16, 28, 2047, 2048, 4095], [0, 0, 1, 1, 127, 128, 255], "own range"),
        (65535, [0, 1, 128, 255], [0, 1, 128, 255], "own range"),
        (65535, [0, 255, 256, 4096, 65535], [0, 0, 1, 16, 255], "16 bits"),
        (1023, [0, 3, 4, 512, 1023], [0, 0, 1, 128, 255], "own range"),
        (4095, [0, 16, 100, 255], [0, 1, 6, 15], "own range"),  # dark, and the header says so
    ],
)
def test_a_ppm_is_scaled_by_its_largest_value_in_grey_as_in_colour(magic, largest, values, wanted, remark) -> None:
    result = open_image(ppm(magic, largest, values))
    pixels = np.asarray(result)
    assert pixels.shape == (1, len(values), 3)[: pixels.ndim]
    assert pixels.reshape(len(values), -1).T.tolist() == [wanted] * (1 if pixels.ndim == 2 else 3)
    assert remarks_of(result) == (remark,)


@pytest.mark.parametrize(
    "content", [ppm("P6", 4095, [1, 2])[:-1], b"P3\n2 1\n4095\n1 2 3 4 5", b"P3\n1 1\n4095\n1 2 x"]
)
def test_a_deep_ppm_that_is_cut_off_is_broken(content) -> None:
    with pytest.raises(BrokenImageError):
        open_image(content)


def test_twelve_bits_with_transparency_are_scaled_too() -> None:
    planes = np.array([[[0, 65535], [16, 65535], [2048, 65535], [4095, 65535], [0, 0]]], dtype=np.uint16)
    result = open_image(deep_png(planes))
    assert np.asarray(result)[0, :, 1].tolist() == [0, 1, 128, 255, 255]
    assert remarks_of(result) == ("own range",)
    planes[0, 0, 0] = 65535
    assert np.asarray(open_image(deep_png(planes)))[0, :, 1].tolist() == [255, 0, 8, 15, 255]


def test_what_a_header_says_goes_before_what_the_values_look_like() -> None:
    dark = np.array([[0, 16, 100, 255]], dtype=np.uint16)

    def tiff(largest: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(dark).save(stream, "TIFF", tiffinfo={281: largest})
        return stream.getvalue()

    assert np.asarray(open_image(tiff(4095)))[0].tolist() == [0, 1, 6, 15]
    assert np.asarray(open_image(tiff(65535)))[0].tolist() == [0, 0, 0, 0]
    assert np.asarray(open_image(tiff(200)))[0].tolist() == [0, 16, 100, 255]  # no such number of bits: not believed
    # PGM says its largest value, and Pillow scales by it.
    pgm = b"P5\n4 1\n4095\n" + dark.astype(">u2").tobytes()
    assert np.asarray(open_image(pgm))[0].tolist() == [0, 1, 6, 15]


def test_training_prediction_and_a_pack_agree_on_twelve_bits(tmp_path: Path) -> None:
    root = tmp_path / "xray"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(2):
            values = np.random.default_rng(number).integers(0, 4096, (40, 40)).astype(np.uint16)
            Image.fromarray(values).save(root / name / f"{number}.png")
    found = open_folder(root, show_progress=False)
    assert found.notes == ("4 images have 16 bits a channel that hold fewer, such as 12: scaled by these (a/0.png, …)",)
    alone = np.asarray(open_image(root / "a" / "0.png"))
    assert alone.max() > 250
    for size in (256, 32):
        pack_folder(root, tmp_path / f"packed{size}", PackOptions(size=size), show_progress=False)
        for path in (root, tmp_path / f"packed{size}"):
            data = load_data(str(path), image_size=40 if size == 256 else 32, val_fraction=0, show_progress=False)
            first = data.train.load(torch.tensor([0]))[0, 0].numpy()
            assert first.max() > 180
            if size == 256:
                assert np.array_equal(first, alone)


def test_what_is_not_read_is_counted_by_format(tmp_path: Path) -> None:
    save_folder(tmp_path, {"cat": 2, "dog": 2})
    for name in ("a.psd", "b.PSD", "c.svg", "deep/d.dng"):
        (tmp_path / "cat" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "cat" / name).write_bytes(b"x")
    save_image(tmp_path / "dog" / "bare.png").rename(tmp_path / "dog" / "bare")
    (tmp_path / "dog" / "note").write_text("not an image")
    (tmp_path / "dog" / "note.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    lines = (
        "2 .psd, 1 .dng and 1 .svg files are not read: save as PNG or JPEG",
        "1 image file without an ending is not read: name it .jpg, .png …",
    )
    assert open_folder(tmp_path, show_progress=False).notes == lines
    result = inspect_folder(tmp_path, show_progress=False)
    assert not result.has_broken
    assert {finding.paths for finding in result.of("format not read")} == {
        ("cat/a.psd", "cat/b.PSD"),
        ("cat/c.svg",),
        ("cat/deep/d.dng",),
        ("dog/bare",),
    }


def test_without_the_extra_heic_files_are_counted_and_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.heic", Image.fromarray(COLOUR).resize((64, 64)))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find(name))
    fresh = importlib.util.module_from_spec(formats.__spec__)
    formats.__spec__.loader.exec_module(fresh)  # type: ignore[union-attr]
    assert not fresh.is_image_name("a.HEIC")
    assert fresh.unread_suffix("a.HEIC", str(path)) == ".heic"
    assert fresh.unread_notes({".heic": 12}) == ["12 .heic files are not read: pip install 'twofold[heif]'"]
    monkeypatch.setattr("twofold.data.decode.installed", fresh.installed)
    monkeypatch.setattr("twofold.data.decode.what_it_is", fresh.what_it_is)
    with pytest.raises(BrokenImageError, match=r"it is a HEIC image: pip install 'twofold\[heif\]'"):
        open_image(path)


def test_notes_in_the_singular() -> None:
    assert unread_notes({".psd": 1}) == ["1 .psd file is not read: save as PNG or JPEG"]
    assert unread_notes({".jpg_large": 2}) == [
        "2 .jpg_large files are not read: images by their content: name them .jpg, .png …"
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!doctype html>", "an HTML page"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"8BPS\x00\x01", "a Photoshop file"),
    ],
)
def test_every_verb_says_what_a_file_is_instead(content: bytes, words: str) -> None:
    with pytest.raises(BrokenImageError, match=words):
        open_image(content)
