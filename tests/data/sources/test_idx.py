import gzip
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from twofold.data.sources.idx import read_images, read_labels
from twofold.errors import TwofoldError

PIXELS = bytes(range(24))


def idx(shape: tuple[int, ...], content: bytes, magic: bytes | None = None) -> bytes:
    return (magic or bytes((0, 0, 8, len(shape)))) + struct.pack(f">{len(shape)}I", *shape) + content


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_images_and_labels(tmp_path: Path):
    images = read_images(write(tmp_path / "i.gz", idx((2, 3, 4), PIXELS)), size=(3, 4))
    assert images.dtype == torch.uint8
    assert images.flatten().tolist() == list(PIXELS)
    assert images.shape == (2, 1, 3, 4)
    labels = read_labels(write(tmp_path / "l.gz", idx((3,), b"\x00\x09\x04")), num_classes=10)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 9, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx((2, 3, 4), PIXELS, magic=b"\x00\x00\x0d\x03"), "not an idx file of bytes with 3 dimensions"),
        (idx((24,), PIXELS), "not an idx file of bytes with 3 dimensions"),
        (b"\x00\x00\x08", "not an idx file"),
        (b"", "not an idx file"),
        (idx((2, 3, 4), PIXELS[:-1]), "fewer than the 24 bytes"),
        (idx((2, 3, 4), PIXELS + b"\x00"), "more than the 24 bytes"),
        (idx((2, 3, 4), PIXELS + bytes(50_000_000)), "more than the 24 bytes"),
        (idx((0, 3, 4), b""), "declares the dimensions"),
        (idx((2**32 - 1,) * 3, PIXELS), "declares the dimensions"),
        (idx((2, 4, 3), PIXELS), "holds images of 4 x 3 px, expected 3 x 4"),
    ],
)
def test_hostile_images(tmp_path: Path, content, message):
    with pytest.raises(TwofoldError, match=message) as raised:
        read_images(write(tmp_path / "i.gz", content), size=(3, 4))
    assert str(tmp_path / "i.gz") in str(raised.value)


def test_labels_out_of_range(tmp_path: Path):
    with pytest.raises(TwofoldError, match="has the label 10, but there are 10 classes"):
        read_labels(write(tmp_path / "l.gz", idx((2,), b"\x00\x0a")), num_classes=10)


def test_not_gzip_and_cut_gzip(tmp_path: Path):
    path = tmp_path / "i.gz"
    whole = gzip.compress(idx((2, 3, 4), PIXELS))
    for content in (b"plain", whole[: len(whole) // 2], whole[:-4] + b"0000"):
        path.write_bytes(content)
        with pytest.raises(TwofoldError, match="may be damaged or cut short"):
            read_images(path, size=(3, 4))
    with pytest.raises(TwofoldError, match=r"cannot read .*No such file"):
        read_images(tmp_path / "missing.gz", size=(3, 4))


@given(content=st.binary(max_size=60), compress=st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_images_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content, compress):
    path = tmp_path_factory.mktemp("idx") / "i.gz"
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(TwofoldError, match=r"i\.gz"):
        read_images(path, size=(28, 28))
