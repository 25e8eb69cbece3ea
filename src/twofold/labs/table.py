"""The labs, in the order of the gallery. The table imports nothing heavy, so that the gallery opens at once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twofold.errors import TwofoldError, near_names

if TYPE_CHECKING:
    from twofold.labs.lab import Lab


@dataclass(frozen=True, kw_only=True)
class LabEntry:
    """A lab as the gallery shows it.

    Attributes:
        name: what it is called in addresses and on the command line: its key in the table.
        title: in English; `title_zh` in Chinese.
        summary: what one sees and does there, a sentence.
        made_in: "module:Class" in `twofold.labs`.
        next: the labs to look at next.
    """

    name: str = ""
    title: str
    title_zh: str
    summary: str
    summary_zh: str
    made_in: str
    next: tuple[str, ...] = ()

    def words(self) -> dict[str, Any]:
        """Return name, title and summary as a page takes them."""
        return {
            "name": self.name,
            "title": {"en": self.title, "zh": self.title_zh},
            "summary": {"en": self.summary, "zh": self.summary_zh},
        }

    def load(self) -> type[Lab]:
        """Import the lab's class."""
        module, _, name = self.made_in.partition(":")
        found: type[Lab] = getattr(importlib.import_module(f"twofold.labs.{module}"), name)
        return found


def find_lab(name: str) -> LabEntry:
    """Return the lab called `name`.

    Raises:
        TwofoldError: there is none; the message has the nearest names.
    """
    if name not in LABS:
        near = near_names(name, LABS)
        raise TwofoldError(f"there is no lab {name!r}: {f'did you mean {near[0]}?' if near else ', '.join(LABS)}")
    return LABS[name]


def class_name(name: str) -> str:
    """Return what the widget of a lab is called in Python.

    >>> class_name("receptive-field")
    'ReceptiveField'
    """
    return "".join(map(str.capitalize, name.split("-")))


_ENTRIES = {
    "convolution": LabEntry(
        title="Convolution",
        title_zh="卷积",
        summary="Slide a kernel over an image, step by step; change its values, stride, padding, dilation and groups.",
        summary_zh="让卷积核在图像上逐步滑动；改变它的数值、步幅、填充、空洞和分组。",
        made_in="convolution:ConvolutionLab",
        next=("pooling", "receptive-field"),
    ),
    "pooling": LabEntry(
        title="Pooling and shifts",
        title_zh="池化与平移",
        summary="Take the maximum or the mean of windows; move the image by a pixel and see what stays.",
        summary_zh="对窗口取最大值或平均值；把图像移动一个像素，看看什么不变。",
        made_in="pooling:PoolingLab",
        next=("receptive-field", "network"),
    ),
    "receptive-field": LabEntry(
        title="Receptive field",
        title_zh="感受野",
        summary="Press a unit of any layer: which pixels could it see, which does it see? Then stack own layers.",
        summary_zh="按下任意一层的单元：它可能看到哪些像素，实际又看到哪些？再自己搭建几层。",
        made_in="receptive_field:ReceptiveFieldLab",
        next=("network", "convolution"),
    ),
    "batch-norm": LabEntry(
        title="Batch normalisation",
        title_zh="批量归一化",
        summary="Watch a layer's values before and after; change batch and mode; see the running statistics settle.",
        summary_zh="观察一层归一化前后的数值；改变批量和模式，看滑动统计量如何稳定。",
        made_in="batch_norm:BatchNormLab",
        next=("training", "network"),
    ),
    "descent": LabEntry(
        title="Descent",
        title_zh="下降",
        summary="Drag the start over a surface; let several optimizers race, and look at their states.",
        summary_zh="在曲面上拖动起点；让多个优化器竞赛，并查看它们的状态。",
        made_in="descent:DescentLab",
        next=("training",),
    ),
    "training": LabEntry(
        title="Training, live",
        title_zh="实时训练",
        summary="Train a small network; stop, step, and change the learning rate while it learns.",
        summary_zh="训练一个小网络；可暂停、单步，并在学习中改变学习率。",
        made_in="training:TrainingLab",
        next=("network", "descent"),
    ),
    "augmentation": LabEntry(
        title="Augmentation",
        title_zh="数据增广",
        summary="Build a policy with sliders and see what it does to an image and its boxes.",
        summary_zh="用滑块搭建增广策略，看它如何改变图像及其边界框。",
        made_in="augmentation:AugmentationLab",
        next=("training", "boxes"),
    ),
    "boxes": LabEntry(
        title="Boxes",
        title_zh="边界框",
        summary="Drag boxes and see how much they overlap; then anchors, matching, and suppression step by step.",
        summary_zh="拖动边界框，看交并比；再看锚框、匹配，以及逐步的非极大值抑制。",
        made_in="boxes:BoxesLab",
        next=("network", "augmentation"),
    ),
    "network": LabEntry(
        title="Your network",
        title_zh="你的网络",
        summary="Draw, and see what a trained network makes of it: every layer's maps, units, and mistakes.",
        summary_zh="画一画，看训练好的网络如何理解：每层的特征图、单元和错误。",
        made_in="network:NetworkLab",
        next=("receptive-field", "training"),
    ),
    "shapes": LabEntry(
        title="Shapes",
        title_zh="形状",
        summary="Type an expression of tensors and see the tables move: reshape, transpose, broadcast, multiply.",
        summary_zh="输入张量表达式，看表格如何移动：变形、转置、广播、相乘。",
        made_in="shapes:ShapesLab",
        next=("convolution",),
    ),
}
LABS: dict[str, LabEntry] = {name: replace(entry, name=name) for name, entry in _ENTRIES.items()}
