import numpy as np
import pytest
import torch
from hypothesis import given, settings as hypothesis_settings, strategies as st
from PIL import Image

import twofold.figures.gallery
from labs.lab_checks import check_program, check_shell_line
from twofold.augment import POLICIES, create_policy, parse_policy, spelled_out
from twofold.cli.main import main
from twofold.errors import TwofoldError
from twofold.labs.augmentation import SLIDERS, AugmentationLab, AugmentationSettings
from twofold.labs.given import Given
from twofold.labs.images import Opened
from twofold.labs.lab import read_settings

BOOT = "tests/pictures/boot.png"
ALL = (
    "flip(vertical=0.3) + zoom_out(probability=1, sides=(1, 1.5)) + iou_crop() + colour_jitter(brightness=0.3, hue=0.2)"
)


def computed(opened=None, **values):
    return AugmentationLab(opened or Opened()).compute(read_settings(AugmentationSettings, values))


@pytest.fixture
def photo(tmp_path):
    """A photograph in colour, larger than what the labs keep of what a page sends."""
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (9, 12, 3), dtype=torch.uint8, generator=generator).numpy()
    Image.fromarray(small).resize((720, 560), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@hypothesis_settings(max_examples=15)
@given(
    policy=st.sampled_from([ALL, "d2l", "ssd", "strong", "flip-crop", "none", "sometimes(grey(), probability=0.5)"]),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
    picked=st.integers(0, 20),
    boxes=st.sampled_from([None, [], [[0.25, 0.25, 0.5, 0.75]]]),
)
def test_draws_are_those_of_the_policy_and_the_steps_end_in_one(policy, seed, epoch, picked, boxes):
    shown = computed(policy=policy, seed=seed, epoch=epoch, picked=picked, boxes=boxes, size=64)
    made = create_policy(policy, (64, 64))
    picked = min(picked, 10)
    assert shown["draws"].shape == (11, 3, 64, 64)
    if made is None:
        assert (shown["draws"] == shown["original"]).all()
        return
    # One by one, as `twofold augment` draws them.
    params = made.draw(seed=seed, epoch=epoch, indices=torch.tensor([picked]))
    if len(shown["boxes"]):
        params = made.choose(params, shown["boxes"][None], (64, 64))
    assert torch.equal(made.apply(shown["original"][None], params)[0], shown["draws"][picked])
    assert made.describe(params)[0] == shown["phrases"][picked]
    torch.testing.assert_close(made.move_boxes(shown["boxes"][None], params, (64, 64))[0], shown["moved"][picked])
    last = shown["steps"][-1]
    assert (last["image"].int() - shown["draws"][picked].int()).abs().max() <= 2
    torch.testing.assert_close(last["boxes"], shown["moved"][picked])
    assert [phrase for step in shown["steps"] for phrase in step["phrases"]] == shown["phrases"][picked]


def test_steps_are_made_by_the_readable_code():
    steps = computed(policy=ALL, boxes=None)["steps"]
    assert [(step["operation"], step["readable"]) for step in steps] == [
        ("Flip", True),
        ("ZoomOut", True),
        ("IouCrop", True),
        ("ColourJitter", True),
    ]
    assert computed(policy="grey(probability=1)")["steps"][0]["readable"] is False


@pytest.mark.parametrize("policy", [*POLICIES, ALL, "flip() + sometimes(cutout(side=3) + grey(), probability=0.25)"])
def test_a_policy_in_parts_spells_itself(policy):
    parts = computed(policy=policy)["parts"]
    assert parse_policy(" + ".join(part["text"] for part in parts)) == parse_policy(policy)


@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_named_policy_spelled_out_draws_the_same(policy):
    named, spelled = computed(policy=policy), computed(policy=spelled_out(policy))
    assert torch.equal(named["draws"], spelled["draws"])


def test_every_slider_is_a_setting_that_an_operation_takes():
    for name, own in SLIDERS.items():
        for setting, (low, high, _) in own.items():
            usual = AugmentationLab(Opened()).about()["operations"][name]
            assert setting in [each["name"] for each in usual["settings"]]
            if name == "sometimes":
                continue
            is_pair = isinstance(next(s["usual"] for s in usual["settings"] if s["name"] == setting), tuple)
            needed = {"gaussian_blur": {"kernel_size": 3}, "cutout": {"side": 9}}.get(name, {})
            value = (low, high) if is_pair else low
            words = ", ".join(f"{key}={each!r}" for key, each in {**needed, setting: value}.items())
            create_policy(f"{name}({words})", (8, 8) if name == "zoom_out" else (3, 3))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"policy": "flop()"}, "unknown operation 'flop'"),
        ({"policy": "flip(horizontal=2)"}, "horizontal must lie in 0..1, got 2"),
        ({"policy": "__import__('os')"}, "unknown operation"),
        ({"policy": "flip("}, "cannot be read"),
        ({"policy": "x" * 2000}, "policy: string should have at most 1000 characters"),
        ({"policy": "cutout(side=500)"}, "leaves a single colour"),
        ({"policy": "rand_augment(num_changes=100000)"}, "num_changes of rand_augment is at most 16"),
        ({"policy": "flip_crop(padding=100000)"}, "padding of flip_crop is at most 128"),
        ({"policy": "sometimes(gaussian_blur(kernel_size=255), probability=1)"}, "kernel_size of gaussian_blur is"),
        ({"policy": " + ".join(["rand_augment(num_changes=16)"] * 9)}, "makes 144 changes to an image"),
        ({"boxes": [[0.5, 0, 0.5, 1]]}, "boxes.0: value error, a box is left, top"),
        ({"size": 1000}, "size: "),
        ({"image": "../x"}, "there is no image '../x' here"),
    ],
)
def test_settings_that_do_not_fit_say_why(values, words):
    with pytest.raises((ValueError, TwofoldError), match=words) as caught:
        computed(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"policy": "ssd", "seed": 3, "epoch": 2, "rows": 1, "boxes": [[0.1, 0.2, 0.6, 0.9]], "size": 48},
        {"image": "bag", "policy": "flip-shift", "rows": 1},
        {"policy": "none", "rows": 1, "size": 16},
        {"image": "boot.png", "policy": "iou_crop()", "rows": 1, "boxes": [[0, 0, 0.5, 0.5]]},
    ],
)
def test_the_program_and_the_shell_line_give_what_is_shown(values, capfd):
    opened = Opened(Given(images=(BOOT,)))
    lab, read = AugmentationLab(opened), read_settings(AugmentationSettings, values)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    assert torch.equal(found["images"], shown["draws"])
    if len(shown["boxes"]) and read.policy != "none":
        torch.testing.assert_close(found["boxes"], shown["moved"])
    check_shell_line(lab.command(read).shell, shown, capfd)


