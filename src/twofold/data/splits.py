"""Which images are held out for validation, and for a test of what was trained, where the data have no such splits.

A draw depends on the seed alone, so every process and every later start finds the same split. It is the same fraction
of every class. Where images belong together, because they show the same patient or are copies of one another, one of
them in training would give away the other: such a group is never split. Groups differ in size, so a class is then held
out to within one group of the fraction.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from twofold.keyed import derive_key, permutation


def split_indices(
    strata: Int64[Tensor, " n"], val_fraction: float, seed: int
) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " val"]]:
    """Return the indices of training and validation images, each ascending: the same fraction of every group (class).

    All images are put in one keyed random order, and the first of each group in that order are for validation. A
    group of one image stays in training.
    """
    n = len(strata)
    is_val = torch.zeros(n, dtype=torch.bool)
    if val_fraction > 0:
        order = permutation(derive_key(seed, "split"), n)
        # A stable sort by group keeps the random order inside each group.
        by_group = order[torch.argsort(strata[order], stable=True)]
        for members in by_group.split(torch.bincount(strata).tolist()):
            wanted = max(1, round(len(members) * val_fraction))
            is_val[members[: min(wanted, len(members) - 1)]] = True
    return torch.nonzero(~is_val).flatten(), torch.nonzero(is_val).flatten()


def group_indices(
    strata: Int64[Tensor, " n"], groups: Int64[Tensor, " n"], fraction: float, seed: int, purpose: str
) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held_out"]]:
    """Return the indices of images that are kept and held out, each ascending; images of a group stay together.

    In a keyed random order, each group is held out that brings the classes nearer to their fraction. A class of which
    none was held out then gives its smallest group; the last group of a class is never taken.

    Args:
        strata: the class of each image.
        groups: the group of each image.
        fraction: share of each class to hold out, from 0 to below 1.
        seed: of the draw.
        purpose: what the images are held out for; draws for another purpose are independent.
    """
    numbers, members = groups.unique(return_inverse=True)
    num_classes = int(strata.max()) + 1 if len(strata) else 0
    pairs, counts = torch.stack([members, strata]).unique(dim=1, return_counts=True)
    contents: list[dict[int, int]] = [{} for _ in numbers]  # of each group, its images by class
    for group, stratum, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        contents[group][stratum] = count
    total = torch.bincount(strata, minlength=num_classes).tolist()
    missing = [count * fraction for count in total]  # how many more images of each class are to be held out
    groups_left = torch.bincount(pairs[1], minlength=num_classes).tolist()
    held: set[int] = set()

    def take(group: int) -> None:
        held.add(group)
        for stratum, count in contents[group].items():
            missing[stratum] -= count
            groups_left[stratum] -= 1

    # Numbers of groups follow the order of their first images, so that they do not decide the draw.
    first = torch.full((len(numbers),), len(strata)).scatter_reduce(0, members, torch.arange(len(strata)), "amin")
    order = first.argsort()[permutation(derive_key(seed, purpose), len(numbers))].tolist()
    for group in order if fraction > 0 else ():
        gain = sum(abs(missing[c]) - abs(missing[c] - count) for c, count in contents[group].items())
        if gain > 0 and all(groups_left[c] > 1 for c in contents[group]):
            take(group)
    taken = {c for group in held for c in contents[group]}
    for stratum in range(num_classes):
        if stratum in taken or fraction == 0:
            continue
        able = (g for g in order if stratum in contents[g] and all(groups_left[c] > 1 for c in contents[g]))
        if (smallest := min(able, key=lambda g: sum(contents[g].values()), default=None)) is not None:
            take(smallest)
            taken |= contents[smallest].keys()
    is_held = torch.zeros(len(numbers), dtype=torch.bool)
    is_held[sorted(held)] = True
    return torch.nonzero(~is_held[members]).flatten(), torch.nonzero(is_held[members]).flatten()


def joined(first: Int64[Tensor, " n"], second: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Return the groups of images that share a group of either kind, directly or through others.

    >>> joined(torch.tensor([0, 0, 1, 2]), torch.tensor([5, 6, 6, 7])).tolist()
    [0, 0, 0, 3]
    """
    leader = list(range(len(first)))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    for groups in (first.tolist(), second.tolist()):
        seen: dict[int, int] = {}
        for number, group in enumerate(groups):
            one, other = find(seen.setdefault(group, number)), find(number)
            leader[max(one, other)] = min(one, other)
    return torch.tensor([find(number) for number in range(len(leader))], dtype=torch.int64)
