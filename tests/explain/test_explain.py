"""`twofold explain`: what is computed, what is drawn, and every wrong input."""

from __future__ import annotations

import doctest
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import twofold
import twofold.figures.explain
from twofold import TwofoldError
from twofold.cli.main import main
from twofold.data import ClassTargets, MemoryImages, load_eval_images, normalise
from twofold.data.spec import ModelSpec
from twofold.engine.options import Options
from twofold.explain.explain import (
    Channel,
    default_heat_stage,
    explain,
    explain_channel,
    grad_cam,
    most_activating,
    most_active,
    parse_channel,
    peak_of,
    spread,
    stage_fields,
    stage_maps,
)
from twofold.figures.drawing import save_picture
from twofold.figures.explain import draw_channel, draw_explanation
from twofold.inference.hardware import Hardware
from twofold.inference.predictor import Predictor
from twofold.models import create_model
from twofold.models.network import Network

FAMILIES = ("lenet", "lenet-bn", "alexnet", "vgg11-bn", "nin", "googlenet", "resnet18", "resnet50", "densenet121",
            "sprint")  # fmt: skip
HOSTILE = ("$x_1$", "$\\frac{", "a_b^{c}", "衣服", "two\nlines", "<b>&amp;", "\ud800", "w" * 300)
_CPU = Hardware(torch.device("cpu"), "cpu", "float32", "as asked for")


def make(
    name: str = "resnet18",
    *,
    size: tuple[int, int] = (28, 28),
    channels: int = 1,
    classes: tuple[str, ...] = ("bag", "boot", "shirt"),
    flip_average: bool = False,
    **options: Any,
) -> Predictor:
    """A network with random weights, made small, ready to predict."""
    if name not in {"lenet", "lenet-bn"}:
        options = {"width": 0.125, **options}
    if name not in {"lenet", "lenet-bn", "sprint"}:
        options = {"stem": "small", **options}
    torch.manual_seed(0)
    model = create_model(name, in_channels=channels, num_classes=len(classes), image_size=size, options=options)
    spec = ModelSpec.model_construct(
        architecture=name,
        architecture_options=options,
        class_names=classes,
        channels=channels,
        image_size=size,
        resize="crop",
        convert_colour=False,
        mean=(0.4,) * channels,
        std=(0.3,) * channels,
        flip_average=flip_average,
    )
    return Predictor(model, spec, _CPU)


def picture(predictor: Predictor, seed: int = 0) -> Tensor:
    spec = predictor.spec
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (spec.channels, *spec.image_size), dtype=torch.uint8, generator=generator)


def network_of(predictor: Predictor) -> Network:
    assert isinstance(predictor.model, Network)
    return predictor.model


def inputs_of(predictor: Predictor, pixels: Tensor) -> Tensor:
    return normalise(pixels[None], predictor.spec.mean, predictor.spec.std)


