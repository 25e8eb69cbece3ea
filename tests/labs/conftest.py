"""A host of the labs in this process, and a page of one in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page

from browsers import Watched
from small_predictors import boot, images, run
from twofold.labs.host import Host

__all__ = ["boot", "images", "run"]  # fixtures

LANGUAGES = {"en": "en-GB", "zh": "zh-CN"}
_SETTLED = """() => {
  const page = document.querySelector(".lab[data-lab]")?.page;
  return page && page.waiting === null && !page.again && !page.model.resting && (page.shown || !page.status.hidden);
}"""


class LabPage:
    """A lab in a browser: what it shows, read from the page that shows it."""

    def __init__(self, page: Page, host: Host) -> None:
        self.page, self.host, self.watched = page, host, Watched(page)

    def open(self, lab: str, settings: str = "") -> LabPage:
        """Open a lab with settings as an address has them, and wait for its first picture."""
        self.page.goto(self.host.address(lab, settings))
        return self.settle()

    def settle(self) -> LabPage:
        """Wait until the page shows what its settings say."""
        self.page.wait_for_function(_SETTLED)
        return self

    def until(self, condition: str) -> LabPage:
        """Wait until a condition holds, in JavaScript, of `page` and `settings`."""
        # As a function: what is evaluated from a string is refused by the page's own policy.
        names = "const page = document.querySelector('.lab').page, settings = page.settings;"
        self.page.wait_for_function(f"() => {{ {names} return {condition}; }}")
        return self.settle()

    @property
    def settings(self) -> dict[str, Any]:
        return self.page.evaluate("document.querySelector('.lab').page.settings")

    @property
    def error(self) -> str:
        return self.page.locator(".status").inner_text() if self.page.locator(".status").is_visible() else ""

    def shown(self, path: str) -> Any:
        """Return what Python sent, such as "output" or "unit.sum": an array, or a JSON value."""
        script = """(path) => {
          const each = path.split(".").reduce((value, key) => value[key], document.querySelector(".lab").page.shown);
          return each?.data ? { shape: each.shape, data: Array.from(each.data) } : each;
        }"""
        value = self.page.evaluate(script, path)
        return np.array(value["data"]).reshape(value["shape"]) if isinstance(value, dict) and "data" in value else value

    def figure(self, label: str) -> Locator:
        """Return the canvas whose name for screen readers begins with `label`."""
        return self.page.locator(f'.lab canvas[aria-label^="{label}"]')

    def colours(self, label: str, rows: int, columns: int) -> np.ndarray:
        """Return the colour of each cell, but for its frame and text, of a matrix that is drawn, (rows, columns, 3)."""
        script = """(canvas, [rows, columns]) => {
          const copy = new OffscreenCanvas(canvas.width, canvas.height);
          const pen = copy.getContext("2d", { willReadFrequently: true });
          pen.drawImage(canvas, 0, 0);
          const high = canvas.height / rows, wide = canvas.width / columns;
          return Array.from({ length: rows * columns }, (_, i) => {
            const x = Math.floor((i % columns + 0.2) * wide), y = Math.floor((Math.floor(i / columns) + 0.2) * high);
            return Array.from(pen.getImageData(x, y, 1, 1).data).slice(0, 3);
          });
        }"""
        return np.array(self.figure(label).evaluate(script, [rows, columns])).reshape(rows, columns, 3)

    def point_at(self, label: str, row: int, column: int, shape: tuple[int, int], *, press: bool = False) -> None:
        """Move the pointer to the middle of a cell of a matrix."""
        box = self.figure(label).bounding_box()
        assert box is not None
        x = box["x"] + box["width"] * (column + 0.5) / shape[1]
        y = box["y"] + box["height"] * (row + 0.5) / shape[0]
        self.page.mouse.move(x, y)
        if press:
            self.page.mouse.click(x, y)
        self.settle()

    def command(self) -> tuple[str, str]:
        """Return the shell line and the program that are shown."""
        boxes = self.page.locator(".lab .command pre")
        return boxes.nth(0).text_content() or "", boxes.nth(1).text_content() or ""

    def exercises(self) -> list[bool]:
        """Return which exercises are done."""
        items = self.page.locator(".lab .exercises li")
        return [items.nth(i).get_attribute("data-done") == "yes" for i in range(items.count())]


@pytest.fixture(scope="session")
def lab_host() -> Iterator[Host]:
    """The pages of the labs."""
    faults: list[str] = []
    with Host(tell=faults.append) as host:
        yield host
    assert not faults, faults[0]


@pytest.fixture
def lab_page(browser: Browser, lab_host: Host) -> Iterator[Callable[..., LabPage]]:
    """Open a page of a lab: lab_page("convolution", "stride=2", lang="zh", width=390). Each must stay quiet."""
    opened: list[LabPage] = []

    def open_page(lab: str, settings: str = "", *, lang: str = "en", width: int = 1280, **options: Any) -> LabPage:
        host = options.pop("host", None) or lab_host
        context = browser.new_context(
            **{"viewport": {"width": width, "height": 900}, "locale": LANGUAGES[lang], **options}
        )
        page = context.new_page()
        page.set_default_timeout(15_000)
        opened.append(LabPage(page, host))
        return opened[-1].open(lab, settings)

    yield open_page
    for each in opened:
        each.watched.assert_quiet()
        each.page.context.close()
