"""The batch-size study: the same losses each time, the known answer, a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twofold import TwofoldError
from twofold.study.batch_sizes import (
    NUM_EXAMPLES,
    BatchStudy,
    check_sizes,
    draw_study,
    learning_rate,
    problem,
    study_batch_sizes,
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[BatchStudy, Path]:
    path = tmp_path_factory.mktemp("figures") / "batch.png"
    study = study_batch_sizes([10, 100, NUM_EXAMPLES], show=False)
    draw_study(study, path)
    return study, path


def test_all_come_near_the_least_loss_that_least_squares_knows(drawn: tuple[BatchStudy, Path]) -> None:
    features, labels = problem(0)
    x = np.column_stack([features.double().numpy(), np.ones(NUM_EXAMPLES)])
    y = labels.double().numpy()[:, 0]
    _, residuals, _, _ = np.linalg.lstsq(x, y, rcond=None)
    study, _ = drawn
    assert study.least_loss == pytest.approx(residuals[0] / NUM_EXAMPLES / 2, rel=1e-6)
    for curve in study.curves:
        assert study.least_loss * (1 - 1e-5) <= curve.points[-1][1] < 1.05 * study.least_loss
        seconds = [point[0] for point in curve.points]
        assert seconds == sorted(seconds)
        assert curve.points[0][1] > curve.points[-1][1]


def test_losses_repeat_and_threads_are_put_back(drawn: tuple[BatchStudy, Path]) -> None:
    threads = torch.get_num_threads()
    again = study_batch_sizes([100, 10], show=False)
    assert torch.get_num_threads() == threads
    assert [curve.batch_size for curve in again.curves] == [10, 100]
    for ours, theirs in zip(again.curves, drawn[0].curves, strict=False):
        assert [loss for _, loss in ours.points] == [loss for _, loss in theirs.points]


def test_steps_of_the_full_gradient_are_stable() -> None:
    features, _ = problem(0)
    x = torch.cat([features, torch.ones(NUM_EXAMPLES, 1)], dim=1).double()
    largest = float(torch.linalg.eigvalsh(x.T @ x / NUM_EXAMPLES).max())
    assert learning_rate(NUM_EXAMPLES) < 2 / largest


def test_an_epoch_of_small_batches_takes_longer(drawn: tuple[BatchStudy, Path]) -> None:
    seconds = [curve.epoch_seconds for curve in drawn[0].curves]
    assert seconds[0] > 2 * seconds[1]
    assert seconds[1] > seconds[2]


def test_the_figure_is_a_picture(drawn: tuple[BatchStudy, Path]) -> None:
    with Image.open(drawn[1]) as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 100


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([0], "from 1 to 1500, the full set, got 0"),
        ([1501], "got 1501"),
        ([5, 5], "5 is given twice"),
        ([], "no batch size is given"),
    ],
)
def test_wrong_sizes(sizes: list[int], words: str) -> None:
    with pytest.raises(TwofoldError, match=words):
        check_sizes(sizes)
