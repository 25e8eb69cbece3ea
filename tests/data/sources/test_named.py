import gzip
import hashlib
import importlib.util
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from processes import Server
from twofold.data import NAMED_DATA, load_data
from twofold.data.download import DownloadError, Patience, Resource
from twofold.data.names import NAMED_BOXES
from twofold.data.sources.archives import MNIST_FILES
from twofold.data.sources.named import official_resources, open_named
from twofold.errors import TwofoldError

from .test_archives import cifar10_members, make_tar
from .test_idx import idx

QUICK = Patience(timeout=10.0, attempts=1, pause=0.01)
NOWHERE = "http://127.0.0.1:9/"


def tiny_mnist() -> dict[str, bytes]:
    contents = (
        idx((2, 28, 28), bytes(784) + b"\x07" * 784),
        idx((2,), b"\x03\x09"),
        idx((1, 28, 28), b"\x05" * 784),
        idx((1,), b"\x01"),
    )
    return {name: gzip.compress(content) for name, content in zip(MNIST_FILES, contents, strict=True)}


def resources(files: dict[str, bytes], address: str) -> list[Resource]:
    return [
        Resource(filename=name, urls=(f"{address}/{name}",), md5=hashlib.md5(content).hexdigest())
        for name, content in files.items()
    ]


def served(server: Server, files: dict[str, bytes]) -> list[Resource]:
    server.replies = {f"/{name}": [content] for name, content in files.items()}
    return resources(files, server.address)


def load(name: str, wanted: list[Resource] | None = None):
    return open_named(name, resources=wanted, patience=QUICK, show_progress=False)


def test_download_once_then_from_the_cache(server: Server, cache: Path, capsys):
    wanted = served(server, tiny_mnist())
    first = load("mnist", wanted)
    assert first.splits["train"].targets.labels.tolist() == [3, 9]
    assert first.splits["train"].images[1].unique().tolist() == [7]
    assert first.splits["test"].describe(0) == "mnist test #0"
    assert len(server.requests) == 4
    second = load("mnist", wanted)
    assert len(server.requests) == 4
    assert torch.equal(second.splits["train"].images, first.splits["train"].images)
    assert second.fingerprint == first.fingerprint
    kept = {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}
    assert kept == {"data/mnist/data.safetensors", "data/mnist/lock", *(f"downloads/mnist/{n}" for n in MNIST_FILES)}
    assert capsys.readouterr().err == ""


def test_the_whole_way_through_load_data(server: Server, cache: Path):
    load("mnist", served(server, tiny_mnist()))
    data = load_data("mnist", val_fraction=0.0, show_progress=False)
    assert (len(data.train), len(data.test), data.num_classes) == (2, 1, 10)


def test_cifar10(server: Server, tmp_path: Path):
    path = make_tar(tmp_path / "cifar-10-binary.tar.gz", cifar10_members())
    found = load("cifar10", served(server, {path.name: path.read_bytes()}))
    assert found.splits["train"].targets.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.class_names == NAMED_DATA["cifar10"].class_names


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "header"])
def test_a_damaged_cache_is_reported_and_made_anew(server: Server, cache: Path, capsys, damage):
    wanted = served(server, tiny_mnist())
    first = load("mnist", wanted)
    path = cache / "data" / "mnist" / "data.safetensors"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "flip": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
            "cut": whole[: len(whole) // 2],
            "empty": b"",
            "header": whole[:20] + b"\xff" + whole[21:],
        }[damage]
    )
    again = load("mnist", wanted)
    assert again.fingerprint == first.fingerprint
    assert "the prepared mnist in" in capsys.readouterr().err
    assert load("mnist", wanted).fingerprint == first.fingerprint
    assert capsys.readouterr().err == ""
    assert len(server.requests) == 4  # the published files are still there


def test_no_network_says_what_to_do(cache: Path):
    with pytest.raises(DownloadError) as raised:
        load("mnist", resources(tiny_mnist(), NOWHERE))
    message = str(raised.value)
    assert message.startswith(f"cannot download {MNIST_FILES[0]} ({NOWHERE}")
    assert "use fashion-mini" in message
    assert "run once with a network" in message
    assert f"put {', '.join(MNIST_FILES)} into {cache / 'downloads' / 'mnist'}" in message
    assert "\n" not in message
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != "lock"]


def test_files_put_in_place_need_no_network(cache: Path):
    folder = cache / "downloads" / "mnist"
    folder.mkdir(parents=True)
    files = tiny_mnist()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert load("mnist", resources(files, NOWHERE)).splits["train"].targets.labels.tolist() == [3, 9]
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)


