import numpy as np
import pytest
import torch
from hypothesis import assume, given, strategies as st
from torch.nn import functional

from labs.lab_checks import check_program, check_shell_line
from twofold.labs.convolution import preset_kernels
from twofold.labs.images import Opened, drawn, pixels
from twofold.labs.lab import read_settings
from twofold.labs.pooling import PoolingLab, PoolingSettings, moved

sides = st.tuples(st.integers(1, 4), st.integers(1, 4))
settings = st.fixed_dictionaries(
    {
        "image": st.sampled_from(["boot", "bag"]),
        "size": st.integers(8, 16),
        "colour": st.booleans(),
        "convolution": st.sampled_from(["none", "none", "edges", "sharpen"]),
        "maps": st.integers(1, 3),
        "rectify": st.booleans(),
        "pool": st.sampled_from(["max", "average", "adaptive"]),
        "kernel": sides,
        "stride": st.none() | sides,
        "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "ceil_mode": st.booleans(),
        "count_include_pad": st.booleans(),
        "parts": sides,
        "dx": st.integers(-3, 3),
        "dy": st.integers(-3, 3),
        "edge": st.sampled_from(["black", "wrap"]),
        "view": st.sampled_from(["window", "gradient", "gradient of all"]),
        "unit": st.none() | st.tuples(*[st.integers(0, 20)] * 3),
    }
)


def computed(**values):
    return PoolingLab(Opened()).compute(read_settings(PoolingSettings, values))


def by_torch(x, values):
    """Return torch's output for the settings."""
    kernel, stride, padding = values["kernel"], values["stride"] or values["kernel"], values["padding"]
    if values["pool"] == "max":
        return functional.max_pool2d(x, kernel, stride, padding, ceil_mode=values["ceil_mode"])
    if values["pool"] == "average":
        return functional.avg_pool2d(x, kernel, stride, padding, values["ceil_mode"], values["count_include_pad"])
    return functional.adaptive_avg_pool2d(x, values["parts"])


def pooled_by_torch(values, dx, dy):
    """Return what is pooled, and torch's output, of the image moved as torch pads and cuts."""
    x = pixels(values["image"], (values["size"],) * 2, colour=values["colour"])
    if values["edge"] == "wrap":
        x = functional.pad(x, (3, 3, 3, 3), mode="circular")
    else:
        x = functional.pad(x, (3, 3, 3, 3))
    x = x[..., 3 - dy : 3 - dy + values["size"], 3 - dx : 3 - dx + values["size"]]
    if values["convolution"] != "none":
        weight = preset_kernels(values["convolution"], values["maps"], x.shape[1], (3, 3))
        x = functional.conv2d(x, weight, padding=1)
        x = x.relu() if values["rectify"] else x
    x = x.detach().requires_grad_()
    return x, by_torch(x, values)


