"""The exported page in a real browser: pixels and answers of Python, maps of every stage, nothing from elsewhere."""

from __future__ import annotations

import functools
import io
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import twofold
from browsers import Watched
from twofold.data.decode import open_image
from twofold.data.pixels import to_pixels
from twofold.data.spec import PixelSpec
from twofold.engine.options import Options
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.interpret.stages import stage_maps

QUIET = Options(show=False)
VERSION = "1.30.0"


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package onnxruntime-web, unpacked."""
    folder = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        pytest.skip("npm, which brings onnxruntime-web, is not installed")
    packed = subprocess.run(
        ["npm", "pack", f"onnxruntime-web@{VERSION}"], cwd=folder, capture_output=True, text=True, check=False
    )
    if packed.returncode:
        pytest.skip("onnxruntime-web cannot be had from npm here")
    subprocess.run(["tar", "xzf", packed.stdout.split()[-1]], cwd=folder, check=True)
    return folder / "package"


@pytest.fixture(scope="module")
def classifier(run: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twofold.export(run, tmp_path_factory.mktemp("web") / "c", to="web", runtime=runtime, options=QUIET).path


class Quiet(SimpleHTTPRequestHandler):
    # A server that knows few types: not .mjs, and not .wasm.
    extensions_map: ClassVar[dict[str, str]] = {
        "": "application/octet-stream",
        ".html": "text/html",
        ".js": "text/javascript",
        ".css": "text/css",
    }

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that serves a folder and opens it; at the end the page was quiet and asked nobody else."""
    opened: list[tuple[Any, Watched]] = []

    def open_page(folder: Path, *, width: int = 1000, **options: Any) -> Page:
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(viewport={"width": width, "height": 900}, **{"locale": "en-GB", **options})
        page = context.new_page()
        opened.append((server, Watched(page)))
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        page.evaluate("twofold.ready")
        return page

    yield open_page
    for server, watched in opened:
        watched.page.context.close()
        server.shutdown()
        server.server_close()
        watched.assert_quiet(but="404")


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def upload(page: Page, content: bytes) -> None:
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": content})


def test_pixels_are_those_of_python_bit_by_bit(classifier: Path, visit: Callable[..., Page]) -> None:
    page = visit(classifier)
    dice = np.random.default_rng(0)
    num_tried = 0
    for height, width in [
        (28, 28),
        (29, 28),
        (30, 61),
        (100, 37),
        (7, 9),
        (1, 50),
        (1, 1),
        (27, 55),
        (56, 56),
        (113, 300),
        (300, 113),
        (61, 27),
    ]:
        for is_grey in (True, False):
            values = dice.integers(0, 256, (height, width) if is_grey else (height, width, 3), dtype=np.uint8)
            content = png(values)
            specs = [
                {"channels": channels, "image_size": size, "resize": resize, "convert_colour": True}
                for channels in (1, 3)
                for size in ([28, 28], [20, 33])
                for resize in ("crop", "stretch", "pad")
            ]
            found = page.evaluate(
                """async ([bytes, specs]) => {
                    const image = await twofold.decode(new Blob([new Uint8Array(bytes)]));
                    return specs.map((spec) => [...twofold.toPixels(image, spec)]);
                }""",
                [list(content), specs],
            )
            for spec, got in zip(specs, found, strict=True):
                wanted = to_pixels(Image.fromarray(values), PixelSpec(**spec))  # type: ignore[arg-type]
                apart = int(np.abs(np.array(got) - wanted.reshape(-1).astype(int)).max())
                # Before Pillow 13 it went along rows first for all shapes, which makes a difference of 1 for some.
                assert apart <= (PIL.__version__ < "13"), (height, width, is_grey, spec)
                num_tried += 1
    assert num_tried == 288


def test_turned_and_transparent_images(classifier: Path, visit: Callable[..., Page], tmp_path: Path) -> None:
    """Upright as the camera's note says; on white, where the browser may round another way."""
    page = visit(classifier)
    values = np.random.default_rng(1).integers(0, 256, (40, 28, 4), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "clear.png")
    turned = Image.new("RGB", (40, 24), (250, 250, 250))
    turned.paste((10, 10, 10), (0, 0, 20, 24))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", quality=95, exif=exif)
    for name, most in {"clear.png": 1, "turned.jpg": 3}.items():
        image = open_image(tmp_path / name)
        found = page.evaluate(
            """async (bytes) => {
                const image = await twofold.decode(new Blob([new Uint8Array(bytes)]));
                return [image.width, image.height, ...image.bands.map((band) => [...band])];
            }""",
            list((tmp_path / name).read_bytes()),
        )
        assert tuple(found[:2]) == image.size
        wanted = np.asarray(image).reshape(-1, 3).T.astype(int)
        assert np.abs(np.array(found[2:]) - wanted).max() <= most, name


