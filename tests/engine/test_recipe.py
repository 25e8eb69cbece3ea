from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe
from twofold.engine.recipes import RECIPES, find_recipe, named_recipe
from twofold.errors import TwofoldError
from twofold.models import CLASSIFIERS, DETECTORS
from twofold.optim.schedule import SCHEDULES

SETTINGS = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(["sgd", "adam", "adamw"]),
        "schedule": st.sampled_from(["constant", "step", "one-cycle", "warmup-cosine"]),
        "model": st.sampled_from(sorted(CLASSIFIERS)),
        "augment": st.sampled_from(["none", "flip", "crop", "flip-crop"]),
        "mix": st.sampled_from(["none", "mixup", "cutmix"]),
        "lr": st.floats(1e-9, 1e3),
        "epochs": st.integers(1, 100),
        "batch_size": st.integers(1, 1000),
        "label_smoothing": st.floats(0.0, 0.99),
        "ema_decay": st.none() | st.floats(0.1, 0.999),
        "seed": st.integers(0, 2**63 - 1),
    }
)


@given(settings=SETTINGS)
def test_written_and_read_back_it_is_the_same(settings: dict[str, Any]) -> None:
    recipe = Recipe(**settings)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("model", DETECTORS)
def test_a_detector_has_settings_of_its_own_where_nothing_is_said(model: str) -> None:
    recipe = Recipe(model=model, data="fashion-scenes")
    assert (recipe.augment, recipe.resize) == ("ssd-light", "stretch")
    assert (recipe.box_loss, recipe.matching) == ("smooth-l1", "d2l")
    assert Recipe.from_json(recipe.to_json()) == recipe
    classifier = recipe.override(model="lenet-bn")
    assert (classifier.augment, classifier.resize, classifier.box_loss) == ("crop", "crop", None)
    assert classifier.override(model=model) == recipe
    assert Recipe(model=model, augment="flip", box_loss="giou").override(seed=1).augment == "flip"
    assert (recipe.settled(4000).batch_size, recipe.settled(4000).epochs) == (32, 30)
    assert (recipe.settled(50).batch_size, recipe.settled(50).epochs) == (8, 100)


def test_what_suits_a_network_is_taken_where_nothing_is_said_and_does_not_follow_to_another() -> None:
    recipe = Recipe(model="ssd-mini", data="fashion-scenes")
    assert (recipe.lr, recipe.weight_decay) == (0.008, 0.1)
    sgd = recipe.override(optimizer="sgd")
    assert (sgd.lr, sgd.weight_decay) == (0.1, 0.0005)
    for model in ("ssd300", "lenet-bn"):
        other = recipe.override(model=model)
        assert (other.lr, other.weight_decay) == (0.002, 0.02)
        assert other.override(model="ssd-mini") == recipe
    assert recipe.override(lr=0.001).override(model="ssd300").lr == 0.001
    assert sgd.override(model="ssd300").lr == 0.1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "lenet", "box_loss": "giou"}, "is for detectors, and lenet is none"),
        ({"model": "resnet18", "matching": "d2l"}, "is for detectors, and resnet18 is none"),
        ({"model": "ssd", "mix": "mixup"}, "mix='mixup' is for classifiers"),
        ({"model": "ssd", "flip_average": True}, "flip_average=True is for classifiers"),
        ({"model": "ssd", "resize": "crop"}, "resize='crop' would cut objects off"),
        ({"model": "ssd-mini", "model_options": {"anchors": "1x"}}, "must be shapes in parts of the image"),
        ({"model": "ssd300", "model_options": {"width": 0.5}}, "has no option 'width'"),
    ],
)
def test_what_a_detector_or_a_classifier_cannot_have_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TwofoldError, match=words):
        Recipe(**settings)


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_are_valid_documented_and_survive_json(name: str, tmp_path: Path) -> None:
    recipe = named_recipe(name)
    assert RECIPES[name].__doc__
    path = tmp_path / "recipe.json"
    path.write_text(recipe.to_json())
    assert find_recipe(str(path)) == find_recipe(name) == recipe


def test_left_out_settings_take_the_choice_s_default() -> None:
    assert (Recipe(optimizer="sgd").lr, Recipe(optimizer="adam").lr) == (0.1, 0.001)
    assert Recipe(optimizer="sgd").momentum == 0.9
    assert Recipe(optimizer="adam").momentum is None
    assert (Recipe().epochs, Recipe().batch_size) == (None, None)  # the number of images decides


VALUES: dict[str, Any] = {
    "momentum": 0.5,
    "nesterov": False,
    "gamma": 0.8,
    "rho": 0.8,
    "convention": "d2l",
    "beta1": 0.8,
    "beta2": 0.9,
    "epsilon": 1e-6,
    "mix_alpha": 0.5,
    "warmup": 0.1,
    "final_lr": 0.1,
    "step_epochs": 2.0,
    "step_factor": 0.3,
    "alpha": 0.5,
}
IGNORED = [
    (setting, chooser, choice)
    for setting, (chooser, defaults) in DEPENDENT_SETTINGS.items()
    for choice in {
        "optimizer": ["sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw"],
        "schedule": list(SCHEDULES),
        "mix": ["none", "mixup", "cutmix"],
    }[chooser]
    if choice not in defaults
]


