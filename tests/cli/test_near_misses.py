"""Words of other tools: each is answered with ours, and ours are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from twofold.cli.completion import form_of
from twofold.cli.help import options_of
from twofold.cli.main import VERBS
from twofold.cli.near_misses import COMMANDS, OPTIONS
from twofold.engine.other_words import SETTINGS, VALUES
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
        (["train", "lenet", "--no-augment"], "--no-augment is called --augment none here"),
        (["train", "lenet", "--no-augmentation"], "--no-augmentation is called --augment none here"),
        (["train", "lenet", "--dropout", "0.5"], "options of networks, given with --model-options, are width, stem"),
        (["train", "lenet", "--width", "2"], "options of networks, given with --model-options, are width, stem"),
        (["train", "lenet", "--lr_find"], "a command does that: twofold lr-find MODEL"),
        (["train", "lenet", "--evaluate"], "a command does that: twofold eval RUN"),
        (["predict", "--model", "runs/bn", "g.png"], "the run stands alone, as in twofold predict RUN IMAGE"),
        (["predict", "runs/bn", "--image", "g.png"], "as in twofold predict RUN IMAGE"),
        (["eval", "--weights", "runs/bn"], "the run stands alone, as in twofold eval RUN"),
        (["train", "lenet", "--optimizer", "SGD"], "for --optimizer: did you mean sgd?"),
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
        (["benchmark"], "twofold bench"),
        (["verify", "convolutions"], "unknown idea 'convolutions': did you mean conv2d"),
        (["show", "convolution"], "unknown idea 'convolution': did you mean conv2d"),
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
    for _, settings in SETTINGS.values():
        for setting in settings:
            for name in [setting] if isinstance(setting, str) else setting:
                assert name in Recipe.model_fields
    assert not {*OPTIONS, *SETTINGS} & set(Recipe.model_fields)
    for ours in COMMANDS.values():
        assert ours.split()[0].strip(",") in VERBS, ours
    assert not set(COMMANDS) & set(VERBS)
    for (setting, value), ours in VALUES.items():
        assert next(iter(ours)) == setting
        assert value not in get_args(Recipe.model_fields[setting].annotation)
        Recipe(**ours)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["train", "lenet", "--momentum", "0.9"],
            "error: --momentum 0.9 has no effect with --optimizer adamw; leave it out, or choose --optimizer sgd",
        ),
        (["train", "lenet", "--batch-size", "0"], "error: --batch-size must be greater than or equal to 1, got 0"),
        (
            ["train", "lenet", "--epochs", "2", "--minutes", "1"],
            "error: --epochs 2 and --minutes 1 exclude each other",
        ),
        (
            ["train", "lenet", "--form", "scratch", "--compile"],
            "error: --form scratch is there to be read, not compiled; leave --compile out",
        ),
        (["train", "lenet", "--patience", "2", "--val-fraction", "0"], "error: --patience 2 needs validation images"),
        (["race", "--trial-epochs", "0"], "error: --trial-epochs must be 1 or more, got 0"),
    ],
)
def test_errors_of_settings_speak_the_command_line_s_language(
    arguments: list[str], words: str, fails: Callable[..., str]
) -> None:
    assert fails(arguments).startswith(words)


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


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image and two runs, which are not trained."""
    monkeypatch.chdir(tmp_path)
    for name in ("bn", "residual"):
        (tmp_path / "runs" / name / "checkpoints").mkdir(parents=True)
        (tmp_path / "runs" / name / "recipe.json").write_text(Recipe().to_json())
    Image.new("L", (4, 4)).save("g.png")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["eval", "bn"], "there is no folder bn: did you mean runs/bn?"),
        (["predict", "bn", "g.png"], "did you mean runs/bn?"),
        (["explain", "bn", "g.png"], "did you mean runs/bn?"),
        (["report", "bn"], "did you mean runs/bn?"),
        (["train", "--resume", "bn"], "did you mean runs/bn?"),
        (["eval", "runs/residul"], "there is no folder runs/residul: did you mean runs/residual?"),
        (["eval", "elsewhere/none"], "there is no folder elsewhere/none"),
        (["predict", "g.png", "runs/bn"], "g.png is an image; the run comes first: twofold predict runs/bn g.png"),
        (["explain", "g.png", "runs/bn"], "g.png is an image; the run comes first: twofold explain runs/bn g.png"),
        (["predict", "g.png", "h.png"], "the run comes first: twofold predict RUN g.png"),
        (["eval", "g.png"], "g.png is an image; a run folder, or one of its .safetensors files, is needed here"),
        (["models", "nothing-like-it"], "no network has 'nothing-like-it' in it; twofold models lists them all"),
    ],
)
def test_what_is_meant_for_a_run_names_the_run(
    arguments: list[str], words: str, runs: Path, fails: Callable[..., str]
) -> None:
    assert fails(arguments).endswith(words)


def test_models_takes_a_word_as_ideas_does(capsys: pytest.CaptureFixture[str]) -> None:
    from twofold.cli.main import main

    assert main(["models", "ResNet"]) == 0
    text = capsys.readouterr().out
    assert {line.split()[0] for line in text.splitlines() if "He et al." in line} == {
        f"resnet{depth}" for depth in (18, 34, 50, 101, 152)
    }
    assert "lenet" not in text
    assert main(["models", "batch norm"]) == 0
    assert "to begin with, take lenet-bn" not in capsys.readouterr().out
    assert main(["models", "lenet"]) == 0
    assert "to begin with, take lenet-bn; lenet, with the paper's sigmoids, starts slowly" in capsys.readouterr().out
