import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from twofold.data import (
    BoxTargets,
    ClassTargets,
    FilePart,
    LabelSetTargets,
    PixelSpec,
    StreamedImages,
    Targets,
    class_labels,
)
from twofold.data.splits import split_indices
from twofold.data.targets import label_separator, label_sets, target_words, to_box_targets, to_label_sets
from twofold.errors import TwofoldError

labels = st.lists(st.integers(0, 6), min_size=1, max_size=30)


@given(labels, st.data())
def test_taking_follows_the_indices(values, data):
    targets = ClassTargets(torch.tensor(values))
    assert isinstance(targets, Targets)
    indices = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=10))
    taken = targets.take(torch.tensor(indices, dtype=torch.int64))
    assert len(taken) == len(indices)
    assert class_labels(taken).tolist() == [values[index] for index in indices]
    assert targets.classes() == sorted(set(values))


@given(labels, labels)
def test_the_digest_is_of_the_values(first, second):
    digests = [ClassTargets(torch.tensor(values)).digest() for values in (first, second)]
    assert (digests[0] == digests[1]) == (first == second)
    # Not of how they lie in memory.
    assert ClassTargets(torch.tensor([first, first]).T[:, 0]).to("cpu").digest() == digests[0]


@given(labels)
def test_renumbering_back_is_the_identity(values):
    targets = ClassTargets(torch.tensor(values))
    new = torch.tensor([3, 1, 0, 6, 2, 4, 5])
    assert targets.renumber(new, 7).renumber(new.argsort(), 7).digest() == targets.digest()


sets = st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=30)


def table(values: list[set[int]], num_labels: int = 5) -> LabelSetTargets:
    rows = [[label in each for label in range(num_labels)] for each in values]
    return LabelSetTargets(torch.tensor(rows, dtype=torch.bool))


@given(sets, st.data())
def test_taking_label_sets_follows_the_indices(values, data):
    targets = table(values)
    assert isinstance(targets, Targets)
    indices = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=10))
    taken = targets.take(torch.tensor(indices, dtype=torch.int64))
    assert len(taken) == len(indices)
    assert [set(row.nonzero().flatten().tolist()) for row in taken.has] == [values[index] for index in indices]
    assert targets.classes() == sorted(set().union(*values))


@given(sets, sets)
def test_the_digest_of_label_sets_is_of_the_values(first, second):
    digests = [table(values).digest() for values in (first, second)]
    assert (digests[0] == digests[1]) == (first == second)
    assert table([{0}, {1}], 2).digest() != table([{0}], 4).digest()


@given(sets)
def test_label_sets_are_renumbered_into_a_table_of_another_size(values):
    new = torch.tensor([3, 1, 6, 0, 2])
    renumbered = table(values).renumber(new, 7)
    assert renumbered.has.shape == (len(values), 7)
    assert [set(row.nonzero().flatten().tolist()) for row in renumbered.has] == [
        {int(new[label]) for label in each} for each in values
    ]
    # A label that no image has needs no new number.
    new = torch.tensor([1, -1, -1, -1, -1])
    assert table([{0}, set()]).renumber(new, 2).has.tolist() == [[False, True], [False, False]]


def test_images_are_grouped_by_their_rarest_label():
    values = [{0}, {0, 1}, {0}, set(), {0, 2, 1}, {1}]
    assert table(values, 3).strata().tolist() == [0, 1, 0, 3, 2, 1]
    # Of labels that are as rare the first; and without any label at all there is one group.
    assert table([{0, 1}, {0, 1}], 2).strata().tolist() == [0, 0]
    assert table([set(), set()], 0).strata().tolist() == [0, 0]


def test_a_rare_label_is_in_training_and_in_validation():
    values = [{0} for _ in range(96)] + [{0, 1} for _ in range(4)]
    train, val = split_indices(table(values, 2).strata(), 0.1, seed=0)
    assert [int(table(values, 2).take(part).has[:, 1].sum()) for part in (train, val)] == [3, 1]


def test_images_of_one_class_each_have_that_label_alone():
    assert label_sets(ClassTargets(torch.tensor([2, 0])), 3).int().tolist() == [[0, 0, 1], [1, 0, 0]]
    assert label_sets(table([{1}]), 5).tolist() == table([{1}]).has.tolist()
    with pytest.raises(TwofoldError, match="needs labels of each image; these images are for the task 'caption'"):
        label_sets(Captions(["a dog"]), 3)


