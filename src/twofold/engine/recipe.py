"""The recipe: one frozen value that holds all that decides a run.

It is checked when it is made, written to the run folder, and reading it back gives the same run. Some settings
belong to a choice: momentum to SGD, the step length to the step schedule. Left out, they take that choice's own
default; given where the choice would ignore them, they are an error, never silently dropped.

This file loads without torch, so that a mistake in a command is answered at once.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twofold.augment.names import POLICIES
from twofold.augment.policies import check_policy
from twofold.data.names import NAMED_BOXES, check_data_name, is_table, plain_name
from twofold.data.sources.table_columns import COLUMNS_IN_WORDS, check_table_settings, has_validation_rows
from twofold.engine.other_words import other_value, unknown_setting
from twofold.engine.sections import OwnNames, settings_in_words
from twofold.errors import SettingError, TwofoldError, check_known, near_names, nearest
from twofold.files import expanded, parse_json, read_json
from twofold.models.registry import MODELS, Option, check_model_options
from twofold.names import Name, json_text
from twofold.optim.schedule import Schedule, ScheduleName
from twofold.tasks.class_weights import read_class_weights
from twofold.tasks.metrics import METRICS

OptimizerName = Literal["sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw"]
MixName = Literal["none", "mixup", "cutmix"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveWeight = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]

# setting -> (the field that chooses, {choice: default}). A choice that is not listed ignores the setting.
DEPENDENT_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lr": (
        "optimizer",
        {"sgd": 0.1, "adagrad": 0.02, "rmsprop": 0.001, "adadelta": 1.0, "adam": 0.001, "adamw": 0.002},
    ),
    "weight_decay": (
        "optimizer",
        {"sgd": 0.0005, "adagrad": 0.0, "rmsprop": 0.0, "adadelta": 0.0, "adam": 0.0, "adamw": 0.02},
    ),
    "momentum": ("optimizer", {"sgd": 0.9}),
    "nesterov": ("optimizer", {"sgd": True}),
    "gamma": ("optimizer", {"rmsprop": 0.9}),
    "rho": ("optimizer", {"adadelta": 0.9}),
    "beta1": ("optimizer", {"adam": 0.9, "adamw": 0.9}),
    "beta2": ("optimizer", {"adam": 0.999, "adamw": 0.999}),
    "epsilon": ("optimizer", {"adagrad": 1e-6, "rmsprop": 1e-6, "adadelta": 1e-6, "adam": 1e-8, "adamw": 1e-8}),
    "convention": ("optimizer", {"sgd": "torch", "adagrad": "torch", "rmsprop": "torch"}),
    "mix_alpha": ("mix", {"mixup": 0.2, "cutmix": 1.0}),
    "warmup": ("schedule", {"one-cycle": 0.25, "warmup-cosine": 0.05}),
    "final_lr": ("schedule", {"one-cycle": 0.0, "warmup-cosine": 0.0}),
    "step_epochs": ("schedule", {"step": 1.0}),
    "step_factor": ("schedule", {"step": 0.5}),
    "alpha": ("schedule", {"power": -0.5, "exponential": 0.9}),
}


_METRIC_NAMES = tuple(dict.fromkeys(metric.name for metrics in METRICS.values() for metric in metrics))
_REPR_LENGTH = 130
_FEW_IMAGES = 2048


# What detectors take where nothing is said, in place of the fields' own defaults.
_OF_TASK: dict[str, Any] = {"augment": "ssd-light", "resize": "stretch", "box_loss": "smooth-l1", "matching": "d2l"}
# What suits a network better than these defaults (docs/log.md): model -> {setting: {choice: value}}.
_OF_MODEL: dict[str, dict[str, dict[str, Any]]] = {"ssd-mini": {"lr": {"adamw": 0.008}, "weight_decay": {"adamw": 0.1}}}


def _task(model: Any) -> str | None:
    return MODELS[model].task if isinstance(model, str) and model in MODELS else None


def _dependent_default(name: str, choice: str, model: Any) -> Any:
    """Return what a dependent setting is for a choice where nothing is said, None where it has no effect."""
    own = _OF_MODEL.get(model, {}).get(name, {}) if isinstance(model, str) else {}
    return (DEPENDENT_SETTINGS[name][1] | own).get(choice)


def defaults_of(model: Any) -> dict[str, Any]:
    """Return the settings that the task of a network chooses where nothing is said."""
    return _OF_TASK if _task(model) == "detect" else {"augment": "crop", "resize": "crop"}


class Recipe(BaseModel, metaclass=OwnNames):
    """All that decides a run. Every argument is a keyword; wrong ones raise `TwofoldError`, naming the remedy."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    # 1. data
    data: Name = Field("fashion-mini", description="a named data set, a folder of images, or a table of images")
    images: Name | None = Field(None, description="the folder of a table's images; the table's own if left out")
    columns: dict[str, Name] = Field(default_factory=dict, description=COLUMNS_IN_WORDS)
    image_size: int | None = Field(None, ge=1, le=4096, description="side of the images in px; their own if left out")
    channels: Literal[1, 3] | None = Field(None, description="1 for grey, 3 for colour; the data's own if left out")
    resize: Literal["crop", "stretch", "pad"] = Field("crop", description="how an image is brought to that size")
    val_fraction: float = Field(
        0.1, ge=0.0, lt=1.0, description="share of the training images held out to choose the best epoch"
    )
    test_fraction: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of the images held out for a test; copies stay on one side"
    )
    augment: str = Field(
        "crop",
        description=f"augmentation: {', '.join(POLICIES)}; or spelled out: flip() + resized_crop(scale=(0.5, 1))",
    )
    mix: MixName = Field("none", description="mix each image and its target with another: none, mixup or cutmix")
    mix_alpha: float | None = Field(
        None, ge=0.1, le=1.0, description="alpha of the Beta distribution that draws the shares of a mix, 0.1 to 1"
    )
    # 2. model
    model: str = Field("lenet-bn", description="a network: see `twofold models`")
    model_options: dict[str, Option] = Field(
        default_factory=dict, description="options of the network, e.g. stem small width 0.5"
    )
    weights: Name | None = Field(
        None,
        description="weights to start from: a run folder, a .safetensors or .pth file, DEFAULT or timm:NAME",
    )
    weights_partial: tuple[str, ...] = Field(
        (), description="parts of the network that these weights need not fit, e.g. fc"
    )
    freeze: int = Field(0, ge=0, description="number of stages, from the image on, that keep their weights")
    unfreeze_epochs: float | None = Field(
        None, gt=0.0, description="epochs after which one frozen stage more is freed, from the head on"
    )
    freeze_norm: bool = Field(False, description="keep the statistics and scales of batch normalisation as they are")
    layer_decay: float = Field(
        1.0, gt=0.0, le=1.0, description="factor on the learning rate for each stage further from the head"
    )
    flip_average: bool = Field(
        False, description="in evaluation and prediction, average the logits of each image and its mirror image"
    )
    # 3. loss
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="share of each target spread over all classes")
    class_weights: Literal["none", "balanced"] | dict[Name, PositiveWeight] = Field(
        "none",
        description="weight of each class in the loss: none, balanced (the fewer images, the heavier) "
        "or a file of class,weight",
    )
    box_loss: Literal["smooth-l1", "giou"] | None = Field(
        None, description="of a detector, how wrong a box is: smooth L1 of its offsets, or generalised IoU"
    )
    matching: Literal["d2l", "torchvision"] | None = Field(
        None, description="of a detector, how each object gets an anchor: D2L's way or torchvision's"
    )
    # 4. optimiser
    optimizer: OptimizerName = Field("adamw", description="the update rule")
    lr: float | None = Field(None, gt=0.0, description="peak learning rate")
    weight_decay: float | None = Field(None, ge=0.0, description="weight decay")
    decay_norm_and_bias: bool = Field(False, description="let biases and normalisation layers decay too")
    lr_scale: dict[str, float] = Field(
        default_factory=dict,
        description="factor on the learning rate of parameters by a pattern of their names, e.g. 'fc.*' 10",
    )
    decay_scale: dict[str, float] = Field(
        default_factory=dict, description="factor on the weight decay of parameters by a pattern of their names"
    )
    momentum: float | None = Field(None, ge=0.0, lt=1.0, description="momentum, for sgd")
    nesterov: bool | None = Field(None, description="Nesterov's look-ahead, for sgd")
    gamma: float | None = Field(
        None, ge=0.0, lt=1.0, description="share of the average of squared gradients that is kept, for rmsprop"
    )
    rho: float | None = Field(
        None,
        ge=0.0,
        lt=1.0,
        description="share of the averages of squared gradients and steps that is kept, for adadelta",
    )
    beta1: float | None = Field(
        None, ge=0.0, lt=1.0, description="share of the average of gradients that is kept, for adam and adamw"
    )
    beta2: float | None = Field(
        None, ge=0.0, lt=1.0, description="share of the average of squared gradients that is kept, for adam and adamw"
    )
    epsilon: float | None = Field(None, gt=0.0, description="what keeps the division finite, for all but sgd")
    convention: Literal["torch", "d2l"] | None = Field(
        None, description="whose form of the update rule: torch's or that of Dive into Deep Learning"
    )
    schedule: ScheduleName = Field("one-cycle", description="how the learning rate moves")
    warmup: Share | None = Field(
        None, description="share of the training with a rising learning rate, for one-cycle and warmup-cosine"
    )
    final_lr: Share | None = Field(
        None, description="last learning rate as a share of the peak, for one-cycle and warmup-cosine"
    )
    step_epochs: float | None = Field(
        None, gt=0.0, description="epochs from one drop of the learning rate to the next, for step"
    )
    step_factor: float | None = Field(
        None, gt=0.0, le=1.0, description="factor on the learning rate at each drop, for step"
    )
    alpha: float | None = Field(
        None, ge=-10.0, le=1.0, description="lr * t**alpha for power, lr * alpha**t for exponential, t in epochs"
    )
    # 5. training
    epochs: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="passes over the images; 10, or 30 of a detector, more of few images, if left out",
    )
    minutes: float | None = Field(None, gt=0.0, description="budget of training time in place of epochs")
    batch_size: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="images in a batch; 128, or 32 of a detector, fewer of few images, if left out",
    )
    accumulate: int = Field(1, ge=1, le=10_000, description="batches whose gradients make one step")
    grad_clip: float | None = Field(
        None, gt=0.0, description="largest norm of the gradient; a larger one is scaled down to it"
    )
    ema_decay: float | None = Field(
        None, gt=0.0, lt=1.0, description="share of the moving average of the weights that is kept at each step"
    )
    measure_norm: bool | None = Field(
        None,
        description="measure batch normalisation's statistics anew before each evaluation; for few images, if left out",
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        "shuffled",
        description="images of an epoch: shuffled, each once; or balanced, each class as often as any other",
    )
    select_by: str | None = Field(
        None,
        description=f"metric on the validation images that chooses the best epoch: {', '.join(_METRIC_NAMES)}; "
        "the first that there is, if left out",
    )
    patience: int | None = Field(
        None, ge=1, description="number of epochs without a better one after which training stops"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of every random draw")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to compute")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="precision of the arithmetic")
    winograd: bool = Field(
        True, description="on a CPU in float32, compute wide 3x3 convolutions by Winograd's algorithm"
    )
    compile: bool = Field(
        False, description="compile the network, the colour jitter and all update rules but Adam's with torch.compile"
    )
    form: Literal["fast", "scratch"] = Field(
        "fast", description="what computes: torch's operations, or those written out in twofold.scratch"
    )

    def __init__(self, *unnamed: Any, **settings: Any) -> None:
        """Make a recipe of `settings`, each by its name; those that are left out have their defaults.

        Raises:
            TwofoldError: an unknown setting, a value that it cannot have, or two that exclude each other.
        """
        if unnamed:
            model = unnamed[0] if isinstance(unnamed[0], str) and unnamed[0] in MODELS else "lenet-bn"
            words = SettingError("{}", {"model": model} | settings)
            raise TwofoldError(f"a Recipe takes its settings by name: Recipe({words}), got {unnamed[0]!r:.60}")
        self._fill_checked(**settings)
        self.check_data()

    def _fill_checked(self, **settings: Any) -> None:
        known = type(self).model_fields
        for name in settings.keys() - known.keys():
            raise unknown_setting(name, known) or TwofoldError(f"unknown setting {name!r}: {nearest(name, known)}")
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _one_line(error) from None

    def check_data(self) -> None:
        """Check what depends on the files of this machine: that the data are there, and images to validate on.

        A recipe that was read from a run is not checked so: its images may lie elsewhere, and its network can be used
        without them.

        Raises:
            TwofoldError: unknown or missing data, or nothing to be patient about.
        """
        check_data_name(self.data, self.images)
        for name in ("patience", "select_by"):
            value = getattr(self, name)
            if value is not None and self.val_fraction == 0.0 and not self._has_own_validation():
                raise SettingError("{} needs validation images; set e.g. {}", {name: value}, {"val_fraction": 0.1})

    def _has_own_validation(self) -> bool:
        """Tell whether the data are a folder or a table with validation images of its own."""
        from twofold.data.sources.boxes_find import count_by_split

        path = expanded(plain_name(self.data))
        if self.data in NAMED_BOXES:
            return True
        if (counts := count_by_split(self.data, self.images, self.columns)) is not None:
            return "val" in counts
        if is_table(self.data):
            return has_validation_rows(path, self.columns)
        return any((path / name).is_dir() for name in ("val", "valid", "validation"))

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, settings: Any) -> Any:
        """Give each dependent setting its choice's default; refuse one that its choice would ignore."""
        if not isinstance(settings, Mapping):
            return settings
        filled = dict(settings)
        for name, value in defaults_of(filled.get("model", cls.model_fields["model"].default)).items():
            if filled.get(name) is None:
                filled[name] = value
        weights = filled.get("class_weights")
        if isinstance(weights, str) and weights not in ("none", "balanced"):
            filled["class_weights"] = read_class_weights(weights)
        for name, (chooser, defaults) in DEPENDENT_SETTINGS.items():
            choice = filled.get(chooser, cls.model_fields[chooser].default)
            if filled.get(name) is None:
                filled[name] = (
                    _dependent_default(name, choice, filled.get("model")) if isinstance(choice, str) else None
                )
            elif choice in get_args(cls.model_fields[chooser].annotation) and choice not in defaults:
                ways = [{chooser: other} for other in defaults]
                others = " or ".join(["{}"] * len(ways))
                message = f"{{}} has no effect with {{}}; leave it out, or choose {others}"
                raise SettingError(message, {name: filled[name]}, {chooser: choice}, *ways)
        return filled

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        check_known("model", self.model, MODELS)
        check_model_options(self.model, self.model_options)
        check_policy(self.augment)
        check_table_settings(self.data, self.images, self.columns)
        if self.epochs is not None and self.minutes is not None:
            raise SettingError(
                "{} and {} exclude each other; leave one out", {"epochs": self.epochs}, {"minutes": self.minutes}
            )
        self._check_optimizer()
        self._check_detector()
        if self.select_by is not None and self.select_by not in _METRIC_NAMES:
            raise SettingError(
                f"no epoch is measured by {{}}: {nearest(self.select_by, _METRIC_NAMES)}", {"select_by": self.select_by}
            )
        if self.sampling == self.class_weights == "balanced":
            ways = ({"sampling": "balanced"}, {"class_weights": "balanced"})
            raise SettingError("{} and {} would both make up for the same images; leave one out", *ways)
        if self.weights_partial and self.weights is None:
            given = {"weights_partial": self.weights_partial}
            raise SettingError("{} has no effect without {}; leave it out", given, "weights")
        if self.unfreeze_epochs is not None and self.freeze == 0:
            given = {"unfreeze_epochs": self.unfreeze_epochs}
            ways = given, {"freeze": 0}, {"freeze": 2}
            raise SettingError("{} has no effect with {}; leave it out, or say how many stages, e.g. {}", *ways)
        if self.form == "scratch" and self.precision == "bfloat16":
            own = {"precision": self.precision}
            raise SettingError("{} computes in float32; leave {} out", {"form": self.form}, own)
        if self.form == "scratch" and self.compile:
            own = {"compile": self.compile}
            raise SettingError("{} is there to be read, not compiled; leave {} out", {"form": self.form}, own)
        for setting in ("lr_scale", "decay_scale"):
            for pattern, factor in getattr(self, setting).items():
                if factor < 0.0:
                    raise SettingError("{} must be 0 or more", {setting: {pattern: factor}})
        return self

    def _check_detector(self) -> None:
        """Check settings that only detectors have, and those that they cannot have."""
        if MODELS[self.model].task != "detect":
            for name in ("box_loss", "matching"):
                if (value := getattr(self, name)) is not None:
                    raise SettingError(
                        "{} is for detectors, and " + self.model + " is none; leave it out", {name: value}
                    )
            return
        for name, plain in (("mix", "none"), ("flip_average", False)):
            if (value := getattr(self, name)) != plain:
                given = ({name: value}, {"model": self.model})
                raise SettingError("{} is for classifiers, not for {}; leave it out", *given)
        if self.resize == "crop":
            ways = ({"resize": "crop"}, {"resize": "stretch"}, {"resize": "pad"})
            raise SettingError("{} would cut objects off; choose {} or {}", *ways)

    def _check_optimizer(self) -> None:
        """Check settings of the optimiser and the schedule that exclude one another."""
        if self.nesterov and self.momentum == 0.0:
            ways = ({"nesterov": False}, {"momentum": 0.9})
            raise SettingError("{} needs a momentum above 0; set {}, or e.g. {}", {"nesterov": True}, *ways)
        if self.convention == "d2l" and self.optimizer == "sgd" and (self.nesterov or self.momentum == 0.0):
            given = ({"convention": "d2l"}, {"nesterov": True}, {"nesterov": False})
            raise SettingError("{} has no effect on sgd without momentum or with {}; set {}", *given)
        given = {"alpha": self.alpha}
        if self.schedule == "power" and self.alpha is not None and self.alpha > 0.0:
            raise SettingError("{} lets the learning rate grow; the schedule power takes -10 to 0", given)
        if self.schedule == "exponential" and self.alpha is not None and self.alpha <= 0.0:
            raise SettingError("{} leaves no learning rate; the schedule exponential takes above 0 to 1", given)

    def override(self, **changes: Any) -> Recipe:
        """Return a copy with `changes`.

        Another optimiser or schedule starts from its own defaults, not from settings tuned for the one it replaces;
        another model starts without options, and with its own defaults where the old one had its; `minutes` replaces
        `epochs` and the other way round.
        """
        settings = self.model_dump()
        for name, (chooser, _) in DEPENDENT_SETTINGS.items():
            if chooser in changes and changes[chooser] != settings[chooser]:
                settings[name] = None
        if "model" in changes and changes["model"] != self.model:
            settings["model_options"] = {}
            for name, (chooser, _) in DEPENDENT_SETTINGS.items():
                if settings[name] == _dependent_default(name, settings[chooser], self.model):
                    settings[name] = None
            settings |= dict.fromkeys(_OF_TASK, None) if _task(changes["model"]) != _task(self.model) else {}
        for name, other in (("epochs", "minutes"), ("minutes", "epochs")):
            if changes.get(name) is not None:
                settings[other] = None
        return Recipe(**(settings | changes))

    def settled(self, num_images: int) -> Recipe:
        """Return the recipe with what it leaves to the number of training images: the batch size and the epochs.

        Of few images, batches of 128 make too few steps: the schedule has hardly begun when it ends, and batch
        normalisation's statistics are those of weights long gone. So a batch is about a sixteenth of them, and there
        are as many epochs as make 300 steps, at most 30 (`benchmarks/small_data.py`). Detectors take batches of at most
        32, and 30 to 100 epochs.
        """
        changes: dict[str, Any] = {}
        if self.measure_norm is None:
            changes["measure_norm"] = num_images < _FEW_IMAGES
        batch_size = self.batch_size
        detects = MODELS[self.model].task == "detect"
        if batch_size is None:
            batch_size = changes["batch_size"] = 2 ** min(
                5 if detects else 7, max(3, round(math.log2(max(1, num_images / 16))))
            )
        if self.epochs is None and self.minutes is None:
            steps = max(1, num_images // (batch_size * self.accumulate))
            # Detectors learn longer: where things are, not only what they are.
            fewest, most, wanted = (30, 100, 600) if detects else (10, 30, 300)
            changes["epochs"] = min(most, max(fewest, math.ceil(wanted / steps)))
        return self.model_copy(update=changes)

    def learning_rate(self) -> Schedule:
        """Return the schedule of the learning rate."""
        optional = {name: getattr(self, name) for name in ("warmup", "final_lr", "step_epochs", "step_factor", "alpha")}
        assert self.lr is not None
        given = {name: value for name, value in optional.items() if value is not None}
        return Schedule(name=self.schedule, lr=self.lr, **given)

    def update_rule(self) -> tuple[str, dict[str, Any]]:
        """Return the name of the update rule in `twofold.optim.rules`, and its settings but lr and weight decay."""
        names = {"momentum": "momentum", "gamma": "gamma", "rho": "rho", "beta1": "beta1", "beta2": "beta2"}
        names |= {"eps": "epsilon", "convention": "convention"}
        given = {argument: getattr(self, field) for argument, field in names.items()}
        settings = {argument: value for argument, value in given.items() if value is not None}
        if self.optimizer != "sgd":
            return self.optimizer, settings
        if not self.momentum:
            return "sgd", {}
        if self.nesterov:
            return "nesterov", {"momentum": self.momentum}
        return "momentum", settings

    def __repr__(self) -> str:
        """Return what differs from the defaults, cut where it would be longer than two lines."""
        plain = {name: info.default for name, info in type(self).model_fields.items()}
        for name, (chooser, defaults) in DEPENDENT_SETTINGS.items():
            plain[name] = defaults.get(getattr(self, chooser))
        words = [f"model={self.model!r}", f"data={self.data!r}"]
        words += [
            f"{name}={value!r}"
            for name, value in self
            if name not in {"model", "data"} and value not in (plain[name], {}, ())
        ]
        shown = len(words)
        while len(", ".join(words[:shown])) > _REPR_LENGTH:
            shown -= 1
        more = [f"… {len(words) - shown} more"] if shown < len(words) else []
        return f"Recipe({', '.join([*words[:shown], *more])})"

    __str__ = __repr__

    def to_json(self) -> str:
        """Return the recipe as indented JSON, every setting spelled out."""
        return json_text(self.model_dump(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "recipe") -> Recipe:
        """Return the recipe in `text`, as `load` does; `source` names it in errors."""
        return cls._recorded(parse_json(text, source=source), source)

    @classmethod
    def load(cls, path: Path | str) -> Recipe:
        """Return the recipe in the JSON file `path`, whether or not its data are on this machine."""
        return cls._recorded(read_json(Path(path)), str(path))

    @classmethod
    def _recorded(cls, settings: Any, source: str) -> Recipe:
        if not isinstance(settings, dict):
            raise TwofoldError(f"{source} must hold a JSON object of settings, got {type(settings).__name__}")
        settings = dict(settings)
        # Until 0.1 the book's convention and its augmentation had another name.
        if settings.get("convention") == "notes":
            settings["convention"] = "d2l"
        if isinstance(settings.get("augment"), str):
            settings["augment"] = re.sub(r"\bnotes\b", "d2l", settings["augment"])
        # What older recipes spell out was trained with the statistics as they stood.
        if settings.get("batch_size") is not None:
            settings.setdefault("measure_norm", False)
        recipe = cls.__new__(cls)
        try:
            recipe._fill_checked(**settings)
        except TwofoldError as error:
            raise TwofoldError(f"{source}: {error}") from None
        return recipe


Recipe.__doc__ = f"{Recipe.__doc__}\n\n{settings_in_words(Recipe, DEPENDENT_SETTINGS)}"
Recipe.__signature__ = inspect.Signature([inspect.Parameter("settings", inspect.Parameter.VAR_KEYWORD)])


def _one_line(error: ValidationError) -> TwofoldError:
    """Return the first mistake in a pydantic error as one line: the setting, what is wrong, what it got."""
    first = error.errors(include_url=False)[0]
    if cause := first.get("ctx", {}).get("error"):
        return cause if isinstance(cause, TwofoldError) else TwofoldError(str(cause))
    setting, got = str(first["loc"][0]), first["input"]
    if isinstance(got, str) and (other := other_value(setting, got)):
        return other
    message = first["msg"].replace("Input should be", "must be", 1).replace("Input", "it", 1)
    text = f"{message[0].lower() + message[1:]}, got {got!r}"
    choices = get_args(Recipe.model_fields[setting].annotation)
    if first["type"] == "literal_error" and (close := near_names(str(got), map(str, choices))):
        text += f"; did you mean {' or '.join(map(repr, close))}?"
    return SettingError(f"{{}} {text}", setting)
