"""Cases of update rules and schedules: the readable form against `twofold.optim`, and against torch.optim.

D2L's conventions have no class in torch. Each is still checked against one, by an identity that is given where it is
used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import lr_scheduler

from twofold.optim import rules
from twofold.optim.schedule import Schedule
from twofold.proof.parity import Case, Choose, KeyedChoose, Parity, Refusal, Results
from twofold.scratch import optim, schedule

_STEPS = 12


def _moving(lr: float, step: int) -> float:
    """Return the learning rate of a step: it changes half way, since that is where conventions part."""
    return lr if step < _STEPS // 2 else lr / 4


@dataclass(frozen=True)
class _Drawn:
    """A rule's learning rate and settings, and torch's optimiser with its own (at the same learning rate).

    Where the conventions differ, `before` changes torch's optimiser and gradient before each step so that both are
    equal; it then sets the learning rate too.
    """

    lr: float
    settings: dict[str, Any]
    torch_class: Callable[..., torch.optim.Optimizer]
    torch_settings: dict[str, Any] = field(default_factory=dict)
    before: Callable[[torch.optim.Optimizer, Tensor, int], None] | None = None
    covers: str = ""


def _rule_case(rule: str, drawn: _Drawn, x: Tensor, grads: Tensor, covers: str = "") -> Case:
    """Return a case of one rule: start `x`, a step for each of `grads`, the learning rate changing half way."""

    def read(x: Tensor, grads: Tensor) -> Results:
        update, kept = optim.RULES[rule]
        # Looked up by name, so that the cases prove what the module holds now.
        update = getattr(optim, update.__name__)
        state = [torch.zeros_like(x) for _ in kept]
        for step, grad in enumerate(grads):
            counted = {"step": step + 1} if rule in optim.COUNTING else {}
            update(x, grad, *state, lr=_moving(drawn.lr, step), **drawn.settings, **counted)
        return {"update x": x, "update x by torch": x}

    def run(x: Tensor, grads: Tensor) -> Results:
        own = rules.create_optimizer(rule, [own_x := Parameter(x.clone())], lr=drawn.lr, **drawn.settings)
        by_torch = drawn.torch_class([torch_x := Parameter(x)], **{"lr": drawn.lr, **drawn.torch_settings})
        for optimizer, parameter, before in ((own, own_x, None), (by_torch, torch_x, drawn.before)):
            for step, grad in enumerate(grads):
                parameter.grad = grad.clone()
                if before is None:
                    optimizer.param_groups[0]["lr"] = _moving(drawn.lr, step)
                else:
                    before(optimizer, parameter, step)
                optimizer.step()
        return {"update x": own_x.detach(), "update x by torch": torch_x.detach()}

    return Case({"x": x, "grads": grads}, read, run, ("changing learning rate", covers, drawn.covers))


def _rule(rule: str, build: Callable[[Choose], _Drawn]) -> Parity:
    """Return the parity of a rule; `build` chooses settings and torch's counterpart."""

    def draw(choose: Choose) -> Case:
        shape = choose.integer(0, 4), choose.integer(1, 4)
        covers = "no elements" if 0 in shape else ""
        drawn = build(choose)
        return _rule_case(rule, drawn, choose.normal(*shape), choose.normal(_STEPS, *shape), covers)

    def typical(choose: Choose) -> Case:
        return _rule_case(rule, build(KeyedChoose(rule, 1)), choose.normal(1_000_000), choose.normal(2, 1_000_000))

    def refused() -> Iterator[Refusal]:
        if rule in ("momentum", "adagrad", "rmsprop"):
            x = torch.zeros(1)
            wrong: dict[str, Any] = {"lr": 0.1, "convention": "other"}
            yield Refusal(
                "an unknown convention",
                lambda: getattr(optim, rule)(x, x, x.clone(), **wrong),
                lambda: rules.create_optimizer(rule, [Parameter(x)], **wrong),
            )

    return Parity(draw=draw, typical=typical, refusals=refused)


def _lr(choose: Choose) -> float:
    return choose.pick((0.1, 0.01, 0.5))


_TORCH, _D2L = "torch's convention", "D2L's convention"


def _sgd(choose: Choose) -> _Drawn:
    return _Drawn(_lr(choose), {}, torch.optim.SGD)


