"""The fast update rules: torch's in torch's convention, the readable ones in D2L's, whatever the tensors are."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from twofold.errors import TwofoldError
from twofold.optim import layout
from twofold.optim.rules import OPTIMIZERS, create_optimizer
from twofold.optim.scratch_form import ScratchOptimizer

Make = Callable[[Any], torch.optim.Optimizer]

# Each rule at settings that are not its defaults, and torch's optimiser at the same.
TORCH: dict[str, tuple[dict[str, Any], Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": ({}, torch.optim.SGD, {}),
    "momentum": ({"momentum": 0.8}, torch.optim.SGD, {"momentum": 0.8}),
    "nesterov": ({"momentum": 0.8}, torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "adagrad": ({"eps": 1e-7}, torch.optim.Adagrad, {"eps": 1e-7}),
    "rmsprop": ({"gamma": 0.95, "eps": 1e-7}, torch.optim.RMSprop, {"alpha": 0.95, "eps": 1e-7}),
    "adadelta": ({"rho": 0.8, "eps": 1e-5}, torch.optim.Adadelta, {"rho": 0.8, "eps": 1e-5}),
    "adam": ({"beta1": 0.8, "beta2": 0.95}, torch.optim.Adam, {"betas": (0.8, 0.95)}),
    "adamw": ({"beta1": 0.8, "eps": 1e-6}, torch.optim.AdamW, {"betas": (0.8, 0.999), "eps": 1e-6}),
}
# Rounding of `steps` steps in each dtype, as a share of the largest element.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4, torch.complex64: 2e-4, torch.complex128: 1e-11}


def parameters(dtype: torch.dtype = torch.float64, *, channels_last: bool = False) -> list[nn.Parameter]:
    """Return tensors of many shapes: one element, none, a convolution's, and more than a piece."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(), (3,), (0,), (4, 3, 3, 3), (layout.PIECE + 7,)]
    tensors = [torch.randn(shape, generator=generator, dtype=torch.complex128) for shape in shapes]
    tensors = [(one if dtype.is_complex else one.real).to(dtype) for one in tensors]
    if channels_last:
        tensors[3] = tensors[3].contiguous(memory_format=torch.channels_last)
    return [nn.Parameter(one.clone(memory_format=torch.preserve_format)) for one in tensors]


def after(make: Make, own: list[nn.Parameter], *, steps: int = 20, lrs: tuple[float, ...] = (0.05, 0.02)) -> Tensor:
    """Return all elements after some steps along keyed gradients, the learning rate changing on the way."""
    optimizer = make(own)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = lrs[step * len(lrs) // steps] * group.get("lr_scale", 1.0)
        for parameter in own:
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.complex128)
            parameter.grad = (drawn if parameter.is_complex() else drawn.real).to(parameter.dtype)
        optimizer.step()
    return torch.cat([parameter.detach().reshape(-1) for parameter in own])


def assert_equal(one: Tensor, other: Tensor) -> None:
    assert one.dtype == other.dtype
    assert float((one - other).abs().max() / other.abs().max()) <= TOLERANCE[one.dtype]


def test_the_table_of_torch_s_optimisers_is_complete() -> None:
    assert TORCH.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("rule", TORCH)
def test_torch_s_convention_is_torch_s_optimiser(rule: str, dtype: torch.dtype, decay: float) -> None:
    own, form, theirs = TORCH[rule]
    for channels_last in (False, True):
        ours = after(
            lambda p: create_optimizer(rule, p, lr=0.05, weight_decay=decay, **own),
            parameters(dtype, channels_last=channels_last),
        )
        peer = after(
            lambda p: form(p, lr=0.05, weight_decay=decay, foreach=False, **theirs),
            parameters(dtype, channels_last=channels_last),
        )
        assert_equal(ours, peer)


@pytest.mark.parametrize("rule", TORCH)
def test_hundreds_of_steps(rule: str) -> None:
    own, form, theirs = TORCH[rule]

    def few() -> list[nn.Parameter]:
        return [nn.Parameter(one.detach()[..., :50].clone()) for one in parameters()[1:]]

    ours = after(lambda p: create_optimizer(rule, p, lr=0.05, **own), few(), steps=400)
    assert_equal(ours, after(lambda p: form(p, lr=0.05, **theirs), few(), steps=400))


