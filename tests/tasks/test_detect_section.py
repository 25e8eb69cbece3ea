"""What a report says of a detector, from its evaluation alone."""

from __future__ import annotations

import pytest
import torch

from detector_evaluation import evaluation
from detectors import detector_spec
from twofold.data.images import MemoryImages
from twofold.data.targets import BoxTargets, to_box_targets
from twofold.detect.detections import Detections
from twofold.records import (
    BoxRecord,
    DetectionError,
    DetectionEvaluation,
    DetectionExample,
    DetectionScore,
    OverlapCurve,
)
from twofold.tasks.detect_meter import DetectionMeter
from twofold.tasks.detect_section import detection_section
from twofold.tasks.section import Bars, BoxGallery, Panels, Plot, Table


def parts(of: DetectionEvaluation) -> dict[str, tuple]:
    return {chapter.name: chapter.parts for chapter in detection_section(of).chapters}


def test_the_headline_is_ap_and_its_remarks_the_rest() -> None:
    section = detection_section(evaluation())
    assert section.headline is not None
    assert (section.headline.value, section.headline.num_trials) == (0.4, None)
    assert section.headline.measured_on == "average precision (AP) over 20 test images"
    assert section.remarks == ("AP50: 60.0\u00a0%", "AP75: 30.0\u00a0%", "F1 from a score of 0.30 on: 55.0\u00a0%")


def test_curves_end_where_nothing_more_is_found() -> None:
    over_recall, over_score = parts(evaluation())["Precision"]
    assert isinstance(over_recall, Plot)
    assert [line.name for line in over_recall.lines] == ["overlap 0.5", "overlap 0.75"]
    assert over_recall.lines[0].points[-2:] == ((0.5, 1.0), (0.51, 0.0))
    assert isinstance(over_score, Plot)
    f1, precision, recall = over_score.lines
    assert f1.points == ((0.1, pytest.approx(2 * 0.3 * 0.8 / 1.1)), (0.5, pytest.approx(0.45)))
    assert (precision.points[0], recall.points[0]) == ((0.1, 0.3), (0.1, 0.8))
    assert over_score.mark == (0.3, None)
    assert over_score.note is not None
    assert "0.25 would be the best, with 60.0\u00a0% in place of 55.0\u00a0%" in over_score.note


def test_of_many_classes_the_worst_have_a_curve_and_all_a_row() -> None:
    table, panels = parts(evaluation(1000))["Classes"]
    assert isinstance(table, Table)
    assert len(table.rows) == 1001
    assert table.rows[-1] == ("never seen", 0, None, None, None, None)
    assert isinstance(panels, Panels)
    assert [line.name for line, _ in panels.lines] == [f"class {k}" for k in range(24)]
    assert panels.note is not None
    assert panels.note.startswith("The 24 classes with the lowest AP50. ")


def test_sizes_that_no_object_has_are_left_out() -> None:
    sizes, overlaps = parts(evaluation())["Overlap"]
    assert isinstance(sizes, Table)
    assert sizes.rows == (("small, <\u00a032²", 40, 0.2, 0.5),)
    assert isinstance(overlaps, Table)
    assert [row[0] for row in overlaps.rows] == [f"{0.5 + 0.05 * step:.2f}" for step in range(10)]


def test_errors_come_with_what_fixing_them_gives_the_most_first() -> None:
    (bars,) = parts(evaluation())["Errors"]
    assert isinstance(bars, Bars)
    assert [(bar.name, bar.words) for bar in bars.bars] == [("Missed", "+25.0"), ("Wrong class", "+2.0")]
    assert bars.bars[0].help.endswith("1,234 times")
    assert bars.bars[1].help.endswith("once")


def test_an_image_says_in_words_what_is_wrong_in_it() -> None:
    (gallery,) = parts(evaluation())["Images"]
    assert isinstance(gallery, BoxGallery)
    (example,) = gallery.examples
    assert example.wrong == (("missed", ("2 dog",)), ("wrong", ("cat",)))
    assert [box.is_right for box in (*example.truth, *example.found)] == [True, False, False, True, False]
    assert example.view == (0.0, -8.0, 64.0, 56.0)