def _momentum(choose: Choose) -> _Drawn:
    lr, gamma = _lr(choose), choose.pick((0.9, 0.5, 0.0))
    if choose.integer(0, 1) == 0:
        settings = {"momentum": gamma, "convention": "torch"}
        return _Drawn(lr, settings, torch.optim.SGD, {"momentum": gamma}, covers=_TORCH)

    def scale(_: torch.optim.Optimizer, parameter: Tensor, step: int) -> None:
        # v ← γv + ηg, x ← x − v is torch's rule at a learning rate of 1 for the gradient ηg.
        assert parameter.grad is not None
        parameter.grad *= _moving(lr, step)

    settings = {"momentum": gamma, "convention": "d2l"}
    return _Drawn(lr, settings, torch.optim.SGD, {"lr": 1.0, "momentum": gamma}, scale, _D2L)


def _nesterov(choose: Choose) -> _Drawn:
    lr, settings = _lr(choose), {"momentum": choose.pick((0.9, 0.5))}
    return _Drawn(lr, settings, torch.optim.SGD, {**settings, "nesterov": True})


def _adagrad(choose: Choose) -> _Drawn:
    lr, eps = _lr(choose), choose.pick((1e-6, 1e-2))
    if choose.integer(0, 1) == 0:
        return _Drawn(lr, {"eps": eps, "convention": "torch"}, torch.optim.Adagrad, {"eps": eps}, covers=_TORCH)
    # √(s + ε): a sum that starts at ε instead of 0, and nothing added to the root.
    settings = {"eps": 0.0, "initial_accumulator_value": eps}
    return _Drawn(lr, {"eps": eps, "convention": "d2l"}, torch.optim.Adagrad, settings, covers=_D2L)


def _rmsprop(choose: Choose) -> _Drawn:
    lr, gamma, eps = _lr(choose), choose.pick((0.9, 0.99, 0.5)), choose.pick((1e-6, 1e-2))
    if choose.integer(0, 1) == 0:
        settings = {"gamma": gamma, "eps": eps, "convention": "torch"}
        return _Drawn(lr, settings, torch.optim.RMSprop, {"alpha": gamma, "eps": eps}, covers=_TORCH)

    def forget(optimizer: torch.optim.Optimizer, parameter: Tensor, step: int) -> None:
        # AdaDelta steps by √(Δ + ε)/√(s + ε) · g. With Δ set to 0 each time that is √ε/√(s + ε) · g: RMSProp with ε
        # inside the root, at a learning rate of η/√ε.
        optimizer.param_groups[0]["lr"] = _moving(lr, step) / math.sqrt(eps)
        if "acc_delta" in optimizer.state[parameter]:
            optimizer.state[parameter]["acc_delta"].zero_()

    settings = {"gamma": gamma, "eps": eps, "convention": "d2l"}
    return _Drawn(lr, settings, torch.optim.Adadelta, {"rho": gamma, "eps": eps}, forget, _D2L)


def _adadelta(choose: Choose) -> _Drawn:
    lr, settings = choose.pick((1.0, 0.5)), {"rho": choose.pick((0.9, 0.5)), "eps": choose.pick((1e-6, 1e-3))}
    return _Drawn(lr, settings, torch.optim.Adadelta, settings)


def _adam(choose: Choose) -> _Drawn:
    lr, betas, eps = _lr(choose), choose.pick(((0.9, 0.999), (0.5, 0.9), (0.0, 0.99))), choose.pick((1e-8, 1e-3))
    settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps}
    return _Drawn(lr, settings, torch.optim.Adam, {"betas": betas, "eps": eps})


def _adamw(choose: Choose) -> _Drawn:
    lr, settings = _lr(choose), {"weight_decay": choose.pick((0.01, 0.5, 0.0))}
    return _Drawn(lr, settings, torch.optim.AdamW, settings)


sgd, momentum, nesterov = _rule("sgd", _sgd), _rule("momentum", _momentum), _rule("nesterov", _nesterov)
adagrad, rmsprop, adadelta = _rule("adagrad", _adagrad), _rule("rmsprop", _rmsprop), _rule("adadelta", _adadelta)
adam, adamw = _rule("adam", _adam), _rule("adamw", _adamw)


