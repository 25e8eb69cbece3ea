"""What a race is: its settings, its grid, what may be said at the end; and a real race, stopped and resumed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from processes import CommandLine
from twofold import TwofoldError
from twofold.study import race_page
from twofold.study.race import (
    CONTENDERS,
    RaceFolder,
    RaceSettings,
    chosen_lr,
    coarse_grid,
    standings,
    verdict,
)
from twofold.study.race_run import collect, race, resume_race


def trial(lr: float, loss: float | None) -> dict[str, Any]:
    return {"lr": lr, "diverged": None if loss is not None else "boom", "epochs": [{"val_loss": loss}]}


def run(seed: int, accuracy: float | None) -> dict[str, Any]:
    test = None if accuracy is None else {"loss": 1 - accuracy, "accuracy": accuracy}
    return {"seed": seed, "seconds": 1.0, "diverged": None if accuracy is not None else "boom", "test": test}


ACCURACIES = st.lists(st.none() | st.floats(0, 1), min_size=3, max_size=3)


@given(st.lists(ACCURACIES, min_size=1, max_size=5))
def test_ahead_of_is_said_only_where_ranges_do_not_overlap(results: list[list[float | None]]) -> None:
    names = [f"rule{index}" for index in range(len(results))]
    runs = {
        name: [run(seed, value) for seed, value in enumerate(own)] for name, own in zip(names, results, strict=True)
    }
    table = standings(names, {name: [trial(0.1, 1.0)] for name in names}, runs)
    assert sorted(one.optimizer for one in table) == names
    said = " ".join(verdict(table))
    first = table[0]
    behind = said.partition(" is ahead of ")[2].partition(":")[0]
    for one in table[1:]:
        apart = len(one.accuracies) > 1 and len(first.accuracies) > 1 and min(first.accuracies) > max(one.accuracies)
        assert (one.optimizer in behind) == apart
        assert (one.relation == "diverged") == (not one.accuracies)
        if one.accuracies and len(one.diverged) == len(first.diverged):
            assert first.mean is not None
            assert one.mean is not None
            assert one.mean <= first.mean
    assert first.relation == "diverged" or all(one.optimizer in said for one in table[1:])


def test_one_run_has_no_spread() -> None:
    runs = {"adam": [run(0, 0.9)], "sgd": [run(0, 0.2)]}
    table = standings(["sgd", "adam"], {name: [trial(0.1, 1.0)] for name in runs}, runs)
    assert [(one.optimizer, one.relation) for one in table] == [("adam", "first"), ("sgd", "unknown")]
    assert "ahead" not in " ".join(verdict(table))


def test_the_best_trial_is_chosen_and_an_edge_is_marked() -> None:
    trials = [trial(0.1, 2.0), trial(1.0, 0.5), trial(10.0, None)]
    assert chosen_lr(trials) == 1.0
    assert chosen_lr([trial(10.0, None)]) is None
    (inside,) = standings(["sgd"], {"sgd": trials}, {"sgd": [run(0, 0.5)]})
    (edge,) = standings(["sgd"], {"sgd": [*trials, trial(20.0, 0.1)]}, {"sgd": [run(0, 0.5)]})
    assert (inside.at_edge, edge.at_edge) == (False, True)
    (none,) = standings(["sgd"], {"sgd": [trial(10.0, None)]}, {})
    assert (none.lr, none.relation) == (None, "diverged")


@given(low=st.floats(1e-6, 1), decades=st.floats(0.5, 6), trials=st.integers(1, 40))
def test_the_grid_is_even_inside_and_has_the_middle(low: float, decades: float, trials: int) -> None:
    high = low * 10**decades
    grid = coarse_grid(low, high, trials)
    assert 1 <= len(grid) <= trials
    assert all(low < lr < high for lr in grid)
    assert grid[len(grid) // 2] == pytest.approx((low * high) ** 0.5)
    ratios = [after / before for before, after in itertools.pairwise(grid)]
    assert all(ratio == pytest.approx(ratios[0]) for ratio in ratios)


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_recipe_is_the_rule_that_its_name_says(name: str) -> None:
    recipe = RaceSettings(optimizers=(name,)).recipe(name, lr=0.5, seed=7, epochs=2)
    rule, settings = recipe.update_rule()
    assert rule == name
    assert settings.get("momentum") == (0.9 if name in {"momentum", "nesterov"} else None)
    assert recipe.weight_decay == (0.01 if name == "adamw" else 0.0)
    assert (recipe.lr, recipe.seed, recipe.epochs) == (0.5, 7, 2)
    low, high = RaceSettings(optimizers=(name,), decades=2).search_range(name)
    assert high / low == pytest.approx(100)


def test_settings_survive_the_disk(small_settings: RaceSettings, tmp_path: Path) -> None:
    folder = RaceFolder.create(small_settings, out=tmp_path, name="race")
    assert RaceFolder.open(folder.path).settings() == small_settings
    path = folder.path / "settings.json"
    for broken in ("[]", "{}", path.read_text().replace('"seeds": 2', '"seeds": 0')):
        path.write_text(broken)
        with pytest.raises(TwofoldError, match=r"settings of a race|seeds must be 1"):
            folder.settings()


def test_settings_of_before_tables_are_read_and_a_table_is_named_in_commands(
    small_settings: RaceSettings, tmp_path: Path
) -> None:
    folder = RaceFolder.create(small_settings, out=tmp_path, name="race")
    record = json.loads((folder.path / "settings.json").read_text())
    for name in ("images", "columns", "test_fraction", "skip_broken"):
        del record[name]
    (folder.path / "settings.json").write_text(json.dumps(record))
    assert folder.settings() == small_settings
    (tmp_path / "t.csv").write_text("id,breed\n1,cat\n")
    table = {"data": str(tmp_path / "t.csv"), "images": str(tmp_path), "columns": {"label": "breed"}}
    settings = dataclasses.replace(small_settings, **table, test_fraction=0.2)
    assert settings.recipe("sgd", lr=0.1, seed=0, epochs=1).columns == {"label": "breed"}
    for _, line in race_page._commands(settings, [{"lr": 0.1, "optimizer": "sgd"}]):
        assert f"--data {tmp_path}/t.csv --images {tmp_path} --columns label=breed --test-fraction 0.2 " in f"{line} "


def numbers(folder: Path, settings: RaceSettings) -> Any:
    """Return all that a race found, without what a clock said."""

    def still(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: [[p[0], p[2]] for p in one] if name == "curve" else still(one)
                for name, one in value.items()
                if name != "seconds"
            }
        return [still(one) for one in value] if isinstance(value, list) else value

    return still(list(collect(RaceFolder(folder), settings)))


@pytest.fixture(scope="module")
def reference(small_settings: RaceSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The race that is never stopped, by one process."""
    return race(small_settings, out=tmp_path_factory.mktemp("races"), name="race", show=False).folder


