"""Detection on fashion-scenes: average precision after equal seconds, images a second, and the time of an evaluation.

Claims, on 4,000 scenes of 128 px, tested on 500 others:

- `ssd-mini`, trained by the engine, is ahead of torchvision's ssdlite320_mobilenet_v3_large and ssd300_vgg16, trained
  from scratch, after 60, 120 and 300 seconds of training;
- the whole of predict, from image files to boxes, is 3 times as fast as torchvision's;
- evaluating 5,000 images takes at most 1.2 times as long as faster-coco-eval alone.

Peer: torchvision's networks with the settings of its reference scripts (optimiser, learning rate in proportion to the
batch, weight decay, augmentation), float32; their learning rate falls by a cosine over the seconds that there are.
They resize the scenes to 320 and 300 px themselves, as they are made to.
Conditions: each network is trained anew for each number of seconds, evaluation not counted, one network after the other
and in another order each time.

    python benchmarks/detection.py                    # about half an hour on two cores
    python benchmarks/detection.py --seconds 60 --only training
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import models, tv_tensors
from torchvision.transforms import v2

import twofold
from common import print_conditions, spread
from twofold.data import load_data
from twofold.data.images import MemoryImages
from twofold.data.targets import BoxTargets
from twofold.detect import Detections, evaluate_detections
from twofold.engine.options import Options

SIDE, TRAIN, TEST = 128, 4000, 500
SCENES = f"fashion-scenes?train={TRAIN}&test={TEST}"
# Batch, learning rate for that batch, weight decay: those of torchvision's references, which use eight GPUs.
PEERS: dict[str, tuple[Callable[..., nn.Module], int, float, float]] = {
    "ssdlite320": (models.detection.ssdlite320_mobilenet_v3_large, 24, 0.15 / 8, 4e-5),
    "ssd300": (models.detection.ssd300_vgg16, 4, 0.002 / 8, 5e-4),
}
QUIET = Options(show=False)


def scenes() -> tuple[MemoryImages, MemoryImages, tuple[str, ...]]:
    data = load_data(SCENES, val_fraction=0.0, show_progress=False)
    assert isinstance(data.train, MemoryImages)
    assert isinstance(data.test, MemoryImages)
    return data.train, data.test, data.class_names


def sample(images: MemoryImages, index: int) -> tuple[Tensor, dict[str, Any]]:
    """Return an image as torchvision's transforms take it, in colour, and its boxes with background as class 0."""
    targets = images.targets.take(torch.tensor([index]))
    assert isinstance(targets, BoxTargets)
    boxes = tv_tensors.BoundingBoxes(targets.boxes.float(), format="XYXY", canvas_size=(SIDE, SIDE))  # type: ignore[call-overload]
    return tv_tensors.Image(images.images[index].repeat(3, 1, 1)), {"boxes": boxes, "labels": targets.labels + 1}


def reference_augmentation(name: str) -> v2.Compose:
    steps = [v2.RandomIoUCrop(), v2.RandomHorizontalFlip(0.5)]
    if name == "ssd300":
        steps = [v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=[123, 117, 104]), *steps]
    return v2.Compose([*steps, v2.SanitizeBoundingBoxes(), v2.ToDtype(torch.float32, scale=True)])


