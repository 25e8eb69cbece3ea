"""The update rules of `scratch.optim`, as optimisers that run at scale.

Same names, same settings, same state as the readable form; `torch.optim.Optimizer`s to whoever uses them. Each rule
comes in two conventions, "torch" (the default) and "d2l"; `scratch.optim` shows where they differ. SGD, Nesterov,
AdaDelta, Adam and AdamW are the same in both.

In order of complexity: SGD, Momentum, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, AdamW. Where torch has a fused
kernel, a rule is a call of torch's functional optimiser: D2L's momentum and AdaGrad at other settings (a dampening of
1 − η; a sum that begins at ε), RMSProp as a limit of Adam. AdaDelta, and RMSProp in D2L's convention, have none and run
in pieces that fit the CPU's cache. With `compile=True` it is the readable form itself, compiled.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from twofold.errors import TwofoldError, check_known
from twofold.optim import compiled
from twofold.optim.layout import is_fusible, laid_out_like, pieces
from twofold.scratch import optim as scratch
from twofold.scratch.optim import Convention

# Lists of tensors: parameters, gradients, and each kind of state in the order of `state_names`.
Columns = list[list[Tensor]]
Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class Rule(torch.optim.Optimizer):
    """What all rules share: checked settings, state that is made as gradients come, one way through the groups.

    State dicts load into any memory format: state is laid out as its parameter is, which torch's fused kernels need
    and do not check.

    Attributes:
        state_names: the tensors kept beside each parameter, in the order of the readable form's arguments.
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    # What `compile=True` runs: the rule of `scratch.optim`, and which of a group's settings it takes.
    _readable: ClassVar[Callable[..., None]]
    _takes: ClassVar[tuple[str, ...]] = ()
    # Whether torch has a kernel for whole lists on a GPU, where a compiled rule is a call for each tensor.
    _has_gpu_kernel: ClassVar[bool] = True
    _num_compiled = 0

    def __init__(self, params: Params, **defaults: Any) -> None:
        super().__init__(params, {"weight_decay": 0.0, **defaults})  # type: ignore[arg-type]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; settings that it leaves out are the optimiser's.

        Raises:
            TwofoldError: a setting is out of range.
        """
        check_settings(type(self).__name__, {**self.defaults, **param_group})
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state and the groups' settings from `state_dict`; see torch.optim.Optimizer.

        Raises:
            TwofoldError: a state has another shape than its parameter: it is that of others, or in another order.
        """
        kept = self.state, self.param_groups
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            for name in self.state_names:
                if name in state:
                    # The fused kernels go by the parameter alone, and would read and write beyond a smaller one.
                    if state[name].shape != parameter.shape:
                        shapes = f"{tuple(state[name].shape)}, not {tuple(parameter.shape)}"
                        self.state, self.param_groups = kept
                        raise TwofoldError(f"a {name} has the shape {shapes} of its parameter")
                    state[name] = laid_out_like(state[name], parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; return what `closure` returned.

        Args:
            closure: computes the loss and its gradients anew; called once, before the update.

        Raises:
            TwofoldError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.update()
        return loss

    def update(self) -> None:
        """Do what `step` does, without torch's hooks around it, which cost more than a step of two weights.

        The parameters are tensors without `requires_grad`, or autograd is off.
        """
        work = [(self._columns(index, group), group) for index, group in enumerate(self.param_groups)]
        work = [(columns, group) for columns, group in work if columns[0]]
        compiled_groups = [(columns, group) for columns, group in work if group.get("compile")]
        is_done = bool(compiled_groups) and self._update_compiled(compiled_groups)
        for columns, group in work:
            if not (is_done and group.get("compile")):
                self._update(columns, group)

    def _columns(self, index: int, group: dict[str, Any]) -> Columns:
        """Collect the group's parameters that have a gradient, the gradients, and the tensors of each kind of state."""
        x = [parameter for parameter in group["params"] if parameter.grad is not None]
        grad = [parameter.grad for parameter in x]
        if any(g.is_sparse for g in grad):
            raise TwofoldError(
                f"{type(self).__name__} takes dense gradients, but group {index} has a sparse one; "
                "build the embedding with sparse=False, or use torch.optim.SparseAdam for it"
            )
        states = [self.state[parameter] for parameter in x] if self.state_names else []
        for state, parameter in zip(states, x, strict=False):
            if not state:
                self._begin(state, parameter, group)
        grad = [laid_out_like(g, parameter) for g, parameter in zip(grad, x, strict=True)]
        columns = [x, grad, *[[state[name] for state in states] for name in self.state_names]]
        if any(map(Tensor.is_complex, x)):
            # A complex element is updated as the two real ones that it is made of, as torch does.
            columns = [[torch.view_as_real(one) if one.is_complex() else one for one in column] for column in columns]
        return columns

    def _begin(self, state: dict[str, Any], parameter: Tensor, group: dict[str, Any]) -> None:
        for name in self.state_names:
            state[name] = torch.zeros_like(parameter)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        """What the readable form is called with."""
        return {name: group[name] for name in self._takes}

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        raise NotImplementedError

    def _update_compiled(self, work: list[tuple[Columns, dict[str, Any]]]) -> bool:
        """Carry out the readable form compiled; False where this is no device for it, or too much was compiled."""
        if self._has_gpu_kernel and any(columns[0][0].device.type != "cpu" for columns, _ in work):
            return False
        rule, groups = type(self)._readable, []
        for columns, group in work:
            decay = {"weight_decay": group["weight_decay"]} if group["weight_decay"] else {}
            groups.append((columns, {**self._settings(group), **decay}))
        key = compiled.key_of(rule, groups)
        if key not in compiled.UPDATES:
            if self._num_compiled == compiled.MOST_LISTS:
                return False
            self._num_compiled += 1
        compiled.update(key, rule, groups)
        return True


def _fused(x: list[Tensor]) -> dict[str, Any]:
    return {"fused": is_fusible(x), "foreach": False}


def _decayed(grad: list[Tensor], x: list[Tensor], weight_decay: float) -> list[Tensor]:
    return [g.add(w, alpha=weight_decay) for g, w in zip(grad, x, strict=True)] if weight_decay else grad


class SGD(Rule):
    """Gradient descent, x ← x − ηg: of all examples, of one (stochastic), of a minibatch (Robbins and Monro, 1951).

    Args:
        params: parameters, or groups of them.
        lr: learning rate η.
        weight_decay: λ; λx is added to the gradient.
        convention: the same in both.
        compile: run the readable form, compiled by torch; see `compiled` for when it is worth its seconds.
    """

    _readable = staticmethod(scratch.sgd)
    _takes = ("lr",)

    def __init__(
        self,
        params: Params,
        lr: float,
        *,
        weight_decay: float = 0.0,
        convention: Convention = "torch",
        compile: bool = False,
    ):
        super().__init__(params, lr=lr, weight_decay=weight_decay, convention=convention, compile=compile)

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        x, grad = columns
        lr, decay = group["lr"], group["weight_decay"]
        if decay or x[0].device.type != "cpu":
            plain = {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False}
            sgd(x, grad, [None] * len(x), **_fused(x), lr=lr, weight_decay=decay, **plain)
        else:
            for w, g in zip(x, grad, strict=True):
                w.add_(g, alpha=-float(lr))


class Momentum(Rule):
    """torch: v ← γv + g, x ← x − ηv; D2L: v ← γv + ηg, x ← x − v (Polyak, 1964). γ is `momentum`; else as `SGD`."""

    state_names = ("velocity",)
    _readable = staticmethod(scratch.momentum)
    _takes = ("lr", "momentum", "convention")

    def __init__(
        self,
        params: Params,
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        convention: Convention = "torch",
        compile: bool = False,
    ):
        settings = {"momentum": momentum, "convention": convention, "compile": compile}
        super().__init__(params, lr=lr, weight_decay=weight_decay, **settings)

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        if group["convention"] == "torch":
            _momentum(columns, group, lr=group["lr"])
        else:
            # With τ = 1 − η and a learning rate of 1 it is D2L's.
            _momentum(columns, group, lr=1.0, dampening=1.0 - group["lr"])


class Nesterov(Momentum):
    """v ← γv + g, x ← x − η(g + γv): momentum that looks ahead (Nesterov, 1983; Sutskever et al., 2013)."""

    _readable = staticmethod(scratch.nesterov)
    _takes = ("lr", "momentum")

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        _momentum(columns, group, lr=group["lr"], nesterov=True)


def _momentum(
    columns: Columns, group: dict[str, Any], *, lr: float | Tensor, dampening: float = 0.0, nesterov: bool = False
) -> None:
    """v ← γv + (1 − τ)(g + λx), x ← x − ηv, τ the dampening."""
    (x, grad, velocity), momentum, decay = columns, group["momentum"], group["weight_decay"]
    if momentum == 0.0:
        # torch's kernel then ignores velocity and dampening. Kept up here, so that momentum can be raised later.
        for w, g, v in zip(x, _decayed(grad, x, decay), velocity, strict=True):
            torch.mul(g, 1.0 - dampening, out=v)
            w.sub_(v, alpha=lr)  # type: ignore[arg-type]
        return
    settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov, "maximize": False}
    sgd(x, grad, [*velocity], **_fused(x), weight_decay=decay, **settings)


