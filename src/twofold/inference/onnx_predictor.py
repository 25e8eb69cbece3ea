"""An exported network ready for use: onnxruntime computes it, and torch is not imported.

The file takes uint8 pixels and has everything else inside: normalising, averaging over the mirror image, softmax or
sigmoid, and for a detector the boxes and their suppression. Its spec stands in its metadata, so that the one file is
enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from twofold.data.spec import ModelSpec
from twofold.errors import TwofoldError
from twofold.files import parse_json
from twofold.inference.predictor import Predictor, turning_to_grey
from twofold.tasks.predictions import Prediction, answers_of

if TYPE_CHECKING:
    import onnxruntime
    from torch import Tensor

SPEC_KEY, RECORD_KEY = "twofold_spec", "twofold_export"
"""Where the metadata of an exported file has the spec, and what is known of the export."""

_NOWHERE = "/no/other/files"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}


def load_runtime() -> Any:
    """Return the module onnxruntime.

    Raises:
        TwofoldError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise TwofoldError("exported files need onnxruntime: pip install 'twofold[export]'") from error
    onnxruntime.set_default_logger_severity(3)  # its warnings are for those who write exporters
    return onnxruntime


class OnnxPredictor(Predictor):
    """A network in an exported file.

    Args:
        session: the file, loaded.
        spec: how pixels become inputs, what the outputs mean, and the names of the classes.
        record: what is known of its export.
    """

    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec, record: Mapping[str, Any]) -> None:
        super().__init__(spec)
        self.session = session
        self.record = record

    @staticmethod
    def load(
        path: Path | str, *, device: str = "auto", to_grey: bool = False, threads: int = 0, spin: bool = True
    ) -> OnnxPredictor:
        """Return the network in an exported file.

        Args:
            path: the file.
            device: where to compute: auto, cpu, cuda or mps.
            to_grey: turn colour images to grey, by luma, for a network that was trained on grey ones.
            threads: the most threads that compute one batch; 0 for one a core.
            spin: let threads without work look for some without rest: a lone batch is computed sooner, and whatever
                else runs has less of the processor.

        Raises:
            TwofoldError: it is missing, broken or no export of ours, or the network takes colour images.
        """
        runtime = load_runtime()
        path = Path(path)
        if not path.is_file():
            raise TwofoldError(f"there is no file {path}")
        options = runtime.SessionOptions()
        providers = _providers(runtime, device)
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
        if not spin:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # From its bytes, and with no folder for anything else: a file that names others could read what it likes.
            content = path.read_bytes()
            session = runtime.InferenceSession(content, options, providers=providers)
            metadata = session.get_modelmeta().custom_metadata_map
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            if "External data path" in reason:
                reason = "it has its weights in other files, which are not read"
            raise TwofoldError(f"{path} cannot be loaded by onnxruntime: {reason}") from error
        if SPEC_KEY not in metadata:
            raise TwofoldError(f"{path} was not exported by Twofold: it does not say what its outputs mean")
        spec = ModelSpec.from_json(metadata[SPEC_KEY], origin=f"the spec in {path}")
        if not _fits(session, spec):
            raise TwofoldError(f"{path} is no export of ours: it does not take what its spec says")
        record = parse_json(metadata.get(RECORD_KEY, "{}"), source=f"the record in {path}")
        return OnnxPredictor(
            session, turning_to_grey(spec) if to_grey else spec, record if isinstance(record, dict) else {}
        )

    @property
    def precision(self) -> str:
        """The precision of its arithmetic: float32, float16 or int8."""
        return str(self.record.get("precision", "float32"))

    @property
    def where(self) -> str:
        """What computes it."""
        return f"onnxruntime, {self.precision}"

    def run(
        self, pixels: UInt8[np.ndarray, "batch channels height width"], sizes: Sequence[tuple[int, int]]
    ) -> dict[str, np.ndarray]:
        """Return every output of the file for a batch of preprocessed images, by name.

        Raises:
            TwofoldError: onnxruntime cannot compute it.
        """
        given: dict[str, np.ndarray] = {"pixels": np.ascontiguousarray(pixels)}
        if self.spec.task == "detect":
            given["sizes"] = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        names = [output.name for output in self.session.get_outputs()]
        try:
            return dict(zip(names, self.session.run(names, given), strict=True))  # type: ignore[arg-type]
        except Exception as error:
            raise TwofoldError(f"onnxruntime cannot compute it: {str(error).strip().splitlines()[0]}") from error

    def answer(
        self, pixels: UInt8[np.ndarray, "batch channels height width"], sizes: Sequence[tuple[int, int]]
    ) -> Sequence[Prediction]:
        """Return what the network says of a batch of preprocessed images of these (height, width)."""
        return answers_of(self.run(pixels, sizes), self.spec, sizes)

    def outputs(self, pixels: Tensor) -> Tensor:
        """Return the float32 outputs for a batch of preprocessed images; see `Predictor.outputs`."""
        import torch

        return torch.from_numpy(self.run(pixels.numpy(), [self.spec.image_size] * len(pixels))["outputs"])


def _fits(session: onnxruntime.InferenceSession, spec: ModelSpec) -> bool:
    """Return whether a graph takes the pixels that its spec says, and gives as many answers as it has classes."""
    taken = {each.name: (each.type, each.shape[1:]) for each in session.get_inputs()}
    given = {each.name: each.shape for each in session.get_outputs()}
    wanted: dict[str, Any] = {"pixels": ("tensor(uint8)", [spec.channels, *spec.image_size])}
    if spec.task == "detect":
        wanted["sizes"] = ("tensor(int64)", [2])
        return taken == wanted and {"boxes", "scores", "labels", "counts", "outputs"} <= given.keys()
    return taken == wanted and given.get("probabilities", [])[1:] == [len(spec.class_names)] and "outputs" in given


def _providers(runtime: Any, device: str) -> list[str]:
    available = runtime.get_available_providers()
    there = {name: provider for name, provider in _PROVIDERS.items() if provider in available}
    if device == "auto":
        return [there["cuda"], there["cpu"]] if "cuda" in there else [there["cpu"]]
    if device not in there:
        raise TwofoldError(f"device {device!r} is not available to onnxruntime here; there is {', '.join(there)}")
    return list(dict.fromkeys([there[device], there["cpu"]]))
