"""The names of "Dive into Deep Learning" (Zhang et al., 2023), so that its chapters run as they stand.

    from twofold import d2l            # in place of: from d2l import torch as d2l
    d2l.edition("zh")                  # in place of: import d2lzh_pytorch as d2l
    d2l.offline()                      # stand-ins for what would have to be downloaded

Two editions: "1.0", the first in English (d2l 1.0.3), and "zh", the Chinese PyTorch edition (d2lzh_pytorch). Names that
both have follow the one that is chosen, "1.0" at first; a name that only the other has is there as well. Each docstring
says which idea of Twofold it is: `twofold show NAME` prints its readable form. What Twofold does otherwise, and which
command does each chapter for real, is in docs/book.md.

| file | what |
| --- | --- |
| `tensors.py` | short names of torch's own operations |
| `objects.py` | methods added to classes; arguments as attributes |
| `modules.py` | Module, DataModule, Trainer; linear and softmax regression, LeNet |
| `training.py` | training loops, a function a chapter |
| `descent.py` | update rules on a surface and on a small regression |
| `blocks.py` | layers, residual blocks, ResNet-18 |
| `boxes.py` | boxes, anchors, matching, suppression |
| `measures.py` | sums, times, accuracy and loss |
| `datasets.py` | Fashion-MNIST, drawn regressions, airfoils, bananas |
| `loaders.py` | batches of data in memory |
| `downloads.py` | the book's files from the network, and what to take without one |
| `stand_ins.py` | data sets of the same shape, made here |
| `plots.py` | curves, images, boxes, traces |
| `growing.py` | curves that grow while a network trains |
| `display.py` | notebooks and scripts |
| `devices.py` | CPU and GPUs |
"""

from __future__ import annotations

import importlib
from typing import Any

from twofold.errors import check_known, near_names

# Module -> names that both editions have, or one of them.
_NAMES = {
    "blocks": "FlattenLayer GlobalAvgPool2d ResNeXtBlock corr2d init_cnn linreg resnet_block",
    "boxes": "MultiBoxDetection MultiBoxPrior MultiBoxTarget Pred_BB_Info assign_anchor assign_anchor_to_bbox "
    "box_center_to_corner box_corner_to_center box_iou compute_intersection compute_jaccard multibox_detection "
    "multibox_prior multibox_target nms non_max_suppression offset_boxes offset_inverse xy_to_cxcy",
    "datasets": "BananasDataset FashionMNIST PikachuDetDataset get_fashion_mnist_labels load_data_bananas "
    "load_data_pikachu read_data_bananas synthetic_data",
    "descent": "get_data_ch11 get_data_ch7 train_ch11 train_ch7 train_concise_ch11 train_pytorch_ch7",
    "devices": "cpu gpu num_gpus split_batch try_all_gpus try_gpu",
    "display": "figures set_figsize use_svg_display",
    "downloads": "DATA_HUB DATA_URL download download_extract extract offline",
    "growing": "Animator ProgressBoard",
    "loaders": "data_iter get_dataloader_workers load_array",
    "measures": "Accumulator Timer accuracy evaluate_accuracy evaluate_accuracy_gpu evaluate_loss",
    "modules": "Classifier DataModule LeNet LinearRegression LinearRegressionScratch Module SGD SoftmaxRegression "
    "SyntheticRegressionData Trainer",
    "objects": "HyperParameters add_to_class",
    "plots": "annotate bbox_to_rect plot semilogy set_axes show_fashion_mnist",
    "tensors": "abs arange argmax astype batch_matmul concat cos cosh exp expand_dims eye float32 int32 int64 linspace "
    "log matmul meshgrid normal numpy ones ones_like rand randn reduce_mean reduce_sum repeat reshape sigmoid sin sinh "
    "size stack swapaxes tanh tensor to transpose zeros zeros_like",
    "training": "squared_loss train train_batch_ch13 train_ch13 train_ch3 train_ch5 train_ch6",
}
# What the editions mean differently: name -> module and name in it, in "1.0" and in "zh".
_BY_EDITION = {
    "Residual": ("blocks.Residual", "blocks.ResidualZh"),
    "load_data_fashion_mnist": ("datasets.load_data_fashion_mnist", "datasets.load_data_fashion_mnist_zh"),
    "resnet18": ("blocks.resnet18", "blocks.resnet18_zh"),
    "sgd": ("training.sgd", "training.sgd_zh"),
    "show_bboxes": ("plots.show_bboxes", "plots.show_bboxes_zh"),
    "show_images": ("plots.show_images", "plots.show_images_zh"),
    "show_trace_2d": ("plots.show_trace_2d", "plots.show_trace_2d_zh"),
    "train_2d": ("descent.train_2d", "descent.train_2d_zh"),
}
# Modules that chapters reach through the book's package.
_MODULES = {
    "F": "torch.nn.functional",
    "Image": "PIL.Image",
    "collections": "collections",
    "data": "torch.utils.data",
    "hashlib": "hashlib",
    "inspect": "inspect",
    "math": "math",
    "nn": "torch.nn",
    "np": "numpy",
    "os": "os",
    "pd": "pandas",
    "plt": "matplotlib.pyplot",
    "random": "random",
    "re": "re",
    "requests": "requests",
    "shutil": "shutil",
    "sys": "sys",
    "tarfile": "tarfile",
    "time": "time",
    "torch": "torch",
    "torchvision": "torchvision",
    "transforms": "torchvision.transforms",
    "zipfile": "zipfile",
}
_HOMES = {name: f"{module}.{name}" for module, names in _NAMES.items() for name in names.split()}
_EDITIONS = ("1.0", "zh")
_chosen = "1.0"


def edition(name: str | None = None) -> str:
    """Choose the edition whose meaning of names is followed, "1.0" or "zh"; return it, also without choosing one."""
    global _chosen  # noqa: PLW0603 -- one edition a process: a name means one thing at a time
    if name is not None:
        _chosen = check_known("edition of the book:", name, _EDITIONS)
    return _chosen


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name == "nn_Module":
        return importlib.import_module("torch.nn").Module
    if name in _BY_EDITION:
        home = _BY_EDITION[name][_EDITIONS.index(_chosen)]
    elif name in _HOMES:
        home = _HOMES[name]
    else:
        near = [] if name.startswith("_") else near_names(name, __dir__())
        hint = f": did you mean {' or '.join(near)}?" if near else "; dir(d2l) lists what it has"
        raise AttributeError(f"twofold.d2l has no {name!r}{hint}", name=name)
    module, _, own = home.partition(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), own)


def __dir__() -> list[str]:
    return sorted({*_HOMES, *_BY_EDITION, *_MODULES, "nn_Module", "edition"})


# Without the short names of torch's operations, of which some would hide Python's own, and without modules that need
# not be there.
_LEFT_OUT = {*_NAMES["tensors"].split(), "pd", "requests"}
__all__ = [name for name in __dir__() if name not in _LEFT_OUT]  # pyright: ignore[reportUnsupportedDunderAll]