def test_a_race_leaves_everything(reference: Path, small_settings: RaceSettings) -> None:
    record = json.loads((reference / "race.json").read_text())
    assert record["judged_on"] == "test"
    assert record["data"]["num_images"] == {"train": 72, "val": 18, "test": 30}
    assert [len(record["trials"][name]) for name in ("sgd", "adam")] == [3, 3]
    assert [len(record["runs"][name]) for name in ("sgd", "adam")] == [2, 2]
    assert record["verdict"]
    search_seeds = {one["seed"] for own in record["trials"].values() for one in own}
    run_seeds = [one["seed"] for one in record["runs"]["sgd"]]
    assert run_seeds == [0, 1]
    assert len(search_seeds) == 1
    assert not search_seeds & set(run_seeds)
    for name in ("sgd", "adam"):
        low, high = small_settings.search_range(name)
        assert all(low <= one["lr"] <= high for one in record["trials"][name])
        assert all(one["test"] is None for one in record["trials"][name])
        assert {one["lr"] for one in record["runs"][name]} == {chosen_lr(record["trials"][name])}
    for seed in (0, 1):
        starts = {
            (one["initial_weights"], one["image_order"])
            for own in record["runs"].values()
            for one in own
            if one["seed"] == seed
        }
        assert len(starts) == 1
    assert (reference / "race.html").stat().st_size > 10_000


def test_processes_give_the_same_bits_as_one(reference: Path, small_settings: RaceSettings, tmp_path: Path) -> None:
    finished = race(small_settings, out=tmp_path, name="race", jobs=2, show=False)
    assert numbers(finished.folder, small_settings) == numbers(reference, small_settings)
    assert json.loads((finished.folder / "environment.json").read_text())["jobs"] == 2


def words(settings: RaceSettings, out: Path) -> list[str]:
    given = dataclasses.asdict(settings)
    changed = {name: value for name, value in given.items() if name != "optimizers" and value not in (None, {}, False)}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changed.items()]
    return ["race", *options, "--out", str(out), "--name", "race", "--optimizer", *settings.optimizers]


