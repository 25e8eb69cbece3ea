"""The dense layer: every output is a weighted sum of every input.

    y = x Wᵀ + b,    y_no = Σ_i x_ni W_oi + b_o

with n the example, i the input and o the output. Backward is given g = ∂L/∂y, a table like y that says how fast the
loss L grows with each output, and returns the same for x, W and b.

Linear regression is this layer with one output (Legendre, 1805); softmax regression has one output a class; a
multilayer perceptron stacks several with an activation in between. The weight is stored (out, in), as torch does, so
each of its rows is what one output looks for.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def linear(
    x: Float[Tensor, "*batch in_features"],
    weight: Float[Tensor, "out_features in_features"],
    bias: Float[Tensor, " out_features"] | None = None,
) -> Float[Tensor, "*batch out_features"]:
    """Return x Wᵀ + b.

    >>> import torch
    >>> linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([0.5, 0.0]))
    tensor([[11.5000,  2.0000]])
    """
    if x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x has {x.shape[-1]} features and the weight takes {weight.shape[1]}")
    y = x @ weight.T
    return y if bias is None else y + bias


def linear_backward(
    grad: Float[Tensor, "*batch out_features"],
    x: Float[Tensor, "*batch in_features"],
    weight: Float[Tensor, "out_features in_features"],
) -> tuple[
    Float[Tensor, "*batch in_features"], Float[Tensor, "out_features in_features"], Float[Tensor, " out_features"]
]:
    """Return the gradients of the loss in x, W and b, given `grad`, its gradient in y.

    From y_no = Σ_i x_ni W_oi + b_o, with g = ∂L/∂y, by the chain rule:

        ∂L/∂x_ni = Σ_o g_no W_oi,  so  g W            (each output sends its gradient back along its weights)
        ∂L/∂W_oi = Σ_n g_no x_ni,  so  gᵀ x           (summed over the batch: the weight was used by each example)
        ∂L/∂b_o  = Σ_n g_no

    Where the loss is a mean over the batch, its 1/n has come in with `grad` already.

    >>> import torch
    >>> x, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    >>> linear_backward(torch.tensor([[10.0]]), x, weight)
    (tensor([[30., 40.]]), tensor([[10., 20.]]), tensor([10.]))
    """
    flat_grad, flat_x = grad.reshape(-1, weight.shape[0]), x.reshape(-1, weight.shape[1])
    return grad @ weight, flat_grad.T @ flat_x, flat_grad.sum(dim=0)
