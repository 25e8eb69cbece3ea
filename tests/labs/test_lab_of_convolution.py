import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn import functional

from labs.lab_checks import check_program, check_shell_line
from twofold.labs.convolution import PRESETS, ConvolutionLab, ConvolutionSettings
from twofold.labs.images import Opened, pixels
from twofold.labs.lab import read_settings

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
settings = st.fixed_dictionaries(
    {
        "image": st.sampled_from(["boot", "bag"]),
        "size": st.integers(12, 20),
        "colour": st.booleans(),
        "preset": st.sampled_from(PRESETS),
        "kernel": pairs,
        "out_channels": st.sampled_from([1, 2]),
        "stride": pairs,
        "dilation": pairs,
        "padding": st.tuples(*[st.integers(0, 3)] * 4),
        "bias": st.sampled_from([0.0, 0.5]),
        "view": st.sampled_from(["forward", "backward"]),
        "unit": st.none() | st.tuples(*[st.integers(0, 30)] * 3),
    }
)


def computed(**values):
    return ConvolutionLab(Opened()).compute(read_settings(ConvolutionSettings, values))


@given(values=settings)
def test_what_is_shown_is_torchs_convolution_and_its_gradient(values):
    shown = computed(**values)
    top, bottom, left, right = values["padding"]
    x = pixels(values["image"], (values["size"],) * 2, colour=values["colour"]).requires_grad_()
    weight = shown["weight"].clone().requires_grad_()
    bias = torch.full((values["out_channels"],), values["bias"])
    padded = functional.pad(x, (left, right, top, bottom))
    y = functional.conv2d(padded, weight, bias, values["stride"], 0, values["dilation"])
    torch.testing.assert_close(shown["output"], y[0])
    unit = shown.get("unit")
    if unit is not None:
        torch.testing.assert_close(unit["sum"] + unit["bias"], y[0][tuple(unit["place"])])
        torch.testing.assert_close(unit["products"], unit["window"] * unit["weights"])
        for i, row in enumerate(unit["rows"]):
            for j, column in enumerate(unit["columns"]):
                assert unit["window"][0, i, j] == padded[0, 0, row + top, column + left]
    if values["view"] == "backward":
        place = tuple(unit["place"]) if unit else (0, y.shape[2] // 2, y.shape[3] // 2)
        y[0][place].backward()
        torch.testing.assert_close(shown["backward"]["input"], x.grad[0])
        torch.testing.assert_close(shown["backward"]["weight"], weight.grad)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"colour": True, "groups": 2, "out_channels": 2}, "must both be multiples of the 2 groups"),
        ({"weights": [[[[1.0, 2.0]]]]}, r"the weights must have the shape \(1, 1, 3, 3\)"),
        ({"weights": [[[[1.0], [2.0, 3.0]]]]}, "the weights must have the shape"),
        ({"padding": "same", "stride": [2, 2]}, "needs stride 1"),
        ({"image": "../secret.png"}, "there is no image '../secret.png' here"),
        ({"image": "drawing", "drawing": "9x9:00"}, "has 162 hexadecimal digits"),
        ({"kernel": [8, 8], "dilation": [8, 8]}, "does not fit into 28x28"),
    ],
)
def test_settings_that_do_not_fit_say_why(values, words):
    with pytest.raises(ValueError, match=words):
        computed(**values)


def test_a_kernel_is_learned():
    shown = computed(view="learn", preset="edges", rate=2, step=100)
    losses = shown["learned"]["losses"]
    assert losses[0] > 10 * losses[100] > 0
    torch.testing.assert_close(shown["learned"]["kernel"], shown["weight"], atol=0.2, rtol=0)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"stride": [2, 1], "padding": [1, 0, 0, 2], "weights": [[[[0.1, -0.5], [1.0, 3.25]]]], "kernel": [2, 2]},
        {"view": "backward", "unit": [0, 3, 4], "image": "bag", "colour": True, "groups": 1},
        {"view": "backward", "unit": [2, 40, -1]},  # left over from a larger output
        {"view": "learn", "step": 7, "padding": "same"},
        {"image": "drawing", "drawing": "4x4:" + "00ff80" * 5 + "10", "kernel": [1, 2], "colour": True},
    ],
)
def test_the_program_and_the_shell_line_give_what_is_shown(values, capfd):
    lab, read = ConvolutionLab(Opened()), read_settings(ConvolutionSettings, values)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    torch.testing.assert_close(found["y"][0], shown["output"], atol=0, rtol=0)
    if read.view == "learn":
        torch.testing.assert_close(found["kernel"], shown["learned"]["kernel"])
    check_shell_line(lab.command(read).shell, shown, capfd)


def test_the_shell_line_works_in_a_real_process():
    lab = ConvolutionLab(Opened())
    line = lab.command(ConvolutionSettings(size=8, stride=(2, 2))).shell
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from twofold.cli.main import main; sys.exit(main())",
            *shlex.split(line)[1:],
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert np.array(json.loads(done.stdout)["output"]).shape == (1, 3, 3)


# In a browser


