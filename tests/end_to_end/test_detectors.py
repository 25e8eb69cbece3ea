"""Detectors by the same verbs: trained, resumed bit for bit, fine-tuned, and begun on a classifier's features."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import twofold
import twofold.engine.loop
from detectors import SCENES, detector_run
from interrupts import interrupt_in
from run_records import metrics_but_speed
from twofold import Recipe
from twofold.cli.main import main
from twofold.engine.options import Options
from twofold.engine.weights import Weights, fit_weights
from twofold.inference.places import weights_path
from twofold.inference.weights_file import load_checkpoint
from twofold.models import create_model

__all__ = ["detector_run"]
QUIET = Options(show=False)


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def test_a_run_has_all_that_a_classifier_s_has(detector_run: Path) -> None:
    evaluation, record = read(detector_run, "evaluation.json"), read(detector_run, "run.json")
    assert {"AP", "AP50", "AP75", "loss", "classes", "errors", "examples"} <= evaluation.keys()
    assert record["best_metric"]["name"] == "val_AP"
    (line,) = metrics_but_speed(detector_run)[-1:]
    assert {"train_loss", "train_class", "train_box", "val_loss", "val_AP", "val_AP50"} <= line.keys()
    assert "ssd-mini" in (detector_run / "report.html").read_text()
    assert read(detector_run, "spec.json")["score_threshold"] is not None
    log = (detector_run / "log.txt").read_text()
    assert "anchors overlap" in log


def test_stopped_and_resumed_it_ends_with_the_same_bits(
    detector_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in(patch, twofold.engine.loop, "train_step", call=2)
        arguments = ["train", "--recipe", str(detector_run / "recipe.json"), "--out", str(tmp_path), "--name", "again"]
        assert main([*arguments, "--quiet"]) == 128 + signal.SIGINT
    run = twofold.resume(tmp_path / "again", options=QUIET)
    assert metrics_but_speed(run.folder) == metrics_but_speed(detector_run)
    ours, theirs = (load_checkpoint(weights_path(folder))[0] for folder in (run.folder, detector_run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_readable_form_trains_to_the_same(detector_run: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(detector_run / "recipe.json").override(form="scratch")
    run = twofold.train(recipe, out=tmp_path, options=QUIET)
    (ours,), (theirs,) = metrics_but_speed(run.folder)[-1:], metrics_but_speed(detector_run)[-1:]
    assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
    assert ours["train_box"] == pytest.approx(theirs["train_box"], rel=1e-3)


def test_fine_tuned_it_has_other_classes_on_the_same_features(detector_run: Path, tmp_path: Path) -> None:
    run = twofold.finetune(
        detector_run,
        data="fashion-scenes?train=24&test=8&side=64&classes=Bag|Sandal",
        epochs=1,
        out=tmp_path,
        options=QUIET,
    )
    recipe = read(run.folder, "recipe.json")
    assert (recipe["model"], recipe["augment"]) == ("ssd-mini", "ssd-light")
    assert recipe["lr_scale"] == {"head.classification_head.*": 10.0}
    assert [score["name"] for score in read(run.folder, "evaluation.json")["classes"]] == ["Sandal", "Bag"]
    assert "new, with random weights: head.classification_head" in (run.folder / "log.txt").read_text()


def test_a_detector_begins_on_a_classifier_s_features() -> None:
    torch.manual_seed(0)
    options = {"width": 0.125}
    classifier = create_model("resnet18", in_channels=3, num_classes=4, options=options)
    detector = create_model("ssd", in_channels=1, num_classes=2, image_size=(128, 128), options=options)
    lines = fit_weights(detector, Weights({"": classifier.state_dict()}, "a classifier"))
    assert "for the features alone; what looks for objects is new" in lines
    assert any("its three channels are added up" in line for line in lines)
    ours = detector.state_dict()
    same = [f"backbone.{name}" for name in classifier.state_dict() if f"backbone.{name}" in ours]
    assert len(same) > 100
    for name in same:
        if name != "backbone.conv1.weight":
            assert torch.equal(ours[name], classifier.state_dict()[name.removeprefix("backbone.")])


@pytest.fixture(scope="module")
def small_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = Recipe(
        model="lenet-bn", model_options={"width": 0.5}, data="fashion-mini", epochs=1, batch_size=512, augment="none"
    )
    return twofold.train(recipe, out=tmp_path_factory.mktemp("runs"), name="classifier", options=QUIET).folder


def test_a_run_of_a_classifier_is_fine_tuned_to_a_detector(small_classifier: Path, tmp_path: Path) -> None:
    arguments = ["finetune", str(small_classifier), "ssd", "--data", SCENES, "--epochs", "1", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path), "--name", "detector"]) == 0
    recipe = read(tmp_path / "detector", "recipe.json")
    assert (recipe["model"], recipe["lr_scale"]) == ("ssd", {"backbone.*": 0.1})
    assert read(tmp_path / "detector", "spec.json")["architecture_options"]["backbone"] == "lenet-bn"
    assert "for the features alone" in (tmp_path / "detector" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "lenet-bn", "--data", SCENES], "have boxes, and --model lenet-bn classifies; choose ssd-mini, ssd"),
        (["train", "ssd-mini", "--data", "fashion-mini"], "have no boxes, and --model ssd-mini looks for objects"),
        (["train", "ssd300", "--data", SCENES], "needs images of 300x300 px"),
        (["race", "--model", "ssd-mini", "--data", SCENES], "a race compares accuracy"),
        (["train", "ssd-mini", "--data", SCENES, "--select-by", "accuracy"], "accuracy"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(arguments: list[str], words: str, fails, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "runs"] if arguments[0] == "train" else []
    assert words in fails([*arguments, *out])


@pytest.mark.parametrize("layout", ["", "flat", "cat/", "train/cat/", "test/cat/", "images/", "images/ labels/"])
def test_a_folder_without_boxes_is_asked_for_boxes_and_not_for_classes(
    layout: str, detector_run: Path, fails, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for folder in layout.split():
        (root / folder.removesuffix("flat")).mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40)).save(root / folder.removesuffix("flat") / "a.png")
    wanted = (
        f"{root} holds no images with boxes, which a detector needs; put images there with boxes of COCO, Pascal VOC, "
        "YOLO or labelme, or give a table of boxes: --data boxes.csv"
    )
    for arguments in (
        ["train", "ssd-mini", "--data", root, "--out", tmp_path / "runs"],
        ["finetune", detector_run, "--data", root, "--out", tmp_path / "runs"],
        ["data", "convert", root, tmp_path / "out", "--to", "coco"],
    ):
        line = fails(arguments)
        # A folder of one class is no data for training, but a detector that is evaluated looks at what is there.
        assert wanted in line or (arguments[0] == "data" and "has no boxes" in line)
    line = fails(["eval", detector_run, "--data", root])
    assert wanted in line or f"the images of {root} have no boxes, and the network looks for objects" in line
    assert "class" not in line.partition(str(root))[2]


def test_a_table_beside_images_is_shown_to_a_detector(fails, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("L", (40, 40)).save(folder / "a.png")
    (folder / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax,label\na.png,1,2,3,4,cat\n")
    line = fails(["train", "ssd-mini", "--data", folder, "--out", tmp_path / "runs"])
    assert f"which a detector needs; if boxes.csv says the boxes: --data {folder / 'boxes.csv'}" in line


def test_a_folder_that_cannot_be_opened_or_is_a_run_is_said_to_be_so(detector_run: Path, fails, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "runs"]
    assert "no such folder" in fails(["train", "ssd-mini", "--data", tmp_path / "missing", *out])
    assert "is a run, which twofold train wrote" in fails(["train", "ssd-mini", "--data", detector_run, *out])


def test_images_with_boxes_and_without_are_refused_where_the_other_is_needed(
    detector_run: Path, small_classifier: Path, fails
) -> None:
    assert "fashion-mini have no boxes, and the network looks for" in fails(
        ["eval", detector_run, "--data", "fashion-mini"]
    )
    assert "have boxes, and the network classifies" in fails(["eval", small_classifier, "--data", SCENES])
