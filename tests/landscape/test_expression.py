"""Formulas of the user: computed right, and refused without being run."""

from __future__ import annotations

import doctest
import math
import time

import pytest
import torch
from hypothesis import given, strategies as st

import twofold.landscape.expression
from twofold.errors import TwofoldError
from twofold.landscape.expression import DEEPEST_NESTING, FUNCTIONS, LONGEST_TEXT, parse_expression

POINTS = torch.tensor([[0.3, 0.7], [1.2, 0.4], [2.5, 1.9]], dtype=torch.float64)
NAMES = {
    **{name: getattr(math, name) for name in ("cos", "exp", "log", "sin", "sqrt", "tan", "tanh", "pi", "e")},
    "abs": abs,
    "min": min,
    "max": max,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}


def by_python(text: str, point: list[float]) -> float:
    """What Python itself computes: the oracle, for texts of this file alone."""
    x, y = point
    return float(eval(text, {"__builtins__": {}}, {**NAMES, "x": x, "y": y, "x1": x, "x2": y}))


def test_docstring_examples() -> None:
    result = doctest.testmod(twofold.landscape.expression)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "y",
        "x**2 + 2*y**2 + sin(x*y)",
        "(1 - x1)**2 + 100*(x2 - x1**2)**2",
        "-x**2",
        "-(-x)",
        "+x",
        "2**x",
        "x**y",
        "1/x - 3/(y + 1)",
        "3 - x - y",
        "min(x, y, 0.5) + max(0.5, x, y) - min(1, x) + max(x, 1)",
        "sigmoid(x) + sigmoid(2)*x",
        "x*cos(pi*x) + e**y",
        "2**3*x + 4**0.5 + abs(-3) + sin(1) + sqrt(2)/2",
        "1e-3*x + 1_000*y",
        *(f"{name}(x)" for name, function in FUNCTIONS.items() if function.most_arguments == 1),
    ],
)
def test_values_are_those_of_python(text: str) -> None:
    values = parse_expression(text)(POINTS)
    assert values.shape == (3,)
    assert values.tolist() == pytest.approx([by_python(text, point) for point in POINTS.tolist()], rel=1e-12)


