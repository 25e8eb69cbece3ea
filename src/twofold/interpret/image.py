"""What a network sees in one image: the feature maps of its stages, and where it sees a class.

Of the many maps after each stage, those are shown that are most active on average. Where a class is seen is told by
Grad-CAM (Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017):
each map A_k of a late stage is weighted by how much it raises the class's logit on average over the map,
w_k = mean ∂logit/∂A_k, and ReLU(Σ_k w_k A_k) is laid over the image. It replaces the class activation maps of Zhou et
al., 2016, which take a network that ends in global average pooling. The price of working on any network is that it is
as coarse as the stage it is computed on.

What is explained is the image itself; with `flip_average`, the prediction alone also takes its mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from twofold.errors import check_known
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret.stages import inputs_of, map_grid, network_of, spread, stage_fields, stage_maps
from twofold.models.summary import Field
from twofold.tasks.predictions import ClassPrediction, LabelPrediction

NUM_MAPS = 6


@dataclass(frozen=True)
class StageView:
    """What one stage of a network makes of an image.

    Attributes:
        name: of the stage.
        num_maps: how many feature maps, or channels, it has.
        map_size: (height, width) of a map.
        step: (rows, columns) in px of the image from an element of a map to the next.
        sees: (height, width) in px of what an element in the middle of a map depends on; no more than the image.
        channels: the channels that are most active on average, most active first.
        maps: their feature maps.
    """

    name: str
    num_maps: int
    map_size: tuple[int, int]
    step: tuple[float, float]
    sees: tuple[int, int]
    channels: tuple[int, ...]
    maps: Float32[Tensor, "shown map_height map_width"]


@dataclass(frozen=True)
class ClassHeat:
    """How much each pixel of an image speaks for a class: Grad-CAM, not below 0, in the size of the image."""

    class_name: str
    probability: float
    heat: Float32[Tensor, "height width"]


@dataclass(frozen=True)
class Explanation:
    """One image as a network sees it.

    Attributes:
        pixels: the image after preprocessing.
        stages: from the image to the head.
        heat_stage: the stage that Grad-CAM was computed on.
        heats: the predicted class first, or all predicted labels, then those that were asked for.
        flip_average: whether the prediction is the mean over the image and its mirror image.
    """

    architecture: str
    pixels: UInt8[Tensor, "channels height width"]
    prediction: ClassPrediction | LabelPrediction
    stages: tuple[StageView, ...]
    heat_stage: StageView
    heats: tuple[ClassHeat, ...]
    flip_average: bool


def explain_image(
    predictor: TorchPredictor, pixels: UInt8[Tensor, "channels height width"], *, classes: Sequence[str] = ()
) -> Explanation:
    """Return what the network makes of an image, stage by stage, and where it sees its prediction and `classes`.

    The image is from `predictor.pixels`.

    Raises:
        TwofoldError: a class that the network does not know.
    """
    names = predictor.spec.class_names
    for name in classes:
        check_known("class", name, names)
    (prediction,) = predictor.decode(predictor.outputs(pixels[None]))
    assert isinstance(prediction, ClassPrediction | LabelPrediction)
    probability = dict(prediction.ranked)
    fields = stage_fields(network_of(predictor))
    size = predictor.spec.image_size
    stages = tuple(_view(name, maps, fields[name], size) for name, maps in stage_maps(predictor, pixels).items())
    heat_stage = default_heat_stage(stages)
    return Explanation(
        architecture=predictor.spec.architecture,
        pixels=pixels,
        prediction=prediction,
        stages=stages,
        heat_stage=heat_stage,
        heats=tuple(
            ClassHeat(name, probability[name], grad_cam(predictor, pixels, names.index(name), stage=heat_stage.name))
            for name in dict.fromkeys([*prediction.answers, *classes])
        ),
        flip_average=predictor.spec.flip_average,
    )


def _view(name: str, maps: Tensor, field: Field, image_size: tuple[int, int]) -> StageView:
    channels = most_active(maps)
    map_size = (maps.shape[1], maps.shape[2])
    (_, row_step), (_, col_step) = map_grid(field, map_size, image_size)
    sees = image_size if field is None else (min(field[0].field, image_size[0]), min(field[1].field, image_size[1]))
    return StageView(name, len(maps), map_size, (row_step, col_step), sees, tuple(channels), maps[channels])


def most_active(maps: Float[Tensor, "maps map_height map_width"], count: int = NUM_MAPS) -> list[int]:
    """Return the channels with the largest mean activation, largest first, at most `count`."""
    return maps.mean(dim=(1, 2)).argsort(descending=True, stable=True)[:count].tolist()


def default_heat_stage(stages: Sequence[StageView]) -> StageView:
    """Return the last stage whose maps still have more than one element: a single one has no position."""
    return next((stage for stage in reversed(stages) if stage.map_size != (1, 1)), stages[-1])


def grad_cam(
    predictor: TorchPredictor,
    pixels: UInt8[Tensor, "channels height width"],
    class_index: int,
    *,
    stage: str | None = None,
) -> Float32[Tensor, "height width"]:
    """Return how much each pixel of an image raises the logit of a class, by Captum's Grad-CAM, not below 0.

    The image is from `predictor.pixels`. The map of `stage`, the last one if left out, is laid over it by
    `stages.spread`.
    """
    # Captum brings pyplot along, which nobody else needs.
    from captum.attr import LayerGradCam

    network = network_of(predictor)
    stage = stage or network.stages[-1]
    cam = LayerGradCam(network, network.get_submodule(stage))
    heat = cam.attribute(inputs_of(predictor, pixels[None]), target=class_index, relu_attributions=True)
    assert isinstance(heat, Tensor)
    return spread(heat[0, 0].detach().float().cpu(), stage_fields(network)[stage], (pixels.shape[1], pixels.shape[2]))
