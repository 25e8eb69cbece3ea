"""Words of other tools for the settings of a recipe, and what they are called here.

Who comes from another tool types its words first: `learning_rate=0.1`, `--optimizer momentum`. Each gets an answer that
names ours, in Python and on the command line.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from twofold.errors import Setting, SettingError
from twofold.models.registry import MODELS

# Ours, with what stands there, and other tools' words for it. Words are compared without case, dashes and underscores.
_OURS: tuple[tuple[str, tuple[Setting, ...], str], ...] = (
    ("{}", ("lr",), "learning-rate lr0 base-lr max-lr"),
    ("{}", ("optimizer",), "optim opt optimizers optimiser rule rules"),
    ("{}", ("batch_size",), "batch bs batchsize sizes train-batch-size"),
    ("{}", ("image_size",), "img imgsz img-size size input-size resolution crop-size"),
    ("{}", ("epochs",), "num-epochs max-epochs n-epochs nepochs num-train-epochs"),
    ("{}", ("weight_decay",), "wd decay l2"),
    ("{}", ("epsilon",), "eps adam-epsilon"),
    ("{} and {}", ("beta1", "beta2"), "betas"),
    ("{}", ("augment",), "policy aug augmentation auto-augment transforms aa"),
    ("{}", ({"augment": "none"},), "no-augment no-augmentation no-aug"),
    ("{}", ("schedule",), "scheduler lr-scheduler lr-scheduler-type sched"),
    ("{}, a share of the training", ("warmup",), "warmup-epochs warmup-ratio warmup-steps"),
    ("{}", ("label_smoothing",), "smoothing"),
    ("{}", ("class_weights",), "class-weight weighted-loss loss-weights"),
    ("{}", ({"sampling": "balanced"},), "weighted-sampler weighted-sampling balanced-sampler oversample"),
    ("{}", ("select_by",), "monitor eval-metric metric-for-best-model best-metric save-best-by"),
    ("{} or {}", ({"mix": "mixup"}, {"mix": "cutmix"}), "mixup cutmix"),
    ("{}", ("grad_clip",), "clip clip-grad max-grad-norm gradient-clip-val"),
    ("{}", ("ema_decay",), "ema model-ema model-ema-decay"),
    ("{}", ("accumulate",), "accum-iter accumulate-grad-batches gradient-accumulation-steps grad-accum-steps"),
    ("{}", ("patience",), "early-stopping early-stop early-stopping-patience"),
    ("{}", ("val_fraction",), "val-split validation-split val-size"),
    ("{}", ({"precision": "bfloat16"},), "amp fp16 bf16 half mixed-precision"),
    ("{}", ({"device": "cuda"},), "gpu gpus cuda accelerator"),
    ("{}", ({"device": "cpu"},), "cpu no-cuda"),
    ("{}", ("seed",), "random-seed manual-seed"),
    ("{}", ("data",), "dataset data-dir data-path dataset-path root source"),
    ("{}", ({"weights": "DEFAULT"},), "pretrained init load-weights"),
    ("{}", ("model",), "arch architecture backbone network"),
)
SETTINGS = {word.replace("-", "_"): (message, ours) for message, ours, words in _OURS for word in words.split()}

# Another tool's value of a setting -> the settings that stand for it.
VALUES: dict[tuple[str, str], dict[str, Any]] = {
    ("optimizer", "momentum"): {"optimizer": "sgd", "momentum": 0.9, "nesterov": False},
    ("optimizer", "nesterov"): {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    ("schedule", "cosine"): {"schedule": "warmup-cosine"},
    ("schedule", "onecycle"): {"schedule": "one-cycle"},
    ("schedule", "multistep"): {"schedule": "step"},
    ("precision", "fp32"): {"precision": "float32"},
    ("precision", "bf16"): {"precision": "bfloat16"},
    ("precision", "fp16"): {"precision": "bfloat16"},
    ("precision", "float16"): {"precision": "bfloat16"},
    ("device", "gpu"): {"device": "cuda"},
    ("device", "0"): {"device": "cuda"},
}

# Parts of a network for which other tools have settings of the training.
_OF_NETWORKS = {"dropout", "drop", "drop_rate", "drop_path", "depth", "num_layers", "activation", "pool", "pooling"}


def unknown_setting(name: str, known: Collection[str]) -> SettingError | None:
    """Return the error about a setting that another tool has and this one does not; None where no tool has it.

    Args:
        name: the setting, with underscores.
        known: ours, or those of them that can be given here.
    """
    message, ours = SETTINGS.get(name.lower(), ("", ()))
    if ours and (ours[0] if isinstance(ours[0], str) else next(iter(ours[0]))) in known:
        return SettingError(f"{{}} is called {message} here", name, *ours)
    options = dict.fromkeys(option for entry in MODELS.values() for option in entry.options)
    if "model_options" in known and (name in options or name in _OF_NETWORKS):
        what = f"there is no {{}}; options of networks, given with {{}}, are {', '.join(options)}: see twofold models"
        return SettingError(what, name, "model_options")
    return None


def other_value(name: str, value: str) -> SettingError | None:
    """Return the error about a value that another tool calls so; None where no tool does."""
    ours = VALUES.get((name, value.lower()))
    return None if ours is None else SettingError("{} is called {} here", {name: value}, ours)
