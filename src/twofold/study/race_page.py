"""The page of a race: one self-contained file that shows what was found, how, and under which conditions.

It has the look of the run report (`report/page.py`) and needs no script: what a pointer reveals is CSS
and SVG titles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twofold.records import RaceRecord
from twofold.report.bands import BandChart, BandPoint, BandSeries, Range, SearchChart, band_chart, ranges, search_chart
from twofold.report.charts import percent, significant
from twofold.report.facts import Fact, duration
from twofold.report.page import write_page
from twofold.study.race import CONTENDERS, RaceSettings, trial_value
from twofold.tasks.section import images_of
from twofold.terminal import command

_RELATIONS = {
    "first": "highest mean",
    "tied": "highest mean, too: a tie",
    "behind": "behind: the ranges do not overlap",
    "overlaps": "no clear difference: the ranges overlap",
    "unknown": "no clear difference: one run has no spread",
    "diverged": "diverged in every run",
}


def write_race_page(target: Path, record: RaceRecord) -> None:
    """Write the page of a finished race to `target`."""
    folder = Path(__file__).parent
    style = (folder / "race.css").read_text(encoding="utf-8")
    write_page(target, folder / "race.html.jinja", style=style, page=_page(record))


def _page(record: RaceRecord) -> dict[str, Any]:
    settings = RaceSettings.from_record(record.settings, source="race.json")
    table, jobs = record.table, record.environment.jobs
    strips = ranges([row["accuracies"] for row in table])
    return {
        "title": f"Race on {settings.model} and {record.data.name}",
        "count": f"{len(table)} update rules" if len(table) > 1 else "One update rule",
        "model": settings.model,
        "data": record.data.name,
        "verdict": record.verdict,
        "facts": _facts(record, settings),
        "notes": _notes(record, settings),
        "accuracy_head": "Test accuracy" if record.judged_on == "test" else "Validation accuracy",
        "rows": tuple(_row(row, strip) for row, strip in zip(table, strips, strict=True)),
        "table_remark": _table_remark(record, settings),
        "charts": _charts(record),
        "curves_remark": " Seconds are of training alone, without evaluation."
        + (f" {jobs} runs shared the machine, which slows each: compare seconds within this page only." * (jobs > 1)),
        "searches": _searches(record, settings),
        "search_remark": (
            f"Each rule had {settings.trials} trials of {_epochs(settings.trial_epochs)} with a seed that no run uses, "
            f"in a range of {settings.decades:g} decades around its usual learning rate; the lowest validation loss "
            "was taken. Crosses diverged."
        ),
        "fairness": _fairness(record, settings),
        "settings": _settings(record, settings),
        "commands": _commands(settings, table),
        "version": record.environment.twofold or "",
        "finished": f"{record.finished:%Y-%m-%d %H:%M:%S} {record.finished.tzname() or ''}".strip(),
    }


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _facts(record: RaceRecord, settings: RaceSettings) -> tuple[Fact, ...]:
    images = images_of(record.data.num_images[record.judged_on], record.judged_on)
    jobs = record.environment.jobs
    at_once = f"{jobs} {'process' if jobs == 1 else 'processes'} of {settings.threads} thread"
    return (
        Fact("Evaluated on", images, "looked at once, at the end of each run"),
        Fact("Runs a rule", f"{settings.seeds}", f"{_epochs(settings.epochs)}, batches of {settings.batch_size}"),
        Fact("Search a rule", f"{settings.trials} trials", f"{_epochs(settings.trial_epochs)} each"),
        Fact("Device", record.environment.device_name or "", at_once + ("s" if settings.threads > 1 else "")),
    )


def _notes(record: RaceRecord, settings: RaceSettings) -> tuple[str, ...]:
    notes: list[str] = []
    if record.judged_on != "test":
        notes.append("There are no test images: the runs are compared on the images that chose the learning rates.")
    for row in record.table:
        name = row["optimizer"]
        num_trials = sum(trial["diverged"] is not None for trial in record.trials[name])
        if num_trials == settings.trials:
            notes.append(f"{name} diverged at all {num_trials} learning rates that were tried, so it did not run.")
        for run in record.runs.get(name, ()):
            if run["diverged"] is not None:
                notes.append(f"{name}, seed {run['seed']}, was stopped: {run['diverged']}.")
        if row["at_edge"]:
            notes.append(
                f"The best learning rate of {name}, {row['lr']:.3g}, is the outermost that was tried: a wider search "
                f"(--decades {settings.decades + 1:g}) may find a better one."
            )
    return tuple(notes)


def _row(row: Mapping[str, Any], strip: Range | None) -> dict[str, Any]:
    """Return a row of the table, in words."""
    accuracies = row["accuracies"]
    relation = _RELATIONS[row["relation"]]
    if row["diverged"] and accuracies:
        relation += f"; {len(row['diverged'])} of {len(row['diverged']) + len(accuracies)} runs diverged"
    if row["lr"] is None:
        relation = "diverged at every learning rate"
    return {
        "name": row["optimizer"],
        "mean": "–" if row["mean"] is None else percent(row["mean"], 2),
        "range": f"{100 * min(accuracies):.2f} to {100 * max(accuracies):.2f}" if len(accuracies) > 1 else "–",
        "strip": strip,
        "runs": "runs: " + ", ".join(percent(value, 2) for value in accuracies),
        "lr": "–" if row["lr"] is None else f"{row['lr']:.3g}",
        "seconds": "–" if row["seconds"] is None else duration(row["seconds"]),
        "relation": relation,
    }


def _table_remark(record: RaceRecord, settings: RaceSettings) -> str:
    count, first = record.data.num_images[record.judged_on], record.table[0]
    accuracy = first["mean"] if first["accuracies"] else 0.5
    deviation = (accuracy * (1 - accuracy) / count) ** 0.5
    return (
        "Accuracy is that of the weights after the last epoch. The range is over the seeds: it holds the chance in "
        f"initial weights and order, not the choice of these {images_of(count, record.judged_on)}, which adds a "
        f"standard deviation of about {100 * deviation:.1f} points to each accuracy (much of it is common to all)."
        + ("" if settings.seeds > 1 else " One run a rule shows no spread.")
    )


def _charts(record: RaceRecord) -> tuple[BandChart, ...]:
    curves: dict[str, dict[str, list[Any]]] = {"val": {}, "loss": {}}
    # The first is drawn last, over the others.
    for row in reversed(record.table):
        name = row["optimizer"]
        if runs := [run for run in record.runs.get(name, ()) if run["diverged"] is None]:
            curves["val"][name] = [
                [[e["epoch"], e["seconds"], e["val_accuracy"]] for e in run["epochs"]] for run in runs
            ]
            curves["loss"][name] = [run["curve"] for run in runs]
    made: list[BandChart | None] = []
    for what, title in (("val", "Validation accuracy"), ("loss", "Training loss")):
        for x, (unit, x_label) in enumerate((("epochs", "epochs"), ("seconds", "seconds of training"))):
            series = [BandSeries(name, name, _points(runs, x)) for name, runs in curves[what].items()]
            made.append(band_chart(f"{what}-{unit}", title, x_label, series, as_percent=what == "val"))
    return tuple(chart for chart in made if chart is not None)


def _points(runs: Sequence[Sequence[Sequence[float]]], x: int) -> list[BandPoint]:
    """Return mean, lowest and highest of the runs at each point; `x` is the column of the x axis, averaged too."""
    points = []
    for same in zip(*runs, strict=True):
        values = [point[2] for point in same]
        points.append(
            BandPoint(sum(point[x] for point in same) / len(same), sum(values) / len(values), min(values), max(values))
        )
    return points


def _searches(record: RaceRecord, settings: RaceSettings) -> tuple[SearchChart, ...]:
    finite = [trial_value(trial) for own in record.trials.values() for trial in own if trial["diverged"] is None]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    margin = 0.06 * ((high - low) or 1.0)
    charts = []
    for row in record.table:
        name, chosen = row["optimizer"], row["lr"]
        own = [(trial["lr"], None if trial["diverged"] else trial_value(trial)) for trial in record.trials[name]]
        gone = sum(value is None for _, value in own)
        caption = "all diverged" if chosen is None else f"chosen: {chosen:.3g}"
        if chosen is not None and gone:
            caption += f"; {gone} of {len(own)} diverged"
        charts.append(
            search_chart(name, name, own, chosen, settings.search_range(name), (low - margin, high + margin), caption)
        )
    return tuple(charts)


def _fairness(record: RaceRecord, settings: RaceSettings) -> tuple[str, ...]:
    starts: dict[int, set[tuple[str, str]]] = {}
    for own in record.runs.values():
        for run in own:
            if run["diverged"] is None:
                starts.setdefault(run["seed"], set()).add((run["initial_weights"], run["image_order"]))
    agree = all(len(of_seed) == 1 for of_seed in starts.values())
    same = "; digests of both are in race.json, and agree" if agree else ""
    lines = [
        f"For each seed every rule had the same initial weights and the same batches{same}.",
        "Each rule had the same number of trials, epochs a trial and width of search.",
        f"The learning rate's schedule is “{settings.schedule}”, the augmentation “{settings.augment}”, for all.",
        "A run or trial stops when its loss is not finite, or rises to four times what it began with.",
        "No weight decay"
        + (", but for adamw, where it is part of the rule." if "adamw" in settings.optimizers else "."),
    ]
    remarks = [f"{name}: {CONTENDERS[name].remark}" for name in settings.optimizers if CONTENDERS[name].remark]
    if remarks:
        lines.append(f"Settings of the rules are the usual ones ({'; '.join(remarks)}).")
    return tuple(lines)


def _settings(record: RaceRecord, settings: RaceSettings) -> tuple[Fact, ...]:
    environment, data = record.environment, record.data
    counts = ", ".join(f"{count:,} {split}" for split, count in data.num_images.items())
    seeds = ", ".join(str(settings.seed + index) for index in range(settings.seeds))
    commit = f"({environment.git_commit})" if environment.git_commit else None
    return (
        Fact("network", settings.model),
        Fact("images", f"{data.name}: {counts}"),
        Fact("fingerprint", data.fingerprint[:16]),
        Fact("seeds", seeds),
        Fact("epochs", f"{settings.epochs} a run, {settings.trial_epochs} a trial"),
        Fact("batch size", f"{settings.batch_size}"),
        Fact("schedule", settings.schedule),
        Fact("augmentation", settings.augment),
        Fact("device", f"{environment.device_name} ({environment.device})"),
        Fact("precision", environment.precision or ""),
        Fact("processes × threads", f"{environment.jobs} × {settings.threads}"),
        Fact("torch", environment.torch or ""),
        Fact("optuna", environment.optuna or ""),
        Fact("twofold", " ".join(filter(None, (environment.twofold, commit)))),
    )


def _words_of_data(settings: RaceSettings) -> list[str]:
    """Return what belongs to --data: of a table, its images and columns; what is held out or left out."""
    words = [] if settings.images is None else ["--images", settings.images]
    words += ["--columns", *(f"{role}={name}" for role, name in settings.columns.items())] if settings.columns else []
    words += ["--test-fraction", str(settings.test_fraction)] if settings.test_fraction else []
    return words + (["--skip-broken"] if settings.skip_broken else [])


def _commands(settings: RaceSettings, table: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    first = table[0]
    commands: list[tuple[str, str]] = []
    if first["lr"] is not None:
        words = ["train", settings.model, "--data", settings.data, *_words_of_data(settings)]
        rule = {**CONTENDERS[first["optimizer"]].settings}
        rule = {"weight_decay": 0.0, **rule, "lr": float(significant(first["lr"]).replace(",", ""))}
        for name, value in rule.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        words += ["--schedule", settings.schedule, "--augment", settings.augment]
        words += ["--batch-size", str(settings.batch_size)]
        commands.append((f"Train with {first['optimizer']}, as here", command(*words)))
    changes = settings.to_record() | {"seeds": settings.seeds + 2}
    usual = RaceSettings().to_record()
    again = ["race", "--optimizer", *settings.optimizers]
    for name, value in changes.items():
        if name == "data":
            again += ["--data", settings.data, *_words_of_data(settings)]
        elif name in {"images", "columns", "test_fraction", "skip_broken"}:
            continue
        elif name in {"model", "seeds"} or (name != "optimizers" and value != usual[name]):
            again += [f"--{name.replace('_', '-')}", str(value)]
    commands.append(("Race again with more seeds", command(*again)))
    return tuple(commands)