def test_a_file_put_in_place_with_a_wrong_checksum_is_replaced(server: Server, cache: Path, capsys):
    folder = cache / "downloads" / "mnist"
    folder.mkdir(parents=True)
    (folder / MNIST_FILES[0]).write_bytes(b"other")
    (folder / f".{MNIST_FILES[0]}.abc.tmp").write_bytes(b"of a killed process")
    assert load("mnist", served(server, tiny_mnist())).splits["train"].targets.labels.tolist() == [3, 9]
    assert "has the wrong checksum" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == sorted(MNIST_FILES)


def test_a_download_interrupted_half_way_goes_on_from_whole_files(server: Server, cache: Path):
    files = tiny_mnist()
    wanted = served(server, files)
    server.replies[f"/{MNIST_FILES[2]}"] = [404, files[MNIST_FILES[2]]]
    with pytest.raises(DownloadError, match="404"):
        load("mnist", wanted)
    assert load("mnist", wanted).splits["test"].targets.labels.tolist() == [1]
    assert server.requests.count(f"/{MNIST_FILES[0]}") == 1


def test_a_checked_file_that_is_no_data_set_leaves_no_cache(server: Server, cache: Path):
    files = {**tiny_mnist(), MNIST_FILES[1]: gzip.compress(idx((3,), b"\x01\x02\x03"))}
    with pytest.raises(TwofoldError, match="has 2 images but 3 labels"):
        load("mnist", served(server, files))
    assert not (cache / "data" / "mnist" / "data.safetensors").exists()


def test_an_unwritable_cache(cache: Path):
    cache.write_text("a file where the folder should be")
    with pytest.raises(TwofoldError, match=r"cannot write the cache .*; set TWOFOLD_CACHE to another folder"):
        load("mnist", resources(tiny_mnist(), NOWHERE))


def test_a_system_copy_is_used_before_the_network(tmp_path: Path, monkeypatch):
    folder = tmp_path / "system" / "mnist"
    folder.mkdir(parents=True)
    files = tiny_mnist()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("TWOFOLD_SYSTEM_DATA", str(tmp_path / "system"))
    found = load("mnist", resources(files, NOWHERE))
    assert found.splits["train"].targets.labels.tolist() == [3, 9]
    (folder / MNIST_FILES[3]).unlink()  # incomplete, it is passed over
    with pytest.raises(DownloadError):
        load("mnist", resources(files, NOWHERE))


SCRIPT = """
import sys
from twofold.data.download import Resource
from twofold.data.sources.named import open_named
wanted = [Resource(filename=name, urls=(f"{sys.argv[1]}/{name}",), md5=md5)
          for name, md5 in (pair.split("=") for pair in sys.argv[2:])]
print(open_named("mnist", resources=wanted, show_progress=False).splits["train"].targets.labels.tolist())
"""


def test_a_kill_in_the_middle_leaves_nothing_half_made(server: Server, cache: Path):
    files = tiny_mnist()
    wanted = served(server, files)
    server.replies[f"/{MNIST_FILES[2]}"] = ["stall", files[MNIST_FILES[2]]]
    pairs = [f"{resource.filename}={resource.md5}" for resource in wanted]
    command = [sys.executable, "-c", SCRIPT, server.address, *pairs]
    running = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while f"/{MNIST_FILES[2]}" not in server.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    running.kill()
    running.wait(30)
    assert not (cache / "data" / "mnist" / "data.safetensors").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[3, 9]"
    assert sorted(path.name for path in (cache / "downloads" / "mnist").iterdir()) == sorted(MNIST_FILES)


def test_two_processes_download_once(server: Server, cache: Path):
    wanted = served(server, tiny_mnist())
    pairs = [f"{resource.filename}={resource.md5}" for resource in wanted]
    command = [sys.executable, "-c", SCRIPT, server.address, *pairs]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["[3, 9]", "[3, 9]"]
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "name", [name for name in NAMED_DATA if not NAMED_DATA[name].offline and name not in NAMED_BOXES]
)
def test_official_resources(name):
    found = official_resources(name)
    assert len(found) == {"mnist": 4, "fashion-mnist": 4, "cifar10": 1, "cifar100": 1, "svhn": 2}[name]
    for resource in found:
        assert len(resource.md5) == 32
        assert all(url.startswith("http") and url.endswith(resource.filename) for url in resource.urls)
    if name.startswith("cifar"):
        assert found[0].filename == f"cifar-{name[5:]}-binary.tar.gz"


def test_svhn_needs_scipy_and_says_so_before_any_download():
    if importlib.util.find_spec("scipy") is not None:
        # With scipy there is nothing to refuse: the download is the first thing to fail.
        wanted = resources({"train_32x32.mat": b"x"}, NOWHERE)
        with pytest.raises(DownloadError, match=r"put train_32x32\.mat into"):
            load("svhn", wanted)
    else:
        with pytest.raises(TwofoldError, match=r'pip install "twofold\[svhn\]"'):
            load("svhn")


def test_the_discard_port_is_closed_here():
    """NOWHERE stands for a machine without a network; this holds only while nothing listens there."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 9)) != 0
