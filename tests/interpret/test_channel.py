"""What excites a channel, against a loop over one image at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import twofold
import twofold.figures.explain
from small_predictors import image_of, make, network_of
from twofold import TwofoldError
from twofold.data import ClassTargets, MemoryImages, load_eval_images
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret import (
    Channel,
    explain_channel,
    most_activating,
    parse_channel,
    peak_of,
    stage_maps,
)


def brute_force(predictor: TorchPredictor, images: MemoryImages, channel: Channel) -> list[tuple[int, float, int, int]]:
    """(index, activation, row, column) of each image, most active first, one image at a time."""
    found = []
    for index in range(len(images)):
        values = stage_maps(predictor, images.images[index])[channel.stage][channel.index]
        positions = [(row, col) for row in range(values.shape[0]) for col in range(values.shape[1])]
        best = max((float(values[row, col]), -row, -col) for row, col in positions)
        found.append((index, best[0], -best[1], -best[2]))
    return sorted(found, key=lambda entry: -entry[1])


def test_most_activating_is_the_brute_force_loop(images: Path, run: Path) -> None:
    predictor = twofold.load(run, device="cpu")
    data = load_eval_images(str(images), predictor.spec, show_progress=False)
    assert isinstance(data.images, MemoryImages)
    assert len(data.images) == 120  # more than a batch
    for channel in (Channel("features.3", 4), Channel("features.7", 11)):
        peaks = most_activating(predictor, data.images, channel, show=False)
        wanted = brute_force(predictor, data.images, channel)
        assert [peak.index for peak in peaks] == [entry[0] for entry in wanted[:9]]
        assert [(peak.activation, *peak.position) for peak in peaks] == [
            (pytest.approx(entry[1], rel=1e-4), *entry[2:]) for entry in wanted[:9]
        ]
        view = explain_channel(predictor, channel, data, show=False)
        for example, (index, *_) in zip(view.examples, wanted, strict=False):
            assert torch.equal(example.pixels, data.images.images[index])
            assert example.class_name == predictor.spec.class_names[int(data.images.targets.labels[index])]
            assert example.source == data.images.describe(index)
        assert peak_of(predictor, data.images.images[wanted[0][0]], channel) == replace(peaks[0], index=0)


def test_of_equally_active_images_the_first_count() -> None:
    predictor = make("sprint")
    torch.nn.init.constant_(network_of(predictor).get_submodule("layer1.bn").bias, -100.0)
    pixels = torch.stack([image_of(predictor, seed) for seed in range(12)])
    data = MemoryImages(pixels, ClassTargets(torch.zeros(12, dtype=torch.int64)), "set")
    peaks = most_activating(predictor, data, Channel("layer1", 0), count=4, show=False)
    assert [(peak.index, peak.activation) for peak in peaks] == [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0)]


def test_channels_are_read_and_checked() -> None:
    assert parse_channel("features.3:12") == Channel("features.3", 12)
    assert str(Channel("a:b", 3)) == "a:b:3"
    assert parse_channel("a:b:3") == Channel("a:b", 3)
    for text in ("", "layer1", "layer1:", ":1", "layer1:-1", "layer1:x", "layer1:1.5", "layer1:" + "9" * 5000):
        with pytest.raises(TwofoldError, match="STAGE:INDEX"):
            parse_channel(text)
    predictor = make("sprint")
    with pytest.raises(TwofoldError, match=r"unknown stage 'layer9': .* layer1, layer2, residual"):
        peak_of(predictor, image_of(predictor), Channel("layer9", 0))
    with pytest.raises(TwofoldError, match=r"layer1 of sprint has 4 channels, 0 to 3; got 4"):
        peak_of(predictor, image_of(predictor), Channel("layer1", 4))
