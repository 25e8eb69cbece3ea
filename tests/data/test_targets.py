from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from twofold.data import ClassTargets, FilePart, PixelSpec, StreamedImages, Targets, class_labels
from twofold.data.load import split_indices

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
    assert targets.renumber(new).renumber(new.argsort()).digest() == targets.digest()


class Captions:
    """Targets that are no classes."""

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

    def renumber(self, new):
        return self


def test_labels_of_other_targets_are_refused():
    with pytest.raises(TypeError, match="one class an image is needed, got Captions"):
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
