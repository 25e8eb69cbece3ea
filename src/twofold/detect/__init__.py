"""Detection at scale: what and where. Anchors, matching, the loss and SSD; average precision and kinds of error.

| file | what |
| --- | --- |
| `anchors.py` | boxes of fixed shapes at every pixel of the feature maps, in D2L's convention and in SSD's |
| `shapes.py` | the shapes of anchors, by convention or spelled out |
| `offsets.py` | boxes as a network says them: how an anchor must move and stretch |
| `matching.py` | which true box, if any, each anchor must learn |
| `loss.py` | what training minimises: classes and places, with hard negatives or the focal loss |
| `scratch_form.py` | the same on the readable operations of `twofold.scratch` |
| `suggest.py` | how well anchors fit the boxes of a data set, and which would fit better |
| `placement.py` | where an image lies in a network's input |
| `decode.py` | from what a network says to boxes: scores, suppression, the best of each image |
| `network.py` | what all detectors share: heads, anchors, and the anchors of a spec |
| `ssd.py` | SSD: the paper's, one on any network of the registry, and a small one for a CPU |
| `detections.py` | what is found in images: boxes, each with a class and a score |
| `hits.py` | which detections are right, and the score from which on they have the best F1 |
| `average_precision.py` | how good it is, as COCO counts it, by class, overlap and size |
| `error_kinds.py` | what is wrong with what is wrong: six kinds of error, and what fixing each would give |

The readable forms are `scratch.boxes`, `multibox`, `generalised_iou`, `detection` and `detection_errors`. Everything
takes boxes as corners (x1, y1, x2, y2), flat over images as `data.targets.BoxTargets` has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.detect.average_precision import (
        PrecisionRecall as PrecisionRecall,
        evaluate_detections as evaluate_detections,
    )
    from twofold.detect.detections import Detections as Detections
    from twofold.detect.error_kinds import ErrorKinds as ErrorKinds, find_error_kinds as find_error_kinds

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "average_precision": "PrecisionRecall evaluate_detections",
        "detections": "Detections",
        "error_kinds": "ErrorKinds find_error_kinds",
    },
)
