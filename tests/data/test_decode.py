import io
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageCms, ImageFile

from encoded import tiled_tiff
from twofold.data import MAX_PIXELS, BrokenImageError, open_image

from .conftest import deep_png, save_image

GRADIENT = np.arange(240, dtype=np.uint8).reshape(12, 20)
COLOUR = np.stack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1]], axis=-1)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOUR).save(path)
    image = open_image(path)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), COLOUR)
    assert np.array_equal(np.asarray(open_image(str(path))), COLOUR)
    assert np.array_equal(np.asarray(open_image(path.read_bytes())), COLOUR)
    with path.open("rb") as stream:
        assert np.array_equal(np.asarray(open_image(stream)), COLOUR)
    assert np.array_equal(np.asarray(open_image(Image.open(path))), COLOUR)


@pytest.mark.parametrize(("format", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})])
def test_photograph_formats(format, options):
    smooth = Image.fromarray(COLOUR).resize((80, 48), Image.Resampling.BICUBIC)
    image = open_image(encoded(smooth, format, **options))
    assert image.size == (80, 48)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(smooth)).mean() < 4


def test_the_content_decides_not_the_suffix(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.fromarray(COLOUR), "PNG"))
    assert np.array_equal(np.asarray(open_image(path)), COLOUR)


def test_one_bit_and_palette():
    bits = Image.fromarray(np.where(GRADIENT > 100, 255, 0).astype(np.uint8)).convert("1")
    result = open_image(encoded(bits, "PNG"))
    assert result.mode == "L"
    assert set(np.unique(np.asarray(result))) == {0, 255}
    palette = Image.fromarray(COLOUR).convert("P", palette=Image.Palette.ADAPTIVE)
    result = open_image(encoded(palette, "PNG"))
    assert result.mode == "RGB"
    assert np.array_equal(np.asarray(result), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_upper_byte(format):
    values = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    result = open_image(encoded(Image.fromarray(values), format))
    assert result.mode == "L"
    assert np.asarray(result).tolist() == [[0, 0, 1], [128, 255, 255]]


def test_thirty_two_bits_outside_sixteen_are_refused():
    for value in (70000, -1):
        image = Image.fromarray(np.full((2, 2), value, dtype=np.int32))
        with pytest.raises(BrokenImageError, match="outside 16 bits"):
            open_image(encoded(image, "TIFF"))


def test_floats():
    values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    assert np.asarray(open_image(encoded(Image.fromarray(values), "TIFF"))).tolist() == [[0, 128, 255]]
    for bad in (1.5, -0.1, float("nan")):
        with pytest.raises(BrokenImageError, match=r"only 0\.\.1 is known"):
            open_image(encoded(Image.fromarray(np.full((2, 2), bad, dtype=np.float32)), "TIFF"))


def test_transparency_is_on_white():
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 3] = (0, 128, 255)
    result = open_image(encoded(Image.fromarray(rgba), "PNG"))
    assert result.mode == "RGB"
    assert np.asarray(result)[0, :, 0].tolist() == [255, 127, 0]
    grey_alpha = Image.fromarray(rgba).convert("LA")
    result = open_image(encoded(grey_alpha, "PNG"))
    assert result.mode == "L"
    assert np.asarray(result)[0].tolist() == [255, 127, 0]