@pytest.mark.parametrize("image", ["boot", "photo"])
@pytest.mark.parametrize(
    "values",
    [
        {"policy": "d2l", "seed": 7, "rows": 2},
        {"policy": ALL, "rows": 1, "size": 40},
        {"policy": "light", "rows": 1, "boxes": [[0, 0, 0.5, 0.5]]},
    ],
)
def test_the_verb_draws_the_same_pixels(values, image, photo, tmp_path, monkeypatch):
    path = BOOT if image == "boot" else str(photo)
    opened = Opened(Given(images=(path,)))
    lab = AugmentationLab(opened)
    read = read_settings(AugmentationSettings, {**values, "image": opened.names[0]})
    drawn = {}

    def keep(original, changed, captions, **words):
        drawn.update(original=original, changed=torch.stack(list(changed)), captions=captions)
        raise TwofoldError("drawn")

    monkeypatch.setattr(twofold.figures.gallery, "draw_gallery", keep)
    line = lab.command(read).shell
    assert line.startswith("twofold augment ")
    import shlex

    assert main(shlex.split(line)[1:]) == 2
    shown = lab.compute(read)
    assert torch.equal(drawn["original"], shown["original"])
    assert torch.equal(drawn["changed"], shown["draws"])
    assert [list(each) for each in drawn["captions"]] == shown["phrases"]
    found = check_program(lab.command(read).python)
    assert torch.equal(found["images"], shown["draws"])


def test_the_verb_opens_the_lab_with_its_settings(monkeypatch):
    asked = {}

    def open_lab(name, words, given):
        asked.update(name=name, words=words, given=given)
        return 0

    monkeypatch.setattr("twofold.cli.lab.open_lab", open_lab)
    words = ["--augment", ALL, "--seed", "4", "--rows", "3", "--image-size", "20", "--lab"]
    assert main(["augment", BOOT, *words]) == 0
    from twofold.labs.lab import read_words

    read = read_words(AugmentationSettings, asked["words"])
    assert (read.policy, read.seed, read.rows, read.size) == (ALL, 4, 3, 20)
    assert (asked["name"], asked["given"]) == ("augmentation", Given(images=(BOOT,)))
    assert main(["augment", BOOT, "--lab"]) == 0
    assert read_words(AugmentationSettings, asked["words"]).policy == "d2l"


SOLUTIONS = (
    {"policy": "flip(horizontal=1)"},
    {"policy": "colour_jitter(hue=0.3)"},
    {"policy": "resized_crop(scale=(0.05, 0.2))", "picked": 2},
    {"policy": "resized_crop(scale=(0.05, 0.1))", "picked": 1},
    {"policy": "iou_crop()"},
    {"policy": "zoom_out(sides=(2, 3), probability=1)"},
)


def test_every_exercise_can_be_done_and_is_not_at_first():
    lab = AugmentationLab(Opened())
    for exercise, values in zip(lab.exercises, SOLUTIONS, strict=True):
        start = AugmentationSettings()
        assert not exercise.is_done(start, lab.compute(start)), exercise.en
        solved = read_settings(AugmentationSettings, values)
        assert exercise.is_done(solved, lab.compute(solved)), exercise.en


