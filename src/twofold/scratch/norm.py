"""Normalisation: keep the values of each layer in a range where learning is easy.

**Batch normalisation** (Ioffe and Szegedy, 2015). For each feature (each channel of an image), take its mean μ and
variance σ² over the batch, bring it to mean 0 and variance 1, then let the network choose scale γ and shift β anew:

    x̂ = (x − μ) / √(σ² + ε),    y = γ x̂ + β

For dense inputs (batch, features) the statistics run over the batch; for images (batch, channels, height, width)
over batch, height and width, since a channel means the same everywhere. In *eval mode* a single image must not depend
on its neighbours: moving averages, gathered in training, stand in for μ and σ².

**Local response normalisation** (Krizhevsky et al., 2012, AlexNet) divides a value by the size of those of neighbouring
channels at the same pixel. Batch normalisation replaced it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Values = Float[Tensor, "batch channels *size"]
PerChannel = Float[Tensor, " channels"]


def batch_norm(
    x: Values,
    running_mean: PerChannel,
    running_var: PerChannel,
    weight: PerChannel,
    bias: PerChannel,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Values:
    """Return γ x̂ + β with γ = `weight` and β = `bias`; in training, move the running statistics, in place.

    The running variance takes the unbiased estimate, Σ(x − μ)² / (m − 1), m values a channel: it is meant for other
    batches. The batch itself is divided by its own, Σ(x − μ)² / m. (running ← (1 − momentum) running + momentum new.)

    >>> x = torch.tensor([[1.0], [3.0]])  # mean 2, variance 1
    >>> running_mean, running_var = torch.zeros(1), torch.ones(1)
    >>> batch_norm(x, running_mean, running_var, torch.tensor([10.0]), torch.tensor([5.0]), training=True, eps=0.0)
    tensor([[-5.],
            [15.]])
    >>> running_mean, running_var  # 0.9 · 0 + 0.1 · 2 and 0.9 · 1 + 0.1 · 2
    (tensor([0.2000]), tensor([1.1000]))
    """
    if x.dim() < 2 or x.shape[1:2] != weight.shape:
        raise ValueError(f"x needs a channel for each of the {len(weight)} weights, got shape {tuple(x.shape)}")
    if training:
        count = x.numel() // max(1, x.shape[1])
        if count < 2:
            raise ValueError(f"training needs two or more values a channel to have a variance, got {tuple(x.shape)}")
        mean, var = _statistics(x)
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * count / (count - 1) - running_var)
    else:
        mean, var = running_mean, running_var
    # γ (x − μ)/√(σ² + ε) + β, multiplied out: one multiplication and one addition an element. The price, as in
    # torch on a CPU, is digits where the mean is thousands of times the standard deviation.
    scale = weight / (var + eps).sqrt()
    return x * _per_channel(scale, x) + _per_channel(bias - mean * scale, x)


def batch_norm_backward(
    grad: Values,
    x: Values,
    running_mean: PerChannel,
    running_var: PerChannel,
    weight: PerChannel,
    training: bool = False,
    eps: float = 1e-5,
) -> tuple[Values, PerChannel, PerChannel]:
    """Return the gradients in x, weight (γ) and bias (β).

    y = γ x̂ + β gives at once ∂L/∂γ = Σ g x̂ and ∂L/∂β = Σ g, summed over the m values of a channel.

    From here on σ means the whole root √(σ² + ε). In eval mode μ and σ are constants: ∂L/∂x = g γ/σ.

    In training x moves its own mean and variance too. With x̂ = (x − μ)/σ,

        ∂x̂_k/∂x_i = (δ_ki − 1/m − x̂_k x̂_i / m) / σ

    (δ_ki = 1 where k = i; −1/m through the mean; −x̂_k x̂_i/m through the variance, as ∂σ/∂x_i = x̂_i/m). Hence

        ∂L/∂x_i = γ/σ · (g_i − mean(g) − x̂_i · mean(g x̂))

    the gradient with its mean and its part along x̂ taken out: shifting or stretching all x together leaves x̂ alone.

    >>> x, one = torch.tensor([[1.0], [3.0], [8.0]]), torch.ones(1)
    >>> grad_x, grad_weight, grad_bias = batch_norm_backward(torch.ones(3, 1), x, 0 * one, one, one, training=True)
    >>> grad_x.abs().max() < 1e-6, grad_bias  # L = Σ y = m β whatever x is, since Σ x̂ = 0
    (tensor(True), tensor([3.]))
    """
    mean, var = _statistics(x) if training else (running_mean, running_var)
    inverse = 1 / (var + eps).sqrt()
    dims = [dim for dim in range(x.dim()) if dim != 1]
    count = x.numel() // max(1, x.shape[1])
    sum_grad = grad.sum(dim=dims)
    # Σ g x̂ = (Σ g x − μ Σ g)/σ would subtract two large sums that nearly cancel: centre first.
    centred = x - _per_channel(mean, x)
    grad_weight = (grad * centred).sum(dim=dims) * inverse
    if not training:
        return grad * _per_channel(weight * inverse, x), grad_weight, sum_grad
    along = grad_weight / count * inverse  # mean(g x̂)/σ, to be multiplied by x − μ
    without = grad - _per_channel(sum_grad / count, x) - centred * _per_channel(along, x)
    return without * _per_channel(weight * inverse, x), grad_weight, sum_grad


def local_response_norm(x: Values, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Values:
    """Return x / (k + α·mean(x²))^β, the mean over `size` channels around each, those outside counting as 0.

    >>> local_response_norm(torch.tensor([[[3.0]]]), size=1, alpha=1.0, beta=0.5, k=16.0)  # 3 / √(16 + 9)
    tensor([[[0.6000]]])
    """
    return x * _divisor(x, size, alpha, k) ** -beta


def local_response_norm_backward(
    grad: Values, x: Values, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Values:
    """Return the gradient in x.

    With D_c = k + α/size · Σ_{j near c} x_j² and y_c = x_c D_c^−β, channel i acts on its own numerator and on the D of
    each channel c that counts it as a neighbour:

        ∂L/∂x_i = g_i D_i^−β − 2αβ/size · x_i · Σ_{c: i near c} g_c x_c D_c^(−β−1)

    >>> local_response_norm_backward(torch.ones(1, 1, 1), torch.tensor([[[3.0]]]), size=1, alpha=1.0, beta=0.5, k=16.0)
    tensor([[[0.1280]]])

    With y = x/√(16 + x²) the slope is 16/(16 + x²)^1.5 = 16/125.
    """
    divisor = _divisor(x, size, alpha, k)
    # i is near c when c lies as far *before* i as a neighbour lies behind: the window reversed.
    shared = _channel_sum(grad * x * divisor ** (-beta - 1), size, reverse=True)
    return grad * divisor**-beta - 2 * alpha * beta / size * x * shared


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and (biased) variance of each channel."""
    dims = [dim for dim in range(x.dim()) if dim != 1]
    mean = x.mean(dim=dims)
    return mean, ((x - _per_channel(mean, x)) ** 2).mean(dim=dims)


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Return one value a channel in a shape that broadcasts over `x`."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _divisor(x: Tensor, size: int, alpha: float, k: float) -> Tensor:
    if size < 1 or x.dim() < 3:
        raise ValueError(f"size must be 1 or more and x (batch, channels, ...), got {size} and {tuple(x.shape)}")
    return k + alpha / size * _channel_sum(x**2, size)


def _channel_sum(x: Tensor, size: int, *, reverse: bool = False) -> Tensor:
    """Return the sum over `size` channels around each: size // 2 before it and the rest behind, or reversed."""
    before = (size - 1) // 2 if reverse else size // 2
    channels = x.shape[1]
    padded = x.new_zeros(x.shape[0], channels + size - 1, *x.shape[2:])
    padded[:, before : before + channels] = x
    total = torch.zeros_like(x)
    for shift in range(size):
        total += padded[:, shift : shift + channels]
    return total
