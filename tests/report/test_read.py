"""Reading a run folder: what is there, what is broken, what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from twofold.errors import TwofoldError
from twofold.records import BestMetric, ClassEvaluation
from twofold.report.parts import read_image
from twofold.report.read import RunFiles, read_run


def evaluation_of(files: RunFiles) -> ClassEvaluation:
    assert isinstance(files.evaluation, ClassEvaluation)
    return files.evaluation


def test_reads_all_files(write_run: Callable[..., Path]) -> None:
    files = read_run(write_run())
    assert files.problems == ()
    assert files.run is not None
    assert files.run.best_metric == BestMetric(name="val_accuracy", value=0.83)
    assert len(files.steps) == 40
    assert [record.epoch for record in files.epochs] == [1, 2, 3, 4]
    mistakes = evaluation_of(files).mistakes
    assert len(mistakes) == 24
    image = read_image(files.folder, mistakes[0].image)
    assert image is not None
    assert (image.width, image.height) == (28, 28)


def test_a_folder_without_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match=r"is not a run folder \(no recipe\.json\)"):
        read_run(tmp_path)


@pytest.mark.parametrize(("content", "message"), [("{", "not valid JSON"), ("[1]", "one JSON object, not a list")])
def test_a_broken_recipe_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(TwofoldError, match=message):
        read_run(tmp_path)


def test_only_the_recipe_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{}")
    files = read_run(tmp_path)
    assert (files.spec, files.environment, files.run, files.evaluation) == (None, None, None, None)
    assert (files.steps, files.epochs, files.problems) == ((), (), ())


@pytest.mark.parametrize("name", ["spec.json", "environment.json", "run.json", "evaluation.json"])
@pytest.mark.parametrize("content", ['{"half', "[]", "\udcff"])
def test_a_broken_file_is_named_and_left_out(write_run: Callable[..., Path], name: str, content: str) -> None:
    folder = write_run()
    (folder / name).write_text(content, errors="surrogateescape")
    files = read_run(folder)
    assert getattr(files, name.removesuffix(".json")) is None
    assert len(files.problems) == 1
    assert files.problems[0].startswith(f"{name} could not be read")


@pytest.mark.parametrize("name", ["spec.json", "environment.json", "run.json", "evaluation.json"])
def test_wrong_types_within_a_file_are_left_out(write_run: Callable[..., Path], name: str) -> None:
    folder = write_run()
    wrong = {key: {"no": ["such"]} for key in json.loads((folder / name).read_text())}
    (folder / name).write_text(json.dumps(wrong))
    assert getattr(read_run(folder), name.removesuffix(".json")) is not None


def test_half_a_line_of_metrics_is_left_out(write_run: Callable[..., Path]) -> None:
    folder = write_run()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind":"step","st')
    files = read_run(folder)
    assert len(files.steps) == 40
    assert files.problems == (
        "metrics.jsonl: 1 line could not be read (a run that is cut off leaves half a line); left out",
    )


def test_of_a_repeated_step_the_later_counts(write_run: Callable[..., Path]) -> None:
    folder = write_run()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind":"step","step":5,"epoch":0.5,"loss":9.0}\n')
    steps = read_run(folder).steps
    assert [record.step for record in steps] == list(range(1, 41))
    assert steps[4].loss == 9.0


def test_numbers_that_are_not_finite_become_none(write_run: Callable[..., Path]) -> None:
    folder = write_run()
    (folder / "metrics.jsonl").write_text('{"kind":"step","step":1,"epoch":0.1,"loss":NaN,"lr":Infinity}\n')
    (step,) = read_run(folder).steps
    assert (step.loss, step.lr) == (None, None)


def test_an_image_outside_the_run_folder_is_not_read(write_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_run()
    (folder / "mistakes/000.png").rename(tmp_path / "secret.png")
    (folder / "mistakes/001.png").unlink()
    (folder / "mistakes/001.png").symlink_to(tmp_path / "secret.png")
    evaluation = json.loads((folder / "evaluation.json").read_text())
    for mistake, image in zip(evaluation["mistakes"], ["../secret.png", None, "a\0b", "recipe.json"], strict=False):
        mistake["image"] = image or mistake["image"]
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    names = [mistake.image for mistake in evaluation_of(read_run(folder)).mistakes[:5]]
    assert [read_image(folder, name) is None for name in names] == [True, True, True, True, False]


@pytest.mark.parametrize("confusion", [[[1, 2]], [[1]] * 10, "none", [[1.5] * 10] * 10, [[-1] * 10] * 10])
def test_a_confusion_matrix_of_the_wrong_form_is_left_out(write_run: Callable[..., Path], confusion: object) -> None:
    folder = write_run()
    evaluation = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(evaluation | {"confusion": confusion}))
    files = read_run(folder)
    assert evaluation_of(files).confusion == ()
    assert files.problems
