"""The public face: what an editor, `dir` and `help` show is what there is, and values show themselves briefly."""

from __future__ import annotations

import inspect
import json
import math
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import twofold
from twofold.engine.options import Options
from twofold.lazy import lazy_names
from twofold.study.lr_find import range_test
from twofold.study.race_run import Race

BOOT = Path(__file__).parent / "pictures" / "boot.png"
FUNCTIONS = ("train", "finetune", "resume", "load", "evaluate", "draw", "explain", "export", "race", "lr_find")
VALUES = ("Recipe", "Options", "Run", "RaceSettings", "Predictor", "Prediction", "Exported")
ERRORS = ("TwofoldError", "RunError")
PUBLIC = (*FUNCTIONS, *VALUES, *ERRORS)


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    assert set(dir(twofold)) == set(PUBLIC)


def test_help_lists_them() -> None:
    text = pydoc.plain(pydoc.render_doc(twofold))
    assert {*FUNCTIONS, "Recipe", "Predictor"} <= set(re.findall(r"^    (?:class )?(\w+)\(", text, re.MULTILINE))


def test_help_of_the_recipe_explains_each_setting_and_has_nothing_of_pydantic() -> None:
    page = pydoc.plain(pydoc.render_doc(twofold.Recipe))
    assert "pydantic" not in page.replace("pydantic.main.BaseModel", "").lower()
    assert "ValidationError" not in page
    assert len(page.splitlines()) < 200
    assert max(map(len, page.splitlines())) <= 120
    assert str(inspect.signature(twofold.Recipe)) == "(**settings)"
    assert re.findall(r"^ \|  (\w+):$", page, re.MULTILINE) == ["data", "model", "loss", "optimiser", "training"]
    flat = " ".join(page.replace("|", " ").split())
    for name, field in twofold.Recipe.model_fields.items():
        text = " ".join((field.description or "").replace("`", "").split())
        assert text, name
        assert f"{name} {text}" in flat, name
    for words in (
        "model a network: see twofold models (default: 'lenet-bn')",
        "lr peak learning rate (default: depends on the optimizer)",
        "momentum momentum, for sgd (default: 0.9)",
        "resize how an image is brought to that size: crop, stretch or pad (default: 'crop')",
    ):
        assert words in flat
    assert {"override", "load", "to_json"} <= set(dir(twofold.Recipe))
    assert "model_dump" not in dir(twofold.Recipe)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_what_it_is_called_and_says_what_it_is_for(name: str) -> None:
    value = getattr(twofold, name)
    assert value.__name__ == name
    assert not inspect.ismodule(value)
    assert value.__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_name_their_arguments_and_the_docstring_explains_each(name: str) -> None:
    function = getattr(twofold, name)
    parameters = list(inspect.signature(function).parameters)
    assert len(parameters) >= 2
    if len(parameters) > 2:
        for parameter in parameters:
            assert f"{parameter}:" in function.__doc__, parameter


def test_a_name_stays_what_it_is_whatever_is_imported() -> None:
    """Importing a sub-package binds its name in the package, so no sub-package may be called like a function."""
    code = (
        "import pkgutil, importlib, twofold\n"
        "for info in pkgutil.walk_packages(twofold.__path__, 'twofold.'):\n"
        "    importlib.import_module(info.name)\n"
        f"bad = [name for name in {PUBLIC!r} if getattr(twofold, name).__name__ != name]\n"
        "assert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, twofold; dir(twofold); twofold.Recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> twofold.Run:
    recipe = twofold.Recipe(model="lenet-bn", data=str(image_folder), epochs=1, image_size=28, device="cpu")
    return twofold.train(recipe, out=tmp_path_factory.mktemp("runs"), name="<b>", options=Options(show=False))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: twofold.train("lenet-bn"), "train takes a Recipe: twofold.train(twofold.Recipe(model='lenet-bn'))"),
        (lambda: twofold.train(model="lenet", epochs=2), "twofold.train(twofold.Recipe(model='lenet', epochs=2))"),
        (twofold.train, "train takes a Recipe: twofold.train(twofold.Recipe(model='lenet-bn'))"),
        (lambda: twofold.train({"model": "lenet"}), "train takes a Recipe, got {'model': 'lenet'}: twofold.train("),
        (lambda: twofold.train(twofold.Recipe(), epochs=2), "twofold.train(recipe.override(epochs=2))"),
        (lambda: twofold.lr_find("lenet"), "twofold.lr_find(twofold.Recipe(model='lenet'))"),
        (lambda: twofold.race("lenet"), "race takes RaceSettings: twofold.race(twofold.RaceSettings(model='lenet'))"),
        (lambda: twofold.Recipe("lenet-bn"), "a Recipe takes its settings by name: Recipe(model='lenet-bn')"),
        (lambda: twofold.Recipe("photos"), "a Recipe takes its settings by name: Recipe(model='lenet-bn')"),
        (lambda: twofold.load(twofold.Recipe()), "load takes a run, or the path of its folder, got Recipe"),
        (lambda: twofold.evaluate(3), "evaluate takes a run, or the path of its folder, got int"),
        (lambda: twofold.resume(None), "resume takes a run"),
        (lambda: twofold.explain(b"run", BOOT), "explain takes a run"),
        (lambda: twofold.finetune(twofold.Recipe(), data="photos"), "finetune takes a run"),
        (lambda: twofold.explain(BOOT, "runs/r"), "boot.png is an image"),
    ],
)
def test_a_wrong_call_is_answered_with_the_right_one(call: Callable[[], object], words: str) -> None:
    with pytest.raises(twofold.TwofoldError) as caught:
        call()
    assert words in str(caught.value)


