"""The page of a detector's run in a real browser: curves, errors, and images with boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detector_evaluation import CURVE, evaluation
from pages import HOSTILE_NAMES, LOW_CONTRAST
from twofold.records import BoxRecord, DetectionEvaluation, DetectionExample, DetectionScore
from twofold.report import write_report

# Where each text of a view stands, and how much of the view's width and height it lies outside.
OUTSIDE = """() => [...document.querySelectorAll(".view")].flatMap((view) => {
  const frame = view.getBoundingClientRect();
  return [...view.querySelectorAll(".tag")].map((tag) => {
    const own = tag.getBoundingClientRect();
    return Math.max(frame.left - own.left, own.right - frame.right, frame.top - own.top, own.bottom - frame.bottom);
  });
})"""


@pytest.fixture
def write_detector(write_run: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that writes the run folder of a detector."""

    def write(evaluated: DetectionEvaluation, *, size: tuple[int, int] = (64, 64)) -> Path:
        folder = write_run(evaluated=False)
        spec = json.loads((folder / "spec.json").read_text())
        (folder / "spec.json").write_text(json.dumps(spec | {"task": "detect", "architecture": "ssd-mini"}))
        (folder / "mistakes").mkdir()
        for example in evaluated.examples:
            if example.image is not None:
                Image.new("RGB", size, "#808080").save(folder / example.image)
        (folder / "evaluation.json").write_text(json.dumps(evaluated.to_json()))
        return folder

    return write


def with_image(evaluated: DetectionEvaluation) -> DetectionEvaluation:
    examples = tuple(replace(one, image=f"mistakes/{k:03}.png") for k, one in enumerate(evaluated.examples))
    return replace(evaluated, examples=examples)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_detector(write_detector: Callable[..., Path], visit: Callable[..., Any], scheme: str) -> None:
    seen = visit(write_report(write_detector(with_image(evaluation()))), scheme=scheme)
    page = seen.page
    assert page.locator(".big").inner_text() == "40.0%"
    assert "AP75: 30.0\u00a0%" in page.locator("header").inner_text()
    assert page.locator(".bar nav a").all_inner_texts() == [
        "Curves", "Precision", "Classes", "Overlap", "Errors", "Images", "Setup", "Next"
    ]  # fmt: skip
    assert page.locator("#precision svg.chart .curve").count() == 5
    assert page.locator("#classes .panels li").count() == 3
    assert page.locator("#errors .bars dd").all_inner_texts() == ["+25.0", "+2.0"]
    widths = page.locator("#errors .bar-track i").evaluate_all("bars => bars.map(bar => bar.clientWidth)")
    assert widths[1] == pytest.approx(widths[0] * 0.02 / 0.25, abs=1.5)
    assert page.evaluate(LOW_CONTRAST) == []
    assert seen.horizontal_overflow() == 0
    seen.assert_quiet()


def test_boxes_lie_where_they_are_and_say_without_colour_what_is_wrong(
    write_detector: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    # The image is of 64x48 px; its file was padded to a square, and shows it from 8 px above to 8 px below.
    page = visit(write_report(write_detector(with_image(evaluation())))).page
    view = page.locator(".view.there").first
    frame = view.bounding_box()
    assert frame["width"] == pytest.approx(frame["height"], abs=1)
    assert page.locator(".view image").count() == 1
    box = view.locator("rect:not(.halo)").last.bounding_box()  # of (40, 1, 50, 9)
    scale = frame["width"] / 64
    assert box["x"] - frame["x"] == pytest.approx(40 * scale, abs=2)
    assert box["y"] - frame["y"] == pytest.approx((1 + 8) * scale, abs=2)
    assert box["width"] == pytest.approx(10 * scale, abs=4)
    dashes = view.locator("rect:not(.halo)").evaluate_all(
        "all => all.map(one => getComputedStyle(one).strokeDasharray)"
    )
    assert dashes == ["none", "6px, 4px", "6px, 4px"]
    marks = page.locator(".tag").evaluate_all("all => all.map(tag => getComputedStyle(tag, '::before').content)")
    assert marks == ["none", '"✗ "', '"✗ "', "none", '"✗ "']
    assert page.locator(".view.found .tag").all_inner_texts() == ["cat 80", "cat 31"]
    assert view.get_attribute("aria-label") == "there: cat, dog (missed), dog (missed)"
    assert page.locator(".wrongs p").all_inner_texts() == ["missed: 2 dog", "wrong: cat"]


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_names_and_boxes_are_inert_and_stay_in_their_image(
    write_detector: Callable[..., Path], visit: Callable[..., Any], width: int
) -> None:
    names = [*HOSTILE_NAMES, "猫"]
    boxes = tuple(
        BoxRecord(box=(4 * k - 9, 5 * k - 9, 4 * k + 20, 5 * k + 11), name=name, score=0.5, right=False)
        for k, name in enumerate(names)
    )
    odd = (BoxRecord(box=(1e9, -1e9, 1e12, 1e12), name=names[0]), BoxRecord(box=(5, 5, 5, 5), name=names[1]))
    classes = tuple(
        DetectionScore(name=name, count=1, average_precision=0.5, average_precision_50=0.5, curve=CURVE)
        for name in names
    )
    example = DetectionExample(source=names[0], height=48, width=64, true=boxes + odd, found=boxes)
    evaluated = replace(with_image(replace(evaluation(), examples=(example,))), classes=classes)
    seen = visit(write_report(write_detector(evaluated)), width=width)
    assert seen.page.locator("#classes .panels li").count() == len(names)
    assert seen.page.locator(".tag").count() > len(names)
    assert max(seen.page.evaluate(OUTSIDE)) < 1
    assert seen.page.locator(".view img, .view script").count() == 0
    assert seen.horizontal_overflow() == 0
    seen.assert_quiet()


def test_a_thousand_classes_and_crowded_images_fit(
    write_detector: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    boxes = tuple(BoxRecord(box=(k % 60, k // 2, k % 60 + 4, k // 2 + 4), name=f"thing {k}", right=False)
                  for k in range(100))  # fmt: skip
    example = DetectionExample(height=64, width=64, true=boxes, found=boxes)
    evaluated = with_image(replace(evaluation(1000), examples=(example,) * 24))
    report = write_report(write_detector(evaluated))
    assert report.stat().st_size < 2_500_000
    seen = visit(report, width=390)
    assert seen.horizontal_overflow() == 0
    page = seen.page
    assert page.locator(".scores tbody tr").count() > 1000
    assert page.locator(".panels li").count() == 24
    # No name lies over another.
    crossing = """() => [...document.querySelectorAll(".view")].some((view) => {
      const all = [...view.querySelectorAll(".tag")].map((tag) => tag.getBoundingClientRect());
      return all.some((a, i) => all.slice(i + 1).some((b) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
    })"""
    page.set_viewport_size({"width": 1280, "height": 900})
    assert not page.evaluate(crossing)


def test_an_image_that_was_not_saved_still_has_its_boxes(
    write_detector: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    page = visit(write_report(write_detector(evaluation()))).page
    assert page.locator(".no-image").count() == 1
    assert page.locator(".view rect:not(.halo)").count() == 5
    assert page.locator(".view.there").evaluate("view => view.clientWidth / view.clientHeight") == pytest.approx(
        1, abs=0.02
    )
