"""The loss that a single-shot detector is trained with: what is in each anchor, and where.

Each anchor has a label, 0 for background and 1 + k for class k, from the true box that `boxes.match` gave it. Anchors
with an object are *positive*, the others *negative*, and there are hundreds of negatives for each positive (Liu et al.,
"SSD: single shot multibox detector", 2016):

- **Class**: cross-entropy over the positives and the *hard* negatives, those with the largest loss: three for each
  positive. A network that answers "background" everywhere would be right nearly always; with three to one it is not.
- **Box**: smooth L1 between predicted and true offsets, the sum of all four, over the positives alone. Where there is
  nothing, there is no place to learn.

Both are divided by the number N of positives in the batch:

    L = 1/N [Σ_{positive, hard} −log p_label + Σ_positive Σ_4 smooth_L1(t − t*)]

Negatives are chosen image by image, as torchvision does. An image without positives so has no hard negatives and
teaches nothing, and a batch without any has loss 0. (`loss.focal_loss` chooses no negatives: it turns down those that
are easy.)
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from twofold.scratch.loss import cross_entropy, cross_entropy_backward, smooth_l1_loss, smooth_l1_loss_backward

Offsets = Float[Tensor, "images anchors 4"]
Logits = Float[Tensor, "images anchors classes"]
Anchors = Int64[Tensor, "images anchors"]


def hard_negatives(
    losses: Float[Tensor, "images anchors"], positive: Bool[Tensor, "images anchors"], ratio: int = 3
) -> Bool[Tensor, "images anchors"]:
    """Return which anchors are hard negatives: in each image `ratio` for each positive, those with the largest losses.

    On a tie the earlier anchor. Fewer negatives than that: all of them. No positives: none.

    >>> losses = torch.tensor([[0.1, 0.9, 0.3, 0.3, 0.5]])
    >>> hard_negatives(losses, torch.tensor([[False, True, False, False, False]]), ratio=2)
    tensor([[False, False,  True, False,  True]])
    """
    if losses.dim() != 2 or losses.shape != positive.shape:
        raise ValueError(
            f"losses and positive need one shape (images, anchors), got {tuple(losses.shape)} and "
            f"{tuple(positive.shape)}"
        )
    if ratio < 0:
        raise ValueError(f"ratio must be 0 or more, got {ratio}")
    chosen = torch.zeros_like(positive)
    for image, (own, has_object) in enumerate(zip(losses, positive, strict=True)):
        negative = torch.nonzero(~has_object).flatten()
        hardest = own[negative].argsort(descending=True, stable=True)
        chosen[image, negative[hardest[: ratio * int(has_object.sum())]]] = True
    return chosen


def multibox_loss(
    logits: Logits, offsets: Offsets, labels: Anchors, target_offsets: Offsets, *, ratio: int = 3
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the class part and the box part of the loss; it is their sum.

    Args:
        logits: what the network says of each anchor's class, background first.
        offsets: what it says of each anchor's place.
        labels: the truth: 0 for background, 1 + k for class k.
        target_offsets: the true offsets; those of background may be anything.
        ratio: hard negatives for each positive.

    >>> logits, offsets = torch.zeros(1, 3, 2), torch.zeros(1, 3, 4)
    >>> labels, truth = torch.tensor([[1, 0, 0]]), torch.ones(1, 3, 4)
    >>> multibox_loss(logits, offsets, labels, truth)  # three anchors with -log ½; four offsets with ½
    (tensor(2.0794), tensor(2.))
    """
    positive, counts, num_positive = _chosen(logits, offsets, labels, target_offsets, ratio)
    by_class = cross_entropy(logits[counts], labels[counts], reduction="sum")
    by_box = smooth_l1_loss(offsets[positive], target_offsets[positive], reduction="sum")
    return by_class / num_positive, by_box / num_positive


def multibox_loss_backward(
    grad: Float[Tensor, ""],
    logits: Logits,
    offsets: Offsets,
    labels: Anchors,
    target_offsets: Offsets,
    *,
    ratio: int = 3,
) -> tuple[Logits, Offsets]:
    """Return the gradients of the sum of both parts in the logits and in the offsets.

    Those of cross-entropy and smooth L1 where an anchor counts, 0 elsewhere. Which anchors are hard depends on the
    logits too, but it changes by jumps: between them it has no slope.

    >>> logits, offsets = torch.zeros(1, 3, 2), torch.zeros(1, 3, 4)
    >>> labels, truth = torch.tensor([[1, 0, 0]]), torch.ones(1, 3, 4)
    >>> grads = multibox_loss_backward(torch.tensor(1.0), logits, offsets, labels, truth, ratio=1)
    >>> grads[0]  # the positive, one hard negative, and one that does not count
    tensor([[[ 0.5000, -0.5000],
             [-0.5000,  0.5000],
             [ 0.0000,  0.0000]]])
    >>> grads[1][0, :, 0]
    tensor([-1.,  0.,  0.])
    """
    positive, counts, num_positive = _chosen(logits, offsets, labels, target_offsets, ratio)
    grad = grad / num_positive
    in_logits, in_offsets = torch.zeros_like(logits), torch.zeros_like(offsets)
    in_logits[counts] = cross_entropy_backward(grad, logits[counts], labels[counts], reduction="sum")
    in_offsets[positive] = smooth_l1_loss_backward(grad, offsets[positive], target_offsets[positive], reduction="sum")
    return in_logits, in_offsets


def _chosen(
    logits: Tensor, offsets: Tensor, labels: Tensor, target_offsets: Tensor, ratio: int
) -> tuple[Tensor, Tensor, int]:
    """Return which anchors are positive, which count for the class, and what to divide by."""
    if not logits.shape[:2] == offsets.shape[:2] == labels.shape == target_offsets.shape[:2]:
        shapes = (tuple(each.shape) for each in (logits, offsets, labels, target_offsets))
        raise ValueError(
            f"logits, offsets, labels and target_offsets need the same images and anchors, got {[*shapes]}"
        )
    positive = labels > 0
    losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    counts = positive | hard_negatives(losses, positive, ratio)
    return positive, counts, max(1, int(positive.sum()))
