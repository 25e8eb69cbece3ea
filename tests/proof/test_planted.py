"""The proof can fail: mistakes that people make, planted into copies of the readable forms, are each caught."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import pytest

from twofold.proof.ideas import IDEAS
from twofold.proof.verify import verify

# idea, module, function, what stands there, what is planted, what kind of mistake it is
PLANTED = [
    ("linear", "linear", "linear_backward", "flat_grad.T @ flat_x", "(flat_x.T @ flat_grad).T * 1.001", "a factor"),
    ("linear", "linear", "linear", "x @ weight.T", "-(x @ weight.T)", "a wrong sign"),
    ("sigmoid", "activation", "sigmoid_backward", "(1 - y)", "(1 + y)", "a wrong sign"),
    ("tanh", "activation", "tanh_backward", "(1 - y * y)", "(1 + y * y)", "a wrong sign"),
    ("relu", "activation", "relu_backward", "y > 0,", "y >= 0,", "the gradient at zero"),
    ("softmax", "loss", "softmax_backward", "dim=1", "dim=0", "a swapped axis"),
    ("cross-entropy", "loss", "cross_entropy_backward", "- targets", "+ targets", "a wrong sign"),
    ("cross-entropy", "loss", "cross_entropy_backward", "(dim=1, keepdim=True)", "()", "a sum over the batch"),
    ("cross-entropy", "loss", "_total_weight", "len(labels)", "labels.shape[-1]", "a swapped axis"),
    ("cross-entropy", "loss", "_total_weight", "weight[labels].sum()", "len(labels)", "a plain mean"),
    ("cross-entropy", "loss", "_weighted_targets", "weight * targets", "targets", "a lost weight"),
    ("binary-cross-entropy", "loss", "binary_cross_entropy_backward", "weight * targets", "targets", "a lost weight"),
    ("binary-cross-entropy", "loss", "log_sigmoid", "1 + (-logits", "1 - (-logits", "a wrong sign"),
    ("binary-cross-entropy", "loss", "smooth_binary_targets", "/ 2", "", "a lost factor"),
    ("average-precision", "ranking", "precision_recall", "scores[1:] != scores[:-1]", "True", "ties in an order"),
    ("average-precision", "ranking", "mean_average_precision", "occur]", "range(scores.shape[1])]", "labels of none"),
    ("squared-loss", "loss", "mse_loss_backward", "grad * 2 *", "grad *", "a lost factor"),
    ("dropout", "dropout", "dropout_mask", "/ (1 - p)", "* (1 - p)", "scaled the wrong way"),
    (
        "cross-correlation",
        "conv",
        "cross_correlation",
        "kernel[i, j]",
        "kernel[height - 1 - i, j]",
        "a rotated kernel",
    ),
    ("conv2d", "conv", "pad", "top : top + height", "top + 1 : top + 1 + height", "padding off by one"),
    (
        "conv2d",
        "conv",
        "windows",
        "row * s_rows, col * s_cols, row",
        "col * s_rows, row * s_cols, row",
        "a swapped axis",
    ),
    ("conv2d", "conv", "columns", "permute(1, 4, 5, 2, 3, 0)", "permute(1, 5, 4, 2, 3, 0)", "a swapped axis"),
    ("conv2d", "conv", "met", "i * d_rows, j * d_cols", "i, j", "a forgotten dilation"),
    ("conv2d", "conv", "conv2d_backward", "flat_grad @ seen", "-flat_grad @ seen", "a wrong sign"),
    ("conv2d", "conv", "conv2d_backward", "dim=(0, 2, 3)", "dim=(0, 3, 2)[:2]", "a forgotten axis"),
    ("conv2d", "conv", "output_size", "// s_rows + 1", "// s_cols + 1", "a swapped axis"),
    (
        "conv2d-pieces",
        "conv_pieces",
        "conv2d_backward",
        "grad_weight += flat_grad",
        "grad_weight = flat_grad",
        "the last strip alone",
    ),
    ("conv2d-pieces", "conv_pieces", "strips", "last + 1", "last", "a strip without its last row"),
    ("conv1x1", "conv", "conv1x1", "x.permute(0, 2, 3, 1)", "x.permute(0, 3, 2, 1)", "a swapped axis"),
    ("receptive-field", "conv", "receptive_field", "(kernel - 1)", "kernel", "off by one"),
    ("max-pool2d", "pool", "max_pool2d_backward", "i * kernel[1] + j", "i * kernel[0] + j", "a swapped axis"),
    ("max-pool2d", "pool", "max_pool2d", ", -math.inf", ", 0.0", "padding that can win"),
    ("avg-pool2d", "pool", "avg_pool2d", "total / count", "total / (kernel[0] * kernel[1])", "the wrong count"),
    ("adaptive-avg-pool2d", "pool", "averaging_matrix", "-(-(part + 1)", "((part + 1)", "rounded the wrong way"),
    ("batch-norm", "norm", "batch_norm", "(count - 1)", "count", "a biased variance"),
    ("batch-norm", "norm", "batch_norm_backward", "- centred *", "+ centred *", "a wrong sign"),
    (
        "batch-norm",
        "norm",
        "batch_norm",
        "weight / (var + eps).sqrt()",
        "weight / (var.sqrt() + eps)",
        "ε in the wrong place",
    ),
    ("local-response-norm", "norm", "local_response_norm_backward", ", reverse=True", "", "a window not reversed"),
    ("sgd", "optim", "sgd", "x -= ", "x += ", "a wrong sign"),
    ("momentum", "optim", "momentum", "velocity += lr * grad", "velocity += grad", "a lost learning rate"),
    ("nesterov", "optim", "nesterov", "grad + momentum * velocity", "momentum * velocity", "no look ahead"),
    ("adagrad", "optim", "_root", "(square + eps).sqrt()", "square.sqrt() + eps", "ε in the wrong place"),
    ("rmsprop", "optim", "rmsprop", "(1 - gamma)", "gamma", "the wrong weight"),
    (
        "adadelta",
        "optim",
        "adadelta",
        "delta_avg += (1 - rho) * (step**2",
        "delta_avg += (1 - rho) * (step",
        "a lost square",
    ),
    ("adam", "optim", "adam", "(1 - beta2**step)", "(1 - beta2)", "the wrong correction"),
    ("adamw", "optim", "adamw", "1 - lr * weight_decay", "1 - weight_decay", "a lost learning rate"),
    ("parameter-groups", "optim", "decayed", "+ weight_decay", "- weight_decay", "a wrong sign"),
    ("schedules", "schedule", "exponential", "alpha**t", "alpha ** (t + 1)", "off by one"),
    (
        "initialisation",
        "init",
        "fans",
        "shape[1] * kernel, shape[0] * kernel",
        "shape[0] * kernel, shape[1] * kernel",
        "swapped fans",
    ),
    (
        "minibatches",
        "data",
        "batches",
        "start : start + batch_size",
        "start + 1 : start + 1 + batch_size",
        "off by one",
    ),
    ("synthetic-data", "data", "synthetic_regression", "+ bias", "- bias", "a wrong sign"),
    ("five-steps", "train", "linear_regression", "1 / len(x)", "1 / batch_size", "the last batch's mean"),
    (
        "match-anchors",
        "boxes",
        "match",
        "in enumerate(overlap.argmax(dim=0).tolist())",
        "in reversed([*enumerate(overlap.argmax(dim=0).tolist())])",
        "the earlier one has it",
    ),
    ("iou-crop", "box_augment", "iou_crop", "kept[:, None]", "kept[:, None] | True", "a box that is not cut away"),
    ("iou-crop", "box_augment", "iou_crop", ".sub(top)", ".sub(left)", "a swapped axis"),
    ("iou-crop", "box_augment", "iou_crop", ".clamp(0, image_width)", "", "a box that is not clipped"),
    ("iou-crop", "box_augment", "choose_part", "overlap >= least", "overlap > least", "the least not enough"),
    (
        "iou-crop",
        "box_augment",
        "choose_part",
        "for least in constraints",
        "for least in sorted(constraints, key=lambda value: value or 2.0)",
        "constraints by size",
    ),
    ("iou-crop", "box_augment", "largest_overlap", "return 1.0", "return 0.0", "no boxes, no crop"),
    ("iou-crop", "box_augment", "largest_overlap", ".max()", ".min()", "the wrong box"),
    ("iou-crop", "box_augment", "largest_overlap", "real[has_middle(real, part)]", "real", "any middle"),
    ("iou-crop", "box_augment", "has_middle", "(left < x)", "(left <= x)", "a middle on the edge"),
    (
        "iou-crop",
        "box_augment",
        "has_allowed_shape",
        "width * image_height",
        "width * image_width",
        "in pixels",
    ),
    ("zoom-out", "box_augment", "zoom_out", ".add(0.5).floor()", ".floor()", "a mean that is cut off"),
    ("zoom-out", "box_augment", "zoom_out", "mean(dim=1)", "mean().repeat(len(image))", "one mean for all channels"),
    ("zoom-out", "box_augment", "zoom_out", "clamp(0, image_height)", "clamp(0)", "a box that is not clipped"),
    ("zoom-out", "box_augment", "zoom_out", "(width / image_width)", "(image_width / width)", "scaled the wrong way"),
    ("nms-by-class", "boxes", "nms_by_class", "labels == label", "labels >= label", "classes together"),
    ("generalised-iou", "generalised_iou", "giou", "(hull - union)", "(union - hull)", "a wrong sign"),
    ("generalised-iou", "generalised_iou", "giou_loss_backward", "lengths.flip(1)", "lengths", "the same side"),
    ("smooth-l1", "loss", "smooth_l1_loss", "distance - beta / 2", "distance - 0.5", "a forgotten beta"),
    ("focal-loss", "loss", "focal_loss_backward", "sign * weight", "weight", "a lost sign"),
    ("focal-loss", "loss", "_focal", "(1 - alpha) * (1 - targets)", "(1 - targets)", "a lost weight"),
    ("hard-negatives", "multibox", "hard_negatives", "descending=True", "descending=False", "the easiest"),
    (
        "hard-negatives",
        "multibox",
        "hard_negatives",
        "int(has_object.sum())",
        "int(positive.sum())",
        "positives of all images",
    ),
    ("multibox-loss", "multibox", "_chosen", "max(1, int(positive.sum()))", "labels.numel()", "a mean over anchors"),
    ("multibox-loss", "multibox", "_chosen", "positive | hard", "positive & hard", "positives that do not count"),
    ("detection-average-precision", "detection", "match_detections", "not is_crowd[best]", "True", "a crowd used up"),
    (
        "detection-average-precision",
        "detection",
        "match_detections",
        "row[index], index)",
        "row[index], -index)",
        "the first on a tie",
    ),
    (
        "detection-average-precision",
        "detection",
        "match_detections",
        "not is_ignored[index], ",
        "",
        "ignored ones first",
    ),
    (
        "detection-average-precision",
        "detection",
        "judge",
        "~outside(area(detected.boxes), size)",
        "torch.ones_like(hit)",
        "detections of all sizes",
    ),
    ("detection-average-precision", "detection", "overlaps", "(crowd, inside", "(~crowd, inside", "a crowd as a box"),
    (
        "detection-average-precision",
        "detection",
        "curve",
        "precision.flip(0).cummax(dim=0).values.flip(0)",
        "precision",
        "not the largest",
    ),
    (
        "detection-average-precision",
        "detection",
        "read_curve",
        "dtype=torch.float64))",
        "dtype=torch.float64) + 1e-9)",
        "off by a step",
    ),
    (
        "detection-average-precision",
        "detection",
        "outside",
        "areas > limits[1]",
        "areas >= limits[1]",
        "a size without its end",
    ),
    ("detection-average-precision", "detection", "evaluate", "[:most]", "[-most:]", "the lowest scores"),
    ("detection-errors", "detection_errors", "error_kind", "own < FOREGROUND", "own < 0.9", "the wrong threshold"),
    ("detection-errors", "detection_errors", "fixed", "taken.add(answer.truth)", "pass", "one true box for two"),
    (
        "detection-errors",
        "detection_errors",
        "judge_image",
        "where(truth.crowd, 0, ",
        "where(truth.crowd, 1, ",
        "crowds taken for boxes",
    ),
    (
        "detection-errors",
        "detection_errors",
        "error_kinds",
        "missed = ~crowd",
        "missed = torch.ones_like(crowd)",
        "missed crowds",
    ),
]
# Cases to draw where each is slow.
FEWER = {"detection-average-precision": 8}


def plant(module: ModuleType, function: str, there: str, planted: str) -> object:
    """Return a copy of a function with the mistake in it, in a copy of its module."""
    source = inspect.getsource(getattr(module, function))
    assert source.count(there) >= 1, f"{function} no longer holds {there!r}"
    copied = dict(vars(module))
    exec(compile(f"from __future__ import annotations\n{source.replace(there, planted)}", function, "exec"), copied)
    return copied[function]


@pytest.mark.parametrize(
    ("idea", "module", "function", "there", "planted", "what"),
    PLANTED,
    ids=[f"{function}: {what}" for _, _, function, _, _, what in PLANTED],
)
def test_a_planted_mistake_is_caught(
    idea: str,
    module: str,
    function: str,
    there: str,
    planted: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = importlib.import_module(f"twofold.scratch.{module}")
    IDEAS[idea].parity()  # what imports the function by its name has the one without the mistake, also afterwards
    monkeypatch.setattr(room, function, plant(room, function, there, planted))
    for name in ("pad", "met", "windows", "output_size"):  # pool has its own names for these
        if function == name:
            monkeypatch.setattr(importlib.import_module("twofold.scratch.pool"), name, getattr(room, name))
    try:
        verdict = verify(IDEAS[idea], num_drawn=FEWER.get(idea, 30))
    except (RuntimeError, IndexError, ValueError, TypeError):
        return  # it does not even run: caught as well
    assert not verdict.holds, what


def test_without_a_mistake_nothing_is_caught() -> None:
    assert all(verify(IDEAS[name], num_drawn=5).holds for name in {idea for idea, *_ in PLANTED})
