"""Losses: one value that says how wrong the outputs are.

**Squared loss** for a value to predict: ½(ŷ − y)² an example, ŷ the prediction and y the label (D2L's form; the ½
cancels in the gradient). torch's `mse_loss` leaves out the ½ and takes the mean. Both are here.

**Softmax and cross-entropy** for a class to predict. The network gives one *logit* a class, any real value; softmax
turns them into probabilities, and the loss is minus the logarithm of the true class's probability:

    p_k = exp(z_k) / Σ_j exp(z_j),    L = −log p_label

exp overflows above about 88 in float32. Subtracting the largest logit first changes nothing, since the factor cancels,
and leaves exponents at or below 0. The logarithm is taken before anything is divided: log p_k = z_k − log Σ_j exp(z_j).

**Label smoothing** (Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016): a target of
exactly 1 asks for infinite logits. Give the true class 1 − ε and spread ε over all K: q = (1 − ε) onehot + ε/K, where
onehot is 1 at the true class and 0 elsewhere. Then L = −Σ_k q_k log p_k, which for ε = 0 is −log p_label again.

**Class weights** for classes of unequal size: a class with few images hardly moves a mean over all images, and a
network that never answers it loses little. With a weight w_k a class, L = −Σ_k w_k q_k log p_k. The *balanced* weights
w_k = n / (K n_k), n_k the number of images of class k among n, let each class count alike, and are 1 on average over
the images (King and Zeng, "Logistic regression in rare events data", 2001). The mean over a batch with labels y_i is
the weighted one, Σ_i L_i / Σ_i w_{y_i}: what a batch that holds each image w times would give. Where targets are shares
of classes the mean is Σ_i L_i / n, since no one weight belongs to an image. Both as in torch.

**Binary cross-entropy** for labels that do not exclude one another (a dog *and* a cat): each label is a question of its
own, with yes and no as its two classes. Its logit z becomes a probability by the sigmoid, σ(z) = 1 / (1 + exp(−z)),
and with the target t = 1 for yes and 0 for no

    L = −[w t log σ(z) + (1 − t) log(1 − σ(z))],    1 − σ(z) = σ(−z)

The weight w of the positive ones is 1, or more where a label is rare: few images that have it then count as much as
many without. log σ(z) = min(z, 0) − log(1 + exp(−|z|)) overflows for no z. Label smoothing over the two classes of each
question: t becomes (1 − ε) t + ε/2.

Two losses that detectors are trained with (`multibox.py` puts them to work): **smooth L1** for where a box is, and the
**focal loss** for what is in it, where thousands of boxes have nothing in them.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
# The class of each example, or the share of each class in it.
Labels = Int64[Tensor, " batch"] | Float[Tensor, "batch classes"]
Logits = Float[Tensor, "batch classes"]  # and what is computed from each of them: probabilities, gradients
Values = Float[Tensor, "*shape"]
ClassWeights = Float[Tensor, " classes"]


def squared_loss(prediction: Values, target: Values) -> Values:
    """Return ½(ŷ − y)² for each element: D2L's form.

    >>> squared_loss(torch.tensor([3.0]), torch.tensor([1.0]))
    tensor([2.])
    """
    _same_shape(prediction, target)
    return (prediction - target) ** 2 / 2


def squared_loss_backward(grad: Values, prediction: Values, target: Values) -> Values:
    """Return g (ŷ − y): d/dŷ ½(ŷ − y)² = ŷ − y, the error itself.

    >>> squared_loss_backward(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([1.0]))
    tensor([2.])
    """
    return grad * (prediction - target)


def mse_loss(prediction: Values, target: Values) -> Float[Tensor, ""]:
    """Return the mean of (ŷ − y)² over all elements: torch's form, twice the mean of `squared_loss`.

    >>> mse_loss(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """
    _same_shape(prediction, target)
    return ((prediction - target) ** 2).mean()


def mse_loss_backward(grad: Float[Tensor, ""], prediction: Values, target: Values) -> Values:
    """Return g · 2(ŷ − y)/n, n the number of elements.

    >>> mse_loss_backward(torch.tensor(1.0), torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([2., 0.])
    """
    return grad * 2 * (prediction - target) / prediction.numel()


def softmax(logits: Logits) -> Logits:
    """Return exp(z_k) / Σ_j exp(z_j) for each row.

    >>> softmax(torch.tensor([[1000.0, 1000.0]]))
    tensor([[0.5000, 0.5000]])
    """
    return log_softmax(logits).exp()


def softmax_backward(grad: Logits, y: Logits) -> Logits:
    """Return y (g − Σ_k g_k y_k), y the probabilities.

    log p_k = z_k − log Σ_i exp(z_i) has the slope δ_kj − p_j in z_j (δ_kj = 1 where k = j, else 0), and the slope of
    p = exp(log p) is p times that: ∂p_k/∂z_j = p_k(δ_kj − p_j). A logit lifts its own class and lowers the rest.
    Then ∂L/∂z_j = Σ_k g_k p_k (δ_kj − p_j) = p_j (g_j − Σ_k g_k p_k).

    >>> softmax_backward(torch.tensor([[4.0, 0.0]]), torch.tensor([[0.5, 0.5]]))
    tensor([[ 1., -1.]])
    """
    return y * (grad - (grad * y).sum(dim=1, keepdim=True))


def log_softmax(logits: Logits) -> Logits:
    """Return z_k − log Σ_j exp(z_j) for each row, with the row's largest logit taken off first.

    >>> log_softmax(torch.tensor([[0.0, 0.0, 0.0, 0.0]])).exp()
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    if logits.dim() != 2 or logits.shape[1] == 0:
        raise ValueError(f"logits must be (batch, classes) with at least one class, got {tuple(logits.shape)}")
    shifted = logits - logits.amax(dim=1, keepdim=True)
    return shifted - shifted.exp().sum(dim=1, keepdim=True).log()


def log_softmax_backward(grad: Logits, y: Logits) -> Logits:
    """Return g − softmax(z) Σ_k g_k, given y = log_softmax(z).

    The slope of log Σ_i exp(z_i) in z_j is exp(z_j) / Σ_i exp(z_i) = p_j. So ∂y_k/∂z_j = δ_kj − p_j (δ_kj = 1 where
    k = j, else 0), and ∂L/∂z_j = Σ_k g_k (δ_kj − p_j) = g_j − p_j Σ_k g_k.

    >>> log_softmax_backward(torch.tensor([[4.0, 0.0]]), torch.tensor([[0.5, 0.5]]).log())
    tensor([[ 2., -2.]])
    """
    return grad - y.exp() * grad.sum(dim=1, keepdim=True)


def smooth_targets(labels: Labels, num_classes: int, label_smoothing: float = 0.0, *, dtype: torch.dtype) -> Logits:
    """Return each label as a row of probabilities: 1 − ε at its class, and ε/K more at every class.

    Labels that are such rows already, as those of mixed images are, become (1 − ε) q + ε/K.

    >>> smooth_targets(torch.tensor([1]), 4, 0.2, dtype=torch.float32)
    tensor([[0.0500, 0.8500, 0.0500, 0.0500]])
    >>> smooth_targets(torch.tensor([[0.75, 0.25]]), 2, dtype=torch.float32)
    tensor([[0.7500, 0.2500]])
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in 0..1, got {label_smoothing}")
    if labels.is_floating_point():
        if labels.dim() != 2 or labels.shape[1] != num_classes:
            raise ValueError(f"shares of classes must be (batch, {num_classes}), got {tuple(labels.shape)}")
        if not torch.allclose(labels.sum(dim=1), labels.new_ones(len(labels)), atol=1e-3):
            raise ValueError("the shares of classes must add up to 1 in each row")
        return (1 - label_smoothing) * labels.to(dtype) + label_smoothing / num_classes
    if labels.dim() != 1 or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 (batch,), got {labels.dtype} {tuple(labels.shape)}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {int(labels.min())}..{int(labels.max())}")
    one_hot = (labels[:, None] == torch.arange(num_classes, device=labels.device)).to(dtype)
    return (1 - label_smoothing) * one_hot + label_smoothing / num_classes


def cross_entropy(
    logits: Logits,
    labels: Labels,
    *,
    weight: ClassWeights | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return −Σ_k w_k q_k log p_k: its mean or sum over the batch, or (with "none") one value an example.

    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # -log(1/2)
    tensor(0.6931)
    >>> weight = torch.tensor([1.0, 3.0])  # (0 · 1 + log 2 · 3) / (1 + 3)
    >>> cross_entropy(torch.tensor([[0.0, -200.0], [0.0, 0.0]]), torch.tensor([0, 1]), weight=weight)
    tensor(0.5199)
    """
    if len(labels) != len(logits):
        raise ValueError(f"as many labels as rows of logits are needed, got {len(labels)} for {len(logits)}")
    targets = _weighted_targets(logits, labels, weight, label_smoothing)
    # A class with target 0 adds nothing to the loss, however unlikely it is: 0 · log 0 = 0.
    losses = -torch.where(targets > 0, targets * log_softmax(logits), 0).sum(dim=1)
    if _is(reduction, "none"):
        return losses
    return losses.sum() / _total_weight(labels, weight) if reduction == "mean" else losses.sum()


def cross_entropy_backward(
    grad: Tensor,
    logits: Logits,
    labels: Labels,
    *,
    weight: ClassWeights | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Logits:
    """Return the gradient in the logits: (p Σ_k w_k q_k − w q) · g, over n or Σ_i w_{y_i} for the mean.

    L = −Σ_k w_k q_k (z_k − log Σ_j exp z_j), so ∂L/∂z_j = −w_j q_j + p_j Σ_k w_k q_k. Without weights the sum is 1, and
    p_j − q_j is left: what was said less what is true.

    >>> cross_entropy_backward(torch.tensor(1.0), torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([[ 0.5000, -0.5000]])
    """
    targets = _weighted_targets(logits, labels, weight, label_smoothing)
    difference = softmax(logits) * (1 if weight is None else targets.sum(dim=1, keepdim=True)) - targets
    if _is(reduction, "none"):
        return grad[:, None] * difference
    return grad * difference / (_total_weight(labels, weight) if reduction == "mean" else 1)


def _weighted_targets(logits: Logits, labels: Labels, weight: ClassWeights | None, label_smoothing: float) -> Logits:
    """Return w_k q_k for each example."""
    num_classes = logits.shape[1]
    targets = smooth_targets(labels, num_classes, label_smoothing, dtype=logits.dtype)
    if weight is None:
        return targets
    if weight.shape != (num_classes,):
        raise ValueError(f"weight must have one value for each of {num_classes} classes, got {tuple(weight.shape)}")
    return weight * targets


def _total_weight(labels: Labels, weight: ClassWeights | None) -> Tensor | int:
    """Return what the sum of the losses is divided by for their mean: Σ_i w_{y_i}, or n."""
    return len(labels) if weight is None or labels.is_floating_point() else weight[labels].sum()


def log_sigmoid(logits: Values) -> Values:
    """Return log σ(z) = min(z, 0) − log(1 + exp(−|z|)): the exponent is never above 0.

    >>> log_sigmoid(torch.tensor([-500.0, 0.0, 500.0]))
    tensor([-500.0000,   -0.6931,    0.0000])
    """
    return logits.clamp(max=0) - (1 + (-logits.abs()).exp()).log()


def smooth_binary_targets(targets: Values, label_smoothing: float) -> Values:
    """Return (1 − ε) t + ε/2.

    >>> smooth_binary_targets(torch.tensor([0.0, 1.0]), 0.2)
    tensor([0.1000, 0.9000])
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in 0..1, got {label_smoothing}")
    return (1 - label_smoothing) * targets + label_smoothing / 2


def binary_cross_entropy(
    logits: Values, targets: Values, *, positive_weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return −[w t log σ(z) + (1 − t) log σ(−z)]: its mean or sum over all elements, or each.

    `positive_weight` is w: one value, or one a label, the last dimension.

    >>> binary_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))  # -log(1/2)
    tensor(0.6931)
    """
    _same_shape(logits, targets)
    weight = torch.ones_like(logits) if positive_weight is None else positive_weight
    losses = -(weight * targets * log_sigmoid(logits) + (1 - targets) * log_sigmoid(-logits))
    if _is(reduction, "none"):
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def binary_cross_entropy_backward(
    grad: Tensor,
    logits: Values,
    targets: Values,
    *,
    positive_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Values:
    """Return the gradient in the logits: ((1 − t) σ(z) − w t σ(−z)) · g, over the number of elements for the mean.

    The slope of log σ(z) is 1 − σ(z) = σ(−z), since dσ/dz = σ(z) σ(−z); that of log σ(−z) is −σ(z). For w = 1 it is
    σ(z) − t: what was said less what is true, as for softmax.

    >>> binary_cross_entropy_backward(torch.tensor(1.0), torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([[-0.2500,  0.2500]])
    """
    weight = torch.ones_like(logits) if positive_weight is None else positive_weight
    difference = (1 - targets) * log_sigmoid(logits).exp() - weight * targets * log_sigmoid(-logits).exp()
    if _is(reduction, "none"):
        return grad * difference
    return grad * difference / (logits.numel() if reduction == "mean" else 1)


def smooth_l1_loss(prediction: Values, target: Values, *, beta: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Return d²/(2β) where |d| < β, |d| − β/2 elsewhere, d = ŷ − y: its mean or sum over all elements, or each.

    A parabola near 0, as the squared loss, so that the gradient fades as the answer gets better; a straight line
    further out, so that one box that is far off does not outweigh all others (Girshick, "Fast R-CNN", 2015). The two
    pieces meet at β with the same value and slope.

    >>> smooth_l1_loss(torch.tensor([0.5, -3.0]), torch.zeros(2), reduction="none")
    tensor([0.1250, 2.5000])
    """
    _same_shape(prediction, target)
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    distance = (prediction - target).abs()
    losses = torch.where(distance < beta, distance**2 / (2 * beta), distance - beta / 2)
    if _is(reduction, "none"):
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def smooth_l1_loss_backward(
    grad: Tensor, prediction: Values, target: Values, *, beta: float = 1.0, reduction: Reduction = "mean"
) -> Values:
    """Return the gradient in the prediction: d/β within β of the target, the sign of d elsewhere; never above 1.

    >>> smooth_l1_loss_backward(torch.tensor(1.0), torch.tensor([0.5, -3.0]), torch.zeros(2), reduction="sum")
    tensor([ 0.5000, -1.0000])
    """
    slope = ((prediction - target) / beta).clamp(-1, 1)
    if _is(reduction, "none"):
        return grad * slope
    return grad * slope / (prediction.numel() if reduction == "mean" else 1)


def focal_loss(
    logits: Values,
    targets: Values,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return −α_t (1 − p_t)^γ log p_t: its mean or sum over all elements, or each (Lin et al., 2017).

    p_t is the probability that is given to the truth: σ(z) where the target is 1, σ(−z) where it is 0. Of 8732 anchors
    perhaps ten have an object. Each of the others is answered well and loses little, but together they drown these ten.
    The factor (1 − p_t)^γ turns down what is answered well: for γ = 2 an element with p_t = 0.9 counts a hundredth of
    what it does in binary cross-entropy, which is γ = 0. α_t, α for the ones and 1 − α for the zeros, balances the two;
    with None it is left out.

    >>> zeros = torch.tensor([0.0, -4.0])  # one that is undecided, one that is answered well
    >>> focal_loss(zeros, torch.zeros(2), alpha=None, reduction="none")
    tensor([1.7329e-01, 5.8716e-06])
    >>> binary_cross_entropy(zeros, torch.zeros(2), reduction="none")
    tensor([0.6931, 0.0181])
    """
    sign, weight = _focal(logits, targets, alpha, gamma)
    log_true, log_false = log_sigmoid(sign * logits), log_sigmoid(-sign * logits)  # log p_t, log (1 − p_t)
    losses = -weight * (gamma * log_false).exp() * log_true
    if _is(reduction, "none"):
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def focal_loss_backward(
    grad: Tensor,
    logits: Values,
    targets: Values,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Values:
    """Return the gradient in the logits: ± α_t (1 − p_t)^γ (γ p_t log p_t − (1 − p_t)), + for ones and − for zeros.

    With p = σ(u), dp/du = p (1 − p), the product rule gives

        d/du [−(1 − p)^γ log p] = γ (1 − p)^(γ−1) p (1 − p) log p − (1 − p)^γ (1 − p)
                                = (1 − p)^γ (γ p log p − (1 − p))

    and u = z for a one, u = −z for a zero.

    >>> focal_loss_backward(torch.tensor(1.0), torch.tensor([0.0]), torch.tensor([1.0]), alpha=None, gamma=0.0)
    tensor([-0.5000])
    """
    sign, weight = _focal(logits, targets, alpha, gamma)
    log_true, log_false = log_sigmoid(sign * logits), log_sigmoid(-sign * logits)
    slope = sign * weight * (gamma * log_false).exp() * (gamma * log_true.exp() * log_true - log_false.exp())
    if _is(reduction, "none"):
        return grad * slope
    return grad * slope / (logits.numel() if reduction == "mean" else 1)


def _focal(logits: Tensor, targets: Tensor, alpha: float | None, gamma: float) -> tuple[Tensor, Tensor]:
    """Return 1 for ones and −1 for zeros, and α_t."""
    _same_shape(logits, targets)
    if not bool(((targets == 0) | (targets == 1)).all()):
        raise ValueError("targets must be 0 or 1")
    if gamma < 0 or (alpha is not None and not 0 <= alpha <= 1):
        raise ValueError(f"gamma must be 0 or more and alpha in 0..1 or None, got {gamma} and {alpha}")
    if alpha is None:
        return 2 * targets - 1, torch.ones_like(targets)
    return 2 * targets - 1, alpha * targets + (1 - alpha) * (1 - targets)


def _is(reduction: Reduction, wanted: Reduction) -> bool:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return reduction == wanted


def _same_shape(prediction: Tensor, target: Tensor) -> None:
    # Broadcasting (n, 1) against (n,) would silently make an n x n table of losses.
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target need one shape, got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
