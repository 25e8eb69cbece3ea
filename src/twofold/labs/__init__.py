"""Labs: see an idea at work, in a browser (`twofold lab`) or as a widget in a notebook.

| file | what |
| --- | --- |
| `table.py` | the labs |
| `lab.py` | `Lab`, the base class: settings, values, exercises, command |
| `given.py` | `Given`: the files that the labs were opened with |
| `images.py` | `Opened`: what one lab may use, images above all |
| `layers.py` | what the labs of convolution and of pooling share |
| `convolution.py` | convolution |
| `pooling.py` | pooling and shifts |
| `boxes.py` | boxes |
| `network.py` | a trained network: prediction, maps, units, mistakes |
| `inside.py` | what the layers of a network give, with channels switched off |
| `small_network.py` | the network that the lab of networks begins with |
| `run_images.py` | the images that a run is measured on, and its mistakes |
| `receptive_field.py` | receptive fields |
| `batch_norm.py` | batch normalisation |
| `seeded.py` | random weights that are always the same, and the turns of those who draw at random |
| `descent.py` | descent over surfaces |
| `training.py` | training, live |
| `live_run.py` | `LiveRun`: a run of the engine that is paused, stepped and changed from outside |
| `layer_values.py` | what can be seen in each layer while it trains |
| `augmentation.py` | augmentation |
| `scene.py` | an image with boxes that are known, for the labs of boxes and of augmentation |
| `shapes.py` | shapes |
| `tensor_expression.py` | an expression of small tensors, and where each element of its parts comes from |
| `traced.py` | which lines of the code beside a lab have run |
| `session.py` | `Session`: a lab and the page that it serves |
| `ideas_zh.py` | the ideas that labs show, in Chinese |
| `arrays.py` | values as bytes |
| `modules.py` | a lab's JavaScript as one module |
| `host.py` | `Host`: the pages of `twofold lab` |
| `widget.py` | labs as widgets |

The JavaScript of each lab lies in the folder page, and in `kit.js` what all of them are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twofold.labs.table import LABS, class_name
from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.labs.images import SAMPLES as SAMPLES, drawn as drawn, pixels as pixels

_get, _, __all__ = lazy_names(__name__, {"images": "SAMPLES drawn pixels"})
_WIDGETS = {class_name(name): name for name in LABS}
__all__ += _WIDGETS  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WIDGETS:
        return _get(name)
    from twofold.labs.widget import widget_class

    globals()[name] = found = widget_class(_WIDGETS[name])
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
