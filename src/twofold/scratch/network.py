"""Networks: layers in a row, forward from first to last, backward from last to first.

A network is a function of functions, y = f₃(f₂(f₁(x))). The chain rule gives its gradient: start with that of the loss
in y, and pass it back through each layer in turn. This is back-propagation (Rumelhart, Hinton and Williams, "Learning
representations by back-propagating errors", 1986). Each layer has three things:

- `forward(x)`: its output; it keeps what backward is going to need;
- `backward(grad)`: given the gradient of the loss in its output, the gradients in its weights, which it keeps, and in
  its input, which it returns for the layer before;
- `weights` and `grads`: by name, the tensors to learn and their gradients; `buffers` are kept but not learned.

Names of the whole network are joined with dots ("features.0.weight"), as in torch, so that weights travel between the
two forms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from twofold.scratch import activation, conv, dropout, init, linear, norm, pool


class Layer:
    """What all layers share. `training` is off in eval mode, where dropout and batch normalisation act otherwise."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.grads: dict[str, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}
        self.training = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        raise NotImplementedError

    def backward(self, grad: Tensor) -> Tensor:
        """Keep the gradients in the weights and return the one in the input."""
        raise NotImplementedError

    def layers(self) -> Iterator[tuple[str, Layer]]:
        """Yield each layer inside, with its name; a plain layer holds itself alone."""
        yield "", self


