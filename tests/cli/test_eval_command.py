"""What `twofold eval` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from twofold.cli.main import main


def test_of_three_classes_the_five_likeliest_say_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run)]) == 0
    numbers = capsys.readouterr().out.splitlines()[-1]
    assert numbers.startswith("accuracy ")
    assert "top-5" not in numbers
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert f"balanced accuracy {evaluation['balanced_accuracy']:.4f}" in numbers
    assert f"macro F1 {evaluation['macro_f1']:.4f}" in numbers


def test_of_a_detector_each_class_has_its_average_precision(
    detector_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(detector_run), "--quiet"]) == 0
    title, head, _, *rows, numbers, threshold = capsys.readouterr().out.splitlines()
    evaluation = json.loads((detector_run / "evaluation.json").read_text())
    assert title.endswith(f" test: 16 images, {evaluation['num_boxes']} boxes")
    assert head.split() == ["class", "boxes", "AP", "AP50", "precision", "recall", "F1"]
    assert len(rows) == 10
    bag = next(score for score in evaluation["classes"] if score["name"] == "Bag")
    words = next(row.split() for row in rows if row.startswith("Bag"))
    assert words[:3] == ["Bag", str(bag["count"]), f"{bag['average_precision']:.3f}"]
    assert numbers.startswith(f"AP {evaluation['AP']:.4f}  AP50 {evaluation['AP50']:.4f}  AP75 ")
    assert "AP small" in numbers
    assert "large" not in numbers, "no object of 64 px scenes is large"
    assert threshold.endswith(f"a score of {evaluation['score_threshold']:.4f} or more")
