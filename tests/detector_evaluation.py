"""The evaluation of a detector, written by hand: for tests of what is said of one."""

from __future__ import annotations

from twofold.records import (
    BoxRecord,
    DetectionError,
    DetectionEvaluation,
    DetectionExample,
    DetectionScore,
    OverlapCurve,
    ThresholdScore,
)

CURVE = tuple([1.0] * 51 + [0.0] * 50)


def evaluation(num_classes: int = 3) -> DetectionEvaluation:
    """Of a detector that finds half of the objects, those of higher classes better."""
    return DetectionEvaluation(
        split="test",
        num_images=20,
        metrics={"AP": 0.4, "AP50": 0.6, "AP75": 0.3, "APs": 0.2, "ARs": 0.5, "AR1": 0.4, "AR10": 0.5, "AR100": 0.5},
        num_boxes=40,
        boxes_by_size={"small": 40, "medium": 0, "large": 0},
        score_threshold=0.3,
        f1=0.55,
        best_f1=0.6,
        best_threshold=0.25,
        by_overlap=(0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.1),
        curves=(OverlapCurve(overlap=0.5, precision=CURVE), OverlapCurve(overlap=0.75, precision=CURVE)),
        by_score=(
            ThresholdScore(score=0.1, precision=0.3, recall=0.8),
            ThresholdScore(score=0.5, precision=0.9, recall=0.3),
        ),
        classes=(
            *(
                DetectionScore(name=f"class {k}", count=9, average_precision=0.4, average_precision_50=k / 2000,
                               precision=0.5, recall=0.5, curve=CURVE)
                for k in range(num_classes)
            ),
            DetectionScore(name="never seen", count=0),
        ),
        errors=(
            DetectionError(kind="class", count=1, gain=0.02),
            DetectionError(kind="missed", count=1234, gain=0.25),
        ),
        examples=(
            DetectionExample(
                source="a.jpg", height=48, width=64, view=(0.0, -8.0, 64.0, 56.0),
                true=(BoxRecord(box=(1, 1, 9, 9), name="cat", right=True), BoxRecord(box=(20, 1, 30, 9), name="dog",
                      right=False), BoxRecord(box=(40, 1, 50, 9), name="dog", right=False)),
                found=(BoxRecord(box=(1, 1, 9, 10), name="cat", score=0.8, right=True),
                       BoxRecord(box=(1, 30, 9, 40), name="cat", score=0.31, right=False)),
            ),
        ),
    )  # fmt: skip
