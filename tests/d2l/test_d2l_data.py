"""The book's data: batches in torch's order, images as torchvision makes them, downloads and stand-ins."""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets, transforms

from processes import Server
from twofold import d2l
from twofold.data.download import DownloadError
from twofold.errors import RunError, TwofoldError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each test has a folder of its own, in which ../data lies too, and the edition and the network of the start."""
    (tmp_path / "chapter").mkdir()
    monkeypatch.chdir(tmp_path / "chapter")
    yield
    d2l.edition("1.0")
    d2l.offline(False)


@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.integers(0, 2**31))
def test_batches_come_in_the_order_of_torchs_loader(num_rows, batch_size, shuffle, seed):
    x, y = torch.randn(num_rows, 3), torch.arange(num_rows)
    torch.manual_seed(seed)
    ours = d2l.load_array((x, y), batch_size, is_train=shuffle)
    first, second = list(ours), list(ours)
    torch.manual_seed(seed)
    theirs = DataLoader(TensorDataset(x, y), batch_size, shuffle=shuffle)
    for mine, oracle in ((first, list(theirs)), (second, list(theirs))):
        assert len(mine) == len(oracle) == len(ours) == len(theirs)
        for batch, expected in zip(mine, oracle, strict=True):
            assert type(batch) is type(expected)
            assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))
    batches = iter(ours)
    assert len(next(batches)[1]) == min(batch_size, num_rows)
    with pytest.raises(StopIteration):
        for _ in range(len(ours)):
            batches.next()


def test_data_iter_gives_every_example_once_in_another_order_each_time():
    x, y = torch.arange(50.0)[:, None], torch.arange(50)
    orders = []
    for _ in range(2):
        batches = list(d2l.data_iter(8, x, y))
        assert [len(labels) for _, labels in batches] == [8] * 6 + [2]
        assert all(torch.equal(features[:, 0], labels.float()) for features, labels in batches)
        orders.append(torch.cat([labels for _, labels in batches]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (96, 64), (20, 20)])
def test_images_are_those_that_torchvision_gives(size):
    """Within 1 of 255 levels: where an image is resized, Pillow and torch round differently."""
    d2l.offline()
    data = d2l.FashionMNIST(batch_size=16, resize=size)
    oracle = transforms.Compose([transforms.Resize(size), transforms.ToTensor()])
    images, labels = next(iter(data.val_dataloader()))
    assert images.shape == (16, 1, *size)
    assert images.dtype == torch.float32
    for index in range(16):
        expected = oracle(Image.fromarray(data.val.data[index].numpy()))
        assert (images[index] - expected).abs().max() <= (1.01 / 255 if size != (28, 28) else 0)
        assert torch.equal(data.val[index][0], images[index])
        assert data.val[index][1] == labels[index]
    as_torch = next(iter(DataLoader(data.val, 16)))
    assert torch.equal(as_torch[0], images)
    assert torch.equal(as_torch[1], labels)
    assert d2l.get_fashion_mnist_labels([0, 9, torch.tensor(4)]) == ["t-shirt", "ankle boot", "coat"]
    assert data.text_labels(labels[:2]) == d2l.get_fashion_mnist_labels(labels[:2])


def test_fashion_mnist_is_all_of_it_where_it_is_there():
    """From the system's folder, as torchvision reads the same files."""
    train, test = d2l.load_data_fashion_mnist(256)
    assert (len(train.dataset), len(test.dataset), len(train), len(test)) == (60_000, 10_000, 235, 40)
    d2l.edition("zh")
    _, again = d2l.load_data_fashion_mnist(batch_size=256, resize=32, root="nowhere")
    assert next(iter(again))[0].shape == (256, 1, 32, 32)
    assert not Path("nowhere").exists()
    assert datasets.FashionMNIST.classes[int(test.dataset.targets[0])] == "Ankle boot"


@pytest.fixture
def no_images_here(monkeypatch, tmp_path):
    """Have no Fashion-MNIST on this machine, neither of the system nor downloaded before."""
    from twofold.d2l import datasets as ours
    from twofold.data.sources import named

    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(named, "SYSTEM_FOLDER", tmp_path)
    ours._fashion_mnist.cache_clear()
    yield
    ours._fashion_mnist.cache_clear()


