"""Predict with the exported network in the folder of this file.

    python predict.py photo.png
    python predict.py --top 3 photos/*.jpg
    python predict.py --json photo.png

It needs numpy, Pillow and onnxruntime: pip install numpy pillow onnxruntime
From Python: `from predict import Network; Network().predict("photo.png")`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from twofold.data.decode import open_image
from twofold.data.pixels import to_pixels
from twofold.data.spec import PixelSpec
from twofold.errors import TwofoldError


class Network:
    """The network in an exported folder.

    Args:
        folder: where model.onnx and spec.json are; that of this file if left out.
        to_grey: turn colour images to grey, for a network that was trained on grey ones.
    """

    def __init__(self, folder: Path | str | None = None, *, to_grey: bool = False) -> None:
        folder = Path(__file__).parent if folder is None else Path(folder)
        self.spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        self.class_names: list[str] = self.spec["class_names"]
        self.pixel_spec = PixelSpec(
            channels=self.spec["channels"],
            image_size=(self.spec["image_size"][0], self.spec["image_size"][1]),
            resize=self.spec["resize"],
            convert_colour=to_grey or self.spec["convert_colour"],
        )
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

    def predict(self, *images: Path | str | bytes) -> list[Any]:
        """Return what the network says of each image: a list of (class, probability), the most probable first.

        Of a detector it is a list of (class, probability, (x1, y1, x2, y2)), in pixels of the image.
        """
        opened = [open_image(image) for image in images]
        given = {"pixels": np.stack([to_pixels(image, self.pixel_spec) for image in opened])}
        if self.spec["task"] == "detect":
            given["sizes"] = np.array([(image.height, image.width) for image in opened], dtype=np.int64)
            found: Any = self.session.run(["boxes", "scores", "labels", "counts"], given)
            boxes, scores, labels, counts = found
            threshold = 0.5 if self.spec["score_threshold"] is None else self.spec["score_threshold"]
            rows = [
                (self.class_names[label], float(score), tuple(box.tolist()))
                for label, score, box in zip(labels, scores, boxes, strict=True)
            ]
            ends = np.cumsum(counts)
            parts = [rows[end - count : end] for end, count in zip(ends, counts, strict=True)]
            return [[row for row in part if row[1] >= threshold] for part in parts]
        found = self.session.run(["probabilities"], given)
        return [
            [(self.class_names[index], float(row[index])) for index in np.argsort(-row, kind="stable")]
            for row in found[0]
        ]

    def shown(self, found: list[Any], top: int) -> list[Any]:
        """Return what to print of a prediction: the most probable classes, the labels, or the objects."""
        if self.spec["task"] == "detect":
            return found
        if self.spec["task"] == "multilabel":
            usual = [0.5] * len(self.class_names)
            least = dict(zip(self.class_names, self.spec["label_thresholds"] or usual, strict=True))
            return [pair for pair in found if pair[1] >= least[pair[0]]]
        return found[:top]


def main() -> int:
    """Print what the network says of the images that the command line names."""
    parser = argparse.ArgumentParser(description="Predict with the exported network in this folder.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--top", type=int, default=1, help="how many classes to print, the most probable first (1)")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each image")
    parser.add_argument("--to-grey", action="store_true", help="turn colour images to grey, for a grey network")
    arguments = parser.parse_args()
    network, failed = Network(to_grey=arguments.to_grey), False
    for image in arguments.images:
        try:
            (found,) = network.predict(image)
        except TwofoldError as error:
            print(f"error: {error if image in str(error) else f'{image}: {error}'}", file=sys.stderr)
            failed = True
            continue
        shown = network.shown(found, arguments.top)
        if arguments.json:
            print(json.dumps({"path": image, "predictions": shown}))
        else:
            words = [" ".join([name, f"{value:.4f}", *(str(rest) for rest in more)]) for name, value, *more in shown]
            print(image, *(words or ["nothing"]), sep="\t")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