class AdaGrad(Rule):
    """s ← s + g²; torch: x ← x − ηg/(√s + ε), D2L: x ← x − ηg/√(s + ε) (Duchi, Hazan and Singer, 2011).

    In D2L's convention the sum begins at ε, which is that rule with nothing added to the root. The other settings are
    as `SGD` has them.
    """

    state_names = ("square_sum",)
    _readable = staticmethod(scratch.adagrad)
    _takes = ("lr", "eps", "convention")

    def __init__(
        self,
        params: Params,
        lr: float,
        *,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        convention: Convention = "torch",
        compile: bool = False,
    ):
        settings = {"eps": eps, "convention": convention, "compile": compile}
        super().__init__(params, lr=lr, weight_decay=weight_decay, **settings)

    def _begin(self, state: dict[str, Any], parameter: Tensor, group: dict[str, Any]) -> None:
        begin = group["eps"] if group["convention"] == "d2l" else 0.0
        # Both parts of a complex element, each of which has a sum of its own.
        value = complex(begin, begin) if parameter.is_complex() else begin
        state["square_sum"] = torch.full_like(parameter, value)

    def _settings(self, group: dict[str, Any]) -> dict[str, Any]:
        # In D2L's convention ε is in the sum.
        return {**super()._settings(group), "eps": group["eps"] if group["convention"] == "torch" else 0.0}

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        x, grad, square_sum = columns
        steps = [torch.zeros(())] * len(x)  # for a decay of the learning rate, which is not used
        how = _fused(x) if x[0].device.type == "cpu" else {}
        settings = {"lr": group["lr"], "eps": self._settings(group)["eps"], "weight_decay": group["weight_decay"]}
        adagrad(x, grad, square_sum, steps, **how, **settings, lr_decay=0.0, maximize=False)


