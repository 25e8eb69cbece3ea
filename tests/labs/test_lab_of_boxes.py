import json

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torchvision import ops

import twofold
from detectors import detector_run  # noqa: F401
from labs.lab_checks import check_program, check_shell_line
from small_predictors import make
from twofold.errors import TwofoldError
from twofold.interpret import explain_detections
from twofold.labs.boxes import MOST_BOXES, RAW, BoxesLab, BoxesSettings
from twofold.labs.given import Given
from twofold.labs.host import Host
from twofold.labs.images import Opened
from twofold.labs.lab import read_settings
from twofold.labs.scene import CLASSES, SIDE, TRUTH, scene

shares = st.integers(0, 20).map(lambda twentieths: twentieths / 20)


@st.composite
def corners(draw):
    left, top = draw(st.integers(0, 120)), draw(st.integers(0, 120))
    return [left, top, draw(st.integers(left + 1, SIDE)), draw(st.integers(top + 1, SIDE))]


def computed(opened=None, **values):
    return BoxesLab(opened or Opened()).compute(read_settings(BoxesSettings, values))


@given(a=corners(), b=corners())
def test_two_boxes_are_compared_as_torchvision_does(a, b):
    shown = computed(a=a, b=b)
    first, second = torch.tensor([a]).float(), torch.tensor([b]).float()
    assert shown["iou"] == pytest.approx(float(ops.box_iou(first, second)), abs=1e-6)
    assert shown["giou"] == pytest.approx(float(ops.generalized_box_iou(first, second)), abs=1e-6)
    assert shown["a"]["centre"] == ops.box_convert(first, "xyxy", "cxcywh")[0].tolist()
    assert shown["union"] == float(ops.box_area(first) + ops.box_area(second)) - shown["intersection"]["area"]
    meet = shown["intersection"]["corners"]
    assert (meet is None) == (shown["iou"] == 0)
    if meet:
        assert float(ops.box_area(torch.tensor([meet]))) == shown["intersection"]["area"]
    assert float(ops.box_area(torch.tensor([shown["hull"]["corners"]]))) == shown["hull"]["area"]


