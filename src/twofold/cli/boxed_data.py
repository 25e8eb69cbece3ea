"""What `twofold data check` prints of boxes, and `twofold data convert`: images with boxes in another format."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from twofold.cli.parse import parse
from twofold.cli.settings import column_names
from twofold.data.names import check_data_name
from twofold.errors import TwofoldError
from twofold.files import expanded
from twofold.names import shown
from twofold.terminal import command, loading, note, print_table, quoted

if TYPE_CHECKING:
    from twofold.data.box_inspection import BoxStatistics


@dataclasses.dataclass(kw_only=True)
class ConvertArguments:
    """Write images with boxes in another format: COCO, Pascal VOC, YOLO, or a table."""

    data: tyro.conf.Positional[str]
    """Boxes in a folder, a file or a table, or fashion-scenes; coco:, voc:, yolo:, labelme:, boxes: say which."""
    out: tyro.conf.Positional[Path]
    """The folder to write, which must not be there."""
    to: Literal["coco", "voc", "yolo", "csv"]
    """The format."""
    images: Path | None = None
    columns: tuple[str, ...] = ()
    copy: bool = False
    """Copy the images; else the new folder has links to them."""
    skip_broken: bool = False
    quiet: bool = False


def convert(arguments: Sequence[str]) -> int:
    parsed = parse(ConvertArguments, arguments, verb="data convert")
    check_data_name(parsed.data, parsed.images)
    out = expanded(parsed.out)
    if out.exists():
        raise TwofoldError(f"{out} is there already; give another folder")
    with loading("torch"):
        from twofold.data.convert import convert_boxes
        from twofold.data.sources.find import find_data

    found = find_data(
        parsed.data,
        images=parsed.images,
        columns=column_names(parsed.columns),
        skip_broken=parsed.skip_broken,
        for_training=False,
        for_detector=True,
        show_progress=not parsed.quiet,
    )
    for line in found.notes:
        note(shown(line))
    result = convert_boxes(found, out, parsed.to, copy=parsed.copy, show_progress=not parsed.quiet)
    for line in result.notes:
        note(line)
    how = "; the images are links" if result.has_links else ""
    note(f"wrote {shown(str(out))}: {result.num_images:,} images, {result.num_boxes:,} boxes{how}")
    note(f"look at it: {command('data', 'check', result.data)}; train on it: --data {quoted(result.data)}")
    return 0


def print_boxes(boxes: BoxStatistics) -> None:
    """Print how many boxes there are, and how large they are."""
    crowds = f", {boxes.num_crowds:,} of them crowds" if boxes.num_crowds else ""
    shares = ", ".join(f"{share:.0%} {name}" for name, share in boxes.shares.items())
    print(f"{boxes.num_boxes:,} boxes{crowds}: {shares} (COCO's limits: areas of 32² and 96² px)")
    print(f"at most {boxes.most:,} in an image; images without a box: {boxes.num_without:,}")
    if not boxes.num_boxes:
        return
    rows = (
        ("shorter side in px", *(f"{value:.4g}" for value in boxes.shorter_side)),
        ("width / height", *(f"{value:.3g}" for value in boxes.aspect_ratio)),
        ("side / image's side", *(f"{value:.2f}" for value in boxes.part_of_image)),
    )
    print_table(("boxes", ">least", ">5 %", ">median", ">95 %", ">largest"), rows)
