import ast

import pytest
import torch
from hypothesis import given, strategies as st

from twofold.labs.tensor_expression import OPERATIONS, ExpressionError, as_program, evaluate

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3) + 1,
    "b": 10 * torch.arange(3.0) + 10,
    "c": torch.arange(24.0).reshape(2, 3, 4) + 0.5,
    "d": torch.tensor([[-2.0], [7.0]]),
}
PARTS = (
    "{0}.T", "{0}.reshape(-1)", "{0}.flatten()", "{0}.flatten(1)", "{0}.permute(1, 0)", "{0}.permute(2, 0, 1)",
    "{0}.transpose(0, 1)", "{0}.transpose(-1, -2)", "{0}.unsqueeze(1)", "{0}.squeeze()", "{0}.squeeze(1)",
    "{0}.reshape(3, -1)", "{0}.view(2, -1)", "{0}.expand(2, 3)", "{0}.sum()", "{0}.sum(0)", "{0}.sum((0, 1))",
    "{0}.mean(-1)", "{0}.mean(0, keepdim=True)", "{0}[0]", "{0}[:, 1:]", "{0}[..., None]", "{0}[:, ::2]", "-{0}",
    "2 * {0}", "{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} @ {1}", "mm({0}, {1})", "{0}.matmul({1})",
    "stack([{0}, {1}])", "torch.cat([{0}, {1}], 1)", "cat(({0}, {1}, {0}))", "stack(({0}, {0}), dim=1)",
)  # fmt: skip


@st.composite
def expressions(draw, depth=3):
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from("abcd"))
    form = draw(st.sampled_from(PARTS))
    return form.format(*(f"({draw(expressions(depth=depth - 1))})" for _ in range(2)))


@given(expressions())
def test_every_part_is_what_torch_gives_or_torch_refuses_it_too(text):
    if len(text) > 200:
        return
    names = {**TENSORS, "torch": torch}
    try:
        parts, failure = evaluate(text, TENSORS)
    except ExpressionError as error:
        assert "more than 16 parts" in str(error) or "nested" in str(error)
        return
    if failure is not None:
        assert len(failure.why.splitlines()) == 1
        if "can be shown" in failure.why or "no elements" in failure.why:
            return
        if ".T turns tensors of two" in failure.why:  # torch itself only warns
            return
        with pytest.raises((RuntimeError, IndexError, TypeError)):
            eval(as_program(failure.text), names)
        return
    for part in parts:
        if part.text.endswith("…"):  # cut, as a page has it
            continue
        torch.testing.assert_close(part.values, eval(as_program(part.text), names), equal_nan=True)


@given(expressions())
def test_an_element_changes_with_its_sources_and_with_nothing_else(text):
    if len(text) > 200:
        return
    try:
        parts, _ = evaluate(text, TENSORS)
    except ExpressionError:
        return
    for part in parts:
        if part.kind == "tensor" or part.text.endswith("…"):  # cut, as a page has it
            continue
        # The part alone, of new tensors: the derivative of each of its elements is not 0 at its sources alone.
        inputs = [parts[operand].values for operand in part.operands]
        reached = _depends(part, inputs)
        for sources, depends in zip(part.sources, reached, strict=True):
            found = torch.zeros_like(depends)
            for i, elements in enumerate(sources.tolist()):
                found[i, [each for each in elements if each >= 0]] = True
            assert torch.equal(found, depends), part.text


