"""The page of a race in a real browser: complete, quiet, readable in both themes and at every width."""

from __future__ import annotations

import itertools
import random
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from twofold.cli.parse import parse
from twofold.cli.race import RaceArguments, settings_of
from twofold.records import RaceRecord
from twofold.study.race import CONTENDERS, RaceSettings, standings, verdict
from twofold.study.race_page import write_race_page

ENVIRONMENT = {
    "twofold": "0.1.0",
    "torch": "2.15.0",
    "git_commit": "0123456789ab",
    "device": "cpu",
    "device_name": "Intel(R) Xeon(R) Processor",
    "precision": "float32",
    "threads": 1,
    "jobs": 2,
    "optuna": "4.9.0",
}


def record_of(settings: RaceSettings, *, diverged: tuple[str, ...] = (), data: str = "fashion-mini") -> RaceRecord:
    """Return what a race.json holds, made up; the rules in `diverged` never finished a run."""
    dice = random.Random(0)
    trials: dict[str, list[Any]] = {}
    runs: dict[str, list[Any]] = {}
    for rank, name in enumerate(settings.optimizers):
        low, high = settings.search_range(name)
        rates = [low * (high / low) ** ((index + 0.5) / settings.trials) for index in range(settings.trials)]
        trials[name] = [
            {
                "lr": lr,
                "seed": 99,
                "diverged": "the loss became nan at step 3" if index > 6 or name in diverged else None,
                "epochs": [{"val_loss": 0.5 + 0.1 * abs(index - 3)}],
            }
            for index, lr in enumerate(rates)
        ]
        runs[name] = []
        for seed in range(settings.seeds if name not in diverged else 0):
            epochs, curve = [], []
            for epoch in range(1, settings.epochs + 1):
                accuracy = 0.9 - 0.02 * rank - 0.3 / epoch + 0.01 * dice.random()
                entry = {"val_loss": 1 - accuracy, "val_accuracy": accuracy}
                epochs.append({"epoch": epoch, "seconds": 1.1 * epoch, **entry})
                curve += [[epoch - 0.5, 1.1 * epoch - 0.5, 2 / epoch], [epoch, 1.1 * epoch, 1.8 / epoch]]
            accuracy = 0.9 - 0.02 * rank + 0.012 * dice.random()
            runs[name].append(
                {
                    "seed": seed,
                    "lr": rates[3],
                    "seconds": 11.0 + rank,
                    "diverged": None,
                    "epochs": epochs,
                    "curve": curve,
                    "test": {"loss": 0.4, "accuracy": accuracy},
                    "initial_weights": f"w{seed}",
                    "image_order": f"o{seed}",
                }
            )
    table = standings(settings.optimizers, trials, runs)
    entries = {
        "finished": "2026-11-23T06:00:00+00:00",
        "judged_on": "test",
        "settings": settings.to_record(),
        "data": {"name": data, "fingerprint": "7f1c29d0" * 8, "num_images": {"train": 9000, "val": 1000, "test": 2000}},
        "environment": ENVIRONMENT,
        "verdict": list(verdict(table)),
        "table": [asdict(one) | {"mean": one.mean} for one in table],
        "trials": trials,
        "runs": runs,
    }
    return RaceRecord.from_json(entries)


EVERY = RaceSettings(optimizers=tuple(CONTENDERS))


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., Path]:
    def write(settings: RaceSettings = EVERY, **changes: Any) -> Path:
        target = tmp_path / "race.html"
        write_race_page(target, record_of(settings, **changes))
        return target

    return write


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_complete_quiet_and_readable(
    page: Callable[..., Path], visit: Callable[..., Any], scheme: str
) -> None:
    path = page()
    assert path.stat().st_size < 400_000
    seen = visit(path, scheme=scheme)
    assert seen.page.title() == "Race on lenet and fashion-mini · Twofold"
    assert seen.page.locator("h1").inner_text() == "8 update rules on lenet and fashion-mini"
    assert "sgd is ahead of" in seen.page.locator(".verdict").first.inner_text()
    assert seen.page.locator(".table tbody tr").count() == 8
    first = seen.page.locator(".table tbody tr").first.inner_text().split("\t")
    assert first[0] == "sgd"
    assert first[1].startswith("90.")
    assert first[-1] == "highest mean"
    assert seen.page.locator("#curves svg.chart").count() == 4
    assert seen.page.locator("#curves .series").count() == 32
    assert seen.page.locator("#search figure").count() == 8
    assert seen.page.locator("#search .chosen").count() == 8
    assert seen.page.locator("#search .gone").count() == 8
    setup = seen.page.locator("#setup").inner_text()
    for words in ("same initial weights and the same batches", "2 × 1", "4.9.0", "adamw: weight decay 0.01"):
        assert words in setup
    assert seen.page.locator("script").count() == 0
    assert seen.page.evaluate(LOW_CONTRAST_OF_TEXT) == []
    assert seen.horizontal_overflow() == 0
    seen.assert_quiet()