def test_the_pointer_shows_what_an_output_is_made_of(lab_page):
    lab = lab_page("convolution")
    lab.point_at("output", 20, 18, (26, 26))
    assert lab.settings["unit"] == [0, 20, 18]
    output = lab.shown("output")
    assert output[0, 20, 18] == pytest.approx(lab.shown("unit.sum"))
    expected = computed(unit=[0, 20, 18])
    np.testing.assert_allclose(output, expected["output"].numpy(), rtol=1e-6)
    text = lab.page.locator(".sum").inner_text()
    assert text.startswith("y[0, 20, 18] = ")
    assert text.count("·") == 9
    # The picture: orange above zero, blue below.
    colours = lab.colours("output", 26, 26)
    most, least = (np.unravel_index(find(output[0]), (26, 26)) for find in (np.argmax, np.argmin))
    assert colours[most][0] > colours[most][2]
    assert colours[least][2] > colours[least][0]
    # By keys: one to the right.
    lab.figure("output").focus()
    lab.page.keyboard.press("ArrowRight")
    lab.settle()
    assert lab.settings["unit"] == [0, 20, 19]
    assert "20, 19" in lab.page.locator(".announce").inner_text()


def test_a_kernel_is_dragged_and_typed_and_the_exercises_notice(lab_page):
    lab = lab_page("convolution", "kernel=[1,2]")
    assert lab.exercises()[2] is True  # the preset is the difference already
    cell = lab.page.locator(".grid input").nth(1)
    box = cell.bounding_box()
    lab.page.mouse.move(box["x"] + 10, box["y"] + 10)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + 10, box["y"] - 30, steps=8)
    lab.page.mouse.up()
    lab.settle()
    assert lab.settings["weights"] == [[[[1, 0]]]]
    cell.fill("-1")
    lab.settle()
    assert lab.settings["weights"] == [[[[1, -1]]]]
    assert lab.exercises() == [False, False, True, False, False, False]
    lab.page.get_by_role("button", name="same size").click()
    for label in ("size, rows", "size, columns"):
        lab.page.get_by_label(label).fill("4")
        lab.settle()
    assert lab.exercises()[0] is True


def test_the_address_holds_the_state(lab_page):
    lab = lab_page("convolution", "stride=[2,1]&preset=blur")
    assert lab.shown("output").shape == (1, 13, 26)
    lab.page.get_by_label("dilation, rows").fill("3")
    lab.settle()
    shape = lab.shown("output").shape
    lab.page.wait_for_timeout(800)  # a new entry of the history begins after a rest
    lab.page.get_by_label("size, rows").fill("1")
    lab.settle()
    link = lab.page.url
    assert "kernel=" in link
    assert "token" not in link
    lab.page.go_back()
    lab.until("settings.kernel[0] === 3")
    assert lab.shown("output").shape == shape
    lab.page.reload()
    assert lab.settle().shown("output").shape == shape
    lab.page.goto(link)
    lab.settle()
    assert (lab.settings["kernel"], lab.settings["dilation"], lab.settings["preset"]) == ([1, 3], [3, 1], "blur")


def test_the_code_marks_the_lines_that_ran(lab_page):
    lab = lab_page("convolution")
    lab.page.get_by_role("tab", name="Code").click()
    lab.page.wait_for_selector(".line.ran")
    ran = " ".join(lab.page.locator(".line.ran").all_text_contents())
    assert "seen = columns(padded, kernel" in ran
    assert "flat_grad" not in ran
    lab.page.get_by_label("show").select_option(label="gradient of one output")
    lab.until("[...document.querySelectorAll('.line.ran')].some((line) => line.textContent.includes('flat_grad'))")


def test_an_own_image_a_drawing_and_a_broken_file(lab_page):
    lab = lab_page("convolution")
    lab.page.locator("input[type=file]").set_input_files("tests/pictures/boot.png")
    lab.until("settings.image === 'boot.png'")
    assert "--image boot.png" in lab.command()[0]
    lab.page.locator("input[type=file]").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": b"\x89PNG oh"}
    )
    lab.page.wait_for_selector(".status:not([hidden])")
    assert "header cannot be read" in lab.error or "not an image" in lab.error
    lab.page.get_by_label("image", exact=True).select_option(label="my drawing")
    lab.settle()
    pad = lab.page.locator("canvas.pad").bounding_box()
    lab.page.mouse.move(pad["x"] + 40, pad["y"] + 100)
    lab.page.mouse.down()
    lab.page.mouse.move(pad["x"] + 160, pad["y"] + 100, steps=10)
    lab.page.mouse.up()
    lab.settle()
    drawing = lab.shown("input")[0]
    assert drawing[12].max() == 1
    assert drawing[0].max() == 0
    assert lab.error == ""


@pytest.mark.parametrize(("lang", "width", "scheme"), [("zh", 390, "dark"), ("en", 390, "light")])
def test_the_page_fits_a_phone_in_both_languages(lab_page, lang, width, scheme):
    lab = lab_page("convolution", lang=lang, width=width, color_scheme=scheme)
    assert lab.page.evaluate("document.documentElement.scrollWidth") == width
    title = {"en": "Convolution", "zh": "卷积"}[lang]
    assert lab.page.locator("h1").inner_text() == title
