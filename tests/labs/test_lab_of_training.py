import json
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import twofold.cli.lab
from labs.lab_checks import check_program
from twofold.cli.main import main
from twofold.cli.parse import parse
from twofold.cli.settings import given_settings
from twofold.cli.train import arguments_form
from twofold.engine.build import build_training, load_training_data
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder
from twofold.errors import TwofoldError
from twofold.inference.weights_file import load_checkpoint
from twofold.labs.given import NOTHING, Given
from twofold.labs.images import Opened, pixels
from twofold.labs.lab import read_settings
from twofold.labs.layer_values import histogram
from twofold.labs.training import NETWORKS, RATES, RULES, TrainingLab, TrainingSettings, recipe_settings, settings_like

SMALL = {"network": "lenet-narrow", "batch_size": 1024, "epochs": 1}  # eight steps


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_lab():
    labs = []

    def make(opened=None):
        labs.append(TrainingLab(opened or Opened()))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def of(**values):
    return read_settings(TrainingSettings, values)


def ended(lab):
    assert lab._run.wait(60)
    assert lab._run.faults == ""
    return lab._run


def one_step(lab, settings):
    step = lab._run.step if lab._run else 0
    lab.act("step", settings)
    # The images may take longer to load than an action waits.
    assert lab._run.wait(60, lambda: lab._run.state == "paused" and lab._run.step > step)
    return lab.compute(settings)


def weights(folder):
    return load_checkpoint(Path(folder) / "checkpoints" / "last.safetensors")[0]


def assert_same_weights(one, other):
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def test_a_run_of_the_lab_has_the_bits_of_its_command(make_lab, capfd):
    lab, settings = make_lab(), of(**SMALL)
    told = []
    lab.send = lambda content: told.append((content["state"], content["step"]))
    lab.compute(settings)
    assert one_step(lab, settings)["step"] == 1
    lab.compute(of(**SMALL, layer="classifier.1", image="bag"))  # looking changes nothing
    assert one_step(lab, settings)["state"] == "paused"
    lab.act("start", settings)
    run = ended(lab)
    assert run.state == "finished"
    run.join(10)
    assert told[-1] == ("finished", 8)
    train, report = lab.command(settings).shell.split("\n")
    assert main([*shlex.split(train)[1:], "--name", "by-command", "--quiet"]) == 0
    assert_same_weights(run.folder, "runs/by-command")
    assert main(shlex.split(report)[1:]) == 0
    before = set(Path("runs").iterdir())
    check_program(lab.command(settings).python)
    (by_program,) = set(Path("runs").iterdir()) - before
    assert_same_weights(run.folder, by_program)


def test_a_change_is_listed_and_the_command_resumes_what_was_changed(make_lab):
    lab, settings = make_lab(), of(**SMALL)
    one_step(lab, settings)
    folder = lab._run.folder
    assert lab.command(settings).shell.split("\n")[-1] == f"twofold train --resume {folder}"
    other = of(**SMALL | {"batch_size": 512}, rule="adam", lr=0.01)
    lab.compute(other)
    shown = one_step(lab, other)
    (change,) = shown["changes"]
    assert (shown["step"], change["step"], shown["lr"]) == (2, 1, 0.01)
    assert change["was"]["batch_size"] == 1024
    assert change["now"] == change["now"] | {"batch_size": 512, "optimizer": "adam", "lr": 0.01}
    said, train, _, resume = lab.command(other).shell.split("\n")
    assert said == f"# this run began as below and has had changes from step 1 on: {folder}/changes.jsonl"
    assert "--batch-size 1024" in train
    began = time.monotonic()
    lab.close()
    assert time.monotonic() - began < 4
    assert lab._run.state == "stopped"
    assert RunFolder(folder).record().status == "interrupted"
    assert main([*shlex.split(resume)[1:], "--quiet"]) == 0
    assert RunFolder(folder).record().status == "finished"
    assert RunFolder(folder).recipe().optimizer == "adam"