@pytest.fixture(scope="module")
def run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the folder of real images, its classes renamed to what may trouble a figure."""
    folder = tmp_path_factory.mktemp("hostile") / "clothes"
    for old, new in zip(sorted(image_folder.iterdir()), ("$bag_1", "boot$^{", "shirt"), strict=True):
        shutil.copytree(old, folder / new)
    recipe = twofold.Recipe(
        model="lenet-bn", data=str(folder), epochs=1, image_size=28, batch_size=32, precision="float32"
    )
    out = tmp_path_factory.mktemp("runs")
    return twofold.train(recipe, out=out, name="run", options=Options(show=False)).folder


@pytest.fixture(scope="module")
def images(run: Path) -> Path:
    """The folder that `run` was trained on."""
    return Path(twofold.Recipe.load(run / "recipe.json").data)


@pytest.fixture
def boot(images: Path) -> Path:
    """One of its images."""
    return sorted((images / "boot$^{").iterdir())[0]


# What is computed.


def test_stage_maps_are_what_the_submodules_give() -> None:
    predictor = make("resnet18", channels=3)
    pixels = picture(predictor)
    maps = stage_maps(predictor, pixels)
    net: Any = network_of(predictor)
    with torch.no_grad():
        x = net.relu(net.bn1(net.conv1(inputs_of(predictor, pixels))))
        wanted = {"relu": x}
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = getattr(net, stage)(x)
            wanted[stage] = x
    assert list(maps) == list(wanted)
    for stage, values in wanted.items():
        torch.testing.assert_close(maps[stage], values[0], rtol=1e-4, atol=1e-5)


def test_stage_maps_are_taken_before_the_next_layer_works_in_place() -> None:
    predictor = make("alexnet")
    net: Any = network_of(predictor)
    net.stages = ("features.0",)  # a convolution, followed by ReLU in place
    pixels = picture(predictor)
    with torch.no_grad():
        wanted = net.features[0](inputs_of(predictor, pixels))[0]
    assert wanted.min() < 0
    torch.testing.assert_close(stage_maps(predictor, pixels)["features.0"], wanted)


def test_looking_leaves_no_hook_and_no_gradient_behind() -> None:
    predictor = make("sprint")
    explain(predictor, picture(predictor))
    peak_of(predictor, picture(predictor), Channel("layer1", 0))
    assert not any(module._forward_hooks for module in predictor.model.modules())
    assert all(parameter.grad is None for parameter in predictor.model.parameters())
    assert not predictor.model.training


def test_most_active_is_by_the_mean_and_of_equal_ones_the_first() -> None:
    maps = torch.zeros(8, 2, 2)
    maps[3] = 1.0
    maps[6, 0, 0] = 3.0
    maps[1] = -1.0
    assert most_active(maps, 3) == [3, 6, 0]
    assert most_active(maps) == [3, 6, 0, 2, 4, 5]
    assert most_active(maps[:2]) == [0, 1]


def cam_by_hand(predictor: Predictor, pixels: Tensor, class_index: int) -> Tensor:
    """Σ_k w_k A_k, w_k the mean gradient, for networks whose last stage is all that the head sees."""
    net: Any = network_of(predictor)
    maps = net.features(inputs_of(predictor, pixels)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.head(maps)[0, class_index], maps)
    return (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)[0].detach()


@pytest.mark.parametrize("name", ["lenet-bn", "resnet18", "googlenet"])
def test_grad_cam_is_the_formula_of_the_paper_and_differs_between_classes(name: str) -> None:
    predictor = make(name, classes=tuple("abcdef"))
    pixels = picture(predictor)
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
    pixels = picture(predictor)
    before = grad_cam(predictor, pixels, 0)
    predictor.model.requires_grad_(False)
    torch.testing.assert_close(grad_cam(predictor, pixels, 0), before)
    assert not torch.equal(grad_cam(predictor, pixels, 0, stage="layer2"), before)


def test_spread_interpolates_between_the_places_that_the_numbers_look_at() -> None:
    field = stage_fields(network_of(make("lenet")))["features.5"]  # no padding: the first number sees rows 0 to 15
    values = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    looks_at = 7.5 + 4 * np.arange(4)
    by_rows = np.stack([np.interp(np.arange(28), looks_at, column) for column in values.T.numpy()], axis=1)
    wanted = np.stack([np.interp(np.arange(28), looks_at, row) for row in by_rows])
    np.testing.assert_allclose(spread(values, field, (28, 28)).numpy(), wanted, atol=1e-6)


def test_spread_without_a_field_stretches_evenly() -> None:
    values = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.interpolate(values[None, None], (28, 40), mode="bilinear")[0, 0]
    torch.testing.assert_close(spread(values, None, (28, 40)), wanted)
    assert torch.equal(spread(torch.tensor([[2.0]]), None, (4, 6)), torch.full((4, 6), 2.0))


@pytest.mark.parametrize(
    ("name", "stage", "at"),
    [
        ("lenet", "features.2", (3, 8)),
        ("lenet", "features.5", (0, 2)),
        ("sprint", "layer1", (0, 13)),
        ("sprint", "residual", (3, 5)),
        ("sprint", "residual", (6, 0)),
        ("resnet18", "layer3", (3, 3)),
    ],
)
def test_the_box_and_the_heat_lie_where_back_propagation_leads(name: str, stage: str, at: tuple[int, int]) -> None:
    """The union, over many pictures, of the pixels that a number depends on."""
    predictor = make(name, **({"width": 0.5} if name == "sprint" else {}))
    net: Any = network_of(predictor)
    pixels = torch.randint(0, 256, (200, 1, 28, 28), dtype=torch.uint8)
    inputs = normalise(pixels, predictor.spec.mean, predictor.spec.std).requires_grad_()
    caught: list[Tensor] = []
    hook = net.get_submodule(stage).register_forward_hook(lambda module, given, output: caught.append(output))
    net.features(inputs)
    hook.remove()
    (gradient,) = torch.autograd.grad(caught[0][:, :, at[0], at[1]].sum(), inputs)
    rows, cols = ((gradient[:, 0] != 0).any(dim=(0, axis)).nonzero().flatten() for axis in (2, 1))
    touched = (int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1)

    field = stage_fields(net)[stage]
    box = twofold.explain.explain._box(field, at, (28, 28))
    assert (box or (0, 28, 0, 28)) == touched
    assert (box is None) == (touched == (0, 28, 0, 28))

    one_hot = torch.zeros(caught[0].shape[2:])
    one_hot[at] = 1.0
    heat = spread(one_hot, field, (28, 28))
    hottest = (heat == heat.max()).nonzero()
    assert ((hottest >= torch.tensor(touched[::2])) & (hottest < torch.tensor(touched[1::2]))).all()


def test_explain_says_what_predict_says_and_looks_for_the_classes_asked_for() -> None:
    predictor = make("sprint", classes=("a", "b", "c", "d"))
    pixels = picture(predictor)
    best = predictor.decode(predictor.outputs(pixels[None]))[0]
    others = [name for name, _ in best.ranked[1:]]
    explanation = explain(predictor, pixels, classes=[others[2], best.class_name, others[0], others[2]])
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
    pixels = picture(plain)
    one, other = explain(plain, pixels), explain(flipping, pixels)
    assert one.prediction != other.prediction
    assert other.prediction == flipping.decode(flipping.outputs(pixels[None]))[0]
    assert all(torch.equal(a.maps, b.maps) for a, b in zip(one.stages, other.stages, strict=True))
    names = plain.spec.class_names
    assert torch.equal(other.heats[0].heat, grad_cam(plain, pixels, names.index(other.heats[0].class_name)))
    words = ["mirror image" in " ".join(texts(draw_explanation(made, title="x"))) for made in (one, other)]
    assert words == [False, True]


def test_a_last_map_of_one_number_gives_way_to_the_stage_before() -> None:
    predictor = make("vgg11-bn")
    explanation = explain(predictor, picture(predictor))
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


def brute_force(predictor: Predictor, images: MemoryImages, channel: Channel) -> list[tuple[int, float, int, int]]:
    """(index, activation, row, column) of each image, most active first, one image at a time."""
    found = []
    for index in range(len(images)):
        values = stage_maps(predictor, images.images[index])[channel.stage][channel.index]
        places = [(row, col) for row in range(values.shape[0]) for col in range(values.shape[1])]
        best = max((float(values[row, col]), -row, -col) for row, col in places)
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
        assert [(peak.activation, *peak.place) for peak in peaks] == [
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
    pixels = torch.stack([picture(predictor, seed) for seed in range(12)])
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
        peak_of(predictor, picture(predictor), Channel("layer9", 0))
    with pytest.raises(TwofoldError, match=r"layer1 of sprint has 4 channels, 0 to 3; got 4"):
        peak_of(predictor, picture(predictor), Channel("layer1", 4))


# What is drawn.


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def shown(axes: Any) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_drawn(name: str, tmp_path: Path) -> None:
    predictor = make(name, channels=3 if name == "resnet50" else 1)
    pixels = picture(predictor)
    explanation = explain(predictor, pixels, classes=predictor.spec.class_names)
    figure = draw_explanation(explanation, title="noise")
    panels = figure.axes
    maps = [values for stage in explanation.stages for values in stage.maps]
    assert len(maps) == sum(min(6, stage.num_maps) for stage in explanation.stages)
    assert len(panels) == 2 + 3 + len(maps)
    assert np.array_equal(shown(panels[0]).reshape(28, 28, -1), pixels.permute(1, 2, 0).numpy())
    for axes, values in zip(panels[5:], maps, strict=True):
        assert np.array_equal(shown(axes), values.numpy())
    assert all(stage.name in texts(figure) for stage in explanation.stages)
    save_picture(figure, tmp_path / "explain.png")
    with Image.open(tmp_path / "explain.png") as saved:
        assert saved.size == (1800, pytest.approx(150 * figure.get_figheight(), abs=1))


def test_where_nothing_speaks_for_a_class_the_picture_says_so() -> None:
    predictor = make("sprint")
    explanation = explain(predictor, picture(predictor))
    cold = replace(explanation.heats[0], heat=torch.zeros(28, 28))
    warm = replace(explanation.heats[0], heat=torch.eye(28))
    words = []
    for heat in (cold, warm):
        panel = draw_explanation(replace(explanation, heats=(heat,)), title="x").axes[2]
        words.append([text.get_text() for text in panel.texts])
    assert words == [["nothing does"], []]
    overlay = np.asarray(panel.images[1].get_array())
    assert overlay.shape == (28, 28, 4)
    assert np.array_equal(overlay[..., 3] > 0, np.eye(28, dtype=bool))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_hostile_names_are_drawn_as_they_are(suffix: str, tmp_path: Path) -> None:
    predictor = make("sprint", classes=HOSTILE, size=(28, 56), channels=3)
    explanation = explain(predictor, picture(predictor), classes=HOSTILE)
    figure = draw_explanation(explanation, title="$a_{b$.png")
    written = texts(figure)
    for name in ("$x_1$", "$\\frac{", "a_b^{c}", "<b>&amp;", "two\N{REPLACEMENT CHARACTER}lines"):
        assert name in written
    assert written[0].startswith("$a_{b$.png: ")
    assert not any(text.get_parse_math() for text in figure.texts)
    save_picture(figure, tmp_path / f"figure{suffix}")  # warnings are errors here
    begin = (tmp_path / f"figure{suffix}").read_bytes()[:8]
    assert begin.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])


def test_no_text_leaves_the_page_or_meets_another() -> None:
    predictor = make("densenet121", classes=tuple(f"{name} {'very ' * 40}long" for name in "abcdefg"))
    explanation = explain(predictor, picture(predictor), classes=predictor.spec.class_names)
    figure = draw_explanation(explanation, title="title " * 60)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    assert any(text.endswith("…") for text in texts(figure))
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
    for place, box in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
            assert apart
    panels = [axes.get_window_extent(renderer) for axes in figure.axes]
    assert min(panel.y0 for panel in panels) > 0
    assert max(panel.x1 for panel in panels) <= figure.bbox.width


def test_a_channel_is_drawn_with_frames_where_they_are_parts(run: Path, images: Path) -> None:
    predictor = twofold.load(run, device="cpu")
    data = load_eval_images(str(images), predictor.spec, show_progress=False)
    own = ("my$.png", data.images.load(torch.tensor([5]))[0])
    view = explain_channel(predictor, Channel("features.3", 4), data, own=own, show=False)
    figure = draw_channel(view)
    assert len(figure.axes) == 10
    assert view.own is not None
    for axes, example in zip(figure.axes, (view.own, *view.examples), strict=True):
        assert np.array_equal(shown(axes), example.pixels[0].numpy())
        assert example.peak.box is not None
        top, bottom, left, right = example.peak.box
        frame: Any = axes.patches[-1]
        assert (frame.get_y(), frame.get_x()) == (top - 0.5, left - 0.5)
        assert (frame.get_height(), frame.get_width()) == (bottom - top, right - left)
    written = texts(figure)
    assert "my$.png" in written
    assert any("120 images of clothes" in text for text in written)
    whole = replace(view.examples[0], peak=replace(view.examples[0].peak, box=None, activation=0.0))
    figure = draw_channel(replace(view, examples=(whole,), own=None))
    assert len(figure.axes) == 1
    assert not figure.axes[0].patches
    assert "it is active in none of them" in texts(figure)
    assert "it is active in none of them" not in written


def test_docstring_examples() -> None:
    result = doctest.testmod(twofold.figures.explain)
    assert result.attempted >= 4
    assert result.failed == 0


# The command.


def num_panels(svg: Path) -> int:
    return len(set(re.findall(r'id="(axes_\d+)"', svg.read_text(encoding="utf-8"))))


def test_the_command_explains_an_image(
    run: Path, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(run), str(boot)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"wrote explain-{boot.stem}.png\n")
    with Image.open(f"explain-{boot.stem}.png") as saved:
        assert saved.format == "PNG"
    out = tmp_path / "picture.SVG"
    assert main(["explain", str(run), str(boot), "--class", "shirt", "--class", "$bag_1", "--figure", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().err
    best = twofold.load(run, device="cpu").predict(boot).class_name
    heats = len({best, "shirt", "$bag_1"})
    assert num_panels(out) == 2 + heats + 6 + 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"explain-{boot.stem}.png", "picture.SVG"]


def test_the_command_shows_what_excites_a_channel(
    run: Path, images: Path, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = ["explain", str(run), "--data", str(images), "--channel", "features.7:2"]
    assert main(words) == 0
    assert "wrote explain-features.7-2.png\n" in capsys.readouterr().err
    assert main([*words, "--figure", "nine.svg"]) == 0
    assert num_panels(tmp_path / "nine.svg") == 9
    assert main([*words, "--figure", "ten.svg", str(boot)]) == 0
    assert num_panels(tmp_path / "ten.svg") == 10

    few = tmp_path / "few" / "shirt"
    few.mkdir(parents=True)
    for path in sorted((images / "shirt").iterdir())[:4]:
        shutil.copy(path, few)
    (few / "broken.png").write_bytes(b"no picture")
    words[3] = str(few.parent)
    assert main([*words, "--figure", "few.svg"]) == 2
    assert "--skip-broken" in capsys.readouterr().err
    assert main([*words, "--figure", "few.svg", "--skip-broken"]) == 0
    assert "broken.png" in capsys.readouterr().err
    assert num_panels(tmp_path / "few.svg") == 4


def test_a_colour_image_is_explained_in_colour(tmp_path: Path, image_folder: Path) -> None:
    colour = np.zeros((40, 60, 3), dtype=np.uint8)
    colour[10:30, 20:50] = (220, 40, 60)
    predictor = make("resnet18", channels=3)
    pixels = predictor.pixels(colour)
    save_picture(draw_explanation(explain(predictor, pixels), title="red"), tmp_path / "red.png")
    drawn = matplotlib.image.imread(tmp_path / "red.png")
    reds = np.all(np.abs(drawn[..., :3] - np.array([220, 40, 60]) / 255) < 0.01, axis=-1)
    assert reds.sum() > 5000


Fails = Callable[..., str]


def test_wrong_use_is_one_line(
    fails: Fails, run: Path, images: Path, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    red = io.BytesIO()
    Image.new("RGB", (30, 30), (200, 30, 60)).save(red, "PNG")
    (tmp_path / "red.png").write_bytes(red.getvalue())
    channel = ["--data", images, "--channel"]
    for arguments, words in [
        ([], "missing RUN"),
        ([run], "say what to explain: an IMAGE, or a channel with --data and --channel"),
        ([tmp_path / "none", boot], "there is no folder"),
        ([tmp_path, boot], "is not a run folder"),
        ([run, tmp_path / "none.png"], f"there is no image {tmp_path / 'none.png'}"),
        ([run, tmp_path], f"there is no image {tmp_path}"),
        ([run, "text.png"], "text.png: not an image that can be read"),
        ([run, "red.png"], "red.png: the image is in colour"),
        ([run, boot, "--class", "shirts"], "unknown class 'shirts': did you mean shirt?"),
        ([run, boot, "--figure", "x.gif"], "--figure must end in .png, .svg, .pdf, got x.gif"),
        ([run, boot, "--figure", "x"], "--figure must end in .png, .svg, .pdf, got x"),
        ([run, boot, "--figure", "no/x.png"], "there is no folder no"),
        ([run, boot, "--channel", "features.7:0"], "--channel needs --data"),
        ([run, boot, "--data", images], "--data needs --channel"),
        ([run, boot, "--skip-broken"], "--skip-broken is for the images of --data"),
        ([run, boot, *channel, "features.7:0", "--class", "shirt"], "--class goes with an IMAGE"),
        ([run, *channel, "features.7"], "a channel is STAGE:INDEX, e.g. layer1:0, got 'features.7'"),
        ([run, *channel, "layer1:0"], "unknown stage 'layer1': the stages of lenet-bn are features.3, features.7"),
        ([run, *channel, "features.7:16"], "stage features.7 of lenet-bn has 16 channels, 0 to 15; got 16"),
        ([run, "--data", "fashion-mni", "--channel", "features.7:0"], "did you mean fashion-mini"),
        ([run, "--data", "fashion-mini", "--channel", "features.7:0"], "classes that the network was not trained on"),
        ([run, boot, "--device", "tpu"], "invalid choice 'tpu'"),
        ([run, boot, "--clas", "shirt"], "did you mean --class"),
    ]:
        assert words in fails(["explain", *arguments]), arguments
    assert sorted(path.name for path in tmp_path.iterdir()) == ["red.png", "text.png"]


def test_a_picture_that_cannot_be_written_fails(fails: Fails, run: Path, boot: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    assert "cannot write" in fails(["explain", run, boot, "--figure", tmp_path / "x.png"], code=1)
