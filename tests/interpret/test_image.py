"""One image: the most active maps, Grad-CAM by the formula of the paper, the classes asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from small_predictors import image_of, inputs_of, make, network_of
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret import (
    explain_image,
    grad_cam,
    stage_maps,
)
from twofold.interpret.image import default_heat_stage, most_active
from twofold.interpret.stages import spread, stage_fields


def test_most_active_is_by_the_mean_and_of_equal_ones_the_first() -> None:
    maps = torch.zeros(8, 2, 2)
    maps[3] = 1.0
    maps[6, 0, 0] = 3.0
    maps[1] = -1.0
    assert most_active(maps, 3) == [3, 6, 0]
    assert most_active(maps) == [3, 6, 0, 2, 4, 5]
    assert most_active(maps[:2]) == [0, 1]


def cam_by_hand(predictor: TorchPredictor, pixels: Tensor, class_index: int) -> Tensor:
    """Σ_k w_k A_k, w_k the mean gradient, for networks whose last stage is all that the head sees."""
    net: Any = network_of(predictor)
    maps = net.features(inputs_of(predictor, pixels)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.head(maps)[0, class_index], maps)
    return (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)[0].detach()


@pytest.mark.parametrize("name", ["lenet-bn", "resnet18", "googlenet"])
def test_grad_cam_is_the_formula_of_the_paper_and_differs_between_classes(name: str) -> None:
    predictor = make(name, classes=tuple("abcdef"))
    pixels = image_of(predictor)
    field = stage_fields(network_of(predictor))[network_of(predictor).stages[-1]]
    heats = [grad_cam(predictor, pixels, index) for index in range(6)]
    by_hand = [cam_by_hand(predictor, pixels, index) for index in range(6)]
    for heat, small in zip(heats, by_hand, strict=True):
        torch.testing.assert_close(heat, spread(small.relu(), field, (28, 28)), rtol=1e-3, atol=1e-6)
    assert min(float(small.min()) for small in by_hand) < 0  # so the ReLU counted
    warm = [heat for heat in heats if heat.max() > 0]
    assert len(warm) >= 3
    distances = [float((one - other).abs().max()) for one in warm for other in warm if one is not other]
    assert min(distances) > 0.01 * max(float(heat.max()) for heat in warm)


def test_grad_cam_of_frozen_weights_and_of_another_stage() -> None:
    predictor = make("resnet18")
    pixels = image_of(predictor)
    before = grad_cam(predictor, pixels, 0)
    predictor.model.requires_grad_(False)
    torch.testing.assert_close(grad_cam(predictor, pixels, 0), before)
    assert not torch.equal(grad_cam(predictor, pixels, 0, stage="layer2"), before)


def test_explain_says_what_predict_says_and_looks_for_the_classes_asked_for() -> None:
    predictor = make("sprint", classes=("a", "b", "c", "d"))
    pixels = image_of(predictor)
    best = predictor.decode(predictor.outputs(pixels[None]))[0]
    others = [name for name, _ in best.ranked[1:]]
    explanation = explain_image(predictor, pixels, classes=[others[2], best.class_name, others[0], others[2]])
    assert explanation.prediction == best
    assert [heat.class_name for heat in explanation.heats] == [best.class_name, others[2], others[0]]
    assert [heat.probability for heat in explanation.heats] == [
        dict(best.ranked)[h.class_name] for h in explanation.heats
    ]
    names = predictor.spec.class_names
    for heat in explanation.heats:
        assert torch.equal(heat.heat, grad_cam(predictor, pixels, names.index(heat.class_name)))
    for stage, maps in zip(explanation.stages, stage_maps(predictor, pixels).values(), strict=True):
        assert (stage.num_maps, *stage.map_size) == tuple(maps.shape)
        assert torch.equal(stage.maps, maps[list(stage.channels)])
    assert [(stage.step, stage.sees) for stage in explanation.stages] == [
        ((2, 2), (4, 4)),
        ((4, 4), (10, 10)),
        ((4, 4), (18, 18)),
    ]


def test_flip_average_is_for_the_prediction_alone() -> None:
    plain, flipping = make("sprint"), make("sprint", flip_average=True)
    pixels = image_of(plain)
    one, other = explain_image(plain, pixels), explain_image(flipping, pixels)
    assert one.prediction != other.prediction
    assert other.prediction == flipping.decode(flipping.outputs(pixels[None]))[0]
    assert all(torch.equal(a.maps, b.maps) for a, b in zip(one.stages, other.stages, strict=True))
    names = plain.spec.class_names
    assert torch.equal(other.heats[0].heat, grad_cam(plain, pixels, names.index(other.heats[0].class_name)))


def test_a_last_map_of_one_element_gives_way_to_the_stage_before() -> None:
    predictor = make("vgg11-bn")
    explanation = explain_image(predictor, image_of(predictor))
    assert explanation.stages[-1].map_size == (1, 1)
    assert explanation.heat_stage == explanation.stages[-2]
    wanted = grad_cam(
        predictor,
        explanation.pixels,
        predictor.spec.class_names.index(explanation.heats[0].class_name),
        stage=explanation.heat_stage.name,
    )
    assert torch.equal(explanation.heats[0].heat, wanted)
    one = explanation.stages[-1]
    assert default_heat_stage([one, replace(one, name="later")]).name == "later"
