"""VOC and COCO by name, from a server on this machine: downloaded, checked, unpacked; or found unpacked."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from data.sources.boxed import SCENES, coco_content, draw, make_voc
from processes import Server
from twofold.data import DataError
from twofold.data.download import DownloadError, Patience, Resource
from twofold.data.sources.find import find_data
from twofold.data.sources.named_boxes import official_archives, open_named_boxes
from twofold.errors import RunError

USAGE = shutil.disk_usage("/")
QUICK = Patience(timeout=10.0, attempts=1, pause=0.01)


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: USAGE._replace(free=10**12))


def voc_archive(folder: Path, *, extra: str | None = None) -> bytes:
    make_voc(folder / "VOCdevkit" / "VOC2007")
    (folder / "VOCdevkit" / "VOC2007" / "SegmentationClass").mkdir()
    draw(folder / "VOCdevkit" / "VOC2007" / "SegmentationClass" / "a.png")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(folder / "VOCdevkit", "VOCdevkit")
        if extra is not None:
            tar.addfile(tarfile.TarInfo(extra), io.BytesIO())
    return file.getvalue()


def served(server: Server, files: dict[str, bytes]) -> list[Resource]:
    server.replies = {f"/{name}": [content] for name, content in files.items()}
    return [
        Resource(filename=name, urls=(f"{server.address}/{name}",), md5=hashlib.md5(content).hexdigest())
        for name, content in files.items()
    ]


def load(name: str, resources: list[Resource] | None = None):
    return open_named_boxes(name, resources=resources, patience=QUICK, show_progress=False)


def test_voc_is_downloaded_once(
    server: Server, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = served(server, {"voc.tar": voc_archive(tmp_path)})
    found = load("voc2007", wanted)
    assert {split: len(part) for split, part in found.splits.items()} == {"train": 2, "val": 2}
    assert (found.name, found.source) == ("voc2007", "voc2007")
    said = capsys.readouterr().err
    assert "voc2007: downloading 0.9 GB into" in said
    assert "voc:FOLDER" in said
    root = cache / "data" / "voc2007" / "VOCdevkit" / "VOC2007"
    assert not (root / "SegmentationClass").exists()
    assert not list((cache / "downloads" / "voc2007").iterdir())
    assert load("voc2007", wanted).fingerprint == found.fingerprint
    assert len(server.requests) == 1
    (root / "JPEGImages" / "a.png").unlink()
    with pytest.raises(DataError, match="missing image"):
        load("voc2007", wanted)


def test_coco_is_unpacked_and_its_own_flaws_are_noted(server: Server, tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][0]["bbox"][2] = 0.0
    annotations, train = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(annotations, "w") as zipped:
        zipped.writestr("annotations/instances_train2017.json", json.dumps(content))
        zipped.writestr("annotations/captions_train2017.json", "{}")
    with zipfile.ZipFile(train, "w") as zipped:
        for stem, boxes in SCENES.items():
            zipped.write(draw(tmp_path / f"{stem}.png", boxes), f"train2017/{stem}.png")
    found = load("coco", served(server, {"annotations.zip": annotations.getvalue(), "train.zip": train.getvalue()}))
    assert {split: len(part) for split, part in found.splits.items()} == {"train": 4}
    assert "skipped 1 × box without area (annotations/instances_train2017.json annotation 1000)" in found.notes


def test_an_unpacked_copy_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_voc(tmp_path / "voc2012" / "VOCdevkit" / "VOC2012")
    monkeypatch.setenv("TWOFOLD_SYSTEM_DATA", str(tmp_path))
    assert find_data("voc2012", show_progress=False).class_names == ("cat", "dog")


@pytest.mark.parametrize("name", ["voc2007", "voc2012", "coco"])
def test_without_a_network(name: str, cache: Path) -> None:
    official = official_archives(name)
    assert all(each.md5 and each.max_bytes > 1e8 and each.urls[0].startswith("http") for each in official)
    nowhere = [Resource(filename=each.filename, urls=("http://127.0.0.1:9/x",), md5=each.md5) for each in official]
    with pytest.raises(DownloadError) as raised:
        load(name, nowhere)
    message = str(raised.value)
    assert "\n" not in message
    assert (
        f"use fashion-scenes, which needs no network, or run once with a network, or put {official[0].filename}"
        in message
    )
    assert str(cache / "downloads" / name) in message


def test_no_room_is_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: USAGE._replace(free=10**9))
    with pytest.raises(ValueError, match=r"coco needs 40.8 GB to download and unpack, and .* has 1.0 GB"):
        load("coco")


@pytest.mark.parametrize("extra", ["../JPEGImages/out.png", "/JPEGImages/out.png"])
def test_an_archive_that_leads_out_is_refused(server: Server, tmp_path: Path, cache: Path, extra: str) -> None:
    wanted = served(server, {"voc.tar": voc_archive(tmp_path, extra=extra)})
    with pytest.raises(RunError, match="is not the published archive"):
        load("voc2007", wanted)
    assert not (cache / "data" / "voc2007").exists()


def test_a_damaged_archive_is_said(server: Server, tmp_path: Path) -> None:
    content = voc_archive(tmp_path)
    with pytest.raises(RunError, match=r"cannot unpack .*; remove it, to download it again"):
        load("voc2007", served(server, {"voc.tar": content[: len(content) // 3]}))
