"""Files that survive: atomic durable writes, digests, and where Twofold keeps its cache.

A write goes to a temporary name in the same folder, is flushed to the disk and only then renamed over the old
file, so a reader finds the old content or the new, never half of either (DESIGN rule 6).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twofold.errors import RunError, TwofoldError


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Read once, at import: the mask can only be read by setting it, which would race with other threads later.
_UMASK = _read_umask()


def cache_folder() -> Path:
    """Return the folder for downloads and prepared data: $TWOFOLD_CACHE, or twofold in the user's cache folder."""
    if override := os.environ.get("TWOFOLD_CACHE"):
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "twofold"


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut (a no-op where folders can't be opened)."""
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

    With `keep`, the file that is replaced stays, under that name.

    On an error the temporary file is removed and `target` is as it was. An `OSError` (a full disk, a read-only
    folder) becomes a `RunError` that names the target.
    """
    # Named before it is made: Ctrl-C between the two would leave a file that nobody knows of.
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror or error}") from error
        yield temporary
        sync_file(temporary)
        # Private until it is whole; a result should be as readable as any file the user creates.
        temporary.chmod(0o666 & ~_UMASK)
        if keep is not None and target.exists():
            _second_name(target, keep)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}; the file before it is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _second_name(target: Path, keep: Path) -> None:
    """Let `keep` name the file that `target` names; where the file system has no hard links, move it there."""
    keep.unlink(missing_ok=True)
    try:
        os.link(target, keep)
    except OSError:
        os.replace(target, keep)


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content` to `target`, atomically and durably."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write `content` to `target` as UTF-8, atomically and durably."""
    write_bytes(target, content.encode())


def write_json(target: Path, value: Any) -> None:
    """Write `value` to `target` as indented JSON, atomically and durably."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`.

    Raises:
        TwofoldError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TwofoldError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise TwofoldError(f"{path} is not valid JSON: {error}") from error