def test_a_change_counts_in_a_run_that_goes_on_when_it_has_rested(make_lab):
    lab, settings = make_lab(), of(**SMALL | {"epochs": 50, "batch_size": 256})
    lab.act("start", settings)
    assert lab._run.wait(60, lambda: lab._run.state == "running")
    for rate in (0.4, 0.3, 0.2):  # as a slider that is dragged
        lab.compute(settings.model_copy(update={"lr": rate}))
    deadline = time.monotonic() + 60
    while not lab._run.changes and time.monotonic() < deadline:
        lab._run.wait(0.05)
    assert [change["now"] for change in lab._run.changes] == [{"lr": 0.2}]
    with pytest.raises(ValueError, match="keeps its network, data, schedule, augmentation and seed; stop it first"):
        lab.compute(settings.model_copy(update={"seed": 5}))
    lab.act("stop", settings)
    assert ended(lab).state == "stopped"


def test_two_runs_at_once_have_the_bits_that_each_has_alone(make_lab):
    settings = of(**SMALL)
    labs = [make_lab(), make_lab()]
    for lab in labs:
        lab.act("start", settings)
    first, second = map(ended, labs)
    assert first.folder != second.folder
    assert_same_weights(first.folder, second.folder)


def test_a_loss_that_explodes_ends_the_run_and_not_the_lab(make_lab):
    lab, settings = make_lab(), of(**SMALL | {"network": "lenet-bn", "lr": 1e4, "rule": "momentum", "epochs": 20})
    lab.act("start", settings)
    ended(lab)
    shown = lab.compute(settings)
    exploded = TrainingLab.exercises[3]
    assert exploded.is_done(settings, shown)
    assert not exploded.is_done(settings, make_lab().compute(settings))
    # Another network: the old run is left behind.
    assert lab.compute(of(network="lenet"))["state"] == "ready"


def test_what_is_seen_is_what_the_network_computes(make_lab):
    settings = of(network="lenet-bn", batch_size=256, weight_decay=0.0, lr=0.25)
    lab = make_lab()
    shown = lab.compute(settings)
    recipe = Recipe(**recipe_settings(settings, "fashion-mini"))
    training = build_training(recipe, load_training_data(recipe, Options(show=False)))
    model, spec = training.model.eval(), training.shared.spec
    image = ((pixels("boot") * 255).round() / 255 - spec.mean[0]) / spec.std[0]
    with torch.no_grad():
        maps = model.features[:3](image)[0]
        logits = model(image)[0]
    torch.testing.assert_close(shown["inside"]["maps"], maps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shown["inside"]["kernels"], model.features[0].weight.detach())
    assert shown["inside"]["says"][0]["share"] == pytest.approx(float(logits.softmax(0).max()), rel=1e-4)
    assert [layer["name"] for layer in shown["layers"]][:2] == ["features.0", "features.4"]
    assert all(layer["update"] is None for layer in shown["layers"])
    # One step of SGD without decay: the update is the rate times the gradient.
    before = {name: float(value.detach().norm()) for name, value in model.named_parameters()}
    shown = one_step(lab, settings)
    assert shown["looked_at"] == 1
    for layer in shown["layers"]:
        assert layer["update"] == pytest.approx(0.25 * layer["norm"] / before[layer["name"] + ".weight"], rel=1e-3)
        assert layer["gradient"]["low"] == -layer["gradient"]["high"]
    assert not torch.equal(shown["inside"]["maps"], maps)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200))
def test_a_histogram_counts_every_value_in_its_bin(values):
    found = histogram(torch.tensor(values))
    assert (found["low"], found["high"]) == (min(values), max(values))
    assert found["counts"].sum() == len(values)
    if found["high"] - found["low"] > 1:
        middle = (found["high"] + found["low"]) / 2
        near = 1e-3 * (found["high"] - found["low"])
        low = sum(value < middle - near for value in values)
        high = sum(value > middle + near for value in values)
        assert low <= found["counts"][:20].sum() <= len(values) - high


def test_a_histogram_leaves_out_what_is_not_finite():
    found = histogram(torch.tensor([1.0, float("nan"), float("inf"), 2.0]))
    assert (found["low"], found["high"], float(found["counts"].sum())) == (1.0, 2.0, 2.0)
    assert histogram(torch.tensor([-3e38, 3e38]))["counts"][[0, -1]].tolist() == [1.0, 1.0]


