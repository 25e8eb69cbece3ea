"""The update rules of `scratch.optim`, as optimisers that run at scale.

Same names, same arguments, same state as the readable form; `torch.optim.Optimizer`s to whoever uses them. Each rule
comes in two conventions, "torch" (the default) and "d2l"; `scratch.optim` shows where they differ. SGD, Nesterov,
AdaDelta, Adam and AdamW are the same in both.

A step is bound by memory: of ResNet-18 it moves 47 MB of weights, as much of gradients, and the state. What makes it
fast is to touch each number once.

- torch has *fused* kernels that do, for SGD with momentum, Adam and AdaGrad. The notes' conventions of momentum and
  AdaGrad are exactly torch's kernels at other settings (a dampening of 1 − η; a sum that begins at ε).
- RMSProp is Adam without an average of gradients (β₁ = 0) and long after the start, where the correction is 1: torch's
  fused Adam computes it.
- AdaDelta, and RMSProp in the notes' convention, have no such kernel. They run piece by piece, so that a piece stays in
  the processor's cache from the rule's first operation to its last.
- With `compile=True` it is the readable form itself, of which torch's compiler makes one loop over memory and one call
  for all tensors. That needs a C++ compiler and some seconds at the first step. Adam's kernel is faster than that.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.adagrad import adagrad as fused_adagrad
from torch.optim.adam import adam as fused_adam
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.optim.sgd import sgd as fused_sgd

from twofold.errors import TwofoldError, check_known
from twofold.scratch import optim as scratch
from twofold.scratch.optim import Convention

State = dict[str, list[Tensor]]
Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]

# Torch's kernels for lists of tensors, of which its type stubs do not know.
_kernels_of_torch: Any = torch
# Numbers in a piece: each of two cores' share of five arrays fits into its second-level cache, and there are few enough
# calls that their waiting for each other does not count.
PIECE = 1 << 17
# Lists of tensors for which an optimiser makes kernels: each takes seconds, and gradients may come and go.
_MOST_KERNELS = 8
# A step count so large that 1 − βᵗ is 1: Adam without its correction.
_LONG_AFTER_THE_START = 1e9


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
    _num_kernels = 0

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
        """Take the state and the groups' settings from `state_dict`; see torch.optim.Optimizer."""
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            for name in self.state_names:
                if name in state:
                    state[name] = laid_out_like(state[name], parameter)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew; called once, before the update.

        Returns:
            What `closure` returned.

        Raises:
            TwofoldError: a gradient is sparse.
        """
        return self._observed_step(closure) if self._is_observed() else self._step(closure)

    # Torch would wrap `step` itself, and look for profilers and hooks at each: a fifth of a small network's step.
    step.hooked = True  # type: ignore[attr-defined]

    def _is_observed(self) -> bool:
        """Tell whether a profiler records what runs, or whether hooks are registered for steps."""
        return bool(
            torch.autograd._profiler_enabled()  # pyright: ignore[reportPrivateImportUsage]
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
        )

    @torch.no_grad()
    def _step(self, closure: Callable[[], float] | None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for index, group in enumerate(self.param_groups):
            columns = self._columns(index, group)
            if columns[0] and not (group.get("compile") and self._update_compiled(columns, group)):
                x, grad, *state = columns
                self._update(x, grad, dict(zip(self.state_names, state, strict=True)), group)
        return loss

    _observed_step = torch.optim.Optimizer.profile_hook_step(_step)

    def _columns(self, index: int, group: dict[str, Any]) -> list[list[Tensor]]:
        """Return the group's parameters that have a gradient, the gradients, and the tensors of each kind of state.

        List by list, not tensor by tensor: of a small network a step is little more than this.
        """
        x = [one for one in group["params"] if one.grad is not None]
        grad = [one.grad for one in x]
        if any(one.is_sparse for one in grad):
            raise TwofoldError(
                f"{type(self).__name__} takes dense gradients, but group {index} has a sparse one; "
                "build the embedding with sparse=False, or use torch.optim.SparseAdam for it"
            )
        states = [self.state[one] for one in x] if self.state_names else []
        if not all(states):
            for own, one in zip(states, x, strict=True):
                if not own:
                    self._begin(own, one, group)
        if not all(map(Tensor.is_contiguous, x + grad)):
            grad = [laid_out_like(own, one) for own, one in zip(grad, x, strict=True)]
        columns = [x, grad, *[[own[name] for own in states] for name in self.state_names]]
        if any(map(Tensor.is_complex, x)):
            # A complex number is updated as the two real ones that it is made of, as torch does.
            columns = [[torch.view_as_real(one) if one.is_complex() else one for one in own] for own in columns]
        return columns

    def _begin(self, state: dict[str, Any], parameter: Tensor, group: dict[str, Any]) -> None:
        for name in self.state_names:
            state[name] = torch.zeros_like(parameter)

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        """Update the parameters `x` in place, given the gradient and the tensors of state of each."""
        raise NotImplementedError

    def _update_compiled(self, columns: list[list[Tensor]], group: dict[str, Any]) -> bool:
        """Carry out the readable form compiled; return whether there is a kernel for such tensors."""
        if self._has_gpu_kernel and columns[0][0].device.type != "cpu":
            return False
        rule = type(self)._readable
        numbers, words = self._given(group)
        if group["weight_decay"]:
            numbers["weight_decay"] = float(group["weight_decay"])
        layouts = [(one.shape, one.stride(), one.device) for one in columns[0]]
        types = [one.dtype for column in columns for one in column]
        # A kernel is made for so many threads, too.
        key = (rule, *words.values(), len(numbers), torch.get_num_threads(), *layouts, *types)
        scalars = {name: _scalar(value) for name, value in numbers.items()}
        if key not in _kernels:
            if self._num_kernels == _MOST_KERNELS:
                return False
            self._num_kernels += 1
            _kernels[key] = kernel_for_lists(rule, columns, scalars, **words)
        _kernels[key](*scalars.values(), *itertools.chain(*columns))
        return True

    def _given(self, group: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
        """Return the numbers and the words that the readable form is called with."""
        words = {"convention": group["convention"]} if "convention" in self._takes else {}
        return {name: float(group[name]) for name in self._takes if name not in words}, words


class SGD(Rule):
    """Gradient descent, x ← x − ηg: of all examples, of one (stochastic), of a minibatch (Robbins and Monro, 1951).

    Args:
        params: parameters, or groups of them.
        lr: learning rate η.
        weight_decay: λ; λx is added to the gradient.
        convention: the same in both.
        compile: let torch's compiler make one loop of the readable form; worth its seconds in longer trainings.
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

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        if group["weight_decay"] or x[0].device.type != "cpu":
            _sgd(x, grad, [None] * len(x), group)
        else:
            _kernels_of_torch._foreach_add_(x, grad, alpha=-float(group["lr"]))


