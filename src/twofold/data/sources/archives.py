"""The published files of the named data sets, read into tensors without believing them.

Of a tar archive only the regular members asked for by exact name are read, from the stream; nothing is ever
extracted to the disk, so a member called ../../.bashrc is no different from any other that is passed over. The
CIFAR archives read are the binary ones: the python ones are pickles, which run code when they are opened.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from twofold.data.names import NAMED_DATA, NamedData
from twofold.data.sources.idx import read_images, read_labels
from twofold.data.sources.store import Arrays
from twofold.errors import TwofoldError

MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_CIFAR_PIXELS = 3 * 32 * 32
_MAX_ARCHIVE_BYTES = 2**30


def read_archives(name: str, folder: Path) -> Arrays:
    """Return the data set `name` from its published files in `folder`.

    Raises:
        TwofoldError: a file is missing, damaged, or not what it should be.
    """
    info = NAMED_DATA[name]
    if name in ("cifar10", "cifar100"):
        return _read_cifar(folder, info)
    if name == "svhn":
        return _read_svhn(folder, info)
    tensors = []
    for images_name, labels_name in (MNIST_FILES[:2], MNIST_FILES[2:]):
        images = read_images(folder / images_name, size=info.size)
        labels = read_labels(folder / labels_name, num_classes=info.num_classes)
        if len(images) != len(labels):
            raise TwofoldError(f"{folder / images_name} has {len(images)} images but {len(labels)} labels beside it")
        tensors += [images, labels]
    return Arrays(info.class_names or (), *tensors)


def _read_cifar(folder: Path, info: NamedData) -> Arrays:
    """Return the data of CIFAR-10, or of CIFAR-100, which has a second label, coarse, and brings its class names."""
    path = folder / f"cifar-{info.num_classes}-binary.tar.gz"
    if class_names := info.class_names:
        train = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
        test, num_label_bytes = "cifar-10-batches-bin/test_batch.bin", 1
        members = read_members(path, [*train, test])
    else:
        train, test, num_label_bytes = ["cifar-100-binary/train.bin"], "cifar-100-binary/test.bin", 2
        names = "cifar-100-binary/fine_label_names.txt"
        members = read_members(path, [*train, test, names])
        class_names = tuple(members[names].decode(errors="replace").split())
        if len(class_names) != info.num_classes:
            raise TwofoldError(f"{path} names {len(class_names)} classes, expected {info.num_classes}")
    contents = (b"".join(members[name] for name in train), members[test])
    tensors = [part for content in contents for part in _cifar_records(path, content, num_label_bytes, info)]
    return Arrays(class_names, *tensors)


def _read_svhn(folder: Path, info: NamedData) -> Arrays:
    """Return the data of SVHN's files, where pixels stand as (height, width, channel, n) and 0 as 10."""
    try:
        from scipy.io import loadmat  # pyright: ignore[reportMissingImports] - an optional extra
    except ImportError as error:
        raise TwofoldError('svhn needs scipy to read its .mat files; pip install "twofold[svhn]"') from error
    tensors = []
    for path in (folder / "train_32x32.mat", folder / "test_32x32.mat"):
        try:
            content = loadmat(path, variable_names=["X", "y"])
            images = torch.from_numpy(content["X"]).permute(3, 2, 0, 1).contiguous()
            labels = torch.from_numpy(content["y"]).reshape(-1).to(torch.int64) % info.num_classes
        except Exception as error:
            raise TwofoldError(f"cannot read {path}: {error}") from error
        if images.dtype != torch.uint8 or images.shape[1:] != (3, *info.size) or len(images) != len(labels):
            raise TwofoldError(f"{path} holds {len(labels)} labels and images of shape {tuple(images.shape)}")
        tensors += [images, labels]
    return Arrays(info.class_names or (), *tensors)


def read_members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return the content of the regular members `names` of a gzipped tar, read from the stream.

    Raises:
        TwofoldError: the archive is damaged, declares more than 1 GiB, or lacks one of the members.
    """
    found: dict[str, bytes] = {}
    declared = 0
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                declared += member.size
                if declared > _MAX_ARCHIVE_BYTES:
                    raise TwofoldError(f"{path} declares more than {_MAX_ARCHIVE_BYTES:,} bytes of content")
                if member.name in names and member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    stream = archive.extractfile(member)
                    assert stream is not None  # it is a regular member
                    found[member.name] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise TwofoldError(f"cannot read {path}: {error}; it may be damaged or cut short") from error
    if missing := [name for name in names if name not in found]:
        raise TwofoldError(f"{path} has no regular member {missing[0]}")
    return found


def _cifar_records(
    path: Path, content: bytes, num_label_bytes: int, info: NamedData
) -> tuple[UInt8[Tensor, "n 3 32 32"], Int64[Tensor, " n"]]:
    """Return images and labels of records of label bytes (the last is the label) and pixels by channel."""
    length = num_label_bytes + _CIFAR_PIXELS
    if not content or len(content) % length:
        raise TwofoldError(f"{path} has {len(content)} bytes in a member, not a multiple of {length}")
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(-1, length)
    labels = records[:, num_label_bytes - 1].to(torch.int64)
    if int(labels.max()) >= info.num_classes:
        raise TwofoldError(f"{path} has the label {int(labels.max())}, but there are {info.num_classes} classes")
    return records[:, num_label_bytes:].reshape(-1, 3, 32, 32).contiguous(), labels
