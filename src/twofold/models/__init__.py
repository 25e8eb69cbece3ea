"""The networks, in the form that runs at scale: one file a family, the block before the network that uses it.

    from twofold.models import create_model, summarise

    model = create_model("resnet18", in_channels=1, num_classes=10, image_size=(28, 28), options={"stem": "small"})
    logits = model(images)                       # float (batch, channels, height, width) to (batch, num_classes)
    model.reset_head(3)                          # a new last layer, for three classes
    [layer.name for layer in summarise(model)]   # with shapes, parameters, multiply-adds, receptive fields

| file | what |
| --- | --- |
| `registry.py` | every network by name, its options, `create_model`; imports torch only to build one |
| `network.py` | what all share: features, head, stages, the stem for small images |
| `lenet.py` | LeNet, 1998: learned convolutions |
| `alexnet.py` | AlexNet, 2012: deeper, ReLU, dropout |
| `vgg.py` | VGG, 2015: one block, repeated |
| `nin.py` | NiN, 2014: 1x1 convolutions instead of dense layers |
| `googlenet.py` | GoogLeNet, 2015: several kernels side by side, auxiliary heads |
| `resnet.py` | ResNet, 2016: a shortcut around every block |
| `densenet.py` | DenseNet, 2017: every layer reads all before it |
| `sprint.py` | a small network that is fast to train |
| `summary.py` | layer by layer: shapes, parameters, multiply-adds, receptive fields; and for a whole network |
| `winograd.py` | 3x3 convolutions with a quarter of the multiplications |
| `scratch_form.py` | any network on the readable operations of `twofold.scratch` |

Names are imported when first used, so that recipes and the command line can check a network's name and options without
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.models.alexnet import AlexNet as AlexNet
    from twofold.models.densenet import DenseNet as DenseNet
    from twofold.models.googlenet import GoogLeNet as GoogLeNet
    from twofold.models.lenet import LeNet as LeNet
    from twofold.models.network import FeatureInfo as FeatureInfo, Network as Network, stage_modules as stage_modules
    from twofold.models.nin import NiN as NiN
    from twofold.models.registry import (
        CLASSIFIERS as CLASSIFIERS,
        DETECTORS as DETECTORS,
        MODELS as MODELS,
        ModelEntry as ModelEntry,
        check_model_options as check_model_options,
        create_model as create_model,
        resolve_options as resolve_options,
    )
    from twofold.models.resnet import ResNet as ResNet
    from twofold.models.scratch_form import to_scratch as to_scratch
    from twofold.models.sprint import Sprint as Sprint
    from twofold.models.summary import (
        Layer as Layer,
        count_parameters as count_parameters,
        measure as measure,
        summarise as summarise,
    )
    from twofold.models.vgg import VGG as VGG
    from twofold.models.winograd import with_winograd as with_winograd

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "alexnet": "AlexNet",
        "densenet": "DenseNet",
        "googlenet": "GoogLeNet",
        "lenet": "LeNet",
        "network": "FeatureInfo Network stage_modules",
        "nin": "NiN",
        "registry": "CLASSIFIERS DETECTORS MODELS ModelEntry check_model_options create_model resolve_options",
        "resnet": "ResNet",
        "scratch_form": "to_scratch",
        "sprint": "Sprint",
        "summary": "Layer count_parameters measure summarise",
        "vgg": "VGG",
        "winograd": "with_winograd",
    },
)