class Linear(Layer):
    """A dense layer, started as torch starts it: uniform in ±1/√fan_in."""

    def __init__(self, in_features: int, out_features: int, *, generator: Generator | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.weights["weight"] = init.uniform((out_features, in_features), bound, generator=generator)
        self.weights["bias"] = init.uniform((out_features,), bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b."""
        self._x = x
        return linear.linear(x, self.weights["weight"], self.weights["bias"])

    def backward(self, grad: Tensor) -> Tensor:
        """See `linear_backward`."""
        grad_x, self.grads["weight"], self.grads["bias"] = linear.linear_backward(grad, self._x, self.weights["weight"])
        return grad_x


class Conv2d(Layer):
    """A convolution with a square kernel, started as torch starts it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        bound = 1 / math.sqrt(init.fans(shape)[0])
        self.weights["weight"] = init.uniform(shape, bound, generator=generator)
        self.weights["bias"] = init.uniform((out_channels,), bound, generator=generator)
        self._stride, self._padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Return the cross-correlation with the kernel, plus the bias."""
        self._x = x
        return conv.conv2d(x, self.weights["weight"], self.weights["bias"], self._stride, self._padding)

    def backward(self, grad: Tensor) -> Tensor:
        """See `conv2d_backward`."""
        grad_x, self.grads["weight"], self.grads["bias"] = conv.conv2d_backward(
            grad, self._x, self.weights["weight"], self._stride, self._padding
        )
        return grad_x


class MaxPool2d(Layer):
    """The largest value of each window."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self._kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest values, and keep where they were."""
        self._x = x
        y, self._place = pool.max_pool2d(x, self._kernel_size)
        return y

    def backward(self, grad: Tensor) -> Tensor:
        """See `max_pool2d_backward`."""
        return pool.max_pool2d_backward(grad, self._x, self._place, self._kernel_size)


class BatchNorm(Layer):
    """Batch normalisation, for dense inputs and images alike."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weights["weight"] = init.constant((num_features,), 1.0)
        self.weights["bias"] = init.constant((num_features,), 0.0)
        self.buffers["running_mean"] = init.constant((num_features,), 0.0)
        self.buffers["running_var"] = init.constant((num_features,), 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return γ x̂ + β."""
        self._x = x
        mean, var = self.buffers["running_mean"], self.buffers["running_var"]
        return norm.batch_norm(x, mean, var, self.weights["weight"], self.weights["bias"], self.training)

    def backward(self, grad: Tensor) -> Tensor:
        """See `batch_norm_backward`."""
        mean, var = self.buffers["running_mean"], self.buffers["running_var"]
        grad_x, self.grads["weight"], self.grads["bias"] = norm.batch_norm_backward(
            grad, self._x, mean, var, self.weights["weight"], self.training
        )
        return grad_x


class Sigmoid(Layer):
    """σ(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return σ(x)."""
        self._y = activation.sigmoid(x)
        return self._y

    def backward(self, grad: Tensor) -> Tensor:
        """See `sigmoid_backward`."""
        return activation.sigmoid_backward(grad, self._y)


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        self._y = activation.relu(x)
        return self._y

    def backward(self, grad: Tensor) -> Tensor:
        """See `relu_backward`."""
        return activation.relu_backward(grad, self._y)


class Dropout(Layer):
    """Sets a random part of the values to zero, in training alone."""

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        super().__init__()
        self._p, self._generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        """Return m x, with a new mask each time."""
        p = self._p if self.training else 0.0
        self._mask = dropout.dropout_mask(x, p, generator=self._generator)
        return dropout.dropout(x, self._mask)

    def backward(self, grad: Tensor) -> Tensor:
        """See `dropout_backward`."""
        return dropout.dropout_backward(grad, self._mask)


class Flatten(Layer):
    """An image (channels, height, width) as one row of features."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels · height · width)."""
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient in the shape of the input: nothing was computed, so nothing changes."""
        return grad.reshape(self._shape)


class Sequential(Layer):
    """Layers in a row. With no names given they are called 0, 1, 2, …

    >>> net = Sequential(Linear(4, 3), ReLU(), Linear(3, 2))
    >>> list(net.state_dict())
    ['0.weight', '0.bias', '2.weight', '2.bias']
    >>> y = net.forward(torch.ones(5, 4))
    >>> net.backward(torch.ones_like(y)).shape
    torch.Size([5, 4])
    """

    def __init__(self, *unnamed: Layer, **named: Layer) -> None:
        super().__init__()
        self._layers = {str(index): layer for index, layer in enumerate(unnamed)} | named
        if len({id(layer) for layer in self._layers.values()}) < len(self._layers):
            raise ValueError("a layer keeps what its backward needs, so it cannot stand in two places; create two")

    def forward(self, x: Tensor) -> Tensor:
        """Go through the layers from first to last."""
        for layer in self._layers.values():
            x = layer.forward(x)
        return x

    def backward(self, grad: Tensor) -> Tensor:
        """Go through the layers from last to first."""
        for layer in reversed(self._layers.values()):
            grad = layer.backward(grad)
        return grad

    def layers(self) -> Iterator[tuple[str, Layer]]:
        """Yield every plain layer inside, its name joined with dots."""
        for name, layer in self._layers.items():
            for inner, plain in layer.layers():
                yield f"{name}.{inner}".rstrip("."), plain

    def train(self, training: bool = True) -> None:
        """Switch every layer to training, or with False to eval mode."""
        for _, layer in self.layers():
            layer.training = training

    def parameters(self) -> dict[str, Tensor]:
        """Return the tensors to learn, by name."""
        return {f"{path}.{name}": value for path, layer in self.layers() for name, value in layer.weights.items()}

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradient of each of `parameters()`, in the same order."""
        return {f"{path}.{name}": layer.grads[name] for path, layer in self.layers() for name in layer.weights}

    def state_dict(self) -> dict[str, Tensor]:
        """Return weights and buffers, by name."""
        return {
            f"{path}.{name}": value
            for path, layer in self.layers()
            for name, value in (*layer.weights.items(), *layer.buffers.items())
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy the values of `state` into the network's own tensors.

        Raises:
            ValueError: names or shapes differ; nothing has been copied then."""
        own = self.state_dict()
        if differing := own.keys() ^ state.keys():
            raise ValueError(f"the state must have the network's own names; missing or unknown: {sorted(differing)}")
        for name, value in own.items():
            if value.shape != state[name].shape:
                raise ValueError(f"{name} needs shape {tuple(value.shape)}, got {tuple(state[name].shape)}")
        for name, value in own.items():
            value.copy_(state[name])

    def to(self, dtype: torch.dtype) -> Sequential:
        """Turn every tensor of the network into a new one of `dtype`; return the network.

        An optimiser that was made before holds the old ones.
        """
        for _, layer in self.layers():
            layer.weights = {name: value.to(dtype) for name, value in layer.weights.items()}
            layer.buffers = {name: value.to(dtype) for name, value in layer.buffers.items()}
        return self


def mlp(*sizes: int, generator: Generator | None = None) -> Sequential:
    """Return a multilayer perceptron: dense layers of `sizes` with ReLU in between.

    >>> [tuple(weight.shape) for weight in mlp(784, 256, 10).parameters().values()]
    [(256, 784), (256,), (10, 256), (10,)]
    """
    if len(sizes) < 2:
        raise ValueError(f"a perceptron needs at least an input and an output size, got {sizes}")
    layers: list[Layer] = []
    for in_features, out_features in itertools.pairwise(sizes):
        layers += [Linear(in_features, out_features, generator=generator), ReLU()]
    return Sequential(*layers[:-1])


def lenet(in_channels: int = 1, num_classes: int = 10, *, generator: Generator | None = None) -> Sequential:
    """Return LeNet for 28 px images as in D2L: sigmoids, max pooling, no padding.

    LeCun et al., 1998, had 32 px, a scaled tanh, learned averages for pooling and distances to patterns as outputs.

    >>> net = lenet()
    >>> net.forward(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    >>> sum(weight.numel() for weight in net.parameters().values())
    44426
    """
    return Sequential(
        features=Sequential(
            Conv2d(in_channels, 6, 5, generator=generator),  # 28 -> 24 px
            Sigmoid(),
            MaxPool2d(2),  # 24 -> 12 px
            Conv2d(6, 16, 5, generator=generator),  # 12 -> 8 px
            Sigmoid(),
            MaxPool2d(2),  # 8 -> 4 px
        ),
        classifier=Sequential(
            Flatten(),
            Linear(16 * 4 * 4, 120, generator=generator),
            Sigmoid(),
            Linear(120, 84, generator=generator),
            Sigmoid(),
            Linear(84, num_classes, generator=generator),
        ),
    )