@given(values=settings)
def test_what_is_shown_is_torchs_pooling_and_its_gradient(values):
    assume(all(2 * pad <= side for pad, side in zip(values["padding"], values["kernel"], strict=True)))
    # The kernel of a convolution gives −0.0 and rounding; ties of a map are then broken by them, not by pooling.
    assume(values["pool"] != "max" or values["convolution"] == "none" or values["view"] == "window")
    shown = computed(**values)
    x, y = pooled_by_torch(values, values["dx"], values["dy"])
    _, was_y = pooled_by_torch(values, 0, 0)
    torch.testing.assert_close(shown["input"], x[0].detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shown["output"], y[0].detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shown["before"]["output"], was_y[0].detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shown["difference"], (y - was_y)[0].detach(), atol=1e-5, rtol=1e-5)
    unit = shown.get("unit")
    if values["view"] != "window":
        grad = torch.zeros_like(y)
        place = unit["place"] if unit else [0, y.shape[2] // 2, y.shape[3] // 2]
        grad[(0, *place)] = 1
        y.backward(grad if values["view"] == "gradient" else torch.ones_like(y))
        torch.testing.assert_close(shown["gradient"], x.grad[0], atol=1e-6, rtol=1e-5)
    if unit is None:
        return
    channel = shown["input"][unit["place"][0]]
    inside = [
        slice(max(0, start), min(end, side))
        for (start, end), side in zip((unit["rows"], unit["columns"]), channel.shape, strict=True)
    ]
    assert torch.equal(unit["window"], channel[inside[0], inside[1]])
    if "winner" in unit:
        assert channel[tuple(unit["winner"])] == unit["value"] == unit["window"].max()
    else:
        assert float(unit["sum"] * unit["share"]) == pytest.approx(float(unit["value"]), abs=1e-5)


def test_the_shares_that_stayed_count_what_differs():
    # Four windows of 2x2; the one bright pixel goes from the first window into the second.
    shown = computed(image="drawing", drawing="4x4:00ff0000" + "00" * 12, dx=1, same_within=0)
    assert shown["output"].tolist() == [[[0, 1], [0, 0]]]
    assert shown["stayed"] == {
        "outputs": 0.5,
        "inputs": 14 / 16,
        "outputs_not_empty": 0.0,
        "inputs_not_empty": 0.0,
        "moved": None,
    }
    within = computed(image="drawing", drawing="4x4:ff000000" + "00" * 12, dx=1, same_within=0)["stayed"]
    assert within["outputs"] == within["outputs_not_empty"] == 1
    by_stride = computed(image="drawing", drawing="4x4:ff000000" + "00" * 12, dx=2, dy=2)["stayed"]
    assert by_stride["moved"] == {"rows": 1, "columns": 1, "outputs": 1.0}


def test_global_average_pooling_does_not_see_a_shift_that_wraps():
    shown = computed(pool="adaptive", convolution="edges", maps=3, dx=3, dy=-2, edge="wrap", rectify=False)
    assert shown["output"].shape == (3, 1, 1)
    torch.testing.assert_close(shown["output"][:, 0, 0], shown["input"].mean(dim=(1, 2)), atol=1e-6, rtol=1e-5)


def test_the_winner_is_the_first_of_equal_ones():
    assert computed(image="drawing", drawing="4x4:" + "80" * 16, unit=[0, 1, 1])["unit"]["winner"] == [2, 2]


@pytest.mark.parametrize("name", ["input", "output"])
def test_moving_back_and_forth_gives_what_a_new_lab_gives(name):
    lab = PoolingLab(Opened())
    for values in ({}, {"dx": 3}, {"dx": 3, "image": "bag"}, {"dx": 1, "edge": "wrap"}, {"dx": 1, "pool": "average"}):
        shown = lab.compute(PoolingSettings(**values))
        assert torch.equal(shown["before"][name], computed(**values)["before"][name])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"padding": [2, 2]}, "padding at most half the kernel"),
        ({"kernel": [8, 8], "size": 4}, "does not fit into 4x4"),
        ({"kernel": 9}, "less than or equal to 8"),
        ({"dx": 1000000}, "less than or equal to 16"),
        ({"image": "/etc/passwd"}, "there is no image '/etc/passwd' here"),
        ({"pool": "median"}, "pool: input should be 'max', 'average' or 'adaptive'"),
    ],
)
def test_settings_that_do_not_fit_say_why(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        computed(**values)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dx": 2, "dy": -1, "kernel": 3, "stride": 2, "padding": 1, "view": "gradient", "unit": [0, 30, 4]},
        {"pool": "average", "convolution": "edges", "maps": 3, "colour": True, "view": "gradient", "unit": None},
        {"pool": "adaptive", "parts": [2, 3], "view": "gradient of all", "edge": "wrap", "dx": 5, "image": "bag"},
        {"image": "drawing", "drawing": "4x4:" + "00ff8010" * 4, "ceil_mode": True, "kernel": 3, "colour": True},
        {"convolution": "blur", "rectify": False},
    ],
)
def test_the_program_and_the_shell_line_give_what_is_shown(values, capfd):
    lab, read = PoolingLab(Opened()), read_settings(PoolingSettings, values)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    assert torch.equal(found["y"][0], shown["output"])
    if read.view != "window":
        assert torch.equal(found["gradient"][0], shown["gradient"])
    check_shell_line(lab.command(read).shell, shown, capfd)


def test_each_exercise_can_be_done_and_is_not_done_at_first():
    solved = [
        {"kernel": [4, 4]},
        {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1]},
        {"pool": "average", "kernel": [3, 3], "view": "gradient"},
        {"kernel": [3, 3], "stride": [1, 1], "view": "gradient of all"},
        {"dx": 2},
        {"dx": 1, "kernel": [4, 4]},
        {"pool": "adaptive", "convolution": "edges", "maps": 2, "dy": 3},
    ]
    first = computed()
    for exercise, values in zip(PoolingLab.exercises, solved, strict=True):
        assert not exercise.is_done(PoolingSettings(), first), exercise.en
        assert exercise.is_done(read_settings(PoolingSettings, values), computed(**values)), exercise.en


def test_an_image_moves_out_of_itself():
    x = drawn("2x3:ff8040ff8040")
    assert moved(x, 5, 0).sum() == 0
    assert torch.equal(moved(x, 3, 2, wrap=True), x)
    assert torch.equal(moved(x, 0, 0), x)


