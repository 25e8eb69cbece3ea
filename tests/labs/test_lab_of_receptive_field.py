from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

import small_predictors
from labs.lab_checks import check_program, check_shell_line
from twofold.labs.given import Given
from twofold.labs.images import Opened
from twofold.labs.lab import read_settings
from twofold.labs.receptive_field import ReceptiveFieldLab, ReceptiveFieldSettings, _options
from twofold.labs.seeded import seeded
from twofold.models import CLASSIFIERS, create_model
from twofold.scratch.conv import receptive_field

trained_run = small_predictors.run  # the fixture
NETWORKS = [
    ("lenet", 28, "small"),
    ("lenet-bn", 32, "small"),
    ("alexnet", 64, "paper"),
    ("vgg11-bn", 48, "small"),
    ("nin", 96, "paper"),
    ("googlenet", 64, "small"),
    ("resnet18", 64, "paper"),
    ("densenet21", 64, "small"),
    ("sprint", 28, "small"),
]


def computed(lab=None, **values):
    return (lab or ReceptiveFieldLab(Opened())).compute(read_settings(ReceptiveFieldSettings, values))


def outside(heat, box):
    """Return a heat map with zeros inside of a box."""
    top, bottom, left, right = box
    rest = heat.clone()
    rest[top:bottom, left:right] = 0
    return rest


@pytest.mark.parametrize(("model", "size", "stem"), NETWORKS)
def test_the_gradient_is_zero_outside_the_field_and_touches_its_edges_where_all_is_linear(model, size, stem):
    lab, told = ReceptiveFieldLab(Opened()), {"model": model, "size": size, "stem": stem}
    layers = computed(lab, **told)["layers"]
    for name in {layers[0]["name"], layers[len(layers) // 3]["name"], layers[2 * len(layers) // 3]["name"]}:
        for unit in ([0, 0], [2, 1], None):
            shown = computed(lab, **told, layer=name, unit=unit)
            assert outside(shown["gradient"], shown["box"]).max() == 0
    # Weights of one sign, no ReLU and means for maxima: every path counts, so the gradient reaches each edge.
    network = lab._network(read_settings(ReceptiveFieldSettings, told)).model
    make_linear(network)
    local = [layer["name"] for layer in layers if layer["field"] is not None]
    for name in local[:: max(1, len(local) // 12)]:
        lab._reached = None
        shown = computed(lab, **told, layer=name)
        heat, (top, bottom, left, right) = shown["gradient"], shown["box"]
        assert outside(heat, shown["box"]).max() == 0
        # Where the image ends first, so may the maps before: the last pixels can fall off the end of a stride.
        edges = (heat[top], heat[bottom - 1], heat[:, left], heat[:, right - 1])
        for edge, start, end in zip(edges, shown["box"], shown["field"], strict=True):
            assert start != end or edge.max() > 0, (name, shown["field"])


def make_linear(network):
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, mean)
            elif isinstance(child, nn.ReLU | nn.Sigmoid | nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                child.weight.fill_(1 / child.weight[0].numel())


@pytest.mark.parametrize("model", ["lenet", "vgg11", "alexnet"])
def test_the_rule_for_networks_without_branches_is_that_of_scratch(model):
    lab = ReceptiveFieldLab(Opened())
    size = lab.about()["models"][model]
    for layer in computed(lab, model=model, size=size)["layers"]:
        shown = computed(lab, model=model, size=size, layer=layer["name"])
        if layer["field"] is None:
            assert shown["field"] == (0, size, 0, size)
            continue
        assert receptive_field(list(shown["chain"])) == shown["rule"] == (layer["field"], layer["jump"])
        assert shown["field"][1] - shown["field"][0] == layer["field"]


def test_every_classifier_takes_the_size_that_the_page_gives_it():
    for model, size in ReceptiveFieldLab(Opened()).about()["models"].items():
        if int(CLASSIFIERS[model].settings.get("depth", 0)) > 60:  # of the same family as one below, and slow to build
            continue
        with torch.device("meta"):
            options = _options(ReceptiveFieldSettings(model=model))
            network = create_model(model, num_classes=10, image_size=(size, size), options=options)
        assert network.input_shape[1:] == (size, size)


def test_the_share_in_the_middle_is_that_of_the_heat():
    shown = computed(unit=[1, 2])
    assert shown["box"] == (4, 20, 8, 24)
    assert shown["middle"] == (8, 16, 12, 20)
    heat = shown["gradient"]
    assert shown["share"] == pytest.approx(float(heat[8:16, 12:20].sum() / heat.sum()))
    assert shown["area"] == 0.25


rows = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 2), st.integers(1, 3)), min_size=1, max_size=4)


@given(stack=rows)
def test_own_layers_are_those_of_torch(stack):
    shown = computed(view="stack", stack=stack)
    x = torch.zeros(1, 1, shown["field"], requires_grad=True)
    y = x
    for kernel, stride, dilation in stack:
        y = nn.functional.conv1d(y, torch.ones(1, 1, kernel), stride=stride, dilation=dilation)
    assert y.shape == (1, 1, 1)
    y.sum().backward()
    torch.testing.assert_close(shown["shares"][0] * shown["paths"], x.grad[0, 0])
    assert shown["holes"] == int((x.grad == 0).sum())
    assert shown["jump"] == np.prod([stride for _, stride, _ in stack])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "lenett"}, "lenet"),
        ({"model": "nin", "size": 64, "stem": "paper"}, "at least 67x67 px"),
        ({"layer": "features.99"}, "no convolution, pooling or stage 'features.99'"),
        ({"run": "../../etc"}, "there is no run '../../etc' here"),
        ({"view": "stack", "stack": [[15, 4, 16]] * 4}, "these layers see"),
        ({"view": "stack", "stack": []}, "at least 1 item"),
        ({"size": 10_000}, "less than or equal to 224"),
    ],
)
def test_settings_that_do_not_fit_say_why(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        computed(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model": "resnet18", "size": 32, "layer": "layer2", "unit": [0, 9], "channel": 3, "seed": 4},
        {"image": "drawing", "drawing": "4x4:" + "00ff8010" * 4, "model": "vgg11", "size": 32, "unit": [1, 1]},
        {"view": "stack", "stack": [[3, 1, 1], [3, 2, 2]]},
    ],
)
def test_the_program_and_the_shell_line_give_what_is_shown(values, capfd):
    lab, read = ReceptiveFieldLab(Opened()), read_settings(ReceptiveFieldSettings, values)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    if read.view == "stack":
        assert found["fields"] == list(zip(shown["fields"], shown["jumps"], strict=True))
    else:
        torch.testing.assert_close(found["heat"], shown["gradient"], atol=1e-6, rtol=1e-5)
    check_shell_line(lab.command(read).shell, shown, capfd)


