import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from twofold.data import (
    DataError,
    MemoryImages,
    ModelSpec,
    StreamedImages,
    load_data,
    load_eval_images,
)
from twofold.data.splits import split_indices
from twofold.errors import TwofoldError

from .conftest import save_folder, save_image


def load(source: Path | str, **options):
    return load_data(str(source), show_progress=False, **options)


def evaluate(source: Path | str, spec, **options):
    return load_eval_images(str(source), spec, show_progress=False, **options)


def paths_of(images) -> list[str]:
    return [images.describe(index) for index in range(len(images))]


def trained_spec(class_names, *, channels=3, image_size=(8, 8), **options) -> ModelSpec:
    return ModelSpec(
        channels=channels,
        image_size=image_size,
        architecture="lenet",
        architecture_options={},
        class_names=class_names,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        **options,
    )


def test_fashion_mini():
    data = load("fashion-mini")
    assert (len(data.train), len(data.val), len(data.test)) == (9000, 1000, 2000)
    assert data.num_classes == 10
    assert data.class_names[9] == "Ankle boot"
    assert (data.spec.channels, data.spec.image_size) == (1, (28, 28))
    assert data.train.targets.labels.bincount().tolist() == [900] * 10
    assert data.val.targets.labels.bincount().tolist() == [100] * 10
    assert data.test.targets.labels.bincount().tolist() == [200] * 10
    assert set(paths_of(data.train)).isdisjoint(paths_of(data.val))
    assert data.test.describe(17) == "fashion-mini test #17"
    whole = load("fashion-mini", val_fraction=0.0).train
    number = int(data.val.describe(0).partition("#")[2])
    assert torch.equal(data.val.load(torch.tensor([0])), whole.load(torch.tensor([number])))


def test_the_split_is_keyed_by_the_seed(photos: Path):
    first, again, other = load(photos, seed=1), load(photos, seed=1), load(photos, seed=2)
    assert paths_of(first.val) == paths_of(again.val)
    assert paths_of(first.val) != paths_of(other.val)
    assert first.fingerprint == other.fingerprint


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any),
    fraction=st.floats(0, 0.99),
    seed=st.integers(0, 2**31),
)
def test_split_is_stratified_and_complete(counts, fraction, seed):
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    train, val = split_indices(labels, fraction, seed)
    assert sorted(train.tolist() + val.tolist()) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    for label, count in enumerate(counts):
        num_val = int((labels[val] == label).sum())
        assert int((labels[train] == label).sum()) == count - num_val
        if fraction == 0 or count < 2:
            assert num_val == 0
        else:
            assert 1 <= num_val <= count - 1
            assert abs(num_val - count * fraction) <= 1


def test_a_folder_in_memory_and_streamed_give_the_same_pixels(tmp_path: Path):
    save_folder(tmp_path / "d", {"a": 4, "b": 5}, size=(50, 40))
    save_image(tmp_path / "d" / "a" / "photo.jpg", size=(70, 33))
    for options in ({}, {"image_size": (20, 30), "resize": "pad"}, {"channels": 1, "resize": "stretch"}):
        held = load(tmp_path / "d", **options)
        streamed = load(tmp_path / "d", memory_limit=0, **options)
        assert isinstance(held.train, MemoryImages)
        assert isinstance(streamed.train, StreamedImages)
        assert held.notes == ()
        assert len(streamed.notes) == 1
        for one, two in ((held.train, streamed.train), (held.val, streamed.val)):
            indices = torch.arange(len(one))
            assert torch.equal(one.targets.labels, two.targets.labels)
            assert torch.equal(one.load(indices), two.load(indices))
            assert paths_of(one) == paths_of(two)


def test_a_named_set_is_resized_the_same_in_memory_and_on_the_fly():
    indices = torch.arange(0, 2000, 97)
    fly = load("fashion-mini", image_size=12, channels=3, splits=("test",), memory_limit=0).test
    held = load("fashion-mini", image_size=12, channels=3, splits=("test",)).test
    assert isinstance(fly, StreamedImages)
    assert isinstance(held, MemoryImages)
    assert fly.load(indices).shape == (21, 3, 12, 12)
    assert torch.equal(fly.load(indices), held.load(indices))
    assert held.describe(4) == fly.describe(4) == "fashion-mini test #4"


@pytest.mark.parametrize(
    ("size", "expected"), [((500, 300), 224), ((224, 224), 224), ((200, 150), 128), ((40, 33), 32), ((20, 12), 32)]
)
def test_the_default_size_of_a_folder(tmp_path: Path, size, expected):
    save_folder(tmp_path, {"a": 2, "b": 2}, size=size, mode="L")
    data = load(tmp_path)
    assert (data.spec.channels, data.spec.image_size) == (1, (expected, expected))
    assert data.train.load(torch.tensor([0])).shape == (1, 1, expected, expected)


def test_explicit_channels(photos: Path, tmp_path: Path):
    grey = load(photos, channels=1, image_size=8)
    assert grey.spec.convert_colour
    assert grey.train.load(torch.tensor([0])).shape == (1, 1, 8, 8)
    save_folder(tmp_path / "grey", {"a": 2, "b": 2}, mode="L")
    colour = load(tmp_path / "grey", channels=3, image_size=8)
    assert not colour.spec.convert_colour
    assert colour.train.load(torch.tensor([0])).shape == (1, 3, 8, 8)


