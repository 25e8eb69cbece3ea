import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings as examples, strategies as st
from torch import nn

from labs.lab_checks import check_program, check_shell_line
from twofold.labs.batch_norm import MOST_STEPS, BatchNormLab, BatchNormSettings, batch, layer_values, values_of
from twofold.labs.images import Opened, pixels
from twofold.labs.lab import read_settings

told = st.fixed_dictionaries(
    {
        "layer": st.sampled_from(["pixels", "first", "second"]),
        "channel": st.integers(0, 15),
        "batch_size": st.integers(2, 9),
        "mode": st.sampled_from(["training", "eval"]),
        "step": st.integers(0, MOST_STEPS),
        "momentum": st.floats(0, 1, width=16),
        "gamma": st.floats(-3, 3, width=16),
        "beta": st.floats(-3, 3, width=16),
        "eps": st.sampled_from([1e-5, 1e-2, 1.0]),
        "scale": st.sampled_from([0.5, 1.0, 2.0]),
        "shift": st.sampled_from([-1.0, 0.0, 0.5]),
    }
)


def computed(lab=None, **values):
    return (lab or BatchNormLab(Opened())).compute(read_settings(BatchNormSettings, values))


def torchs(shown, values):
    """Return torch's layer, trained on as many batches as the lab has seen, and the channel's values."""
    channel = layer_values(values["layer"])[:, shown["channel"]][:, None]
    norm = nn.BatchNorm2d(1, eps=values["eps"], momentum=values["momentum"])
    with torch.no_grad():
        for number in range(values["step"]):
            norm(batch(channel, values["batch_size"], number))
        norm.weight.fill_(values["gamma"])
        norm.bias.fill_(values["beta"])
    return norm, channel


@given(values=told)
@examples(max_examples=25)
def test_what_is_shown_is_torchs_batch_normalisation(values):
    shown = computed(LAB, **values)
    norm, channel = torchs(shown, values)
    assert shown["running"]["mean"] == pytest.approx(norm.running_mean.item(), abs=1e-5)
    assert shown["running"]["var"] == pytest.approx(norm.running_var.item(), rel=1e-4)
    norm.train(values["mode"] == "training")
    x = batch(channel, values["batch_size"], values["step"]) * values["scale"] + values["shift"]
    with torch.no_grad():
        y = norm(x)
    assert shown["output"]["mean"] == pytest.approx(y.mean().item(), abs=2e-4)
    assert shown["output"]["var"] == pytest.approx(y.var(correction=0).item(), rel=1e-3, abs=1e-6)
    counts = torch.histc(y, len(shown["after"]["shares"]), -6, 6) / y.numel()
    # A value on the border of two bins may fall to either side.
    torch.testing.assert_close(shown["after"]["shares"], counts, atol=0.02, rtol=0)
    outside = shown["after"]["below"] + shown["after"]["above"]
    assert float(shown["after"]["shares"].sum()) + outside == pytest.approx(1, abs=1e-5)


LAB = BatchNormLab(Opened())


@pytest.mark.parametrize("size", [2, 5, 64])
@pytest.mark.parametrize("mode", ["training", "eval"])
def test_one_image_in_several_batches_is_what_torch_makes_of_it_there(size, mode):
    values = {"layer": "first", "batch_size": size, "step": 4, "momentum": 0.3, "gamma": 1.5, "beta": 0.2, "eps": 1e-5}
    shown = computed(mode=mode, image="bag", **values)
    norm, channel = torchs(shown, values)
    image = values_of("first", pixels("bag"))[:, :1]
    norm.train(mode == "training")
    outputs = []
    with torch.no_grad():
        for number in range(len(shown["outputs"])):
            outputs.append(
                norm(torch.cat([image, batch(channel, size - 1, number)]))[0, 0]
                if mode == "training"
                else norm(image)[0, 0]
            )
    torch.testing.assert_close(shown["normalised"], torch.stack(outputs), atol=1e-4, rtol=1e-4)
    assert shown["spread"] == pytest.approx(torch.stack(outputs).std(dim=0).pow(2).mean().sqrt().item(), abs=1e-4)
    if mode == "eval":
        assert shown["spread"] < 1e-6


def test_a_small_batch_has_noisy_statistics():
    shown = computed()
    spreads = shown["spreads"]
    assert spreads[0] > 2 * spreads[4] > 3 * spreads[7] > 0
    assert computed(batch_size=64)["spread"] == spreads[5]


def test_a_shift_of_the_input_is_gone_in_training_mode_alone():
    plain, moved = computed(), computed(shift=0.8, scale=3)
    torch.testing.assert_close(plain["normalised"], moved["normalised"], atol=5e-3, rtol=0)
    assert plain["output"]["mean"] == pytest.approx(moved["output"]["mean"], abs=1e-5)
    plain, moved = computed(mode="eval"), computed(mode="eval", shift=0.8)
    expected = 0.8 / math.sqrt(plain["running"]["var"] + 1e-5)
    assert moved["output"]["mean"] - plain["output"]["mean"] == pytest.approx(expected, abs=1e-4)