@pytest.mark.parametrize("convention", ["d2l", "torch"])
@pytest.mark.parametrize("rule", TORCH)
def test_both_conventions_are_the_readable_form_s(rule: str, convention: str) -> None:
    own = TORCH[rule][0]
    shown = {"convention": convention} if rule in {"momentum", "adagrad", "rmsprop"} else {}
    ours = after(
        lambda p: create_optimizer(rule, p, lr=0.05, weight_decay=0.1, convention=convention, **own), parameters()
    )
    read = after(lambda p: ScratchOptimizer(p, rule, lr=0.05, weight_decay=0.1, **own, **shown), parameters())
    assert_equal(ours, read)


@pytest.mark.parametrize("convention", ["d2l", "torch"])
@pytest.mark.parametrize("rule", ["momentum", "nesterov"])
def test_no_momentum_and_then_some(rule: str, convention: str) -> None:
    """torch's kernel drops the velocity where momentum is 0."""

    def raised(make: Make) -> Tensor:
        own = parameters()
        optimizer = make(own)
        after(lambda _: optimizer, own, steps=2)
        optimizer.param_groups[0]["momentum"] = 0.9
        return after(lambda _: optimizer, own, steps=2)

    shown = {"convention": convention} if rule == "momentum" else {}
    ours = raised(lambda p: create_optimizer(rule, p, lr=0.05, momentum=0.0, convention=convention, weight_decay=0.1))
    assert_equal(ours, raised(lambda p: ScratchOptimizer(p, rule, lr=0.05, momentum=0.0, weight_decay=0.1, **shown)))


@pytest.mark.parametrize("rule", ["momentum", "adagrad", "rmsprop"])
def test_the_conventions_differ_where_they_should(rule: str) -> None:
    lrs = (0.05, 0.02) if rule == "momentum" else (0.05,)
    d2l, torch_s = (
        after(lambda p, c=c: create_optimizer(rule, p, lr=0.05, convention=c), parameters(), steps=4, lrs=lrs)
        for c in ("d2l", "torch")
    )
    assert float((d2l - torch_s).abs().max()) > 1e-8


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rule", TORCH)
def test_half_precision_follows_torch_within_its_rounding(rule: str, dtype: torch.dtype) -> None:
    own, form, theirs = TORCH[rule]
    own, theirs = (
        {**own, **({"eps": 1e-3} if "eps" in own else {})},
        {**theirs, **({"eps": 1e-3} if "eps" in theirs else {})},
    )
    ours = after(lambda p: create_optimizer(rule, p, lr=0.05, **own), parameters(dtype), steps=5, lrs=(0.05,))
    exact = after(lambda p: form(p, lr=0.05, **theirs), parameters(torch.float64), steps=5, lrs=(0.05,))
    assert ours.dtype == dtype
    # A weight of about 1 is rounded to 2^-9 (bfloat16) or 2^-12 (float16) of itself at each of five steps.
    assert float((ours.double() - exact).abs().mean()) <= {torch.bfloat16: 5 * 2**-9, torch.float16: 5 * 2**-12}[dtype]


_COMPILED = """
import inspect
import torch
from twofold.optim import rules
from twofold.optim.compiled import UPDATES
for rule, form in rules.OPTIMIZERS.items():
    if "compile" not in inspect.signature(form).parameters:
        continue
    for convention in ("torch", "d2l"):
        for decay in (0.0, 0.1):
            ends = []
            for compiled in (True, False):
                begin = [torch.linspace(-1, 1, size) for size in (1, 0, 9_000, 70_000)]
                begin.append(torch.linspace(-1, 1, 288).reshape(4, 8, 3, 3).to(memory_format=torch.channels_last))
                begin.append(torch.complex(torch.linspace(-1, 1, 7), torch.linspace(1, 0, 7)))
                own = [torch.nn.Parameter(one.clone()) for one in begin]
                optimizer = rules.create_optimizer(
                    rule, own, lr=0.05, weight_decay=decay, convention=convention, compile=compiled
                )
                for step in range(4):
                    optimizer.param_groups[0]["lr"] = 0.05 / (1 + step)
                    for one in own:
                        one.grad = torch.cos(one.detach() * 9 + step)
                    if step == 2:  # halfway through from a checkpoint
                        optimizer.load_state_dict(optimizer.state_dict())
                    optimizer.step()
                ends.append([one.detach() for one in own])
            gaps = [[(one - other).abs().max().item() for one, other in zip(ends[0], of) if one.numel()]
                    for of in (ends[1], begin)]
            print(rule, convention, decay, max(gaps[0]), min(gaps[1]))
print(len(UPDATES))
"""


