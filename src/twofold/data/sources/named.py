"""A named data set: embedded, prepared before, found on the system, or downloaded; in that order.

What was downloaded is prepared as one safetensors file in Twofold's cache; a damaged one is reported and made again
from the published files, which stay beside it, so that this needs no network. Addresses and checksums are
torchvision's, which keeps them up to date.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from twofold.data.download import DownloadError, Patience, Resource, download
from twofold.data.images import MemoryImages
from twofold.data.names import NAMED_DATA
from twofold.data.sources.archives import MNIST_FILES, read_archives
from twofold.data.sources.embedded import load_fashion_mini
from twofold.data.sources.found import Found
from twofold.data.sources.store import Arrays, DamagedStoreError, read_store, write_store
from twofold.data.targets import ClassTargets
from twofold.errors import TwofoldError
from twofold.files import cache_folder, file_digest
from twofold.terminal import note

SYSTEM_FOLDER = Path("/usr/share/datasets")
"""Where an administrator may have put published files for all users."""

_CIFAR_BINARY_MD5 = {"cifar10": "c32a1d4ab5d03f1284b67883e8d87530", "cifar100": "03b5dce01913d631647c71ecec9e9cb8"}


def open_named(
    name: str,
    *,
    resources: Sequence[Resource] | None = None,
    patience: Patience | None = None,
    show_progress: bool = True,
) -> Found[MemoryImages]:
    """Return the named data set `name` at its own size, in memory.

    `resources` are the files to download, by default the published ones.

    Raises:
        TwofoldError: the data cannot be had; the message says what to do without a network.
    """
    if name == "svhn" and importlib.util.find_spec("scipy") is None:
        raise TwofoldError('svhn needs scipy to read its .mat files; pip install "twofold[svhn]"')
    arrays, fingerprint = _find(name, resources, patience, show_progress)
    info = NAMED_DATA[name]
    return Found(
        source=name,
        name=name,
        class_names=arrays.class_names,
        splits={
            "train": MemoryImages(arrays.train_images, ClassTargets(arrays.train_labels), f"{name} train"),
            "test": MemoryImages(arrays.test_images, ClassTargets(arrays.test_labels), f"{name} test"),
        },
        channels=info.channels,
        median_side=min(info.size),
        own_size=info.size,
        fingerprint=fingerprint,
    )


def official_resources(name: str) -> tuple[Resource, ...]:
    """Return the published files of the named data set, as torchvision knows them."""
    from torchvision import datasets

    if name in ("mnist", "fashion-mnist"):
        known = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
        return tuple(
            Resource(filename=filename, urls=tuple(mirror + filename for mirror in known.mirrors), md5=md5)
            for filename, md5 in known.resources
        )
    if name == "svhn":
        files = [datasets.SVHN.split_list[split] for split in ("train", "test")]
        return tuple(Resource(filename=filename, urls=(url,), md5=md5) for url, filename, md5 in files)
    url = (datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100).url.replace("python", "binary")
    return (Resource(filename=url.rpartition("/")[2], urls=(url,), md5=_CIFAR_BINARY_MD5[name]),)


def _find(
    name: str, resources: Sequence[Resource] | None, patience: Patience | None, show_progress: bool
) -> tuple[Arrays, str]:
    if name == "fashion-mini":
        return load_fashion_mini()
    stored = cache_folder() / "data" / name / "data.safetensors"
    if found := _stored(name, stored):
        return found
    # The administrator may have put the published files into a folder; $TWOFOLD_SYSTEM_DATA adds a root.
    for root in [*filter(None, [os.environ.get("TWOFOLD_SYSTEM_DATA")]), SYSTEM_FOLDER]:
        folder = Path(root) / name
        if name in ("mnist", "fashion-mnist") and all((folder / file).is_file() for file in MNIST_FILES):
            arrays = read_archives(name, folder)
            return arrays, arrays.fingerprint()
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TwofoldError(
            f"cannot write the cache {stored.parent}: {error.strerror or error}; set TWOFOLD_CACHE to another folder"
        ) from error
    with FileLock(stored.parent / "lock"):
        # Another process may have prepared the data while this one waited.
        if stored.exists() and (found := _stored(name, stored)):
            return found
        arrays = _obtain(name, resources, patience, show_progress)
        write_store(stored, arrays)
        return arrays, arrays.fingerprint()


def _stored(name: str, stored: Path) -> tuple[Arrays, str] | None:
    """Return the prepared data; None if there are none, or after saying so, if they are damaged."""
    try:
        return read_store(stored)
    except FileNotFoundError:
        return None
    except (OSError, DamagedStoreError) as error:
        note(f"the prepared {name} in {stored} is damaged ({error}); it is made again")
        return None


def _obtain(name: str, resources: Sequence[Resource] | None, patience: Patience | None, show_progress: bool) -> Arrays:
    """Return the data from the published files: those in place if their checksum is right, the others downloaded."""
    folder = cache_folder() / "downloads" / name
    folder.mkdir(parents=True, exist_ok=True)
    resources = resources or official_resources(name)
    for resource in resources:
        path = folder / resource.filename
        for left_over in folder.glob(f".{resource.filename}.*.tmp"):
            left_over.unlink()  # of a process that was killed; the lock says that no other is at work
        if path.exists():
            if file_digest(path, "md5") == resource.md5:
                continue
            note(f"{path} has the wrong checksum; it is downloaded again")
        try:
            download(resource, path, patience=patience, show_progress=show_progress)
        except DownloadError as error:
            wanted = ", ".join(resource.filename for resource in resources)
            raise DownloadError(
                f"{error}; use fashion-mini, which needs no network, or run once with a network, "
                f"or put {wanted} into {folder}"
            ) from error
    return read_archives(name, folder)
