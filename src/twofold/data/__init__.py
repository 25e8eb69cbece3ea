"""Where images come from: named data sets, folders, and the preprocessing that travels with the weights.

The names below are loaded when first used, so that `twofold.data.names` (which the command line and its shell
completion read) can be imported without torch.

| module | what it holds |
| --- | --- |
| `names` | the named data sets and the check of a name or path; needs nothing heavy |
| `spec` | `PixelSpec` and `ModelSpec`, what turns an image into a network's input; `normalise` |
| `decode` | `open_image`: a file of any supported kind to an upright 8-bit grey or colour image |
| `pixels` | `to_pixels`: that image to the uint8 tensor of a spec; `image_to_pil`: arrays and tensors to images |
| `folder`, `check` | `scan_folder`: an image folder to classes, splits and problems, every file decoded once |
| `inspection`, `duplicates` | `inspect_folder`: what is odd about a folder: broken files, copies, imbalance |
| `pack`, `shards` | `pack_folder`: a folder to a few large files; `open_packed`: any image of them by number |
| `source` | `Images`: in memory, streamed from files, resized on the fly, or a subset; `prefetch` |
| `targets` | `Targets`: what is known of each image; `ClassTargets`: one class an image |
| `statistics` | `channel_statistics`: mean and standard deviation of each channel |
| `load` | `load_data` and `load_eval_images`: a name or path to images ready to train on or to evaluate |
| `named`, `download`, `archives`, `idx`, `store` | the named data sets: embedded, cached, found or downloaded |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.data.decode import MAX_PIXELS, BrokenImageError, open_image
    from twofold.data.load import Data, EvalData, load_data, load_eval_images
    from twofold.data.names import NAMED_DATA, NamedData, check_data_name, looks_like_path
    from twofold.data.pixels import ChannelMismatchError, image_to_pil, to_pixels
    from twofold.data.source import Images, MemoryImages, ResizedImages, StreamedImages, prefetch
    from twofold.data.sources.folder import DataError, FolderScan, Problem, Split, scan_folder
    from twofold.data.spec import ModelSpec, PixelSpec, normalise
    from twofold.data.statistics import channel_statistics
    from twofold.data.targets import ClassTargets, Targets, class_labels

_HOME = {
    "MAX_PIXELS": "decode",
    "BrokenImageError": "decode",
    "open_image": "decode",
    "DataError": "sources.folder",
    "FolderScan": "sources.folder",
    "Problem": "sources.folder",
    "Split": "sources.folder",
    "scan_folder": "sources.folder",
    "Data": "load",
    "EvalData": "load",
    "load_data": "load",
    "load_eval_images": "load",
    "NAMED_DATA": "names",
    "NamedData": "names",
    "check_data_name": "names",
    "looks_like_path": "names",
    "ChannelMismatchError": "pixels",
    "image_to_pil": "pixels",
    "to_pixels": "pixels",
    "Images": "source",
    "MemoryImages": "source",
    "ResizedImages": "source",
    "StreamedImages": "source",
    "prefetch": "source",
    "PixelSpec": "spec",
    "ModelSpec": "spec",
    "normalise": "spec",
    "channel_statistics": "statistics",
    "ClassTargets": "targets",
    "Targets": "targets",
    "class_labels": "targets",
}

__all__ = [
    "MAX_PIXELS",
    "NAMED_DATA",
    "BrokenImageError",
    "ChannelMismatchError",
    "ClassTargets",
    "Data",
    "DataError",
    "EvalData",
    "FolderScan",
    "Images",
    "MemoryImages",
    "ModelSpec",
    "NamedData",
    "PixelSpec",
    "Problem",
    "ResizedImages",
    "Split",
    "StreamedImages",
    "Targets",
    "channel_statistics",
    "check_data_name",
    "class_labels",
    "image_to_pil",
    "load_data",
    "load_eval_images",
    "looks_like_path",
    "normalise",
    "open_image",
    "prefetch",
    "scan_folder",
    "to_pixels",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'twofold.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"twofold.data.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
