"""Words of other tools: each is answered with ours, and ours are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from twofold.cli.completion import form_of
from twofold.cli.help import options_of
from twofold.cli.main import VERBS
from twofold.cli.near_misses import COMMANDS, OPTIONS, VALUES
from twofold.engine.recipe import Recipe


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "lenet", "--learning-rate", "0.1"], "--learning-rate is called --lr here"),
        (["train", "lenet", "--learning_rate=0.1"], "--learning-rate is called --lr here"),
        (["train", "lenet", "--optimizer", "momentum"], "--optimizer sgd --momentum 0.9 --nesterov False"),
        (["train", "lenet", "--optimizer", "nesterov"], "--optimizer sgd --momentum 0.9 --nesterov True"),
        (["train", "lenet", "--batch", "8"], "--batch-size"),
        (["train", "lenet", "--img", "8"], "--image-size"),
        (["train", "lenet", "--imgsz", "8"], "--image-size"),
        (["train", "lenet", "--img-size", "8"], "--image-size"),
        (["train", "--arch", "lenet"], "the network's name stands alone"),
        (["train", "--model", "lenet"], "the network's name stands alone"),
        (["race", "--arch", "lenet"], "--arch is called --model here"),
        (["train", "lenet", "--workers", "4"], "there is no --workers"),
        (["train", "lenet", "--num-epochs", "4"], "--epochs"),
        (["train", "lenet", "--wd", "4"], "--weight-decay"),
        (["train", "lenet", "--pretrained"], "--weights DEFAULT"),
        (["train", "lenet", "--eps", "1"], "--epsilon"),
        (["train", "lenet", "--schedule", "cosine"], "--schedule warmup-cosine"),
        (["train", "lenet", "--device", "gpu"], "--device cuda"),
        (["train", "lenet", "--nothing-like-it"], "there is no option --nothing-like-it; see twofold train --help"),
        (["race", "--optimizers", "sgd,adam"], "--optimizers is called --optimizer here"),
        (["surface", "quadratic", "--eps", "1"], "--eps is called --epsilon here"),
        (["augment", "photo.jpg", "--policy", "flip"], "--policy is called --augment here"),
        (["batch-study", "--sizes", "1,2"], "--sizes is called --batch-size here"),
        (["test", "runs/r"], "test is called twofold eval"),
        (["val", "runs/r"], "twofold eval"),
        (["fit", "lenet"], "twofold train"),
        (["infer", "runs/r"], "twofold predict"),
        (["classify", "runs/r"], "twofold predict"),
        (["fine-tune", "runs/r"], "twofold finetune"),
        (["finetuning", "runs/r"], "twofold finetune"),
        (["lr_find", "lenet"], "twofold lr-find"),
        (["lrfind", "lenet"], "twofold lr-find"),
        (["list"], "twofold models, twofold recipes or twofold runs"),
        (["help", "fit"], "twofold train"),
    ],
)
def test_another_tool_s_word_names_ours(arguments: list[str], words: str, fails: Callable[..., str]) -> None:
    assert words in fails(arguments)


def test_our_words_are_there() -> None:
    options = {option.name for verb in VERBS if verb != "data" for option in options_of(form_of(verb))}
    for ours in OPTIONS.values():
        assert ours.split()[0].strip("-,") in options, ours
    assert not {name for name in OPTIONS if name in Recipe.model_fields}
    for ours in COMMANDS.values():
        assert ours.split()[0].strip(",") in VERBS, ours
    assert not set(COMMANDS) & set(VERBS)
    for (setting, value), ours in VALUES.items():
        assert ours.startswith(f"--{setting} ")
        assert value not in get_args(Recipe.model_fields[setting].annotation)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "lenet", "--channels", "2"], "invalid choice '2' for --channels: known are 1, 3"),
        (["train", "lenet", "--recipe"], "--recipe needs a value"),
        (["train", "lenet", "extra"], "one argument too many: extra"),
        (["train", "lenet", "--lr-scale", "fc.*", "much"], "--lr-scale takes PATTERN X ..., in pairs"),
        (["train", "lenet", "--image-size", "large"], "--image-size takes a whole number, got 'large'"),
        (["lr-find"], "missing MODEL; see twofold lr-find --help"),
    ],
)
def test_a_wrong_value_is_one_line(arguments: list[str], words: str, fails: Callable[..., str]) -> None:
    assert words in fails(arguments)
