"""What makes the readable forms readable forms: nothing hidden, nothing borrowed, an example for each."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import twofold.scratch
from twofold.models import create_model
from twofold.models.scratch_form import ScratchCrossEntropyLoss, to_scratch
from twofold.optim.scratch_form import ScratchOptimizer
from twofold.scratch import train

FOLDER = Path(twofold.scratch.__file__).parent
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]))
modules = pytest.mark.parametrize("name", MODULES)

ALLOWED_IMPORTS = {"__future__", "collections.abc", "dataclasses", "itertools", "jaxtyping", "math", "torch", "typing"}
# Ready-made forms of the very ideas, under torch itself or as methods of a tensor.
BORROWED = {
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "addmm", "avg_pool1d", "avg_pool2d", "backward", "batch_norm",
    "bilinear", "celu", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "convolution", "cosine_similarity",
    "cross_entropy", "dropout", "elu", "fold", "functional", "gelu", "grad_fn", "group_norm", "im2col", "col2im",
    "interpolate", "layer_norm", "log_softmax", "logsumexp", "max_pool1d", "max_pool2d", "mse_loss",
    "native_batch_norm", "nll_loss", "nn", "autograd", "relu", "relu_", "requires_grad", "requires_grad_", "sigmoid",
    "sigmoid_", "silu", "softmax", "tanh", "tanh_", "unfold",
}  # fmt: skip


def load(name: str) -> ModuleType:
    return importlib.import_module(f"twofold.scratch.{name}")


@modules
def test_imports_torch_and_its_own_room_alone(name: str) -> None:
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= ALLOWED_IMPORTS
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module in ALLOWED_IMPORTS or str(node.module).startswith("twofold.scratch")


@modules
def test_borrows_no_ready_made_form(name: str) -> None:
    """A name after a dot is torch's, unless what stands before the dot is one of our own files."""
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in BORROWED:
            owner = node.value.id if isinstance(node.value, ast.Name) else None
            assert owner in (*MODULES, "self", "layer", "net"), f"line {node.lineno}: .{node.attr}"


@modules
def test_examples_hold_and_none_is_missing(name: str) -> None:
    module = load(name)
    functions = [
        value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
    ]
    assert [function.__name__ for function in functions if ">>>" not in (function.__doc__ or "")] == []
    outcome = doctest.testmod(module)
    assert outcome.failed == 0
    assert outcome.attempted > 0


def test_the_table_of_contents_names_every_file_and_no_other() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert {f"{name}.py" for name in MODULES} == {part.split(")")[0] for part in text.split("](")[1:]}


def test_the_code_of_the_table_of_contents_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    exec(compile(text.split("```python\n")[1].split("```")[0], "README.md", "exec"), {})
    first, *_, last = map(float, capsys.readouterr().out.strip(" []\n").split(","))
    assert last < 0.8 * first


class Seen(TorchDispatchMode):
    """Notes the name of every operation that torch carries out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


ELEMENTARY = {
    # tables and views of them
    "_to_copy", "_unsafe_view", "alias", "arange", "as_strided", "cat", "clone", "copy_", "detach", "empty",
    "empty_like", "expand", "fill_", "full", "full_like", "lift_fresh", "new_empty", "new_full", "new_ones",
    "new_zeros", "ones", "ones_like", "permute", "select", "slice", "split", "squeeze", "stack", "t", "transpose",
    "unsqueeze", "view", "zeros", "zeros_like", "zero_", "index", "index_put_", "_local_scalar_dense", "is_same_size",
    "select_backward", "slice_backward", "_reshape_alias", "_reshape_copy", "unbind", "item", "random_", "set_",
    # arithmetic, one number at a time
    "bitwise_or", "isnan", "scalar_tensor",
    "abs", "add", "add_", "bernoulli_", "bitwise_and", "ceil", "clamp", "div", "div_", "eq", "exp", "floor_divide",
    "ge", "gt", "le", "log", "lt", "mul", "mul_", "neg", "pow", "reciprocal", "rsub", "sqrt", "sub", "sub_", "where",
    # sums and largest numbers
    "amax", "argmax", "max", "mean", "min", "sum",
    # the matrix product
    "bmm", "mm",
    # random numbers
    "normal_", "rand", "randint", "randn", "randperm", "uniform_",
    # marks for the profiler, which compute nothing
    "_record_function_enter_new", "_record_function_exit",
}  # fmt: skip


def test_lenet_by_hand_uses_elementary_operations_alone() -> None:
    images, labels = torch.randn(16, 1, 28, 28), torch.arange(16) % 10
    with Seen() as seen:
        train.lenet_on_images(images, labels, num_epochs=1, batch_size=8)
    assert "mm" in seen.names
    assert seen.names <= ELEMENTARY


@pytest.mark.parametrize("name", ["lenet", "lenet-bn", "resnet18"])
def test_a_network_in_scratch_form_trains_on_elementary_operations_alone(name: str) -> None:
    model = to_scratch(create_model(name, in_channels=1, num_classes=10, image_size=(32, 32)))
    loss_function = ScratchCrossEntropyLoss()
    optimizer = ScratchOptimizer(model.parameters(), "adamw", lr=0.01, weight_decay=0.1)
    images, labels = torch.randn(4, 1, 32, 32), torch.arange(4)
    with Seen() as seen:
        loss_function(model(images), labels).backward()
        optimizer.step()
    assert {"mm", "bmm"} & seen.names
    assert seen.names <= ELEMENTARY


def test_the_fast_form_would_be_seen() -> None:
    model = create_model("lenet", in_channels=1, num_classes=10)
    with Seen() as seen:
        model(torch.randn(2, 1, 28, 28)).sum().backward()
    assert {"convolution", "sigmoid", "max_pool2d_with_indices"} <= seen.names
    assert not seen.names <= ELEMENTARY
