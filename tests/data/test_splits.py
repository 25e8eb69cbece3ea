"""What is held out: the same fraction of each class, never a part of what belongs together."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from twofold.data import load_data, load_eval_images
from twofold.data.splits import group_indices, joined, split_indices
from twofold.errors import TwofoldError

from .conftest import save_folder, save_image

NUMBERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), min_size=1, max_size=80)


def load(source: Path | str, **options):
    return load_data(str(source), image_size=8, show_progress=False, **options)


def paths_of(images) -> set[str]:
    return {images.describe(index) for index in range(len(images))}


def parts_of(data) -> dict[str, set[str]]:
    return {split: paths_of(getattr(data, split)) for split in ("train", "val", "test")}


@given(pairs=NUMBERS, fraction=st.floats(0.0, 0.99), seed=st.integers(0, 2**31))
def test_groups_are_never_split(pairs, fraction, seed):
    strata, groups = torch.tensor(pairs).T
    kept, held = group_indices(strata, groups, fraction, seed, "test split")
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(pairs)))
    assert kept.tolist() == sorted(kept.tolist())
    assert set(groups[kept].tolist()).isdisjoint(groups[held].tolist())
    assert set(strata[kept].tolist()) == set(strata.tolist())  # no class is held out whole
    again = group_indices(strata, groups + 7, fraction, seed, "test split")
    assert torch.equal(held, again[1])
    if fraction == 0:
        assert len(held) == 0


@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_each_class_is_held_out_to_within_one_of_its_groups(sizes, fraction, seed):
    triples = [
        (stratum, 100 * stratum + number)
        for stratum, of_class in enumerate(sizes)
        for number, size in enumerate(of_class)
        for _ in range(size)
    ]
    strata, groups = torch.tensor(triples).T
    order = torch.randperm(len(strata), generator=torch.Generator().manual_seed(seed))
    strata, groups = strata[order], groups[order]
    _, held = group_indices(strata, groups, fraction, seed, "test split")
    for stratum, of_class in enumerate(sizes):
        num_held = int((strata[held] == stratum).sum())
        assert abs(num_held - sum(of_class) * fraction) <= max(of_class)
        assert (num_held > 0) == (len(of_class) > 1)


def test_draws_for_other_purposes_and_seeds_differ():
    strata, groups = torch.zeros(200, dtype=torch.int64), torch.arange(200)
    draws = [
        group_indices(strata, groups, 0.2, seed, purpose)[1].tolist()
        for seed, purpose in ((0, "split"), (1, "split"), (0, "test split"))
    ]
    assert [len(draw) for draw in draws] == [40] * 3
    assert len({tuple(draw) for draw in draws}) == 3


def test_the_split_of_runs_made_before_is_the_same():
    train, val = split_indices(torch.tensor([0, 1, 2] * 10), 0.2, seed=3)
    assert val.tolist() == [14, 20, 21, 22, 24, 28]
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(30))


@given(pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
def test_joined_groups_are_the_connected_ones(pairs):
    first, second = torch.tensor(pairs).T
    together = joined(first, second).tolist()
    # Oracle: spread the smallest index over shared groups until nothing changes.
    expected = list(range(len(pairs)))
    for _ in pairs:
        for one, (a, b) in enumerate(pairs):
            for other, (c, d) in enumerate(pairs):
                if a == c or b == d:
                    expected[one] = expected[other] = min(expected[one], expected[other])
    assert together == expected


@pytest.mark.parametrize("seed", range(4))
def test_copies_never_straddle(clothes: Path, seed):
    data = load(clothes, test_fraction=0.25, val_fraction=0.25, seed=seed)
    parts = parts_of(data)
    assert sum(map(len, parts.values())) == 39 == len(set().union(*parts.values()))
    copies = {"copy.png", "large.png", "darker.png"}
    assert [copies & {Path(path).name for path in paths} for paths in parts.values()].count(copies) == 1
    assert set(data.test.targets.classes()) == set(data.val.targets.classes()) == {0, 1, 2}
    assert 6 <= len(data.test) <= 14


def test_the_same_in_any_order_and_for_any_splits_asked(clothes: Path):
    options = {"test_fraction": 0.2, "seed": 1}
    whole = load(clothes, **options)
    alone = load(clothes, splits=("test",), **options)
    assert paths_of(alone.test) == paths_of(whole.test)
    assert alone.fingerprint == whole.fingerprint
    streamed = load(clothes, memory_limit=0, **options)
    assert parts_of(streamed) == parts_of(whole)
    other = load(clothes, test_fraction=0.2, seed=2)
    assert paths_of(other.test) != paths_of(whole.test)
    assert other.fingerprint != whole.fingerprint


def test_the_same_in_another_process(clothes: Path):
    code = (
        "import sys; from twofold.data import load_data\n"
        "data = load_data(sys.argv[1], image_size=8, show_progress=False, test_fraction=0.2, seed=1)\n"
        "print(data.fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clothes)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == load(clothes, test_fraction=0.2, seed=1).fingerprint


def test_own_test_images_leave_nothing_to_hold_out(tmp_path: Path):
    save_folder(tmp_path, {"train/a": 3, "train/b": 3, "test/a": 1})
    with pytest.raises(TwofoldError, match=r"has test images of its own; leave test_fraction=0.2 out"):
        load(tmp_path, test_fraction=0.2)
    with pytest.raises(TwofoldError, match="test_fraction must be at least 0 and below 1, got 1"):
        load(tmp_path, test_fraction=1)


def test_copies_of_own_validation_images_are_no_test(tmp_path: Path):
    save_folder(tmp_path, {"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 2})
    for number in range(3):
        shutil.copy(tmp_path / "train" / "a" / f"{number:03d}.png", tmp_path / "val" / "a" / f"copy{number}.png")
    for seed in range(5):
        data = load(tmp_path, test_fraction=0.5, seed=seed)
        assert len(data.val) == 7
        names = {Path(path).relative_to(tmp_path).as_posix() for path in paths_of(data.test)}
        assert names.isdisjoint(f"train/a/{number:03d}.png" for number in range(3))
        assert len(data.train) + len(data.test) == 12


def test_classes_that_are_too_small_are_said(tmp_path: Path):
    save_folder(tmp_path / "one", {"a": 4, "b": 1})
    with pytest.raises(TwofoldError, match=r"class b with one image cannot be split into training and test; "):
        load(tmp_path / "one", test_fraction=0.2, val_fraction=0.0)
    save_folder(tmp_path / "copies", {"a": 6})
    for number in range(4):
        save_image(tmp_path / "copies" / "b" / f"{number}.png", seed=99)
    data = load(tmp_path / "copies", test_fraction=0.2, val_fraction=0.0)
    assert data.notes == ("no test images of b: too few of their images are independent of one another",)
    assert data.test.targets.classes() == [0]


def test_groups_of_a_table_stay_together_in_both_draws(tmp_path: Path):
    for number in range(60):
        save_image(tmp_path / "images" / f"{number}.png", seed=number)
    owner = {f"{number}.png": f"p{number % 20}" for number in range(60)}
    rows = [f"{name},{'ab'[int(group[1:]) % 2]},{group}" for name, group in owner.items()]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,patient", *rows]))
    for options in ({}, {"test_fraction": 0.2}):
        data = load(tmp_path / "t.csv", images=tmp_path / "images", val_fraction=0.2, **options)
        sides = [images for images in (data.train, data.val, data.test) if images is not None]
        groups = [{owner[Path(path).name] for path in paths_of(images)} for images in sides]
        assert sum(map(len, groups)) == 20 == len(set().union(*groups))
        assert all(len(images) % 3 == 0 for images in sides)
        assert len(data.val) in (9, 12)


@pytest.mark.parametrize(
    ("owners", "options", "message"),
    [
        ("aabb", {}, r"validation, because all images of each class are of one group \(column subject\); add other "),
        ("aaaa", {}, r"validation, .* set val_fraction=0 or columns={'group': 'none'}$"),
        (
            "aabb",
            {"test_fraction": 0.2},
            r"testing, .* \(column subject\) or copies of one another; .* test_fraction=0",
        ),
    ],
)
def test_where_groups_leave_no_image_to_draw_it_is_said(tmp_path: Path, owners, options, message):
    for number in range(4):
        save_image(tmp_path / f"{number}.png", seed=number)
    rows = [f"{number}.png,{'xxyy'[number]},{owner}" for number, owner in enumerate(owners)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,subject", *rows]))
    with pytest.raises(TwofoldError, match=message):
        load(tmp_path / "t.csv", **options)
    assert load(tmp_path / "t.csv", val_fraction=0).val is None
    assert len(load(tmp_path / "t.csv", columns={"group": "none"}).val) == 2


def test_copies_alone_or_labels_alone_may_leave_no_image_to_draw(tmp_path: Path):
    for number in range(6):
        save_image(tmp_path / "copies" / "ab"[number % 2] / f"{number}.png", seed=number % 2)
    with pytest.raises(TwofoldError, match="all images of each class are copies of one another; .* test_fraction=0$"):
        load(tmp_path / "copies", test_fraction=0.2)
    save_folder(tmp_path / "images", {".": 3})
    rows = [f"{number:03d}.png,{label}" for number, label in enumerate(("sun", "moon", "sun|rain"))]
    (tmp_path / "images" / "t.csv").write_text("\n".join(["image,labels", *rows[1:]]))
    with pytest.raises(TwofoldError, match="no two images have a label in common; add images, or set val_fraction=0"):
        load(tmp_path / "images" / "t.csv")


def test_a_split_of_which_nothing_can_be_read_is_none(tmp_path: Path):
    save_folder(tmp_path, {"train/a": 4, "train/b": 4, "test/a": 1})
    for name in "ab":
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / "0.png").write_bytes(b"torn")
    data = load(tmp_path, skip_broken=True)
    assert (len(data.train), len(data.val)) == (6, 2)
    spec = data.model_spec(architecture="lenet", architecture_options={})
    with pytest.raises(TwofoldError, match="has no split 'val' of its own; it has train, test"):
        load_eval_images(str(tmp_path), spec, split="val", skip_broken=True, show_progress=False)