def test_transparency_in_a_palette_or_a_key_colour():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    result = open_image(encoded(palette, "PNG", transparency=b"\x00\xff"))
    assert np.asarray(result).tolist() == [[[255, 255, 255], [40, 50, 60]]]
    grey = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    result = open_image(encoded(grey, "PNG", transparency=7))
    assert result.mode == "L"
    assert np.asarray(result).tolist() == [[255, 8]]
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    result = open_image(encoded(colour, "PNG", transparency=(1, 2, 3)))
    assert np.asarray(result).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_print_and_laboratory_colours():
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    assert np.array_equal(np.asarray(open_image(encoded(cmyk, "TIFF"))), np.asarray(cmyk.convert("RGB")))
    assert open_image(encoded(cmyk, "JPEG")).mode == "RGB"
    assert open_image(Image.fromarray(COLOUR).convert("YCbCr")).mode == "RGB"
    red = Image.new("RGB", (4, 4), (200, 30, 30))
    lab = ImageCms.profileToProfile(
        red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    result = np.asarray(open_image(encoded(lab, "TIFF"))).astype(int)
    assert np.abs(result - (200, 30, 30)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_orientation_is_turned_upright(orientation, format):
    # A black corner in a white image: upright it lies top left.
    upright = np.full((32, 64), 255, dtype=np.uint8)
    upright[:16, :16] = 0
    undo = {2: 0, 3: 1, 4: 2, 5: 5, 6: 3, 7: 6, 8: 4}  # exif orientation → what a camera did to the upright picture
    methods = [
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
    ]
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(methods[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = np.asarray(open_image(encoded(stored, format, exif=exif)).convert("L"))
    assert result.shape == upright.shape
    assert np.abs(result.astype(int) - upright).max() < 40


def test_a_damaged_exif_block_does_not_cost_the_image():
    data = encoded(Image.fromarray(COLOUR), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
    assert open_image(data).size == (20, 12)


def test_the_first_page_of_several():
    pages = [Image.fromarray(np.full((3, 3), value, dtype=np.uint8)) for value in (10, 20)]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    assert np.unique(np.asarray(open_image(stream.getvalue()))).tolist() == [10]


def test_not_an_image(tmp_path: Path):
    path = tmp_path / "notes.png"
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n"):
        path.write_bytes(content)
        with pytest.raises(BrokenImageError) as raised:
            open_image(path)
        assert str(raised.value).startswith(str(path))
        assert raised.value.path == str(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("format", ["PCX", "ICO", "EPS", "DDS", "SGI", "PDF"])
def test_other_formats_are_not_opened(format):
    with pytest.raises(BrokenImageError, match="not an image that can be read"):
        open_image(encoded(Image.fromarray(COLOUR), format))


def test_missing_and_unreadable_files(tmp_path: Path):
    with pytest.raises(BrokenImageError, match="cannot be read: No such file"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(BrokenImageError, match="cannot be read: Is a directory"):
        open_image(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_truncated_files(tmp_path: Path, suffix):
    path = save_image(tmp_path / f"a{suffix}", size=(100, 100))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BrokenImageError, match=f"a{suffix}: "):
        open_image(path)


def test_a_bomb_is_refused_on_its_header(tmp_path: Path):
    path = tmp_path / "bomb.png"
    # Two bits a pixel of zeros: a few kilobytes that would be gigabytes in memory.
    header = encoded(Image.new("1", (1, 1)), "PNG")
    for side in (10_000, 60_000):
        import struct
        import zlib

        body = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
        path.write_bytes(header[:8] + chunk + header[33:])
        with pytest.raises(BrokenImageError, match="limit of 89,478,485 px"):
            open_image(path)
    assert MAX_PIXELS == 89_478_485


def test_the_limit_can_be_lowered():
    data = encoded(Image.fromarray(COLOUR), "PNG")
    assert open_image(data, max_pixels=240).size == (20, 12)
    with pytest.raises(BrokenImageError, match="20 x 12 px is over the limit of 239 px"):
        open_image(data, max_pixels=239)
    with pytest.raises(BrokenImageError, match="has no pixels"):
        open_image(Image.new("RGB", (0, 4)))


def test_tiles_larger_than_the_image_count():
    assert open_image(tiled_tiff(16, 256)).size == (16, 16)
    with pytest.raises(BrokenImageError, match="its tiles are over the limit of 65,535 px"):
        open_image(tiled_tiff(16, 256), max_pixels=65_535)
    with pytest.raises(BrokenImageError, match="its tiles are over the limit of 89,478,485 px"):
        open_image(tiled_tiff(16, 9472))


def test_global_state_is_as_it_was(tmp_path: Path):
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    path = save_image(tmp_path / "a.jpg", size=(64, 64))
    open_image(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BrokenImageError):
        open_image(path)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def heic(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream)
    return stream.getvalue()


SAMPLES = [
    encoded(Image.fromarray(COLOUR), "PNG"),
    encoded(Image.fromarray(COLOUR), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00"),
    encoded(Image.fromarray(COLOUR), "WEBP"),
    encoded(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw"),
    encoded(Image.fromarray(COLOUR), "BMP"),
    encoded(Image.fromarray(COLOUR).convert("P"), "PNG", transparency=b"\x00\x80"),
    encoded(Image.fromarray(COLOUR), "GIF", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])]),
    encoded(Image.fromarray(COLOUR), "AVIF"),
    encoded(Image.fromarray(COLOUR), "JPEG2000"),
    encoded(Image.fromarray(COLOUR), "PPM"),
    encoded(Image.fromarray(GRADIENT.astype(np.uint16) * 16), "PNG"),
    encoded(Image.fromarray(GRADIENT.astype(np.uint16) * 16), "TIFF"),
    heic(Image.fromarray(COLOUR)),
    deep_png(COLOUR.astype(np.uint16) * 16),
]


@given(sample=st.sampled_from(SAMPLES), data=st.data())
@settings(max_examples=200, deadline=None)
def test_damage_gives_an_image_or_a_broken_image_error(sample, data):
    damaged = bytearray(sample)
    for place in data.draw(st.lists(st.integers(0, len(sample) - 1), max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.integers(0, len(sample)))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image = open_image(damaged, max_pixels=1_000_000)
        except BrokenImageError:
            return
    assert image.mode in ("L", "RGB")
    assert image.width * image.height <= 1_000_000