@given(
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    maps=st.integers(1, 3),
    sizes=st.lists(st.sampled_from([0.1, 0.4, 0.75]), min_size=1, max_size=4),
    ratios=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=1, max_size=4),
    cell=st.tuples(*[st.integers(0, 9)] * 3),
)
def test_the_anchors_of_a_pixel_have_its_centre_and_their_size_and_ratio(rows, columns, maps, sizes, ratios, cell):
    shown = computed(view="anchors", rows=rows, columns=columns, maps=maps, sizes=sizes, ratios=ratios, cell=cell)
    level, row, column = shown["cell"]
    high, wide = shown["maps"][level]["size"]
    assert (high, wide) == (-(-rows // 2**level), -(-columns // 2**level))
    assert shown["total"] == sum(each["count"] for each in shown["maps"])
    own = ops.box_convert(shown["anchors"], "xyxy", "cxcywh")
    torch.testing.assert_close(own, shown["centres"], atol=1e-3, rtol=0)
    torch.testing.assert_close(own[:, 0], torch.full((len(own),), SIDE * (column + 0.5) / wide), atol=1e-3, rtol=0)
    torch.testing.assert_close(own[:, 1], torch.full((len(own),), SIDE * (row + 0.5) / high), atol=1e-3, rtol=0)
    for (size, ratio), (_, _, width, height) in zip(shown["pairs"], own.tolist(), strict=True):
        assert width * height == pytest.approx((SIDE * size) ** 2, rel=1e-4)
        assert width / height == pytest.approx(ratio, rel=1e-4)


@given(
    truth=st.lists(corners(), min_size=1, max_size=4),
    threshold=shares,
    way=st.sampled_from(["d2l", "torchvision"]),
    step=st.integers(0, 6),
)
def test_matching_step_by_step_ends_where_scratch_does(truth, threshold, way, step):
    values = {"view": "matching", "truth": truth, "classes": ["bag"] * len(truth), "way": way, "threshold": threshold}
    shown = computed(**values, match_step=step)
    overlap = ops.box_iou(shown["anchors"], torch.tensor(truth).float())
    torch.testing.assert_close(shown["iou"], overlap)
    last = computed(**values, match_step=99)
    assert torch.equal(last["matched"], last["final"])
    # What the first part gave stays; every other anchor with an object reaches the threshold.
    own = {anchor: true_box for anchor, true_box, _ in shown["first"]}
    for anchor, true_box in enumerate(shown["final"].tolist()):
        if anchor in own:
            assert true_box == own[anchor]
        else:
            assert (true_box >= 0) == bool(shown["iou"][anchor].double().max() >= threshold)
    so_far = {anchor: true_box for anchor, true_box, _ in shown["first"][: shown["step"]]}
    if shown["step"] <= len(shown["first"]):
        found = {anchor: box for anchor, box in enumerate(shown["matched"].tolist()) if box >= 0}
        assert found == so_far
    pair = shown["pair"]
    torch.testing.assert_close(torch.tensor(pair["decoded"]), shown["truth"][pair["truth"]], atol=1e-2, rtol=0)
    assert pair["said_box"] == pytest.approx(shown["anchors"][pair["anchor"]].tolist(), abs=1e-3)


@given(confidence=st.integers(1, 100).map(lambda percent: percent / 100), overlap=shares, by_class=st.booleans())
def test_suppression_is_torchvisions_and_its_steps_account_for_every_box(confidence, overlap, by_class):
    shown = computed(view="suppression", confidence=confidence, overlap=overlap, by_class=by_class)
    boxes, scores = shown["boxes"], shown["scores"]
    assert len(boxes) == sum(score >= confidence for _, score, _ in RAW)
    labels = torch.tensor([sorted(set(shown["labels"])).index(label) for label in shown["labels"]], dtype=torch.int64)
    expected = ops.batched_nms(boxes, scores, labels, overlap) if by_class else ops.nms(boxes, scores, overlap)
    assert shown["kept"].tolist() == expected.tolist()
    removed = [row for step in shown["steps"] for row, _ in step["removed"]]
    assert sorted([*removed, *(step["taken"] for step in shown["steps"])]) == list(range(len(boxes)))
    for step in shown["steps"]:
        for row, share in step["removed"]:
            assert share == pytest.approx(float(ops.box_iou(boxes[[step["taken"]]], boxes[[row]])))
            assert share > overlap


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"a": [5, 5, 5, 9]}, r"a: value error, a box is left, top, right, bottom, with left < right"),
        ({"b": [0, 0, 9, 129]}, "b.3: input should be less than or equal to 128"),
        ({"sizes": []}, "sizes: "),
        ({"view": "matching", "classes": ["bag"]}, "3 objects need as many classes, got 1"),
        ({"view": "suppression", "run": "../x"}, "there is no run '../x' here"),
        ({"image": "/etc/passwd"}, "there is no image '/etc/passwd' here"),
        ({"said": [0, 0, 0, 1e9]}, "said.3: "),
        ({"step": -1}, "step: "),
    ],
)
def test_settings_that_do_not_fit_say_why(values, words):
    with pytest.raises(ValueError, match=words):
        computed(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"a": [0, 0, 10, 10], "b": [20, 0, 30, 10]},
        {"view": "anchors", "maps": 3, "cell": [1, 1, 0], "sizes": [0.3, 0.2]},
        {"view": "anchors", "rows": 3, "cell": [0, 2, 3]},
        {"view": "matching", "said": [1, -2, 0.5, 0], "threshold": 0.3, "way": "torchvision", "image": "bag"},
        {"view": "matching", "maps": 2, "pair": [7, 1], "match_step": 0},
        {"view": "suppression", "by_class": True, "overlap": 0.15},
        {"view": "suppression", "confidence": 1},
    ],
)
def test_the_program_and_the_shell_line_give_what_is_shown(values, capfd):
    lab, read = BoxesLab(Opened()), read_settings(BoxesSettings, values)
    shown = lab.compute(read)
    check_shell_line(lab.command(read).shell, shown, capfd)
    found = check_program(lab.command(read).python)
    if read.view == "iou":
        assert float(found["union"]) == shown["union"]
        assert float(found["giou"](found["a"], found["b"])) == shown["giou"]
    elif read.view == "anchors":
        assert len(found["every"]) == shown["total"]
        assert torch.equal(found["own"], shown["anchors"])
    elif read.view == "matching":
        assert torch.equal(found["overlap"], shown["iou"])
        assert torch.equal(found["matched"], shown["final"])
        assert found["change"][0].tolist() == shown["pair"]["offsets"]
        assert found["said"][0].tolist() == shown["pair"]["said_box"]
    else:
        assert torch.equal(found["boxes"], shown["boxes"])
        assert found["kept"].tolist() == shown["kept"].tolist()


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("image", ["scene", "boot.png"])
def test_the_boxes_of_a_detector_that_was_given(detector_run, image, by_class, capfd):  # noqa: F811
    opened = Opened(Given(runs=(str(detector_run),), images=("tests/pictures/boot.png",)))
    lab = BoxesLab(opened)
    values = {"view": "suppression", "run": detector_run.name, "image": image, "confidence": 0.05, "overlap": 0.4}
    settings = read_settings(BoxesSettings, {**values, "by_class": by_class})
    shown = lab.compute(settings)
    predictor = twofold.load(detector_run, device="cpu")
    given_image = scene() if image == "scene" else "tests/pictures/boot.png"
    seen = explain_detections(predictor, predictor.pixels(given_image), threshold=0.05)
    assert shown["num_raw"] == len(seen.scores) > 0
    assert torch.equal(shown["boxes"], seen.moved[:MOST_BOXES])
    assert tuple(shown["picture"].shape[1:]) == predictor.spec.image_size
    found = check_program(lab.command(settings).python)
    assert found["kept"].tolist() == shown["kept"].tolist()
    check_shell_line(lab.command(settings).shell, shown, capfd)
    if by_class:
        assert shown["kept"].tolist()[:100] == [row for row in _kept(shown) if row < MOST_BOXES][:100]