# In a browser


def drag(lab, label, right, down):
    """Drag the image by pixels of its own."""
    box = lab.figure(label).bounding_box()
    pixel = box["width"] / lab.shown("input").shape[2]
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    lab.page.mouse.move(x, y)
    lab.page.mouse.down()
    lab.page.mouse.move(x + right * pixel, y + down * pixel, steps=6)
    lab.page.mouse.up()
    lab.settle()


def test_the_image_is_dragged_and_what_stays_is_told(lab_page):
    lab = lab_page("pooling", "kernel=[4,4]")
    drag(lab, "input", 4, -8)
    assert (lab.settings["dx"], lab.settings["dy"]) == (4, -8)
    expected = computed(kernel=[4, 4], dx=4, dy=-8)
    np.testing.assert_allclose(lab.shown("output"), expected["output"].numpy(), rtol=1e-6)
    told = lab.page.locator(".stage").inner_text()
    assert "output moved by (-2, 1)" in told
    cells = lab.page.locator(".stage td").all_inner_texts()
    assert cells[1] == f"{100 * expected['stayed']['outputs']:.1f}".rstrip("0").rstrip(".") + " %"
    # The picture of the input is that of the moved image.
    image = expected["input"][0].numpy()
    colours = lab.colours("input", 28, 28)[..., 0]
    assert np.abs(colours / 255 - image).max() < 0.02
    lab.page.get_by_role("button", name="Back to where it was").click()
    lab.settle()
    assert lab.page.locator(".stage table").is_hidden()


def test_the_pointer_and_the_keys_show_the_window_and_its_winner(lab_page):
    lab = lab_page("pooling", "size=16&image=bag")
    lab.point_at("output", 4, 3, (8, 8))
    assert lab.settings["unit"] == [0, 4, 3]
    row, column = lab.shown("unit.winner")
    assert lab.shown("input")[0, row, column] == lab.shown("input")[0, 8:10, 6:8].max()
    assert f"at row {row}, column {column}" in lab.page.locator(".sum").first.inner_text()
    lab.figure("output").focus()
    lab.page.keyboard.press("ArrowDown")
    lab.settle()
    assert lab.settings["unit"] == [0, 5, 3]
    assert "5, 3" in lab.page.locator(".announce").inner_text()
    lab.figure("input").focus()
    lab.page.keyboard.press("ArrowRight")
    lab.settle()
    assert (lab.settings["dx"], lab.settings["dy"]) == (1, 0)
    assert "moved 1 to the right" in lab.page.locator(".announce").inner_text()


def test_exercises_get_done_with_the_controls_alone(lab_page):
    lab = lab_page("pooling")
    for label in ("window, down", "window, across"):
        lab.page.get_by_label(label).fill("3")
        lab.settle()
    lab.page.get_by_label("kind").select_option(label="average")
    lab.page.get_by_label("show", exact=True).select_option(label="one gradient")
    lab.settle()
    assert lab.exercises() == [False, False, True, False, False, False, False]
    lab.page.get_by_label("kind").select_option(label="adaptive")
    lab.page.get_by_label("convolution").select_option(label="vertical edges")
    lab.page.get_by_label("feature maps").fill("3")
    lab.page.get_by_label("at the edge").select_option(label="around")
    lab.page.get_by_label("down", exact=True).fill("4")
    lab.settle()
    assert lab.shown("output").shape == (3, 1, 1)
    assert lab.exercises()[6] is True


def test_smaller_windows_take_their_padding_along_and_a_link_brings_all_back(lab_page):
    lab = lab_page("pooling", "kernel=[4,4]&padding=[2,2]&pool=average")
    lab.page.get_by_label("window, down").fill("1")
    lab.settle()
    assert (lab.error, lab.settings["padding"]) == ("", [0, 2])
    lab.page.reload()
    lab.settle()
    assert (lab.settings["kernel"], lab.settings["padding"], lab.settings["pool"]) == ([1, 4], [0, 2], "average")
    lab.page.get_by_role("tab", name="Code").click()
    lab.page.wait_for_selector(".line.ran")
    assert "total / count" in " ".join(lab.page.locator(".line.ran").all_text_contents())


@pytest.mark.parametrize(("lang", "settings"), [("zh", "dx=2&padding=[1,1]"), ("en", "convolution=edges&maps=4&dx=1")])
def test_the_page_fits_a_phone_in_both_languages(lab_page, lang, settings):
    lab = lab_page("pooling", settings, lang=lang, width=390)
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert lab.page.locator("h1").inner_text() == {"en": "Pooling and shifts", "zh": "池化与平移"}[lang]
