import json
import math
import shlex

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import twofold.cli.lab
from labs.lab_checks import check_program
from twofold.cli.main import main
from twofold.labs.descent import DescentLab, DescentSettings
from twofold.labs.images import Opened
from twofold.labs.lab import read_settings, read_words
from twofold.landscape import SURFACES, find_surface
from twofold.scratch.optim import RULES

RATES = [0.001, 0.05, 0.4, 3.0]
settings = st.fixed_dictionaries(
    {
        "surface": st.sampled_from([*SURFACES, "sin(x*y) + x**2 + y**2/9", "-x**2 + x**4/9"]),
        "rules": st.lists(st.sampled_from(list(RULES)), min_size=1, max_size=3, unique=True),
        "lr": st.fixed_dictionaries({rule: st.sampled_from(RATES) for rule in RULES}),
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "gamma": st.sampled_from([0.5, 0.9]),
        "beta2": st.sampled_from([0.9, 0.999]),
        "epsilon": st.sampled_from([None, 1e-3, 1.0]),
        "weight_decay": st.sampled_from([None, 0.0, 0.1]),
        "convention": st.sampled_from(["d2l", "torch", "both"]),
        "noise": st.sampled_from([None, 0.2]),
        "seed": st.integers(0, 3),
        "steps": st.integers(1, 15),
        "step": st.none() | st.integers(0, 15),
    }
)


def computed(**values):
    return DescentLab(Opened()).compute(read_settings(DescentSettings, values))


def printed(line, capfd):
    """Run the commands of a shell line; return the records that they print, by rule and convention."""
    capfd.readouterr()
    for each in line.split(" && "):
        verb, *words = shlex.split(each)
        assert verb == "twofold"
        assert main(words) == 0
    records = [json.loads(row) for row in capfd.readouterr().out.splitlines()]
    return {(record["optimizer"], record["settings"]["convention"]): record for record in records}


@given(values=settings)
def test_each_step_is_that_of_the_readable_rule(values):
    shown = computed(**values)
    assert list(dict.fromkeys(path["rule"] for path in shown["paths"])) == values["rules"]
    twice = set(values["rules"]) & {"momentum", "adagrad", "rmsprop"} if values["convention"] == "both" else ()
    assert len(shown["paths"]) == len(values["rules"]) + len(twice)
    for path in shown["paths"]:
        did = path["at"]
        assert did["step"] == min(shown["step"], len(path["path"]) - 1)
        torch.testing.assert_close(did["point"], path["path"][did["step"]], rtol=1e-9, atol=1e-9)
        assert list(did["state"]) == list(RULES[path["rule"]][1])
        if did["step"]:
            torch.testing.assert_close(
                did["effective"], -did["update"] / did["gradient"], equal_nan=True, atol=1e-6, rtol=1e-3
            )


def test_the_state_of_a_step_is_that_before_the_next():
    values = {"rules": list(RULES), "surface": "quadratic", "lr": dict.fromkeys(RULES, 0.1)}
    for step in (1, 2, 9):
        now, then = (computed(**values, step=each)["paths"] for each in (step, step + 1))
        for path, later in zip(now, then, strict=True):
            for name, rows in path["at"]["state"].items():
                torch.testing.assert_close(rows, later["at"]["before"][name], rtol=1e-9, atol=1e-12)


def test_the_lab_remembers_nothing_that_it_is_not_asked():
    lab = DescentLab(Opened())
    for values in ({}, {"step": 3}, {"rules": ["adam"], "look": [1, 1]}, {"noise": 0.2}, {"noise": 0.2, "seed": 1}):
        read = read_settings(DescentSettings, values)
        again = computed(**values)
        for path, fresh in zip(lab.compute(read)["paths"], again["paths"], strict=True):
            assert torch.equal(path["path"], fresh["path"])
            assert path["at"]["step"] == fresh["at"]["step"]


def test_curvature_at_a_point():
    here = computed(surface="quadratic", look=[1.0, 1.0])["here"]
    assert here["eigenvalues"] == pytest.approx([0.2, 4.0])
    assert (here["condition"], here["value"]) == (pytest.approx(20), pytest.approx(2.1))
    assert here["stable"] == pytest.approx({"sgd": 0.5, "momentum": 0.95, "nesterov": 0.95 / 2.8})
    assert computed(surface="saddle", look=[0.3, 0.4])["here"]["kind"] == "saddle"
    below = computed(surface="log(x)*y", start=[1, 1], look=[-1.0, 1.0])["here"]
    assert below["eigenvalues"] is None
    assert math.isnan(below["value"])