def test_what_a_file_lacks_has_no_chapter() -> None:
    assert list(parts(DetectionEvaluation())) == ["Images"]
    assert detection_section(DetectionEvaluation()).headline is None
    broken = DetectionEvaluation(
        examples=(DetectionExample(height=4, width=4, found=(BoxRecord(box=(1.0, 2.0)),), view=(1.0,)),),
        curves=(OverlapCurve(overlap=0.5, precision=()),),
        classes=(DetectionScore(curve=(0.5,), average_precision_50=0.5),),
        errors=(DetectionError(kind="of a later version", count=2, gain=0.1),),
    )
    (gallery,) = parts(broken)["Images"]
    assert isinstance(gallery, BoxGallery)
    assert gallery.examples[0].found == ()
    assert gallery.examples[0].view == (0.0, 0.0, 4.0, 4.0)


def nothing_found(num_images: int) -> Detections:
    none = torch.empty(0, dtype=torch.int64)
    return Detections(torch.empty(0, 4, dtype=torch.float64), none.double(), none, torch.zeros(num_images).long())


def meter_of(found: Detections, truth: BoxTargets, **changes: object) -> DetectionEvaluation:
    """What a meter computes that was told these detections."""
    meter = DetectionMeter(detector_spec(score_threshold=0.5, **changes), detailed=True)
    meter._detections, meter._truth, meter._indices = [found], [truth], [torch.arange(len(truth))]
    images = MemoryImages(torch.zeros(len(truth), 1, 64, 64, dtype=torch.uint8), truth, "test")
    return meter.compute(images)


def test_a_meter_counts_errors_of_what_is_shown_and_gains_of_all() -> None:
    truth = to_box_targets([[(0, 0, 20, 20), (40, 40, 60, 60)], [(0, 0, 50, 50)]], [[0, 1], [1]], [(64, 64), (64, 64)])
    found = Detections(
        torch.tensor([[0, 0, 20, 20], [40, 40, 60, 60], [0, 0, 50, 50.0]], dtype=torch.float64),
        torch.tensor([0.9, 0.8, 0.2], dtype=torch.float64),
        torch.tensor([0, 0, 1]),
        torch.tensor([2, 1]),
    )
    evaluated = meter_of(found, truth)
    errors = {error.kind: (error.count, round(error.gain, 4)) for error in evaluated.errors}
    # The dog that is taken for a cat; of the other, whose detection is not shown, nothing is near.
    assert errors["class"] == (1, pytest.approx(0.25, abs=0.01))
    assert errors["missed"] == (1, 0.0)
    assert {kind for kind, (count, _) in errors.items() if count} == {"class", "missed"}
    assert evaluated.boxes_by_size == {"small": 2, "medium": 1, "large": 0}
    assert [curve.overlap for curve in evaluated.curves] == [0.5, 0.75, 0.9]
    by_score = {one.score: (one.precision, one.recall) for one in evaluated.by_score}
    assert by_score[0.05] == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert by_score[0.85] == (1.0, pytest.approx(1 / 3))
    assert 0.95 not in by_score
    assert evaluated.f1 == pytest.approx(2 / 5)
    assert evaluated.best_f1 == pytest.approx(4 / 6)
    assert evaluated.best_threshold == pytest.approx(0.1)
    assert DetectionEvaluation.from_json(evaluated.to_json()) == evaluated


@pytest.mark.parametrize(
    ("resize", "view"), [("stretch", (0.0, 0.0, 64.0, 32.0)), ("pad", (0.0, -16.0, 64.0, 48.0))]
)  # fmt: skip
def test_an_example_says_what_its_file_shows(resize: str, view: tuple[float, ...]) -> None:
    truth = to_box_targets([[(0, 0, 20, 20)]], [[0]], [(32, 64)])
    (example,) = meter_of(nothing_found(1), truth, resize=resize).examples
    assert example.view == view
    assert "-0.0" not in str(example.view)


def test_images_without_a_box_have_no_errors_and_no_curves() -> None:
    evaluated = meter_of(nothing_found(1), to_box_targets([[]], [[]], [(64, 64)]))
    assert (evaluated.errors, evaluated.curves, evaluated.by_score) == ((), (), ())
    assert [type(part).__name__ for part in parts(evaluated)["Images"]] == ["BoxGallery"]
