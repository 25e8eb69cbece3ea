"""The book's short names for tensor operations, the same in its text for every library: here torch's own.

`d2l.reshape(x, (2, 3))` is `x.reshape((2, 3))`, and so for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

ones_like, ones, zeros_like, zeros = torch.ones_like, torch.ones, torch.zeros_like, torch.zeros
tensor, arange, meshgrid, linspace, eye = torch.tensor, torch.arange, torch.meshgrid, torch.linspace, torch.eye
sin, sinh, cos, cosh, tanh, exp, log = torch.sin, torch.sinh, torch.cos, torch.cosh, torch.tanh, torch.exp, torch.log
sigmoid, abs, matmul, batch_matmul = torch.sigmoid, torch.abs, torch.matmul, torch.bmm
normal, rand, randn = torch.normal, torch.rand, torch.randn
int32, int64, float32 = torch.int32, torch.int64, torch.float32
concat, stack = torch.cat, torch.stack


def _calling(method: str) -> Callable[..., Any]:
    """Return a function that calls the method of its first argument, a tensor or an array."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(x, method)(*args, **kwargs)

    call.__name__, call.__doc__ = method, f"Return x.{method}(...)."
    return call


size, reshape, to, astype = map(_calling, ("numel", "reshape", "to", "type"))
reduce_sum, reduce_mean, argmax = map(_calling, ("sum", "mean", "argmax"))
transpose, swapaxes, expand_dims, repeat = map(_calling, ("t", "swapaxes", "unsqueeze", "repeat"))


def numpy(x: Tensor) -> np.ndarray:
    """Return the values of `x`, which may need gradients, as a numpy array."""
    return x.detach().numpy()