def test_a_policy_that_is_spelled_out_is_kept_as_it_was_written() -> None:
    recipe = Recipe(augment="flip-crop + cutout(side=8)")
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.augment == "flip-crop + cutout(side=8)"


@pytest.mark.parametrize(("setting", "chooser", "choice"), IGNORED)
def test_a_setting_that_would_be_ignored_is_an_error(setting: str, chooser: str, choice: str) -> None:
    with pytest.raises(TwofoldError, match=f"{setting}=.* has no effect with {chooser}='{choice}'"):
        Recipe(**{chooser: choice, setting: VALUES[setting]})


def test_override_starts_a_new_choice_from_its_own_defaults() -> None:
    base = Recipe(optimizer="sgd", lr=2.0, momentum=0.85, model="resnet18", model_options={"stem": "paper"}, epochs=3)
    adam = base.override(optimizer="adam")
    assert (adam.lr, adam.momentum, adam.epochs) == (0.001, None, 3)
    assert base.override(optimizer="sgd", batch_size=7).lr == 2.0
    assert base.override(optimizer="adam", lr=0.5).lr == 0.5
    assert base.override(model="lenet").model_options == {}
    assert (base.override(minutes=1.5).epochs, base.override(minutes=1.5).override(epochs=4).minutes) == (None, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": 0.1}, "learning_rate is called lr here"),
        ({"Learning_Rate": 0.1}, "called lr here"),
        ({"no_augment": True}, "no_augment is called augment='none' here"),
        ({"optimizer": "SGD"}, "got 'SGD'; did you mean 'sgd'?"),
        ({"optimizer": "SGD", "momentum": 0.9}, "got 'SGD'; did you mean 'sgd'?"),
        ({"optimizer": "momentum"}, "is called optimizer='sgd', momentum=0.9, nesterov=False here"),
        ({"precision": "fp32"}, "precision='fp32' is called precision='float32' here"),
        ({"optimizer": 3}, "'adam' or 'adamw', got 3"),
        ({"mix": [1], "mix_alpha": 0.5}, "mix must be 'none', 'mixup' or 'cutmix', got [1]"),
        ({"dropout": 0.5}, "options of networks, given with model_options, are width, stem"),
        ({"channels": "{}"}, "channels must be 1 or 3, got '{}'"),
        ({"bacth_size": 3}, "did you mean batch_size"),
        ({"lr": -1.0}, "lr must be greater than 0, got -1.0"),
        ({"lr": float("nan")}, "lr"),
        ({"epochs": 0}, "epochs must be greater than or equal to 1, got 0"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"optimizer": "sdg"}, "'adadelta', 'adam' or 'adamw', got 'sdg'"),
        ({"model": "lenet5"}, "did you mean lenet"),
        ({"model": "resnet18", "model_options": {"stem": "big"}}, "stem must be one of 'paper', 'small', 'adaptive'"),
        ({"data": "fashon-mini"}, "did you mean fashion-mini"),
        ({"data": "no/such/folder"}, "no such folder"),
        ({"augment": "flp"}, "did you mean flip"),
        ({"augment": "flip(horizontal=2)"}, "horizontal must lie in 0..1, got 2"),
        ({"augment": "flip() + blurr()"}, "unknown operation 'blurr'"),
        ({"mix": "mixp"}, "mix must be 'none', 'mixup' or 'cutmix', got 'mixp'"),
        ({"mix": "mixup", "mix_alpha": 0.0}, "mix_alpha must be greater than or equal to 0.1, got 0.0"),
        ({"mix_alpha": 0.2}, "no effect with mix='none'; leave it out, or choose mix='mixup' or mix='cutmix'"),
        ({"epochs": 2, "minutes": 1.0}, "exclude each other"),
        ({"optimizer": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov=True needs a momentum above 0"),
        ({"optimizer": "sgd", "convention": "d2l"}, "no effect on sgd without momentum or with nesterov=True"),
        ({"schedule": "power", "alpha": 0.5}, "alpha=0.5 lets the learning rate grow"),
        ({"schedule": "exponential", "alpha": -0.5}, "alpha=-0.5 leaves no learning rate"),
        ({"patience": 2, "val_fraction": 0.0}, "patience=2 needs validation images"),
        ({"lr_scale": {"fc": -2.0}}, "lr_scale={'fc': -2.0} must be 0 or more"),
        ({"form": "slow"}, "form must be 'fast' or 'scratch', got 'slow'"),
        ({"form": "scratch", "precision": "bfloat16"}, "form='scratch' computes in float32"),
        ({"form": "scratch", "compile": True}, "leave compile=True out"),
    ],
)
def test_wrong_settings_get_one_clear_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TwofoldError) as caught:
        Recipe(**settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().lr = 1.0  # type: ignore[misc]


def test_json_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for content, words in (
        ("{", "not valid JSON"),
        ("[1]", "must hold a JSON object"),
        ('{"lrr": 1}', "did you mean lr"),
    ):
        path.write_text(content)
        with pytest.raises(TwofoldError, match=words) as caught:
            find_recipe(str(path))
        assert str(path) in str(caught.value)
    with pytest.raises(TwofoldError, match="did you mean demo"):
        find_recipe("demmo")


def test_recipes_are_checked_without_torch() -> None:
    code = (
        "import sys; from twofold.engine.recipes import named_recipe; named_recipe('demo'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
