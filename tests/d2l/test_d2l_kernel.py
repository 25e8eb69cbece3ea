"""Figures where they are seen: in the cells of a real Jupyter kernel, and in the files of a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

START = "%matplotlib inline\nimport torch\nfrom torch import nn\nfrom twofold import d2l"
ZIGZAG = """
animator = d2l.Animator(xlabel='epoch', xlim=[0, 4], legend=['train loss'])
for step in range(400):
    animator.add(step / 100, (-1) ** (step // 10))
"""
FIT = """
torch.manual_seed(0)
data = d2l.SyntheticRegressionData(w=torch.tensor([2.0, -3.4]), b=4.2, num_train=640, num_val=64)
model = d2l.LinearRegressionScratch(2, lr=0.03)
trainer = d2l.Trainer(max_epochs=30)
trainer.fit(model, data)
"""
TRAIN = """
X, y = torch.randn(64, 1, 28, 28), torch.arange(64) % 10
loader = d2l.load_array((X, y), 8)
net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
d2l.train_ch6(net, loader, loader, 3, 0.1, d2l.try_gpu())
"""
# A cell, and how many figures it shows.
CELLS = {
    "a curve": ("d2l.plot(torch.arange(3.0), [torch.ones(3), torch.arange(3.0)], 'x', 'y', legend=['a', 'b'])", 1),
    "a trace": ("d2l.show_trace_2d(lambda a, b: a**2 + b**2, [(-5, -2), (-3, 1)])", 1),
    "images": ("d2l.show_images(torch.rand(4, 8, 8), 1, 4, titles=list('abcd'));", 1),
    "boxes": (
        "axes = d2l.plt.imshow(torch.rand(9, 9)).axes\nd2l.show_bboxes(axes, torch.tensor([[1, 1, 4, 5.0]]), 'dog')",
        1,
    ),
    "a growing curve": (ZIGZAG, 1),
    "the same curve, longer": ("animator.add(4, 0)\nanimator.add(4.5, 1)", 1),
    "nothing drawn": ("1 + 1", 0),
    "no point yet": ("empty = d2l.Animator()", 0),
    "the loop of the first edition": (FIT, 1),
    "the loop again, as it was": ("trainer.fit(model, data)", 1),
    "a board without figures": ("model.board.display = False\ntrainer.fit(model, data)", 0),
    "two loops in a cell": (FIT + FIT, 2),
    "the loop of a chapter": (TRAIN, 1),
    "an error in the middle": ("broken = d2l.Animator()\nbroken.add(1, 2)\nbroken.add(2, 1)\n1 / 0", 1),
    "after an error": ("2 + 2", 0),
    "the older edition": (
        "d2l.edition('zh')\nd2l.semilogy([1, 2], [3.0, 4.0], 'x', 'y')\n"
        "def rule(params, states, hyperparams):\n    for each in params:\n        each.data -= 0.1 * each.grad\n"
        "d2l.train_ch7(rule, None, {}, X[:, 0, 0, :5], X[:, 0, 0, 5])",
        1,
    ),
}


class Counting(NotebookClient):
    """Runs a notebook as Jupyter does, and counts the messages of each cell by kind."""

    def __init__(self, notebook: Any, **options: Any) -> None:
        super().__init__(notebook, **options)
        self.messages: dict[int, Counter[str]] = defaultdict(Counter)

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        self.messages[cell_index][msg["msg_type"]] += 1
        return super().process_message(msg, cell, cell_index)


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> dict[str, Any]:
    """All cells, run in one kernel: by name, the outputs, the messages and the seconds of each."""
    cells = [nbformat.v4.new_code_cell(START), *(nbformat.v4.new_code_cell(code) for code, _ in CELLS.values())]
    folder = tmp_path_factory.mktemp("notebook")
    client = Counting(
        nbformat.v4.new_notebook(cells=cells),
        timeout=300,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    started, seconds = {}, {}
    client.on_cell_execute = lambda cell, cell_index: started.__setitem__(cell_index, time.monotonic())
    client.on_cell_executed = lambda cell, cell_index, execute_reply: seconds.__setitem__(
        cell_index, time.monotonic() - started[cell_index]
    )
    client.execute()
    assert not cells[0].outputs, cells[0].outputs
    assert not list(folder.iterdir())
    return {
        name: {"outputs": cells[index].outputs, "messages": client.messages[index], "seconds": seconds[index]}
        for index, name in enumerate(CELLS, 1)
    }


def pictured(outputs: list[Any]) -> list[str]:
    """Return the figures among outputs, as SVG or as PNG in base64."""
    data = [each["data"] for each in outputs if "data" in each]
    return [
        each.get("image/svg+xml") or each["image/png"] for each in data if any(k.startswith("image/") for k in each)
    ]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_shows_each_of_its_figures_once(ran, name):
    outputs = ran[name]["outputs"]
    assert len(pictured(outputs)) == CELLS[name][1], [each["output_type"] for each in outputs]
    assert [each["ename"] for each in outputs if each["output_type"] == "error"] == (
        ["ZeroDivisionError"] if name == "an error in the middle" else []
    )
    assert not [each for each in outputs if each["output_type"] == "stream" and each["name"] == "stderr"], outputs


@pytest.mark.parametrize("name", CELLS)
def test_a_figure_that_grows_is_not_sent_at_each_step(ran, name):
    """At most three times a second, and once more at the end: these loops add up to 400 points."""
    messages, seconds = ran[name]["messages"], ran[name]["seconds"]
    sent = messages["update_display_data"] + messages["display_data"]
    assert sent <= CELLS[name][1] * (2 + seconds / 0.33), messages
    assert messages["clear_output"] == 0


def test_what_is_left_in_the_cell_is_the_whole_curve(ran):
    [figure] = pictured(ran["a growing curve"]["outputs"])
    steps = max(len(re.findall(r"L ", path)) for path in re.findall(r'<path d="([^"]*)"', figure))
    assert steps >= 70  # 40 flat parts, each with two ends
    [longer] = pictured(ran["the same curve, longer"]["outputs"])
    assert longer != figure
    for label in ("epoch", "train loss"):
        assert label in figure


def test_a_chapters_lines_stay_text(ran):
    lines = [each["text"] for each in ran["the loop of a chapter"]["outputs"] if each["output_type"] == "stream"]
    assert re.fullmatch(
        r"training on \S+\nloss [\d.]+, train acc [\d.]+, test acc [\d.]+\n[\d.]+ examples/sec on \S+\n", "".join(lines)
    )
    assert not [each for each in ran["the loop of the first edition"]["outputs"] if each["output_type"] == "stream"]


# Scripts


def run_script(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = folder / "chapter.py"
    path.write_text("import torch\nfrom torch import nn\nfrom twofold import d2l\n" + code)
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    }
    ran = subprocess.run(
        [sys.executable, "-W", "error", path.name],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@pytest.mark.parametrize("environment", [{"MPLBACKEND": "Agg"}, {}], ids=["Agg", "no backend named"])
def test_a_script_prints_lines_and_writes_its_figures_when_it_ends(tmp_path, environment):
    code = (
        f"{ZIGZAG}{FIT}{TRAIN}d2l.show_images(torch.rand(4, 8, 8), 1, 4)\nd2l.plot(torch.arange(3.0), torch.ones(3))\n"
    )
    ran = run_script(tmp_path, code, **environment)
    assert re.fullmatch(r"training on \S+\nloss .*\n[\d.]+ examples/sec on \S+\n", ran.stdout)
    lines = ran.stderr.splitlines()
    assert lines[-1] == "figures: d2l-figures/chapter-1.png to chapter-5.png"
    assert len(list((tmp_path / "d2l-figures").iterdir())) == 5
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in (tmp_path / "d2l-figures").iterdir())
    epochs = [line for line in lines if re.match(r"epoch \d+  train_loss [\d.]+  val_loss [\d.]+$", line)]
    assert len(epochs) == 30
    assert len(lines) <= 45  # a line an epoch, whatever grows
    assert "\x1b" not in ran.stderr + ran.stdout


def test_a_script_writes_figures_where_it_says_or_nowhere(tmp_path):
    ran = run_script(tmp_path, "d2l.figures('drawn')\nd2l.plot([1.0, 2.0])\n", MPLBACKEND="Agg")
    assert [file.name for file in (tmp_path / "drawn").iterdir()] == ["chapter-1.png"]
    assert ran.stderr == "figures: drawn/chapter-1.png\n"
    quiet = "d2l.figures(None)\nd2l.plot([1.0, 2.0])\nprint(d2l.corr2d(torch.ones(2, 2), torch.ones(1, 2)).tolist())\n"
    ran = run_script(tmp_path, quiet, MPLBACKEND="Agg")
    assert (ran.stdout, ran.stderr) == ("[[2.0], [2.0]]\n", "")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["chapter.py", "drawn"]


def test_figures_that_cannot_be_written_cost_a_line_and_no_more(tmp_path):
    ran = run_script(tmp_path, "d2l.figures('chapter.py/x')\nd2l.plot([1.0, 2.0])\nprint('done')\n", MPLBACKEND="Agg")
    assert ran.stdout == "done\n"
    (line,) = ran.stderr.splitlines()
    assert line.startswith("cannot write figures into chapter.py/x: ")
