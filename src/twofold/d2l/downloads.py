"""The book's data sets from the network: with a time limit, retries, a checksum, and whole or not at all.

Where there is no network, `d2l.offline()` takes stand-ins of the same shape that are made here: their chapters run,
and what they print is another data set's.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

from twofold.d2l.stand_ins import STAND_INS, write_stand_in
from twofold.data.download import DownloadError, Resource, download as fetch
from twofold.errors import RunError, TwofoldError, check_known
from twofold.files import file_digest
from twofold.terminal import note

DATA_URL = "http://d2l-data.s3-accelerate.amazonaws.com/"
DATA_HUB: dict[str, tuple[str, str]] = {
    "airfoil": (DATA_URL + "airfoil_self_noise.dat", "76e5be1548fd8222e5074cf0faae75edff8cf93f"),
    "banana-detection": (DATA_URL + "banana-detection.zip", "5de26c8fce5ccdea9f91267273464dc968d20d72"),
    "hotdog": (DATA_URL + "hotdog.zip", "fba480ffa8aa7e0febbb511d181409f899b9baa5"),
}
"""Name -> address and SHA-1, to which a chapter may add its own."""

_MOST_BYTES = 2**32
# What reading a damaged archive raises; RuntimeError: it is encrypted, or packed in a way that is not known.
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, RuntimeError)
_is_offline = False


def offline(on: bool = True) -> None:
    """Take what needs no network: stand-ins for the book's data sets, fashion-mini where Fashion-MNIST is not there."""
    global _is_offline  # noqa: PLW0603 -- one setting a process, as the book's data hub is
    _is_offline = on


def is_offline() -> bool:
    """Tell whether `offline` was called."""
    return _is_offline


def download(url: str, folder: str = "../data", sha1_hash: str | None = None) -> str:
    """Return the path of a file in `folder`, downloaded unless it is there already.

    Args:
        url: an address, or a name of DATA_HUB.
        folder: made where it is missing.
        sha1_hash: the file's SHA-1; without one, what arrives is taken as it is.

    Raises:
        DownloadError: it cannot be had; the message says what to do.
    """
    name = "" if url.startswith("http") else check_known("data set of the book:", url, DATA_HUB)
    if name:
        url, sha1_hash = DATA_HUB[name]
    target = Path(folder) / url.rpartition("/")[2]
    if target.is_file() and (sha1_hash is None or file_digest(target, "sha1") == sha1_hash):
        return str(target)
    if _is_offline and name in STAND_INS:
        return str(stand_in(name, Path(folder)))
    target.parent.mkdir(parents=True, exist_ok=True)
    note(f"downloading {target} from {url}")
    try:
        fetch(Resource(filename=target.name, urls=(url,), sha1=sha1_hash, max_bytes=_MOST_BYTES), target)
    except DownloadError as error:
        instead = "d2l.offline() takes a stand-in that needs no network; or " if name in STAND_INS else ""
        raise DownloadError(f"{error}; {instead}put the file into {target.parent}") from error
    return str(target)


def extract(filename: str, folder: str | None = None) -> None:
    """Unpack a zip or tar file into `folder`, or beside itself. Members that would lie outside are refused.

    Raises:
        RunError: it is no such file, or a hostile or damaged one.
    """
    path, target = Path(filename), Path(folder or Path(filename).parent)
    if path.suffix not in (".zip", ".tar", ".gz"):
        raise TwofoldError(f"only .zip, .tar and .gz can be unpacked, got {path}")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                _check_sizes(path, [member.file_size for member in archive.infolist()])
                archive.extractall(target)
        else:
            with tarfile.open(path) as archive:
                _check_sizes(path, [member.size for member in archive])
                archive.extractall(target, filter="data")
    except _DAMAGE as error:
        raise RunError(f"cannot unpack {path}: {error}") from error


def _check_sizes(path: Path, sizes: list[int]) -> None:
    if sum(sizes) > _MOST_BYTES:
        raise RunError(f"{path} would unpack to {sum(sizes):,} bytes, more than the {_MOST_BYTES:,} allowed")


def download_extract(name: str, folder: str | None = None) -> str:
    """Return the folder of a zip or tar file of DATA_HUB, downloaded and unpacked; `folder` is the one inside it."""
    path = Path(download(name))
    if path.is_dir():  # a stand-in
        return str(path)
    extract(str(path))
    return str(path.parent / folder if folder else path.with_suffix(""))


def stand_in(name: str, folder: Path) -> Path:
    """Return the path in `folder` of what stands in for the book's data set `name`, made unless it is there."""
    target = folder / f"stand-in-{STAND_INS[name].name}"
    if not target.exists():
        note(f"offline: {STAND_INS[name].what}, in {target}, in place of {name}")
        write_stand_in(name, target)
    return target