class Momentum(Rule):
    """Torch: v ← γv + g, x ← x − ηv. Notes: v ← γv + ηg, x ← x − v (Polyak, 1964). γ is `momentum`; else as `SGD`."""

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

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        if group["convention"] == "torch":
            _sgd(x, grad, state["velocity"], group, momentum=group["momentum"])
        else:
            # torch's kernel with dampening τ: v ← γv + (1 − τ)g, x ← x − lr v. With τ = 1 − η and lr = 1 the notes'.
            _sgd(x, grad, state["velocity"], group, momentum=group["momentum"], lr=1.0, dampening=1.0 - group["lr"])


class Nesterov(Momentum):
    """v ← γv + g, x ← x − η(g + γv): momentum that looks ahead (Nesterov, 1983; Sutskever et al., 2013)."""

    _readable = staticmethod(scratch.nesterov)
    _takes = ("lr", "momentum")

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        _sgd(x, grad, state["velocity"], group, momentum=group["momentum"], nesterov=True)


class AdaGrad(Rule):
    """s ← s + g²; torch: x ← x − ηg/(√s + ε), notes: x ← x − ηg/√(s + ε) (Duchi, Hazan and Singer, 2011).

    In the notes' convention the kept sum begins at ε, which is their rule with nothing added to the root. The other
    settings are as `SGD` has them.
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
        # Both parts of a complex number, each of which has a sum of its own.
        value = complex(begin, begin) if parameter.is_complex() else begin
        state["square_sum"] = torch.full_like(parameter, value)

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        on_cpu = x[0].device.type == "cpu"
        settings = {"lr": group["lr"], "weight_decay": group["weight_decay"], "eps": self._added(group)}
        settings |= {"lr_decay": 0.0, "maximize": False}
        steps = [torch.zeros(())] * len(x)  # for the decay of η that is not used
        if _is_one_kernel(x):
            _kernels_of_torch._fused_adagrad_(x, grad, state["square_sum"], steps, **settings)
        else:
            how = {"fused": on_cpu and _fusible(x), "foreach": False if on_cpu else None}
            fused_adagrad(x, grad, state["square_sum"], steps, **how, **settings)

    def _given(self, group: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
        return super()._given({**group, "eps": self._added(group)})

    @staticmethod
    def _added(group: dict[str, Any]) -> float:
        return group["eps"] if group["convention"] == "torch" else 0.0


class RMSProp(Rule):
    """s ← γs + (1 − γ)g²; torch: x ← x − ηg/(√s + ε), notes: x ← x − ηg/√(s + ε) (Tieleman and Hinton, 2012).

    Args:
        params: parameters, or groups of them.
        lr: learning rate η.
        gamma: share of the average that is kept, γ; torch calls it alpha.
        eps: ε.
        weight_decay: λ; λx is added to the gradient.
        convention: where ε stands, see above.
        compile: let torch's compiler make one loop of the readable form; worth its seconds in longer trainings.
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

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        convention, decay = group["convention"], group["weight_decay"]
        if convention == "torch" and x[0].device.type == "cpu" and _fusible(x):
            # With β₁ = 0 Adam's average of gradients is the gradient: the kernel reads it and writes it back as it was.
            # Where weights decay it would write g + λx, so there it gets tensors of its own.
            averages = [torch.zeros_like(one) for one in grad] if decay else grad
            _adam(x, grad, averages, state["square_avg"], None, group, beta1=0.0, beta2=group["gamma"])
        else:
            settings = {name: group[name] for name in self._takes}
            _pieces(_rmsprop, x, _decayed(x, grad, decay), state["square_avg"], **settings)


