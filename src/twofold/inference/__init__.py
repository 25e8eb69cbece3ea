"""What it takes to use a trained network: no recipe, no training loop, no run folder.

| file | what |
| --- | --- |
| `places.py` | which file the path of a trained network means |
| `weights_file.py` | files of weights: written and read with a checksum; `read_weights` gives tensors and their spec |
| `other_files.py` | files of weights that others wrote: recognised by content, read without running anything |
| `build.py` | `build_model`: a spec to its network |
| `hardware.py` | `pick_hardware`: device and precision, picked by measurement and explained |
| `forward.py` | pixels to outputs, a batch at a time; feeding a meter with them |
| `evaluate.py` | `evaluate`: every image once |
| `predictor.py` | `Predictor`: images of any kind to predictions, whatever computes them; `load` |
| `torch_predictor.py` | `TorchPredictor`: from the weights, in torch |
| `onnx_predictor.py` | `OnnxPredictor`: from an exported file, without torch |
"""
