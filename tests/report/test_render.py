"""The page in a real browser: complete, quiet, readable in both themes and on a phone, and safe."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from pages import HOSTILE_NAMES, LOW_CONTRAST
from twofold.engine.recipe import Recipe
from twofold.errors import TwofoldError
from twofold.report import write_report
from twofold.report.facts import recipe_settings

COLOURS = """() => ["body", ".card", ".curve.train", ".chart text", ".matrix td.r", ".matrix td.w"].map((selector) => {
  const { backgroundColor, color, stroke, fill } = getComputedStyle(document.querySelector(selector));
  return [backgroundColor, color, stroke, fill];
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_finished_run(write_run: Callable[..., Path], visit: Callable[..., Any], scheme: str) -> None:
    seen = visit(write_report(write_run()), scheme=scheme)
    page = seen.page
    assert page.title() == "resnet18 on fashion-mini · Twofold"
    assert page.locator("h1").inner_text() == "resnet18 on fashion-mini"
    assert page.locator(".badge").inner_text() == "finished"
    assert page.locator(".big").inner_text() == "83.8%"
    head = page.locator("header").inner_text()
    for words in ["of 955 test images right", "95 % interval 81.3 to 86.0\u00a0%", "weights of epoch 3, the best"]:
        assert words in head
    for words in ["41\u00a0s", "4 epochs", "1,810", "697\u00a0k", "Xeon", "cpu · 2 threads", "bfloat16", "23 Nov 2026"]:
        assert words in head
    assert page.locator("figure.card svg.chart").count() == 4
    assert page.locator(".matrix tbody td").count() == 100
    assert page.locator(".pairs li").first.inner_text().split("\n")[0] == "T-shirt/top → Trouser"
    assert page.locator(".mistakes figure img.pixelated").count() == 24
    assert "IMG_0000.jpg" in page.locator(".mistakes figure").first.inner_text()
    assert page.locator("#calibration .bin").count() == 2
    assert "2.1\u00a0%" in page.locator("#calibration").inner_text()
    setup = page.locator("#setup").inner_text()
    for words in ["0123456789ab", "channels-last", "28 × 28", "9,000", "7f1c29d0", "'my photos'"]:
        assert words in setup
    assert page.evaluate(LOW_CONTRAST) == []
    assert seen.horizontal_overflow() == 0
    seen.assert_quiet()


def test_settings_that_differ_from_the_defaults_are_marked(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    page = visit(write_report(write_run())).page
    changed = dict(text.split("\n", 1) for text in page.locator(".changed").all_inner_texts())
    # lr is SGD's own default, so it is not marked; the momentum is not.
    assert set(changed) == {"model", "model_options", "augment", "label_smoothing", "optimizer", "momentum", "epochs"}
    assert changed["momentum"] == "0.8 default 0.9"


@pytest.mark.parametrize("num_classes", [2, 20, 21, 41, 100, 1200])
def test_any_number_of_classes_fits(
    write_run: Callable[..., Path], visit: Callable[..., Any], num_classes: int
) -> None:
    report = write_report(write_run(names=[f"class number {index}" for index in range(num_classes)]))
    assert report.stat().st_size < 1_000_000
    seen = visit(report, width=390)
    assert seen.horizontal_overflow() == 0
    page = seen.page
    page.set_viewport_size({"width": 1280, "height": 900})
    assert seen.horizontal_overflow() == 0
    # Of very many classes, those that are confused most often, and all others in one row and column.
    assert page.locator(".matrix td").count() == (num_classes**2 if num_classes <= 100 else 31 * 31)
    sizes = page.locator(".matrix td.r").evaluate_all("cells => cells.map(cell => getComputedStyle(cell).fontSize)")
    assert all((size != "0px") == (num_classes <= 20) for size in sizes)
    assert page.locator(".pairs li").count() == min(10, num_classes)
    assert page.locator(".scores tbody tr").count() == num_classes
    seen.assert_quiet()


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_no_width_scrolls_sideways(write_run: Callable[..., Path], visit: Callable[..., Any], width: int) -> None:
    assert visit(write_report(write_run()), width=width).horizontal_overflow() == 0


def test_an_empty_setting_is_no_change_however_it_is_written() -> None:
    """A recipe may be older, or written by hand: null, [] and {} mean the same where nothing is given."""
    empty = [name for name, value in Recipe() if value in (None, (), {})]
    assert len(empty) > 10
    for value in (None, [], {}):
        settings = recipe_settings({"optimizer": "adamw", **dict.fromkeys(empty, value)})
        assert [setting.name for setting in settings if setting.default is not None] == []
        assert {setting.value for setting in settings[1:]} == {"none"}


def is_cut(page: Any, selector: str) -> list[str]:
    """Return the texts of the elements that are larger than what is seen of them."""
    return page.locator(selector).evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)"
        ".map(e => e.innerText)"
    )


def test_headers_of_the_matrix_are_whole_where_there_is_room(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    names = ["Greater spotted woodpecker (female)", "café crème", "قطة سوداء", "猫と犬", "🐈 cat", "Ankle boot, brown"]
    seen = visit(write_report(write_run(names=names)))
    assert is_cut(seen.page, ".matrix tbody th") == []
    assert is_cut(seen.page, ".matrix thead th.name bdi") == []
    # Letters that stand upright in vertical text would be upside down in a header that is turned.
    orientation = "bdi => getComputedStyle(bdi).textOrientation"
    assert seen.page.locator(".matrix thead bdi").first.evaluate(orientation) == "sideways"


def test_twenty_long_names_leave_room_for_the_cells(write_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    names = [f"{index:02} Greater spotted woodpecker (female)" for index in range(20)]
    seen = visit(write_report(write_run(names=names)))
    matrix = seen.page.locator(".matrix-row .scroll").first
    assert matrix.evaluate("part => part.scrollWidth - part.clientWidth") <= 1
    assert seen.horizontal_overflow() <= 0


def test_ten_classes_fit_a_phone_without_scrolling_the_matrix(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    page = visit(write_report(write_run()), width=390).page
    boxes = page.locator(".scroll").evaluate_all("boxes => boxes.map(box => box.scrollWidth - box.clientWidth)")
    assert boxes == [0, 0]


def test_the_toggle_switches_the_theme_and_is_remembered(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    seen = visit(write_report(write_run()), scheme="light")
    light = seen.page.evaluate(COLOURS)
    seen.page.click("#theme")
    dark = seen.page.evaluate(COLOURS)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    assert seen.page.get_attribute("#theme", "aria-pressed") == "true"
    assert seen.page.evaluate(LOW_CONTRAST) == []
    seen.page.reload()
    assert seen.page.evaluate(COLOURS) == dark
    seen.page.click("#theme")
    assert seen.page.evaluate(COLOURS) == light


def test_the_theme_follows_the_system_and_print_is_light(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    report = write_report(write_run())
    light, seen = visit(report, scheme="light"), visit(report, scheme="dark")
    assert light.background() != seen.background()
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(21, 32, 46)"
    assert not seen.page.is_visible("#theme")
    assert not seen.page.is_visible(".command button")


def test_the_class_table_sorts(write_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    page = visit(write_report(write_run())).page

    def names() -> list[str]:
        return page.locator(".scores tbody th").all_inner_texts()

    def header(name: str) -> Any:
        return page.locator(".scores thead th", has_text=name)

    original = names()
    header("Class").get_by_role("button").click()
    assert names() == sorted(original)
    assert header("Class").get_attribute("aria-sort") == "ascending"
    header("Class").get_by_role("button").click()
    assert names() == sorted(original, reverse=True)
    header("Recall").get_by_role("button").click()
    # The confusions shrink from class to class, so the last classes are recognised best.
    assert names()[-1] == original[0]
    assert header("Class").get_attribute("aria-sort") is None
    header("Recall").get_by_role("button").click()
    assert names()[0] == original[0]


def test_a_class_never_predicted_sorts_last(write_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    folder = write_run()
    evaluation = json.loads((folder / "evaluation.json").read_text())
    evaluation["classes"][4] |= {"precision": None, "f1": None}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    page = visit(write_report(folder)).page
    button = page.locator(".scores thead th", has_text="Precision").get_by_role("button")
    for _ in range(2):
        button.click()
        assert page.locator(".scores tbody th").all_inner_texts()[-1] == "Coat"


def test_commands_are_quoted_and_copied(write_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    folder = write_run(name='anna\'s $(run) "1"')
    page = visit(write_report(folder), permissions=["clipboard-read", "clipboard-write"]).page
    commands = page.locator(".command code").all_inner_texts()
    path, recipe, curves = (str(folder / part) for part in ("", "recipe.json", "tensorboard"))
    assert [shlex.split(command) for command in commands[:-1]] == [
        ["twofold", "predict", path, "photo.png"],
        ["twofold", "eval", path],
        ["twofold", "train", "--recipe", recipe],
        ["tensorboard", "--logdir", curves],
    ]
    loaded = re.search(r"twofold\.load\((.*)\)", commands[-1])
    assert loaded is not None
    assert eval(loaded[1]) == path
    assert 'model.predict("photo.png")' in commands[-1]
    page.locator(".command button").first.click()
    expect(page.locator(".command button").first).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == commands[0]


def test_pointing_at_a_curve_reads_it_out(write_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    page = visit(write_report(write_run())).page
    readout = page.locator("figure", has_text="Accuracy").locator(".readout").nth(1)
    assert readout.locator("text").evaluate("one => getComputedStyle(one).opacity") == "0"
    readout.locator(".strip").hover()
    assert readout.locator("text").evaluate("one => getComputedStyle(one).opacity") == "1"
    assert readout.locator("text").inner_html() == "epoch 2: train 70.0&nbsp;%, validation 82.0&nbsp;%"


def test_the_page_is_complete_without_script(write_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    page = visit(write_report(write_run()), java_script_enabled=False).page
    assert page.locator(".scores tbody tr").count() == 10
    assert page.locator(".command code").first.is_visible()
    assert [button for button in page.locator("button").all() if button.is_visible()] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_text_is_inert(write_run: Callable[..., Path], visit: Callable[..., Any], width: int) -> None:
    evil = HOSTILE_NAMES[1]
    folder = write_run(
        name="<img src=x onerror=alert(5)>".replace("/", ""),
        names=HOSTILE_NAMES,
        recipe={"model": HOSTILE_NAMES[3], "data": HOSTILE_NAMES[2], evil: evil},
        run={"notes": HOSTILE_NAMES, "error": evil, "status": evil, "data_fingerprint": evil, "num_images": {evil: 3}},
    )
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps(dict.fromkeys(environment, evil) | {"command": HOSTILE_NAMES}))
    (folder / "spec.json").write_text(json.dumps({"class_names": HOSTILE_NAMES, evil: evil}))
    seen = visit(write_report(folder), width=width)
    for button in seen.page.locator(".scores button").all():
        button.click()
    assert seen.page.title() == f"{HOSTILE_NAMES[3]} on {HOSTILE_NAMES[2]} · Twofold"
    assert seen.page.locator("script").count() == 1
    assert seen.page.locator("img").count() == 24
    assert seen.page.locator("[onerror], [onload], [onmouseover]").count() == 0
    assert HOSTILE_NAMES[0] in seen.page.locator(".scores tbody th").all_inner_texts()
    assert seen.horizontal_overflow() == 0
    seen.assert_quiet()


def test_the_security_policy_stops_what_escaping_would_miss(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    seen = visit(write_report(write_run()))
    seen.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.pwned = true";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.pwned = true'>");
          const image = document.createElement("img");
          image.src = "https://example.org/seen.png";
          document.body.append(image);
        }"""
    )
    seen.page.wait_for_timeout(200)
    assert seen.page.evaluate("window.pwned") is None
    assert sum("Content Security Policy" in message for message in seen.messages) >= 3


@pytest.mark.parametrize(
    "missing", ["spec.json", "environment.json", "run.json", "evaluation.json", "metrics.jsonl", "mistakes", "all"]
)
def test_what_is_missing_is_said(write_run: Callable[..., Path], visit: Callable[..., Any], missing: str) -> None:
    folder = write_run()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.name != "recipe.json" and (missing == "all" or missing in path.relative_to(folder).parts):
            path.rmdir() if path.is_dir() else path.unlink()
    seen = visit(write_report(folder), width=390)
    text = seen.page.locator("main").inner_text()
    expected = {
        "spec.json": ["spec.json is missing"],
        "environment.json": ["environment.json is missing"],
        "run.json": ["state unknown", "twofold train --resume"],
        "evaluation.json": ["not evaluated yet", "of 1,000 validation images right after epoch 3", "twofold eval"],
        "metrics.jsonl": ["No curves yet"],
        "mistakes": ["no image in this run"],
        "all": ["No accuracy yet", "No curves yet", "nothing to evaluate yet", "run.json is missing"],
    }
    for words in expected[missing]:
        assert words in text
    assert seen.page.evaluate(LOW_CONTRAST) == []
    assert seen.horizontal_overflow() == 0
    for link in seen.page.locator("nav a").all():
        assert seen.page.locator(str(link.get_attribute("href"))).count() == 1
    seen.assert_quiet()


@pytest.mark.parametrize(
    ("status", "label", "resumes"),
    [
        ("finished", "finished", False),
        ("stopped-early", "stopped early", False),
        ("interrupted", "interrupted", True),
        ("running", "died", True),  # for nobody holds its lock
        ("failed", "failed", True),
    ],
)
def test_the_status_decides_how_to_go_on(
    write_run: Callable[..., Path], visit: Callable[..., Any], status: str, label: str, resumes: bool
) -> None:
    error = "the loss became nan at step 21; try a smaller learning rate" if status == "failed" else None
    folder = write_run(evaluated=False, num_epochs=2, run={"status": status, "epochs_done": 2, "error": error})
    page = visit(write_report(folder), scheme="dark").page
    assert page.locator(".badge").inner_text() == label
    assert (page.locator(".command", has_text="--resume").count() == 1) == resumes
    assert (page.locator(".undone").count() == 4) == resumes
    assert page.locator("[role=alert]").all_inner_texts() == ([f"What went wrong\n\n{error}"] if error else [])
    assert page.evaluate(LOW_CONTRAST) == []


def test_before_the_first_epoch_only_resuming_is_offered(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    folder = write_run(evaluated=False, num_epochs=0, run={"status": "interrupted", "epochs_done": 0})
    text = visit(write_report(folder)).page.locator("#next").inner_text()
    assert "--resume" in text
    assert "predict" not in text
    assert "eval" not in text


@pytest.mark.parametrize(("split", "words"), [("val", "chose the best epoch"), ("train", "trained on these images")])
def test_an_accuracy_that_flatters_is_named(
    write_run: Callable[..., Path], visit: Callable[..., Any], split: str, words: str
) -> None:
    folder = write_run()
    evaluation = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(evaluation | {"split": split}))
    assert words in visit(write_report(folder)).page.locator("header").inner_text()


def test_light_quick_and_the_same_each_time(write_run: Callable[..., Path]) -> None:
    folder = write_run()
    start = time.process_time()
    first = write_report(folder).read_bytes()
    assert time.process_time() - start < 2.0
    assert len(first) < 250_000
    assert write_report(folder).read_bytes() == first


def test_large_photos_are_shrunk_and_broken_ones_left_out(
    write_run: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    folder = write_run()
    noise = Image.effect_noise((300, 200), 80).convert("RGB")
    for index in range(23):
        noise.save(folder / f"mistakes/{index:03}.png")
    (folder / "mistakes/023.png").write_bytes((folder / "mistakes/000.png").read_bytes()[:30_000])
    report = write_report(folder)
    assert report.stat().st_size < 1_000_000
    seen = visit(report)
    assert seen.page.locator(".mistakes img").count() == 23
    size = seen.page.locator(".mistakes img").first.evaluate("one => [one.naturalWidth, one.width, one.height]")
    assert size == [256, 128, 85]
    seen.assert_quiet()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match=r"no recipe\.json"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