def _kept(shown):
    labels = torch.tensor([sorted(set(shown["labels"])).index(label) for label in shown["labels"]])
    return ops.batched_nms(shown["boxes"], shown["scores"], labels, 0.4).tolist()


def test_a_network_that_finds_no_objects_says_so(monkeypatch):
    monkeypatch.setattr("twofold.inference.predictor.load", lambda path, device: make("lenet-bn"))
    opened = Opened(Given(runs=("runs/lenet",)))
    with pytest.raises(TwofoldError, match="lenet-bn finds no objects"):
        computed(opened, view="suppression", run="lenet")


def test_the_boxes_of_the_scene_are_those_of_its_garments():
    grey, colour = scene(), scene(colour=True)
    assert (grey.shape, colour.shape) == ((1, SIDE, SIDE), (3, SIDE, SIDE))
    # Around each box, and just inside each of its sides: a garment is darker or more coloured than the ground.
    ground = torch.linspace(205, 165, SIDE)[:, None] + torch.linspace(0, 25, SIDE)
    drawn = (grey[0] - ground).abs() > 1
    for name, (left, top, right, bottom) in zip(CLASSES, TRUTH, strict=True):
        inside = drawn[int(top) : int(bottom), int(left) : int(right)]
        for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
            assert edge.any(), name


SOLUTIONS = (
    {"a": [10, 10, 50, 50], "b": [30, 10, 70, 50]},
    {"a": [0, 0, 10, 10], "b": [100, 100, 120, 120]},
    {"view": "anchors", "sizes": [0.2, 0.4, 0.6]},
    {"view": "matching", "truth": [[0, 0, 8, 8]], "classes": ["bag"]},
    {
        "view": "matching",
        "truth": [[40, 40, 80, 80]],
        "classes": ["bag"],
        "rows": 1,
        "columns": 1,
        "said": [-1.2, -1.2, 1.1, 1.1],
    },
    {
        "view": "matching",
        "way": "torchvision",
        "truth": [[20, 20, 60, 60], [22, 22, 62, 62]],
        "classes": ["bag", "bag"],
    },
    {"view": "suppression", "confidence": 0.3, "overlap": 0.5},
    {"view": "suppression", "by_class": True, "overlap": 0.5},
)