def train_peer(name: str, train: MemoryImages, seconds: float) -> tuple[nn.Module, int]:
    """Return torchvision's network after so many seconds of training, and how many images it saw."""
    torch.manual_seed(0)
    build, batch, lr, decay = PEERS[name]
    model = build(weights=None, weights_backbone=None, num_classes=11).train()
    augment = reference_augmentation(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
    seen, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * spent / seconds))
        chosen = torch.randint(len(train), (batch,)).tolist()
        images, targets = zip(*(augment(*sample(train, index)) for index in chosen), strict=True)
        loss = sum(model(list(images), list(targets)).values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        seen += batch
    return model.eval(), seen


def flat(outputs: list[dict[str, Tensor]]) -> Detections:
    """Return torchvision's detections as ours."""
    return Detections(
        torch.cat([each["boxes"] for each in outputs]).double(),
        torch.cat([each["scores"] for each in outputs]).double(),
        torch.cat([each["labels"] for each in outputs]) - 1,
        torch.tensor([len(each["labels"]) for each in outputs]),
    )


@torch.inference_mode()
def peer_ap(model: nn.Module, test: MemoryImages) -> dict[str, float]:
    outputs = []
    for start in range(0, len(test), 50):
        outputs += model(list(test.images[start : start + 50].repeat(1, 3, 1, 1).float() / 255))
    assert isinstance(test.targets, BoxTargets)
    return evaluate_detections(flat(outputs), test.targets, 10).metrics


def after_equal_seconds(budgets: list[int], out: Path) -> tuple[Path, dict[str, nn.Module]]:
    """Print AP after each number of seconds; return the last run, and the last of the peers' networks."""
    train, test, _ = scenes()
    trained: dict[str, nn.Module] = {}
    run = out
    print("| seconds | network | AP | AP50 | images seen |\n|---|---|--:|--:|--:|")
    for turn, seconds in enumerate(budgets):
        found: dict[str, float] = {}
        names = ["ssd-mini", *PEERS]
        for name in names[turn % 3 :] + names[: turn % 3]:
            if name == "ssd-mini":
                recipe = twofold.Recipe(model=name, data=SCENES, minutes=seconds / 60, val_fraction=0.02)
                done = twofold.train(recipe, out=out, name=f"{name}-{seconds}", options=QUIET)
                assert done.metrics is not None
                run, measured = done.folder, done.metrics
                seen = json.loads((run / "run.json").read_text())["steps_done"] * 32
            else:
                trained[name], seen = train_peer(name, train, seconds)
                measured = peer_ap(trained[name], test)
            found[name] = measured["AP"]
            print(f"| {seconds} | {name} | {measured['AP']:.3f} | {measured['AP50']:.3f} | {seen:,} |", flush=True)
        ahead = found["ssd-mini"] > max(found[name] for name in PEERS)
        print(f"| | | {'ahead of both' if ahead else 'NOT ahead of both'} | | |", flush=True)
    return run, trained


def predict_speed(run: Path, peers: dict[str, nn.Module], folder: Path, *, turns: int = 5, count: int = 200) -> None:
    """Print images a second of the whole of predict, by turns."""
    _, test, _ = scenes()
    paths = []
    for index in range(count):
        path = folder / f"{index}.png"
        Image.fromarray(test.images[index, 0].numpy()).save(path)
        paths.append(str(path))
    predictor = twofold.load(run)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def ours() -> None:
        for _, prediction in predictor.predict_stream(paths):
            assert not isinstance(prediction, Exception)

    @torch.inference_mode()
    def theirs(model: nn.Module) -> None:
        for start in range(0, count, 50):
            model([to_tensor(Image.open(path).convert("RGB")) for path in paths[start : start + 50]])

    speeds: dict[str, list[float]] = {"ssd-mini": [], **{name: [] for name in peers}}
    for turn in range(turns + 1):
        for name, measured in speeds.items():
            start = time.perf_counter()
            ours() if name == "ssd-mini" else theirs(peers[name])
            if turn:  # the first warms up
                measured.append(count / (time.perf_counter() - start))
    print("\n| predict, file to boxes | images/s | times slower than ours |\n|---|--:|--:|")
    for name, measured in speeds.items():
        times = statistics.median(speeds["ssd-mini"]) / statistics.median(measured)
        print(f"| {name} | {spread(measured)} | {times:.2f} |", flush=True)


def evaluation_time(*, images: int = 5000, classes: int = 10, turns: int = 3) -> None:
    """Print how long an evaluation takes beside faster-coco-eval's own, on the same drawn detections."""
    from faster_coco_eval import COCO, COCOeval_faster

    generator = torch.Generator().manual_seed(0)

    def drawn(count: int) -> tuple[Tensor, Tensor]:
        start = 400 * torch.rand(count, 2, generator=generator).double()
        sides = 8 + 120 * torch.rand(count, 2, generator=generator).double()
        return torch.cat([start, start + sides], dim=1), torch.randint(classes, (count,), generator=generator)

    true, labels = drawn(images * 7)
    truth = BoxTargets(
        true,
        labels,
        torch.full((images,), 7),
        torch.full((images, 2), 520),
        torch.zeros(len(true), dtype=torch.bool),
        (true[:, 2:] - true[:, :2]).prod(dim=1),
    )
    boxes, kinds = drawn(images * 50)
    scores = torch.rand(len(boxes), generator=generator).double()
    order = (torch.arange(images).repeat_interleave(50).double() * 2 - scores).argsort()
    found = Detections(boxes[order], scores[order], kinds[order], torch.full((images,), 50))

    def lists(corners: Tensor, counts: Tensor, own: Tensor, extra: dict[str, Tensor]) -> list[dict[str, Any]]:
        image = torch.arange(images).repeat_interleave(counts).tolist()
        sides = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
        named = zip(image, own.tolist(), sides, *(value.tolist() for value in extra.values()), strict=True)
        return [
            {"id": number, "image_id": i, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            | dict(zip(extra, rest, strict=True))
            for number, (i, label, box, *rest) in enumerate(named, 1)
        ]

    gt = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": k, "name": str(k)} for k in range(classes)],
        "annotations": lists(truth.boxes, truth.counts, truth.labels, {}),
    }
    results = lists(found.boxes, found.counts, found.labels, {"score": found.scores})

    def theirs() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = COCO(gt)
            evaluation = COCOeval_faster(dataset, dataset.loadRes(results), "bbox", print_function=lambda *_: None)
            evaluation.run()
        return float(evaluation.stats[0])

    times: dict[str, list[float]] = {"ours": [], "faster-coco-eval": []}
    values: dict[str, float] = {}
    for _ in range(turns):
        for name, run in (
            ("ours", lambda: evaluate_detections(found, truth, classes).metrics["AP"]),
            ("faster-coco-eval", theirs),
        ):
            start = time.perf_counter()
            values[name] = run()
            times[name].append(time.perf_counter() - start)
    assert abs(values["ours"] - values["faster-coco-eval"]) < 1e-9, values
    ratio = statistics.median(times["ours"]) / statistics.median(times["faster-coco-eval"])
    print(f"\nevaluation of {images:,} images with 50 detections each, seconds: ours {spread(times['ours'], ',.2f')},")
    print(f"faster-coco-eval {spread(times['faster-coco-eval'], ',.2f')}: {ratio:.2f} times (goal 1.2)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[60, 120, 300])
    parser.add_argument("--only", choices=("training", "evaluation"))
    arguments = parser.parse_args()
    print_conditions("Detection on fashion-scenes")
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.only != "evaluation":
            run, peers = after_equal_seconds(arguments.seconds, Path(temporary, "runs"))
            if arguments.only is None:
                images = Path(temporary, "images")
                images.mkdir()
                predict_speed(run, peers, images)
    if arguments.only != "training":
        evaluation_time()


if __name__ == "__main__":
    main()
