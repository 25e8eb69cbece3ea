"""Any network on the from-scratch operations of `twofold.scratch`, forward and backward.

`to_scratch` returns the same network, with the same tensors under the same names, in which each layer that has a
readable form uses it. A swapped convolution is still an `nn.Conv2d` with its options and its weights; only its
`forward` differs. Inside a layer, gradients are computed by the hand-written backward of `twofold.scratch`; autograd
only carries them from layer to layer, and through `+` and `cat` between them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from twofold.errors import TwofoldError
from twofold.scratch import activation, conv_pieces, dropout, linear, loss, norm, pool

M = TypeVar("M", bound=nn.Module)
Forward = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]
Backward = Callable[..., tuple[Tensor | None, ...]]


class _Operation(torch.autograd.Function):
    """A forward and its hand-written backward as one node of torch's graph."""

    @staticmethod
    def forward(ctx: Any, forward: Forward, backward: Backward, *tensors: Tensor | None) -> Tensor:
        y, kept = forward(*tensors)
        ctx.backward_function = backward
        ctx.save_for_backward(*kept)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gradients = ctx.backward_function(grads[0], *ctx.saved_tensors)
        wanted = ctx.needs_input_grad[2:]
        return None, None, *(gradient if want else None for gradient, want in zip(gradients, wanted, strict=True))


def by_hand(forward: Forward, backward: Backward, *tensors: Tensor | None) -> Tensor:
    """Return what `forward` makes of tensors, as a node of torch's graph whose gradients `backward` gives.

    Args:
        forward: returns its result, and the tensors that backward needs.
        backward: takes the gradient of the result and those tensors, and returns a gradient for each of `tensors`.
        *tensors: the inputs.
    """
    return _Operation.apply(forward, backward, *tensors)  # type: ignore[no-any-return]


class ScratchLinear(nn.Linear):
    """`nn.Linear` on `scratch.linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return x Wᵀ + b."""
        return by_hand(
            lambda x, weight, bias: (linear.linear(x, weight, bias), (x, weight)),
            linear.linear_backward,
            input,
            self.weight,
            self.bias,
        )


class ScratchConv2d(nn.Conv2d):
    """`nn.Conv2d` on `scratch.conv_pieces`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the cross-correlation plus the bias."""
        options: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        need_x = input.requires_grad
        return by_hand(
            lambda x, weight, bias: (conv_pieces.conv2d(x, weight, bias, **options), (x, weight)),
            lambda grad, x, weight: conv_pieces.conv2d_backward(grad, x, weight, **options, need_x=need_x),
            input,
            self.weight,
            self.bias,
        )


class _ScratchBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`nn.BatchNorm1d` and `2d` on `scratch.norm`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return γ x̂ + β; in training mode, update the running statistics."""
        self._check_input_dim(input)
        # None only without running statistics, which `to_scratch` refuses.
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        if self.training:
            self.num_batches_tracked += 1
        # Without a momentum, torch averages over all batches so far.
        momentum = 1 / max(1, int(self.num_batches_tracked)) if self.momentum is None else self.momentum
        training, eps = self.training, self.eps
        # Forward may update these later; in eval mode, backward must use the values that its forward used.
        mean, var = self.running_mean, self.running_var

        def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            y = norm.batch_norm(x, mean, var, weight, bias, training=training, momentum=momentum, eps=eps)
            return y, (x, weight) if training else (x, weight, mean.clone(), var.clone())

        def backward(grad: Tensor, x: Tensor, weight: Tensor, *used: Tensor) -> tuple[Tensor, ...]:
            used_mean, used_var = used or (mean, var)
            return norm.batch_norm_backward(grad, x, used_mean, used_var, weight, training=training, eps=eps)

        return by_hand(forward, backward, input, self.weight, self.bias)


class ScratchBatchNorm1d(_ScratchBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d` on `scratch.norm`."""