_COMING_AND_GOING = """
import warnings
import torch
from twofold.optim.compiled import UPDATES
from twofold.optim.rules import create_optimizer
warnings.simplefilter("error")
def own():
    four = torch.arange(288.0).reshape(4, 8, 3, 3).sin().to(memory_format=torch.channels_last)
    begin = torch.linspace(-1, 1, 9_000), torch.ones(3, 2).double(), four, torch.full((5,), 2.0)
    return [torch.nn.Parameter(one) for one in begin]
both = [own(), own()]
optimizers = [create_optimizer("adadelta", one, lr=0.5, compile=compiled) for one, compiled in zip(both, (True, False))]
for step in range(1, 13):
    for parameters, optimizer in zip(both, optimizers):
        for index, one in enumerate(parameters):
            one.grad = torch.cos(one.detach() * 9 + step) if step >> index & 1 else None
        optimizer.step()
    gaps = [(one - other).abs().max().item() for one, other in zip(*both)]
    print(len(UPDATES), max(gaps))
again = create_optimizer("adadelta", both[0], lr=0.5, compile=True)
again.step()
print(len(UPDATES), 0.0)
"""


def test_gradients_that_come_and_go() -> None:
    """An optimiser compiles each list of tensors, up to eight; the others it updates uncompiled."""
    command = [sys.executable, "-c", _COMING_AND_GOING]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    rows = [[float(number) for number in line.split()] for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 9]
    assert max(gap for _, gap in rows) < 1e-6


def test_compiled_it_is_the_same_rule() -> None:
    """In a process of its own: the shape checks of the tests cannot be compiled along."""
    done = subprocess.run([sys.executable, "-c", _COMPILED], capture_output=True, text=True, check=True, timeout=300)
    *rows, count = [line.split() for line in done.stdout.splitlines()]
    compiled = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta")
    assert [row[:3] for row in rows] == [
        [rule, convention, decay] for rule in compiled for convention in ("torch", "d2l") for decay in ("0.0", "0.1")
    ]
    for *_, gap, moved in rows:
        assert float(gap) < 1e-5 < float(moved)
    # The conventions of SGD, Nesterov and AdaDelta are one; each with and without a decay.
    assert count == [str(2 * (3 + 2 * 3))]


@pytest.mark.parametrize("rule", TORCH)
def test_groups_with_settings_of_their_own(rule: str) -> None:
    own, form, theirs = TORCH[rule]

    def groups(p: list[nn.Parameter]) -> list[dict[str, Any]]:
        return [{"params": p[:2], "weight_decay": 0.2}, {"params": p[2:], "lr_scale": 0.1}]

    ours = after(lambda p: create_optimizer(rule, groups(p), lr=0.05, weight_decay=0.0, **own), parameters())
    assert_equal(ours, after(lambda p: form(groups(p), lr=0.05, weight_decay=0.0, **theirs), parameters()))


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_a_group_of_several_types(rule: str) -> None:
    both = [*parameters(torch.float32), *parameters(torch.float64), *parameters(torch.complex64)]
    apart = copy.deepcopy(both)
    together = [create_optimizer(rule, both, lr=0.05, **TORCH[rule][0])]
    alone = [create_optimizer(rule, apart[at : at + 5], lr=0.05, **TORCH[rule][0]) for at in (0, 5, 10)]
    for step in range(3):
        for one, other in zip(both, apart, strict=True):
            one.grad = torch.full_like(one, 0.5 - step)
            other.grad = one.grad.clone()
        for optimizer in together + alone:
            optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(both, apart, strict=True))