def test_a_constant_channel_becomes_beta():
    shown = computed(constant=True, beta=2, gamma=3)
    assert shown["batch"]["var"] < 1e-10
    assert shown["output"]["mean"] == pytest.approx(2, abs=1e-4)
    assert shown["spread"] < 1e-4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image": "../secret.png"}, "there is no image '../secret.png' here"),
        ({"image": "drawing", "drawing": "9x9:00"}, "has 162 hexadecimal digits"),
        ({"batch_size": 1}, "greater than or equal to 2"),
        ({"mode": "both"}, "'training' or 'eval'"),
        ({"step": 10_000}, "less than or equal to 40"),
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
        {"layer": "second", "channel": 7, "mode": "eval", "shift": 0.5, "batch_size": 2, "step": 3, "gamma": 2},
        {"layer": "pixels", "constant": True, "beta": 1.5, "image": "drawing", "drawing": "2x2:00ff8010"},
    ],
)
def test_the_program_and_the_shell_line_give_what_is_shown(values, capfd):
    lab, read = BatchNormLab(Opened()), read_settings(BatchNormSettings, values)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    assert float(found["running_mean"]) == pytest.approx(float(shown["running"]["mean"]), abs=1e-6)
    assert float(found["running_var"]) == pytest.approx(float(shown["running"]["var"]), abs=1e-6)
    assert float(found["y"].mean()) == pytest.approx(shown["output"]["mean"], abs=1e-6)
    assert float(found["y"].var(correction=0)) == pytest.approx(shown["output"]["var"], abs=1e-6)
    check_shell_line(lab.command(read).shell, shown, capfd)


@pytest.mark.parametrize(
    ("number", "values"),
    [
        (0, {"shift": -0.5}),
        (1, {"shift": 0.5, "mode": "eval", "step": 40}),
        (2, {"gamma": 2, "beta": 1}),
        (3, {"gamma": 0.16, "beta": -0.1}),
        (4, {"step": 8, "momentum": 0.6, "batch_size": 256}),
        (5, {"batch_size": 128}),
        (6, {"constant": True, "beta": 2}),
    ],
)
def test_each_exercise_can_be_done_and_is_not_done_at_first(number, values):
    check = BatchNormLab.exercises[number].is_done
    assert check(read_settings(BatchNormSettings, values), computed(**values))
    assert not check(BatchNormSettings(), computed())


# In a browser


def test_a_shift_moves_the_histogram_and_the_mode_decides_about_the_output(lab_page):
    lab = lab_page("batch-norm")
    mean = lab.shown("output.mean")
    before = lab.shown("before.shares")
    slider = lab.page.get_by_label("shift by")
    box = slider.bounding_box()
    lab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2, steps=8)
    lab.page.mouse.up()
    lab.settle()
    assert lab.settings["shift"] > 0.5
    assert np.abs(lab.shown("before.shares") - before).max() > 0.05
    assert lab.shown("output.mean") == pytest.approx(mean, abs=1e-5)
    assert lab.exercises()[0] is True
    lab.page.get_by_label("mode").select_option(label="eval")
    lab.settle()
    assert lab.shown("output.mean") > 1
    assert lab.exercises()[1] is True
    assert lab.page.locator("table").inner_text().count("✓") == 1
    assert "running ✓" in lab.page.locator("table").inner_text()


def test_the_running_statistics_are_dragged_and_a_batch_size_is_pressed(lab_page):
    lab = lab_page("batch-norm", "momentum=0.6")
    box = lab.figure("mean").bounding_box()
    lab.page.mouse.move(box["x"] + 60, box["y"] + 60)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 60, steps=8)
    lab.page.mouse.up()
    lab.settle()
    assert lab.settings["step"] == MOST_STEPS
    lab.page.get_by_label("batches so far").focus()
    lab.page.keyboard.press("ArrowLeft")
    lab.settle()
    assert lab.settings["step"] == MOST_STEPS - 1
    expected = computed(momentum=0.6, step=MOST_STEPS - 1)
    assert lab.shown("running.mean") == pytest.approx(float(expected["running"]["mean"]), abs=1e-6)
    lab.figure("spread for each batch size").scroll_into_view_if_needed()
    box = lab.figure("spread for each batch size").bounding_box()
    lab.page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 60)
    lab.settle()
    assert lab.settings["batch_size"] == 256
    assert lab.exercises()[5] is True
    lab.page.reload()
    assert lab.settle().settings["batch_size"] == 256


def test_the_same_image_looks_different_in_each_batch_of_two(lab_page):
    lab = lab_page("batch-norm", "batch_size=2&image=bag")
    shown = computed(batch_size=2, image="bag")
    np.testing.assert_allclose(lab.shown("normalised"), shown["normalised"].numpy(), atol=1e-5)
    first, second = (lab.colours(f"in batch {number}", 24, 24).astype(int) for number in (1, 2))
    assert np.abs(first - second).max() > 10
    lab.page.get_by_label("mode").select_option(label="eval")
    lab.settle()
    first, second = (lab.colours(f"in batch {number}", 24, 24).astype(int) for number in (1, 2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_fits_a_phone(lab_page, scheme):
    lab = lab_page("batch-norm", lang="zh", width=390, color_scheme=scheme)
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert lab.page.locator("h1").inner_text() == "批量归一化"
