"""Data sets in Hugging Face's form, made on disk from real images; the hub itself is out of reach here."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from PIL import Image

import twofold
from twofold import Recipe, RunError, TwofoldError
from twofold.data import Data, DataError, LabelSetTargets, load_data, load_eval_images
from twofold.data.names import parse_hub_name
from twofold.engine.options import Options

CLASSES = ("boot", "coat", "bag")


def _png(pixels: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[0].numpy()).save(stream, "png")
    return stream.getvalue()


@pytest.fixture(scope="module")
def pictures() -> dict[str, tuple[list[bytes], list[int]]]:
    """A few images of clothes a split, encoded, with their classes."""
    mini = load_data("fashion-mini", val_fraction=0, show_progress=False)
    assert mini.test is not None
    wanted = {9: 0, 4: 1, 8: 2}
    result = {}
    for split, images, number in (("train", mini.train, 30), ("test", mini.test, 12)):
        at = [index for index, label in enumerate(images.targets.labels.tolist()) if label in wanted][:number]
        result[split] = (
            [_png(pixels) for pixels in images.load(torch.tensor(at))],
            [wanted[int(images.targets.labels[index])] for index in at],
        )
    return result


def _table(encoded: list[bytes], labels: list[Any], feature: Any = None) -> datasets.Dataset:
    feature = feature or datasets.ClassLabel(names=list(CLASSES))
    return datasets.Dataset.from_dict(
        {
            "image": [{"bytes": each, "path": None} for each in encoded],
            "label": labels,
            "number": list(range(len(labels))),
        },
        features=datasets.Features({"image": datasets.Image(), "label": feature, "number": datasets.Value("int64")}),
    )


@pytest.fixture
def saved(pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    both = datasets.DatasetDict({split: _table(*content) for split, content in pictures.items()})
    both.save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def _load(folder: Path, query: str = "", **settings: Any) -> Data:
    return load_data(f"hf:{folder}{query}", show_progress=False, **settings)


def test_gives_the_pixels_of_a_folder_of_the_same_files(
    saved: Path, pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path
) -> None:
    for split, (encoded, labels) in pictures.items():
        for number, (content, label) in enumerate(zip(encoded, labels, strict=True)):
            path = tmp_path / "files" / split / CLASSES[label] / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    table = _load(saved, image_size=40, val_fraction=0)
    files = load_data(str(tmp_path / "files"), image_size=40, val_fraction=0, show_progress=False)
    assert table.class_names == CLASSES
    assert files.class_names == tuple(sorted(CLASSES))
    assert (table.spec, table.spec.channels) == (files.spec, 1)
    assert table.test is not None
    assert files.test is not None
    for mine, theirs in ((table.train, files.train), (table.test, files.test)):
        # The folder's order is by class and number.
        order = sorted(range(len(mine)), key=lambda i, m=mine: (CLASSES[int(m.targets.labels[i])], i))
        assert torch.equal(mine.load(torch.tensor(order)), theirs.load(torch.arange(len(theirs))))
        assert [CLASSES[int(mine.targets.labels[i])] for i in order] == [
            files.class_names[int(i)] for i in theirs.targets.labels
        ]
    assert table.train.describe(4).endswith("saved train row 4")


def test_in_memory_or_streamed_the_pixels_are_the_same(saved: Path) -> None:
    memory, streamed = _load(saved, image_size=32), _load(saved, image_size=32, memory_limit=0)
    assert memory.train.in_memory
    assert not streamed.train.in_memory
    at = torch.tensor([5, 0, 17])
    assert torch.equal(memory.train.load(at), streamed.train.load(at))
    assert memory.val is not None
    assert len(memory.val) == 3
    assert memory.fingerprint == streamed.fingerprint
    assert memory.train.describe(2) == streamed.train.describe(2)


def test_trains_and_evaluates(saved: Path, tmp_path: Path) -> None:
    recipe = Recipe(data=f"hf:{saved}", model="lenet-bn", image_size=28, epochs=1, batch_size=8, device="cpu")
    run = twofold.train(recipe, out=tmp_path / "runs", options=Options(show=False))
    assert twofold.evaluate(run.folder, options=Options(show=False))["num_images"] == 12
    spec = twofold.load(run.folder).spec
    assert load_eval_images(f"hf:{saved}", spec, split="train", show_progress=False).images.targets.labels.shape == (
        30,
    )


def test_parquet_files_and_chosen_columns(
    pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    encoded, labels = pictures["train"]
    names = [CLASSES[label] for label in labels]
    (tmp_path / "parquet").mkdir()
    _table(encoded, names, datasets.Value("string")).to_parquet(str(tmp_path / "parquet" / "train.parquet"))
    with pytest.raises(TwofoldError, match=r"no column of the kind ClassLabel; choose one with .*\?label=COLUMN"):
        _load(tmp_path / "parquet")
    data = _load(tmp_path / "parquet", "?label=label", val_fraction=0)
    assert data.class_names == ("bag", "boot", "coat")
    assert [data.class_names[int(label)] for label in data.train.targets.labels] == names
    with pytest.raises(TwofoldError, match=r"unknown column of .* 'lable': did you mean label\?"):
        _load(tmp_path / "parquet", "?label=lable")
    with pytest.raises(TwofoldError, match="column 'number' of .* holds Value, not images"):
        _load(tmp_path / "parquet", "?image=number&label=label")


def test_lists_of_classes_are_several_labels_an_image(
    pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    encoded, _ = pictures["train"]
    sets: list[Any] = [[[0], [1, 2], [], [2, 0]][row % 4] for row in range(28)]
    feature = datasets.List(datasets.ClassLabel(names=list(CLASSES)))
    train, test = _table(encoded, [*sets, None, [1, -1]], feature), _table(encoded[:4], sets[:4], feature)
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "sets"))
    data = _load(tmp_path / "sets", val_fraction=0, image_size=28)
    assert data.class_names == CLASSES
    assert isinstance(data.train.targets, LabelSetTargets)
    assert [torch.nonzero(has).flatten().tolist() for has in data.train.targets.has] == [sorted(row) for row in sets]
    assert any("train: 2 rows without a class are left out" in note for note in data.notes)
    # The same in words, in a column that has to be chosen.
    words = [[CLASSES[label] for label in row] for row in sets]
    (tmp_path / "words").mkdir()
    table = _table(encoded[:28], words, datasets.List(datasets.Value("string")))
    table.to_parquet(str(tmp_path / "words" / "train.parquet"))
    with pytest.raises(TwofoldError, match=r"\?label=COLUMN: its columns are .*label \(list of Value\)"):
        _load(tmp_path / "words")
    in_words = _load(tmp_path / "words", "?label=label", val_fraction=0, image_size=28)
    assert in_words.class_names == ("bag", "boot", "coat")
    assert isinstance(in_words.train.targets, LabelSetTargets)
    names = [[in_words.class_names[at] for at in torch.nonzero(has).flatten()] for has in in_words.train.targets.has]
    assert names == [sorted(row) for row in words]
    spec = data.model_spec(architecture="lenet", architecture_options={})
    evaluated = load_eval_images(f"hf:{tmp_path / 'sets'}", spec, show_progress=False)
    assert isinstance(evaluated.images.targets, LabelSetTargets)
    assert evaluated.images.targets.has.sum(dim=1).tolist() == [1, 2, 0, 2]


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        ([[1.5], [2.5]], datasets.List(datasets.Value("float32")), "holds neither numbers nor names of classes"),
        ([{"a": 1}, {"a": 2}], {"a": datasets.Value("int64")}, "holds neither numbers nor names of classes"),
        ([[[1]], [[2]]], datasets.List(datasets.List(datasets.Value("int64"))), "holds neither numbers nor names"),
    ],
)
def test_columns_that_hold_no_classes(
    labels: list[Any], feature: Any, message: str, pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path
) -> None:
    datasets.DatasetDict({"train": _table(pictures["train"][0][:2], labels, feature)}).save_to_disk(str(tmp_path / "s"))
    with pytest.raises(TwofoldError, match=message):
        _load(tmp_path / "s", "?label=label")


def test_rows_without_a_class_are_left_out_and_said(
    pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path
) -> None:
    encoded, labels = pictures["train"]
    test = _table(encoded[:6], [-1] * 6)
    train = _table(encoded, [*labels[:-2], None, -1])
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "some"))
    data = _load(tmp_path / "some", val_fraction=0)
    assert len(data.train) == 28
    assert data.test is None
    assert any("train: 2 rows without a class are left out" in note for note in data.notes)
    assert any("test: 6 rows without a class are left out" in note for note in data.notes)


def test_how_rows_were_read_is_said_once(pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path) -> None:
    encoded, labels = (list(each) for each in pictures["train"])
    for row in (3, 5):
        stream = io.BytesIO()
        Image.open(io.BytesIO(encoded[row])).save(
            stream, "gif", save_all=True, append_images=[Image.open(io.BytesIO(encoded[row + 1]))]
        )
        encoded[row] = stream.getvalue()
    datasets.DatasetDict({"train": _table(encoded, labels)}).save_to_disk(str(tmp_path / "films"))
    (line,) = _load(tmp_path / "films").notes
    assert line.startswith("2 images have several frames or pages, of which the first is taken (")
    assert "row 3" in line


def test_hostile_rows_are_named_or_skipped(
    pictures: dict[str, tuple[list[bytes], list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, labels = pictures["train"]
    bomb = b"BM" + (70).to_bytes(4, "little") + bytes(8) + b"\x28\0\0\0" + (60_000).to_bytes(4, "little") * 2
    bomb += b"\x01\0\x18\0" + bytes(24)
    encoded = [encoded[0][: len(encoded[0]) // 2], b"", b"not an image", bomb, *encoded[4:]]
    datasets.DatasetDict({"train": _table(encoded, labels)}).save_to_disk(str(tmp_path / "bad"))
    with pytest.raises(DataError) as raised:
        _load(tmp_path / "bad")
    message = str(raised.value)
    assert "4 images cannot be used" in message
    assert "train row 0: is truncated" in message
    assert "train row 3" in message
    assert "\n" not in message
    data = _load(tmp_path / "bad", skip_broken=True, val_fraction=0)
    assert len(data.train) == 26
    assert sum("skipped" in note for note in data.notes) == 4
    assert data.train.describe(0).endswith("row 4")


def test_what_was_checked_is_remembered(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _load(saved, image_size=28)
    monkeypatch.setattr("twofold.data.check.open_image", lambda source: pytest.fail("checked again"))
    assert _load(saved, image_size=28).fingerprint == first.fingerprint


def test_another_content_has_another_fingerprint(saved: Path, tmp_path: Path) -> None:
    first = _load(saved, image_size=28)
    table = datasets.load_from_disk(str(saved))
    assert isinstance(table, datasets.DatasetDict)
    table["train"] = table["train"].select(range(25))
    table.save_to_disk(str(tmp_path / "fewer"))
    assert _load(tmp_path / "fewer", image_size=28).fingerprint != first.fingerprint


def test_a_row_that_breaks_after_the_check_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _load(saved, image_size=28, memory_limit=0)
    monkeypatch.setattr("twofold.data.sources.hub.TablePart.record", lambda self, index: b"gone")
    with pytest.raises(RunError, match=r"train row \d+: not an image that can be read"):
        data.train.load(torch.tensor([1]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf:", "lacks a name"),
        ("hf:a/b?labl=x", "unknown setting 'labl': did you mean label?"),
        ("hf:a/b?label=", "lacks a value for label"),
        ("hf:./none", "no such folder: ./none"),
        ("hf:nobody/nothing", "cannot load hf:nobody/nothing"),
    ],
)
def test_wrong_names(text: str, message: str, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom twofold.data import load_data\nfrom twofold.errors import TwofoldError\n"
        "try: load_data(sys.argv[1])\nexcept TwofoldError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, text], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert message in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_without_the_library_the_remedy_is_named(tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'datasets' else find(name, *rest)\n"
        "from twofold import Recipe, TwofoldError\n"
        "try: Recipe(data='hf:ylecun/mnist')\nexcept TwofoldError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "hf:ylecun/mnist needs the datasets library: pip install 'twofold[hf]'"


def test_names_are_parsed() -> None:
    name = parse_hub_name("hf:owner/set?config=small&revision=v2&image=picture&label=kind")
    assert (name.name, name.config, name.revision, name.image, name.label) == (
        "owner/set",
        "small",
        "v2",
        "picture",
        "kind",
    )
    assert not name.is_path
    assert parse_hub_name("hf:./here").is_path
