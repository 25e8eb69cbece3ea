import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from labs.lab_checks import check_program, check_shell_line
from twofold.labs.images import Opened
from twofold.labs.lab import read_settings
from twofold.labs.shapes import EXAMPLES, ShapesLab, ShapesSettings, read_tensor


def computed(**values):
    return ShapesLab(Opened()).compute(read_settings(ShapesSettings, values))


@pytest.mark.parametrize(("expression", "tensors"), EXAMPLES)
def test_the_program_and_the_shell_line_of_each_example_give_what_is_shown(expression, tensors, capfd):
    lab = ShapesLab(Opened())
    settings = ShapesSettings(expression=expression, tensors=tensors, at=(1, 0))
    shown = lab.compute(settings)
    assert shown["failed"] is None
    command = lab.command(settings)
    assert torch.equal(check_program(command.python)["y"], shown["nodes"][-1]["values"])
    check_shell_line(command.shell, shown, capfd)


def test_own_values_and_what_fails_are_in_the_commands_too(capfd):
    lab = ShapesLab(Opened())
    settings = ShapesSettings(expression="stack([a, c])[1] * -2", tensors={"c": "1x2:0.5,-3", "a": "1x2"})
    shown = lab.compute(settings)
    assert shown["nodes"][-1]["values"].tolist() == [[-1.0, 6.0]]
    command = lab.command(settings)
    assert "c = torch.tensor([[0.5, -3.0]])" in command.python
    assert torch.equal(check_program(command.python)["y"], shown["nodes"][-1]["values"])
    broken = ShapesSettings(expression="a + b", tensors={"a": "2x3", "b": "2"})
    shown = lab.compute(broken)
    assert shown["failed"]["why"].startswith("(2, 3) + (2,) do not fit")
    assert [node["text"] for node in shown["nodes"]] == ["a", "b"]
    with pytest.raises(RuntimeError, match="must match"):
        check_program(lab.command(broken).python)
    check_shell_line(lab.command(broken).shell, shown, capfd)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 3))
def test_a_tensor_without_values_counts_by_a_power_of_ten(sizes, place):
    text = "x".join(map(str, sizes))
    count = int(np.prod(sizes))
    expected = (torch.arange(float(count)) * 10**place).reshape(sizes)
    assert torch.equal(read_tensor(text, place), expected)
    listed = ",".join(f"{value:g}" for value in expected.flatten().tolist())
    assert torch.equal(read_tensor(f"{text}:{listed}", place), expected)


def test_what_is_lit_is_what_an_element_comes_from_and_goes_into():
    # y = (a @ b) + c: element (1, 1) of the product is row 1 of a and column 1 of b, and goes into y[1, 1].
    values = {"expression": "a @ b + c", "tensors": {"a": "2x3", "b": "3x4", "c": "4"}}
    lit = computed(**values, at=[2, 5])["lit"]
    assert lit["from"] == [[3, 4, 5], [1, 5, 9], [5], [], []]
    assert lit["to"] == [[], [], [5], [], [5]]
    # An element of c is repeated in every row.
    assert computed(**values, at=[3, 2])["lit"]["to"] == [[], [], [], [2], [2, 6]]
    # And through all parts down to the tensors.
    assert computed(**values, at=[4, 0])["lit"]["from"] == [[0, 1, 2], [0, 4, 8], [0], [0], [0]]
    assert computed(at=[99, 0])["lit"] is computed(at=[0, 6])["lit"] is None


