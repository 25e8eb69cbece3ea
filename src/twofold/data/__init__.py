"""Images and what is known of them: where they come from, how they are checked, read and prepared.

    data = load_data("photos", image_size=96)      # a name, a folder, a packed folder, a table, or hf:NAME
    data.train.load(torch.arange(64))              # uint8 (64, channels, height, width)
    data.train.targets.take(torch.arange(64))      # the class of each

Names are imported when first used, so that `twofold.data.names` (which the command line and its shell completion read)
comes without torch.

| file | what |
| --- | --- |
| `names.py` | the named data sets, and whether a text is a name or a path; imports nothing heavy |
| `load.py` | `load_data` and `load_eval_images`: a name or a path to images to train on, or to evaluate with |
| `splits.py` | which images are held out for validation and test; groups that stay together |
| `sources/` | one file a source: folders, tables, named data sets, packed folders, the Hugging Face hub |
| `images.py` | `Images`: in memory or decoded as they are needed; `prefetch` |
| `targets.py` | what is known of each image: `ClassTargets` (one class), `LabelSetTargets` (any labels), `BoxTargets` |
| `spec.py` | `PixelSpec` and `ModelSpec`: what turns an image into a network's input |
| `normalising.py` | `normalise`: uint8 pixels to float32 of mean 0 and standard deviation 1 |
| `formats.py` | which image files are read, by the endings of their names, and which are known and are not |
| `decode.py` | `open_image`: a file of any supported kind to an upright 8-bit grey or colour image |
| `pixels.py` | `to_pixels`: that image to the uint8 pixels of a spec; `image_to_pil`: arrays and tensors to images |
| `statistics.py` | `channel_statistics`: mean and standard deviation of each channel |
| `check.py` | `check_images`: every image decoded once before training, the good ones remembered |
| `inspection.py` | `inspect_folder`: what is odd about a folder: broken files, copies, imbalance |
| `copies.py` | `copy_groups`: which images are copies of one another, remembered |
| `box_inspection.py` | `inspect_boxes`: the same of images with boxes, and what is odd about these |
| `convert.py` | `convert_boxes`: images with boxes, written in another format |
| `duplicates.py` | images that are there twice, found by difference hashes |
| `download.py` | `download`: one file from the network, whole and checked or not at all |
| `parallel.py` | threads that work ahead with results in order; how much memory is free |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.data.decode import (
        MAX_PIXELS as MAX_PIXELS,
        BrokenImageError as BrokenImageError,
        open_image as open_image,
    )
    from twofold.data.images import (
        Images as Images,
        MemoryImages as MemoryImages,
        Part as Part,
        StreamedImages as StreamedImages,
        prefetch as prefetch,
    )
    from twofold.data.inspection import inspect_folder as inspect_folder
    from twofold.data.load import (
        Data as Data,
        EvalData as EvalData,
        load_data as load_data,
        load_eval_images as load_eval_images,
    )
    from twofold.data.names import (
        NAMED_DATA as NAMED_DATA,
        NamedData as NamedData,
        check_data_name as check_data_name,
        looks_like_path as looks_like_path,
    )
    from twofold.data.normalising import normalise as normalise
    from twofold.data.pixels import (
        ChannelMismatchError as ChannelMismatchError,
        image_to_pil as image_to_pil,
        to_pixels as to_pixels,
    )
    from twofold.data.sources.find import find_data as find_data
    from twofold.data.sources.found import FilePart as FilePart, Found as Found
    from twofold.data.sources.pack import PackOptions as PackOptions, pack_folder as pack_folder
    from twofold.data.sources.problems import DataError as DataError, Problem as Problem
    from twofold.data.spec import ModelSpec as ModelSpec, PixelSpec as PixelSpec
    from twofold.data.statistics import channel_statistics as channel_statistics
    from twofold.data.targets import (
        BoxTargets as BoxTargets,
        ClassTargets as ClassTargets,
        LabelSetTargets as LabelSetTargets,
        Targets as Targets,
        class_labels as class_labels,
    )

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "decode": "MAX_PIXELS BrokenImageError open_image",
        "images": "Images MemoryImages Part StreamedImages prefetch",
        "inspection": "inspect_folder",
        "load": "Data EvalData load_data load_eval_images",
        "names": "NAMED_DATA NamedData check_data_name looks_like_path",
        "normalising": "normalise",
        "pixels": "ChannelMismatchError image_to_pil to_pixels",
        "sources.find": "find_data",
        "sources.found": "FilePart Found",
        "sources.pack": "PackOptions pack_folder",
        "sources.problems": "DataError Problem",
        "spec": "ModelSpec PixelSpec",
        "statistics": "channel_statistics",
        "targets": "BoxTargets ClassTargets LabelSetTargets Targets class_labels",
    },
)