def test_every_exercise_can_be_done_and_is_not_at_first():
    lab = BoxesLab(Opened())
    for exercise, values in zip(lab.exercises, SOLUTIONS, strict=True):
        for view in ("iou", "anchors", "matching", "suppression"):
            start = BoxesSettings(view=view)
            assert not exercise.is_done(start, lab.compute(start)), exercise.en
        solved = read_settings(BoxesSettings, values)
        assert exercise.is_done(solved, lab.compute(solved)), exercise.en


# In a browser


def drag(lab, start, end, *, side=SIDE, steps=10):
    """Drag from one place of the image to another, both in its pixels."""
    box = lab.figure("image with boxes").bounding_box()
    scale = box["width"] / side
    lab.page.mouse.move(box["x"] + start[0] * scale, box["y"] + start[1] * scale)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + end[0] * scale, box["y"] + end[1] * scale, steps=steps)
    lab.page.mouse.up()
    lab.settle()


def test_boxes_are_moved_and_resized_by_pointer_and_keys(lab_page):
    lab = lab_page("boxes", "a=[10,10,50,50]&b=[60,60,120,100]")
    drag(lab, (30, 30), (40, 35))  # the middle of A
    assert lab.settings["a"] == [20, 15, 60, 55]
    drag(lab, (60, 100), (30, 110))  # the lower left corner of B
    assert lab.settings["b"] == [30, 60, 120, 110]
    drag(lab, (75, 60), (75, 25))  # its upper edge
    assert lab.settings["b"] == [30, 25, 120, 110]
    drag(lab, (30, 18), (-300, 18))  # A goes no further than the image
    assert lab.settings["a"] == [0, 15, 40, 55]
    # By keys: B is the last that was held but one; Enter goes to the next.
    lab.figure("image with boxes").focus()
    lab.page.keyboard.press("Enter")
    lab.page.keyboard.press("ArrowDown")
    lab.page.keyboard.press("Shift+ArrowLeft")
    lab.settle()
    assert lab.settings["b"] == [30, 26, 119, 111]
    assert "B: 30, 26, 119, 111" in lab.page.locator(".announce").inner_text()
    expected = computed(a=[0, 15, 40, 55], b=[30, 26, 119, 111])
    assert lab.shown("iou") == pytest.approx(expected["iou"])
    assert str(round(expected["iou"], 3)) in lab.page.locator(".stage").inner_text()
    # The intersection is shaded yellow, and what is in no box is grey as the scene.
    pixels = lab.colours("image with boxes", SIDE, SIDE)
    assert pixels[40, 35][0] > pixels[40, 35][2] + 40
    assert np.ptp(pixels[124, 124].astype(int)) < 3


def test_the_exercises_of_two_boxes_get_done(lab_page):
    lab = lab_page("boxes", "a=[10,10,50,50]&b=[60,10,100,50]")
    assert lab.exercises()[0] is False
    drag(lab, (80, 30), (50, 30))
    assert lab.settings["b"] == [30, 10, 70, 50]
    assert lab.exercises()[:2] == [True, False]
    drag(lab, (60, 40), (120, 128))
    drag(lab, (20, 20), (0, 0))
    lab.until("settings.a[0] === 0")
    drag(lab, (40, 40), (10, 10))
    assert lab.exercises()[:2] == [True, True]