# In a browser: small images, as reading arrays out of a page takes long.


def test_a_policy_is_built_by_sliders_and_the_pictures_follow(lab_page):
    lab = lab_page("augmentation", "policy=grey()&size=32&rows=1")
    lab.page.get_by_label("add an operation").select_option(label="flip")
    lab.settle()
    assert lab.settings["policy"] == "grey() + flip()"
    lab.page.get_by_label("flip: left to right").fill("1")
    lab.settle()
    assert lab.settings["policy"] == "grey() + flip(horizontal=1)"
    assert lab.exercises()[0] is True
    lab.page.get_by_label("remove: grey").click()
    lab.settle()
    assert lab.settings["policy"] == "flip(horizontal=1)"
    # Each small picture is the original, mirrored.
    start = lab.shown("original")
    np.testing.assert_array_equal(lab.shown("draws")[4], start[:, :, ::-1])
    canvas = lab.figure("draw 4")
    pixel = canvas.evaluate("(canvas) => Array.from(canvas.getContext('2d').getImageData(5, 9, 1, 1).data).slice(0, 3)")
    assert pixel == start[:, 9, -6].tolist()
    moved = lab.shown("moved")[0]
    np.testing.assert_allclose(moved[0], [32 - 18, 8, 32 - 4, 26])
    assert "mirrored" in lab.page.locator(".stage").inner_text()


def test_the_text_is_edited_and_a_wrong_one_says_why(lab_page):
    lab = lab_page("augmentation", "size=32&rows=1")
    field = lab.page.get_by_label("policy", exact=True)
    field.fill("flip(horizontal=3)")
    field.press("Enter")
    lab.settle()
    assert lab.error == "horizontal must lie in 0..1, got 3"
    field.fill("zoom_out(sides=(2, 2.5), probability=1)")
    field.press("Enter")
    lab.settle()
    assert lab.error == ""
    assert lab.page.get_by_label("zoom out: sides, least").input_value() == "2"
    assert lab.exercises()[5] is True
    lab.page.get_by_label("ready-made").select_option(label="ssd")
    lab.settle()
    assert lab.settings["policy"] == spelled_out("ssd")
    link = lab.page.url
    draws = lab.shown("draws")
    lab.page.reload()
    np.testing.assert_array_equal(lab.settle().shown("draws"), draws)
    lab.page.get_by_label("seed").fill("5")
    lab.settle()
    assert (lab.shown("draws") != draws).any()
    lab.page.goto(link)
    np.testing.assert_array_equal(lab.settle().shown("draws"), draws)


def test_a_box_is_dragged_and_a_draw_is_picked(lab_page):
    lab = lab_page("augmentation", "policy=iou_crop()&size=64&rows=1")
    board = lab.figure("original").first.bounding_box()
    scale = board["width"] / 64
    lab.page.mouse.move(board["x"] + 13 * scale, board["y"] + 40 * scale)
    lab.page.mouse.down()
    lab.page.mouse.move(board["x"] + 18 * scale, board["y"] + 45 * scale, steps=6)
    lab.page.mouse.up()
    lab.settle()
    assert lab.shown("boxes")[0].tolist() == [13, 22, 41, 58]
    assert len(lab.settings["boxes"]) == 2
    assert lab.exercises()[4] is True
    lab.page.get_by_role("button", name="draw 3").click()
    lab.settle()
    assert lab.settings["picked"] == 3
    lab.figure("picked draw").focus()
    lab.page.keyboard.press("ArrowRight")
    lab.settle()
    assert lab.settings["picked"] == 4
    expected = computed(policy="iou_crop()", size=64, rows=1, picked=4, boxes=lab.settings["boxes"])
    np.testing.assert_allclose(lab.shown("moved"), expected["moved"], atol=1e-3)
    np.testing.assert_array_equal(lab.shown("draws"), expected["draws"])
    lab.page.get_by_role("button", name="Add a box").click()
    lab.settle()
    assert len(lab.shown("boxes")) == 3


@pytest.mark.parametrize(("lang", "scheme"), [("zh", "dark"), ("en", "light")])
def test_the_page_fits_a_phone(lab_page, lang, scheme):
    lab = lab_page("augmentation", "policy=ssd&rows=1", lang=lang, width=390, color_scheme=scheme)
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    if lang == "zh":
        text = lab.page.locator(".stage").inner_text()
        assert "裁剪" in text
        assert "crop" not in text.replace("iou_crop", "")


def test_a_policy_of_nothing_leaves_each_draw_unchanged(lab_page):
    lab = lab_page("augmentation", "policy=none&rows=1")
    assert lab.shown("phrases") == [[]] * 5
    assert lab.page.locator(".lab").inner_text().count("unchanged") >= 5
