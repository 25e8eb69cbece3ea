"""The labs as widgets, in notebooks that are really started: JupyterLab and marimo."""

import contextlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Error, Page

from browsers import Watched
from processes import free_port
from twofold import labs
from twofold.labs.lab import Lab
from twofold.labs.table import LABS, class_name

NAMES = [class_name(name) for name in LABS]


@contextlib.contextmanager
def running(*words: str, says: str, folder: Path):
    """Run a notebook's server until it has said that it is up."""
    with subprocess.Popen(
        [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
    ) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if re.search(says, line):
                    break
            else:
                pytest.fail("".join(lines))
            yield
        finally:
            process.terminate()
            process.stdout.close()


def goto_when_it_listens(page: Page, address: str, seconds: float = 30) -> None:
    """Open a page of a server that says its address before it listens there."""
    end = time.monotonic() + seconds
    while True:
        try:
            page.goto(address)
            return
        except Error as error:
            if "ERR_CONNECTION_REFUSED" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.1)


def all_answered(page, *, within: int) -> list[str]:
    """Wait until each lab on the page has shown something; return what any said went wrong."""
    script = """() => {
      const inside = (each) => [each, ...(each.shadowRoot?.querySelectorAll("*") ?? [])];
      const found = [...document.querySelectorAll("*")].flatMap(inside);
      return found.filter((each) => each.matches(".lab[data-answered]")).map((each) => each.dataset.lab);
    }"""
    seen: set[str] = set()
    page.mouse.move(700, 600)
    for _ in range(within):
        for scroll in page.query_selector_all(".jp-WindowedPanel-outer, #App, [data-testid=scroll]"):
            scroll.evaluate("(each) => each.scrollBy(0, 500)")
        page.mouse.wheel(0, 500)
        seen |= set(page.evaluate(script))
        if len(seen) == len(NAMES):
            return []
        page.wait_for_timeout(1000)
    return sorted(set(LABS) - seen)


def test_a_widget_says_what_is_set_and_answers(tmp_path: Path):
    widget = labs.Convolution("tests/pictures/boot.png", stride=2, lang="zh")
    assert widget.settings == {"image": "boot.png", "stride": [2, 2]}
    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    widget._handle_custom_msg({"kind": "show", "number": 1, "settings": widget.settings}, [])
    content, buffers = sent[-1]
    assert content["shown"]["output"]["shape"] == [1, 13, 13]
    place = content["shown"]["output"]["$array"]
    assert np.frombuffer(buffers[place], np.float32).size == 169
    assert isinstance(widget.session.lab, Lab)
    widget.close()
    with pytest.raises(ValueError, match="stride.0"):
        labs.Convolution(stride=0)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = labs.Nothing


def test_in_jupyterlab_each_lab_shows_itself(browser: Browser, tmp_path: Path):
    cells = ["from twofold import labs", *(f"labs.{name}()" for name in NAMES)]
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell{n}",
                "source": each,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for n, each in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "labs.ipynb").write_text(json.dumps(notebook))
    port = free_port()
    words = ["jupyterlab", "--no-browser", f"--port={port}", "--IdentityProvider.token=t", "--allow-root"]
    with running(*words, says="is running at", folder=tmp_path):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        watched = Watched(page)
        page.goto(f"http://127.0.0.1:{port}/lab/tree/labs.ipynb?token=t&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        missing = all_answered(page, within=90)
        page.screenshot(path=str(tmp_path / "jupyterlab.png"))
        assert missing == []
        assert [each for each in watched.messages if "twofold" in each.lower() or "lab-" in each] == []
        page.close()


def test_in_marimo_each_lab_shows_itself(browser: Browser, tmp_path: Path):
    shown = "\n".join(f"@app.cell\ndef _(labs):\n    labs.{name}()\n    return\n" for name in NAMES)
    first = "@app.cell\ndef _():\n    from twofold import labs\n    return (labs,)\n"
    (tmp_path / "labs.py").write_text(f"import marimo\napp = marimo.App()\n\n{first}\n{shown}")
    port = free_port()
    words = ["marimo", "run", "labs.py", "--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    with running(*words, says="http://", folder=tmp_path):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        goto_when_it_listens(page, f"http://127.0.0.1:{port}/")
        missing = all_answered(page, within=90)
        page.screenshot(path=str(tmp_path / "marimo.png"))
        assert missing == []
        page.close()