def test_a_pixel_of_the_map_is_clicked_and_walked(lab_page):
    lab = lab_page("boxes", "view=anchors")
    lab.point_at("image with boxes", 2, 3, (4, 4), press=True)
    assert lab.settings["cell"] == [0, 2, 3]
    lab.figure("image with boxes").focus()
    lab.page.keyboard.press("ArrowUp")
    lab.settle()
    assert lab.settings["cell"] == [0, 1, 3]
    np.testing.assert_allclose(lab.shown("anchors"), computed(view="anchors", cell=[0, 1, 3])["anchors"], rtol=1e-6)
    lab.page.get_by_role("button", name="+ size").click()
    lab.settle()
    assert len(lab.settings["sizes"]) == 3
    assert lab.exercises()[2] is True
    assert "3 sizes + 3 ratios − 1 = 5 anchors a pixel, 80 in all" in lab.page.locator(".stage").inner_text()


def test_matching_walks_and_a_pair_is_decoded_by_hand(lab_page):
    lab = lab_page("boxes", "view=matching")
    assert lab.shown("step") == 1
    for _ in range(3):
        lab.page.get_by_role("button", name="Next step").click()
        lab.settle()
    assert "Last: of the anchors left" in lab.page.locator(".story").inner_text()
    np.testing.assert_array_equal(lab.shown("matched"), lab.shown("final"))
    wanted = lab.shown("pair.offsets")
    for label, value in zip(("t_x", "t_y", "t_w", "t_h"), wanted, strict=True):
        lab.page.get_by_label(label, exact=True).fill(str(round(value, 1)))
        lab.settle()
    assert lab.shown("pair.said_iou") > 0.9
    assert lab.exercises()[4] is True
    table = lab.page.get_by_label("intersection over union: arrow keys choose a pair")
    table.focus()
    lab.page.keyboard.press("ArrowLeft")
    lab.settle()
    assert lab.settings["pair"] == [lab.shown("pair.anchor"), 1]
    drag(lab, (98, 26), (98, 60))  # the bag
    assert lab.settings["truth"][2] == [79, 47, 118, 73]


def test_suppression_is_walked_and_the_address_holds_it(lab_page):
    lab = lab_page("boxes", "view=suppression&step=0")
    assert "All boxes wait" in lab.page.locator(".story").inner_text()
    lab.page.get_by_role("button", name="Next step").click()
    lab.settle()
    story = lab.page.locator(".story").inner_text()
    assert story.startswith("Step 1 of 9: 1 pullover has the highest score left, 0.95: it stays.")
    assert f"3 (IoU {lab.shown('steps')[0]['removed'][0][1]:.2f})" in story
    lab.page.locator(".lab").get_by_label("IoU threshold").last.fill("0.15")
    lab.settle()
    lab.page.get_by_label("class by class").check()
    lab.settle()
    assert lab.exercises()[7] is True
    link = lab.page.url
    kept = lab.shown("kept").tolist()
    lab.page.reload()
    assert lab.settle().shown("kept").tolist() == kept
    lab.page.goto(link.replace("by_class", "by-class"))
    lab.page.goto(link)
    assert lab.settle().shown("kept").tolist() == kept
    box = lab.figure("image with boxes").bounding_box()
    lab.page.mouse.move(box["x"] + 10 / SIDE * box["width"], box["y"] + 10 / SIDE * box["height"])
    lab.page.wait_for_selector("tr.chosen")
    assert "bag 0.22" in lab.page.locator(".announce").inner_text()


def test_a_detector_in_the_page(lab_page, detector_run):  # noqa: F811
    with Host(Given(runs=(str(detector_run),))) as host:
        lab = lab_page("boxes", "view=suppression&confidence=0.05", host=host)
        lab.page.get_by_label("boxes", exact=True).select_option(label=f"detector {detector_run.name}")
        lab.settle()
        assert lab.error == ""
        assert lab.shown("picture").shape == (1, 64, 64)
        assert f"run={detector_run.name}" in lab.command()[0]
        assert json.dumps(lab.settings["run"]) == json.dumps(detector_run.name)


@pytest.mark.parametrize("view", ["iou", "anchors", "matching", "suppression"])
def test_every_view_fits_a_phone(lab_page, view):
    lab = lab_page("boxes", f"view={view}&match_step=9", lang="zh", width=390)
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert lab.page.locator("h1").inner_text() == "边界框"