class AdaDelta(Rule):
    """s ← ρs + (1 − ρ)g²; g′ = √((Δ + ε)/(s + ε)) g; x ← x − ηg′; Δ ← ρΔ + (1 − ρ)g′² (Zeiler, 2012).

    Args:
        params: parameters, or groups of them.
        lr: η, which torch multiplies the step by; 1, as in the notes, unless said otherwise.
        rho: share of the averages that is kept, ρ.
        eps: ε.
        weight_decay: λ; λx is added to the gradient.
        convention: the same in both.
        compile: let torch's compiler make one loop of the readable form; worth its seconds in longer trainings.
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

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        settings = {name: group[name] for name in self._takes}
        _pieces(_adadelta, x, _decayed(x, grad, group["weight_decay"]), *state.values(), **settings)


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

    def _update(self, x: list[Tensor], grad: list[Tensor], state: State, group: dict[str, Any]) -> None:
        steps = [self.state[parameter]["step"] for parameter in group["params"] if parameter.grad is not None]
        betas = {"beta1": group["beta1"], "beta2": group["beta2"]}
        _adam(x, grad, state["grad_avg"], state["square_avg"], steps, group, **betas, decoupled=self._decoupled)


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


GD = SGD  # with the gradient of all examples

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

# What each setting may be: from 0, below the bound, None for no bound.
_BELOW: dict[str, float | None] = {
    "lr": None,
    "momentum": 1.0,
    "gamma": 1.0,
    "rho": 1.0,
    "beta1": 1.0,
    "beta2": 1.0,
    "eps": None,
    "weight_decay": None,
}


def check_settings(rule: str, settings: dict[str, Any]) -> None:
    """Check the settings of a rule.

    Raises:
        TwofoldError: one is out of range; the message has its name and value.
    """
    for name, below in _BELOW.items():
        value = settings.get(name, 0.0)
        if isinstance(value, Tensor):
            value = value.item()
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0 or (below and value >= below):
            bound = f"at least 0 and below {below:g}" if below else "0 or more, and finite"
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


def laid_out_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return `value` in the memory layout of its parameter: itself where it has that already.

    A fused update walks through memory, not through indices: a state or gradient laid out row by row would be added to
    the wrong weights of a channels-last tensor.
    """
    if value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def kernel_for_lists(
    rule: Callable[..., None], columns: list[list[Tensor]], numbers: dict[str, Tensor], **words: Any
) -> Callable[..., Any]:
    """Return a rule of `scratch.optim` for lists of such tensors as one call of machine code, by torch's compiler.

    The call checks shapes and strides and nothing else, which on a small network would take longer than the arithmetic:
    types and devices must be those of `columns`. The numbers of the rule (η, γ and so on) are tensors as well, since a
    number would be built in, and a schedule changes it at every step.

    Returns:
        Of the numbers and then the tensors of each column, one after the other.
    """
    count = len(columns[0])

    def update(*flat: Tensor) -> tuple[()]:
        given = dict(zip(numbers, flat, strict=False))
        decay = given.pop("weight_decay", None)
        tensors = flat[len(numbers) :]
        for row in zip(*[tensors[at : at + count] for at in range(0, len(tensors), count)], strict=True):
            x, grad, *state = row
            if decay is not None:
                grad = scratch.decayed(grad, x, cast(float, decay))
            rule(x, grad, *state, **given, **words)
        return ()

    inputs: list[Any] = [*numbers.values(), *itertools.chain(*columns)]
    graph = make_fx(update)(*[one.detach().clone() for one in inputs])  # which carries it out to see what it does
    return cast(Callable[..., Any], torch._inductor.compile(graph, inputs))


def _rmsprop(
    x: Tensor, grad: Tensor, square_avg: Tensor, *, lr: float, gamma: float, eps: float, convention: Convention
) -> None:
    square_avg.mul_(gamma).addcmul_(grad, grad, value=1.0 - gamma)
    root = (square_avg + eps).sqrt_() if convention == "d2l" else square_avg.sqrt().add_(eps)
    x.addcdiv_(grad, root, value=-lr)


