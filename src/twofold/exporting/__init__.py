"""Out of the folder: a trained network as files that others run, proved to answer as it does.

| file | what |
| --- | --- |
| `write.py` | `export`: the network of a run as a folder that needs no Twofold, or as one file |
| `network.py` | `Whole`: a network with what stands before and behind it, from uint8 pixels to answers |
| `suppression.py` | the end of a detector, as ONNX's own operators |
| `onnx_file.py` | `build_onnx`: the two as one ONNX model, with the spec inside |
| `torch_file.py` | the same network as a torch.export program, compiled where that works |
| `web.py` | a folder that any web server can serve: the network in the browser |
| `check.py` | `compare`: the file and the network on the same images |
| `samples.py` | real images to compare, calibrate and measure with |
| `precision.py` | float16 and int8 |
| `kept.py` | `kept_onnx`: the ONNX file of a run, made once |
| `quiet.py` | what exporters tell those who write exporters is kept to ourselves |
| `standalone.py` | the program in the folder |
| `bundle.py` | one program from several modules |
| `readme.py` | what the folder says of itself |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.exporting.onnx_file import build_onnx as build_onnx
    from twofold.exporting.write import Exported as Exported, export as export

__getattr__, __dir__, __all__ = lazy_names(__name__, {"write": "Exported export", "onnx_file": "build_onnx"})