def test_a_run_stands_for_its_folder(run: twofold.Run, image_folder: Path) -> None:
    assert twofold.load(run).spec == run.load().spec
    assert twofold.evaluate(run, data=str(image_folder), options=Options(show=False))["num_images"] == 120
    assert twofold.explain(run, BOOT).axes
    with pytest.raises(twofold.TwofoldError, match="is finished after 1 epochs"):
        twofold.resume(run)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("predict", r"twofold.load\(RUN\).predict\(image\)"),
        ("fit", r"twofold.train\(twofold.Recipe\(model='lenet-bn'\)\)"),
        ("test", r"twofold.evaluate\(RUN\)"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_what_is(name: str, words: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': .*{words}"):
        getattr(twofold, name)


def test_a_folder_that_was_not_imported_is_answered_with_its_import() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'cli': import twofold.cli"):
        lazy_names("twofold", {})[0]("cli")


def test_values_show_themselves_in_two_lines(run: twofold.Run) -> None:
    model = run.load()
    long = twofold.Recipe(
        optimizer="sgd", lr=0.3, epochs=3, augment="none", batch_size=3, patience=4, seed=4, freeze=2, grad_clip=3
    )
    measured = twofold.evaluate(run, options=Options(show=False))
    found = range_test(lambda lr: (math.log10(lr) + 3) ** 2 + 1, low=1e-6, high=1.0, steps=100)
    raced = Race(Path("runs/race"), (), ("sgd " * 30, "more"))
    for value in (measured, run.metrics):
        assert isinstance(value, dict)
        assert repr(value).startswith("<Metrics of clothes val, 12 images: ")
        assert f"accuracy {value['accuracy']:.4f}" in repr(value)
        assert len(repr(value)) <= 200
        assert json.loads(json.dumps(value)) == value == dict(value)
    assert f"suggestion={found.suggestion:.3g}" in repr(found)
    for value in (long, Options(), run, model, model.predict(BOOT), found, raced):
        assert repr(value).startswith(f"{type(value).__name__.removeprefix('Class').removeprefix('Torch')}(")
        assert "\n" not in repr(value)
        assert len(repr(value)) <= 2 * 100 + 100 * isinstance(value, twofold.Run), value
    assert repr(twofold.Recipe(lr=0.1)) == "Recipe(model='lenet-bn', data='fashion-mini', lr=0.1)"
    assert "accuracy" in repr(run)


def test_a_run_and_a_prediction_show_themselves_in_a_notebook(run: twofold.Run) -> None:
    html = run._repr_html_()
    assert "report.html" in html
    assert "<b>" not in html
    assert "<table>" in run.load().predict(BOOT)._repr_html_()


def test_explain_gives_a_figure_that_a_notebook_draws(run: twofold.Run, tmp_path: Path) -> None:
    figure = twofold.explain(run.folder, BOOT, classes=("boot",))
    figure.savefig(tmp_path / "seen.png")
    assert (tmp_path / "seen.png").stat().st_size > 10_000


def test_finetune_trains_on_from_a_run(run: twofold.Run, image_folder: Path, tmp_path: Path) -> None:
    tuned = twofold.finetune(
        run.folder, data=str(image_folder), out=tmp_path, name="tuned", epochs=1, options=Options(show=False)
    )
    assert tuned.accuracy is not None
    assert "tensors from the run" in (tuned.folder / "log.txt").read_text()


def test_no_folder_has_the_name_of_a_function() -> None:
    """Importing the folder would put a module in the function's place."""
    folder = Path(twofold.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(FUNCTIONS)