class RMSProp(Rule):
    """s ← γs + (1 − γ)g²; torch: x ← x − ηg/(√s + ε), D2L: x ← x − ηg/√(s + ε) (Tieleman and Hinton, 2012).

    `gamma` is γ, the share of the average that is kept, which torch calls alpha; `eps` is ε. The other settings are as
    `SGD` has them.
    """

    state_names = ("square_avg",)
    _readable = staticmethod(scratch.rmsprop)
    _takes = ("lr", "gamma", "eps", "convention")
    _has_gpu_kernel = False

    def __init__(
        self,
        params: Params,
        lr: float,
        *,
        gamma: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        convention: Convention = "torch",
        compile: bool = False,
    ):
        settings = {"gamma": gamma, "eps": eps, "convention": convention, "compile": compile}
        super().__init__(params, lr=lr, weight_decay=weight_decay, **settings)

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        x, grad, square_avg = columns
        decay = group["weight_decay"]
        if group["convention"] == "torch" and x[0].device.type == "cpu" and is_fusible(x):
            # Adam with β₁ = 0, so late that the correction of its start is 1. Its average of gradients is then the
            # gradient: the kernel reads it and writes it back as it was. Where weights decay it would write g + λx, so
            # there it gets tensors of its own.
            averages = [torch.zeros_like(g) for g in grad] if decay else grad
            late = [torch.tensor(1e9)] * len(x)
            _adam([x, grad, averages, square_avg], late, group, beta1=0.0, beta2=group["gamma"])
        else:
            gamma, eps = group["gamma"], group["eps"]
            for row in zip(x, _decayed(grad, x, decay), square_avg, strict=True):
                for w, g, s in pieces(*row):
                    s.mul_(gamma).addcmul_(g, g, value=1.0 - gamma)
                    root = (s + eps).sqrt_() if group["convention"] == "d2l" else s.sqrt().add_(eps)
                    w.addcdiv_(g, root, value=-group["lr"])


