"""Which image files are read, told by the endings of their names, and which are known and are not. Imports no Pillow.

A decoder is code that runs on bytes from strangers, so the list is closed: the formats that photographs, scans and
measurements come in, each by a decoder that needs no other program. Left out on purpose are EPS and PDF (programs, run
by Ghostscript), layered files such as PSD (what to show is a question of its own), vectors, video and RAW files of
cameras. What is left out is counted and named, with the remedy.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping

# Pillow's name of each format, what people call it, and the endings of its files.
_DECODED = {
    "PNG": ("PNG", ".png .apng"),
    "JPEG": ("JPEG", ".jpg .jpeg .jpe .jfif"),
    "WEBP": ("WebP", ".webp"),
    "BMP": ("BMP", ".bmp .dib"),
    "TIFF": ("TIFF", ".tif .tiff"),
    "GIF": ("GIF", ".gif"),
    "AVIF": ("AVIF", ".avif .avifs"),
    "JPEG2000": ("JPEG 2000", ".jp2 .j2k .j2c .jpc .jpf .jpx"),
    "PPM": ("PPM", ".ppm .pgm .pbm .pnm"),
    "TGA": ("TGA", ".tga"),
    "HEIF": ("HEIC", ".heic .heif .hif"),
}
# Decoders that an installation may lack: the module that holds each, and the remedy.
_OPTIONAL = {
    "AVIF": ("PIL._avif", "pip install --upgrade pillow"),
    "HEIF": ("pillow_heif", "pip install 'twofold[heif]'"),
}
_SAVE_ANEW = "save as PNG or JPEG"
_UNREAD_ENDINGS = (
    ".psd .psb .xcf .kra .ai .eps .ps .pdf .svg .svgz .emf .wmf .ico .icns .cur .jxl .jxr .bpg .exr .hdr .dds .pcx "
    ".sgi .ras .qoi .fits .fit .dcm .dicom .nii .svs .ndpi .mrxs .czi .lif .dng .cr2 .cr3 .crw .nef .nrw .arw .sr2 "
    ".raf .orf .rw2 .pef .srw .x3f .raw .mp4 .mov .avi .mkv .webm .m4v .npy .npz"
)
# Files that lie beside images: nobody has to look into them to see whether they are images.
_OTHER_ENDINGS = (
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .md .rst .html .htm .log .py .ipynb .sh .toml .ini .cfg .parquet .mat "
    ".pkl .pt .pth .safetensors .h5 .hdf5 .zip .tar .gz .tgz .bz2 .xz .7z .rar .db .doc .docx .xls .xlsx .ds_store "
    ".xmp .aae .thm .names .data .cache .lock .tmp .part .url .lnk .exe .wav .mp3"
)


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def installed(format: str) -> bool:
    """Return whether the decoder of a format, by Pillow's name of it, is there."""
    return format not in _OPTIONAL or _has_module(_OPTIONAL[format][0])


FORMATS = tuple(name for name in _DECODED if name not in ("TGA", "HEIF") and installed(name))
"""What any file is tried as, whatever its name; TGA, which has no mark at its start, needs the name, and HEIF its
extra."""

FORMAT_OF_SUFFIX = {
    suffix: name for name, (_, suffixes) in _DECODED.items() if installed(name) for suffix in suffixes.split()
}
"""The format that the ending of a name stands for, of those that are read here."""

IMAGE_SUFFIXES = frozenset(FORMAT_OF_SUFFIX)
KNOWN_FORMATS = "PNG, JPEG, WebP, GIF, AVIF, TIFF, BMP, JPEG 2000, PPM or TGA"

_REMEDY_OF_SUFFIX = dict.fromkeys(_UNREAD_ENDINGS.split(), _SAVE_ANEW) | {
    suffix: _OPTIONAL[name][1]
    for name, (_, suffixes) in _DECODED.items()
    if not installed(name)
    for suffix in suffixes.split()
}

_NEVER_IMAGES = frozenset(_OTHER_ENDINGS.split())

# The first bytes of what people have among their images, and what it is. The first few are images that we read.
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_IMAGE_STARTS = (_PNG, _JPEG, b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP  ")
_SIGNATURES = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the files themselves"),
    (b"<!DOCTYPE", "an HTML page, perhaps of a failed download"),
    (b"<!doctype", "an HTML page, perhaps of a failed download"),
    (b"<html", "an HTML page, perhaps of a failed download"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML text, perhaps an SVG drawing"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def suffix_of(name: str) -> str:
    """Return the ending of a file's name in lower case, with its dot; "" if it has none."""
    return os.path.splitext(name)[1].lower()


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is read as an image."""
    return suffix_of(name) in IMAGE_SUFFIXES


def unread_suffix(name: str, path: str) -> str | None:
    """Return the ending of a file that is an image and is not read, "" if it has none; None if it is no image.

    A file with an ending that says nothing, or with none, is looked into: of images that were saved without a name
    there may be many.
    """
    suffix = suffix_of(name)
    if suffix in _REMEDY_OF_SUFFIX:
        return suffix
    if suffix in _NEVER_IMAGES:
        return None
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError:
        return None
    known = start.startswith(_IMAGE_STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP") or is_heif(start)
    return suffix if known else None


def unread_notes(counts: Mapping[str, int]) -> list[str]:
    """Return a line for each remedy: how many files of which endings are not read, and what to do.

    >>> print(*unread_notes({".psd": 3, ".svg": 1, "": 2}), sep="\\n")
    3 .psd and 1 .svg files are not read: save as PNG or JPEG
    2 image files without an ending are not read: name them .jpg, .png …
    """
    by_remedy: dict[str, list[str]] = {}
    for suffix, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        remedy = _REMEDY_OF_SUFFIX.get(suffix, "images by their content: name them .jpg, .png …")
        if suffix:
            by_remedy.setdefault(remedy, []).append(f"{count:,} {suffix}")
    notes = []
    for remedy, parts in by_remedy.items():
        named = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
        what = "file is" if named.startswith("1 ") and len(parts) == 1 else "files are"
        notes.append(f"{named} {what} not read: {remedy}")
    if count := counts.get("", 0):
        what = "file without an ending is" if count == 1 else "files without an ending are"
        notes.append(f"{count:,} image {what} not read: name {'it' if count == 1 else 'them'} .jpg, .png …")
    return notes


def is_heif(start: bytes) -> bool:
    """Return whether a file that starts so (12 bytes are enough) is of the HEIC family."""
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS


def what_it_is(start: bytes) -> str | None:
    """Return in words what a file is that is not read as an image, from its first 64 bytes; None if they do not say."""
    start = start.lstrip()
    if not start:
        return None
    if is_heif(start):
        return "a HEIC image" if installed("HEIF") else f"a HEIC image: {_OPTIONAL['HEIF'][1]}"
    if start[4:8] == b"ftyp":
        return f"an AVIF image: {_OPTIONAL['AVIF'][1]}" if start[8:12] in (b"avif", b"avis") else "a video"
    return next((what for signature, what in _SIGNATURES if start.startswith(signature)), None)