def test_the_grid_holds_the_values_of_the_surface_and_contours_between_them():
    read = DescentSettings(surface="beale")
    grid = DescentLab(Opened()).act("surface", read)["grid"]
    values, levels = grid["values"], grid["levels"]
    (x0, x1), (y0, y1) = SURFACES["beale"].view
    beale = find_surface("beale")
    for row, column in ((0, 0), (0, 96), (96, 0), (48, 24)):
        point = torch.tensor([x0 + (x1 - x0) * column / 96, y0 + (y1 - y0) * row / 96], dtype=torch.float64)
        torch.testing.assert_close(values[row, column], beale(point))
    assert levels[0] == values.min()
    assert levels[-1] == values.max()
    assert bool((levels.diff() > 0).all())
    assert "grid" not in computed(surface="beale")
    with pytest.raises(ValueError, match="no action"):
        DescentLab(Opened()).act("fly", read)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"surface": "__import__('os').getcwd()"}, "is not allowed"),
        ({"surface": "x**2 + "}, "cannot be read"),
        ({"surface": "himmelblo"}, "did you mean himmelblau"),
        ({"surface": "9**9**9*x"}, "finite|too large"),
        ({"surface": "x*" * 300}, "surface: string should have at most 400"),
        ({"start": [1.0]}, "start must have 2 coordinates"),
        ({"start": [1e9, 0]}, "start.0: input should be less than or equal to 1000000"),
        ({"surface": "log(x)", "start": [-1.0]}, "cannot be used"),
        ({"view": [1, 0, 0, 1]}, "view must go from a lower to a higher number"),
        ({"rules": ["newton"]}, "rules.0: input should be"),
        ({"lr": {"sgd": -1}}, "lr.sgd: input should be greater than 0"),
        ({"momentum": 1.0}, "momentum: input should be less than 1"),
        ({"steps": 10**9}, "steps: input should be less than or equal to 500"),
    ],
)
def test_settings_that_do_not_fit_say_why(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        computed(**values)
    assert "\n" not in str(caught.value)


COMMANDS = [
    {},
    {"surface": "quadratic", "rules": ["sgd", "momentum", "adam"], "lr": {"momentum": 0.31, "adam": 0.4}, "steps": 12},
    {"surface": "-x**2 + x**4/9", "start": [0.1], "rules": ["adagrad", "nesterov"], "epsilon": 0.1, "momentum": 0.5},
    {"surface": "noisy", "seed": 3, "rules": ["rmsprop"], "gamma": 0.8, "convention": "torch", "look": [1, 2]},
    {"surface": "beale", "noise": 0.1, "rules": ["adamw", "adadelta"], "weight_decay": 0.05, "convention": "both"},
    {"surface": "saddle", "rules": ["adam"], "lr": {"adam": 1e-5}, "beta1": 0.5, "beta2": 0.99, "start": [-1e-5, 1]},
    {"surface": "cubic", "rules": ["momentum"], "lr": {"momentum": 2}},
]


@pytest.mark.parametrize("values", COMMANDS)
def test_the_shell_line_prints_the_same_bits(values, capfd):
    lab, read = DescentLab(Opened()), read_settings(DescentSettings, values)
    shown = lab.compute(read)
    records = printed(lab.command(read).shell, capfd)
    assert len(records) == len(shown["paths"])
    for path in shown["paths"]:
        record = records[path["rule"], path["convention"]]
        assert record["path"] == path["path"].tolist()
        assert record["values"] == path["values"].tolist()
        assert record["verdict"] == path["verdict"]
        did = path["at"]
        assert record["gradients"][did["step"] - 1] == did["gradient"].tolist()
        effective = [None if math.isnan(rate) else rate for rate in did["effective"].tolist()]
        assert record["effective_rates"][did["step"] - 1] == effective
        in_sum = record["settings"]["eps"] if (path["rule"], path["convention"]) == ("adagrad", "d2l") else 0
        for name, rows in record["state"].items():
            assert rows[did["step"] - 1] == pytest.approx((did["state"][name] + in_sum).tolist(), rel=1e-9)


@pytest.mark.parametrize("values", COMMANDS)
def test_the_program_walks_the_same_paths(values):
    lab, read = DescentLab(Opened()), read_settings(DescentSettings, values)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    for walk, path in zip(found["walks"], shown["paths"], strict=True):
        assert (walk.optimizer, walk.settings["convention"]) == (path["rule"], path["convention"])
        assert torch.equal(walk.path, path["path"])
    assert found["bends"].tolist() == pytest.approx(shown["here"]["eigenvalues"], rel=1e-6)


SOLUTIONS = [
    {"surface": "himmelblau", "look": [0.0, 0.0]},
    {"surface": "quadratic", "lr": {"sgd": 0.45}, "steps": 60},
    {"surface": "quadratic", "lr": {"sgd": 0.52}, "steps": 100},
    {"lr": {"sgd": 0.019, "momentum": 0.02}, "steps": 100},
    {"surface": "quadratic", "step": 1, "start": [-1, -2]},
    {"surface": "saddle", "start": [-1.8, 0], "noise": 0.1},
    {"surface": "quadratic", "rules": ["adagrad"], "convention": "both", "epsilon": 1.0},
]


def test_every_exercise_can_be_done_and_none_is_done_at_first():
    lab = DescentLab(Opened())
    done = []
    for values in [{}, *SOLUTIONS]:
        read = read_settings(DescentSettings, values)
        shown = lab.compute(read)
        done.append([bool(each.is_done(read, shown)) for each in lab.exercises])
    assert done[0] == [False] * len(SOLUTIONS)
    for i, row in enumerate(done[1:]):
        assert row[i], i
    # In the conventions momentum differs by its velocity alone.
    both = computed(surface="quadratic", rules=["momentum"], convention="both", lr={"momentum": 0.1})["paths"]
    torch.testing.assert_close(both[0]["path"], both[1]["path"])
    torch.testing.assert_close(both[0]["at"]["state"]["velocity"], 0.1 * both[1]["at"]["state"]["velocity"])


def test_the_verb_surface_opens_the_lab_with_the_same_settings(monkeypatch, capfd):
    opened = []
    monkeypatch.setattr(twofold.cli.lab, "open_lab", lambda name, words, given: opened.append((name, words)) or 0)
    words = ["surface", "quadratic", "--optimizer", "sgd", "momentum", "--steps", "9", "--noise", "0.1", "--seed", "2"]
    for more in ([], ["--start", "1", "-1", "--view", "-2", "2", "-2", "2", "--convention", "torch", "--lr", "0.1"]):
        opened.clear()
        assert main([*words, *more, "--lab"]) == 0
        ((name, settings_),) = opened
        assert name == "descent"
        read = read_words(DescentSettings, settings_)
        shown = DescentLab(Opened()).compute(read)
        capfd.readouterr()
        assert main([*words, *more, "--json"]) == 0
        records = [json.loads(row) for row in capfd.readouterr().out.splitlines()]
        assert [record["path"] for record in records] == [path["path"].tolist() for path in shown["paths"]]
        if more:
            assert shown["surface"]["view"] == ((-2, 2), (-2, 2))
    for more in (["--json"], ["--figure", "a.png"], ["--lr", "0.1", "0.2"]):
        assert main([*words, *more, "--lab"]) == 2
    assert "--lab" in capfd.readouterr().err


# In a browser


def place(lab, x, y):
    """Return where a point of the surface is on the screen."""
    box = lab.figure("surface").bounding_box()
    (x0, x1), (y0, y1) = lab.shown("surface.view")
    return box["x"] + box["width"] * (x - x0) / (x1 - x0), box["y"] + box["height"] * (y1 - y) / (y1 - y0)


def test_the_start_is_dragged_and_every_path_follows(lab_page):
    lab = lab_page("descent", "surface=quadratic&steps=20")
    lab.until("page.shown.surface.name === 'quadratic'")
    lab.page.mouse.move(*place(lab, -5, -2))
    lab.page.mouse.down()
    for x in (-4, -3, -2.5, -2):
        lab.page.mouse.move(*place(lab, x, -1))
    lab.page.mouse.up()
    lab.settle()
    x, y = lab.settings["start"]
    assert (x, y) == (pytest.approx(-2, abs=0.02), pytest.approx(-1, abs=0.02))
    shown = computed(surface="quadratic", steps=20, start=[x, y])
    for i, path in enumerate(shown["paths"]):
        np.testing.assert_allclose(lab.shown(f"paths.{i}.path"), path["path"].numpy(), rtol=1e-5, atol=1e-6)
    assert lab.shown("grid") is None
    # It is drawn where it is: the colour of sgd at its second point.
    colour = lab.figure("surface").evaluate(
        """(canvas, [u, v]) => { const pen = canvas.getContext("2d");
          const { data } = pen.getImageData(Math.round(u * canvas.width), Math.round(v * canvas.height), 1, 1);
          return Array.from(data).slice(0, 3); }""",
        [(shown["paths"][0]["path"][2][0].item() + 5.5) / 6.5, (1 - shown["paths"][0]["path"][2][1].item()) / 4],
    )
    assert colour == [0xB3, 0x42, 0x0E]


def test_keys_move_the_start_and_the_pointer_shows_the_curvature(lab_page):
    lab = lab_page("descent", 'surface=himmelblau&rules=["sgd"]')
    lab.page.mouse.move(*place(lab, 0, 0))
    lab.until("settings.look !== null")
    assert lab.exercises()[0]
    here = computed(surface="himmelblau", rules=["sgd"], look=lab.settings["look"])["here"]
    assert lab.shown("here.eigenvalues") == pytest.approx(here["eigenvalues"])
    assert "down (hill)" in lab.page.locator(".descent-facts").inner_text()
    lab.figure("surface").focus()
    lab.page.keyboard.press("ArrowRight")
    lab.page.keyboard.press("ArrowUp")
    lab.until("settings.start !== null && settings.start[1] > -1.5")
    assert lab.settings["start"] == pytest.approx([-0.3, -1.3])
    assert lab.settings["look"] is None
    assert "sgd is ahead" in lab.page.locator(".announce").inner_text()
    lab.page.keyboard.press("Shift+ArrowDown")
    lab.until("settings.look !== null")
    assert lab.settings["look"] == pytest.approx([-0.3, -1.5])
    lab.page.keyboard.press("+")
    lab.until("settings.view !== null")
    view = lab.settings["view"]
    assert view[1] - view[0] == pytest.approx(5, abs=0.01)
    lab.until("page.shown.surface.view[0][0] === settings.view[0]")


def test_steps_rules_and_rates(lab_page):
    lab = lab_page("descent", "surface=quadratic")
    lab.page.get_by_label("step", exact=True).fill("3")
    lab.until("page.shown.step === 3")
    cards = lab.page.locator(".descent-card")
    assert cards.count() == 3
    assert "sgd, step 3" in cards.first.inner_text()
    lab.page.get_by_label("adam", exact=True).uncheck()
    lab.until("page.shown.paths.length === 2")
    number = lab.page.get_by_label("learning rate of sgd (number)")
    number.fill("0.52")
    lab.until("page.shown.paths[0].lr === 0.52")
    lab.page.get_by_label("steps", exact=True).fill("100")
    lab.until("page.shown.paths[0].verdict === 'diverging'")
    assert "diverging" in lab.page.locator(".descent-table").first.inner_text()
    assert lab.exercises()[2]
    lab.page.get_by_role("button", name="step forward").click()
    lab.until("page.shown.step === 4")
    assert "step=4" in lab.page.url
    link = lab.page.url
    lab.page.reload()
    lab.settle()
    assert (lab.shown("step"), lab.shown("paths.0.lr")) == (4, 0.52)
    assert lab.page.url == link
    assert "--lr 0.52" in lab.command()[0]


def test_a_formula_of_one_variable_and_a_wrong_one(lab_page):
    lab = lab_page("descent", 'rules=["momentum"]')
    box = lab.page.get_by_label("or your own formula")
    box.fill("x**4 - 3*x**2 + x")
    box.press("Enter")
    lab.until("page.shown.surface.dimension === 1")
    assert lab.shown("paths.0.path").shape[1] == 1
    box.fill("import os")
    box.press("Enter")
    lab.page.wait_for_selector(".status:not([hidden])")
    assert "cannot be read" in lab.error
    box.fill("exp(x) + y**2")
    box.press("Enter")
    lab.until("page.shown.surface.dimension === 2")
    assert lab.error == ""


def test_the_code_of_the_rule_that_ran_is_marked(lab_page):
    lab = lab_page("descent", 'rules=["momentum"]')
    lab.page.get_by_role("tab", name="Code").click()
    lab.page.wait_for_selector(".line.ran")
    ran = " ".join(lab.page.locator(".line.ran").all_text_contents())
    assert "velocity += lr * grad" in ran
    assert "x -= lr * velocity" not in ran
    lab.page.get_by_label("written as in").select_option(label="torch")
    lab.until(
        "[...document.querySelectorAll('.line.ran')].some((line) => line.textContent.includes('x -= lr * velocity'))"
    )


def test_the_steps_are_played_but_not_to_those_who_want_no_motion(lab_page):
    lab = lab_page("descent", "step=45&steps=48")
    lab.page.get_by_role("button", name="Play").click()
    lab.until("settings.step === null")
    assert lab.shown("step") == 48
    lab.page.get_by_role("button", name="Play").wait_for()
    lab.page.get_by_role("button", name="first step").click()
    lab.until("page.shown.step === 0")
    assert "sgd, start" in lab.page.locator(".descent-card").first.inner_text()
    calm = lab_page("descent", reduced_motion="reduce")
    assert not calm.page.get_by_role("button", name="Play").is_visible()


@pytest.mark.parametrize(("lang", "scheme"), [("zh", "dark"), ("en", "light")])
def test_the_page_fits_a_phone_in_both_languages(lab_page, lang, scheme):
    lab = lab_page("descent", lang=lang, width=390, color_scheme=scheme)
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert lab.page.locator("h1").inner_text() == {"en": "Descent", "zh": "下降"}[lang]
