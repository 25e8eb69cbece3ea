"""The book's names are all there, with the parameters that its two editions give them.

`signatures.json` holds the names of the covered chapters, read from the packages' own files: for each edition a name's
parameters with their defaults, as text, those of a class's methods, or what another name stands for.
"""

from __future__ import annotations

import builtins
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from twofold import d2l
from twofold.errors import TwofoldError
from twofold.proof.ideas import IDEAS

SIGNATURES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "signatures.json").read_text())
NAMES = [(edition, name) for edition, names in SIGNATURES.items() for name in names]
# Read when the function is called, and not once when the package is imported.
LATER = {"d2l.try_all_gpus()": None}
# Some of what each chapter is about: an idea that its name must lead to.
IDEA_OF = {
    "box_iou": "iou",
    "compute_jaccard": "iou",
    "corr2d": "cross-correlation",
    "init_cnn": "initialisation",
    "LeNet": "lenet",
    "linreg": "linear",
    "load_array": "minibatches",
    "multibox_prior": "anchors",
    "MultiBoxPrior": "anchors",
    "multibox_target": "multibox-loss",
    "nms": "nms",
    "non_max_suppression": "nms",
    "offset_boxes": "box-offsets",
    "resnet18": "resnet",
    "sgd": "sgd",
    "SoftmaxRegression": "softmax",
    "squared_loss": "squared-loss",
    "synthetic_data": "synthetic-data",
}


@pytest.fixture(autouse=True)
def _first_edition() -> Iterator[None]:
    yield
    d2l.edition("1.0")


def default(text: str) -> Any:
    return LATER[text] if text in LATER else eval(text, {})


def check_parameters(ours: Any, theirs: list[list[str]], *, is_method: bool = False) -> None:
    """Check that `ours` takes what theirs takes, in the same order; more may follow, if it has a default."""
    parameters = list(inspect.signature(ours).parameters.values())[1 if is_method else 0 :]
    starred = {"*": inspect.Parameter.VAR_POSITIONAL, "**": inspect.Parameter.VAR_KEYWORD}
    assert len(parameters) >= len(theirs), f"{[each.name for each in parameters]} for {theirs}"
    for mine, (written, *rest) in zip(parameters, theirs, strict=False):
        name = written.lstrip("*")
        assert mine.name == name
        stars = written[: len(written) - len(name)]
        if stars:
            assert mine.kind is starred[stars], name
            continue
        assert mine.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, name
        assert (mine.default is inspect.Parameter.empty) == (not rest), f"{name}: {mine.default} for {rest}"
        if rest:
            assert mine.default == default(rest[0]), f"{name}: {mine.default!r} for {rest[0]}"
            assert type(mine.default) is type(default(rest[0])), f"{name}: {mine.default!r} for {rest[0]}"
    for more in parameters[len(theirs) :]:
        assert more.default is not inspect.Parameter.empty or more.kind in starred.values(), more.name


@pytest.mark.parametrize(("edition", "name"), NAMES)
def test_a_name_takes_what_its_edition_gives_it(edition, name):
    d2l.edition(edition)
    ours, theirs = getattr(d2l, name), SIGNATURES[edition][name]
    alias = theirs.get("alias")
    if alias is None:
        check_parameters(ours, theirs["parameters"])
        for method, parameters in theirs.get("methods", {}).items():
            check_parameters(getattr(ours, method), parameters, is_method=True)
    elif alias.startswith("x."):  # what a tensor's own method does; values.json has what they return
        assert callable(ours)
    elif alias.startswith("torch."):
        assert ours is getattr(torch, alias.removeprefix("torch."))
    elif alias == "nn.Module":
        assert ours is torch.nn.Module
    else:  # a constant: the hub of data sets begins as an empty dictionary
        assert type(ours) is type(eval(alias, {}))
        assert not eval(alias, {}) or ours == eval(alias, {})


def _names_of_twofold() -> list[tuple[str, str]]:
    found = []
    for edition in SIGNATURES:
        d2l.edition(edition)
        found += [
            (edition, name) for name in dir(d2l) if name not in ("pd", "requests") and _is_ours(getattr(d2l, name))
        ]
    d2l.edition("1.0")
    return found


def _is_ours(value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", "").startswith("twofold.")


@pytest.mark.parametrize(("edition", "name"), _names_of_twofold())
def test_a_name_says_what_it_is_and_which_idea(edition, name):
    d2l.edition(edition)
    ours = getattr(d2l, name)
    text = inspect.cleandoc(vars(ours)["__doc__"] or "") if inspect.isclass(ours) else inspect.getdoc(ours)
    assert text, f"{name} has no docstring of its own"
    assert text.splitlines()[0].endswith((".", ":"))
    shown = re.findall(r"`twofold show ([^`]*)`", text)
    assert set(shown) <= set(IDEAS), shown
    assert text.count("Idea: ") == len(re.findall(r"^Idea: `twofold show [\w-]+`\.$", text, re.MULTILINE)) <= 1
    if name in IDEA_OF:
        assert shown == [IDEA_OF[name]]


def test_all_names_are_listed():
    assert {name for _, name in NAMES} <= set(dir(d2l))
    assert sorted(dir(d2l)) == dir(d2l)


def test_a_star_import_hides_nothing_of_pythons_own():
    names = d2l.__all__
    assert not set(names) & set(dir(builtins))
    assert {"train_ch6", "Trainer", "MultiBoxPrior", "torch", "nn", "plt"} <= set(names)
    namespace: dict[str, Any] = {}
    exec("from twofold.d2l import *", namespace)
    assert set(names) <= set(namespace)
    assert namespace["Trainer"] is d2l.Trainer


@pytest.mark.parametrize(
    ("wrong", "near"), [("train_ch66", "train_ch6"), ("multibox_priors", "multibox_prior"), ("Animater", "Animator")]
)
def test_a_wrong_name_is_told_the_near_one(wrong, near):
    with pytest.raises(AttributeError, match=rf"twofold.d2l has no '{wrong}': .*\b{near}\b"):
        getattr(d2l, wrong)
    assert not hasattr(d2l, wrong)
    with pytest.raises(ImportError, match=wrong):
        exec(f"from twofold.d2l import {wrong}")


def test_an_edition_decides_what_a_name_means():
    assert d2l.edition() == "1.0"
    first = d2l.resnet18
    assert d2l.edition("zh") == "zh"
    assert d2l.edition() == "zh"
    assert d2l.resnet18 is not first
    assert d2l.corr2d is d2l.corr2d
    d2l.edition("1.0")
    assert d2l.resnet18 is first
    with pytest.raises(TwofoldError, match=r"edition of the book.*zh"):
        d2l.edition("en")
    assert d2l.edition() == "1.0"
