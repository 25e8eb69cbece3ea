"""The table of ideas is complete, and every idea holds: hypothesis looks for a case in which its two forms differ."""

from __future__ import annotations

import inspect
import pkgutil
import re
import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

import twofold.scratch
from twofold.cli.ideas import as_markdown
from twofold.errors import TwofoldError
from twofold.labs.ideas_zh import IDEAS_ZH
from twofold.labs.table import LABS
from twofold.proof.ideas import CHAPTERS, IDEAS, Idea, find, resolve
from twofold.proof.parity import Choose, cases, compare, refuses
from twofold.proof.verify import verify

ROOT = Path(__file__).parents[2]
ideas = pytest.mark.parametrize("idea", IDEAS.values(), ids=IDEAS)


class HypothesisChoose(Choose):
    """Choices that hypothesis makes, and makes smaller when a case fails."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def integer(self, low: int, high: int) -> int:
        drawn: int = self._data.draw(st.integers(low, high))
        return drawn


@ideas
@given(data=st.data())
@settings(max_examples=25)
def test_both_forms_agree_on_drawn_cases(idea: Idea, data: st.DataObject) -> None:
    differences = list(compare(idea.parity().draw(HypothesisChoose(data))))
    assert differences
    assert [str(difference) for difference in differences if not difference.holds] == []


@ideas
def test_both_forms_agree_on_edge_cases_and_refuse_alike(idea: Idea) -> None:
    parity = idea.parity()
    for case in cases(idea.name, parity, num_drawn=0):
        assert [str(difference) for difference in compare(case) if not difference.holds] == [], case.covers
    for refusal in parity.refusals():
        assert refuses(refusal.read), f"the readable form takes {refusal.what}"
        assert refuses(refusal.run), f"the fast form takes {refusal.what}"


@ideas
def test_verify_says_so(idea: Idea) -> None:
    verdict = verify(idea, num_drawn=2)
    assert verdict.holds, verdict.misses
    assert verdict.num_cases >= 2


@ideas
def test_an_entry_says_all_that_it_should(idea: Idea) -> None:
    assert idea.chapter in CHAPTERS
    assert all((idea.title, idea.formula, idea.where, idea.source, idea.read, idea.run, idea.proof))
    assert idea.lab == "" or idea.lab in LABS
    assert (idea.name in IDEAS_ZH) == (idea.lab != "")
    for name in (*idea.read, *idea.parts):
        function = resolve(f"twofold.{name}")
        assert callable(function)
        assert inspect.getdoc(function)
    for name in idea.run:
        assert callable(resolve(name))


def signs(where: str, *, colon: str, comma: str, semicolon: str) -> set[str]:
    """Return what is explained: "x, y: images; f: factor" explains x, y and f."""
    parts = (part.partition(colon) for part in unicodedata.normalize("NFKC", where).split(semicolon))
    return {sign.strip() for signs, is_one, _ in parts if is_one for sign in signs.split(comma)}


@ideas
def test_every_sign_of_a_formula_is_explained(idea: Idea) -> None:
    formula = unicodedata.normalize("NFKC", idea.formula)
    explained = signs(idea.where, colon=": ", comma=", ", semicolon="; ")
    assert [sign for sign in explained for piece in sign.split() if piece not in formula] == []
    letters = set(re.findall(r"(?<![\w'])([A-Za-zα-ωΑ-Ω])(?![A-Za-zα-ω])", formula.replace("D2L", ""))) - {"a", "Σ"}
    assert letters - set("".join(explained)) == set()
    if idea.lab:
        in_chinese = signs(IDEAS_ZH[idea.name].where, colon=":", comma="、", semicolon=";")
        assert {sign for sign in explained if sign.isascii() and len(sign) == 1} <= in_chinese


def test_every_module_and_function_of_scratch_belongs_to_an_idea() -> None:
    named = {name for idea in IDEAS.values() for name in (*idea.read, *idea.parts)}
    modules = {module.name for module in pkgutil.iter_modules(twofold.scratch.__path__)}
    assert modules <= {name.partition(":")[0].removeprefix("scratch.") for name in named}
    for module in sorted(modules):
        loaded = resolve(f"twofold.scratch.{module}:__dict__")
        public = {
            name
            for name, value in loaded.items()
            if (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == f"twofold.scratch.{module}"
            and not name.startswith("_")
        }
        missing = {name for name in public if f"scratch.{module}:{name}" not in named}
        assert missing == set(), f"no idea names {missing} of scratch/{module}.py"


def test_every_hand_written_gradient_is_compared() -> None:
    """An idea with a backward function must have compared gradients."""
    for idea in IDEAS.values():
        if any(name.endswith("_backward") for name in idea.read):
            assert verify(idea, num_drawn=1).error("gradient") is not None, idea.name


def test_ideas_are_found_by_name() -> None:
    assert [idea.name for idea in find(["adam", "conv2d"])] == ["adam", "conv2d"]
    assert len(find([])) == len(IDEAS)
    with pytest.raises(TwofoldError, match="did you mean conv2d"):
        find(["conv2"])


def test_the_page_of_ideas_is_the_table() -> None:
    page = (ROOT / "docs" / "ideas.md").read_text(encoding="utf-8")
    assert page.strip() == as_markdown().strip(), "write it anew: twofold ideas --markdown > docs/ideas.md"


def test_drawn_cases_of_verify_are_the_same_every_time() -> None:
    first, second = (verify(IDEAS["conv2d"], num_drawn=3).errors for _ in range(2))
    assert first == second
    assert first["value", torch.float64] > 0
