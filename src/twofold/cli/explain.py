"""`twofold explain RUN IMAGE`: a figure of what a network sees in an image, or of what excites one of its channels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from twofold.cli.parse import check_image, check_run_first, parse, write_figure
from twofold.cli.settings import column_names
from twofold.data.names import check_data_name
from twofold.data.sources.table_columns import check_table_settings
from twofold.errors import TwofoldError
from twofold.terminal import loading, note

if TYPE_CHECKING:
    from torch import Tensor

    from twofold.inference.torch_predictor import TorchPredictor


@dataclasses.dataclass(kw_only=True)
class ExplainArguments:
    """Draw what a trained network sees in an image: feature maps, prediction, and where it sees a class (Grad-CAM).

    Of a detector: anchors with a high score, where they are moved to, what suppression leaves, what each level sees.
    With --data and --channel: the images of a data set that excite one channel most, beside IMAGE where one is given.
    """

    run: tyro.conf.Positional[Path]
    """A run folder, or one of its .safetensors files."""
    image: tyro.conf.Positional[Path | None] = None
    classes: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="class", metavar="NAME")] = ()
    """Also show where it sees this class; of a detector, look for it alone. May be given several times."""
    threshold: float | None = None
    """The score from which on a detector's anchors are shown; that of its run if left out."""
    figure: Path | None = None
    """The figure to write, .png, .svg or .pdf; explain-IMAGE.png here if left out."""
    data: str | None = None
    """Search these images, a named data set, a folder or a table with the run's classes."""
    images: str | None = None
    columns: tuple[str, ...] = ()
    channel: Annotated[str | None, tyro.conf.arg(metavar="STAGE:INDEX")] = None
    """The channel to look at, e.g. layer1:0; the stages are the rows in the figure of an image."""
    to_grey: bool = False
    """Turn colour images to grey, for a network that was trained on grey ones."""
    skip_broken: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    lab: bool = False
    """Open the lab of networks with these settings, instead of a figure."""


def run(arguments: Sequence[str]) -> int:
    parsed = parse(ExplainArguments, arguments, verb="explain")
    check_run_first(parsed.run, [parsed.image], verb="explain")
    _check(parsed)
    if parsed.lab:
        return _open_lab(parsed)
    with loading("torch"):
        from twofold.data import load_eval_images
        from twofold.data.sources.problems import first_notes
        from twofold.figures.explain import draw_channel, draw_explanation
        from twofold.figures.explain_detector import draw_detector
        from twofold.inference.torch_predictor import TorchPredictor
        from twofold.interpret import check_channel, explain_channel, explain_detections, explain_image, parse_channel

    predictor = TorchPredictor.load(parsed.run, device=parsed.device, to_grey=parsed.to_grey)
    if parsed.threshold is not None and predictor.spec.task != "detect":
        raise TwofoldError(f"--threshold {parsed.threshold:g} is for detectors; this network is none; leave it out")
    own = None if parsed.image is None else (parsed.image.name, _pixels(parsed.image, predictor))
    if parsed.channel is None:
        assert own is not None
        name = Path(own[0]).stem
        if predictor.spec.task == "detect":
            seen = explain_detections(predictor, own[1], classes=parsed.classes, threshold=parsed.threshold)
            figure = draw_detector(seen, title=own[0])
        else:
            figure = draw_explanation(explain_image(predictor, own[1], classes=parsed.classes), title=own[0])
    else:
        assert parsed.data is not None
        name = parsed.channel.replace(":", "-").replace("/", "-")
        channel = parse_channel(parsed.channel)
        check_channel(predictor, channel)
        data = load_eval_images(
            parsed.data,
            predictor.spec,
            images=parsed.images,
            columns=column_names(parsed.columns),
            skip_broken=parsed.skip_broken,
        )
        for line in first_notes(data.notes):
            note(line)
        figure = draw_channel(explain_channel(predictor, channel, data, own=own))
    for line in predictor.remark_notes():
        note(line)
    write_figure(figure, parsed.figure or Path(f"explain-{name}.png"))
    return 0


def _open_lab(parsed: ExplainArguments) -> int:
    from twofold.cli.lab import open_lab
    from twofold.labs.given import Given

    settings = ["over=class", f"target={json.dumps(parsed.classes[0])}"] if parsed.classes else []
    if parsed.channel is not None:
        from twofold.interpret import parse_channel

        channel = parse_channel(parsed.channel)
        settings += [f"layer={channel.stage}", f"unit=[{channel.index},0,0]"]
    given = Given(
        images=() if parsed.image is None else (str(parsed.image),),
        runs=(str(parsed.run),),
        data=() if parsed.data is None else (parsed.data,),
    )
    return open_lab("network", settings, given)


def _check(parsed: ExplainArguments) -> None:
    if parsed.threshold is not None and not 0 <= parsed.threshold <= 1:
        raise TwofoldError(f"--threshold is a probability, from 0 to 1, got {parsed.threshold}")
    if (parsed.data is None) != (parsed.channel is None):
        given, missing = ("--data", "--channel") if parsed.channel is None else ("--channel", "--data")
        raise TwofoldError(f"{given} needs {missing}: the images to search, and the channel that they excite")
    if parsed.data is not None:
        check_data_name(parsed.data, parsed.images)
        check_table_settings(parsed.data, parsed.images, column_names(parsed.columns))
        given = "class" if parsed.classes else "threshold" if parsed.threshold is not None else None
        if given is not None:
            raise TwofoldError(f"--{given} goes with an IMAGE to explain, not with --channel; leave it out")
    elif parsed.image is None:
        raise TwofoldError("say what to explain: an IMAGE, or a channel with --data and --channel")
    elif parsed.skip_broken or parsed.images or parsed.columns:
        flag = "skip-broken" if parsed.skip_broken else "images" if parsed.images else "columns"
        raise TwofoldError(f"--{flag} is for the images of --data; leave it out")
    if parsed.image is not None:
        check_image(parsed.image)


def _pixels(image: Path, predictor: TorchPredictor) -> Tensor:
    try:
        return predictor.pixels(image)
    except TwofoldError as error:
        if str(image) in str(error):
            raise
        raise TwofoldError(f"{image}: {error}") from error
