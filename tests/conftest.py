"""Shared by all tests: real images in folders, small recipes, and a way to run the command line as a user does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from PIL import Image

from browsers import browser  # noqa: F401
from processes import CommandLine, Server, handler
from several_labels import outfits  # noqa: F401

# No deadline: these machines are shared, and a slow example says nothing. Fewer examples: CI runs often.
hypothesis.settings.register_profile("twofold", deadline=None, max_examples=30, print_blob=True)
# `make fuzz`: tests of hostile files, ten thousand cases, and as many of files of boxes.
hypothesis.settings.register_profile("long", deadline=None, max_examples=2500, print_blob=True)
hypothesis.settings.load_profile("twofold")

# A shell that runs the tests in the background has children ignore Ctrl-C; those that the tests start must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

CLASSES = ("bag", "boot", "shirt")
_LABEL_OF_CLASS = {"bag": 8, "boot": 9, "shirt": 6}


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests out of the user's cache, for this process and the ones it starts."""
    os.environ["TWOFOLD_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real pictures: three classes of Fashion-MNIST, 40 PNG files each."""
    from twofold.data import load_data

    folder = tmp_path_factory.mktemp("images") / "clothes"
    test = load_data("fashion-mini", val_fraction=0.0, show_progress=False).test
    assert test is not None
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for index in (test.targets.labels == _LABEL_OF_CLASS[name]).nonzero().flatten()[:40]:
            picture = Image.fromarray(test.load(index[None])[0, 0].numpy())
            picture.save(folder / name / f"{int(index):05d}.png")
    return folder


@pytest.fixture(scope="session")
def twofold_command() -> CommandLine:
    """The command line in a real process."""
    return CommandLine()


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line in this process, expect one clear line and an exit code, and return the line."""
    from twofold.cli.main import main

    def run(arguments: Sequence[str | Path], *, code: int = 2) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        return lines[0]

    return run


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose replies the test sets."""
    state = Server("", {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    http.daemon_threads = True
    state.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.released.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(scope="module")
def data_decompressed_once() -> Iterator[None]:
    """The embedded images are the same for every test: unpack them once."""
    from twofold.study import claims, curvature

    with pytest.MonkeyPatch.context() as patch:
        for module in (claims, curvature):
            load = module.load_recipe_data
            loaded: dict[str, Any] = {}
            patch.setattr(
                module,
                "load_recipe_data",
                lambda recipe, options, load=load, loaded=loaded, **more: (
                    loaded[key]
                    if (key := f"{recipe.data} {recipe.val_fraction} {recipe.seed}") in loaded
                    else loaded.setdefault(key, load(recipe, options, **more))
                ),
            )
        yield
