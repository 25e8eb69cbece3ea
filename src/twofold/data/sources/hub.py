"""Data sets of the Hugging Face hub, or in their format on disk: `hf:NAME`.

    load_data("hf:ylecun/mnist")                          # from the hub, kept in its own cache
    load_data("hf:uoft-cs/cifar100?label=fine_label")     # where there are several columns to choose from
    load_data("hf:./saved")                               # what save_to_disk wrote, or a folder of parquet files

A column with one class a row gives one class an image, a column with lists of them several labels an image.

The `datasets` library (the extra `hf`) downloads, verifies and memory-maps Arrow tables; it runs no code that comes
with a data set. Images stay encoded in the table: a row is decoded when it is asked for, by the same `open_image` that
treats every file as hostile, so memory stays flat and pixels are those that a folder of the same files would give.

Every image is decoded once before training; what was found is remembered by the table's fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from twofold.data.check import Checked, channels_and_side, check_images, remark_notes
from twofold.data.decode import BrokenImageError
from twofold.data.names import HubName, parse_hub_name
from twofold.data.sources.found import EncodedPart, Found
from twofold.data.sources.problems import DataError
from twofold.data.targets import ClassTargets, LabelSetTargets, Targets
from twofold.errors import TwofoldError, check_known
from twofold.files import expanded

# What the hub's authors call their splits; the first that is there is taken.
_SPLIT_NAMES = {"train": ("train",), "val": ("validation", "valid", "val", "dev"), "test": ("test",)}
_MOST_NAMED = 20


@dataclass(frozen=True, eq=False)
class TablePart(EncodedPart):
    """Rows of one split: `rows` are their indices in the `table`, whose column `image` holds encoded images."""

    table: Any
    image: str
    title: str
    rows: np.ndarray
    targets: Targets

    remedy = "it was readable when checked"

    def select(self, indices: Int64[Tensor, " m"]) -> TablePart:
        """Return the rows at `indices`."""
        return replace(self, rows=self.rows[indices.numpy()], targets=self.targets.take(indices))

    def describe(self, index: int) -> str:
        """Return the data set, the split and the row."""
        return f"{self.title} row {int(self.rows[index])}"

    def content_keys(self) -> list[str]:
        """Return the table's own fingerprint with each row."""
        return [f"{self.table._fingerprint} {row}" for row in self.rows.tolist()]

    def record(self, index: int) -> bytes | str:
        """Return the encoded bytes of one image, or the path of its file where the table holds no more than that.

        Raises:
            BrokenImageError: the row has no image.
        """
        value = self.table[int(self.rows[index])][self.image]
        if not isinstance(value, dict) or (value.get("bytes") is None and value.get("path") is None):
            raise BrokenImageError(self.describe(index), "the row has no image")
        return value["bytes"] if value.get("bytes") is not None else value["path"]


def open_hub(text: str, *, skip_broken: bool = False, show_progress: bool = True) -> Found[TablePart]:
    """Return the data set that `text`, "hf:NAME", names; every image is decoded once, unless that is known.

    With `skip_broken`, images that cannot be decoded are left out, with a note for each.

    Raises:
        TwofoldError: the library is missing, the data set cannot be had, or has no images with classes.
        DataError: images that cannot be decoded.
    """
    wanted = parse_hub_name(text)
    tables = _tables(wanted, show_progress=show_progress)
    image, label = _columns(wanted, next(iter(tables.values())).features)
    class_names = _class_names(tables, label)
    splits: dict[str, TablePart] = {}
    checked: list[Checked] = []
    notes: list[str] = []
    broken: list[str] = []
    for split, table in tables.items():
        part, without = _labelled(f"{text.split('?', maxsplit=1)[0]} {split}", table, image, label, class_names)
        if without:
            notes.append(f"{part.title}: {without:,} rows without a class are left out")
        results = check_images(
            "tables",
            f"{part.table._fingerprint} {image}",
            keys=[str(row) for row in part.rows.tolist()],
            encoded=part.record,
            label=f"checking {part.title}",
            show_progress=show_progress,
        )
        good = [index for index, result in enumerate(results) if result.broken is None]
        broken += [f"{part.describe(i)}: {result.broken}" for i, result in enumerate(results) if result.broken]
        notes += remark_notes([part.describe(index) for index in range(len(part))], results)
        if good:
            splits[split] = part.select(torch.tensor(good))
            checked += [results[index] for index in good]
    if broken and not skip_broken:
        more = f"; and {len(broken) - _MOST_NAMED} more" if len(broken) > _MOST_NAMED else ""
        shown = "; ".join(broken[:_MOST_NAMED]) + more
        raise DataError(f"{text}: {len(broken)} images cannot be used ({shown}); leave them out with --skip-broken")
    if "train" not in splits:
        raise TwofoldError(f"{text} has no training images with classes; its splits are {', '.join(tables)}")
    digest = hashlib.sha256(json.dumps([class_names, image, label]).encode())
    for split, part in splits.items():
        digest.update(f"{split} {tables[split]._fingerprint} {len(part)}".encode())
        digest.update(part.rows.tobytes())
    channels, median_side = channels_and_side(checked)
    return Found(
        source=text,
        name=wanted.name,
        class_names=class_names,
        splits=splits,
        channels=channels,
        median_side=median_side,
        fingerprint=digest.hexdigest(),
        notes=(*notes, *(f"skipped {line}" for line in broken)),
    )