def _depends(part, inputs):
    """Return for each input (elements of the result, elements of the input): whether the derivative is not 0."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    distinct = dict(zip(part.operands, leaves, strict=True))
    if len(distinct) < len(leaves):  # the same operand twice: told apart by a copy
        leaves = [each.clone().detach().requires_grad_() for each in inputs]
    tree = ast.parse(as_program(part.text), mode="eval").body
    y = _apply(tree, leaves).reshape(-1)
    found = [torch.zeros(len(y), each.numel(), dtype=torch.bool) for each in leaves]
    for i in range(len(y)):
        gradients = torch.autograd.grad(y[i], leaves, retain_graph=True, allow_unused=True)
        for place, gradient in enumerate(gradients):
            if gradient is not None:
                found[place][i] = gradient.reshape(-1) != 0
    return found


def _apply(tree, leaves):
    """Compute the outermost operation of a tree with `leaves` in place of its operands, in their order."""
    names = {f"x{i}": leaf for i, leaf in enumerate(leaves)}
    spare = iter(names)

    def name():
        return ast.Name(next(spare), ast.Load())

    def is_tensor(node):
        return any(isinstance(each, ast.Name) and each.id != "torch" for each in ast.walk(node))

    match tree:
        case ast.UnaryOp():
            tree.operand = name()
        case ast.BinOp():
            tree.left = name() if is_tensor(tree.left) else tree.left
            tree.right = name() if is_tensor(tree.right) else tree.right
        case ast.Subscript() | ast.Attribute():
            tree.value = name()
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch")), args=[ast.List() | ast.Tuple() as all_, *_]):
            all_.elts = [name() for _ in all_.elts]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"))):
            tree.args = [name() if is_tensor(each) else each for each in tree.args]
        case ast.Call(func=ast.Attribute()):
            tree.func.value = name()
            tree.args = [name() if is_tensor(each) else each for each in tree.args]
    code = ast.fix_missing_locations(ast.Expression(tree))
    return eval(compile(code, "<part>", "eval"), {"torch": torch, **names})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a + d.T", r"(2, 3) + (1, 2) do not fit: counted from the right, 3 meets 2, and neither is 1"),
        ("a @ a", "(2, 3) @ (2, 3) do not fit: a row of the left has 3 elements, a column of the right 2"),
        ("c @ c.permute(1, 2, 0)", "counted from the right, 2 meets 3"),
        ("a.mm(b)", "mm multiplies two matrices; matmul or @ takes more"),
        ("a.sum() @ b", "a product needs tensors of at least one dimension"),
        ("a.reshape(4, 2)", "(2, 3) has 6 elements, (4, 2) has 8"),
        ("a.reshape((-1, 4))", "(2, 3) has 6 elements, which (-1, 4) cannot divide into parts of 4"),
        ("a.reshape(-1, -1)", "reshape can find one size that is -1, not 2"),
        ("a.T.view(6)", "after a transpose use reshape"),
        ("c.permute(0, 2)", "once: 0, 1, 2 in any order; got (0, 2)"),
        ("stack([a, b])", "stack needs tensors of equal shapes, got (2, 3) and (3,)"),
        ("cat([a, a.T])", "equal but for the dimension that they are joined along, got (2, 3) and (3, 2)"),
        ("cat([a, a], 2)", "cat has no such dimension for (2, 3) and (2, 3)"),
        ("a.sum(2)", "a dimension of (2,) is not there: (2, 3) has the dimensions 0, 1"),
        ("a[2]", "the index does not fit (2, 3)"),
        ("a[:, ::-1]", "step must be greater than zero"),
        ("a[2:]", "(0, 3) has no elements"),
        ("b.expand(40, 3)", "(40, 3) has 120 elements; 64 can be shown"),
        ("a[None, None, None]", "(1, 1, 1, 2, 3) has 5 dimensions; 4 can be shown"),
        ("b.expand(9999, 9999, 9999, 3)", "elements; 64 can be shown"),
        ("c.T", "this one has 3: use permute or transpose"),
        ("b.T", "this one has 1: unsqueeze it first"),
        ("a.transpose(0)", "transpose is written a.transpose(0, 1)"),
        ("(a * 9999) * (a * 9999) * (a * 9999) * (a * 9999) * (a * 9999) * (a * 9999) * (a * 9999) * (a * 9999) "
         "* (a * 9999) * (a * 9999)", "more than 16 parts"),
        ("((((a*9999)*9999)*9999)*9999)*9999*9999*9999*9999*9999*9999*9999", "the values are too large"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_told_in_one_line(text, words):
    try:
        _, failure = evaluate(text, TENSORS)
    except ExpressionError as error:
        line = str(error)
    else:
        assert failure is not None
        line = failure.why
    assert words in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "open('x')", "__import__('os')", "a.__class__", "a.numpy()", "a.tolist", "a.data", "torch.load('x')",
        "torch.ops", "(lambda: a)()", "[a for a in b]", "a if a else b", "a and b", "a < b", "a ** 2", "a / b",
        "a // 2", "a := b", "a = b", "a; b", "'a' * 9", "f'{a}'", "a[b]", "a[[0, 1]]", "a[a > 0]",
        "a.reshape(10 ** 9)", "2 * 3",
        "1e99 * a", "True * a", "1j * a", "a.sum(out=b)", "a.sum(**a)", "a.sum(*b)", "cat(*a)", "a.reshape(True + 1)",
        "(" * 150, "-" * 40 + "a", "a" * 201, "a.T" + ".T" * 20, "a\x00", "a\n+b;", "await a", "x", "e", "torch",
        "a.stack(b)", "view(a, 6)", "a.reshape(99999)", "a[99999]", "…", "a.sum(0.5)", "print(a)", "a @ 2",
        "stack(a)", "stack([])",
    ],
)  # fmt: skip
def test_whatever_else_is_written_is_refused_in_one_line_and_never_run(text):
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, TENSORS)
    assert len(str(caught.value).splitlines()) == 1


@given(st.text(max_size=60))
def test_any_text_ends_in_parts_or_one_line(text):
    try:
        evaluate(text, TENSORS)
    except ExpressionError as error:
        assert len(str(error).splitlines()) == 1


def test_every_operation_can_be_called_as_its_hint_says():
    tensors = {"a": torch.ones(1, 2, 3), "b": torch.ones(1, 2, 3)}
    flat = {"a": torch.ones(2, 3), "b": torch.ones(3, 2)}
    for name, operation in OPERATIONS.items():
        chosen = tensors if name in ("permute", "stack", "cat", "flatten", "squeeze", "expand") else flat
        if name == "expand":
            chosen = {"a": torch.ones(1, 3)}
        _, failure = evaluate(operation.usage, chosen)
        assert failure is None, operation.usage


def test_a_part_that_fails_keeps_what_was_computed_before_it():
    parts, failure = evaluate("a.T + b[:2]", TENSORS)
    assert failure is None
    parts, failure = evaluate("(a.T + 1) @ a.T", TENSORS)
    assert [part.text for part in parts] == ["a", "a.T", "a.T + 1", "a.T"]
    assert failure is not None
    assert (failure.text, failure.operands) == ("(a.T + 1) @ a.T", (2, 3))


@pytest.mark.parametrize("rest", ["__import__('os').system('ls')", "a.__class__", "open('x')", "b"])
def test_what_follows_a_part_that_does_not_fit_is_checked_too(rest):
    a = torch.ones(2, 3)
    assert evaluate("a @ a + a.sum(0)", {"a": a})[1] is not None
    with pytest.raises(ExpressionError, match="is not allowed"):
        evaluate(f"a @ a + {rest}", {"a": a})
