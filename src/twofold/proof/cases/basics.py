"""Cases of data, initialisation, dense layers, activations, losses and dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from twofold.proof.parity import (
    Case,
    Choose,
    KeyedChoose,
    Parity,
    Refusal,
    Results,
    differentiable,
    normal,
    pick,
    refusals,
    tied,
    with_gradients,
)
from twofold.scratch import activation, data, dropout, init, linear, loss

_FLOAT32 = (torch.float32,)


def seeded(seed: int) -> torch.Generator:
    """Return a torch generator with `seed`."""
    return torch.Generator().manual_seed(seed)


# data


def _draw_synthetic(choose: Choose) -> Case:
    features, examples, seed = choose.integer(1, 4), choose.integer(0, 40), choose.integer(0, 1000)
    noise = pick(choose, (0.0, 0.01, 1.0))

    def read(weight: Tensor, bias: float) -> Results:
        x, y = data.synthetic_regression(weight, bias, examples, noise=noise, generator=seeded(seed))
        return {"value features": x, "value labels": y}

    def run(weight: Tensor, bias: float) -> Results:
        generator = seeded(seed)
        dtype = weight.dtype
        x = torch.normal(0.0, 1.0, (examples, features), dtype=dtype, generator=generator)
        y = functional.linear(x, weight[None], torch.full((1,), bias, dtype=dtype))
        return {
            "value features": x,
            "value labels": y + torch.normal(0.0, noise, y.shape, dtype=dtype, generator=generator),
        }

    inputs = {"weight": normal(choose, features), "bias": 4.2}
    return Case(inputs, read, run, covers=("no examples",) if examples == 0 else ())


synthetic_data = Parity(
    draw=_draw_synthetic,
    refusals=lambda: refusals(data.normal, torch.normal, {"a negative standard deviation": (0.0, -1.0, (2,))}),
)


def _named(batches: Iterable[Sequence[Tensor]]) -> Results:
    return {f"value {index} {name}": batch[name] for index, batch in enumerate(batches) for name in (0, 1)}


def _draw_batches(choose: Choose) -> Case:
    examples, batch_size = choose.integer(1, 100), choose.integer(1, 20)
    replacement, seed = bool(choose.integer(0, 1)), choose.integer(0, 1000)

    def read(x: Tensor, y: Tensor) -> Results:
        batches = data.data_iter(batch_size, x, y, replacement=replacement, generator=seeded(seed))
        return _named(batches)

    def run(x: Tensor, y: Tensor) -> Results:
        dataset = TensorDataset(x, y)
        sampler = RandomSampler(dataset, replacement=replacement, generator=seeded(seed))
        # A generator of its own: the loader draws a seed for its workers from it.
        batches = DataLoader(dataset, batch_size, sampler=sampler, generator=seeded(0))
        return _named(batches)

    inputs = {"x": normal(choose, examples, 2), "y": torch.arange(examples)}
    return Case(inputs, read, run, covers=("with replacement" if replacement else "without replacement",))


minibatches = Parity(
    draw=_draw_batches,
    refusals=lambda: refusals(
        lambda count, size: list(data.batches(count, size)),
        lambda count, size: BatchSampler(range(count), size, drop_last=False),
        {"a batch size of 0": (3, 0)},
    ),
)


# init

_INITS: dict[str, tuple[Callable[..., Tensor], Callable[..., Any]]] = {
    "normal": (
        lambda shape, g: init.normal(shape, 0.5, 0.02, generator=g),
        lambda t, g: nn.init.normal_(t, 0.5, 0.02, generator=g),
    ),
    "constant": (lambda shape, _: init.constant(shape, 0.3), lambda t, _: nn.init.constant_(t, 0.3)),
    "uniform": (
        lambda shape, g: init.uniform(shape, 0.1, generator=g),
        lambda t, g: nn.init.uniform_(t, -0.1, 0.1, generator=g),
    ),
    "xavier uniform": (
        lambda shape, g: init.xavier_uniform(shape, generator=g),
        lambda t, g: nn.init.xavier_uniform_(t, generator=g),
    ),
    "xavier normal": (
        lambda shape, g: init.xavier_normal(shape, generator=g),
        lambda t, g: nn.init.xavier_normal_(t, generator=g),
    ),
    "kaiming uniform": (
        lambda shape, g: init.kaiming_uniform(shape, generator=g),
        lambda t, g: nn.init.kaiming_uniform_(t, nonlinearity="relu", generator=g),
    ),
    "kaiming normal": (
        lambda shape, g: init.kaiming_normal(shape, mode="fan_out", generator=g),
        lambda t, g: nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu", generator=g),
    ),
}


def _draw_init(choose: Choose) -> Case:
    name = pick(choose, list(_INITS))
    shape = choose.integer(1, 6), choose.integer(1, 6), *(pick(choose, ((), (3, 3), (1, 5))))
    seed = choose.integer(0, 1000)
    ours, theirs = _INITS[name]
    return Case(
        {},
        read=lambda: {"value": ours(shape, seeded(seed))},
        run=lambda: {"value": theirs(torch.empty(shape), seeded(seed))},
        covers=(name,),
        dtypes=_FLOAT32,
    )


def _refused_init() -> Iterator[Refusal]:
    yield from refusals(
        init.xavier_normal, lambda shape: nn.init.xavier_normal_(torch.empty(shape)), {"a fan of a vector": ((3,),)}
    )
    yield from refusals(
        lambda mode: init.kaiming_normal((3, 3), mode=mode),
        lambda mode: nn.init.kaiming_normal_(torch.empty(3, 3), mode=mode),
        {"an unknown mode": ("fan",)},
    )


initialisation = Parity(draw=_draw_init, refusals=_refused_init)


# linear


def _linear_case(choose: Choose, batch: tuple[int, ...], features: int, out: int) -> Case:
    def read(grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Results:
        grad_x, grad_weight, grad_bias = linear.linear_backward(grad, x, weight)
        return {
            "value": linear.linear(x, weight, bias),
            "gradient x": grad_x,
            "gradient weight": grad_weight,
            "gradient bias": grad_bias,
        }

    inputs = {
        "x": normal(choose, *batch, features),
        "weight": normal(choose, out, features),
        "bias": normal(choose, out),
    }
    covers = ("empty batch",) if 0 in batch else ("more dimensions",) if len(batch) > 1 else ()
    return differentiable(choose, inputs, read=read, run=functional.linear, covers=covers)


def _draw_linear(choose: Choose) -> Case:
    batch = pick(choose, ((choose.integer(0, 5),), (2, choose.integer(0, 3))))
    return _linear_case(choose, batch, choose.integer(1, 6), choose.integer(1, 6))


dense = Parity(
    draw=_draw_linear,
    edges=lambda: [
        _linear_case(KeyedChoose("linear", 0), (0,), 3, 2),
        _linear_case(KeyedChoose("linear", 1), (1,), 1, 1),
    ],
    refusals=lambda: refusals(
        linear.linear, functional.linear, {"features that differ": (torch.zeros(2, 3), torch.zeros(4, 5))}
    ),
    typical=lambda: _linear_case(KeyedChoose("linear", 2), (256,), 784, 256),
)


# activation


def _activation(name: str) -> Parity:
    def case(x: Tensor, choose: Choose, *covers: str) -> Case:
        def read(grad: Tensor, x: Tensor) -> Results:
            # Looked up when called, so that the cases prove what the module holds now.
            y = getattr(activation, name)(x)
            return {"value": y, "gradient x": getattr(activation, f"{name}_backward")(grad, y)}

        return differentiable(choose, {"x": x}, read=read, run=getattr(torch, name), covers=covers)

    def draw(choose: Choose) -> Case:
        shape = [choose.integer(0, 4) for _ in range(choose.integer(1, 4))]
        # Further out float32 has few digits left for 1 − y², in both forms, each in its own way.
        return case((2 * normal(choose, *shape)).clamp(-2.5, 2.5), choose, *(("empty",) if 0 in shape else ()))

    def edges() -> Iterator[Case]:
        choose = KeyedChoose(name, 0)
        yield case(torch.tensor([-1000.0, -1.0, -0.0, 0.0, 1.0, 1000.0]).double(), choose, "huge values", "zero")
        yield case(tied(choose, 4, 4), choose, "ties")

    return Parity(
        draw=draw,
        edges=edges,
        typical=lambda: case(normal(KeyedChoose(name, 1), 128, 64, 28, 28), KeyedChoose(name, 2)),
    )


sigmoid, tanh, relu = _activation("sigmoid"), _activation("tanh"), _activation("relu")


# loss


def _draw_squared(choose: Choose) -> Case:
    shape = (choose.integer(1, 5), choose.integer(1, 3))
    inputs = {"prediction": normal(choose, *shape), "target": normal(choose, *shape)}
    mean = bool(choose.integer(0, 1))

    def read(grad: Tensor, prediction: Tensor, target: Tensor) -> Results:
        value = (loss.mse_loss if mean else loss.squared_loss)(prediction, target)
        gradient = (loss.mse_loss_backward if mean else loss.squared_loss_backward)(grad, prediction, target)
        # The loss depends on the difference alone.
        return {"value": value, "gradient prediction": gradient, "gradient target": -gradient}

    def run(prediction: Tensor, target: Tensor) -> Tensor:
        if mean:
            return functional.mse_loss(prediction, target)
        return functional.mse_loss(prediction, target, reduction="none") / 2

    return differentiable(
        choose, inputs, read=read, run=run, covers=("mean (torch)" if mean else "half a square (D2L)",)
    )


def _refused_squared() -> Iterator[Refusal]:
    for form in (loss.squared_loss, loss.mse_loss):
        yield from refusals(form, functional.mse_loss, {"shapes that differ": (torch.zeros(4, 1), torch.zeros(3, 1))})


squared_loss = Parity(draw=_draw_squared, refusals=_refused_squared)


def _softmax_case(choose: Choose, logits: Tensor, *, log: bool, covers: tuple[str, ...] = ()) -> Case:
    def read(grad: Tensor, logits: Tensor) -> Results:
        y = loss.log_softmax(logits) if log else loss.softmax(logits)
        back = loss.log_softmax_backward if log else loss.softmax_backward
        return {"value": y, "gradient logits": back(grad, y)}

    def run(logits: Tensor) -> Tensor:
        return functional.log_softmax(logits, dim=1) if log else functional.softmax(logits, dim=1)

    return differentiable(choose, {"logits": logits}, read=read, run=run, covers=("log" if log else "plain", *covers))


def _draw_softmax(choose: Choose) -> Case:
    log = bool(choose.integer(0, 1))
    batch, classes = choose.integer(0, 5), choose.integer(1, 8)
    size = pick(choose, (1.0, 1.0, 50.0))
    covers = ("empty batch",) if batch == 0 else ()
    return _softmax_case(choose, size * normal(choose, batch, classes), log=log, covers=covers)


def _edges_softmax() -> Iterator[Case]:
    for log in (False, True):
        yield _softmax_case(
            KeyedChoose("softmax", 0), torch.tensor([[1000.0, 999.0, -1000.0]]).double(), log=log, covers=("huge",)
        )
        yield _softmax_case(KeyedChoose("softmax", 0), torch.zeros(2, 4).double(), log=log, covers=("ties",))


softmax = Parity(
    draw=_draw_softmax,
    edges=_edges_softmax,
    refusals=lambda: refusals(
        loss.softmax, lambda z: functional.softmax(z, 1), {"one row without a batch": (torch.zeros(3),)}
    ),
    typical=lambda: _softmax_case(KeyedChoose("softmax", 1), normal(KeyedChoose("softmax", 2), 256, 1000), log=False),
)


def _cross_entropy_case(
    choose: Choose,
    batch: int,
    classes: int,
    *,
    smoothing: float,
    reduction: str,
    shares: bool = False,
    covers: tuple[str, ...] = (),
) -> Case:
    labels = torch.randint(classes, (batch,), generator=seeded(choose.integer(0, 1000)))
    if shares:
        labels = normal(choose, batch, classes).softmax(dim=1)
    options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}

    # Not among the inputs: shares are floats too, but no gradient in them is needed.
    def targets(logits: Tensor) -> Tensor:
        return labels.to(logits.dtype) if shares else labels

    def read(grad: Tensor, logits: Tensor) -> Results:
        return {
            "value": loss.cross_entropy(logits, targets(logits), **options),
            "gradient logits": loss.cross_entropy_backward(grad, logits, targets(logits), **options),
        }

    def run(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets(logits), **options)

    said = (
        reduction,
        *(("label smoothing",) if smoothing else ()),
        *(("shares of classes",) if shares else ()),
        *covers,
    )
    return differentiable(choose, {"logits": 3 * normal(choose, batch, classes)}, read=read, run=run, covers=said)


def _draw_cross_entropy(choose: Choose) -> Case:
    return _cross_entropy_case(
        choose,
        choose.integer(1, 6),
        choose.integer(1, 8),
        smoothing=pick(choose, (0.0, 0.1, 1.0)),
        reduction=pick(choose, ("mean", "sum", "none")),
        shares=pick(choose, (False, True)),
    )


def _edges_cross_entropy() -> Iterator[Case]:
    for reduction in ("mean", "sum", "none"):
        yield _cross_entropy_case(
            KeyedChoose("cross", 0), 0, 3, smoothing=0.1, reduction=reduction, covers=("empty batch",)
        )
    yield _cross_entropy_case(KeyedChoose("cross", 1), 5, 4, smoothing=0.1, reduction="mean", shares=True)
    yield _impossible_class()


def _impossible_class() -> Case:
    """A logit of minus infinity, for a class that is not asked for."""
    logits = torch.tensor([[0.0, float("-inf"), 1.0]]).double()

    def read(logits: Tensor) -> Results:
        one = torch.ones((), dtype=logits.dtype)
        labels = torch.tensor([0])
        return {
            "value": loss.cross_entropy(logits, labels),
            "gradient logits": loss.cross_entropy_backward(one, logits, labels),
        }

    def run(logits: Tensor) -> Results:
        return with_gradients(
            lambda logits: functional.cross_entropy(logits, torch.tensor([0])), None, {"logits": logits}
        )

    return Case({"logits": logits}, read, run, covers=("an impossible class",))


def _refused_cross_entropy() -> Iterator[Refusal]:
    logits, labels = torch.zeros(3, 4), torch.tensor([0, 1, 2])
    wrong: dict[str, tuple[Any, ...]] = {
        "too few labels": (logits, labels[:2]),
        "a label that is no class": (logits, labels + 2),
        "a smoothing above 1": (logits, labels, {"label_smoothing": 1.5}),
        "labels in a column": (logits, labels[:, None]),
        "labels that are floats": (logits, labels.to(torch.float32)),
        "an unknown reduction": (logits, labels, {"reduction": "avg"}),
    }
    return refusals(loss.cross_entropy, functional.cross_entropy, wrong)


cross_entropy = Parity(
    draw=_draw_cross_entropy,
    edges=_edges_cross_entropy,
    refusals=_refused_cross_entropy,
    typical=lambda: _cross_entropy_case(KeyedChoose("cross", 1), 256, 1000, smoothing=0.1, reduction="mean"),
)


# dropout


def _dropout_case(choose: Choose, shape: tuple[int, ...], p: float, covers: tuple[str, ...] = ()) -> Case:
    seed = choose.integer(0, 1000)

    def read(grad: Tensor, x: Tensor) -> Results:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            mask = dropout.dropout_mask(x, p)
        return {"value": dropout.dropout(x, mask), "gradient x": dropout.dropout_backward(grad, mask)}

    def run(x: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return functional.dropout(x, p, training=True)

    return differentiable(choose, {"x": normal(choose, *shape)}, read=read, run=run, covers=(f"p {p}", *covers))


def _draw_dropout(choose: Choose) -> Case:
    return _dropout_case(choose, (choose.integer(1, 5), choose.integer(1, 9)), pick(choose, (0.5, 0.0, 0.1, 0.9, 1.0)))


dropout_parity = Parity(
    draw=_draw_dropout,
    edges=lambda: [_dropout_case(KeyedChoose("dropout", 0), (0, 3), 0.5, ("empty batch",))],
    refusals=lambda: refusals(dropout.dropout_mask, functional.dropout, {"p above 1": (torch.zeros(2), 1.5)}),
    typical=lambda: _dropout_case(KeyedChoose("dropout", 1), (256, 4096), 0.5),
)