def _adadelta(
    x: Tensor, grad: Tensor, square_avg: Tensor, delta_avg: Tensor, *, lr: float, rho: float, eps: float
) -> None:
    square_avg.mul_(rho).addcmul_(grad, grad, value=1.0 - rho)
    step = (delta_avg + eps).div_(square_avg + eps).sqrt_().mul_(grad)
    x.sub_(step, alpha=lr)
    delta_avg.mul_(rho).addcmul_(step, step, value=1.0 - rho)


def _sgd(x: list[Tensor], grad: list[Tensor], velocity: list[Any], group: dict[str, Any], **settings: Any) -> None:
    if settings.get("momentum") == 0.0:
        # The kernel then leaves velocity and dampening out: kept up here, so that momentum can be raised later.
        grad = _decayed(x, grad, group["weight_decay"])
        share = 1.0 - settings.get("dampening", 0.0)
        for v, g, one in zip(velocity, grad, x, strict=True):
            torch.mul(g, share, out=v)
            one.sub_(v, alpha=settings.get("lr", group["lr"]))
        return
    settings = {"lr": group["lr"], "momentum": 0.0, "dampening": 0.0, "nesterov": False, **settings}
    settings |= {"weight_decay": group["weight_decay"], "maximize": False}
    if _is_one_kernel(x):
        kept = [] if velocity[0] is None else velocity
        _kernels_of_torch._fused_sgd_(x, grad, kept, is_first_step=False, **settings)
    else:
        foreach = False if x[0].device.type == "cpu" else None
        fused_sgd(x, grad, velocity, fused=_fusible(x), foreach=foreach, **settings)


def _adam(
    x: list[Tensor],
    grad: list[Tensor],
    grad_avg: list[Tensor],
    square_avg: list[Tensor],
    steps: list[Tensor] | None,
    group: dict[str, Any],
    *,
    beta1: float,
    beta2: float,
    decoupled: bool = False,
) -> None:
    """Take a step of Adam and count it in `steps`; without them it is a step long after the start."""
    settings = {name: group[name] for name in ("lr", "weight_decay", "eps")}
    settings |= {"beta1": beta1, "beta2": beta2, "amsgrad": False, "maximize": False}
    if _is_one_kernel(x):
        kernel = _kernels_of_torch._fused_adamw_ if decoupled else _kernels_of_torch._fused_adam_
        if steps is not None:
            _kernels_of_torch._foreach_add_(steps, 1)
        kernel(x, grad, grad_avg, square_avg, [], steps or _long_after(x), **settings)
    else:
        foreach = False if x[0].device.type == "cpu" else None
        how = {"fused": _fusible(x), "foreach": foreach, "decoupled_weight_decay": decoupled}
        fused_adam(x, grad, grad_avg, square_avg, [], steps or _long_after(x), **how, **settings)


def _long_after(x: list[Tensor]) -> list[Tensor]:
    return [torch.tensor(_LONG_AFTER_THE_START)] * len(x)


def _fusible(x: list[Tensor]) -> bool:
    """Tell whether torch's fused kernels may walk through the memory of these tensors."""
    return x[0].device.type in {"cpu", "cuda"} and (all(map(Tensor.is_contiguous, x)) or all(map(_is_dense, x)))


def _is_one_kernel(x: list[Tensor]) -> bool:
    """Tell whether one call of a fused kernel updates all of these; else torch sorts them, which takes its time."""
    first = x[0]
    return first.device.type == "cpu" and len({(one.dtype, one.device) for one in x}) == 1 and _fusible(x)


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))


def _decayed(x: list[Tensor], grad: list[Tensor], weight_decay: float) -> list[Tensor]:
    return [g.add(one, alpha=weight_decay) for g, one in zip(grad, x, strict=True)] if weight_decay else grad


# What `kernel_for_lists` returned, for all optimisers of the process.
_kernels: dict[object, Callable[..., Any]] = {}


@lru_cache(maxsize=64)
def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _pieces(update: Callable[..., None], *tensors: list[Tensor], **settings: Any) -> None:
    for own in zip(*tensors, strict=True):
        for piece in pieces(*own):
            update(*piece, **settings)


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same stretch of memory of each tensor, `PIECE` numbers at a time; whole where that cannot be.

    Args:
        tensors: of one shape and one memory layout.
    """
    first = tensors[0]
    if first.device.type != "cpu" or first.numel() <= PIECE or not _is_dense(first):
        yield tensors
        return
    yield from zip(*(_flat(one).split(PIECE) for one in tensors), strict=True)


def _flat(x: Tensor) -> Tensor:
    """Return the numbers of a dense tensor in the order in which they lie in memory."""
    return torch.as_strided(x.detach(), (x.numel(),), (1,))