@given(st.lists(st.sets(st.sampled_from(["cat", "polar bear", "衣服", ""])), min_size=1, max_size=9))
def test_sets_of_names_become_a_table_and_back(values):
    names, targets = to_label_sets(values)
    assert list(names) == sorted(set().union(*values))
    assert [{names[label] for label in row.nonzero().flatten().tolist()} for row in targets.has] == values


@pytest.mark.parametrize(
    ("cells", "asked", "separator"),
    [
        (["a|b;c", "d"], False, "|"),
        (["a; b", "c, d"], False, ";"),
        (["a, b", "c d"], False, None),
        (["a, b", "c d"], True, ","),
        (["a b", "c"], True, " "),
        (["a ", " b"], True, None),
        (["", ""], False, None),
    ],
)
def test_what_separates_labels_is_in_some_cell(cells, asked, separator):
    assert label_separator(cells, asked=asked) == separator


class Captions:
    """Targets that are no classes."""

    task = "caption"

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def __len__(self):
        return len(self.words)

    def take(self, indices):
        return Captions([self.words[index] for index in indices.tolist()])

    def to(self, device):
        return self

    def digest(self):
        return " ".join(self.words)

    def strata(self):
        return torch.zeros(len(self), dtype=torch.int64)

    def classes(self):
        return []

    def renumber(self, new, num_classes):
        return self


def test_labels_of_other_targets_are_refused():
    with pytest.raises(TwofoldError, match="needs one class an image; these images are for the task 'caption'"):
        class_labels(Captions(["a dog", "a cat"]))


def test_images_carry_any_targets(photos: Path):
    """Nothing that holds, moves or decodes images asks what is known of them."""
    paths = sorted(str(path) for path in photos.rglob("*.png"))
    part = FilePart(paths, Captions([f"image {number}" for number in range(16)]))
    spec = PixelSpec(channels=3, image_size=(8, 8))
    at = torch.tensor([5, 2])
    chosen = part.select(at).open(spec)
    assert isinstance(chosen, StreamedImages)
    held = chosen.to_memory(label="", show_progress=False)
    assert chosen.targets.digest() == held.targets.digest() == "image 5 image 2"
    assert held.to("cpu").select(torch.tensor([1])).targets.digest() == "image 2"
    train_at, val_at = split_indices(part.targets.strata(), 0.25, 0)
    assert (len(train_at), len(val_at)) == (12, 4)


box = st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(51, 99), st.floats(51, 99))
boxes_of_images = st.lists(st.lists(st.tuples(box, st.integers(0, 4)), max_size=4), min_size=1, max_size=12)


def boxes(values: list[list[tuple[tuple[float, ...], int]]]) -> BoxTargets:
    corners, labels = [[one for one, _ in own] for own in values], [[label for _, label in own] for own in values]
    return to_box_targets(corners, labels, [(100, 120 + image) for image in range(len(values))])


@given(boxes_of_images, st.data())
def test_taking_boxes_follows_the_indices(values, data):
    targets = boxes(values)
    assert isinstance(targets, Targets)
    indices = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=10))
    taken = targets.take(torch.tensor(indices, dtype=torch.int64))
    assert len(taken) == len(indices)
    assert taken.digest() == dataclasses.replace(boxes([values[i] for i in indices]), sizes=taken.sizes).digest()
    assert taken.sizes[:, 1].tolist() == [120 + index for index in indices]
    assert targets.classes() == sorted({label for own in values for _, label in own})


@given(boxes_of_images)
def test_boxes_are_stratified_as_the_set_of_their_classes(values):
    targets = boxes(values)
    num_classes = max(targets.classes(), default=-1) + 1
    assert targets.has().tolist() == [[c in {label for _, label in own} for c in range(num_classes)] for own in values]
    assert torch.equal(targets.strata(), LabelSetTargets(targets.has()).strata())


@given(boxes_of_images)
def test_renumbering_boxes_back_is_the_identity(values):
    targets, new = boxes(values), torch.tensor([3, 1, 0, 4, 2])
    assert targets.renumber(new, 5).renumber(new.argsort(), 5).digest() == targets.digest()


def test_boxes_in_words():
    targets = to_box_targets([[(0, 0, 1, 1)] * 3, []], [[1, 0, 1], []], [(5, 5), (5, 5)])
    assert [target_words(targets, index, ("cat", "dog")) for index in range(2)] == ["cat, 2 dog", "no box"]
