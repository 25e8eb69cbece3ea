"""What a trained network sees: its feature maps, where it looks for a class, and what excites one of its channels.

    from twofold.interpret import explain_image

    predictor = twofold.load("runs/demo")
    explain_image(predictor, predictor.pixels("photo.png"), classes=["Bag"]).heats

| file | what |
| --- | --- |
| `image.py` | one image, stage by stage, and where a class is seen in it (Grad-CAM) |
| `detector.py` | one image, level by level of a detector, and how anchors become objects |
| `channel.py` | the images that excite a channel most, and where |
| `stages.py` | the feature maps of a network, and which part of an image each element of a map depends on |

These are computations; `twofold.figures.explain` and `explain_detector` draw what they return.
"""

from twofold.interpret.channel import (
    Channel as Channel,
    ChannelView as ChannelView,
    Example as Example,
    Peak as Peak,
    check_channel as check_channel,
    explain_channel as explain_channel,
    most_activating as most_activating,
    parse_channel as parse_channel,
    peak_of as peak_of,
)
from twofold.interpret.detector import (
    DetectorExplanation as DetectorExplanation,
    LevelView as LevelView,
    explain_detections as explain_detections,
)
from twofold.interpret.image import (
    ClassHeat as ClassHeat,
    Explanation as Explanation,
    StageView as StageView,
    explain_image as explain_image,
    grad_cam as grad_cam,
)
from twofold.interpret.stages import Box as Box, stage_maps as stage_maps
