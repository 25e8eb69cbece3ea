"""The recipe of fine-tuning: a new head on trained features, and settings that suit few images.

Features that were learned from many images serve for others (Yosinski et al., "How transferable are features in deep
neural networks?", 2014). AdamW with a small learning rate and a warm-up keeps them; the new head starts from nothing
and learns ten times faster. Few images are seen more often: about 1,500 steps, in 5 to 100 epochs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold.data.names import is_named, is_scenes_name, is_table, parse_scenes_name, plain_name
from twofold.engine.recipe import Recipe
from twofold.errors import TwofoldError
from twofold.files import expanded
from twofold.models.registry import CLASSIFIERS
from twofold.terminal import command

if TYPE_CHECKING:
    from twofold.data.spec import ModelSpec

_STEPS, _EPOCHS = 1500, (5, 100)
# What neither the weights nor the images decide.
FIXED_SETTINGS: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 0.0003,
    "weight_decay": 0.02,
    "schedule": "warmup-cosine",
    "warmup": 0.1,
    "batch_size": 16,
}


def finetune_epochs(data: str, columns: Mapping[str, str] | None = None, images: str | Path | None = None) -> int:
    """Return how many epochs suit the number of training images in `data`; a named set counts as large.

    So does a folder that cannot be used: what is wrong with it depends on the network, and is said when it is opened.

    Args:
        data: what names the images.
        columns: what the columns of a table are, where it is one.
        images: the folder of the images, where they do not lie with the data.

    Raises:
        TwofoldError: `data` is a table, a pack or a file of boxes that cannot be used.
    """
    folder = expanded(plain_name(data))
    if is_scenes_name(data):
        return _epochs(parse_scenes_name(data).train)
    if not folder.exists() or is_named(data):
        return _EPOCHS[0]
    from twofold.data.sources.boxes_find import count_by_split
    from twofold.data.sources.listing import list_folder
    from twofold.data.sources.packed import is_packed, read_index
    from twofold.data.sources.problems import DataError
    from twofold.data.sources.table_columns import count_training_rows

    if (counts := count_by_split(data, images, columns)) is not None:
        num_images = counts.get("train", counts.get("all", 0))
    elif is_table(data):
        num_images = count_training_rows(folder, columns)
    elif is_packed(folder):
        splits = read_index(folder).splits
        num_images = sum(entry.records for entry in splits.get("train", splits.get("all", ())))
    else:
        try:
            splits = list_folder(folder).splits
        except DataError:
            return _EPOCHS[0]
        num_images = sum(map(len, splits.get("train", splits.get("all", {})).values()))
    return _epochs(num_images)


def _epochs(num_images: int) -> int:
    """Return how many epochs are about `_STEPS` steps, within `_EPOCHS`."""
    return min(_EPOCHS[1], max(_EPOCHS[0], math.ceil(_STEPS * FIXED_SETTINGS["batch_size"] / max(1, num_images))))


def finetune_recipe(
    weights: str,
    model: str | None = None,
    *,
    data: str = "fashion-mini",
    columns: Mapping[str, str] | None = None,
    images: str | Path | None = None,
) -> Recipe:
    """Return the recipe of fine-tuning: from a run, its network and its images' size; else the paper's.

    Args:
        weights: a run or a file of weights.
        model: the network, where the weights do not say.
        data: the images, whose number decides the epochs.
        columns: what the columns of a table are, where it is one.
        images: the folder of the images, where they do not lie with the data.

    Raises:
        TwofoldError: there are no such weights, or they don't say what network they are for and no model does.
    """
    import torch

    from twofold.data.spec import ModelSpec
    from twofold.engine.weights import check_source, split_part
    from twofold.inference.places import weights_path
    from twofold.inference.weights_file import has_record, load_checkpoint
    from twofold.models import create_model

    path, _ = split_part(weights)
    record: dict[str, Any] = {}
    if path.is_dir() or has_record(path):
        _, record = load_checkpoint(weights_path(path))
    settings: dict[str, Any] = {}
    if "spec" in record:
        spec = ModelSpec.from_json(json.dumps(record["spec"]), origin=str(path))
        if model == "ssd" and spec.architecture in CLASSIFIERS:
            return _on_classifier(weights, spec, data, columns)
        if model not in (None, spec.architecture):
            raise TwofoldError(f"{weights} holds the weights of {spec.architecture}, not of {model}; leave {model} out")
        model = spec.architecture
        settings = {
            "model_options": spec.architecture_options,
            # A recipe has no word for images that are not square: there the new images' own size decides.
            "image_size": spec.image_size[0] if len(set(spec.image_size)) == 1 else None,
            "channels": spec.channels,
            "resize": spec.resize,
        }
    elif model is None:
        check_source(weights)
        raise TwofoldError(
            f"{weights} does not say what network it is for: {command('finetune', weights, 'MODEL', '--data', data)}"
        )
    else:
        settings = {"image_size": 224, "model_options": {}}
    with torch.device("meta"):  # for the name of its last layer alone: no weights are drawn
        head = create_model(model, options=settings["model_options"]).last_layer
    return Recipe(
        model=model,
        weights=weights,
        weights_partial=(head,),
        lr_scale={f"{head}.*": 10.0},
        epochs=finetune_epochs(data, columns, images),
        **FIXED_SETTINGS,
        **settings,
    )


def _on_classifier(weights: str, spec: ModelSpec, data: str, columns: Mapping[str, str] | None) -> Recipe:
    """Return the recipe of a detector on the features of a trained classifier.

    All but these is new, so it learns as long and as fast as from scratch; the features learn ten times slower.
    """
    options = {name: value for name, value in spec.architecture_options.items() if name in ("stem", "width")}
    return Recipe(
        model="ssd",
        model_options={"backbone": spec.architecture, **options},
        weights=weights,
        lr_scale={"backbone.*": 0.1},
        channels=spec.channels,
        data=data,
        columns=dict(columns or {}),
    )
