"""The end of an exported detector: of all boxes the ones to keep, as ONNX's own operators.

Written in Python and translated by onnxscript, line by line, so that it can be read beside `detect.decode`, to which
it is equal.
"""

# pyright: reportArgumentType=false, reportOperatorIssue=false, reportInvalidTypeForm=false
# pyright: reportInvalidTypeArguments=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportIndexIssue=false, reportOptionalOperand=false

from __future__ import annotations

from onnxscript import DOUBLE, FLOAT, INT64, opset20 as op, script

from twofold.detect.decode import USUAL

OPSET = 20
_MOST, _OVERLAP, _LEAST = USUAL.most, USUAL.overlap, USUAL.least


@script(default_opset=op)
def suppress(candidate_boxes: FLOAT["batch", "anchors", 4], candidate_scores: FLOAT["batch", "classes", "anchors"]):
    """Return the boxes to keep with their scores and labels, image after image, and how many there are in each."""
    most = op.Constant(value_ints=[_MOST])
    one = op.Constant(value_ints=[1])
    zero = op.Constant(value_ints=[0])
    # (n, 3): image, class and anchor of what is left when of overlapping boxes of a class the best was kept.
    chosen = op.NonMaxSuppression(
        candidate_boxes,
        candidate_scores,
        most,
        op.Constant(value_floats=[_OVERLAP]),
        op.Constant(value_floats=[_LEAST]),
    )
    chosen_scores = op.GatherND(candidate_scores, chosen)
    images = op.Cast(op.Squeeze(op.Slice(chosen, zero, one, one), one), to=DOUBLE.dtype)
    # By image, and in it by falling score: scores are at most 1, so two images never mix.
    key = op.Cast(chosen_scores, to=DOUBLE.dtype) - images * 2.0
    _, order = op.TopK(key, op.Shape(key))
    chosen = op.Gather(chosen, order)
    chosen_scores = op.Gather(chosen_scores, order)
    image = op.Squeeze(op.Slice(chosen, zero, one, one), one)
    # Of each image the first `most`.
    batch = op.Range(
        op.Constant(value_int=0), op.Squeeze(op.Shape(candidate_scores, start=0, end=1)), op.Constant(value_int=1)
    )
    is_in = op.Cast(op.Equal(op.Unsqueeze(image, one), op.Unsqueeze(batch, zero)), to=INT64.dtype)
    num_found = op.ReduceSum(is_in, zero, keepdims=0)
    first = op.CumSum(num_found, op.Constant(value_int=0), exclusive=1)
    place = op.Range(op.Constant(value_int=0), op.Squeeze(op.Shape(image)), op.Constant(value_int=1))
    is_kept = op.Less(place - op.Gather(first, image), most)
    chosen = op.Compress(chosen, is_kept, axis=0)
    anchor = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
    boxes = op.GatherND(candidate_boxes, anchor)
    scores = op.Compress(chosen_scores, is_kept, axis=0)
    labels = op.Squeeze(op.Slice(chosen, one, op.Constant(value_ints=[2]), one), one)
    counts = op.Min(num_found, most)
    return boxes, scores, labels, counts
