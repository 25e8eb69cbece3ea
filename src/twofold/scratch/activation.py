"""Activations: the bend between two layers.

Two dense layers in a row are one dense layer, since W₂(W₁x) = (W₂W₁)x. A function that is not a straight line, applied
to each element by itself, is what lets depth add anything.

- **sigmoid** σ(x) = 1 / (1 + e⁻ˣ): squeezes to 0..1. Its slope σ(1 − σ) is at most ¼ and nearly 0 far from the middle:
  stack a few and the gradient fades. The LeNet here uses it; that of 1998 had a scaled tanh.
- **tanh** = 2σ(2x) − 1: the sigmoid stretched to −1..1; its slope at 0 is 1, so it fades less (LeCun et al., "Efficient
  backprop", 1998).
- **ReLU** max(x, 0): slope 1 wherever it is on; nothing fades (Nair and Hinton, "Rectified linear units improve
  restricted Boltzmann machines", 2010). At x = 0, where there is no slope, we take 0, as torch does.

The backward of sigmoid and tanh takes the *output*: their slope is a function of it, so the input need not be kept.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def sigmoid(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return 1 / (1 + e⁻ˣ).

    >>> sigmoid(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return 1 / (1 + (-x).exp())


def sigmoid_backward(grad: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return g · y (1 − y), y the output.

    dσ/dx = e⁻ˣ / (1 + e⁻ˣ)² = σ · e⁻ˣ / (1 + e⁻ˣ) = σ (1 − σ).

    >>> sigmoid_backward(torch.tensor([8.0]), torch.tensor([0.5]))
    tensor([2.])
    """
    return grad * y * (1 - y)


def tanh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ), as 2σ(2x) − 1, which cannot overflow.

    Divide above and below by eˣ: (1 − e⁻²ˣ) / (1 + e⁻²ˣ) = 2 / (1 + e⁻²ˣ) − 1. Given up: digits near 0, where the
    subtraction cancels (float32 gives 0 for |x| below about 1e-8).

    >>> tanh(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([-1.,  0.,  1.])
    """
    return 2 * sigmoid(2 * x) - 1


def tanh_backward(grad: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return g · (1 − y²), y the output.

    With y = 2s − 1 and s = σ(2x): dy/dx = 2 · 2 s(1 − s) = (1 + y)(1 − y), since s = (1 + y)/2.

    >>> tanh_backward(torch.tensor([4.0]), torch.tensor([0.5]))
    tensor([3.])
    """
    return grad * (1 - y * y)


def relu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return max(x, 0).

    >>> relu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 3.])
    """
    return x.clamp(min=0)


def relu_backward(grad: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return g where the output y is positive, 0 elsewhere: a gate that is open or shut.

    >>> relu_backward(torch.tensor([5.0, 5.0, 5.0]), relu(torch.tensor([-2.0, 0.0, 3.0])))
    tensor([0., 0., 5.])
    """
    return torch.where(y > 0, grad, 0)
