"""`twofold schedule`: what it prints is what training uses; wrong input gets one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from twofold.cli.main import main
from twofold.engine.recipe import Recipe
from twofold.optim.schedule import SCHEDULES


def test_all_schedules_as_a_table_and_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["schedule"]) == 0
    shown = capsys.readouterr()
    assert all(name in shown.out for name in SCHEDULES)
    assert "wrote schedule-several.png" in shown.out + shown.err
    with Image.open("schedule-several.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    for wanted in ((213, 94, 0), (0, 114, 178), (0, 158, 115)):
        assert wanted in colours


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_numbers_are_the_recipe_s(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", name, "--json", "--lr", "0.5", "--epochs", "4"]) == 0
    record = json.loads(capsys.readouterr().out)
    schedule = Recipe(schedule=name, lr=0.5).learning_rate()  # type: ignore[arg-type]
    assert record["schedule"] == name
    assert record["learning_rates"] == [schedule.at(epoch / 4, epoch) for epoch in range(5)]


def test_the_same_schedule_gives_the_same_svg(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        assert main(["schedule", "step", "--figure", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one-cyle"], "unknown schedule 'one-cyle': did you mean one-cycle"),
        (["step", "--warmup", "0.2"], "--warmup has no effect on step (it is for one-cycle or warmup-cosine)"),
        (["power", "--alpha", "0.5"], "--alpha 0.5 lets the learning rate grow"),
        (["step", "--epochs", "0"], "epochs must be greater than or equal to 1, got 0"),
        (["step", "--lr", "-1"], "lr must be greater than 0, got -1.0"),
        (["step", "--figure", "no/such/folder.png"], "there is no folder no/such"),
        (["step", "--figure", "picture.bmp"], "--figure must end in .png, .svg, .pdf"),
        (["step"] * 9, "at most 8 schedules"),
    ],
)
def test_wrong_input_gets_one_line(arguments: list[str], words: str, fails: Callable[..., str]) -> None:
    assert words in fails(["schedule", *arguments])