@st.composite
def formulas(draw: st.DrawFn, depth: int = 4) -> str:
    """Formulas that are finite wherever x and y are between 0.1 and 3."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(["x", "y", "x1", "x2", "0.5", "2", "pi"]))
    left, right = draw(formulas(depth - 1)), draw(formulas(depth - 1))
    forms = ["({0} + {1})", "({0} - {1})", "{0}*{1}", "({0})**2", "sin({0})", "tanh({0})*{1}", "max({0}, {1})", "-{0}"]
    return draw(st.sampled_from(forms)).format(left, right)


@given(text=formulas(), x=st.floats(0.1, 3), y=st.floats(0.1, 3))
def test_any_formula_computes_what_python_does(text: str, x: float, y: float) -> None:
    if "x" not in text.replace("max", "") and "y" not in text:
        with pytest.raises(TwofoldError, match="no variable"):
            parse_expression(text)
        return
    try:
        expression = parse_expression(text)
    except TwofoldError as error:
        assert "characters" in str(error)
        return
    point = torch.tensor([x, y], dtype=torch.float64)[: expression.dimension]
    expected = by_python(text, [x, y])
    assert float(expression(point)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_dimension_follows_from_the_variables() -> None:
    assert parse_expression("x**2").dimension == 1
    assert parse_expression("x1").dimension == 1
    assert parse_expression("y").dimension == 2
    assert parse_expression("x + x2").dimension == 2


def test_any_batch_shape() -> None:
    assert parse_expression("x*y")(torch.ones(2)).shape == ()
    assert parse_expression("x*y + 1")(torch.ones(4, 3, 2)).shape == (4, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needed"),
        ("   ", "needed"),
        ("3 + pi", "no variable"),
        ("foo(x)", "unknown function foo"),
        ("sinn(x)", "did you mean sin"),
        ("z**2", "unknown name z"),
        ("sin", "parentheses"),
        ("sin(x, y)", "takes 1 argument, got 2"),
        ("max(x)", "takes 2 to 8 arguments, got 1"),
        ("sin(x=1)", "not allowed"),
        ("sin(*x)", "not allowed"),
        ("x^2", r"\*\*"),
        ("x // 2", "divide with /"),
        ("x % 2", "not allowed"),
        ("x @ y", "not allowed"),
        ("x << 2", "not allowed"),
        ("2x", "cannot be read"),
        ("2(x)", r"product with \*"),
        ("(x)(y)", r"x\*"),
        ("x(2)", r"x\*"),
        ("x +", "cannot be read"),
        ("x # note", "# is not allowed"),
        ("x; y", "cannot be read"),
        ("x\ny", "cannot be read"),
        ("x\0", "cannot be read"),
        ("x²", "cannot be read"),
        ("x.real", "not allowed"),
        ("x.__class__", "not allowed"),
        ("x[0]", "not allowed"),
        ("(x, y)", "not allowed"),
        ("[x]", "not allowed"),
        ("x < y", "not allowed"),
        ("x and y", "not allowed"),
        ("not x", "not allowed"),
        ("~x", "not allowed"),
        ("x if x else y", "not allowed"),
        ("lambda: x", "not allowed"),
        ("(z := x)", "not allowed"),
        ("[a for a in x]", "not allowed"),
        ("f'{x}'", "not allowed"),
        ("'x'", "not a real number"),
        ("True*x", "not a real number"),
        ("2j*x", "not a real number"),
        ("None", "not a real number"),
        ("...", "not a real number"),
        ("x*1e999", "no finite real number"),
        ("x/0", "ok"),
        ("x*(1/0)", "no finite real number"),
        ("x*(-8)**0.5", "no finite real number"),
        ("x*log(-1)", "no finite real number"),
        ("x*exp(1000)", "no finite real number"),
        ("x**65", "exponent 65 is too large"),
        ("x**-65", "too large"),
        ("9**9**9*x", "too large"),
        ("9.0**64.0**64.0*x", "too large"),
        ("__import__('os').system('true')", "not allowed"),
        ("open('file')", "unknown function open"),
        ("eval('x')", "unknown function eval"),
    ],
)
def test_refusals_name_the_part_in_one_line(text: str, words: str) -> None:
    if words == "ok":  # infinite at each point, which is for who evaluates it to say
        assert not parse_expression(text)(POINTS).isfinite().any()
        return
    with pytest.raises(TwofoldError, match=words) as caught:
        parse_expression(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        "(" * 150 + "x" + ")" * 150,
        "(" * 250 + "x" + ")" * 250,
        "-" * 350 + "x",
        "sin(" * 60 + "x" + ")" * 60,
        "x" + "**2" * 120,
        "9**" * 100 + "x",
        "+".join(["x"] * 100_000),
        "x*" + "9" * 390,
        "(" * 100_000,
        "x" * 100_000,
    ],
)
def test_hostile_text_is_answered_at_once(text: str) -> None:
    began = time.perf_counter()
    try:
        parse_expression(text)(POINTS)
    except TwofoldError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300
    assert time.perf_counter() - began < 1.0


def test_limits_are_as_said() -> None:
    nested = "x"
    for _ in range(DEEPEST_NESTING - 1):
        nested = f"-{nested}"
    assert parse_expression(nested).dimension == 1
    with pytest.raises(TwofoldError, match="nested"):
        parse_expression(f"-{nested}")
    longest = "x" + " " * (LONGEST_TEXT - 3) + "+1"
    assert parse_expression(longest).dimension == 1
    with pytest.raises(TwofoldError, match="characters"):
        parse_expression(longest + "2")


@given(text=st.text(alphabet="xy012.()+-*/ ,^abcdefs_'\"[]{}:=", max_size=40))
def test_no_text_does_more_than_compute_or_be_refused(text: str) -> None:
    try:
        expression = parse_expression(text)
    except TwofoldError as error:
        assert "\n" not in str(error)
    else:
        assert expression(POINTS[:, : expression.dimension]).shape == (3,)
