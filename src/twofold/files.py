"""Files that survive: atomic durable writes, digests, and where Twofold keeps its cache.

A write goes to a temporary name in the same folder, is flushed to the disk and only then renamed over the old
file. So a reader finds the old content or the new, never half of either, whenever the process or the machine stops.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from twofold.errors import RunError, TwofoldError
from twofold.names import json_text


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Read once, at import: the mask can only be read by setting it, which would race with other threads later.
_UMASK = _read_umask()
_MOST_LEVELS = 100
_TOO_DEEP = "it is nested too deeply"


def cache_folder() -> Path:
    """Return the folder for downloads and prepared data: $TWOFOLD_CACHE, or twofold in the user's cache folder."""
    if override := os.environ.get("TWOFOLD_CACHE"):
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "twofold"


def expanded(path: Path | str) -> Path:
    """Return a path with ~ as the home folder; as it is where there is no such user: a file may be called ~photo.png.

    >>> expanded("~photo.png")
    PosixPath('~photo.png')
    """
    return Path(os.path.expanduser(path))


def file_digest(path: Path, kind: str = "sha256") -> str:
    """Return the digest of a file, in hexadecimal digits; "md5" and "sha1" guard against accidents alone."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut; where it cannot be opened, do nothing."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_path(target: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on a clean exit make it durable and rename it over `target`.

    On an error the temporary file is removed and `target` is as it was.

    Args:
        target: the file to write.
        keep: a second name, under which the file that is replaced stays.

    Raises:
        RunError: for an `OSError`, such as a full disk or a read-only folder; it names the target.
    """
    # The name is chosen before the `try`, so that `finally` can remove the file even if Ctrl-C comes as it is made.
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror or error}") from error
        yield temporary
        sync_file(temporary)
        # Nobody else can read it until it is whole; then it is as readable as any file that the user creates.
        temporary.chmod(0o666 & ~_UMASK)
        if keep is not None and target.exists():
            keep.unlink(missing_ok=True)
            try:
                os.link(target, keep)
            except OSError:
                # The file system has no hard links.
                os.replace(target, keep)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}; the file before it is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside `target`; on a clean exit it takes the name `target`.

    A folder that had the name before is removed then; on an error it is as it was, and the new one is removed.

    Raises:
        RunError: for an `OSError`, such as a full disk or a read-only folder; it names the target.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as around:
            temporary = Path(around) / target.name
            temporary.mkdir()
            yield temporary
            if target.is_dir() and not target.is_symlink():
                os.rename(target, Path(around) / "before")
            os.rename(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}") from error


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target`, atomically and durably."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write `content`, which must be valid Unicode, to `target` as UTF-8, atomically and durably."""
    write_bytes(target, content.encode())


def write_json(target: Path, value: Any) -> None:
    """Write `value` to `target` as indented JSON, atomically and durably."""
    write_text(target, json_text(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`.

    Raises:
        TwofoldError: the file is missing, unreadable or not JSON.
    """
    try:
        return parse_json(path.read_bytes(), source=str(path))
    except OSError as error:
        raise TwofoldError(f"cannot read {path}: {error.strerror or error}") from error


def parse_json(content: str | bytes, *, source: str) -> Any:
    """Return the JSON value in `content`, text or its bytes in UTF-8, -16 or -32; `source` names it in an error.

    By Python's own reader: pydantic's refuses the escapes by which `json_text` writes names that are no text.

    Raises:
        TwofoldError: it is not JSON, or nested more than a hundred levels deep.
    """
    try:
        text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
        value = json.loads(text)
    except RecursionError:
        raise TwofoldError(f"{source} is not valid JSON: {_TOO_DEEP}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TwofoldError(f"{source} is not valid JSON: {error}") from error
    except ValueError as error:  # Python's limit for whole numbers
        raise TwofoldError(f"{source} is not valid JSON: a number in it has thousands of digits") from error
    # What goes through the value calls itself at each level.
    if text.count("[") + text.count("{") > _MOST_LEVELS and _has_more_levels(value, _MOST_LEVELS):
        raise TwofoldError(f"{source} is not valid JSON: {_TOO_DEEP}")
    return value


def _has_more_levels(value: Any, most: int) -> bool:
    """Return whether lists and objects in `value` are nested more than `most` levels deep."""
    level = [value]
    for _ in range(most):
        parts = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, list | dict))
        level = [part for each in parts for part in each if isinstance(part, list | dict)]
    return bool(level)


def check_new_folder(out: Path, name: str | None) -> None:
    """Check that a folder `name`, or one with a name yet to be made, can be created in `out`.

    Raises:
        TwofoldError: it is no plain name, or is taken, or `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise TwofoldError(f"--out is {out}, which is a file; give a folder")
    if name is None:
        return
    if Path(name).name != name or name in {".", "..", ""}:
        raise TwofoldError(f"--name must be a plain folder name, got {name!r}; --out says where it is made")
    if (out / name).exists():
        raise TwofoldError(f"{out / name} exists already; choose another --name or --out")


def new_folder(out: Path, name: str | None, *, kind: str, about: str) -> Path:
    """Create a folder in `out`, called `name`, or by the time, its `kind` and the data that it is `about`.

    Raises:
        TwofoldError: it cannot be made, or `name` is taken.
    """
    check_new_folder(out, name)
    short = re.sub(r"[^\w.-]+", "-", Path(about).name)[:40].strip("-.") or "data"
    stem = name or f"{datetime.now():%Y%m%d-%H%M%S}-{kind}-{short}"
    path, attempt = out / stem, 1
    while True:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            check_new_folder(out, name)
            attempt += 1
            path = out / f"{stem}-{attempt}"
        except OSError as error:
            raise TwofoldError(f"cannot make a run folder in {out}: {error.strerror or error}") from error
        else:
            return path


def as_path(value: Any, function: str) -> Path:
    """Return the path that the first argument of `function` means: a run's is its folder.

    Raises:
        TwofoldError: it is none.
    """
    if isinstance(value, str | os.PathLike) and isinstance(path := os.fspath(value), str):
        return Path(path)
    raise TwofoldError(f"{function} takes a run, or the path of its folder, got {type(value).__name__}")
