"""The lab of training: a run of the engine, live, and what goes on in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from twofold.engine.build import build_training, load_training_data
from twofold.engine.options import Options
from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe
from twofold.errors import TwofoldError
from twofold.labs.images import Opened
from twofold.labs.lab import Command, Exercise, Lab, LabSettings
from twofold.labs.layer_values import LayerValues
from twofold.labs.live_run import LiveRun
from twofold.labs.seeded import TURNS
from twofold.optim.schedule import ScheduleName
from twofold.terminal import command

# Those that make several steps a second on a laptop, and draw nothing at random in a step.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet-bn": ("lenet-bn", {}),
    "lenet": ("lenet", {}),
    "lenet-wide": ("lenet-bn", {"width": 3.0}),
    "lenet-narrow": ("lenet-bn", {"width": 0.5}),
    "sprint": ("sprint", {}),
    "resnet18-narrow": ("resnet18", {"stem": "adaptive", "width": 0.125}),
}
RULES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.0, "nesterov": False},
    "momentum": {"optimizer": "sgd", "nesterov": False},
    "nesterov": {"optimizer": "sgd"},
    **{name: {"optimizer": name} for name in ("adagrad", "rmsprop", "adadelta", "adam", "adamw")},
}
RATES: dict[str, float] = {
    **{name: float(DEPENDENT_SETTINGS["lr"][1][settings["optimizer"]]) for name, settings in RULES.items()},
    # Momentum's steps add up to about ten gradients.
    "sgd": 0.5,
    "momentum": 0.05,
}
_LEAST_RATE, _LARGEST_RATE = 1e-6, 1e4
_STEP_SECONDS = 2.0
_CLOSE_SECONDS = 5.0


class TrainingSettings(LabSettings):
    """What decides the lab of training.

    Attributes:
        network: one of `NETWORKS`.
        data: "fashion-mini", or the name of a data set that the lab was opened with.
        image_size: side of the images in px; their own if left out.
        rule: one of `RULES`.
        lr: learning rate; the rule's usual one if left out.
        weight_decay: the rule's usual one if left out.
        batch_size: images in a batch.
        epochs: passes over the images.
        schedule: how the learning rate moves.
        augment: how images are changed before each use.
        seed: of every random draw.
        layer: the layer whose maps are shown; the first if there is none of that name.
        image: whose feature maps are shown.
    """

    network: Literal["lenet-bn", "lenet", "lenet-wide", "lenet-narrow", "sprint", "resnet18-narrow"] = "lenet-bn"
    data: Annotated[str, Field(max_length=80)] = "fashion-mini"
    image_size: Annotated[int, Field(ge=16, le=128)] | None = None
    rule: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(ge=_LEAST_RATE, le=_LARGEST_RATE)] | None = None
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = None
    batch_size: Annotated[int, Field(ge=2, le=1024)] = 128
    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    schedule: ScheduleName = "constant"
    augment: Literal["none", "flip", "crop"] = "none"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    layer: Annotated[str, Field(max_length=80)] = ""
    image: Annotated[str, Field(max_length=80)] = "boot"


# What a run keeps; the rest may change while it goes.
_KEPT = ("network", "data", "image_size", "schedule", "augment", "seed")


def recipe_settings(settings: TrainingSettings, data: str) -> dict[str, Any]:
    """Return the settings of the recipe that differ from those of `Recipe()`, for images called `data` there."""
    model, options = NETWORKS[settings.network]
    wanted: dict[str, Any] = {
        "model": model,
        "model_options": options,
        "data": data,
        "image_size": settings.image_size,
        **RULES[settings.rule],
        "lr": RATES[settings.rule] if settings.lr is None else settings.lr,
        "weight_decay": settings.weight_decay,
        "schedule": settings.schedule,
        "augment": settings.augment,
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "seed": settings.seed,
        # "auto" measures which is faster, and so may differ from run to run.
        "precision": "float32",
    }
    plain = {name: field.default for name, field in Recipe.model_fields.items()}
    kept = {"model", "lr", "batch_size", "epochs", "seed"}
    return {name: value for name, value in wanted.items() if name in kept or value not in (plain[name], {})}


def settings_like(recipe: Recipe) -> tuple[TrainingSettings, list[str]]:
    """Return settings for what a recipe trains, and the names of the recipe's settings that the lab has otherwise.

    Where the images lie is left to whoever opens the lab.

    Raises:
        TwofoldError: the lab has not the network, or a value lies beyond what it takes.
    """
    own = (recipe.model, recipe.model_options)
    network = next((name for name, each in NETWORKS.items() if each == own), None)
    if network is None:
        names = ", ".join(shown_network(name) for name in NETWORKS)
        raise TwofoldError(f"the lab trains {names}; leave --lab out to train {recipe.model} with these options")
    rule: str = recipe.optimizer
    if rule == "sgd":
        rule = "nesterov" if recipe.nesterov else "momentum" if recipe.momentum else "sgd"
    values: dict[str, Any] = {"network": network, "rule": rule, "lr": recipe.lr, "weight_decay": recipe.weight_decay}
    values |= {name: getattr(recipe, name) for name in ("image_size", "schedule", "seed")}
    values |= {name: value for name in ("batch_size", "epochs") if (value := getattr(recipe, name)) is not None}
    values |= {"augment": recipe.augment} if recipe.augment in ("none", "flip", "crop") else {}
    plain = {"lr": RATES[rule], "weight_decay": DEPENDENT_SETTINGS["weight_decay"][1][recipe.optimizer]}
    values |= {name: None for name, usual in plain.items() if values[name] == usual}
    try:
        settings = TrainingSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TwofoldError(f"the lab cannot have {first['loc'][0]} {first['input']}: {first['msg'].lower()}") from error
    there = recipe_settings(settings, recipe.data)
    other = Recipe(**there)
    # What a run settles by itself, or what does not change what is seen.
    alike = {"data", "batch_size", "epochs", "measure_norm", "precision", "device"}
    return settings, [name for name, value in recipe if name not in alike and value != getattr(other, name)]


def shown_network(name: str) -> str:
    """Return a network of the lab as it is asked for on the command line."""
    model, options = NETWORKS[name]
    return " ".join([model, *(_words("model_options", options) if options else [])])


def _is_flat(epochs: list[dict[str, Any]]) -> bool:
    """Tell whether the accuracy of the last of these epochs is hardly better than that of the one before."""
    return len(epochs) > 1 and (epochs[-1]["val"] or 0) - (epochs[-2]["val"] or 0) < 0.01


def _halved(settings: TrainingSettings, shown: Mapping[str, Any]) -> bool:
    for change in shown["changes"]:
        was, now = change["was"].get("lr"), change["now"].get("lr")
        if not (was and now and abs(now / was - 0.5) < 0.1):
            continue
        before = [each for each in shown["epochs"] if each["step"] <= change["step"]]
        after = [each["val"] or 0 for each in shown["epochs"] if each["step"] > change["step"]]
        if _is_flat(before) and after and max(after) > max(each["val"] or 0 for each in before):
            return True
    return False


def _updates(shown: Mapping[str, Any]) -> list[float]:
    return [layer["update"] for layer in shown["layers"] if layer["update"] is not None]


def _smallest_gradient(shown: Mapping[str, Any]) -> str | None:
    means = {layer["name"]: layer["mean"] for layer in shown["layers"] if layer["mean"] is not None}
    return min(means, key=means.__getitem__) if means else None


class TrainingLab(Lab):
    """See `twofold lab training`."""

    name = "training"
    Settings = TrainingSettings
    reads = (
        "scratch.train:train_steps",
        "scratch.loss:cross_entropy",
        "scratch.loss:cross_entropy_backward",
        "scratch.optim:sgd",
        "scratch.optim:momentum",
        "scratch.optim:adam",
    )
    exercises: ClassVar = (
        Exercise(
            "Take a single step and look at the updates: what share of its weights does each layer change?",
            "只训练一步，看各层的更新：每层权重改变了多大比例？",
            lambda s, shown: shown["step"] == 1 and shown["state"] == "paused",
        ),
        Exercise(
            "Train until 80 % of the validation images are classified correctly.",
            "训练到验证准确率达到 80 %。",
            lambda s, shown: any((each["val"] or 0) >= 0.8 for each in shown["epochs"]),
        ),
        Exercise(
            "Train the network “LeNet, sigmoids” for 20 steps or more, and choose the layer with the smallest "
            "gradients (mean |g|).",
            "把网络“LeNet，sigmoid”训练 20 步以上，选中梯度（平均 |g|）最小的那一层。",
            lambda s, shown: (
                s.network == "lenet" and shown["step"] >= 20 and shown["inside"]["layer"] == _smallest_gradient(shown)
            ),
        ),
        Exercise(
            "Find a learning rate with which the loss explodes: to three times what it was at first, or to infinity.",
            "找到一个使损失爆炸的学习率：损失升到开始时的三倍，或变成无穷大。",
            lambda s, shown: shown["state"] == "diverged" or shown["last_loss"] > 3 * shown["first_loss"] > 0,
        ),
        Exercise(
            "Make each layer's update about a thousandth of its weights: from 0.0003 to 0.003, after 20 steps or more.",
            "让每层的更新约为权重的千分之一：训练 20 步以上，比例在 0.0003 到 0.003 之间。",
            lambda s, shown: (
                shown["step"] >= 20 and bool(_updates(shown)) and all(3e-4 <= each <= 3e-3 for each in _updates(shown))
            ),
        ),
        Exercise(
            "When an epoch brings less than 0.01 of validation accuracy, halve the learning rate, and get a better "
            "accuracy than before.",
            "当一轮带来的验证准确率提升不到 0.01 时，把学习率减半，并取得比之前更高的准确率。",
            _halved,
        ),
    )

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = TrainingSettings()
        self._run: LiveRun | None = None
        # Of the run: settings that it was begun with.
        self._begun = self._settings
        # Of the untrained network: what it was made of, what it is, and how many images there are.
        self._fresh: tuple[tuple[Any, ...], LayerValues, int] | None = None

    def about(self) -> dict[str, Any]:
        """Return networks, rules, their usual rates, and the data sets to choose from."""
        return {
            "networks": {name: [model, options] for name, (model, options) in NETWORKS.items()},
            "rules": list(RULES),
            "rates": RATES,
            "data_sets": ["fashion-mini", *(name for name in self.opened.data if name != "fashion-mini")],
            "kept": list(_KEPT),
        }

    def compute(self, settings: TrainingSettings) -> dict[str, Any]:
        """Return the state of the run, or the network before its first step; other settings change the run."""
        run = self._run
        if run is not None and self._kept(settings) != self._kept(self._begun):
            if not run.has_ended:
                raise ValueError(
                    f"{run.folder or 'the run'} keeps its network, data, schedule, augmentation and seed; stop it first"
                )
            run = self._run = None
        shown = self._shown(settings)
        # Only settings of which all is there: the thread that trains goes by them too.
        self._settings = settings
        if run is not None and not run.has_ended:
            run.want(self._recipe(settings))
        return shown

    def act(self, action: str, settings: TrainingSettings) -> dict[str, Any]:
        """Start or go on, pause, take one step, or stop."""
        if action not in ("start", "pause", "step", "stop"):
            raise ValueError(f"the lab training has no action {action[:40]!r}")
        run = self._run
        if action in ("pause", "stop"):
            if run is None or run.has_ended:
                raise ValueError(f"there is no run to {action}")
            run.pause() if action == "pause" else run.stop()
            run.wait(_STEP_SECONDS, lambda: action == "pause" and run.state == "paused")
            return self._shown(settings)
        self.compute(settings)
        run = self._run
        if run is None or run.has_ended:
            run = self._run = LiveRun(self._recipe(settings), self._tell)
            self._begun = settings
        before = run.step
        run.go(1 if action == "step" else float("inf"))
        run.wait(_STEP_SECONDS if action == "step" else 0.0, lambda: run.state == "paused" and run.step > before)
        return self._shown(settings)

    def command(self, settings: TrainingSettings) -> Command:
        """Return what trains the same; of a run that was changed, what goes on with it."""
        run = self._run
        if run is None or run.folder is None:
            return self._train_command(settings)
        # What the run began with, whatever the settings are now.
        begun = self._train_command(self._begun)
        go_on = command("train", "--resume", run.folder)
        folder = repr(str(run.folder))
        can_go_on = not (run.has_ended and run.state == "finished")
        resumed = f"twofold.resume({folder})"
        if run.changes:
            first = run.changes[0]["step"]
            said = f"# this run began as below and has had changes from step {first} on: {run.folder}/changes.jsonl"
            shell, python = [said, begun.shell], [said, *begun.python.split("\n")]
        else:
            shell, python = [begun.shell], begun.python.split("\n")
        if can_go_on:
            said = "# goes on with the run itself, when it is stopped here:"
            shell, python = [*shell, said, go_on], [*python, said, f"# {resumed}"]
        shell += [command("report", run.folder)] if run.has_ended else []
        return Command("\n".join(shell), "\n".join(python))

    def close(self) -> None:
        """Stop the run, and save it."""
        if self._run is not None:
            self._run.stop()
            self._run.join(_CLOSE_SECONDS)

    def _kept(self, settings: TrainingSettings) -> tuple[Any, ...]:
        return tuple(getattr(settings, name) for name in _KEPT)

    def _data(self, settings: TrainingSettings) -> str:
        if settings.data in self.opened.data:
            return self.opened.data[settings.data]
        if settings.data != "fashion-mini":
            raise ValueError(f"there is no data set {settings.data!r} here; give it with --data")
        return settings.data

    def _recipe(self, settings: TrainingSettings) -> Recipe:
        return Recipe(**recipe_settings(settings, self._data(settings)))

    def _train_command(self, settings: TrainingSettings) -> Command:
        wanted = recipe_settings(settings, self._data(settings))
        words = [word for name, value in wanted.items() if name != "model" for word in _words(name, value)]
        arguments = [f"    {name}={value!r}," for name, value in wanted.items()]
        python = ["import twofold", "", "recipe = twofold.Recipe(", *arguments, ")", "print(twofold.train(recipe))"]
        return Command(command("train", wanted["model"], *words), "\n".join(python))

    def _untrained(self, settings: TrainingSettings) -> tuple[LayerValues, int]:
        """Return the network before its first step, as the run will begin."""
        made_of = (settings.network, settings.data, settings.image_size, settings.seed)
        if self._fresh is None or self._fresh[0] != made_of:
            recipe = self._recipe(settings)
            with TURNS.taken():
                shared = load_training_data(recipe, Options(show=False), splits=("train", "val"))
                self._fresh = (made_of, LayerValues(build_training(recipe, shared)), len(shared.images))
        return self._fresh[1:]

    def _tell(self) -> None:
        """Send what is new; called in the thread that trains."""
        try:
            shown = self._shown(self._settings)
        except ValueError:  # the image has made room for later ones
            shown = self._shown(self._settings.model_copy(update={"image": TrainingSettings().image}))
        self.send(shown)

    def _shown(self, settings: TrainingSettings) -> dict[str, Any]:
        """Return what is shown now."""
        run = self._run
        values = run.values if run is not None else None
        if values is None:
            values, num_images = self._untrained(settings)
            steps_per_epoch = max(1, num_images // settings.batch_size)
        else:
            assert run is not None
            steps_per_epoch = run.steps_per_epoch
        channels, height, width = values.input_size
        image = self.opened.pixels(settings.image, (height, width), colour=channels == 3)
        inside = values.look(image, settings.layer)
        step_values = run.step_values if run is not None else None
        activations = inside.pop("activations")
        layers = [
            {
                **layer,
                "activations": activations.get(layer["name"]),
                **{"gradient": None, "norm": None, "mean": None, "update": None},
                **(step_values.layers.get(layer["name"], {}) if step_values is not None else {}),
            }
            for layer in values.describe()
        ]
        shown: dict[str, Any] = {
            "state": "ready",
            "run": None,
            "rate": RATES[settings.rule] if settings.lr is None else settings.lr,
            "step": 0,
            "epoch": 0.0,
            "steps_per_epoch": steps_per_epoch,
            "losses": {"step": [], "loss": []},
            "first_loss": 0.0,
            "last_loss": 0.0,
            "epochs": [],
            "changes": [],
            "error": "",
            "looked_at": step_values.step if step_values is not None else 0,
            "layers": layers,
            "inside": inside,
        }
        if run is None:
            return shown
        steps, losses = run.curve()
        return shown | {
            "state": run.state,
            "run": None if run.folder is None else str(run.folder),
            "step": run.step,
            "epoch": run.epoch,
            "lr": run.lr,
            "losses": {"step": steps, "loss": losses},
            "first_loss": run.first_loss or 0.0,
            "last_loss": run.last_loss or 0.0,
            "epochs": [
                {
                    "epoch": line.epoch,
                    "step": line.step,
                    "train": line.train.get("accuracy"),
                    "val": line.val.get("accuracy"),
                    "train_loss": line.train.get("loss"),
                    "val_loss": line.val.get("loss"),
                }
                for line in list(run.epochs)
            ],
            "changes": run.changes,
            "error": run.error,
        }


def _words(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, dict):
        return [flag, *(str(word) for pair in value.items() for word in pair)]
    # A whole number without a point, as a person types it.
    return [flag, str(value).removesuffix(".0") if isinstance(value, float) else str(value)]
