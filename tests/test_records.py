"""Records: what is written is read back, in the same order; what cannot be read is left out, and said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from twofold.errors import TwofoldError
from twofold.records import (
    CalibrationBin,
    ClassEvaluation,
    ClassScore,
    EnvironmentRecord,
    EpochRecord,
    Evaluation,
    RaceRecord,
    Record,
    RunRecord,
    StepRecord,
    metric_lines,
    read_metrics,
)

SOFTWARE = {
    "twofold": "0.1.0",
    "torch": "2.15.0",
    "torchvision": "0.30.0",
    "python": "3.11.7",
    "platform": "Linux-6.1",
    "git_commit": None,
    "command": ["twofold", "train", "lenet"],
    "device": "cpu",
    "device_name": "Intel(R) Xeon(R) Processor",
}
# Files as they are on disk, keys in their order.
FILES: dict[type[Record], dict[str, Any]] = {
    RunRecord: {
        "status": "finished",
        "started": "2026-11-25T18:37:29+00:00",
        "finished": None,
        "num_parameters": 87274,
        "num_images": {"train": 9000, "val": 1000, "test": 2000},
        "data_fingerprint": "3b7ec3d0",
        "notes": ["one image was left out"],
        "skip_broken": True,
        "error": None,
        "train_seconds": 52.19267755600322,
        "epochs_done": 8,
        "steps_done": 1120,
        "best_epoch": 8,
        "best_metric": {"name": "val_accuracy", "value": 0.8980000019073486},
    },
    EnvironmentRecord: {
        **SOFTWARE,
        "threads": 1,
        "precision": "bfloat16",
        "precision_reason": "a convolution in bfloat16 takes 0.10 times as long as in float32 here",
        "channels_last": True,
    },
    StepRecord: {
        "kind": "step",
        "step": 1115,
        "epoch": 7.964285714285714,
        "loss": 0.7014094591140747,
        "lr": 0.0006138392857142905,
        "images_per_second": 1107.5569907812944,
        "seconds": 51.87442991900298,
    },
    EpochRecord: {
        "kind": "epoch",
        "epoch": 8,
        "step": 1120,
        "train_loss": 0.6991655596664974,
        "train_accuracy": 0.9265625,
        "lr": 5.580357142857817e-05,
        "images_per_second": 1103.556917779126,
        "seconds": 52.19267755600322,
        "val_loss": 0.37866318225860596,
        "val_accuracy": 0.8980000019073486,
    },
    ClassEvaluation: {
        "data": "fashion-mini",
        "split": "test",
        "weights": "best",
        "precision": "bfloat16",
        "num_images": 4,
        "loss": 0.3550969064235687,
        "accuracy": 0.75,
        "top5_accuracy": 1.0,
        "calibration_error": 0.08749114722013474,
        "calibration": [{"confidence": 0.16996826231479645, "accuracy": 1.0, "count": 1}],
        "classes": [
            {"name": "Bag", "count": 3, "precision": 1.0, "recall": 2 / 3, "f1": 0.8},
            {"name": "Coat", "count": 1, "precision": None, "recall": 1.0, "f1": 2 / 3},
        ],
        "confusion": [{"0": 2, "1": 1}, {"1": 1}],
        "mistakes": [
            {
                "index": 3,
                "source": "fashion-mini test #3",
                "true": "Bag",
                "predicted": "Coat",
                "probability": 0.8,
                "true_probability": 0.2,
                **image,
            }
            for image in ({"image": "mistakes/000.png"}, {})
        ],
    },
    RaceRecord: {
        "finished": "2026-11-23T06:00:00+00:00",
        "judged_on": "test",
        "settings": {"optimizers": ["sgd", "adam"], "seeds": 3},
        "data": {"name": "fashion-mini", "fingerprint": "7f1c29d0", "num_images": {"train": 9000, "val": 1000}},
        "environment": {**SOFTWARE, "precision": "float32", "threads": 1, "jobs": 2, "optuna": "4.9.0"},
        "verdict": ["adam is ahead of sgd"],
        "table": [{"optimizer": "adam", "place": 1, "lr": 0.001, "accuracies": [0.9, 0.91], "mean": 0.905}],
        "trials": {"sgd": [{"lr": 0.1, "diverged": None}]},
        "runs": {"sgd": []},
    },
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_read_and_written_byte_for_byte(kind: type[Record]) -> None:
    problems: list[str] = []
    record = kind.from_json(FILES[kind], problems)
    assert json.dumps(record.to_json()) == json.dumps(FILES[kind])
    assert problems == []


def test_an_epoch_has_the_metrics_of_any_task() -> None:
    record = EpochRecord.from_json({"epoch": 1, "step": 5, "train_loss": 2.0, "train_box": 1.5, "val_map50": 0.25})
    assert record.train == {"loss": 2.0, "box": 1.5}
    assert record.val == {"map50": 0.25}


def test_any_evaluation_has_its_headline_metrics() -> None:
    entries = FILES[ClassEvaluation]
    assert ClassEvaluation.from_json(entries).metrics == {"accuracy": 0.75}
    head = Evaluation.from_json(entries)
    assert (head.data, head.loss, head.metrics["accuracy"]) == ("fashion-mini", entries["loss"], 0.75)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", [RunRecord, EnvironmentRecord, ClassEvaluation])
@given(data=st.data())
def test_nothing_in_a_file_stops_the_reader(kind: type[Record], data: st.DataObject) -> None:
    entries = {key: data.draw(JSON | st.just(value)) for key, value in FILES[kind].items()}
    record = kind.from_json(entries)
    # What was read is itself a valid file.
    problems: list[str] = []
    assert kind.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)), problems) == record
    assert problems == []


def test_what_cannot_be_read_is_left_out_and_said() -> None:
    problems: list[str] = []
    wrong = {
        "status": ["finished"],
        "started": "yesterday",
        "train_seconds": float("inf"),
        "epochs_done": -1,
        "steps_done": 1.5,
        "skip_broken": 1,
        "num_images": {"train": 5, "val": "many"},
        "notes": "none",
        "best_metric": {"name": "val_accuracy"},
        "num_parameters": 10**400,
        "error": "",
    }
    record = RunRecord.from_json(wrong, problems, source="run.json")
    assert record == RunRecord(num_images={"train": 5})
    assert sorted(problems) == [
        "run.json: best_metric could not be read; left out",
        "run.json: epochs_done could not be read; left out",
        "run.json: notes could not be read; left out",
        "run.json: num_images has an entry that could not be read; left out",
        "run.json: num_parameters could not be read; left out",
        "run.json: skip_broken could not be read; left out",
        "run.json: started could not be read; left out",
        "run.json: status could not be read; left out",
        "run.json: steps_done could not be read; left out",
        "run.json: train_seconds could not be read; left out",
    ]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1.7e308, -1.7e308, 10**400])
def test_a_number_that_sums_would_make_infinite_is_left_out(number: float) -> None:
    problems: list[str] = []
    line = StepRecord.from_json({"step": 1, "epoch": 0.5, "loss": number}, problems)
    assert (line.loss, problems) == (None, ["loss could not be read; left out"])


def test_shares_lie_between_0_and_1() -> None:
    calibration = CalibrationBin.from_json({"confidence": 1.5, "accuracy": -0.5, "count": 3})
    assert (calibration.confidence, calibration.accuracy) == (1.0, 0.0)


def test_a_confusion_matrix_of_an_older_version_is_read_the_same() -> None:
    older = FILES[ClassEvaluation] | {"confusion": [[2, 1], [0, 1]]}
    assert ClassEvaluation.from_json(older) == ClassEvaluation.from_json(FILES[ClassEvaluation])


def test_of_many_classes_only_what_was_confused_is_written() -> None:
    """1,200 classes and 12,000 images, each class taken for nine others now and then."""
    names = [f"class number {index}" for index in range(1200)]
    rows = tuple({(row + step) % 1200: 1 for step in range(10)} for row in range(1200))
    classes = tuple(ClassScore(name=name, count=10, precision=0.1, recall=0.1, f1=0.1) for name in names)
    entries = ClassEvaluation(classes=classes, confusion=rows).to_json()
    assert len(json.dumps(entries, indent=2)) < 500_000
    assert ClassEvaluation.from_json(json.loads(json.dumps(entries))).confusion == rows


@pytest.mark.parametrize(
    "confusion",
    [
        *([[1, 2]], [[1]] * 2, [[1.5] * 2] * 2, [[-1] * 2] * 2, [[1, 2], "none"]),
        *([{"0": 1}], [{"2": 1}, {}], [{"-1": 1}, {}], [{"a": 1}, {}], [{"0": -1}, {}], {"0": 1}, [3, 4]),
    ],
)
def test_a_confusion_matrix_of_the_wrong_form_is_left_out(confusion: Any) -> None:
    problems: list[str] = []
    entries = FILES[ClassEvaluation] | {"confusion": confusion}
    assert ClassEvaluation.from_json(entries, problems, source="evaluation.json").confusion == ()
    assert "evaluation.json: the confusion matrix does not have one row a class; left out" in problems


@pytest.mark.parametrize("content", ['{"half', "[]", "\udcff"])
def test_a_broken_file_is_said_and_a_missing_one_is_not(tmp_path: Path, content: str) -> None:
    problems: list[str] = []
    assert RunRecord.load(tmp_path / "run.json", problems) is None
    assert problems == []
    (tmp_path / "run.json").write_text(content, errors="surrogateescape")
    assert RunRecord.load(tmp_path / "run.json", problems) is None
    (line,) = problems
    assert line.startswith("run.json could not be read")


def test_a_record_needs_what_it_cannot_do_without(tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="step is missing or cannot be read"):
        StepRecord.from_json({"kind": "step", "epoch": 0.5})
    (tmp_path / "race.json").write_text("{}")
    problems: list[str] = []
    assert RaceRecord.load(tmp_path / "race.json", problems) is None
    assert problems == ["race.json: finished is missing or cannot be read"]


def test_lines_of_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        '{"kind": "step", "step": 2, "epoch": 0.2, "loss": NaN}',
        '{"kind": "step", "step": 1, "epoch": 0.1, "loss": 3.0}',
        "",
        '{"kind": "epoch", "epoch": 1, "step": 2, "val_loss": 1.0}',
        '{"kind": "step", "step": 1, "epoch": 0.1, "loss": 2.0}',
        '{"kind": "other"}',
        "3",
        '{"kind":"step","st',
        '{"kind": "step", "step": ' + "[" * 100_000,
    ]
    assert list(metric_lines(path)) == []
    path.write_text("\n".join(lines))
    assert [line is None for line in metric_lines(path)] == [False] * 4 + [True] * 4
    problems: list[str] = []
    steps, epochs = read_metrics(path, problems)
    assert [(step.step, step.loss) for step in steps] == [(1, 2.0), (2, None)]
    assert [(epoch.epoch, epoch.val) for epoch in epochs] == [(1, {"loss": 1.0})]
    assert problems == ["metrics.jsonl: 4 lines could not be read (a run that is cut off leaves half a line); left out"]


def test_records_load_without_torch() -> None:
    code = "import sys, twofold.records; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
