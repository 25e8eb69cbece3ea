"""Ranking: how well scores put what is looked for first.

Sort n images by a score, the highest first, and go down the list. After each, **precision** is the share of the images
so far that are relevant (have the label that is looked for), **recall** the share of the relevant images that have been
met. A threshold on the score cuts the list somewhere, and trades one for the other. **Average precision** needs no
threshold: it is the area under precision over recall, as a sum of steps,

    AP = Σ_k (R_k − R_{k−1}) P_k,    R_0 = 0

which is also the mean, over the relevant images, of the precision where each is met (Salton and McGill, "Introduction
to modern information retrieval", 1983). It is 1 if all relevant images come first, and about their share of all images
if the scores say nothing. Images with equal scores have no order: they are met together, so k counts the different
scores. The mean over the labels is **mAP**; a label that no image has takes no part in it.

Detection uses the same two curves, over boxes in place of images.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def precision_recall(
    scores: Float[Tensor, " n"], relevant: Bool[Tensor, " n"]
) -> tuple[Float[Tensor, " steps"], Float[Tensor, " steps"], Float[Tensor, " steps"]]:
    """Return the different scores, the highest first, and precision and recall of all images from that score up.

    >>> values = precision_recall(torch.tensor([0.9, 0.8, 0.8, 0.1]), torch.tensor([True, False, True, False]))
    >>> [value.tolist() for value in values[:2]]
    [[0.8999999761581421, 0.800000011920929, 0.10000000149011612], [1.0, 0.6666666865348816, 0.5]]
    >>> values[2]
    tensor([0.5000, 1.0000, 1.0000])
    """
    if scores.dim() != 1 or scores.shape != relevant.shape:
        raise ValueError(
            f"a score and a truth are needed for each of n images, got {tuple(scores.shape)} and "
            f"{tuple(relevant.shape)}"
        )
    order = scores.argsort(descending=True)
    scores, relevant = scores[order], relevant[order]
    found = relevant.cumsum(dim=0).to(scores.dtype)  # a quotient of whole values would be rounded to float32
    # The last image of each score: all that share it have been met by then.
    last = torch.ones_like(relevant)
    last[:-1] = scores[1:] != scores[:-1]
    so_far = torch.arange(1, len(scores) + 1, device=scores.device)
    precision, recall = found / so_far, found / relevant.sum()
    return scores[last], precision[last], recall[last]


def average_precision(scores: Float[Tensor, " n"], relevant: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return Σ_k (R_k − R_{k−1}) P_k; 0 where no image is relevant.

    >>> average_precision(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, True]))  # (1 + 2/3) / 2
    tensor(0.8333)
    """
    _, precision, recall = precision_recall(scores, relevant)
    if not relevant.any():
        return scores.new_zeros(())
    steps = recall.clone()
    steps[1:] -= recall[:-1]
    return (steps * precision).sum()


def mean_average_precision(scores: Float[Tensor, "n labels"], relevant: Bool[Tensor, "n labels"]) -> Float[Tensor, ""]:
    """Return the mean of the average precisions of the labels that some image has; 0 where there is none.

    >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    >>> mean_average_precision(scores, torch.tensor([[True, False], [False, False], [True, False]]))
    tensor(0.8333)
    """
    if scores.dim() != 2 or scores.shape != relevant.shape:
        raise ValueError(
            f"scores and truths must be (n, labels), got {tuple(scores.shape)} and {tuple(relevant.shape)}"
        )
    occur = torch.nonzero(relevant.any(dim=0)).flatten().tolist()
    values = [average_precision(scores[:, label], relevant[:, label]) for label in occur]
    return torch.stack(values).mean() if values else scores.new_zeros(())