@pytest.mark.parametrize("everywhere", [False, True])
def test_hooks_are_called_around_a_step(everywhere: bool) -> None:
    own = nn.Parameter(torch.ones(2))
    own.grad = torch.ones(2)
    optimizer = create_optimizer("momentum", [own], lr=0.5)
    seen: list[tuple[str, float]] = []

    def before(*_: Any) -> None:
        seen.append(("before", own[0].item()))

    def after_it(*_: Any) -> None:
        seen.append(("after", own[0].item()))

    if everywhere:
        handles = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after_it)]
    else:
        handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after_it)]
    optimizer.step()
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert seen == [("before", 1.0), ("after", 0.5)]
    assert own[0].item() == pytest.approx(-0.45)  # v = 1, then 1.9


def test_a_profiler_sees_the_step() -> None:
    own = nn.Parameter(torch.ones(2))
    own.grad = torch.ones(2)
    optimizer = create_optimizer("adam", [own])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    assert "Optimizer.step#Adam.step" in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("rule", TORCH)
def test_a_parameter_without_a_gradient_is_left_alone(rule: str) -> None:
    one, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = create_optimizer(rule, [one, other], lr=0.1, weight_decay=0.5)
    one.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(other.detach(), torch.ones(3))
    assert other not in optimizer.state
    assert not torch.equal(one.detach(), torch.ones(3))


@pytest.mark.parametrize("rule", TORCH)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_gradients_are_left_as_they_were(rule: str, decay: float) -> None:
    own = parameters()
    optimizer = create_optimizer(rule, own, lr=0.1, weight_decay=decay)
    for parameter in own:
        parameter.grad = torch.full_like(parameter, 0.7)
    optimizer.step()
    for parameter in own:
        assert torch.equal(parameter.grad, torch.full_like(parameter, 0.7))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", TORCH)
def test_closure(rule: str) -> None:
    x = nn.Parameter(torch.tensor([3.0]))
    optimizer = create_optimizer(rule, [x], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 9.0
    assert x.item() < 3.0


@pytest.mark.parametrize("rule", TORCH)
def test_a_state_dict_goes_on_to_the_same_bits_in_any_layout(rule: str) -> None:
    def train(own: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in own:
                parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
            optimizer.step()

    own = parameters(torch.float32, channels_last=True)
    optimizer = create_optimizer(rule, own, lr=0.05)
    train(own, optimizer, range(3))
    other = [nn.Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in own]
    again = create_optimizer(rule, other, lr=0.7)
    # Row by row, as a file holds it.
    saved = copy.deepcopy(optimizer.state_dict())
    for state in saved["state"].values():
        state.update({name: value.contiguous() for name, value in state.items()})
    again.load_state_dict(saved)
    assert again.param_groups[0]["lr"] == 0.05
    train(own, optimizer, range(3, 6))
    train(other, again, range(3, 6))
    for one, two in zip(own, other, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("rule", [rule for rule in TORCH if rule != "sgd"])  # which has none
def test_a_state_of_another_shape_is_refused_and_nothing_is_taken(rule: str) -> None:
    small, large = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3, 5))
    for parameter in (small, large):
        parameter.grad = torch.ones_like(parameter)
    optimizer, other = create_optimizer(rule, [small], lr=0.1), create_optimizer(rule, [large], lr=0.2)
    optimizer.step()
    other.step()
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(TwofoldError, match=r"has the shape \(2,\), not \(3, 5\) of its parameter"):
        other.load_state_dict(optimizer.state_dict())
    after = other.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(torch.equal(after["state"][0][name], value) for name, value in before["state"][0].items())


def test_a_gradient_in_another_layout_reaches_the_right_weights() -> None:
    weight = nn.Parameter(torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last))
    weight.grad = torch.arange(120.0).view(2, 3, 4, 5)
    create_optimizer("sgd", [weight], lr=1.0).step()
    assert torch.equal(weight.detach(), -torch.arange(120.0).view(2, 3, 4, 5))


