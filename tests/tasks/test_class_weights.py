"""Weights of classes from files as people have them, and what is no such file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from twofold import Recipe, TwofoldError
from twofold.cli.main import main
from twofold.cli.settings import words_of_setting
from twofold.data.spec import ModelSpec
from twofold.data.targets import LabelSetTargets
from twofold.tasks.class_weights import in_order, read_class_weights
from twofold.tasks.multilabel import MultiLabel

WEIGHTS = {"bag": 1.0, "ankle boot": 2.5}


@pytest.mark.parametrize(
    "content",
    [
        '{"bag": 1, "ankle boot": 2.5}',
        "bag,1\nankle boot,2.5\n",
        "class,weight\r\nbag,1\r\nankle boot,2.5\r\n\r\n",
        '\ufeff"bag", 1\n"ankle boot",2.5',
        " \n bag , 1.0\nankle boot,25e-1",
    ],
)
def test_a_file_is_json_or_csv_and_the_recipe_holds_what_it_says(content: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text(content, encoding="utf-8")
    recipe = Recipe(class_weights=str(path))
    assert recipe.class_weights == WEIGHTS
    path.unlink()
    assert Recipe.from_json(recipe.to_json()) == recipe
    words = words_of_setting("class_weights", WEIGHTS)
    assert words[0] == "--class-weights"
    assert read_class_weights(words[1]) == WEIGHTS


@given(st.dictionaries(st.text(min_size=1).map(str.strip).filter(bool), st.floats(1e-3, 1e3), min_size=1))
def test_any_names_come_back_from_a_recipe(weights: dict[str, float]) -> None:
    recipe = Recipe(class_weights=weights)
    assert Recipe.from_json(recipe.to_json()).class_weights == weights
    assert in_order(weights, sorted(weights)) == [weights[name] for name in sorted(weights)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no weights; it must hold a JSON object"),
        (b"{}", "has no weights"),
        (b"bag,nan\nboot,1\n", "the weight of class 'bag' must be a number above 0, got 'nan'"),
        (b"bag,1e400\nboot,1\n", "the weight of class 'bag' must be a number above 0, got '1e400'"),
        (b'{"bag": 1', "is not valid JSON"),
        (b"bag\n", "has a line of 1 columns (bag)"),
        (b"bag,1,2\n", "has a line of 3 columns"),
        (b"bag,1\nboot,heavy\n", "the weight of class 'boot' must be a number above 0, got 'heavy'"),
        (b'{"bag": 0}', "the weight of class 'bag' must be a number above 0, got 0"),
        (b'{"bag": -1}', "above 0, got -1"),
        (b'{"bag": true}', "above 0, got True"),
        (b'{"bag": null}', "above 0, got None"),
        (b'{"bag": NaN}', "above 0, got nan"),
        (b'{"bag": 1, "bag": Infinity}', "above 0, got inf"),
        (b"bag,1\nbag,2\n", "has class 'bag' twice"),
        (b'"bag,1\n', "is not CSV"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text"),
    ],
)
def test_what_holds_no_weights_is_named_in_one_line(
    content: bytes, message: str, tmp_path: Path, fails: Callable[..., str]
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(content)
    line = fails(["train", "lenet", "--class-weights", path, "--out", tmp_path / "runs"])
    assert message in line
    assert str(path) in line


def test_a_word_that_is_no_file_says_what_can_stand_there(tmp_path: Path, fails: Callable[..., str]) -> None:
    for word in ("balance", tmp_path, "", "\0"):
        line = fails(["train", "lenet", "--class-weights", word])
        assert "must be none, balanced or a file with a JSON object {class: weight}, or lines of class,weight" in line
    assert fails(["train", "lenet", "--class-weights", "balance"]).endswith("class,weight: did you mean balanced?")
    line = fails(["train", "lenet", "--class-weights", "nope.csv"])
    assert line.endswith("class,weight; there is no file nope.csv")
    with pytest.raises(TwofoldError, match="class_weights='inverse' must be none, balanced or a file"):
        Recipe(class_weights="inverse")
    for wrong in ({"bag": 0}, {"bag": float("inf")}, {"bag": "x"}, {1: 1}, 3, None):
        with pytest.raises(TwofoldError, match="class_weights"):
            Recipe(class_weights=wrong)


def test_two_remedies_for_the_same_images_are_refused(fails: Callable[..., str]) -> None:
    line = fails(["train", "lenet", "--class-weights", "balanced", "--sampling", "balanced"])
    assert "--sampling balanced and --class-weights balanced would both make up for the same images" in line


def test_unknown_and_missing_classes_are_named_before_training(
    image_folder: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    path = tmp_path / "weights.json"
    common = ["train", "lenet-bn", "--data", image_folder, "--out", tmp_path / "runs", "--class-weights", path]
    path.write_text(json.dumps({"bag": 1, "boots": 2, "shirt": 1}))
    assert "--class-weights has a weight for 'boots', which is no class of these images: did you mean boot?" in fails(
        common
    )
    path.write_text(json.dumps({"bag": 1, "shirt": 1}))
    assert "--class-weights has no weight for class 'boot'; give one for each class" in fails(common)
    assert not list((tmp_path / "runs").iterdir()), "no folder is left of a run that never began"


def test_resuming_with_the_same_file_is_no_change(
    image_folder: Path, tmp_path: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.csv"
    path.write_text("bag,1\nboot,2\nshirt,3\n")
    words = ["--class-weights", str(path)]
    run = ["lenet-bn", "--data", str(image_folder), "--epochs", "1", "--out", str(tmp_path), "--name", "run", *words]
    assert main(["train", *run]) == 0
    assert "class weights in the loss: from 1 (bag) to 3 (shirt)" in capsys.readouterr().err
    assert "there is nothing to resume" in fails(["train", "--resume", tmp_path / "run", *words])
    path.write_text("bag,1\nboot,2\nshirt,4\n")
    assert "a resumed run keeps its recipe, which has --class-weights" in fails(
        ["train", "--resume", tmp_path / "run", *words]
    )
    report = (tmp_path / "run" / "report.html").read_text()
    assert "with class weights" in report
    assert "balanced accuracy" in report


def test_of_several_labels_the_images_that_have_one_are_weighed() -> None:
    """Label 0 in 1 of 4 images, 1 in all, 2 in none, 3 in half of them."""
    has = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]).bool()
    spec = ModelSpec(
        channels=1,
        image_size=(4, 4),
        architecture="lenet",
        architecture_options={},
        class_names=("a", "b", "c", "d"),
        mean=(0.5,),
        std=(0.5,),
    )
    logits = torch.linspace(-2, 2, 16).view(4, 4)
    for given_weights, expected in (
        ("balanced", [3.0, 1.0, 1.0, 1.0]),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, [1, 2, 3, 4]),
    ):
        for form in ("fast", "scratch"):
            recipe = Recipe(class_weights=given_weights, form=form)
            loss = MultiLabel().loss(recipe, spec, LabelSetTargets(has), torch.device("cpu"))
            wanted = binary_cross_entropy_with_logits(logits, has.float(), pos_weight=torch.tensor(expected).float())
            torch.testing.assert_close(loss(logits, has.float())["loss"], wanted)
        assert MultiLabel().remarks(recipe, spec, LabelSetTargets(has))[0].startswith("class weights in the loss: ")