def _draw_groups(choose: Choose) -> Case:
    """Two groups with their own learning rates, both changed by hand, and weight decay in one of them."""
    rule = choose.pick(("sgd", "momentum", "adam"))
    first, second, decay = _lr(choose), _lr(choose), choose.pick((0.0, 0.1))
    settings: dict[str, Any] = {"momentum": 0.9} if rule == "momentum" else {}

    def read(x: Tensor, y: Tensor, grads: Tensor) -> Results:
        optimizer = optim.Optimizer(rule, [{"params": [x]}, {"params": [y], "lr": second}], lr=first, **settings)
        for step, grad in enumerate(grads):
            if step == _STEPS // 2:
                for group in optimizer.groups:
                    group["lr"] *= 0.1
            optimizer.step([optim.decayed(grad, x, decay), grad])
        return {"update x": x, "update y": y}

    def run(x: Tensor, y: Tensor, grads: Tensor) -> Results:
        parameters = Parameter(x), Parameter(y)
        groups = [
            {"params": [parameters[0]], "weight_decay": decay, "lr": first},
            {"params": [parameters[1]], "lr": second},
        ]
        optimizer = rules.create_optimizer(rule, groups, lr=first, **settings)
        for step, grad in enumerate(grads):
            if step == _STEPS // 2:
                for group in optimizer.param_groups:
                    group["lr"] *= 0.1
            for parameter in parameters:
                parameter.grad = grad.clone()
            optimizer.step()
        return {"update x": parameters[0].detach(), "update y": parameters[1].detach()}

    inputs = {"x": choose.normal(3), "y": choose.normal(3), "grads": choose.normal(_STEPS, 3)}
    return Case(inputs, read, run, (rule, "weight decay" if decay else ""))


parameter_groups = Parity(
    draw=_draw_groups,
    refusals=lambda: [
        Refusal(
            "an unknown setting",
            lambda: optim.Optimizer("sgd", [torch.zeros(1)], lr=0.1, speed=2.0).step([torch.zeros(1)]),
            lambda: rules.create_optimizer("sgd", [torch.zeros(1)], lr=0.1, speed=2.0),
        )
    ],
)

# schedules


def _draw_schedule(choose: Choose) -> Case:
    name = choose.pick(("exponential", "step", "power", "cosine", "one-cycle", "warmup-cosine"))
    lr, steps = choose.pick((0.1, 1.0)), choose.integer(1, 40)
    factor, period = choose.pick((0.5, 0.95)), choose.integer(1, 5)
    warmup, final = choose.pick((0.0, 0.25, 1.0)), choose.pick((0.0, 0.1))
    ends = {"warmup": warmup, "final_lr": final}
    # By hand, the settings of a `Schedule`, and torch's scheduler.
    forms: dict[str, tuple[Callable[[int], float], dict[str, float], Callable[[torch.optim.Optimizer], Any] | None]] = {
        "exponential": (
            lambda t: schedule.exponential(lr, factor, t),
            {"alpha": factor},
            lambda optimizer: lr_scheduler.ExponentialLR(optimizer, factor),
        ),
        "step": (
            lambda t: schedule.step(lr, factor, period, t),
            {"step_epochs": float(period), "step_factor": factor},
            lambda optimizer: lr_scheduler.StepLR(optimizer, period, factor),
        ),
        "power": (
            lambda t: schedule.power(lr, -factor, t + 1),
            {"alpha": -factor},
            lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda t: (t + 1) ** -factor),
        ),
        "cosine": (
            lambda t: schedule.warmup_cosine(lr, t / steps, warmup=0.0, final_lr=0.0),
            {},
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, steps),
        ),
        # Torch has no such shapes; tests/optim/test_schedule.py sets torch's nearest one beside each.
        "one-cycle": (lambda t: schedule.one_cycle(lr, t / steps, **ends), ends, None),
        "warmup-cosine": (lambda t: schedule.warmup_cosine(lr, t / steps, **ends), ends, None),
    }
    by_hand, settings, torch_scheduler = forms[name]

    def read() -> Results:
        rates = torch.tensor([by_hand(t) for t in range(steps)], dtype=torch.float64)
        return {"value": rates, "value by torch": rates}

    def run() -> Results:
        fast = Schedule(name="warmup-cosine" if name == "cosine" else name, lr=lr, **settings)  # type: ignore[arg-type]
        rates = torch.tensor([fast.at(t / steps, t) for t in range(steps)], dtype=torch.float64)
        if torch_scheduler is None:
            return {"value": rates, "value by torch": rates}
        optimizer = torch.optim.SGD([Parameter(torch.zeros(1))], lr=lr)
        scheduler, by_torch = torch_scheduler(optimizer), []
        for _ in range(steps):
            by_torch.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return {"value": rates, "value by torch": torch.tensor(by_torch, dtype=torch.float64)}

    return Case({}, read, run, (name,), dtypes=(torch.float64,))


schedules = Parity(draw=_draw_schedule)