def test_a_run_goes_on_when_the_page_asks_for_an_image_that_is_not_there(make_lab):
    lab, settings = make_lab(), of(**SMALL | {"epochs": 50})
    one_step(lab, settings)
    with pytest.raises(ValueError, match="there is no image 'gone'"):
        lab.compute(settings.model_copy(update={"image": "gone"}))
    assert one_step(lab, settings)["step"] == 2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_command_and_the_program_are_the_recipe_of_the_settings(network, rule, make_lab):
    settings = of(network=network, rule=rule, schedule="warmup-cosine", weight_decay=0.001, image_size=32, seed=3)
    lab, recipe = make_lab(), Recipe(**recipe_settings(settings, "fashion-mini"))
    shell, python = lab.command(settings).shell, lab.command(settings).python
    words = shlex.split(shell)[2:]
    parsed = parse(arguments_form(), words, verb="train")
    assert Recipe().override(**given_settings(parsed, words)) == recipe
    names = check_program(python.rsplit("\n", 1)[0])
    assert names["recipe"] == recipe
    # And back: the same settings from the recipe.
    again, left_out = settings_like(recipe)
    assert (again, left_out) == (settings, [])
    assert settings_like(Recipe(**recipe_settings(of(network=network, rule=rule), "fashion-mini")))[0].lr is None
    assert recipe.lr == RATES[rule]


@pytest.mark.parametrize(
    ("values", "words"),
    [({"data": "/etc"}, "there is no data set '/etc' here"), ({"image": "../a.png"}, "there is no image '../a.png'")],
)
def test_settings_that_do_not_fit_say_why(values, words, make_lab):
    with pytest.raises(ValueError, match=words):
        make_lab().compute(of(**values))


@pytest.mark.parametrize("values", [{"lr": 0}, {"lr": 1e9}, {"batch_size": 1}, {"epochs": 0}, {"network": "vgg16"}])
def test_settings_beyond_the_bounds_are_refused(values):
    with pytest.raises(ValueError, match=f"^{next(iter(values))}: "):
        of(**values)


def test_actions_that_cannot_be_say_why(make_lab):
    lab = make_lab()
    for action, words in (("pause", "there is no run to pause"), ("fly", "has no action 'fly'")):
        with pytest.raises(ValueError, match=words):
            lab.act(action, of())


# train --lab, race --lab


@pytest.fixture
def opened_labs(monkeypatch):
    opened = []
    monkeypatch.setattr(twofold.cli.lab, "open_lab", lambda *asked: opened.append(asked) or 0)
    return opened


def test_train_opens_the_lab_with_its_settings(opened_labs, capsys):
    words = "train lenet --lr 0.3 --batch-size 64 --optimizer sgd --momentum 0 --nesterov False --seed 7 --epochs 4"
    words += " --schedule constant --lab --label-smoothing 0.1 --name x"
    assert main(words.split()) == 0
    ((name, settings, given),) = opened_labs
    assert (name, given) == ("training", NOTHING)
    expected = of(network="lenet", lr=0.3, batch_size=64, seed=7, epochs=4, augment="crop")
    assert dict(word.split("=") for word in settings) == {k: str(v) for k, v in expected.changed().items()}
    assert "the lab does not take --label-smoothing 0.1, --name" in capsys.readouterr().err


def test_train_opens_the_lab_with_its_images(opened_labs, capsys):
    (Path("photos") / "cat").mkdir(parents=True)
    assert main(["train", "lenet", "--data", "photos", "--lab"]) == 0
    assert opened_labs[0][2] == Given(data=("photos",))


def test_race_opens_the_lab_with_its_network_and_first_optimizer(opened_labs, capsys):
    assert main(["race", "--model", "lenet", "--optimizer", "adagrad", "sgd", "--seed", "2", "--lab"]) == 0
    ((name, settings, _),) = opened_labs
    assert name == "training"
    found = dict(word.split("=") for word in settings)
    assert found == {"network": "lenet", "rule": "adagrad", "batch_size": "64", "seed": "2"}
    assert "one optimizer, adagrad" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "vgg16", "--lab"], "the lab trains lenet-bn"),
        (["train", "lenet", "--lr", "100000", "--lab"], "the lab cannot have lr 100000"),
        (["train", "--resume", "runs/x", "--lab"], "leave --lab or --resume out"),
    ],
)
def test_what_the_lab_cannot_have_is_said_in_one_line(words, message, opened_labs, capsys):
    assert main(words) != 0
    assert message in capsys.readouterr().err
    assert opened_labs == []


def test_a_recipe_beyond_the_lab_is_an_error():
    with pytest.raises(TwofoldError, match="the lab cannot have batch_size 4096"):
        settings_like(Recipe(model="lenet", batch_size=4096))