def test_interrupted_and_killed_it_ends_with_the_same_bits(
    small_settings: RaceSettings, twofold_command: CommandLine, tmp_path: Path
) -> None:
    settings = dataclasses.replace(small_settings, epochs=12, trial_epochs=6)
    folder = tmp_path / "race"
    unstopped = race(settings, out=tmp_path, name="unstopped", show=False).folder

    def wait_for(pattern: str, count: int, process: Any) -> None:
        end = time.monotonic() + 90
        while len(list(folder.glob(pattern))) < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)

    process = twofold_command.start(*words(settings, tmp_path), start_new_session=True)
    wait_for("trials/*.json", 2, process)
    # As a terminal does it: to the whole group.
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1].endswith(f"go on with: twofold race --resume {folder}")
    assert "Traceback" not in errors
    assert output == ""
    finished = {path: path.read_bytes() for path in folder.glob("trials/*.json")}
    assert 2 <= len(finished) < 6

    process = twofold_command.start("race", "--resume", folder)
    wait_for("runs/*.json", 1, process)
    process.kill()
    process.communicate()
    assert not (folder / "race.json").exists()
    finished |= {path: path.read_bytes() for path in folder.glob("*/*.json")}
    assert len(finished) < 10

    resumed = resume_race(folder, show=False)
    assert all(path.read_bytes() == content for path, content in finished.items()), "a finished piece was done again"
    assert numbers(resumed.folder, settings) == numbers(unstopped, settings)
    with pytest.raises(TwofoldError, match="is finished: there is nothing to resume"):
        resume_race(folder, show=False)


def test_what_diverges_everywhere_is_said_and_left_out(small_settings: RaceSettings, tmp_path: Path) -> None:
    class Reckless(RaceSettings):
        def search_range(self, optimizer: str) -> tuple[float, float]:
            return (1e8, 1e10) if optimizer == "sgd" else super().search_range(optimizer)

    settings = Reckless(**dataclasses.asdict(small_settings))
    finished = race(settings, out=tmp_path, name="race", show=False)
    assert [(one.optimizer, one.relation) for one in finished.table] == [("adam", "first"), ("sgd", "diverged")]
    assert finished.verdict == ("sgd diverged in every run.",)
    assert not list((finished.folder / "runs").glob("sgd-*"))
    page = (finished.folder / "race.html").read_text()
    assert "sgd diverged at all 3 learning rates that were tried, so it did not run." in page


def test_other_images_are_noticed(small_settings: RaceSettings, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(small_settings.data, data)
    settings = dataclasses.replace(small_settings, data=str(data), seeds=1)
    folder = race(settings, out=tmp_path, name="race", show=False).folder
    (folder / "race.json").unlink()
    next((data / "train" / "bag").iterdir()).unlink()
    with pytest.raises(TwofoldError, match="are not those that"):
        resume_race(folder, show=False)


@pytest.mark.parametrize(
    ("results", "places", "relations", "said"),
    [
        ({"sgd": [0.8, 0.9], "adam": [0.9, 0.8]}, [1, 1], ["first", "tied"], "sgd and adam tie"),
        ({"sgd": [0.8], "adam": [0.8]}, [1, 1], ["first", "tied"], "sgd and adam tie"),
        ({"sgd": [0.5, 0.5], "adam": [0.7, 0.7], "adamw": [0.5, 0.5]}, [1, 2, 2], ["first", "behind", "behind"],
         "adam is ahead of sgd and adamw"),
        ({"sgd": [0.8, 0.6], "adam": [0.6, 0.8], "adamw": [0.6, 0.7]}, [1, 1, 3], ["first", "tied", "overlaps"],
         "sgd and adam have the highest mean, but cannot be separated from adamw"),
    ],
)  # fmt: skip
def test_a_tie_has_no_winner(
    results: dict[str, list[float]], places: list[int], relations: list[str], said: str
) -> None:
    runs = {name: [run(seed, value) for seed, value in enumerate(own)] for name, own in results.items()}
    table = standings(list(results), {name: [trial(0.1, 1.0)] for name in runs}, runs)
    assert [one.place for one in table] == places
    assert [one.relation for one in table] == relations
    sentences = " ".join(verdict(table))
    assert said in sentences
    if relations[:2] == ["first", "tied"]:
        assert "sgd has" not in sentences
