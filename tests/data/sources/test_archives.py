import io
import pickle
import tarfile
from pathlib import Path

import pytest
import scipy.io
import torch

from twofold.data.sources.archives import read_archives, read_members
from twofold.errors import TwofoldError

CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_FILES = [f"{CIFAR10_FOLDER}/{name}.bin" for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")]


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def record(*labels: int, value: int) -> bytes:
    """A record whose red plane is `value`, green plane `value` + 1 and blue plane `value` + 2."""
    return bytes(labels) + b"".join(bytes([value + plane]) * 1024 for plane in range(3))


def cifar10_members() -> dict[str, bytes]:
    return {name: record(number, value=10 * number) for number, name in enumerate(CIFAR10_FILES)}


def test_cifar10(tmp_path: Path):
    make_tar(tmp_path / "cifar-10-binary.tar.gz", cifar10_members())
    arrays = read_archives("cifar10", tmp_path)
    assert arrays.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert arrays.test_labels.tolist() == [5]
    assert arrays.train_images.shape == (5, 3, 32, 32)
    assert arrays.train_images[3].flatten(1).unique(dim=1).flatten().tolist() == [30, 31, 32]
    assert arrays.class_names[0] == "airplane"


def cifar100_members() -> dict[str, bytes]:
    return {
        "cifar-100-binary/fine_label_names.txt": "\n".join(f"thing_{n:02d}" for n in range(100)).encode() + b"\n\n",
        "cifar-100-binary/train.bin": record(3, 99, value=1) + record(4, 7, value=2),
        "cifar-100-binary/test.bin": record(0, 50, value=3),
    }


def test_cifar100(tmp_path: Path):
    make_tar(tmp_path / "cifar-100-binary.tar.gz", cifar100_members())
    arrays = read_archives("cifar100", tmp_path)
    assert arrays.train_labels.tolist() == [99, 7]  # the fine label, not the coarse one before it
    assert arrays.test_labels.tolist() == [50]
    assert arrays.class_names[99] == "thing_99"
    assert arrays.test_images[0, :, 0, 0].tolist() == [3, 4, 5]


def test_nothing_is_extracted_from_a_hostile_archive(tmp_path: Path):
    inside = tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (marker.write_text, ("pickle was run",))

    members = {
        "../../escaped.txt": b"x",
        str(tmp_path / "absolute.txt"): b"x",
        "cifar-10-batches-py/data_batch_1": pickle.dumps(Evil()),
        **cifar10_members(),
    }
    make_tar(inside / "cifar-10-binary.tar.gz", members)
    assert len(read_archives("cifar10", inside).train_labels) == 5
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cifar-10-binary.tar.gz", "in", "side"]


def test_a_link_in_place_of_a_member_is_not_followed(tmp_path: Path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("data.bin")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(TwofoldError, match=r"has no regular member data\.bin"):
        read_members(path, ["data.bin"])


def test_an_archive_that_declares_too_much(tmp_path: Path):
    path = tmp_path / "a.tar.gz"
    info = tarfile.TarInfo("data.bin")
    info.size = 2**31
    import gzip

    path.write_bytes(gzip.compress(info.tobuf() + bytes(1024)))
    with pytest.raises(TwofoldError, match="declares more than 1,073,741,824 bytes"):
        read_members(path, ["data.bin"])


def test_damaged_archives(tmp_path: Path):
    path = make_tar(tmp_path / "cifar-10-binary.tar.gz", cifar10_members())
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive", b""):
        path.write_bytes(content)
        with pytest.raises(TwofoldError, match="may be damaged or cut short"):
            read_archives("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "has 0 bytes in a member"), (b"\x00" * 3074, "not a multiple of 3073"), (record(10, value=0), "label 10")],
)
def test_records_that_cannot_be(tmp_path: Path, content, message):
    make_tar(tmp_path / "cifar-10-binary.tar.gz", {**cifar10_members(), CIFAR10_FILES[-1]: content})
    with pytest.raises(TwofoldError, match=message):
        read_archives("cifar10", tmp_path)


def test_cifar100_without_all_its_names(tmp_path: Path):
    members = {**cifar100_members(), "cifar-100-binary/fine_label_names.txt": b"a b c"}
    make_tar(tmp_path / "cifar-100-binary.tar.gz", members)
    with pytest.raises(TwofoldError, match="names 3 classes, expected 100"):
        read_archives("cifar100", tmp_path)


def test_svhn(tmp_path: Path):
    for split, labels in (("train", [1, 10, 9]), ("test", [10])):
        pixels = torch.arange(len(labels), dtype=torch.uint8).expand(32, 32, 3, -1).numpy()
        columns = torch.tensor(labels, dtype=torch.uint8)[:, None].numpy()
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", {"X": pixels, "y": columns})
    arrays = read_archives("svhn", tmp_path)
    assert arrays.train_labels.tolist() == [1, 0, 9]  # the digit 0 is stored as 10
    assert arrays.train_images.shape == (3, 3, 32, 32)
    assert arrays.train_images[:, 0, 0, 0].tolist() == [0, 1, 2]
    (tmp_path / "train_32x32.mat").write_bytes(b"no mat file")
    with pytest.raises(TwofoldError, match=r"cannot read .*train_32x32"):
        read_archives("svhn", tmp_path)
    scipy.io.savemat(tmp_path / "train_32x32.mat", {"X": pixels[:8], "y": columns})
    with pytest.raises(TwofoldError, match="images of shape"):
        read_archives("svhn", tmp_path)