def test_own_validation_images_are_used_whole(tmp_path: Path):
    save_folder(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 3, "test/b": 2})
    data = load(tmp_path, val_fraction=0.5)
    assert (len(data.train), len(data.val), len(data.test)) == (8, 3, 2)
    assert data.val.targets.labels.tolist() == [0, 0, 0]
    assert data.test.targets.labels.tolist() == [1, 1]


def test_without_validation(photos: Path):
    data = load(photos, val_fraction=0.0)
    assert len(data.train) == 16
    assert data.val is None
    assert data.test is None


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path):
    save_folder(tmp_path, {"a": 4, "b": 1})
    with pytest.raises(TwofoldError, match=r"class b with one image cannot be split.*set val_fraction=0$"):
        load(tmp_path, skip_broken=True)
    assert len(load(tmp_path, val_fraction=0.0).train) == 5


def test_only_the_splits_asked_for(photos: Path):
    every = load(photos, seed=3)
    val = load(photos, seed=3, splits=("val",))
    assert paths_of(val.val) == paths_of(every.val)
    assert len(val.train) == 0
    assert val.train.load(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 32, 32)


def test_skipped_files_are_noted(photos: Path):
    (photos / "cat" / "bad.png").write_bytes(b"x")
    with pytest.raises(DataError, match="--skip-broken"):
        load(photos)
    data = load(photos, skip_broken=True)
    assert len(data.notes) == 1
    assert data.notes[0].startswith("skipped cat/bad.png: not an image")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 1.0}, "val_fraction must be at least 0 and below 1, got 1.0"),
        ({"val_fraction": -0.1}, "got -0.1"),
        ({"val_fraction": float("nan")}, "got nan"),
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": 5000}, "image_size is 5000"),
        ({"channels": 2}, "channels is 2"),
        ({"resize": "squash"}, "resize is 'squash'"),
        ({"splits": ("train", "dev")}, "unknown split 'dev'; known are train, val, test"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(TwofoldError, match=message):
        load("fashion-mini", **options)


def test_evaluate_a_flat_folder_every_image_once(photos: Path):
    result = evaluate(photos, trained_spec(("ant", "cat", "dog")))
    assert result.split == "all"
    assert len(result.images) == 16
    assert result.images.targets.labels.tolist() == [1] * 10 + [2] * 6
    assert len(set(paths_of(result.images))) == 16
    assert result.images.load(torch.tensor([0])).shape == (1, 3, 8, 8)
    assert result.class_names == ("ant", "cat", "dog")


def test_evaluate_chooses_a_split(tmp_path: Path):
    save_folder(tmp_path, {"train/a": 3, "train/b": 3, "val/a": 2, "test/b": 1})
    spec = trained_spec(("b", "a"))
    assert evaluate(tmp_path, spec).split == "test"
    assert evaluate(tmp_path, spec).images.targets.labels.tolist() == [0]
    assert evaluate(tmp_path, spec, split="val").images.targets.labels.tolist() == [1, 1]
    shutil.rmtree(tmp_path / "test")
    assert evaluate(tmp_path, spec).split == "val"
    with pytest.raises(TwofoldError, match="has no split 'test'; it has train, val"):
        evaluate(tmp_path, spec, split="test")


def test_evaluate_refuses_what_does_not_fit(photos: Path):
    with pytest.raises(TwofoldError, match="classes that the network was not trained on: dog; it knows cat, hen"):
        evaluate(photos, trained_spec(("cat", "hen")))
    with pytest.raises(TwofoldError, match="has no splits, so split='test'"):
        evaluate(photos, trained_spec(("cat", "dog")), split="test")
    with pytest.raises(TwofoldError, match="images are in colour, and the network takes grey ones; to_grey=True"):
        evaluate(photos, trained_spec(("cat", "dog"), channels=1))
    with pytest.raises(TwofoldError, match="fashion-mini has no split 'val' of its own"):
        evaluate("fashion-mini", trained_spec(("a", "b")), split="val")


def test_evaluate_with_colour_turned_to_grey(photos: Path):
    spec = trained_spec(("cat", "dog"), channels=1, convert_colour=True)
    assert evaluate(photos, spec).images.load(torch.arange(2)).shape == (2, 1, 8, 8)


def test_evaluate_a_named_set_uses_the_pixels_of_training():
    data = load("fashion-mini", image_size=12, splits=("test",))
    spec = trained_spec(tuple(reversed(data.class_names)), channels=1, image_size=(12, 12))
    result = evaluate("fashion-mini", spec)
    indices = torch.arange(50)
    assert torch.equal(result.images.load(indices), data.test.load(indices))
    assert torch.equal(result.images.targets.labels, 9 - data.test.targets.labels)
    assert result.fingerprint == data.fingerprint


def test_the_note_on_memory_has_numbers_that_differ(photos: Path):
    (note,) = load(photos, image_size=32, memory_limit=0).notes
    assert "would take 0.049 MB, over the limit of 0 MB" in note