def _tables(wanted: HubName, *, show_progress: bool) -> dict[str, Any]:
    import datasets

    folder = expanded(wanted.name)
    if wanted.is_path and not folder.is_dir():
        raise TwofoldError(f"no such folder: {wanted.name}; a name on the hub is OWNER/NAME")
    bars_before = datasets.is_progress_bar_enabled()
    try:
        (datasets.enable_progress_bars if show_progress else datasets.disable_progress_bars)()
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            loaded: Any = datasets.load_from_disk(str(folder))
        else:
            # A folder that is there could be taken for a name on the hub; resolved, it cannot.
            name = str(folder.resolve()) if folder.is_dir() else wanted.name
            loaded = datasets.load_dataset(name, wanted.config, revision=wanted.revision)
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise TwofoldError(f"cannot load hf:{wanted.name}: {reason}") from error
    finally:
        (datasets.enable_progress_bars if bars_before else datasets.disable_progress_bars)()
    if isinstance(loaded, datasets.Dataset):
        loaded = {"train": loaded}
    tables = {}
    for split, names in _SPLIT_NAMES.items():
        name = next((name for name in names if name in loaded), None)
        if name is not None:
            tables[split] = loaded[name]
    if not tables:
        raise TwofoldError(f"hf:{wanted.name} has the splits {', '.join(map(str, loaded))}; one must be called train")
    return tables


def _columns(wanted: HubName, features: Any) -> tuple[str, str]:
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    for name, feature in features.items():
        if _has_lists(feature):
            kinds[name] = f"list of {type(feature.feature).__name__}"
    labels = [name for name, kind in kinds.items() if kind in ("ClassLabel", "list of ClassLabel")]
    found = []
    for what, asked, candidates in (("image", wanted.image, images), ("label", wanted.label, labels)):
        if asked is not None:
            check_known(f"column of hf:{wanted.name}", asked, kinds)
            found.append(asked)
        elif len(candidates) == 1:
            found.append(candidates[0])
        else:
            has = f"its columns are {', '.join(f'{name} ({kind})' for name, kind in kinds.items())}"
            count = "several columns" if candidates else "no column"
            raise TwofoldError(
                f"hf:{wanted.name} has {count} of the kind {'Image' if what == 'image' else 'ClassLabel'}; choose one "
                f"with hf:{wanted.name}?{what}=COLUMN: {has}"
            )
    if found[0] not in images:
        raise TwofoldError(f"column {found[0]!r} of hf:{wanted.name} holds {kinds[found[0]]}, not images")
    return found[0], found[1]


def _has_lists(feature: Any) -> bool:
    """Return whether each row of a column holds a list."""
    return getattr(feature, "feature", None) is not None


def _names_of(table: Any, label: str) -> list[str] | None:
    """Return the names that the column's feature, or that of its lists, gives the classes; None where it has none."""
    feature = table.features[label]
    return getattr(feature.feature if _has_lists(feature) else feature, "names", None)


def _class_names(tables: dict[str, Any], label: str) -> tuple[str, ...]:
    """Return the names of the classes: of the column's feature, or the values that occur, in order."""
    first = next(iter(tables.values()))
    names = _names_of(first, label)
    for split, table in tables.items():
        if _has_lists(table.features[label]) != _has_lists(first.features[label]):
            raise TwofoldError(f"the split {split} has lists in {label!r} and others have not, or the other way round")
        if _names_of(table, label) != names:
            raise TwofoldError(f"the split {split} has other classes in {label!r} than the others")
    if names is not None:
        return tuple(names)
    values = [value for table in tables.values() for value in table[label][:] if value is not None]
    if _has_lists(first.features[label]):
        values = [value for row in values for value in row if value is not None]
    if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
        raise TwofoldError(f"column {label!r} holds neither numbers nor names of classes")
    return tuple(str(value) for value in sorted(set(values), key=lambda value: (isinstance(value, str), value)))


def _labelled(title: str, table: Any, image: str, label: str, class_names: tuple[str, ...]) -> tuple[TablePart, int]:
    """Return the rows of a table whose classes are known, and how many others there are."""
    import datasets

    named = _names_of(table, label) is not None
    numbers: dict[Any, int] = {index if named else name: index for index, name in enumerate(class_names)}

    def number(value: Any) -> int:
        return numbers.get(value if named or value is None else str(value), -1)

    values: Sequence[Any] = table[label][:]
    targets: Targets
    if _has_lists(table.features[label]):
        # A list without labels is an image without any; a label that is not known makes the row of no use.
        sets = [None if value is None else [number(each) for each in value] for value in values]
        rows = np.flatnonzero([each is not None and -1 not in each for each in sets])
        has = torch.zeros(len(rows), len(class_names), dtype=torch.bool)
        for index, row in enumerate(rows.tolist()):
            has[index, sets[row]] = True
        targets = LabelSetTargets(has)
    else:
        labels = np.asarray([number(value) for value in values], dtype=np.int64)
        rows = np.flatnonzero(labels >= 0)
        targets = ClassTargets(torch.from_numpy(labels[rows]))
    encoded = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    return TablePart(encoded, image, title, rows, targets), len(values) - len(rows)