# In a browser


def press(lab, name):
    lab.page.get_by_role("button", name=name, exact=True).click()


def test_start_pause_step_and_stop_by_pointer(lab_page):
    lab = lab_page("training", "network=lenet-narrow&batch_size=512")
    assert lab.shown("state") == "ready"
    press(lab, "One step")
    lab.until("page.shown.state === 'paused' && page.shown.step === 1")
    lab.until("document.querySelector('.exercises li').dataset.done === 'yes'")
    press(lab, "Go on")
    lab.until("page.shown.step > 4")
    press(lab, "Pause")
    lab.until("page.shown.state === 'paused'")
    step = lab.shown("step")
    assert f"step {step}" in lab.page.locator(".stage .sum").first.inner_text()
    # The kernels are those of the run, and the pointer says what is in one.
    kernels = lab.shown("inside.kernels")
    assert kernels.shape == (3, 1, 5, 5)
    lab.figure("kernels").hover(position={"x": 8, "y": 8})
    low, high = kernels[0].min(), kernels[0].max()
    name, _, numbers = lab.page.locator(".announce").inner_text().partition(": ")
    assert name == "kernel 1"
    assert [float(word) for word in numbers.split(" … ")] == pytest.approx([low, high], abs=1e-3)
    lab.figure("kernels").focus()
    lab.page.keyboard.press("ArrowRight")
    assert lab.page.locator(".announce").inner_text().startswith("kernel 2: ")
    # What is drawn of the image is the image.
    np.testing.assert_allclose(lab.colours("the image", 28, 28)[:, :, 0], 255 * lab.shown("inside.input")[0], atol=1)
    folder = Path(lab.shown("run"))
    press(lab, "Stop and save")
    lab.until("page.shown.state === 'stopped'")
    assert json.loads((folder / "run.json").read_text())["steps_done"] == step


def test_settings_are_changed_by_keys_while_it_is_paused(lab_page):
    lab = lab_page("training", "network=lenet-narrow&batch_size=512")
    press(lab, "One step")
    lab.until("page.shown.state === 'paused'")
    assert lab.page.get_by_label("network").is_disabled()
    rate = lab.page.get_by_label("learning rate", exact=True)
    rate.focus()
    lab.page.keyboard.press("ArrowLeft")
    lab.until("settings.lr !== null && settings.lr < 0.5")
    press(lab, "One step")
    lab.until("page.shown.step === 2")
    new = lab.settings["lr"]
    assert f"from step 1 on: learning rate 0.5 → {new}" in lab.page.locator(".changes").inner_text()
    lab.page.get_by_role("tab", name="Command").click()
    shell = lab.command()[0]
    assert "has had changes from step 1 on" in shell
    assert f"twofold train --resume {lab.shown('run')}" in shell
    lab.page.get_by_role("tab", name="Code").click()
    assert "None of its lines has run" in lab.page.locator(".panel[data-part=code]").inner_text()
    assert lab.page.locator(".line.ran").count() == 0


def test_a_layer_is_chosen_and_the_link_holds_it_and_a_page_that_is_left_saves_its_run(lab_page):
    lab = lab_page("training", "network=lenet-narrow&batch_size=512")
    press(lab, "3 dense, 60")
    lab.until("settings.layer === 'classifier.1'")
    assert lab.shown("inside.maps").shape == (60, 1, 1)
    press(lab, "Start")
    lab.until("page.shown.step > 2")
    folder = Path(lab.shown("run"))
    lab.page.reload()
    lab.settle()
    assert (lab.settings["layer"], lab.shown("state")) == ("classifier.1", "ready")
    deadline = time.monotonic() + 10
    while json.loads((folder / "run.json").read_text())["status"] == "running" and time.monotonic() < deadline:
        lab.page.wait_for_timeout(50)
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert (folder / "checkpoints" / "last.safetensors").is_file()


@pytest.mark.parametrize(("lang", "scheme"), [("zh", "dark"), ("en", "light")])
def test_the_page_fits_a_phone_in_both_languages(lab_page, lang, scheme):
    lab = lab_page("training", lang=lang, width=390, color_scheme=scheme)
    press(lab, {"zh": "一步", "en": "One step"}[lang])
    lab.until("page.shown.step === 1")
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
