"""Pascal VOC and COCO by name: found unpacked, or downloaded, checked and unpacked into the cache.

VOC's addresses and checksums are torchvision's; COCO's are those of its site. The archives are large, so the size is
said before, there must be room, and they are removed once they are unpacked. The folder gets its name last: one that is
there is whole.

Published annotations have flaws of their own, such as a box without area in COCO. They are left out with a note; a
missing or broken image is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from twofold.data.download import DownloadError, Patience, Resource, download
from twofold.data.sources.boxes import open_boxes
from twofold.data.sources.coco import coco_files, list_coco
from twofold.data.sources.found import FilePart, Found
from twofold.data.sources.named import SYSTEM_FOLDER
from twofold.data.sources.problems import stop_for_problems
from twofold.data.sources.voc import list_voc, voc_roots
from twofold.errors import RunError, TwofoldError
from twofold.files import cache_folder, file_digest
from twofold.terminal import note, quoted, track

_COCO = "http://images.cocodataset.org/"
_COCO_FILES = {
    "annotations/annotations_trainval2017.zip": "f4bbac642086de4f52a3fdda2de5fa2c",
    "zips/val2017.zip": "442b8da7639aecaf257c1dceb8ba8c80",
    "zips/train2017.zip": "cced6f7f71b7629ddf16f17bbcfab6b2",
}
_SIZES = {"voc2007": 911_052_800, "voc2012": 1_999_639_040, "coco": 20_405_354_669}
# Of an archive only what has to do with boxes is unpacked.
_WANTED = ("Annotations/", "JPEGImages/", "ImageSets/Main/", "annotations/instances_", "train2017/", "val2017/")
_PUBLISHED_FLAWS = ("box without area", "duplicate box", "box outside the image", "wrong unit")
# Photographs are compressed as they are; an archive that grows beyond this is something else.
_MOST_GROWTH = 20


def open_named_boxes(
    name: str,
    *,
    resources: Sequence[Resource] | None = None,
    patience: Patience | None = None,
    skip_broken: bool = False,
    show_progress: bool = True,
) -> Found[FilePart]:
    """Return the photographs and boxes of "voc2007", "voc2012" or "coco".

    Args:
        name: which.
        resources: the archives to download; the published ones if left out.
        patience: how long to wait for them.
        skip_broken: go on without images that are missing or broken.
        show_progress: draw progress.

    Raises:
        TwofoldError: they cannot be had; the message says what to do without a network. DataError for broken images.
    """
    folder = _find(name, resources, patience, show_progress)
    listing = list_coco(folder) if name == "coco" else list_voc(folder)
    found = open_boxes(listing, skip_broken=True, show_progress=show_progress)
    own = [problem for problem in found.problems if problem.kind not in _PUBLISHED_FLAWS]
    stop_for_problems(str(folder), own, skip_broken=skip_broken)
    return dataclasses.replace(found, source=name, name=name)


def official_archives(name: str) -> tuple[Resource, ...]:
    """Return the published archives of a data set."""
    most = 2 * _SIZES[name]
    if name == "coco":
        return tuple(
            Resource(filename=path.rpartition("/")[2], urls=(_COCO + path,), md5=md5, max_bytes=most)
            for path, md5 in _COCO_FILES.items()
        )
    from torchvision.datasets import voc

    years = ("2007", "2007-test") if name == "voc2007" else ("2012",)
    known = [voc.DATASET_YEAR_DICT[year] for year in years]
    return tuple(
        Resource(filename=each["filename"], urls=(each["url"],), md5=each["md5"], max_bytes=most) for each in known
    )


def _find(name: str, resources: Sequence[Resource] | None, patience: Patience | None, show_progress: bool) -> Path:
    roots = [*filter(None, [os.environ.get("TWOFOLD_SYSTEM_DATA")]), SYSTEM_FOLDER]
    target = cache_folder() / "data" / name
    for folder in (*(Path(root) / name for root in roots), target):
        if folder.is_dir() and (coco_files(folder) if name == "coco" else voc_roots(folder)):
            return folder
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f"{name}.lock"):
            if not target.is_dir():  # another process may have unpacked it while this one waited
                _obtain(name, target, resources or official_archives(name), patience, show_progress)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _obtain(
    name: str, target: Path, resources: Sequence[Resource], patience: Patience | None, show_progress: bool
) -> None:
    downloads = cache_folder() / "downloads" / name
    downloads.mkdir(parents=True, exist_ok=True)
    size = _SIZES[name]
    instead = f"have the unpacked folder already? {quoted('--data')} {'coco' if name == 'coco' else 'voc'}:FOLDER"
    missing = [resource for resource in resources if not (downloads / resource.filename).exists()]
    if missing and (free := shutil.disk_usage(downloads).free) < 2 * size:
        raise TwofoldError(
            f"{name} needs {2 * size / 1e9:.1f} GB to download and unpack, and {downloads} has {free / 1e9:.1f} GB; "
            f"set TWOFOLD_CACHE to another folder ({instead})"
        )
    if missing:
        note(f"{name}: downloading {size / 1e9:.1f} GB into {downloads}; {instead}")
    for resource in resources:
        path = downloads / resource.filename
        if path.exists() and file_digest(path, "md5") == resource.md5:
            continue
        try:
            download(resource, path, patience=patience, show_progress=show_progress)
        except DownloadError as error:
            raise DownloadError(
                f"{error}; use fashion-scenes, which needs no network, or run once with a network, or put "
                f"{', '.join(each.filename for each in resources)} into {downloads} ({instead})"
            ) from error
    temporary = target.with_name(f".{name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    for resource in resources:
        _unpack(downloads / resource.filename, temporary, show_progress)
    os.rename(temporary, target)
    for resource in resources:
        (downloads / resource.filename).unlink(missing_ok=True)


def _unpack(archive: Path, folder: Path, show_progress: bool) -> None:
    """Write the wanted regular files of an archive below a folder.

    Raises:
        RunError: it is damaged, leads out of the folder, or grows beyond what photographs do.
    """
    left = _MOST_GROWTH * archive.stat().st_size
    label = f"unpacking {archive.name}"
    try:
        with _members(archive) as (num_members, members):
            for name, size, stream in track(members, total=num_members, label=label, enabled=show_progress):
                if not any(part in name for part in _WANTED):
                    continue
                left -= size
                if left < 0 or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise RunError(f"{archive} is not the published archive: {name} does not belong there; remove it")
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with stream, path.open("wb") as file:
                    shutil.copyfileobj(stream, file)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise RunError(f"cannot unpack {archive}: {error}; remove it, to download it again") from error


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[tuple[int, Iterator[tuple[str, int, IO[bytes]]]]]:
    """Open a tar or zip archive: how many regular files it has, and the name, size and content of each."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            files = [info for info in zipped.infolist() if not info.is_dir()]
            yield len(files), ((info.filename, info.file_size, zipped.open(info)) for info in files)
        return
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.isreg()]
        contents = ((member, tar.extractfile(member)) for member in members)
        yield len(members), ((each.name, each.size, content) for each, content in contents if content is not None)
