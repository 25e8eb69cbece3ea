"""The pages of a server in a real browser: what they show is what the server answers, and nothing leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asking, photo
from playwright.sync_api import Browser, Page, expect

from browsers import Watched
from twofold.serving.server import RunningServer


@pytest.fixture
def visit(browser: Browser, running: RunningServer) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page of the server; at the end it was quiet and asked nobody else."""
    pages: list[Watched] = []

    def open_page(path: str = "/", *, url: str = running.url, width: int = 1000, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **{"locale": "en-GB", **options})
        page = context.new_page()
        pages.append(Watched(page))
        page.goto(url + path)
        return page

    yield open_page
    for watched in pages:
        watched.page.context.close()
        # A refused image is an answer of the server, which Chromium notes by itself.
        watched.assert_quiet(but="the server responded with a status of 4")


def upload(page: Page, content: bytes, name: str = "photo.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})


def drop(page: Page, content: bytes) -> None:
    """Drop a file as the pointer does."""
    page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type: "image/png"}));
            document.getElementById("drop").dispatchEvent(
                new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        list(content),
    )


def test_classes_of_an_image(visit: Callable[..., Page], ask: Asking) -> None:
    page = visit()
    expect(page.locator("#about")).to_contain_text("lenet-bn, 3 classes, 28 × 28 px")
    for place, content in enumerate((photo(3), photo(4))):
        (upload if place else drop)(page, content)
        wanted = ask.predict(content).json["results"][0]["predictions"]
        rows = page.locator("#answers li")
        expect(rows).to_have_count(len(wanted))
        for row, each in zip(range(len(wanted)), wanted, strict=True):
            expect(rows.nth(row).locator(".name")).to_have_text(each["class"])
            expect(rows.nth(row)).to_contain_text(f"{100 * each['probability']:.1f} %")
    assert page.locator("#canvas").get_attribute("aria-label") or page.evaluate(
        "document.querySelector('#canvas').ariaLabel"
    )
    expect(page.locator("#command")).to_contain_text("--data-binary @photo.png")
    upload(page, b"no image")
    expect(page.locator("#error")).to_contain_text("not an image that can be read")
    expect(page.locator("#shown")).to_be_hidden()


def test_boxes_are_drawn_where_they_are(visit: Callable[..., Page], ask: Asking) -> None:
    page = visit()
    page.select_option("#network", "boxes")
    content = photo(5, size=(120, 80))
    upload(page, content)
    wanted = ask.predict(content, "?model=boxes").json["results"][0]["objects"]
    expect(page.locator("#answers li")).to_have_count(max(1, len(wanted)))
    expect(page.locator("#command")).to_contain_text("?model=boxes")
    assert page.evaluate("[document.querySelector('#canvas').width, document.querySelector('#canvas').height]") == [
        120,
        80,
    ]


def test_in_chinese_and_back(visit: Callable[..., Page]) -> None:
    page = visit(locale="zh-CN")
    expect(page.locator("h1")).to_have_text("图中有什么？")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    upload(page, photo())
    expect(page.locator("#took")).to_contain_text("毫秒")
    page.click("#language")
    expect(page.locator("h1")).to_have_text("What is in the image?")
    expect(page.locator("#took")).to_contain_text("ms from the image to the answer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(visit: Callable[..., Page], scheme: str) -> None:
    page = visit(width=390, color_scheme=scheme)
    upload(page, photo(size=(400, 300)))
    expect(page.locator("#answers li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_the_token_comes_with_the_address_and_leaves_it(
    visit: Callable[..., Page], start: Callable[..., RunningServer]
) -> None:
    server = start(token="secret")
    page = visit("/#token=secret", url=server.url)
    expect(page.locator("#about")).to_contain_text("lenet-bn")
    assert page.evaluate("location.href") == f"{server.url}/"
    upload(page, photo())
    expect(page.locator("#answers li")).to_have_count(3)
    expect(page.locator("#command")).to_contain_text("$TWOFOLD_TOKEN")
    assert "secret" not in page.content()
    page.reload()
    expect(page.locator("#about")).to_contain_text("lenet-bn")
    other = visit(url=server.url)
    expect(other.locator("#error")).to_contain_text("needs its token")


def test_the_page_of_the_api_says_what_openapi_does(visit: Callable[..., Page], ask: Asking) -> None:
    page = visit("/docs", width=390)
    described = ask("GET", "/openapi.json").json
    expect(page.locator("section")).to_have_count(sum(len(methods) for methods in described["paths"].values()))
    expect(page.locator("#operations")).to_contain_text("POST /v1/predict")
    for status in described["paths"]["/v1/predict"]["post"]["responses"]:
        expect(page.locator("section", has_text="POST /v1/predict")).to_contain_text(status)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_a_page_from_elsewhere_cannot_ask(browser: Browser, running: RunningServer, tmp_path: Path) -> None:
    """A form of another page reaches the server, and is refused by its Origin; its answer cannot be read anyway."""
    (tmp_path / "evil.html").write_text("<p>evil</p>")
    context = browser.new_context()
    page = context.new_page()
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))
    page.goto((tmp_path / "evil.html").as_uri())
    failed = page.evaluate(
        "url => fetch(url, {method: 'POST', mode: 'no-cors', body: 'x'}).then(a => a.type, e => 'failed')",
        f"{running.url}/v1/predict",
    )
    context.close()
    assert failed == "opaque", "the page cannot read the answer"
    assert statuses[-1:] == [403]
