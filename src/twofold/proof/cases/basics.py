"""Cases of data, initialisation, dense layers, activations, losses and dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from twofold.proof.parity import Case, Choose, Parity, Refusal, Results, differentiable, refusals, seeded
from twofold.scratch import activation, data, dropout, init, linear, loss

# data


def _draw_synthetic(choose: Choose) -> Case:
    features, examples, seed = choose.integer(1, 4), choose.integer(0, 40), choose.integer(0, 1000)
    noise = choose.pick((0.0, 0.01, 1.0))

    def read(weight: Tensor, bias: float) -> Results:
        x, y = data.synthetic_regression(weight, bias, examples, noise=noise, generator=seeded(seed))
        return {"value features": x, "value labels": y}

    def run(weight: Tensor, bias: float) -> Results:
        generator, dtype = seeded(seed), weight.dtype
        x = torch.normal(0.0, 1.0, (examples, features), dtype=dtype, generator=generator)
        y = functional.linear(x, weight[None], torch.full((1,), bias, dtype=dtype))
        y += torch.normal(0.0, noise, y.shape, dtype=dtype, generator=generator)
        return {"value features": x, "value labels": y}

    inputs = {"weight": choose.normal(features), "bias": 4.2}
    return Case(inputs, read, run, covers=["no examples" if examples == 0 else ""])


synthetic_data = Parity(
    draw=_draw_synthetic,
    refusals=lambda: refusals(data.normal, torch.normal, {"a negative standard deviation": (0.0, -1.0, (2,))}),
)


def _draw_batches(choose: Choose) -> Case:
    examples, batch_size = choose.integer(1, 100), choose.integer(1, 20)
    replacement, seed = bool(choose.integer(0, 1)), choose.integer(0, 1000)

    def named(batches: Iterable[Sequence[Tensor]]) -> Results:
        return {f"value {index} {name}": batch[name] for index, batch in enumerate(batches) for name in (0, 1)}

    def read(x: Tensor, y: Tensor) -> Results:
        return named(data.data_iter(batch_size, x, y, replacement=replacement, generator=seeded(seed)))

    def run(x: Tensor, y: Tensor) -> Results:
        dataset = TensorDataset(x, y)
        sampler = RandomSampler(dataset, replacement=replacement, generator=seeded(seed))
        # A generator of its own: the loader draws a seed for its workers from it.
        return named(DataLoader(dataset, batch_size, sampler=sampler, generator=seeded(0)))

    inputs = {"x": choose.normal(examples, 2), "y": torch.arange(examples)}
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


def _draw_init(choose: Choose) -> Case:
    forms: dict[str, tuple[Callable[..., Tensor], Callable[..., Any]]] = {
        "normal": (partial(init.normal, mean=0.5, std=0.02), partial(nn.init.normal_, mean=0.5, std=0.02)),
        "constant": (
            lambda shape, generator: init.constant(shape, 0.3),
            lambda x, generator: nn.init.constant_(x, 0.3),
        ),
        "uniform": (partial(init.uniform, bound=0.1), partial(nn.init.uniform_, a=-0.1, b=0.1)),
        "xavier uniform": (init.xavier_uniform, nn.init.xavier_uniform_),
        "xavier normal": (init.xavier_normal, nn.init.xavier_normal_),
        "kaiming uniform": (init.kaiming_uniform, partial(nn.init.kaiming_uniform_, nonlinearity="relu")),
        "kaiming normal": (
            partial(init.kaiming_normal, mode="fan_out"),
            partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
        ),
    }
    name = choose.pick(list(forms))
    shape = choose.integer(1, 6), choose.integer(1, 6), *(choose.pick(((), (3, 3), (1, 5))))
    seed = choose.integer(0, 1000)
    ours, theirs = forms[name]
    return Case(
        {},
        read=lambda: ours(shape, generator=seeded(seed)),
        run=lambda: theirs(torch.empty(shape), generator=seeded(seed)),
        covers=[name],
        dtypes=(torch.float32,),
    )


def _refused_init() -> Iterator[Refusal]:
    ours, theirs = init.xavier_normal, nn.init.xavier_normal_
    yield from refusals(ours, lambda shape: theirs(torch.empty(shape)), {"a fan of a vector": ((3,),)})
    yield from refusals(
        lambda mode: init.kaiming_normal((3, 3), mode=mode),
        lambda mode: nn.init.kaiming_normal_(torch.empty(3, 3), mode=mode),
        {"an unknown mode": ("fan",)},
    )


initialisation = Parity(draw=_draw_init, refusals=_refused_init)


# linear


def _linear_case(choose: Choose, batch: tuple[int, ...], features: int, out: int) -> Case:
    def read(grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return linear.linear(x, weight, bias), *linear.linear_backward(grad, x, weight)

    inputs = {"x": choose.normal(*batch, features), "weight": choose.normal(out, features), "bias": choose.normal(out)}
    covers = "empty batch" if 0 in batch else "more dimensions" if len(batch) > 1 else ""
    return differentiable(choose, inputs, covers, read=read, run=functional.linear)


dense = Parity(
    draw=lambda choose: _linear_case(
        choose,
        choose.pick(((choose.integer(0, 5),), (2, choose.integer(0, 3)))),
        choose.integer(1, 6),
        choose.integer(1, 6),
    ),
    edges=lambda choose: [_linear_case(choose, (0,), 3, 2), _linear_case(choose, (1,), 1, 1)],
    refusals=lambda: refusals(
        linear.linear, functional.linear, {"features that differ": (torch.zeros(2, 3), torch.zeros(4, 5))}
    ),
    typical=lambda choose: _linear_case(choose, (256,), 784, 256),
)


# activation


def _activation(name: str) -> Parity:
    def case(choose: Choose, x: Tensor, *covers: str) -> Case:
        def read(grad: Tensor, x: Tensor) -> tuple[Tensor, ...]:
            # Looked up when called, so that the cases prove what the module holds now.
            y = getattr(activation, name)(x)
            return y, getattr(activation, f"{name}_backward")(grad, y)

        return differentiable(choose, {"x": x}, *covers, read=read, run=getattr(torch, name))

    def draw(choose: Choose) -> Case:
        shape = [choose.integer(0, 4) for _ in range(choose.integer(1, 4))]
        # Further out float32 has few digits left for 1 − y², in both forms, each in its own way.
        return case(choose, (2 * choose.normal(*shape)).clamp(-2.5, 2.5), "empty" if 0 in shape else "")

    huge = torch.tensor([-1000.0, -1.0, -0.0, 0.0, 1.0, 1000.0]).double()
    return Parity(
        draw,
        edges=lambda choose: [case(choose, huge, "huge values", "zero"), case(choose, choose.tied(4, 4), "ties")],
        typical=lambda choose: case(choose, choose.normal(128, 64, 28, 28)),
    )


sigmoid, tanh, relu = _activation("sigmoid"), _activation("tanh"), _activation("relu")


# loss


def _draw_squared(choose: Choose) -> Case:
    shape = (choose.integer(1, 5), choose.integer(1, 3))
    inputs = {"prediction": choose.normal(*shape), "target": choose.normal(*shape)}
    mean = bool(choose.integer(0, 1))

    def read(grad: Tensor, prediction: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        value = (loss.mse_loss if mean else loss.squared_loss)(prediction, target)
        gradient = (loss.mse_loss_backward if mean else loss.squared_loss_backward)(grad, prediction, target)
        # The loss depends on the difference alone.
        return value, gradient, -gradient

    def run(prediction: Tensor, target: Tensor) -> Tensor:
        if mean:
            return functional.mse_loss(prediction, target)
        return functional.mse_loss(prediction, target, reduction="none") / 2

    return differentiable(choose, inputs, "mean (torch)" if mean else "half a square (D2L)", read=read, run=run)


squared_loss = Parity(
    draw=_draw_squared,
    refusals=lambda: [
        refusal
        for form in (loss.squared_loss, loss.mse_loss)
        for refusal in refusals(
            form, functional.mse_loss, {"shapes that differ": (torch.zeros(4, 1), torch.zeros(3, 1))}
        )
    ],
)


def _softmax_case(choose: Choose, logits: Tensor, *covers: str, log: bool) -> Case:
    def read(grad: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        y = loss.log_softmax(logits) if log else loss.softmax(logits)
        return y, (loss.log_softmax_backward if log else loss.softmax_backward)(grad, y)

    def run(logits: Tensor) -> Tensor:
        return (functional.log_softmax if log else functional.softmax)(logits, dim=1)

    return differentiable(choose, {"logits": logits}, "log" if log else "plain", *covers, read=read, run=run)


def _draw_softmax(choose: Choose) -> Case:
    log = bool(choose.integer(0, 1))
    batch, classes = choose.integer(0, 5), choose.integer(1, 8)
    logits = choose.pick((1.0, 1.0, 50.0)) * choose.normal(batch, classes)
    return _softmax_case(choose, logits, "empty batch" if batch == 0 else "", log=log)


softmax = Parity(
    draw=_draw_softmax,
    edges=lambda choose: [
        _softmax_case(choose, torch.tensor(logits).double(), covers, log=log)
        for log in (False, True)
        for covers, logits in (("huge", [[1000.0, 999.0, -1000.0]]), ("ties", [[0.0] * 4] * 2))
    ],
    refusals=lambda: refusals(
        loss.softmax, lambda z: functional.softmax(z, 1), {"one row without a batch": (torch.zeros(3),)}
    ),
    typical=lambda choose: _softmax_case(choose, choose.normal(256, 1000), log=False),
)


def _cross_entropy_case(
    choose: Choose,
    batch: int,
    classes: int,
    *covers: str,
    smoothing: float,
    reduction: str,
    shares: bool = False,
    weighted: bool = False,
) -> Case:
    labels = torch.randint(classes, (batch,), generator=seeded(choose.integer(0, 1000)))
    if shares:
        labels = choose.normal(batch, classes).softmax(dim=1)
    weight = choose.normal(classes).exp() if weighted else None

    def options(logits: Tensor) -> dict[str, Any]:
        said: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
        return said if weight is None else said | {"weight": weight.to(logits.dtype)}

    # Not among the inputs: weights and shares are floats too, but no gradient in them is needed.
    def targets(logits: Tensor) -> Tensor:
        return labels.to(logits.dtype) if shares else labels

    def read(grad: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        arguments, said = (logits, targets(logits)), options(logits)
        return loss.cross_entropy(*arguments, **said), loss.cross_entropy_backward(grad, *arguments, **said)

    def run(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets(logits), **options(logits))

    kinds = "label smoothing" if smoothing else "", "shares of classes" if shares else ""
    said = reduction, *kinds, "class weights" if weighted else "", *covers
    return differentiable(choose, {"logits": 3 * choose.normal(batch, classes)}, *said, read=read, run=run)


def _edges_cross_entropy(choose: Choose) -> Iterator[Case]:
    for reduction in ("mean", "sum", "none"):
        yield _cross_entropy_case(choose, 0, 3, "empty batch", smoothing=0.1, reduction=reduction)
    for shares in (False, True):
        yield _cross_entropy_case(choose, 5, 4, smoothing=0.1, reduction="mean", shares=shares, weighted=True)
        yield _cross_entropy_case(choose, 5, 4, smoothing=0.1, reduction="mean", shares=shares)
    # A logit of minus infinity, for a class that is not asked for.
    label, logits = torch.tensor([0]), torch.tensor([[0.0, float("-inf"), 1.0]]).double()
    yield differentiable(
        choose,
        {"logits": logits},
        "an impossible class",
        read=lambda grad, logits: (loss.cross_entropy(logits, label), loss.cross_entropy_backward(grad, logits, label)),
        run=lambda logits: functional.cross_entropy(logits, label),
    )


def _refused_cross_entropy() -> Iterator[Refusal]:
    logits, labels = torch.zeros(3, 4), torch.tensor([0, 1, 2])
    wrong: dict[str, tuple[Any, ...]] = {
        "too few labels": (logits, labels[:2]),
        "a label that is no class": (logits, labels + 2),
        "a smoothing above 1": (logits, labels, {"label_smoothing": 1.5}),
        "labels in a column": (logits, labels[:, None]),
        "labels that are floats": (logits, labels.to(torch.float32)),
        "a weight of another number of classes": (logits, labels, {"weight": torch.ones(3)}),
        "an unknown reduction": (logits, labels, {"reduction": "avg"}),
    }
    return refusals(loss.cross_entropy, functional.cross_entropy, wrong)


cross_entropy = Parity(
    draw=lambda choose: _cross_entropy_case(
        choose,
        choose.integer(1, 6),
        choose.integer(1, 8),
        smoothing=choose.pick((0.0, 0.1, 1.0)),
        reduction=choose.pick(("mean", "sum", "none")),
        shares=choose.pick((False, True)),
        weighted=choose.pick((False, True)),
    ),
    edges=_edges_cross_entropy,
    refusals=_refused_cross_entropy,
    typical=lambda choose: _cross_entropy_case(choose, 256, 1000, smoothing=0.1, reduction="mean"),
)


def _binary_case(
    choose: Choose, logits: Tensor, *covers: str, smoothing: float, reduction: str, soft: bool, weight: int
) -> Case:
    """Return a case with one positive weight for all labels (`weight` 1), one a label (2), or none (0)."""
    drawn = torch.rand(logits.shape, generator=choose.generator(), dtype=torch.float64)
    targets = drawn if soft else drawn.round()
    weights = None if weight == 0 else choose.normal(1 if weight == 1 else logits.shape[-1]).exp()

    # Neither is among the inputs: no gradient in them is needed.
    def options(logits: Tensor) -> tuple[dict[str, Any], Tensor | None]:
        return {"reduction": reduction}, None if weights is None else weights.to(logits.dtype)

    def read(grad: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        said, w = options(logits)
        wanted = loss.smooth_binary_targets(targets.to(logits.dtype), smoothing)
        value = loss.binary_cross_entropy(logits, wanted, positive_weight=w, **said)
        return value, loss.binary_cross_entropy_backward(grad, logits, wanted, positive_weight=w, **said)

    def run(logits: Tensor) -> Tensor:
        said, w = options(logits)
        wanted = (targets - 0.5) * (1 - smoothing) + 0.5
        return functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), pos_weight=w, **said)

    said = reduction, "label smoothing" if smoothing else "", "shares" if soft else "", *covers
    weighted = ("", "a positive weight", "a positive weight a label")[weight]
    return differentiable(choose, {"logits": logits}, *said, weighted, read=read, run=run)


def _edges_binary(choose: Choose) -> Iterator[Case]:
    for reduction in ("sum", "none"):
        empty = torch.zeros(0, 3, dtype=torch.float64)
        yield _binary_case(choose, empty, "empty batch", smoothing=0.1, reduction=reduction, soft=False, weight=0)
    huge = torch.tensor([[1000.0, -1000.0, 0.0], [-100.0, 100.0, -0.0]], dtype=torch.float64)
    for weight in (0, 2):
        yield _binary_case(choose, huge, "huge logits", smoothing=0.0, reduction="mean", soft=False, weight=weight)


binary_cross_entropy = Parity(
    draw=lambda choose: _binary_case(
        choose,
        3 * choose.normal(choose.integer(1, 6), choose.integer(1, 8)),
        smoothing=choose.pick((0.0, 0.1, 1.0)),
        reduction=choose.pick(("mean", "sum", "none")),
        soft=choose.pick((False, True)),
        weight=choose.integer(0, 2),
    ),
    edges=_edges_binary,
    refusals=lambda: refusals(
        loss.binary_cross_entropy,
        functional.binary_cross_entropy_with_logits,
        {
            "targets of another shape": (torch.zeros(3, 4), torch.zeros(3)),
            "an unknown reduction": (torch.zeros(3, 4), torch.zeros(3, 4), {"reduction": "avg"}),
        },
    ),
    typical=lambda choose: _binary_case(
        choose, choose.normal(256, 1000), smoothing=0.1, reduction="mean", soft=False, weight=0
    ),
)


# dropout


def _dropout_case(choose: Choose, shape: tuple[int, ...], p: float, *covers: str) -> Case:
    seed = choose.integer(0, 1000)

    def read(grad: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            mask = dropout.dropout_mask(x, p)
        return dropout.dropout(x, mask), dropout.dropout_backward(grad, mask)

    def run(x: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return functional.dropout(x, p, training=True)

    return differentiable(choose, {"x": choose.normal(*shape)}, f"p {p}", *covers, read=read, run=run)


dropout_parity = Parity(
    draw=lambda choose: _dropout_case(
        choose, (choose.integer(1, 5), choose.integer(1, 9)), choose.pick((0.5, 0.0, 0.1, 0.9, 1.0))
    ),
    edges=lambda choose: [_dropout_case(choose, (0, 3), 0.5, "empty batch")],
    refusals=lambda: refusals(dropout.dropout_mask, functional.dropout, {"p above 1": (torch.zeros(2), 1.5)}),
    typical=lambda choose: _dropout_case(choose, (256, 4096), 0.5),
)
