"""Cases of whole networks and whole training runs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from twofold.models.lenet import LeNet
from twofold.models.resnet import BasicBlock, ResNet
from twofold.models.scratch_form import ScratchCrossEntropyLoss, to_scratch
from twofold.proof.parity import Case, Choose, Parity, Results, refusals, seeded
from twofold.scratch import network, train
from twofold.scratch.loss import cross_entropy_backward
from twofold.scratch.optim import Optimizer

_STEPS = 5


def _torch_mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for in_features, out_features in itertools.pairwise(sizes):
        layers += [nn.Linear(in_features, out_features), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _network_case(scratch: network.Sequential, fast: nn.Module, x: Tensor, labels: Tensor, *covers: str) -> Case:
    """Return outputs, every gradient, and every weight after some steps of Adam, from the same start."""
    start = {name: value.clone() for name, value in scratch.state_dict().items()}

    def named(logits: Tensor, gradients: Results, losses: list[float], weights: dict[str, Tensor]) -> Results:
        updates = {f"update {name}": value for name, value in weights.items()}
        return {"value": logits, **gradients, "update losses": torch.tensor(losses, dtype=logits.dtype), **updates}

    def read(x: Tensor, labels: Tensor) -> Results:
        net = copy.deepcopy(scratch).to(x.dtype)
        net.load_state_dict(start)
        logits = net.forward(x)
        net.backward(cross_entropy_backward(torch.ones((), dtype=x.dtype), logits, labels))
        gradients = {f"gradient {name}": grad.clone() for name, grad in net.gradients().items()}
        optimizer = Optimizer("adam", list(net.parameters().values()), lr=0.01)
        losses = list(train.train_steps(net, optimizer, iter([(x, labels)] * _STEPS)))
        return named(logits, gradients, losses, net.parameters())

    def run(x: Tensor, labels: Tensor) -> Results:
        model = copy.deepcopy(fast).to(x.dtype)
        model.load_state_dict({name: value.to(x.dtype) for name, value in start.items()})
        logits = model(x)
        functional.cross_entropy(logits, labels).backward()
        gradients = {f"gradient {name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(_STEPS):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return named(logits.detach(), gradients, losses, {name: p.detach() for name, p in model.named_parameters()})

    # Adam divides by the size of the gradient: where that is all rounding, so is the direction of the step. Weights
    # after several float32 steps are no proof of anything; in float64 they are.
    return Case({"x": x, "labels": labels}, read, run, covers=covers, dtypes=(torch.float64,))


def _draw_mlp(choose: Choose) -> Case:
    sizes = tuple(choose.integer(1, 6) for _ in range(choose.integer(2, 4)))
    batch = choose.integer(1, 5)
    generator = seeded(choose.integer(0, 1000))
    labels = torch.randint(sizes[-1], (batch,), generator=generator)
    scratch, x = network.mlp(*sizes, generator=generator), choose.normal(batch, sizes[0])
    covers = f"{len(sizes) - 1} layers", "batch of one" if batch == 1 else ""
    return _network_case(scratch, _torch_mlp(sizes), x, labels, *covers)


mlp = Parity(
    draw=_draw_mlp,
    refusals=lambda: refusals(
        network.mlp(3, 2).forward, _torch_mlp((3, 2)), {"an input of another size": (torch.zeros(1, 4),)}
    ),
)


def _draw_lenet(choose: Choose) -> Case:
    batch, channels, classes = choose.integer(1, 3), choose.pick((1, 3)), choose.integer(2, 10)
    generator = seeded(choose.integer(0, 1000))
    labels = torch.randint(classes, (batch,), generator=generator)
    scratch = network.lenet(channels, classes, generator=generator)
    fast = LeNet(in_channels=channels, num_classes=classes)
    return _network_case(scratch, fast, choose.normal(batch, channels, 28, 28), labels, f"{channels} channels")


lenet = Parity(
    draw=_draw_lenet,
    refusals=lambda: refusals(
        network.lenet().forward, LeNet(), {"images that are too small": (torch.zeros(1, 1, 20, 20),)}
    ),
    typical=lambda choose: _bridge_case(choose, LeNet(), (128, 1, 28, 28), 10, dtypes=(torch.float32,)),
)


def _bridge_case(
    choose: Choose,
    model: nn.Module,
    shape: tuple[int, int, int, int],
    classes: int,
    *covers: str,
    training: bool = True,
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32),
) -> Case:
    """Return one forward and backward of `model`, as it is and on scratch operations."""
    labels = torch.arange(shape[0]) % classes

    def results(model: nn.Module, loss_function: nn.Module, x: Tensor, labels: Tensor) -> Results:
        model = model.train(training)
        y = model(x)
        loss_function(y.flatten(1), labels).backward()
        gradients = {f"gradient {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
        moved = {f"update {name}": buffer for name, buffer in model.named_buffers()}
        return {"value": y.detach(), **gradients, **moved}

    def read(x: Tensor, labels: Tensor) -> Results:
        return results(to_scratch(copy.deepcopy(model).to(x.dtype)), ScratchCrossEntropyLoss(), x, labels)

    def run(x: Tensor, labels: Tensor) -> Results:
        return results(copy.deepcopy(model).to(x.dtype), nn.CrossEntropyLoss(), x, labels)

    inputs = {"x": choose.normal(*shape), "labels": labels}
    return Case(inputs, read, run, ("training" if training else "eval mode", *covers), dtypes=dtypes)


def _with_seed(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """Return what `build` makes when torch's global generator has `seed`, and leave that generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _draw_residual(choose: Choose) -> Case:
    stride, channels = choose.integer(1, 2), (choose.integer(1, 3), choose.integer(1, 3))
    block = _with_seed(choose.integer(0, 1000), lambda: BasicBlock(*channels, stride))
    shape = choose.integer(2, 3), channels[0], choose.integer(3, 6), choose.integer(3, 6)
    return _bridge_case(
        choose,
        block,
        shape,
        channels[1],
        "plain shortcut" if stride == 1 and channels[0] == channels[1] else "1x1 shortcut",
        training=bool(choose.integer(0, 1)),
        # A few values a channel may lie so close together that float32 has no digits left for the gradient.
        dtypes=(torch.float64,),
    )