class AdaDelta(Rule):
    """s ← ρs + (1 − ρ)g²; g′ = √((Δ + ε)/(s + ε)) g; x ← x − ηg′; Δ ← ρΔ + (1 − ρ)g′² (Zeiler, 2012).

    `lr` is η, which torch multiplies the step by, and 1, as in D2L, unless given; `rho` is ρ, the share of the averages
    that is kept; `eps` is ε. The other settings are as `SGD` has them.
    """

    state_names = ("square_avg", "delta_avg")
    _readable = staticmethod(scratch.adadelta)
    _takes = ("lr", "rho", "eps")
    _has_gpu_kernel = False

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        *,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        convention: Convention = "torch",
        compile: bool = False,
    ):
        settings = {"rho": rho, "eps": eps, "convention": convention, "compile": compile}
        super().__init__(params, lr=lr, weight_decay=weight_decay, **settings)

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        x, grad, square_avg, delta_avg = columns
        lr, rho, eps = (group[name] for name in self._takes)
        for row in zip(x, _decayed(grad, x, group["weight_decay"]), square_avg, delta_avg, strict=True):
            for w, g, s, delta in pieces(*row):
                s.mul_(rho).addcmul_(g, g, value=1.0 - rho)
                step = (delta + eps).div_(s + eps).sqrt_().mul_(g)
                w.sub_(step, alpha=lr)
                delta.mul_(rho).addcmul_(step, step, value=1.0 - rho)


class Adam(Rule):
    """v ← β₁v + (1 − β₁)g; s ← β₂s + (1 − β₂)g²; x ← x − η v̂/(√ŝ + ε), both corrected (Kingma and Ba, 2015)."""

    state_names = ("grad_avg", "square_avg")
    _decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: Params,
        lr: float = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        convention: Convention = "torch",
    ):
        settings = {"beta1": beta1, "beta2": beta2, "eps": eps, "convention": convention}
        super().__init__(params, lr=lr, weight_decay=weight_decay, **settings)

    def _begin(self, state: dict[str, Any], parameter: Tensor, group: dict[str, Any]) -> None:
        super()._begin(state, parameter, group)
        state["step"] = torch.zeros((), device=parameter.device if parameter.is_cuda else "cpu")

    def _update(self, columns: Columns, group: dict[str, Any]) -> None:
        steps = [self.state[parameter]["step"] for parameter in group["params"] if parameter.grad is not None]
        _adam(columns, steps, group, beta1=group["beta1"], beta2=group["beta2"], decoupled_weight_decay=self._decoupled)


def _adam(columns: Columns, steps: list[Tensor], group: dict[str, Any], **settings: Any) -> None:
    x, grad, grad_avg, square_avg = columns
    settings |= {name: group[name] for name in ("lr", "eps", "weight_decay")}
    adam(x, grad, grad_avg, square_avg, [], steps, **_fused(x), **settings, amsgrad=False, maximize=False)


class AdamW(Adam):
    """x ← (1 − ηλ)x, then Adam: weight decay beside the adaptive step (Loshchilov and Hutter, 2019)."""

    _decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        convention: Convention = "torch",
    ):
        super().__init__(
            params, lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, convention=convention
        )


OPTIMIZERS: dict[str, type[Rule]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adadelta": AdaDelta,
    "adam": Adam,
    "adamw": AdamW,
}

# Settings that must be 0 or more; these decays must be below 1, too.
_DECAYS = ("momentum", "gamma", "rho", "beta1", "beta2")
_CHECKED = ("lr", *_DECAYS, "eps", "weight_decay")


def check_settings(rule: str, settings: dict[str, Any]) -> None:
    """Check the settings of a rule.

    Raises:
        TwofoldError: one is out of range; the message has its name and value.
    """
    for name in _CHECKED:
        value = settings.get(name, 0.0)
        if isinstance(value, Tensor):
            value = value.item()
        is_decay = name in _DECAYS
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0 or (is_decay and value >= 1):
            bound = "at least 0 and below 1" if is_decay else "0 or more, and finite"
            raise TwofoldError(f"{rule}: {name} must be {bound}, got {value!r}")
    if settings.get("convention", "torch") not in ("d2l", "torch"):
        raise TwofoldError(f"{rule}: convention must be 'd2l' or 'torch', got {settings['convention']!r}")


def create_optimizer(name: str, params: Params, **settings: Any) -> Rule:
    """Return the rule `name` of `OPTIMIZERS` over `params`.

    Raises:
        TwofoldError: there is no such rule (the message has the nearest names), it has no such setting, or one is out
            of range.
    """
    form = OPTIMIZERS[check_known("optimizer", name, OPTIMIZERS)]
    takes = inspect.signature(form).parameters
    for setting in settings:
        check_known(f"setting of {name}", setting, takes.keys() - {"params"})
    if "lr" not in settings and takes["lr"].default is inspect.Parameter.empty:
        raise TwofoldError(f"{name} needs a learning rate: give lr, e.g. 0.1")
    return form(params, **settings)
