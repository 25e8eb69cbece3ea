"""Folders as people have them: each said in one line with the remedy, by training and by `data check` alike."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.conftest import save_folder, save_image
from twofold.data import DataError, ModelSpec, load_data, load_eval_images
from twofold.data.inspection import inspect_folder
from twofold.data.sources.folder import open_folder
from twofold.errors import TwofoldError

SPEC = ModelSpec(
    architecture="lenet",
    architecture_options={},
    class_names=("cat", "dog"),
    channels=3,
    image_size=(12, 12),
    resize="crop",
    convert_colour=False,
    mean=(0, 0, 0),
    std=(1, 1, 1),
)


def said_to_train(root: Path) -> str:
    with pytest.raises(TwofoldError) as raised:
        open_folder(root, show_progress=False)
    return str(raised.value)


def said_by_check(root: Path) -> str:
    """Return the findings of `data check` about the folder, or its error."""
    try:
        result = inspect_folder(root, show_progress=False)
    except DataError as error:
        return str(error)
    about = (*result.of("folder problem"), *result.of("not for training"), *result.of("class imbalance"))
    return "\n".join((*result.notes, *(f"{' '.join(finding.paths)}: {finding.message}" for finding in about)))


def said_by_both(root: Path) -> tuple[str, str]:
    return said_to_train(root), said_by_check(root)


@pytest.mark.parametrize("splits", [("test",), ("val",), ("test", "valid")])
def test_a_folder_for_evaluation_alone(tmp_path: Path, splits: tuple[str, ...]) -> None:
    save_folder(tmp_path, {f"{split}/{name}": 2 for split in splits for name in ("cat", "dog")})
    found = open_folder(tmp_path, for_training=False, show_progress=False)
    assert found.class_names == ("cat", "dog")
    assert set(found.splits) == {"val" if split == "valid" else split for split in splits}
    chosen = load_eval_images(str(tmp_path), SPEC, show_progress=False).split
    assert chosen == ("test" if "test" in splits else "val")
    for line in said_by_both(tmp_path):
        assert "but no train/: add train/ with a folder a class" in line
        assert f"twofold eval RUN --data {tmp_path}" in line
        assert "\n" not in line
    assert not inspect_folder(tmp_path, show_progress=False).has_broken


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("images", "labels"), "images/ and labels/"),
        (("images", "masks"), "images/ and masks/"),
        (("train/images", "train/labels", "valid/images", "valid/labels"), "images/ and labels/"),
        (("annotations", "train2017", "val2017"), "annotations/ and train2017/ and val2017/"),
        (("Annotations", "ImageSets", "JPEGImages"), "Annotations/ and ImageSets/ and JPEGImages/"),
    ],
)
def test_detection_data(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    save_folder(tmp_path, dict.fromkeys(names, 2))
    for line in said_by_both(tmp_path):
        assert f"{words} are the layout of a data set for detection or segmentation, not classes" in line
    assert "--skip-broken does not help" in said_to_train(tmp_path)
    assert inspect_folder(tmp_path, show_progress=False).has_broken


def test_a_class_may_be_called_images(tmp_path: Path) -> None:
    save_folder(tmp_path, {"images": 2, "labels": 2, "pages": 2})
    assert open_folder(tmp_path, show_progress=False).class_names == ("images", "labels", "pages")


def make_run(folder: Path) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "recipe.json").write_text("{}")
    return folder


def test_runs_given_as_data(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    make_run(runs / "first")
    for line in said_by_both(runs / "first"):
        assert line == f"{runs / 'first'} is a run, which twofold train wrote, not images; give the folder of images"
    for line in said_by_both(runs):
        assert line == f"{runs} holds runs of twofold train, such as first, not images; give the folder of images"


def test_runs_beside_the_classes_are_no_class(tmp_path: Path) -> None:
    save_folder(tmp_path, {"cat": 2, "dog": 2})
    make_run(tmp_path / "runs" / "first")
    save_image(tmp_path / "runs" / "first" / "figure.png")
    found = open_folder(tmp_path, show_progress=False)
    assert found.class_names == ("cat", "dog")
    assert found.notes == ("not taken for a class, because twofold train wrote it: runs",)


def test_one_image_a_class(tmp_path: Path) -> None:
    save_folder(tmp_path, {"cat": 1, "dog": 1})
    with pytest.raises(TwofoldError, match="with one image cannot be split into training and validation"):
        load_data(str(tmp_path), show_progress=False)
    assert said_by_check(tmp_path).count("has one image, which cannot be in training and validation") == 2
    save_folder(tmp_path / "split", {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    assert said_by_check(tmp_path / "split") == ""


def test_a_single_class(tmp_path: Path) -> None:
    save_folder(tmp_path, {"cat": 3})
    for line in said_by_both(tmp_path):
        assert "the only class is 'cat'; at least two are needed to train a classifier" in line
    assert not inspect_folder(tmp_path, show_progress=False).has_broken


@pytest.mark.parametrize(
    "names", [("photos/cat", "photos/dog"), ("photos/train/cat", "photos/train/dog"), ("photos/a/cat", "photos/b/cat")]
)
def test_an_archive_left_a_folder_around(tmp_path: Path, names: tuple[str, ...]) -> None:
    save_folder(tmp_path, dict.fromkeys(names, 2))
    save_image(tmp_path / "__MACOSX" / "photos" / "cat" / "._000.png")
    for line in said_by_both(tmp_path):
        assert f"the classes seem to lie in {tmp_path / 'photos'}: give that" in line
    with pytest.raises(
        TwofoldError, match=f"not trained on: photos; .*seem to lie in {tmp_path / 'photos'}: give that"
    ):
        load_eval_images(str(tmp_path), SPEC, show_progress=False)


def test_classes_one_folder_deeper(tmp_path: Path) -> None:
    save_folder(tmp_path, {"animals/cat": 2, "animals/dog": 2, "things/cup": 2})
    (line,) = open_folder(tmp_path, show_progress=False).notes
    assert line == (
        "every class holds further folders, such as animals/cat/: the classes are animals, things; "
        "where they should be cat, cup, dog, move these folders up"
    )
    assert line in said_by_check(tmp_path)


def test_splits_inside_of_classes(tmp_path: Path) -> None:
    save_folder(tmp_path, {"cat/train": 2, "cat/test": 2, "dog/train": 2, "dog/test": 2})
    for line in said_by_both(tmp_path):
        assert "cat: holds test/ and train/: put it the other way round, test/cat and train/cat" in line


ARCHIVES = [("photos.zip", "zip"), ("photos.tar.gz", "gztar"), ("my photos.tar", "tar")]


@pytest.mark.parametrize(("name", "format"), ARCHIVES)
def test_an_archive_in_place_of_a_folder(tmp_path: Path, fails: Callable[..., str], name: str, format: str) -> None:
    save_folder(tmp_path / "made", {"cat": 2, "dog": 2})
    made = shutil.make_archive(str(tmp_path / "made"), format, tmp_path / "made")
    archive = Path(made).rename(tmp_path / name)
    words = []
    for arguments in (["data", "check", archive], ["data", "pack", archive], ["train", "lenet", "--data", archive]):
        line = fails(arguments)
        assert "archive, not a folder; unpack it and give the folder: python -m " in line
        words.append(line.partition("python -m ")[2])
    # The command that it names does what it says.
    assert len(set(words)) == 1
    command = shlex.split(words[0])
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    assert open_folder(Path(command[-1]), show_progress=False).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "words"), [("a.rar", "an archive, not"), ("a.csv.gz", "a file, not"), ("a", "a file")]
)
def test_other_files_in_place_of_a_folder(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert f"{tmp_path / name} is {words}" in said_to_train(tmp_path / name)


@pytest.mark.parametrize(
    ("images", "tables", "table"),
    [
        ("train", ["train.csv", "sample_submission.csv", "test.csv"], "train.csv"),
        ("train", ["labels.csv", "a.csv"], "labels.csv"),
        ("images", ["styles.csv"], "styles.csv"),
        (".", ["metadata.jsonl"], "metadata.jsonl"),
    ],
)
def test_a_flat_folder_with_a_table_beside_it(tmp_path: Path, images: str, tables: list[str], table: str) -> None:
    root = tmp_path / "pets"
    save_folder(root, {images: 3, **({"test": 2} if images == "train" else {})})
    for name in tables:
        (root / name).write_text("file,label\n")
    for line in said_by_both(root):
        assert f"if {table} says the classes: --data {root / table} --images {root / images}" in line
    if images == "train":
        for line in said_by_both(root / "train"):
            assert f"--data {root / table} --images {root / 'train'}" in line


def test_a_test_folder_without_classes_is_no_split(tmp_path: Path) -> None:
    save_folder(tmp_path, {"train/a": 2, "train/b": 2, "test": 3})
    found = open_folder(tmp_path, show_progress=False)
    assert list(found.splits) == ["train"]
    assert found.notes == ("3 images in test/ lie outside every class folder; not used",)


def test_a_class_of_files_that_are_not_read_says_so(tmp_path: Path) -> None:
    save_folder(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "a.psd").write_bytes(b"8BPS")
    assert "owl: this class has no image to train on; 1 .psd file is not read: save as PNG or JPEG" in said_to_train(
        tmp_path
    )
    shutil.rmtree(tmp_path / "cat")
    shutil.rmtree(tmp_path / "dog")
    for line in said_by_both(tmp_path):
        assert line == f"{tmp_path} holds no images that can be read; 1 .psd file is not read: save as PNG or JPEG"