# Of every text, the contrast with the card or page that it stands on; colours go through a canvas.
LOW_CONTRAST_OF_TEXT = """() => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const ground = (element) => {
    const own = rgb(getComputedStyle(element).backgroundColor);
    return own[3] === 255 || !element.parentElement ? own : ground(element.parentElement);
  };
  const luminance = (colour) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colour.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  let checked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || ["title", "desc"].includes(element.tagName)) continue;
    checked += 1;
    const ink = rgb(element instanceof SVGElement ? getComputedStyle(element).fill : getComputedStyle(element).color);
    const [light, dark] = [luminance(ink), luminance(ground(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return checked > 100 ? low : ["too little text was checked"];
}"""


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_no_width_scrolls_sideways(page: Callable[..., Path], visit: Callable[..., Any], width: int) -> None:
    assert visit(page(), width=width).horizontal_overflow() == 0


def test_themes_differ_and_print_is_light(page: Callable[..., Path], visit: Callable[..., Any]) -> None:
    path = page()
    light, dark = visit(path, scheme="light"), visit(path, scheme="dark")
    assert light.background() != dark.background()
    colours = "[...document.querySelectorAll('.curve')].slice(0, 8).map((one) => getComputedStyle(one).stroke)"
    assert len(set(light.page.evaluate(colours))) == len(set(dark.page.evaluate(colours))) == 8
    dark.page.emulate_media(media="print")
    assert dark.page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(21, 32, 46)"


def test_names_beside_curves_do_not_overlap(page: Callable[..., Path], visit: Callable[..., Any]) -> None:
    for chart in visit(page()).page.locator("#curves svg.chart").all():
        boxes = [name.bounding_box() for name in chart.locator("text.name").all()]
        tops = sorted(box["y"] for box in boxes)
        assert len(tops) == 8
        assert min(after - before for before, after in itertools.pairwise(tops)) > 10


def test_pointing_at_a_name_steps_the_others_back(page: Callable[..., Path], visit: Callable[..., Any]) -> None:
    seen = visit(page()).page
    chart = seen.locator("#curves svg.chart").first
    chart.locator(".series").nth(2).locator("text.name").hover()
    opacities = chart.locator(".series").evaluate_all("all => all.map((one) => getComputedStyle(one).opacity)")
    assert [index for index, opacity in enumerate(opacities) if opacity == "1"] == [2]


def test_what_diverged_is_said(page: Callable[..., Path], visit: Callable[..., Any]) -> None:
    settings = RaceSettings(optimizers=("sgd", "adam"))
    seen = visit(page(settings, diverged=("sgd",)))
    assert "sgd diverged at all 8 learning rates" in seen.page.locator(".callout").inner_text()
    assert seen.page.locator(".table tbody tr").nth(1).inner_text().endswith("diverged at every learning rate")
    assert seen.page.locator("#curves .series").count() == 4
    seen.assert_quiet()
    nothing = visit(page(settings, diverged=("sgd", "adam")))
    assert "No run was finished" in nothing.page.locator("#curves").inner_text()
    assert "Every run diverged" in nothing.page.locator(".verdict").inner_text()
    nothing.assert_quiet()


def test_one_seed_claims_nothing(page: Callable[..., Path], visit: Callable[..., Any]) -> None:
    seen = visit(page(RaceSettings(optimizers=("sgd", "adam"), seeds=1))).page
    assert "ahead of" not in seen.locator("main").inner_text()
    assert "one run has no spread" in seen.locator(".verdict").inner_text()


def test_hostile_names_are_inert(page: Callable[..., Path], visit: Callable[..., Any]) -> None:
    seen = visit(page(data='"><img src=x onerror=alert(1)>'))
    assert '"><img src=x onerror=alert(1)>' in seen.page.locator("h1").inner_text()
    assert seen.page.locator("img, script, [onerror]").count() == 0
    seen.assert_quiet()


def test_its_commands_are_what_the_command_line_takes(page: Callable[..., Path], visit: Callable[..., Any]) -> None:
    from twofold import Recipe
    from twofold.cli import train
    from twofold.cli.settings import given_settings

    settings = RaceSettings(optimizers=("nesterov", "adam"), epochs=7, batch_size=32, threads=4)
    commands = visit(page(settings)).page.locator(".command code").all_inner_texts()
    verb, *words = shlex.split(commands[0])[1:]
    assert verb == "train"
    recipe = Recipe().override(**given_settings(parse(train.arguments_form(), words, verb=verb), words))
    assert recipe.update_rule() == ("nesterov", {"momentum": 0.9})
    assert (recipe.model, recipe.batch_size, recipe.weight_decay) == ("lenet", 32, 0.0)
    verb, *words = shlex.split(commands[1])[1:]
    again = settings_of(parse(RaceArguments, words, verb=verb))
    assert again.to_record() == settings.to_record() | {"seeds": 5}