def test_a_classifier_answers_as_in_python_and_shows_its_maps(
    classifier: Path, run: Path, boot: Path, visit: Callable[..., Page]
) -> None:
    page = visit(classifier)
    expect(page.locator("#about")).to_contain_text("lenet-bn, 3 classes, 28 × 28 px")
    upload(page, boot.read_bytes())
    predictor = twofold.load(run)
    wanted = predictor.predict(boot).ranked
    rows = page.locator("#answers li")
    expect(rows).to_have_count(3)
    for place, (name, probability) in enumerate(wanted):
        expect(rows.nth(place).locator(".name")).to_have_text(name)
        expect(rows.nth(place)).to_contain_text(f"{100 * probability:.1f} %")
    found = page.evaluate(
        """async (bytes) => {
            const found = await twofold.compute(await twofold.decode(new Blob([new Uint8Array(bytes)])));
            return Object.fromEntries(Object.entries(found).map(([name, own]) => [name, [own.dims, [...own.data]]]));
        }""",
        list(boot.read_bytes()),
    )
    probabilities = dict(zip(predictor.class_names, found["probabilities"][1], strict=True))
    assert probabilities == pytest.approx(dict(wanted), abs=1e-4)
    maps = stage_maps(predictor, predictor.pixels(boot))  # type: ignore[arg-type, attr-defined]
    assert {name.removeprefix("maps/") for name in found if name.startswith("maps/")} == set(maps)
    for name, values in maps.items():
        dims, data = found[f"maps/{name}"]
        assert dims == [1, *values.shape]
        np.testing.assert_allclose(np.array(data).reshape(values.shape), values, atol=1e-4)
        row = page.locator(f'[data-stage="{name}"]')
        sizes = row.locator("canvas").evaluate_all("all => all.map((each) => [each.height, each.width])")
        assert sizes == [list(values.shape[1:])] * min(32, len(values))
        expect(row.locator("h3")).to_contain_text(f"{name}: {' × '.join(map(str, values.shape))}")


def test_a_detector_finds_the_boxes_of_python(
    detector_run: Path, scenes: Path, runtime: Path, tmp_path: Path, visit: Callable[..., Page]
) -> None:
    folder = twofold.export(detector_run, tmp_path / "d", to="web", runtime=runtime, options=QUIET).path
    page = visit(folder)
    for scene in sorted(scenes.iterdir())[:2]:
        loaded = OnnxPredictor.load(folder / "model.onnx")
        wanted = loaded.predict(scene)
        found = page.evaluate(
            """async (bytes) => {
                const found = await twofold.compute(await twofold.decode(new Blob([new Uint8Array(bytes)])));
                return [[...found.scores.data], [...found.boxes.data], [...found.labels.data].map(Number)];
            }""",
            list(scene.read_bytes()),
        )
        assert wanted.found  # type: ignore[attr-defined]
        assert found[0] == pytest.approx([score for _, score, _ in wanted.found], abs=1e-4)  # type: ignore[attr-defined]
        boxes = [side for _, _, box in wanted.found for side in box]  # type: ignore[attr-defined]
        assert found[1] == pytest.approx(boxes, abs=0.05)
        upload(page, scene.read_bytes())
        expect(page.locator("#answers li")).to_have_count(max(1, len(wanted.objects)))  # type: ignore[attr-defined]