class ScratchBatchNorm2d(_ScratchBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d` on `scratch.norm`."""


class ScratchMaxPool2d(nn.MaxPool2d):
    """`nn.MaxPool2d` on `scratch.pool`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the maximum of each window."""
        window = self.kernel_size, self.stride, self.padding
        ceil_mode = self.ceil_mode

        def forward(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            y, indices = pool.max_pool2d(x, *window, ceil_mode=ceil_mode)
            return y, (x, indices)

        def backward(grad: Tensor, x: Tensor, indices: Tensor) -> tuple[Tensor]:
            return (pool.max_pool2d_backward(grad, x, indices, *window, ceil_mode=ceil_mode),)

        return by_hand(forward, backward, input)


class ScratchAvgPool2d(nn.AvgPool2d):
    """`nn.AvgPool2d` on `scratch.pool`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the mean of each window."""
        window = self.kernel_size, self.stride, self.padding
        options = {"ceil_mode": self.ceil_mode, "count_include_pad": self.count_include_pad}
        return by_hand(
            lambda x: (pool.avg_pool2d(x, *window, **options), (x,)),
            lambda grad, x: (pool.avg_pool2d_backward(grad, x, *window, **options),),
            input,
        )


class ScratchAdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """`nn.AdaptiveAvgPool2d` on `scratch.pool`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the means of the parts of the feature map."""
        size: Any = self.output_size
        sizes = size if isinstance(size, tuple) else (size, size)
        # None means "as many parts as there are pixels".
        rows, cols = (pixels if size is None else size for size, pixels in zip(sizes, input.shape[2:], strict=True))
        return by_hand(
            lambda x: (pool.adaptive_avg_pool2d(x, (rows, cols)), (x,)),
            lambda grad, x: (pool.adaptive_avg_pool2d_backward(grad, x),),
            input,
        )


class ScratchReLU(nn.ReLU):
    """`nn.ReLU` on `scratch.activation`; `inplace` is ignored."""

    def forward(self, input: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return _elementwise(activation.relu, activation.relu_backward, input)


class ScratchSigmoid(nn.Sigmoid):
    """`nn.Sigmoid` on `scratch.activation`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return σ(x)."""
        return _elementwise(activation.sigmoid, activation.sigmoid_backward, input)


class ScratchTanh(nn.Tanh):
    """`nn.Tanh` on `scratch.activation`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return tanh x."""
        return _elementwise(activation.tanh, activation.tanh_backward, input)


class ScratchDropout(nn.Dropout):
    """`nn.Dropout` on `scratch.dropout`, with torch's global generator: on a CPU it draws the same masks."""

    def forward(self, input: Tensor) -> Tensor:
        """Return m x in training mode and x in eval mode."""
        if not self.training:
            return input
        p = self.p

        def forward(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            mask = dropout.dropout_mask(x, p)
            return dropout.dropout(x, mask), (mask,)

        return by_hand(forward, lambda grad, mask: (dropout.dropout_backward(grad, mask),), input)


class ScratchLocalResponseNorm(nn.LocalResponseNorm):
    """`nn.LocalResponseNorm` on `scratch.norm`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return x / (k + α mean(x²))^β."""
        options = self.size, self.alpha, self.beta, self.k
        return by_hand(
            lambda x: (norm.local_response_norm(x, *options), (x,)),
            lambda grad, x: (norm.local_response_norm_backward(grad, x, *options),),
            input,
        )


class ScratchCrossEntropyLoss(nn.CrossEntropyLoss):
    """`nn.CrossEntropyLoss` on `scratch.loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean (or sum, or each) of −Σ w q log p."""
        options: dict[str, Any] = {"label_smoothing": self.label_smoothing, "reduction": self.reduction}
        options["weight"] = self.weight
        return by_hand(
            lambda logits: (loss.cross_entropy(logits, target, **options), (logits,)),
            lambda grad, logits: (loss.cross_entropy_backward(grad, logits, target, **options),),
            input,
        )


class ScratchBCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """`nn.BCEWithLogitsLoss` on `scratch.loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean (or sum, or each) of −[w t log σ(z) + (1 − t) log σ(−z)]."""
        options: dict[str, Any] = {"positive_weight": self.pos_weight, "reduction": self.reduction}
        return by_hand(
            lambda logits: (loss.binary_cross_entropy(logits, target, **options), (logits,)),
            lambda grad, logits: (loss.binary_cross_entropy_backward(grad, logits, target, **options),),
            input,
        )


def _elementwise(forward: Callable[[Tensor], Tensor], backward: Callable[..., Tensor], x: Tensor) -> Tensor:
    def keep_output(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        y = forward(x)
        return y, (y,)

    return by_hand(keep_output, lambda grad, y: (backward(grad, y),), x)


SCRATCH_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: ScratchLinear,
    nn.Conv2d: ScratchConv2d,
    nn.BatchNorm1d: ScratchBatchNorm1d,
    nn.BatchNorm2d: ScratchBatchNorm2d,
    nn.MaxPool2d: ScratchMaxPool2d,
    nn.AvgPool2d: ScratchAvgPool2d,
    nn.AdaptiveAvgPool2d: ScratchAdaptiveAvgPool2d,
    nn.ReLU: ScratchReLU,
    nn.Sigmoid: ScratchSigmoid,
    nn.Tanh: ScratchTanh,
    nn.Dropout: ScratchDropout,
    nn.LocalResponseNorm: ScratchLocalResponseNorm,
    nn.CrossEntropyLoss: ScratchCrossEntropyLoss,
    nn.BCEWithLogitsLoss: ScratchBCEWithLogitsLoss,
}
# Layers that only name, order or reshape.
_STRUCTURE = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Identity, nn.Flatten)

# Options of torch's layers that the readable forms lack, and the value that they assume.
_ASSUMED: dict[type[nn.Module], dict[str, Any]] = {
    nn.Conv2d: {"padding_mode": "zeros"},
    nn.BatchNorm1d: {"affine": True, "track_running_stats": True},
    nn.BatchNorm2d: {"affine": True, "track_running_stats": True},
    nn.MaxPool2d: {"dilation": 1, "return_indices": False},
    nn.AvgPool2d: {"divisor_override": None},
    nn.CrossEntropyLoss: {"ignore_index": -100},
    nn.BCEWithLogitsLoss: {"weight": None},
}


def to_scratch(model: M) -> M:
    """Return `model` with each layer that has a scratch form running it; weights and buffers are shared, not copied.

    Layers without one (see `without_scratch_form`) are left as they are.

    Raises:
        TwofoldError: a layer has an option that its scratch form leaves out.
    """
    # deepcopy does not copy what its memo holds already: the tensors.
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return cast(M, _swap(copy.deepcopy(model, shared), "", {}))


def without_scratch_form(model: nn.Module) -> list[str]:
    """Return the names of the classes of layers in `model` that `to_scratch` leaves as they are."""
    return sorted(
        {
            type(module).__name__
            for module in model.modules()
            if not list(module.children())
            and not isinstance(module, (*_STRUCTURE, *SCRATCH_FORMS.values()))
            and type(module) not in SCRATCH_FORMS
        }
    )


def _swap(module: nn.Module, path: str, done: dict[int, nn.Module]) -> nn.Module:
    """Return `module` with every layer inside swapped, once for a layer that occurs several times (`done`)."""
    if id(module) in done:
        return done[id(module)]
    done[id(module)] = module
    # Not `named_children`, which lists a layer that occurs twice once.
    for name, child in list(module._modules.items()):
        if child is not None:
            setattr(module, name, _swap(child, f"{path}.{name}".lstrip("."), done))
    form = SCRATCH_FORMS.get(type(module))
    if form is None:
        return module
    for option, expected in _ASSUMED.get(type(module), {}).items():
        value = getattr(module, option)
        if value not in (expected, (expected, expected)):
            raise TwofoldError(
                f"{path or type(module).__name__} has {option}={value!r}, which its scratch form leaves out; "
                f"it takes {expected!r}"
            )
    swapped = form.__new__(form)
    swapped.__dict__ = module.__dict__
    done[id(module)] = swapped
    return swapped