def test_a_trained_run_is_looked_into(trained_run, capfd):
    lab = ReceptiveFieldLab(Opened(Given(runs=(str(trained_run),))))
    read = read_settings(ReceptiveFieldSettings, {"run": trained_run.name, "image": "bag", "layer": "features.4"})
    shown = lab.compute(read)
    assert shown["channels"] == 16
    assert shown["rule"] == (14, 2)
    assert 0 < shown["share"] < 1
    found = check_program(lab.command(read).python)
    torch.testing.assert_close(found["heat"], shown["gradient"], atol=1e-6, rtol=1e-5)
    check_shell_line(lab.command(read).shell, shown, capfd)


def test_weights_that_are_drawn_in_two_threads_are_those_of_the_seed():
    def draw(seed):
        with seeded(seed):
            return [torch.rand(1).item() for _ in range(200)]

    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(draw, [1, 2] * 10))
    assert drawn == [draw(1), draw(2)] * 10
    assert drawn[0] != drawn[1]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("number", "values"),
    [
        (0, {"model": "vgg11", "size": 64, "layer": "features.5", "unit": [0, 0]}),
        (1, {"model": "resnet18", "size": 64, "layer": "layer3.1.conv2"}),
        (2, {"model": "resnet18", "size": 64, "layer": "layer2"}),
        (3, {"view": "stack", "stack": [[3, 1, 1]] * 3}),
        (4, {"view": "stack", "stack": [[3, 2, 1], [3, 2, 1]]}),
        (5, {"view": "stack", "stack": [[3, 1, 1], [3, 1, 4], [3, 1, 10]]}),
        (6, {"view": "stack", "stack": [[3, 1, 9], [3, 1, 3], [3, 1, 1]]}),
    ],
)
def test_each_exercise_can_be_done_and_is_not_done_at_first(number, values):
    check = ReceptiveFieldLab.exercises[number].is_done
    assert check(read_settings(ReceptiveFieldSettings, values), computed(**values))
    assert not check(ReceptiveFieldSettings(), computed())