def test_drawing_predicts_while_one_draws(classifier: Path, visit: Callable[..., Page]) -> None:
    page = visit(classifier)
    page.click("#draw")
    box = page.locator("#ink").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 80, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 200, steps=10)
    expect(page.locator("#answers li")).to_have_count(3)
    before = page.locator("#answers").inner_text()
    page.mouse.move(box["x"] + 220, box["y"] + 220, steps=10)
    page.mouse.up()
    expect(page.locator("#answers")).not_to_have_text(before)
    expect(page.locator("#canvas")).to_be_hidden()
    page.click("#clear")
    expect(page.locator("#shown")).to_be_hidden()
    expect(page.locator("#maps")).to_be_hidden()
    page.mouse.move(box["x"] + 80, box["y"] + 60)
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#answers li")).to_have_count(3)
    page.click("#invert")
    assert page.evaluate("[...ink.getContext('2d').getImageData(5, 5, 1, 1).data]") == [255, 255, 255, 255]
    upload(page, png(np.zeros((28, 28), dtype=np.uint8)))
    expect(page.locator("#canvas")).to_be_visible()
    expect(page.locator("#pad")).to_be_hidden()


def test_in_chinese_on_a_phone_in_the_dark(classifier: Path, boot: Path, visit: Callable[..., Page]) -> None:
    page = visit(classifier, width=390, locale="zh-CN", color_scheme="dark")
    upload(page, boot.read_bytes())
    expect(page.locator("h1")).to_have_text("图中有什么？")
    expect(page.locator("#took")).to_contain_text("毫秒")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_colour_and_broken_images(classifier: Path, visit: Callable[..., Page]) -> None:
    page = visit(classifier)
    upload(page, png(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    expect(page.locator("#remark")).to_contain_text("turned to grey")
    upload(page, b"no image")
    expect(page.locator("#error")).to_contain_text("cannot read this image")
    expect(page.locator("#shown")).to_be_hidden()


def test_the_newest_image_is_computed_even_if_the_one_before_is_broken(
    classifier: Path, visit: Callable[..., Page]
) -> None:
    page = visit(classifier)
    page.evaluate(
        """(good) => {
          const input = document.getElementById("file");
          for (const content of [[1, 2, 3], good]) {
            const held = new DataTransfer();
            held.items.add(new File([new Uint8Array(content)], "photo.png", { type: "image/png" }));
            input.files = held.files;
            input.dispatchEvent(new Event("change", { bubbles: true }));
          }
        }""",
        [*png(np.zeros((28, 28), dtype=np.uint8))],
    )
    expect(page.locator("#answers li")).to_have_count(3)
    expect(page.locator("#error")).to_have_text("")


def test_without_the_runtime_page_and_command_say_what_to_do(
    run: Path, tmp_path: Path, visit: Callable[..., Page], capsys: pytest.CaptureFixture[str], runtime: Path
) -> None:
    done = twofold.export(run, tmp_path / "w", to="web")
    assert "onnxruntime-web is not in it" in capsys.readouterr().err
    assert "npm pack onnxruntime-web" in (done.path / "README.md").read_text()
    page = visit(done.path)
    expect(page.locator("#error")).to_contain_text("onnxruntime-web is not in the folder runtime")
    # As the README says: the three files into the folder.
    for line in (done.path / "README.md").read_text().splitlines():
        if line.startswith("    cp package/"):
            _, source, copy = line.split()
            shutil.copy(runtime.parent / source, done.path / copy)
    # Written anew, the page keeps them.
    assert twofold.export(run, done.path, to="web", options=QUIET).remarks == ()
    page = visit(done.path)
    expect(page.locator("#error")).to_have_text("")
    upload(page, png(np.zeros((28, 28), dtype=np.uint8)))
    expect(page.locator("#answers li")).to_have_count(3)


def test_opened_as_a_file_it_asks_for_a_server(classifier: Path, browser: Browser, visit: Callable[..., Page]) -> None:
    page = browser.new_page()
    page.goto((classifier / "index.html").as_uri())
    expect(page.locator("#unserved")).to_be_visible()
    page.close()
    expect(visit(classifier).locator("#unserved")).to_be_hidden()


def test_a_runtime_that_is_none_is_refused(run: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    words = ["export", str(run), "--out", str(tmp_path / "w"), "--to", "web", "--runtime"]
    assert "is no npm package onnxruntime-web" in fails([*words, str(tmp_path)])
    (tmp_path / "package.json").write_text(json.dumps({"name": "onnxruntime-web"}))
    assert "lacks ort.wasm.min.mjs" in fails([*words, str(tmp_path)])
    assert "--runtime" in fails(["export", str(run), "--runtime", str(tmp_path)])
    assert not (tmp_path / "w").exists()