def test_an_element_keeps_the_tensors_it_is_made_of():
    shown = computed(expression="cat([a, b[None]]) + b", tensors={"a": "2x3", "b": "3"})
    origins = shown["nodes"][-1]["origins"].tolist()
    assert origins[0] == [0, 64, -1]  # a[0, 0] and b[0]
    assert origins[8] == [66, -1, -1]  # b[2] + b[2]
    assert computed(expression="a.sum(0) + a[0]")["nodes"][-1]["origins"].tolist() == [[-1] * 3] * 3
    assert computed(expression="a.sum(0)")["nodes"][-1]["origins"].tolist() == [[-1] * 3] * 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"expression": "open('/etc/passwd')"}, "there is no operation open"),
        ({"expression": "a +"}, "the expression cannot be read: invalid syntax"),
        ({"expression": "7"}, "there is no tensor in it; there are a, b"),
        ({"expression": "a" * 401}, "expression: string should have at most 400 characters"),
        ({"expression": "e.T"}, "there is no tensor e; there are a, b"),
        ({"tensors": {}}, "tensors: dictionary should have at least 1 item"),
        ({"tensors": {"e": "2"}}, "string should match pattern"),
        ({"tensors": {"__class__": "2"}}, "string should match pattern"),
        ({"tensors": {"a": "0x3"}}, "a shape is sizes such as 2x3, got '0x3'"),
        ({"tensors": {"a": "99x99x99"}}, "at most 4 dimensions and 64 elements, got 99x99x99"),
        ({"tensors": {"a": "1x1x1x1x1"}}, "at most 4 dimensions"),
        ({"tensors": {"a": "2:1,2,3"}}, "a tensor of shape 2 has 2 values, got 3"),
        ({"tensors": {"a": "2:1,x"}}, "values are numbers with commas between them"),
        ({"tensors": {"a": "2:1,nan"}}, "values are at most 1,000,000"),
        ({"tensors": {"a": "1:1e9"}}, "values are at most 1,000,000"),
        ({"at": [-1, 0]}, "greater than or equal to 0"),
    ],
)
def test_settings_that_do_not_fit_say_why(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        computed(**values)
    assert len(str(caught.value).splitlines()) == 1


SOLVED = (
    {"expression": "a[None, None]"},
    {"expression": "a + b"},
    {"expression": "a + b[:, None]", "tensors": {"a": "2x3", "b": "2"}},
    {"expression": "a.reshape(2, -1)", "tensors": {"a": "2x3x4"}},
    {"expression": "a.permute(2, 0, 1)", "tensors": {"a": "2x3x4"}},
    {"expression": "a @ a.T"},
    {"expression": "a - a.mean(1, keepdim=True)"},
)


def test_each_exercise_is_done_by_its_answer_alone():
    for i, values in enumerate(SOLVED):
        settings, shown = read_settings(ShapesSettings, values), computed(**values)
        done = [each.is_done(settings, shown) for each in ShapesLab.exercises]
        assert done == [i == j for j in range(len(SOLVED))], values


@pytest.mark.parametrize(
    ("number", "values"),
    [
        (2, {"expression": "a + b", "tensors": {"a": "2x3", "b": "2"}}),
        (2, {"expression": "a + b", "tensors": {"a": "2x3", "b": "2x1"}}),
        (4, {"expression": "a.reshape(4, 2, 3)", "tensors": {"a": "2x3x4"}}),
        (3, {"expression": "a.flatten()", "tensors": {"a": "2x3x4"}}),
        (1, {"expression": "a + b", "tensors": {"a": "2x3", "b": "2x1"}}),
        (0, {"expression": "a[None]"}),
        (6, {"expression": "a - a.mean(0)"}),
        (0, {"expression": "b", "tensors": {"b": "1x1x2x3"}}),
    ],
)
def test_what_only_looks_like_an_answer_is_none(number, values):
    settings, shown = read_settings(ShapesSettings, values), computed(**values)
    assert not ShapesLab.exercises[number].is_done(settings, shown)


# In a browser. Elements stand still: what is tested is where they are.


def write(lab, text):
    field = lab.page.get_by_label("expression", exact=True)
    field.fill(text)
    field.press("Enter")
    lab.settle()


def resize(lab, name, shape):
    field = lab.page.get_by_label(f"shape of {name}")
    field.fill(shape)
    field.press("Enter")
    lab.settle()


def place(lab, step, table, element):
    """Return where an element of a table of a step is in the window, from the page that drew it."""
    script = """([step, table, element]) => {
      const canvas = document.querySelectorAll(".step canvas")[step], area = canvas.getBoundingClientRect();
      const { items, side } = canvas.step, [x, y] = items.filter((item) => item.node)[table].place(element);
      return [area.left + x + side / 2, area.top + y + side / 2, side];
    }"""
    return lab.page.evaluate(script, [step, table, element])


def colour(lab, step, table, element, where=(-0.35, -0.3)):
    """Return the colour near the upper left corner of an element."""
    x, y, side = place(lab, step, table, element)
    script = """([step, x, y]) => {
      const canvas = document.querySelectorAll(".step canvas")[step], area = canvas.getBoundingClientRect();
      const copy = new OffscreenCanvas(canvas.width, canvas.height), ratio = canvas.width / area.width;
      const pen = copy.getContext("2d", { willReadFrequently: true });
      pen.drawImage(canvas, 0, 0);
      return Array.from(pen.getImageData((x - area.left) * ratio, (y - area.top) * ratio, 1, 1).data).slice(0, 3);
    }"""
    return lab.page.evaluate(script, [step, x + side * where[0], y + side * where[1]])


def test_the_pointer_shows_where_an_element_comes_from(lab_page):
    lab = lab_page("shapes", reduced_motion="reduce")
    write(lab, "a @ a.T")
    x, y, _ = place(lab, 1, 2, 1)
    lab.page.mouse.move(x, y)
    lab.until("settings.at !== null")
    assert lab.settings["at"] == [2, 1]
    assert lab.shown("lit.from") == [[0, 1, 2, 3, 4, 5], [1, 3, 5], [1]]
    assert lab.page.locator(".step .sum").nth(1).inner_text() == "y[0, 1] = 0·3 + 1·4 + 2·5 = 14"
    assert "14" in lab.page.locator(".announce").inner_text()
    # An element of the tensor itself, in the first step.
    x, y, _ = place(lab, 0, 0, 5)
    lab.page.mouse.move(x, y)
    lab.until("settings.at[0] === 0")
    assert lab.settings["at"] == [0, 5]
    assert lab.page.locator(".told").inner_text() == "a[1, 2] = 5 goes into 3 elements of the result"
    # By keys: one to the right in the result, then on to the next table.
    lab.page.locator(".step canvas").nth(1).focus()
    for key, at in (("ArrowUp", [0, 2]), ("Enter", [1, 0]), ("Enter", [2, 0]), ("ArrowDown", [2, 2])):
        lab.page.keyboard.press(key)
        lab.settle()
        assert lab.settings["at"] == at


def test_elements_take_their_colours_along(lab_page):
    lab = lab_page("shapes", reduced_motion="reduce")
    write(lab, "a.permute(1, 0)")
    sources = lab.shown("nodes.1.sources.0").flatten().astype(int).tolist()
    assert sources == [0, 3, 1, 4, 2, 5]
    tensor = [colour(lab, 0, 0, i) for i in range(6)]
    assert len({tuple(each) for each in tensor}) == 6
    assert [colour(lab, 0, 1, i) for i in range(6)] == [tensor[i] for i in sources]
    # A sum of two is half of each.
    write(lab, "a + b")
    left, right = (-0.35, -0.3), (0.35, -0.3)
    for i in range(6):
        assert colour(lab, 0, 2, i, left) == colour(lab, 0, 0, i, left)
        assert colour(lab, 0, 2, i, right) == colour(lab, 0, 1, i % 3, left)


def test_exercises_are_done_by_typing_and_a_mistake_says_which_shapes_do_not_fit(lab_page):
    lab = lab_page("shapes", reduced_motion="reduce")
    resize(lab, "b", "(2,)")
    assert lab.settings["tensors"] == {"a": "2x3", "b": "2"}
    write(lab, "a + b")
    told = lab.page.locator(".told").inner_text()
    assert told == "a + b: (2, 3) + (2,) do not fit: counted from the right, 3 meets 2, and neither is 1"
    assert lab.page.locator(".step td", has_text="✗").all_inner_texts() == ["3 ✗", "2 ✗"]
    assert lab.exercises() == [False] * 7
    write(lab, "a + b.unsqueeze(1)")
    assert lab.exercises()[2] is True
    assert lab.page.locator(".told").inner_text() == ""
    write(lab, "open('x')")
    assert lab.error.startswith("there is no operation open")
    assert lab.page.locator(".step").count() == 2  # what was there stays
    lab.page.get_by_label("values of b").fill("5, -1")
    lab.page.get_by_label("values of b").press("Enter")
    write(lab, "b * a.T")
    assert (lab.error, lab.settings["tensors"]["b"]) == ("", "2:5,-1")
    np.testing.assert_array_equal(lab.shown("nodes.3.values"), [[0, -3], [5, -4], [10, -5]])
    lab.page.get_by_label("examples").select_option(label="a @ b")
    lab.settle()
    assert (lab.settings["tensors"], lab.shown("nodes.2.values").shape) == ({"a": "2x3", "b": "3x4"}, (2, 4))


def test_elements_move_into_place_unless_motion_is_reduced(lab_page):
    lab = lab_page("shapes", "expression=a.T")
    lab.page.wait_for_selector("[data-moving=yes]")
    lab.page.wait_for_selector("[data-moving=no]")
    still = lab_page("shapes", "expression=a.T", reduced_motion="reduce")
    assert still.page.locator("[data-moving=no]").count() == 1
    assert [colour(lab, 0, 1, i) for i in range(6)] == [colour(still, 0, 1, i) for i in range(6)]
    still.page.get_by_role("button", name="Move again").click()
    still.page.wait_for_selector("[data-moving=yes]")


def test_the_address_holds_the_state(lab_page):
    lab = lab_page(
        "shapes", 'expression=a.flatten()&tensors={"a":"2x2:1,2,3,4","c":"3"}&at=[1,2]', reduced_motion="reduce"
    )
    assert lab.shown("lit.from") == [[2], [2]]
    lab.page.get_by_role("button", name="remove c").click()
    lab.settle()
    link = lab.page.url
    lab.page.goto("about:blank")
    lab.page.goto(link)
    lab.settle()
    assert lab.settings == {"expression": "a.flatten()", "tensors": {"a": "2x2:1,2,3,4"}, "at": None}
    lab.page.get_by_role("tab", name="Code").click()
    lab.page.wait_for_selector(".line.ran")
    assert "torch.arange(each.numel())" in " ".join(lab.page.locator(".line.ran").all_text_contents())


@pytest.mark.parametrize(
    ("lang", "settings"),
    [
        ("zh", 'expression=a.permute(2,0,1)&tensors={"a":"2x3x4"}'),
        ("en", 'expression=a*b&tensors={"a":"8x8","b":"8x1"}'),
    ],
)
def test_the_page_fits_a_phone_in_both_languages(lab_page, lang, settings):
    lab = lab_page("shapes", settings, lang=lang, width=390, reduced_motion="reduce")
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert lab.page.locator("h1").inner_text() == {"en": "Shapes", "zh": "形状"}[lang]
    box = lab.page.locator(".step canvas").bounding_box()
    assert box["width"] <= 380
