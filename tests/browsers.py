"""A real browser, for tests of any page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium where it is installed, else the one that `playwright install chromium` fetches."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=BROWSER_ARGUMENTS)
        yield launched
        launched.close()


class Watched:
    """What a page says and whom it asks, from before it is opened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def assert_quiet(self, *, but: str = "") -> None:
        """Fail where it said anything, but for what has the words `but` in it, or asked anybody but this machine."""
        assert [text for text in self.messages if not (but and but in text)] == []
        own = ("http://127.0.0.1:", "blob:", "data:")
        assert [each for each in self.requests if not each.startswith(own)] == []
