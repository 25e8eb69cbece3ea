"""The book's tensors, classes, updates, batches and networks, each scene a function of the package."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from d2l_oracle import CPU, batches, fill, numbers, printed, scene, small_net, values
from torch import Tensor, nn

# The short names of tensor operations


@scene("1.0")
def tensor_names(d2l: Any) -> Any:
    x = values(2, 3)
    return {
        "reshape": d2l.reshape(x, (-1, 1)),
        "reduce_sum": [d2l.reduce_sum(x), d2l.reduce_sum(x, 0, keepdim=True), d2l.reduce_sum(x, axis=1)],
        "reduce_mean": [d2l.reduce_mean(x), d2l.reduce_mean(x, 1)],
        "argmax": [d2l.argmax(x), d2l.argmax(x, axis=1)],
        "astype": d2l.astype(10 * x, d2l.int32),
        "to": d2l.to(x, torch.float64),
        "transpose": d2l.transpose(x),
        "swapaxes": d2l.swapaxes(x[None], 0, 2),
        "expand_dims": d2l.expand_dims(x, 1),
        "repeat": d2l.repeat(x, 2, 2),
        "size": d2l.size(x),
        "numpy": d2l.numpy(x.clone().requires_grad_()),
        "concat": [d2l.concat((x, x)), d2l.concat([x, x], axis=1)],
        "stack": d2l.stack((x, x), axis=-1),
        "matmul": d2l.matmul(x, x.T),
        "batch_matmul": d2l.batch_matmul(x[None], x.T[None]),
        "functions": [
            each(x)
            for each in (d2l.abs, d2l.cos, d2l.cosh, d2l.exp, d2l.sigmoid, d2l.sin, d2l.sinh, d2l.tanh, d2l.ones_like)
        ],
        "log": d2l.log(1.5 + x),
        "zeros_like": d2l.zeros_like(x),
        "made": [d2l.tensor([1, 2]), d2l.arange(0, 1, 0.25), d2l.linspace(0, 1, 3), d2l.eye(2)],
        "filled": [d2l.ones(2), d2l.zeros((1, 2)), d2l.zeros(2, dtype=d2l.int64)],
        "meshgrid": d2l.meshgrid(d2l.arange(2.0), d2l.arange(3.0), indexing="ij"),
    }


# Classes that are written a method at a time


@scene("1.0")
def hyperparameters(d2l: Any) -> Any:
    class Kept(d2l.HyperParameters):
        def __init__(self, a: int, b: str = "x", _hidden: int = 0, c: Any = None) -> None:
            local = a + 1  # noqa: F841 -- kept as well
            self.save_hyperparameters(ignore=["c"])

    kept = Kept(1, c=[1])
    return {"attributes": vars(kept), "has c": hasattr(kept, "c")}


@scene("1.0")
def attributes_from_arguments(d2l: Any) -> Any:
    made = {
        "Module": d2l.Module(plot_train_per_epoch=3),
        "DataModule": d2l.DataModule(),
        "Trainer": d2l.Trainer(max_epochs=2, gradient_clip_val=1),
        "ProgressBoard": d2l.ProgressBoard("x", yscale="log"),
        "LinearRegression": d2l.LinearRegression(lr=0.1),
        "LinearRegressionScratch": d2l.LinearRegressionScratch(2, lr=0.1),
        "SoftmaxRegression": d2l.SoftmaxRegression(num_outputs=10, lr=0.1),
        "LeNet": d2l.LeNet(),
        "SGD": d2l.SGD([], lr=0.1),
        "SyntheticRegressionData": d2l.SyntheticRegressionData(w=torch.tensor([2.0]), b=1.0, num_train=3, num_val=2),
    }
    return {
        name: {
            key: getattr(each, key) if not isinstance(value, Tensor) else value for key, value in each.hparams.items()
        }
        for name, each in made.items()
    } | {"noise": made["SyntheticRegressionData"].noise, "gpus": made["Trainer"].gpus}


@scene("1.0")
def methods_added(d2l: Any) -> Any:
    class Empty:
        pass

    empty = Empty()

    @d2l.add_to_class(Empty)
    def double(self: Any, x: int) -> int:
        return 2 * x

    return [empty.double(4), double is None]  # type: ignore[attr-defined]


# Sums and times


@scene("1.0")
def accumulator(d2l: Any) -> Any:
    sums = d2l.Accumulator(3)
    sums.add(1, torch.tensor(2.5), True)
    sums.add(1, 1)
    after = list(sums.data)
    sums.reset()
    return [after, sums.data, sums[0], sums[-1]]


@scene("1.0")
def timer(d2l: Any) -> Any:
    watch = d2l.Timer()
    last = watch.stop()
    same = watch.times == [last]
    watch.times = [1.0, 2.5, 0.25]
    return [same, watch.avg(), watch.sum(), watch.cumsum()]


@scene("1.0")
def losses_and_accuracies(d2l: Any) -> Any:
    net = small_net()
    loader = batches()
    regression = [(x, y[:, None].float()) for x, y in loader]
    accuracy = d2l.evaluate_accuracy_gpu(net, loader)
    training = net.training
    line = nn.Linear(6, 1)
    fill(line)
    return {
        "accuracy": accuracy,
        "training after": training,
        "of a function": d2l.evaluate_accuracy_gpu(lambda x: x[:, :3], loader, CPU),
        "loss": d2l.evaluate_loss(line, regression, d2l.squared_loss),
        "loss of flat labels": d2l.evaluate_loss(line, [(x, y[:, 0]) for x, y in regression], d2l.squared_loss),
        "mean loss": d2l.evaluate_loss(line, regression, nn.MSELoss()),
    }


@scene("zh")
def accuracies(d2l: Any) -> Any:
    net = nn.Sequential(small_net(), nn.Dropout(0.9))
    loader = batches()
    seen: list[bool] = []

    def by_hand(x: Tensor, is_training: bool = True) -> Tensor:
        seen.append(is_training)
        return x[:, :3]

    return {
        "of a network": d2l.evaluate_accuracy(loader, net),
        "training after": net.training,
        "on a device": d2l.evaluate_accuracy(loader, net, CPU),
        "of a function": d2l.evaluate_accuracy(loader, lambda x: x[:, 1:4]),
        "by hand": d2l.evaluate_accuracy(loader, by_hand),
        "told": seen,
    }


# Updates


@scene("1.0", "zh")
def sgd(d2l: Any) -> Any:
    params = [values(2, 3).requires_grad_(), values(3).requires_grad_()]
    torch.stack([(each**2).sum() for each in params]).sum().backward()
    d2l.sgd(params, 0.1, 4)
    return [*params, *(each.grad for each in params)]


@scene("1.0")
def sgd_class(d2l: Any) -> Any:
    params = [values(2, 3).requires_grad_(), values(3).requires_grad_(), values(1)]
    rule = d2l.SGD(params[:2], lr=0.5)
    torch.stack([(each**3).sum() for each in params]).sum().backward()
    with torch.no_grad():
        rule.step()
    rule.zero_grad()
    d2l.SGD(params, lr=0.5).zero_grad()
    return [*params, params[0].grad, params[1].grad]


@scene("1.0")
def init_cnn(d2l: Any) -> Any:
    torch.manual_seed(3)
    layers = {
        "dense": nn.Linear(3, 2),
        "conv": nn.Conv2d(1, 2, 3),
        "transposed": nn.ConvTranspose2d(1, 2, 3),
        "conv1d": nn.Conv1d(1, 2, 3),
        "norm": nn.BatchNorm2d(2),
    }
    net = nn.Sequential(*layers.values())
    before = [[each.clone() for each in layer.parameters()] for layer in net]
    net.apply(d2l.init_cnn)
    changed = {
        name: [not torch.equal(a, b) for a, b in zip(old, layer.parameters(), strict=True)]
        for (name, layer), old in zip(layers.items(), before, strict=True)
    }
    return {"changed": changed, "dense": layers["dense"].weight, "conv": layers["conv"].weight}


def gradient_descent(x1: Any, x2: Any, s1: Any, s2: Any) -> Any:
    return x1 - 0.1 * 2 * x1, x2 - 0.1 * 4 * x2, 0, 0


def momentum(x1: Any, x2: Any, s1: Any, s2: Any) -> Any:
    s1, s2 = 0.5 * s1 + 0.6 * 0.2 * x1, 0.5 * s2 + 0.6 * 4 * x2
    return x1 - s1, x2 - s2, s1, s2


def adagrad(x1: Any, x2: Any, s1: Any, s2: Any) -> Any:
    g1, g2 = 0.2 * x1, 4 * x2
    s1, s2 = s1 + g1**2, s2 + g2**2
    return x1 - 0.4 / (s1 + 1e-6) ** 0.5 * g1, x2 - 0.4 / (s2 + 1e-6) ** 0.5 * g2, s1, s2


def with_gradient(x1: Any, x2: Any, s1: Any, s2: Any, f_grad: Any) -> Any:
    g1, g2 = f_grad(x1, x2)
    return x1 - 0.05 * g1, x2 - 0.05 * g2, s1 + 1, s2


@scene("1.0", "zh")
def traces(d2l: Any) -> Any:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        found = [d2l.train_2d(rule) for rule in (gradient_descent, momentum, adagrad)]
    return [found, out.getvalue()]


@scene("1.0")
def traces_of_so_many_steps(d2l: Any) -> Any:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        found = [
            d2l.train_2d(momentum, steps=3),
            d2l.train_2d(with_gradient, 50, lambda x1, x2: (2 * x1, torch.tensor(4.0) * x2)),
            d2l.train_2d(with_gradient, f_grad=lambda x1, x2: (2 * x1, 4 * x2)),
        ]
    return [[numbers(each) for each in found], out.getvalue()]


# Suppression by hand


@scene("zh")
def suppressed(d2l: Any) -> Any:
    corners = [[1, 1, 5, 5], [1, 1, 5, 4], [0, 0, 2, 2], [6, 6, 9, 9], [1, 2, 5, 5], [0, 0, 1, 1]]
    scores = [0.5, 0.9, 0.5, 0.3, 0.9, 0.1]
    found = [
        d2l.Pred_BB_Info(index, index % 2, score, xyxy)
        for index, (score, xyxy) in enumerate(zip(scores, corners, strict=True))
    ]
    kept = [d2l.non_max_suppression(found, limit) for limit in (0.0, 0.3, 0.5, 0.7)]
    ours = [list(each) for each in d2l.non_max_suppression(found)]
    return [[[each.index for each in some] for some in kept], ours, list(found[0]._fields), d2l.non_max_suppression([])]


# Networks


def shapes(net: nn.Module, x: Tensor) -> Any:
    net.eval()
    shape = list(net(x).shape)
    fill(net)
    kinds = {name: list(each.shape) for name, each in net.state_dict().items()}
    num_parameters = sum(each.numel() for each in net.parameters())
    return {"shape": shape, "state": kinds, "parameters": num_parameters, "sum": net(x).double().sum()}


@scene("1.0")
def residual_blocks(d2l: Any) -> Any:
    x = values(2, 3, 6, 6)
    return {
        "same": shapes(d2l.Residual(3), x),
        "half": shapes(d2l.Residual(6, use_1x1conv=True, strides=2), x),
        "by position": shapes(d2l.Residual(4, True, 1), x),
        "groups": shapes(d2l.ResNeXtBlock(8, 4, 1), values(2, 8, 5, 5)),
        "groups, half": shapes(d2l.ResNeXtBlock(8, 2, 0.5, use_1x1conv=True, strides=2), values(2, 4, 6, 6)),
        "groups, uneven": shapes(d2l.ResNeXtBlock(6, 3, 1.4, True), values(2, 4, 6, 6)),
    }


@scene("zh")
def residual_blocks_zh(d2l: Any) -> Any:
    x = values(2, 3, 6, 6)
    return {
        "same": shapes(d2l.Residual(3, 3), x),
        "half": shapes(d2l.Residual(3, 6, use_1x1conv=True, stride=2), x),
        "stage": shapes(d2l.resnet_block(3, 4, 2), x),
        "first stage": shapes(d2l.resnet_block(3, 3, 3, first_block=True), x),
        "pooled": d2l.GlobalAvgPool2d()(x),
        "flat": d2l.FlattenLayer()(x),
    }


def _summary(net: nn.Module, x: Tensor) -> Any:
    """Return the sum of the outputs by a scale of weights at which these are neither 0 nor infinite."""
    net.eval()
    net(x)
    fill(net, 0.02)
    out, after = x, []
    for layer in net.children():
        out = layer(out)
        after.append(list(out.shape))
    return {
        "shapes": after,
        "out": out[0, :3],
        "parameters": sum(each.numel() for each in net.parameters()),
        "state": list(net.state_dict()),
        "layers": [name for name, _ in net.named_children()],
    }


@scene("1.0")
def resnet18(d2l: Any) -> Any:
    return [_summary(d2l.resnet18(7), values(1, 1, 16, 16)), _summary(d2l.resnet18(10, 3), values(2, 3, 8, 8))]


@scene("zh")
def resnet18_zh(d2l: Any) -> Any:
    return [
        _summary(d2l.resnet18(), values(2, 3, 32, 32)),
        _summary(d2l.resnet18(output=5, in_channels=1), values(1, 1, 64, 64)),
    ]


@scene("1.0")
def layer_summaries(d2l: Any) -> Any:
    return [
        printed(lambda: d2l.LeNet().layer_summary((2, 1, 28, 28))),
        printed(lambda: d2l.SoftmaxRegression(4, 0.1).layer_summary((2, 3, 5))),
    ]


@scene("1.0")
def networks(d2l: Any) -> Any:
    lenet, softmax = d2l.LeNet(num_classes=4), d2l.SoftmaxRegression(num_outputs=3, lr=0.2)
    x = values(2, 1, 28, 28)
    for net in (lenet, softmax):
        net(x)
        fill(net, 0.4)
    line, by_hand = d2l.LinearRegression(0.1), d2l.LinearRegressionScratch(3, 0.1)
    line(values(4, 3))
    fill(line)
    with torch.no_grad():
        by_hand.w.copy_(values(3, 1))
    y = values(4, 1, step=0.3)
    named = list(by_hand.named_parameters())
    return {
        "lenet": lenet(x),
        "softmax": softmax(x),
        "line": line(values(4, 3)),
        "line's loss": line.loss(line(values(4, 3)), y),
        "w and b": line.get_w_b(),
        "by hand": by_hand(values(4, 3)),
        "loss by hand": by_hand.loss(by_hand(values(4, 3)), y),
        "optimiser": [type(net.configure_optimizers()).__name__ for net in (lenet, softmax, line, by_hand)],
        "rates": [net.configure_optimizers().param_groups[0]["lr"] for net in (lenet, softmax, line)],
        "registered": [name for name, _ in named],
    }


@scene("1.0")
def classifier(d2l: Any) -> Any:
    net, logits, labels = d2l.Classifier(), values(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    deep = values(2, 3, 4)
    return {
        "accuracy": [net.accuracy(logits, labels), net.accuracy(logits, labels, averaged=False)],
        "loss": [net.loss(logits, labels), net.loss(logits, labels, averaged=False)],
        "of more axes": [
            net.accuracy(deep, torch.tensor([[0, 1, 3], [2, 2, 1]])),
            net.loss(deep, torch.tensor([[0, 1, 3], [2, 2, 1]])),
        ],
    }


@scene("1.0")
def first_pass(d2l: Any) -> Any:
    net = d2l.LeNet()
    drawn: list[str] = []
    net.apply_init([values(1, 1, 28, 28)], lambda layer: drawn.append(type(layer).__name__))
    net.apply_init([values(1, 1, 28, 28)])
    return [drawn, [list(each.shape) for each in net.parameters()]]
