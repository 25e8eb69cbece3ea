import itertools

import numpy as np
import pytest
import torch

from twofold.data import check_data_name, looks_like_path
from twofold.data.names import MOST_GARMENTS, folder_subject, parse_scenes_name
from twofold.data.sources import scenes
from twofold.data.sources.embedded import load_fashion_mini
from twofold.data.sources.find import find_data
from twofold.data.sources.scenes import LONGER_SIDES, MOST_SHARED
from twofold.errors import TwofoldError

SMALL = "fashion-scenes?train=40&test=12"


def open_small(text: str = SMALL):
    return find_data(text, show_progress=False)


def test_scenes_have_boxes_of_ten_classes():
    found = open_small()
    train, test = found.splits["train"], found.splits["test"]
    assert (len(train), len(test)) == (40, 12)
    assert train.images.shape == (40, 1, 128, 128)
    assert train.images.dtype == torch.uint8
    assert (train.targets.task, found.own_size, found.channels) == ("detect", (128, 128), 1)
    assert train.targets.classes() == list(range(10))
    assert len(found.class_names) == 10
    counts = train.targets.counts
    assert set(counts.tolist()) == set(range(1, MOST_GARMENTS + 1))
    assert (train.targets.sizes == 128).all()
    assert not train.targets.crowd.any()
    assert train.describe(3) == "fashion-scenes train #3"


def test_a_scene_is_the_same_whatever_number_is_asked_for():
    few, more = open_small("fashion-scenes?train=3&test=2"), open_small()
    for split, count in (("train", 3), ("test", 2)):
        first = more.splits[split].select(torch.arange(count))
        assert torch.equal(first.images, few.splits[split].images)
        assert first.targets.digest() == few.splits[split].targets.digest()
    assert few.fingerprint != more.fingerprint
    assert open_small().fingerprint == more.fingerprint
    other = open_small(SMALL + "&seed=1")
    assert not torch.equal(other.splits["train"].images, more.splits["train"].images)
    assert not torch.equal(more.splits["test"].images, more.splits["train"].images[:12])