def _download_from(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have named data downloaded from `address`."""
    from twofold.data.download import Resource
    from twofold.data.sources import named

    def official_resources(name: str) -> tuple[Resource, ...]:
        return (Resource(filename=name, urls=(address + name,), md5="0" * 32),)

    monkeypatch.setattr(named, "official_resources", official_resources)


def test_without_network_nor_files_fashion_mini_is_taken_when_asked_for(no_images_here, monkeypatch, capfd):
    _download_from("http://127.0.0.1:9/", monkeypatch)
    with pytest.raises(DownloadError, match=r"d2l.offline\(\) takes fashion-mini"):
        d2l.load_data_fashion_mnist(8)
    d2l.offline()
    train, test = d2l.load_data_fashion_mnist(8)
    assert (len(train.dataset), len(test.dataset)) == (10_000, 2_000)
    assert "fashion-mini, 12,000 images" in capfd.readouterr().err


def test_offline_asks_no_network(no_images_here, server: Server, monkeypatch):
    _download_from(f"{server.address}/", monkeypatch)
    d2l.offline()
    assert len(d2l.load_data_fashion_mnist(8)[0].dataset) == 10_000
    assert server.requests == []


def test_a_stand_in_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    d2l.offline()
    with pytest.raises(RunError, match=r"^cannot write \.\./data/stand-in-airfoil\.dat: ") as raised:
        d2l.download("airfoil")
    assert "\n" not in str(raised.value)


# Files from a network


def sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def test_a_file_is_downloaded_once_and_only_with_the_right_checksum(server: Server, monkeypatch):
    address = server.address + "/table.dat"
    server.replies["/table.dat"] = [b"1\t2\n", b"changed"]
    monkeypatch.setitem(d2l.DATA_HUB, "table", (address, sha1(b"1\t2\n")))
    path = Path(d2l.download("table"))
    assert path == Path("../data/table.dat")
    assert path.read_bytes() == b"1\t2\n"
    assert Path(d2l.download("table")).read_bytes() == b"1\t2\n"
    assert server.requests == ["/table.dat"]
    path.write_bytes(b"damaged")
    with pytest.raises(DownloadError, match="wrong checksum: SHA-1"):
        d2l.download("table")
    assert Path(d2l.download(address, folder="elsewhere")).read_bytes() == b"changed"
    assert Path("elsewhere/table.dat").exists()
    with pytest.raises(TwofoldError, match="did you mean airfoil"):
        d2l.download("airfoli")


def test_an_archive_is_unpacked_beside_itself_and_never_outside(server: Server, monkeypatch, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("set/label.csv", "a,b\n")
        archive.writestr("../../escaped", "no")
    server.replies["/set.zip"] = [content.getvalue()]
    monkeypatch.setitem(d2l.DATA_HUB, "set", (server.address + "/set.zip", sha1(content.getvalue())))
    unpacked = Path(d2l.download_extract("set"))
    assert unpacked == Path("../data/set")
    assert (unpacked / "label.csv").read_text() == "a,b\n"
    assert d2l.download_extract("set", "inside") == "../data/inside"
    assert list(tmp_path.rglob("escaped")) == [tmp_path / "data" / "escaped"]

    with tarfile.open("hostile.tar", "w") as archive:
        member = tarfile.TarInfo("../outside")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(RunError, match=r"cannot unpack hostile.tar"):
        d2l.extract("hostile.tar")
    Path("broken.zip").write_bytes(b"PK nothing")
    with pytest.raises(RunError, match=r"cannot unpack broken.zip"):
        d2l.extract("broken.zip")
    with zipfile.ZipFile("damaged.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1000))
    whole = Path("damaged.zip").read_bytes()
    for place, changed in {31: b"\xff" * 6, 6: b"\x01", 8: b"\x63"}.items():  # its data, encrypted, an unknown method
        damaged = bytearray(whole)
        damaged[place : place + len(changed)] = changed
        central = whole.index(b"PK\x01\x02")
        if place < 30:
            damaged[central + place + 2 : central + place + 3] = changed
        Path("damaged.zip").write_bytes(damaged)
        with pytest.raises(RunError, match=r"cannot unpack damaged.zip"):
            d2l.extract("damaged.zip")
    with pytest.raises(TwofoldError, match="only .zip, .tar and .gz"):
        d2l.extract("a.rar")


def test_without_a_network_the_error_names_the_stand_in(monkeypatch):
    monkeypatch.setitem(d2l.DATA_HUB, "airfoil", ("http://127.0.0.1:9/airfoil.dat", "0" * 40))
    with pytest.raises(DownloadError, match=r"d2l.offline\(\) takes a stand-in that needs no network; or put the file"):
        d2l.get_data_ch11()
    monkeypatch.setitem(d2l.DATA_HUB, "other", ("http://127.0.0.1:9/other.dat", "0" * 40))
    with pytest.raises(DownloadError, match=r"; put the file into ../data"):
        d2l.download("other")


# Stand-ins


def test_the_airfoil_stand_in_has_the_shape_and_the_fit_of_the_real_set(capfd):
    """The best straight line leaves about half of the variance, as it does of the airfoil set."""
    d2l.offline()
    loader, num_features = d2l.get_data_ch11(batch_size=10)
    assert (num_features, len(loader.dataset)) == (5, 1500)
    assert "stand-in-airfoil.dat, in place of airfoil" in capfd.readouterr().err
    table = np.genfromtxt(d2l.download("airfoil"), delimiter="\t")
    assert table.shape == (1503, 6)
    features, labels = d2l.get_data_ch7()
    assert (features.shape, labels.shape) == ((1500, 5), (1500,))
    assert capfd.readouterr().err == ""
    solution = torch.linalg.lstsq(features, labels[:, None]).solution
    assert 0.4 < float(((features @ solution)[:, 0] - labels).square().mean()) < 0.6


def test_the_banana_stand_in_has_one_box_an_image_and_the_books_layout():
    d2l.offline()
    train, val = d2l.load_data_bananas(batch_size=32)
    assert (len(train.dataset), len(val.dataset)) == (1000, 100)
    images, labels = next(iter(val))
    assert (images.shape, labels.shape) == ((32, 3, 256, 256), (32, 1, 5))
    assert (labels[:, 0, 0] == 0).all()
    corners = labels[:, 0, 1:]
    assert (corners[:, 2:] > corners[:, :2]).all()
    assert corners.min() >= 0
    assert corners.max() <= 1
    folder = Path(d2l.download_extract("banana-detection"))
    with (folder / "bananas_val" / "label.csv").open() as file:
        first = next(csv.DictReader(file))
    assert list(first) == ["img_name", "label", "xmin", "ymin", "xmax", "ymax"]
    assert torch.equal(labels[0, 0] * 256, torch.tensor([float(value) for value in list(first.values())[1:]]))
    image = val.dataset[0][0]
    assert torch.equal(image, images[0])
    # The bag stands out from what is around it.
    x1, y1, x2, y2 = (int(value) for value in list(first.values())[2:])
    assert image[:, y1:y2, x1:x2].std() > 0


def test_the_hotdog_stand_in_is_two_folders_of_colour_images():
    d2l.offline()
    folder = Path(d2l.download_extract("hotdog"))
    images = datasets.ImageFolder(folder / "train")
    assert images.classes == ["bag", "not-bag"]
    assert len(images) == 2000 - max(0, 1000 - images.targets.count(0))
    assert images[0][0].size == (64, 64)
    assert images[0][0].mode == "RGB"


def test_the_pikachu_stand_in_has_the_layout_of_the_chinese_edition():
    with pytest.raises(TwofoldError, match=r"nowhere is not there; d2l.offline\(\) takes a stand-in"):
        d2l.load_data_pikachu(8, data_dir="nowhere")
    d2l.offline()
    train, val = d2l.load_data_pikachu(8, edge_size=64, data_dir="data/pikachu")
    assert (len(train.dataset), len(val.dataset)) == (1000, 100)
    batch = next(iter(val))
    assert (batch["image"].shape, batch["label"].shape) == ((8, 3, 64, 64), (8, 1, 5))
    assert batch["image"].max() <= 1
    assert (batch["label"][:, 0, 3:] > batch["label"][:, 0, 1:3]).all()
    as_torch = next(iter(DataLoader(val.dataset, 8)))
    assert all(torch.equal(as_torch[part], batch[part]) for part in batch)


@pytest.mark.parametrize("name", ["1.0", "zh"])
def test_the_blocks_of_a_resnet_are_residual_blocks_in_both_editions(name):
    d2l.edition(name)
    blocks = [module for module in d2l.resnet18(10).modules() if isinstance(module, d2l.Residual)]
    assert len(blocks) == 8


def test_accuracy_of_a_network_without_parameters():
    batches = [(torch.eye(3), torch.tensor([0, 1, 1]))]
    assert d2l.evaluate_accuracy(batches, torch.nn.Identity()) == pytest.approx(2 / 3)
    assert d2l.evaluate_accuracy_gpu(torch.nn.Identity(), batches) == pytest.approx(2 / 3)