def _edges_residual(choose: Choose) -> Iterator[Case]:
    for training in (True, False):
        resnet18 = _with_seed(0, lambda: ResNet(18, in_channels=1, num_classes=10, image_size=(64, 64)))
        yield _bridge_case(choose, resnet18, (2, 1, 64, 64), 10, "ResNet-18", training=training)


residual = Parity(draw=_draw_residual, edges=_edges_residual)


def _draw_five_steps(choose: Choose) -> Case:
    """Linear regression trained by hand, and with torch's data loader, layer, loss, autograd and optimiser."""
    seed, epochs, batch_size = choose.integer(0, 1000), choose.integer(1, 3), choose.pick((10, 32, 7))
    lr = choose.pick((0.03, 0.1))

    def named(weight: Tensor, bias: Tensor, losses: list[float]) -> Results:
        return {"update weight": weight, "update bias": bias, "value losses": torch.tensor(losses)}

    def run() -> Results:
        generator = seeded(seed)
        features = torch.randn(1000, 2, generator=generator)
        labels = features @ torch.tensor([[2.0], [-3.4]]) + 4.2
        labels += torch.normal(0.0, 0.01, labels.shape, generator=generator)
        model = nn.Linear(2, 1)
        nn.init.normal_(model.weight, 0.0, 0.01, generator=generator)
        nn.init.zeros_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        dataset = TensorDataset(features, labels)
        losses = []
        for _ in range(epochs):
            order = torch.randperm(len(dataset), generator=generator).tolist()
            total = 0.0
            for x, y in DataLoader(dataset, batch_size, sampler=order, generator=torch.Generator()):
                optimizer.zero_grad()
                loss = functional.mse_loss(model(x), y) / 2
                loss.backward()
                optimizer.step()
                total += loss.item() * len(x)
            losses.append(total / len(dataset))
        return named(model.weight.detach(), model.bias.detach(), losses)

    return Case(
        {},
        lambda: named(*train.linear_regression(num_epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)),
        run,
        covers=[f"batches of {batch_size}"],
        dtypes=(torch.float32,),
    )


five_steps = Parity(draw=_draw_five_steps)
