"""What the report says in words and numbers: the facts of the run, its recipe, its environment, its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twofold.records import EnvironmentRecord
from twofold.report.charts import significant
from twofold.report.read import RunFiles
from twofold.terminal import quoted, short_count


@dataclass(frozen=True)
class Fact:
    """A label and a value, with a smaller line under it; a command has `words`, which lines break between."""

    label: str
    value: str
    detail: str | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A setting of the recipe; `default` is its default in words where it differs from that."""

    name: str
    value: str
    default: str | None


def headline_facts(files: RunFiles) -> tuple[Fact, ...]:
    """Return what one wants to know first: time, speed, size, device, precision, date."""
    run, environment = files.run, files.environment
    facts: list[Fact] = []
    if run is not None and run.train_seconds is not None:
        done, planned = run.epochs_done, files.recipe.get("epochs")
        epochs = None if done is None else _counted(done, "epoch")
        if done is not None and isinstance(planned, int) and planned != done:
            epochs = f"{done} of {_counted(planned, 'epoch')}"
        facts.append(Fact("Training time", duration(run.train_seconds), epochs))
    # Over epochs, or over steps where no epoch was finished.
    if speeds := sorted(line.images_per_second for line in files.epochs or files.steps if line.images_per_second):
        facts.append(Fact("Images a second", significant(speeds[len(speeds) // 2]), "in training, median"))
    if run is not None and run.num_parameters is not None:
        short = short_count(run.num_parameters).replace(" ", "\u00a0")
        facts.append(Fact("Parameters", short, f"{run.num_parameters:,}"))
    if environment is not None and (environment.device or environment.device_name):
        name = environment.device_name or environment.device or ""
        details = [environment.device] if environment.device and environment.device_name else []
        # On a GPU the CPU's threads say little.
        if environment.device == "cpu" and environment.threads:
            details.append(_counted(environment.threads, "thread"))
        facts.append(Fact("Device", name, " · ".join(details) or None))
    if environment is not None and environment.precision:
        layout = "channels-last" if environment.channels_last else None
        facts.append(Fact("Precision", environment.precision, layout))
    if run is not None and (when := run.started or run.finished) is not None:
        facts.append(Fact("Date", f"{when.day} {when:%b %Y}", f"{when:%H:%M} {when.tzname() or ''}".strip()))
    return tuple(facts)


def duration(seconds: float) -> str:
    """Return a time span in the two largest units that say something.

    >>> duration(8.25), duration(41.2), duration(192), duration(7500)
    ('8.2\\xa0s', '41\\xa0s', '3\\xa0min 12\\xa0s', '2\\xa0h 05\\xa0min')
    """
    if seconds < 10:
        return f"{seconds:.1f}\u00a0s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}\u00a0s"
    if whole < 3600:
        return f"{whole // 60}\u00a0min {whole % 60:02}\u00a0s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}\u00a0h {minutes % 60:02}\u00a0min"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def recipe_settings(recipe: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Return the recipe's settings in its own order, those that differ from their defaults marked."""
    from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe

    defaults = Recipe().model_dump()
    # The default of a setting that belongs to a choice, such as momentum, is that of the run's choice.
    for name, (chooser, by_choice) in DEPENDENT_SETTINGS.items():
        choice = recipe.get(chooser, defaults[chooser])
        defaults[name] = by_choice.get(choice) if isinstance(choice, str) else None
    settings = []
    for name, value in recipe.items():
        # In words, since an empty list of a JSON file and an empty tuple of a recipe are the same setting.
        given, default = _words(value), _words(defaults.get(name, value))
        settings.append(Setting(name, given, None if given == default else default))
    return tuple(settings)


def _words(value: Any) -> str:
    """Return a value of a JSON file as a person would write it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case dict():
            return ", ".join(f"{key}={_words(part)}" for key, part in value.items()) or "none"
        case list() | tuple():
            return ", ".join(_words(part) for part in value) or "none"
        case _:
            return str(value)


def environment_facts(environment: EnvironmentRecord | None) -> tuple[Fact, ...]:
    """Return on what the run was computed, or nothing where that is not known."""
    if environment is None:
        return ()
    memory_format = {True: "channels-last", False: "contiguous", None: None}[environment.channels_last]
    device = " · ".join(part for part in (environment.device, environment.device_name) if part)
    command = tuple(quoted(word) for word in environment.command)
    facts = _known_facts(
        ("Twofold", environment.twofold, None),
        ("PyTorch", environment.torch, None),
        ("torchvision", environment.torchvision, None),
        ("Python", environment.python, None),
        ("Operating system", environment.platform, None),
        ("Device", device, None),
        ("Threads", environment.threads, None),
        ("Precision", environment.precision, environment.precision_reason),
        ("Memory format", memory_format, None),
        ("Git commit", environment.git_commit, None),
    )
    return (*facts, Fact("Command", " ".join(command), words=command)) if command else facts


def data_facts(files: RunFiles) -> tuple[Fact, ...]:
    """Return which images, and how many of each split, or nothing where only the recipe is known."""
    run = files.run
    if run is None and files.spec is None:
        return ()
    splits = {"train": "Training images", "val": "Validation images", "test": "Test images"}
    counts = dict(run.num_images) if run else {}
    names = (files.spec or {}).get("class_names")
    return _known_facts(
        ("Data", files.recipe.get("data"), None),
        ("Classes", len(names) if names and isinstance(names, list) else None, None),
        *((splits.get(split, split), f"{count:,}", None) for split, count in counts.items()),
        ("Fingerprint", run.data_fingerprint if run else None, None),
    )


def preprocessing_facts(spec: Mapping[str, Any] | None) -> tuple[Fact, ...]:
    """Return the preprocessing spec in the order of its file."""
    facts = []
    for key, value in (spec or {}).items():
        if key not in {"format", "class_names"}:
            is_size = key == "image_size" and isinstance(value, list)
            words = " × ".join(map(_words, value)) if is_size else _words(value)
            names = spec.get("class_names") if spec else None
            if key == "label_thresholds" and isinstance(value, list) and isinstance(names, list):
                words = ", ".join(f"{name} {_words(each)}" for name, each in zip(names, value, strict=False)) or "none"
            facts.append(Fact(key.replace("_", " ").capitalize(), words))
    return tuple(facts)


def _known_facts(*facts: tuple[str, Any, str | None]) -> tuple[Fact, ...]:
    return tuple(Fact(label, str(value), detail) for label, value, detail in facts if value not in (None, ""))