@pytest.mark.parametrize("rule", TORCH)
def test_a_tensor_with_gaps_in_memory(rule: str) -> None:
    holds, plain = torch.zeros(4, 6), nn.Parameter(torch.ones(4, 3))
    holds[:, ::2] = 1.0
    gapped = holds[:, ::2].requires_grad_()
    for own in (gapped, plain):
        optimizer = create_optimizer(rule, [own], lr=0.1)
        own.grad = torch.arange(12.0).view(4, 3)
        optimizer.step()
    assert torch.allclose(gapped, plain)
    assert torch.equal(holds[:, 1::2], torch.zeros(4, 3))


@pytest.mark.parametrize("rule", TORCH)
def test_sparse_gradients_are_refused(rule: str) -> None:
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = create_optimizer(rule, table.parameters(), lr=0.1)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(TwofoldError, match=r"takes dense gradients, but group 0 has a sparse one; .* sparse=False"):
        optimizer.step()


@pytest.mark.parametrize(
    ("rule", "settings", "words"),
    [
        ("sgd", {"lr": -0.1}, "SGD: lr must be 0 or more, and finite, got -0.1"),
        ("sgd", {"lr": float("nan")}, "lr must be 0 or more, and finite, got nan"),
        ("momentum", {"lr": 0.1, "momentum": 1.0}, "Momentum: momentum must be at least 0 and below 1, got 1.0"),
        ("rmsprop", {"lr": 0.1, "gamma": -0.2}, "RMSProp: gamma must be at least 0 and below 1, got -0.2"),
        ("adadelta", {"rho": 1.5}, "AdaDelta: rho must be at least 0 and below 1, got 1.5"),
        ("adam", {"beta2": 1.0}, "Adam: beta2 must be at least 0 and below 1, got 1.0"),
        ("adagrad", {"lr": 0.1, "eps": -1e-6}, "AdaGrad: eps must be 0 or more"),
        ("adamw", {"weight_decay": float("inf")}, "AdamW: weight_decay must be 0 or more, and finite, got inf"),
        ("adagrad", {}, "adagrad needs a learning rate"),
        ("adam", {"rho": 0.9}, "unknown setting of adam 'rho'"),
        ("rmsprob", {"lr": 0.1}, "unknown optimizer 'rmsprob': did you mean rmsprop"),
    ],
)
def test_wrong_settings(rule: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TwofoldError) as caught:
        create_optimizer(rule, [nn.Parameter(torch.zeros(1))], **settings)
    assert words in str(caught.value)


def test_a_group_s_wrong_setting_is_refused_as_well() -> None:
    optimizer = create_optimizer("momentum", [nn.Parameter(torch.zeros(1))], lr=0.1)
    for name, value, words in (
        ("momentum", 2.0, "momentum must be at least 0 and below 1, got 2.0"),
        ("convention", "book", "convention must be 'd2l' or 'torch', got 'book'"),
        ("lr", "fast", "lr must be 0 or more, and finite, got 'fast'"),
    ):
        with pytest.raises(TwofoldError) as caught:
            optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], name: value})
        assert words in str(caught.value)


def test_torch_s_schedulers_move_it() -> None:
    optimizer = create_optimizer("adagrad", [nn.Parameter(torch.zeros(1))], lr=0.8)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.4


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 7))
def test_pieces_cover_each_element_once(channels: int, rows: int, piece: int) -> None:
    x = torch.arange(float(2 * channels * rows * 3)).view(2, channels, rows, 3)
    for tensor in (x, x.contiguous(memory_format=torch.channels_last)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "PIECE", piece)
            cut = [(one.reshape(-1), two.reshape(-1)) for one, two in layout.pieces(tensor, tensor.clone())]
        seen = torch.cat([one for one, _ in cut])
        assert torch.equal(seen.sort().values, x.reshape(-1))
        assert all(torch.equal(one, two) for one, two in cut)
        assert max(len(one) for one, _ in cut) <= max(piece, 1) or len(cut) == 1
