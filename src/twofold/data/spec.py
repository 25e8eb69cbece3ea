"""What turns an image into a network's input, in one frozen value that travels with the weights.

`PixelSpec` decides the uint8 pixels: size, channels, how an image of another shape is made to fit. With the
architecture, the class names and the mean and standard deviation it is a `ModelSpec`, saved beside the
weights; evaluation, prediction, export and serving read it and nothing else, so they cannot disagree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twofold.errors import TwofoldError
from twofold.files import parse_json, write_text
from twofold.names import Name, json_text

Side = Annotated[int, Field(ge=1, le=4096)]


class PixelSpec(BaseModel):
    """What decides the uint8 pixels of an image.

    `image_size` is height and width in pixels. `resize` says how an image of another shape fits: "crop" brings the
    shorter side to size and cuts the centre out, "stretch" ignores the aspect ratio, "pad" brings the longer side
    to size and centres it on black. `convert_colour` lets colour images be turned to grey for a one-channel network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal[1, 3]
    image_size: tuple[Side, Side]
    resize: Literal["crop", "stretch", "pad"] = "crop"
    convert_colour: bool = False


class Compute(BaseModel):
    """How a network computed when it was trained, so that whoever uses it computes in the same way.

    `precision` is that of the arithmetic, "auto" where it was not recorded; `winograd` says whether wide 3x3
    convolutions go by Winograd's algorithm where that is possible (a CPU, float32).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    winograd: bool = True


class ModelSpec(PixelSpec):
    """All that using a trained network needs: how to build it, give it its input, read its output, and compute.

    `task` names what its outputs mean. `mean` and `std` are per channel, of pixel values in 0..1. With `flip_average`
    the outputs are the mean of those of the image and of its mirror image. `label_thresholds`, one a class, are for
    images with several labels: the probability from which on an image is said to have the label; 0.5 where they are
    left out. `score_threshold` is a detector's: the score from which on a detection is shown; 0.5 where it is left out.
    `format` is the version of this file: the first had no `task` (all networks classified) and no `compute`.
    """

    format: Literal[1, 2] = 2
    task: str = "classify"
    architecture: str
    architecture_options: dict[str, str | int | float | bool]
    class_names: tuple[Name, ...] = Field(min_length=1)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip_average: bool = False
    label_thresholds: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] | None = None
    score_threshold: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(
                f"mean and std need one value per channel ({self.channels}), got {len(self.mean)} and {len(self.std)}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
        if self.label_thresholds is not None and len(self.label_thresholds) != len(self.class_names):
            raise ValueError(
                f"label_thresholds must be one a class ({len(self.class_names)}), got {len(self.label_thresholds)}"
            )
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError("class_names must differ from one another")
        return self

    def to_json(self) -> str:
        """Return the spec as indented JSON."""
        return json_text(self.model_dump(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, origin: str = "the spec") -> ModelSpec:
        """Return the spec in `text`; `origin` names it in an error.

        Raises:
            TwofoldError: the text is not JSON, or not a spec of this format.
        """
        try:
            return cls.model_validate(parse_json(text, source=origin))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "content"
            raise TwofoldError(
                f"{origin} is not a valid preprocessing spec: {field}: {first['msg']}; "
                "use the file that training wrote beside the weights"
            ) from error

    def save(self, path: Path) -> None:
        """Write the spec to `path` as JSON, atomically."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> ModelSpec:
        """Return the spec in the file at `path`.

        Raises:
            TwofoldError: the file cannot be read or holds no valid spec.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise TwofoldError(f"cannot read {path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise TwofoldError(f"{path} is not a preprocessing spec: it is not text") from error
        return cls.from_json(text, origin=str(path))