# In a browser


def test_a_unit_is_pressed_dragged_and_moved_by_keys(lab_page):
    lab = lab_page("receptive-field")
    lab.point_at("map", 0, 0, (4, 4))
    assert lab.settings["unit"] is None  # passing over a unit does not choose it
    lab.point_at("map", 1, 1, (4, 4), press=True)
    assert lab.settings["unit"] == [1, 1]
    np.testing.assert_allclose(lab.shown("gradient"), computed(unit=[1, 1])["gradient"].numpy(), rtol=1e-5)
    # What is drawn: heat inside of the field alone.
    colours = lab.colours("gradient", 28, 28).astype(int)
    warmth = colours[..., 0] - colours[..., 2]
    assert warmth[5:19, 5:19].max() > 50
    assert np.abs(warmth[21:, :]).max() < 12
    box = lab.figure("map").bounding_box()
    lab.page.mouse.move(box["x"] + 5, box["y"] + 5)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 5, steps=6)
    lab.page.mouse.up()
    lab.settle()
    assert lab.settings["unit"] == [0, 3]
    lab.figure("map").focus()
    lab.page.keyboard.press("ArrowDown")
    lab.settle()
    assert lab.settings["unit"] == [1, 3]
    assert "rows 4 to 19, columns 12 to 27" in lab.page.locator(".sum").first.inner_text()


def test_a_network_and_a_layer_are_chosen_and_a_link_restores_them(lab_page):
    lab = lab_page("receptive-field")
    lab.page.get_by_label("network", exact=True).select_option(label="resnet18")
    lab.settle()
    assert lab.settings["size"] == 64
    layer = lab.page.get_by_label("layer", exact=True)
    layer.select_option(
        label=next(text for text in layer.locator("option").all_inner_texts() if "layer3.1.conv2" in text)
    )
    lab.settle()
    assert lab.exercises()[1] is True
    assert lab.page.get_by_text("the largest path counts").is_visible()
    # A press on the chart chooses the layer there.
    box = lab.figure("field of each layer").bounding_box()
    lab.page.mouse.click(box["x"] + 54, box["y"] + 60)
    lab.settle()
    assert lab.settings["layer"] == "conv1"
    link, gradient = lab.page.url, lab.shown("gradient")
    lab.page.reload()
    np.testing.assert_array_equal(lab.settle().shown("gradient"), gradient)
    lab.page.get_by_label("network", exact=True).select_option(label="lenet")
    lab.until("settings.layer === ''")
    lab.page.goto(link)
    lab.until("settings.layer === 'conv1'")
    np.testing.assert_array_equal(lab.shown("gradient"), gradient)


def test_own_layers_are_built_with_numbers_and_buttons(lab_page):
    lab = lab_page("receptive-field", "view=stack")
    lab.page.get_by_role("button", name="Add a layer").click()
    lab.settle()
    assert lab.exercises()[3] is True
    lab.page.get_by_label("dilation of layer 2").fill("3")
    lab.page.get_by_label("dilation of layer 3").fill("9")
    lab.settle()
    assert lab.shown("field") == 27
    assert lab.exercises()[6] is True
    lab.page.get_by_label("dilation of layer 3").fill("11")
    lab.settle()
    assert lab.exercises()[5] is True
    assert "31 px" in lab.page.locator(".sum").nth(1).inner_text()
    assert "left out" in lab.page.locator(".sum").nth(1).inner_text()
    lab.page.get_by_role("button", name="remove layer 1", exact=True).click()
    lab.settle()
    assert lab.settings["stack"] == [[3, 1, 3], [3, 1, 11]]


@pytest.mark.parametrize(("settings", "scheme"), [("model=vgg11&size=64", "dark"), ("view=stack", "light")])
def test_the_page_fits_a_phone(lab_page, settings, scheme):
    lab = lab_page("receptive-field", settings, lang="zh", width=390, color_scheme=scheme)
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert lab.page.locator("h1").inner_text() == "感受野"
