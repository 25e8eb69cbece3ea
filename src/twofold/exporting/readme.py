"""What an exported folder says of itself: its command, and what goes in and comes out."""

from __future__ import annotations

from twofold.data.spec import ModelSpec
from twofold.detect.decode import USUAL
from twofold.exporting.check import BATCHES, Equality
from twofold.exporting.precision import Trade

_ANSWERS = {
    "classify": "| out | `probabilities` | float32 (batch, {classes}) | of each class |",
    "multilabel": "| out | `probabilities` | float32 (batch, {classes}) | of each label |",
    "detect": """\
| in | `sizes` | int64 (batch, 2) | height and width of each image as it was given |
| out | `boxes` | float32 (objects, 4) | x1, y1, x2, y2 in pixels of the image as it was given |
| out | `scores` | float32 (objects) | how sure the network is of each, 0 to 1 |
| out | `labels` | int64 (objects) | the class of each |
| out | `counts` | int64 (batch) | how many boxes each image has; those of the first image come first |""",
}


def readme(spec: ModelSpec, equality: Equality, trade: Trade | None) -> str:
    """Return README.md of a folder with an ONNX file.

    Args:
        spec: of the network.
        equality: how far the file is from the network.
        trade: what fewer bits gave and cost; None for float32.
    """
    height, width = spec.image_size
    colour = "red, green and blue" if spec.channels == 3 else "grey"
    names = ", ".join(spec.class_names[:20]) + (" …" if len(spec.class_names) > 20 else "")
    fewer = "" if trade is None else f"\n{trade.in_words()}, where it was exported.\n"
    return f"""# {spec.architecture}, exported

    pip install numpy pillow onnxruntime
    python predict.py photo.png

`python predict.py --help` lists its options. From Python:
`from predict import Network; Network().predict("photo.png")`.

Classes: {names}

Compared with the network in torch on {equality.num_images} images, in batches of {", ".join(map(str, BATCHES))}:
the largest difference of an answer is {equality.largest:.1g}.
{fewer}
## What goes in and comes out of `model.onnx`

| | name | type | what |
| --- | --- | --- | --- |
| in | `pixels` | uint8 (batch, {spec.channels}, {height}, {width}) | {colour}; normalising is inside |
{_ANSWERS[spec.task].format(classes=len(spec.class_names))}
| out | `outputs` | float32 | what the answers are computed from |

How an image of another size becomes these pixels stands in `spec.json` (`resize`) and, as code, in `predict.py`.
"""


def torch_readme(spec: ModelSpec, equality: Equality, *, has_compiled: bool) -> str:
    """Return README.md of a folder with a torch.export program."""
    height, width = spec.image_size
    pixels = f"torch.zeros(1, {spec.channels}, {height}, {width}, dtype=torch.uint8)"
    sizes = f", sizes=torch.tensor([[{height}, {width}]])" if spec.task == "detect" else ""
    answers = (
        f"`probabilities` (batch, {len(spec.class_names)}), and"
        if spec.task != "detect"
        else (
            "`candidate_boxes` (batch, anchors, 4), in pixels of the images whose (height, width) `sizes` has, and "
            f"`candidate_scores` (batch, {len(spec.class_names)}, anchors). "
            "Boxes that overlap are still to suppress:\n\n"
            "    from torchvision.ops import batched_nms\n"
            '    boxes, scores = answers["candidate_boxes"][0], answers["candidate_scores"][0]\n'
            f"    labels, anchors = (scores > {USUAL.least}).nonzero(as_tuple=True)\n"
            "    boxes, scores = boxes[anchors], scores[labels, anchors]\n"
            f"    kept = batched_nms(boxes, scores, labels, {USUAL.overlap})[:{USUAL.most}]\n\n"
            "It also gives"
        )
    )
    compiled = (
        f"""
`model-compiled.pt2` is the same, compiled for processors like the one where it was exported:

    network = torch._inductor.aoti_load_package("model-compiled.pt2")
    answers = network(pixels={pixels}{sizes})
"""
        if has_compiled
        else ""
    )
    return f"""# {spec.architecture}, exported for torch

    import torch
    network = torch.export.load("model.pt2").module()
    answers = network(pixels={pixels}{sizes})

`pixels` are uint8 (batch, {spec.channels}, {height}, {width}); normalising is inside. The answers are a dictionary:
{answers} `outputs`, what they are computed from.
{compiled}
Compared with the network on {equality.num_images} images, in batches of {", ".join(map(str, BATCHES))}: the largest
difference of an answer is {equality.largest:.1g}.

Classes: {", ".join(spec.class_names)}

How an image of another size becomes these pixels stands in `spec.json` (`resize`); `twofold export` without `--to
torch` writes it as code.
"""