@pytest.mark.parametrize("side", [64, 128, 161])
def test_boxes_are_whole_pixels_inside_the_scene_and_share_little(side):
    targets = open_small(f"fashion-scenes?train=60&test=1&side={side}").splits["train"].targets
    boxes = targets.boxes
    assert torch.equal(boxes, boxes.round())
    assert boxes.min() >= 0
    assert boxes.max() <= side
    longer = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
    assert longer.min() >= LONGER_SIDES[0] * side - 3
    assert longer.max() <= LONGER_SIDES[1] * side + 1
    assert longer.max() > 2 * longer.min()
    image = torch.arange(len(targets)).repeat_interleave(targets.counts)
    pairs = torch.combinations(torch.arange(len(boxes)))
    first, second = pairs[image[pairs[:, 0]] == image[pairs[:, 1]]].T
    low = torch.maximum(boxes[first, :2], boxes[second, :2])
    high = torch.minimum(boxes[first, 2:], boxes[second, 2:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    assert (shared <= MOST_SHARED * torch.minimum(targets.areas[first], targets.areas[second])).all()
    covered = torch.zeros(len(boxes), dtype=torch.float64).index_add_(0, first, shared)
    assert (covered <= MOST_SHARED * targets.areas).all()
    assert (shared > 0).any()


def test_boxes_are_those_of_the_pixels_that_a_garment_changes():
    arrays, _ = load_fashion_mini()
    garments = scenes._cut_out(arrays.test_images, arrays.test_labels, list(range(10)))
    for draw in scenes._draw(3, "test", 0, 150):
        # One garment, on dark ground of one level, on which each of its pixels shows.
        draw |= {"count": 0.0, "background": 0.0, "level": 0.0}
        background = scenes._background(128, draw)
        scene, (box,), _ = scenes._scene(garments, parse_scenes_name("fashion-scenes"), draw)
        changed = scene != background
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_a_covered_garment_keeps_the_box_of_its_whole_mask():
    arrays, _ = load_fashion_mini()
    garments = scenes._cut_out(arrays.test_images, arrays.test_labels, list(range(10)))
    num_covered = 0
    for draw in scenes._draw(4, "test", 0, 60):
        _, boxes, labels = scenes._scene(garments, parse_scenes_name("fashion-scenes"), draw | {"count": 0.99})
        for count in range(MOST_GARMENTS):
            _, fewer, some = scenes._scene(
                garments, parse_scenes_name("fashion-scenes"), draw | {"count": (count + 0.5) / MOST_GARMENTS}
            )
            assert (fewer, some) == (boxes[: len(fewer)], labels[: len(fewer)])
        num_covered += any(scenes._shared(a, b) for a, b in itertools.combinations(boxes, 2))
    assert num_covered > 20


def test_chosen_classes_keep_their_names_and_only_these_occur():
    found = open_small("fashion-scenes?train=30&test=5&classes=T-shirt/top|Bag")
    assert found.class_names == ("T-shirt/top", "Bag")
    assert found.splits["train"].targets.classes() == [0, 1]


def test_names_with_settings_are_names_and_no_paths():
    text = "fashion-scenes?train=200&classes=Ankle boot|T-shirt/top&side=96&seed=5"
    check_data_name(text)
    assert not looks_like_path(text)
    chosen = parse_scenes_name(text)
    assert (chosen.train, chosen.test, chosen.side, chosen.seed) == (200, 500, 96, 5)
    assert chosen.classes == ("T-shirt/top", "Ankle boot")
    assert "/" not in folder_subject(text)
    assert folder_subject(text).startswith("fashion-scenes?train=200")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fashion-scenes?trian=3", "unknown setting 'trian': did you mean train"),
        ("fashion-scenes?classes=Bags", "unknown class .*'Bags': did you mean Bag"),
        ("fashion-scenes?side=63", "side must be a whole number from 64 to 320, got '63'"),
        ("fashion-scenes?side=321", "from 64 to 320"),
        ("fashion-scenes?train=0", "train must be a whole number from 1"),
        ("fashion-scenes?train=²", "train must be a whole number"),
        ("fashion-scenes?test=-1", "test must be a whole number"),
        ("fashion-scenes?train=" + "9" * 5000, "train must be a whole number"),
        ("fashion-scenes?seed=1.5", "seed must be a whole number"),
        ("fashion-scenes?seed=", "lacks a value for seed"),
        ("fashion-scenes?seed", "lacks a value for seed"),
        ("fashion-scenes?seed=1&seed=2", "has seed twice"),
        ("multilabel:fashion-scenes?seed=1", "write fashion-scenes.seed=1, not"),
        ("fashion-scene?seed=1", "did you mean fashion-scenes"),
        ("fashion-mini?seed=1", "has settings, which fashion-mini does not take"),
    ],
)
def test_other_settings_are_refused_with_what_is_meant(text, message):
    with pytest.raises(TwofoldError, match=message):
        check_data_name(text)


def test_most_garments_limits_a_scene_and_leaves_those_without_it_as_they_were():
    one = open_small(SMALL + "&most=1").splits["train"]
    assert one.targets.counts.tolist() == [1] * 40
    two = open_small(SMALL + "&most=2").splits["train"]
    assert set(two.targets.counts.tolist()) == {1, 2}
    # The first garment of a scene is drawn alike, whatever their number.
    firsts = [two.targets.take(torch.tensor([index])).boxes[0].tolist() for index in range(40)]
    assert firsts == one.targets.boxes.tolist()
    with pytest.raises(TwofoldError, match="most must be a whole number from 1 to 6, got '7'"):
        open_small(SMALL + "&most=7")
    assert open_small(SMALL + "&most=6").fingerprint == open_small().fingerprint
