import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from twofold.data import BrokenImageError, ChannelMismatchError, PixelSpec, image_to_pil, open_image, to_pixels
from twofold.errors import TwofoldError

RANDOM = np.random.default_rng(0)
COLOUR = Image.fromarray(RANDOM.integers(0, 256, (30, 50, 3), dtype=np.uint8))
GREY = COLOUR.convert("L")


def spec(channels=3, size=(30, 50), **options) -> PixelSpec:
    return PixelSpec(channels=channels, image_size=size, **options)


def test_the_same_size_keeps_every_pixel():
    pixels = to_pixels(COLOUR, spec())
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(COLOUR))


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
    resize=st.sampled_from(["crop", "stretch", "pad"]),
    value=st.integers(0, 255),
)
@settings(max_examples=100)
def test_any_size_to_any_size(size, source, channels, resize, value):
    image = Image.fromarray(np.full(source, value, dtype=np.uint8))
    pixels = to_pixels(image, spec(channels, size, resize=resize))
    assert pixels.shape == (channels, *size)
    allowed = {value, 0} if resize == "pad" else {value}
    assert set(np.unique(pixels).tolist()) <= allowed
    assert value in pixels


@pytest.mark.parametrize(("width", "height", "left", "top"), [(15, 10, 2, 0), (14, 10, 2, 0), (10, 13, 0, 1)])
def test_what_has_the_size_already_is_cut_not_blurred(width: int, height: int, left: int, top: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = to_pixels(Image.fromarray(values), spec(3, (10, 10), resize="crop"))
    assert np.array_equal(pixels.transpose(1, 2, 0), values[top : top + 10, left : left + 10])


def test_crop_cuts_the_centre():
    wide = np.zeros((10, 30), dtype=np.uint8)
    wide[:, 10:20] = 200
    assert (to_pixels(Image.fromarray(wide), spec(1, (10, 10))) == 200).all()
    assert (to_pixels(Image.fromarray(wide.T.copy()), spec(1, (10, 10))) == 200).all()
    # To half the size, all but the border of the cut is untouched by what lies outside it.
    half = to_pixels(Image.fromarray(wide), spec(1, (5, 5)))
    assert (half[0, :, 1:4] == 200).all()


def test_pad_keeps_the_whole_image_on_black():
    pixels = to_pixels(Image.fromarray(np.full((10, 30), 200, dtype=np.uint8)), spec(1, (30, 30), resize="pad"))
    assert (pixels[0, 10:20] == 200).all()
    assert (pixels[0, :10] == 0).all()
    assert (pixels[0, 20:] == 0).all()


def test_stretch_uses_all_of_the_image():
    wide = np.zeros((10, 30), dtype=np.uint8)
    wide[:, 15:] = 200
    pixels = to_pixels(Image.fromarray(wide), spec(1, (10, 10), resize="stretch"))
    assert (pixels[0, :, :4] == 0).all()
    assert (pixels[0, :, 6:] == 200).all()


def test_a_small_version_has_no_aliasing():
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels = to_pixels(Image.fromarray(stripes), spec(1, (8, 8)))
    assert np.abs(pixels.astype(int) - 127).max() < 10


def test_grey_to_colour_is_repetition():
    for size in ((30, 50), (16, 16)):
        pixels = to_pixels(GREY, spec(3, size))
        assert np.array_equal(pixels[0], pixels[1])
        assert np.array_equal(pixels[0], pixels[2])
        # The same whether the file says grey or colour.
        assert np.array_equal(pixels, to_pixels(GREY.convert("RGB"), spec(3, size)))
        assert np.array_equal(pixels[:1], to_pixels(GREY.convert("RGB"), spec(1, size)))


def test_colour_to_grey_only_when_wanted():
    with pytest.raises(
        ChannelMismatchError, match=r"in colour, and the network takes grey ones; to_grey=True turns it"
    ):
        to_pixels(COLOUR, spec(1))
    pixels = to_pixels(COLOUR, spec(1, convert_colour=True))
    assert np.array_equal(pixels[0], np.asarray(GREY))


def test_image_to_pil_takes_every_kind(tmp_path: Path):
    path = tmp_path / "a.png"
    COLOUR.save(path)
    array = np.asarray(COLOUR)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for value in (COLOUR, path, str(path), array, array / 255, (array / 255).astype(np.float32), tensor, tensor / 255):
        image = image_to_pil(value)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), array)
    grey = np.asarray(GREY)
    for value in (GREY, grey, grey[..., None], torch.tensor(grey), torch.tensor(grey)[None], torch.tensor(grey / 255)):
        image = image_to_pil(value)
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), grey)
    half = image_to_pil(torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16, requires_grad=True))
    assert np.asarray(half).tolist() == [[0, 255]]


def test_image_to_pil_lays_transparency_on_white_as_files_do(tmp_path: Path):
    opacity = np.arange(COLOUR.width * COLOUR.height, dtype=np.uint8).reshape(COLOUR.height, COLOUR.width, 1)
    array = np.concatenate([np.asarray(COLOUR), opacity], axis=2)
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = np.asarray(open_image(tmp_path / "a.png"))
    content = (tmp_path / "a.png").read_bytes()
    for value in (array, torch.from_numpy(array).permute(2, 0, 1), content, memoryview(content), io.BytesIO(content)):
        assert np.array_equal(np.asarray(image_to_pil(value)), expected)


def test_image_to_pil_finds_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    COLOUR.save(tmp_path / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(np.asarray(image_to_pil("~/a.png")), np.asarray(COLOUR))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 3, 5), np.uint8), r"\(height, width, 1, 3 or 4\), got shape \(2, 3, 5\)"),
        (torch.zeros(2, 3, 4), r"\(1, 3 or 4, height, width\), got shape \(2, 3, 4\)"),
        (torch.zeros(1, 3, 4, 4), r"got shape \(1, 3, 4, 4\)"),
        (np.zeros((4, 4), np.int64), "uint8, or float from 0 to 1, got int64"),
        (np.full((4, 4), 255.0), "from 0 to 1, got 255 to 255; divide by 255"),
        (np.full((4, 4), np.nan), "from 0 to 1, got nan"),
        (torch.full((4, 4), -1.0), "got -1 to -1"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        ([[1, 2]], "got list; several images are for predict_many"),
    ],
)
def test_image_to_pil_refuses(value, message):
    with pytest.raises(TwofoldError, match=message):
        image_to_pil(value)


def test_image_to_pil_of_a_broken_file(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(BrokenImageError, match=r"a\.png"):
        image_to_pil(tmp_path / "a.png")
