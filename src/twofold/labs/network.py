"""The lab of a trained network: what it says of an image while that is drawn, and what each of its layers makes of it.

Without a run it begins with a small network of its own, trained at first use (`small_network`). The images of a run's
data are called "#0", "#1" … here, in the order in which a report counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from twofold.data.pixels import is_grey
from twofold.data.targets import ClassTargets
from twofold.errors import RunError
from twofold.inference.predictor import turning_to_grey
from twofold.inference.torch_predictor import TorchPredictor
from twofold.inference.weights_file import load_checkpoint
from twofold.interpret.image import grad_cam, most_active
from twofold.interpret.stages import field_box, network_of
from twofold.labs.images import BLANK, Opened, drawn
from twofold.labs.inside import Place, largest, look, places_of, switched_off, unit_gradient
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.run_images import Mistake, RunImages, images_of, mistakes_of
from twofold.labs.small_network import small_network
from twofold.tasks.predictions import DetectionPrediction
from twofold.terminal import command

OWN = "small network"
"""What the lab's own network is called among the runs."""
_MOST_BARS = 12
_STRIP = 8
_MOST_SEARCHED = 2000
_MOST_MISTAKES = 300
_THUMB = 48
_MOST_FLOATS = 150_000  # above, maps are sent as bytes: a quarter of the time on the way

Channels = Annotated[tuple[Annotated[int, Field(ge=0, le=65535)], ...], Field(max_length=4096)]
Name = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0, le=65535)]


class NetworkSettings(LabSettings):
    """What decides the lab of a trained network.

    Attributes:
        run: the name of a run that was given, or the lab's own network.
        other: of a second one, beside the first; "" for none.
        data: the name of data that were given, in place of the run's own.
        image: the name of an image, "drawing", or "#N" for an image of the data.
        drawing: as `images.drawn` reads it.
        layer: whose maps are shown, all of them; "" for a few of each stage.
        other_layer: the same of the second network.
        unit: channel, row and column of an element of the layer's maps.
        off: the channels that give zeros in the first network: layer -> channels.
        over: what is laid over the image: where the class is seen (Grad-CAM), or the pixels that the unit depends on.
        target: the class that is looked for; "" for the one that the network predicts.
    """

    run: Name = OWN
    other: Name = ""
    data: Name = ""
    image: Name = "boot"
    drawing: Annotated[str, Field(max_length=20_000)] = ""
    layer: Name = ""
    other_layer: Name = ""
    unit: tuple[Count, Count, Count] | None = None
    off: dict[Name, Channels] = Field(default={}, max_length=64)
    over: Literal["nothing", "class", "unit"] = "nothing"
    target: Name = ""


@dataclass(frozen=True)
class _Opened:
    """A network that is looked at: its layers by name, what a page has to know of each of them, and of the network."""

    predictor: TorchPredictor
    places: dict[str, Place]
    layers: list[dict[str, Any]]
    words: dict[str, Any]


class NetworkLab(Lab):
    """See `twofold lab network`."""

    name = "network"
    Settings = NetworkSettings
    reads = (
        "labs.inside:look",
        "labs.inside:switched_off",
        "labs.inside:unit_gradient",
        "interpret.stages:watching",
        "interpret.stages:field_box",
        "interpret.image:grad_cam",
        "interpret.stages:spread",
    )
    exercises: ClassVar = (
        Exercise(
            "Find a layer whose maps are smaller than 7×7, and larger than a single value.",
            "找到一层，其特征图小于 7×7，但不止一个值。",
            lambda s, shown: 1 < max(_map_size(shown)) < 7,
        ),
        Exercise(
            "Click a unit that sees 16×16 pixels of the image.",
            "点击一个能看到图像 16×16 个像素的单元。",
            lambda s, shown: _sees(shown) == (16, 16),
        ),
        Exercise(
            "Draw something that is taken for a bag with more than 90 %.",
            "画一个图，让网络以超过 90% 的概率认为它是包。",
            lambda s, shown: s.image == "drawing" and not s.off and _ink(s) > 0.03 and _probability(shown, "bag") > 0.9,
        ),
        Exercise(
            "Find an image or a drawing that two classes share: both above 40 %.",
            "找一幅图像或手绘，让两个类别的概率都超过 40%。",
            lambda s, shown: not s.off and sorted(_probabilities(shown))[-2:][0] > 0.4,
        ),
        Exercise(
            "Switch off half of the first layer's channels without changing the answer.",
            "关闭第一层一半的通道，而不改变答案。",
            lambda s, shown: _half_off(s, shown) and shown["run"]["top"] == shown["run"]["before"]["top"],
        ),
        Exercise(
            "Find a single channel, of any layer and for any image, that changes the answer when it is switched off.",
            "找到一个通道，只关闭它就会改变答案。",
            lambda s, shown: sum(map(len, s.off.values())) == 1 and _changed(shown),
        ),
        Exercise(
            "What does it look at when it takes a shirt for a coat? Walk through the mistakes, and lay over one of "
            "them where the network sees the coat.",
            "当它把衬衫认作外套时，它在看哪里？浏览错误，选一个并叠加网络看到“外套”的位置。",
            lambda s, shown: (
                not s.off
                and _names(shown["truth"], shown["run"]["top"]) == ("shirt", "coat")
                and "heat" in shown["run"]
                and shown["run"]["heat"]["class"].casefold() == "coat"
            ),
        ),
    )

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        # A page may later drop another image of the same name: that one has no file here.
        self._files = {name: (opened.image(name), path) for name in opened.names if (path := opened.path_of(name))}
        self._networks: dict[str, _Opened] = {}
        self._images: dict[tuple[str, str], RunImages] = {}
        self._pixels: dict[str, tuple[Any, Tensor]] = {}
        self._largest: tuple[Any, tuple[Tensor, Tensor]] | None = None
        self._mistakes: dict[tuple[str, str], list[Mistake]] = {}
        self._is_closed = False

    def close(self) -> None:
        """Leave off training and searching."""
        self._is_closed = True

    def about(self) -> dict[str, Any]:
        """Return the names of the networks to choose from, and of the lab's own."""
        return {"own": OWN, "runs": [OWN, *self.opened.runs]}

    def compute(self, settings: NetworkSettings) -> dict[str, Any]:
        """Return what the network says of the image, and the maps of the chosen layer; of the second one the same."""
        shown: dict[str, Any] = {"run": self._view(settings, settings.run, settings.layer, first=True), "other": None}
        if settings.other:
            shown["other"] = self._view(settings, settings.other, settings.other_layer, first=False)
        shown["truth"], shown["source"] = self._truth(settings)
        shown["reduced"] = self._is_reduced(settings)
        return shown

    def act(self, action: str, settings: NetworkSettings) -> dict[str, Any]:
        """Search the data: for "mistakes", or for the "strongest" images of the channel of the chosen unit."""
        if action == "mistakes":
            return {**self.compute(settings), "mistakes": self._found_mistakes(settings)}
        if action == "strongest":
            shown = self.compute(settings)
            return {**shown, "strongest": self._found_strongest(settings, shown["run"])}
        return super().act(action, settings)

    def command(self, settings: NetworkSettings) -> Command:
        """Return a line of `twofold predict` where it says the same, else one of this lab; and a program."""
        return Command(self._shell_line(settings), self._program(settings))

    # Networks and images

    def _path(self, name: str) -> str:
        if name in self.opened.runs:
            return self.opened.runs[name]
        if name != OWN:
            raise ValueError(f"there is no run {name[:60]!r} here; give it with --run")
        return str(small_network(self._teller("train")))

    def _network(self, name: str) -> _Opened:
        if name not in self._networks:
            predictor = TorchPredictor.load(self._path(name))
            if predictor.spec.channels == 1 and not predictor.spec.convert_colour:
                predictor.spec = turning_to_grey(predictor.spec)
            self._networks[name] = _open(predictor, self._words(name, predictor))
        return self._networks[name]

    def _predictor(self, name: str) -> TorchPredictor:
        return self._network(name).predictor

    def _run_images(self, settings: NetworkSettings, run: str) -> RunImages:
        key = (run, settings.data)
        if key not in self._images:
            self.send({"kind": "load"})
            data = self.opened.data.get(settings.data)
            if settings.data and data is None:
                raise ValueError(f"there are no data {settings.data[:60]!r} here; give them with --data")
            if run == OWN and data is None:
                data = "fashion-mini"
            self._images[key] = images_of(self._path(run), data)
        return self._images[key]

    def _input(self, settings: NetworkSettings, run: str) -> Tensor:
        """Return the pixels of the chosen image as a network takes them: uint8 (channels, height, width)."""
        name, predictor = settings.image, self._predictor(run)
        if name == "drawing":
            return predictor.pixels(drawn(settings.drawing or BLANK)[0])
        if (index := _index(name)) is not None and name not in self.opened.names:
            # Of the first network's data, so that both see the same image.
            images = self._run_images(settings, settings.run).images
            if index >= len(images):
                raise ValueError(f"there are {len(images):,} images in the data, counted from 0; there is no {name}")
            pixels = images.load(torch.tensor([index]))[0].cpu()
            return pixels if run == settings.run else predictor.pixels(pixels)
        image = self.opened.image(name)
        # Read once: the same image is asked for while units are looked at.
        kept = self._pixels.get(run)
        if kept is None or kept[0] is not image:
            file = self._file(name)
            kept = self._pixels[run] = (image, predictor.pixels(file or image))
        return kept[1]

    def _file(self, name: str) -> str | None:
        """Return the file of an image that the lab was opened with; None for a sample and for what the page dropped."""
        there = self._files.get(name)
        return there[1] if there is not None and there[0] is self.opened.image(name) else None

    def _is_reduced(self, settings: NetworkSettings) -> bool:
        """Return whether the image was dropped into the page, and may have been made smaller there."""
        name = settings.image
        there = name in self.opened.names and self.opened.path_of(name) is not None
        return there and self._file(name) is None and max(self.opened.image(name).size) == 512

    def _truth(self, settings: NetworkSettings) -> tuple[str | None, str | None]:
        """Return the true class of an image of the data, and what it is called there."""
        index = _index(settings.image)
        if index is None or settings.image in self.opened.names:
            return None, None
        images = self._run_images(settings, settings.run).images
        return _true_class(images, index, self._predictor(settings.run)), images.describe(index)

    # What is shown of one network

    def _view(self, settings: NetworkSettings, run: str, layer: str, *, first: bool) -> dict[str, Any]:
        network, pixels = self._network(run), self._input(settings, run)
        predictor, places = network.predictor, network.places
        if layer and layer not in places:
            raise ValueError(f"{run} has no layer {layer[:60]!r}; choose one again")
        off = {name: channels for name, channels in settings.off.items() if channels} if first else {}
        wanted = [layer] if layer else [name for name, place in places.items() if place.is_stage]
        outputs, maps = look(predictor, pixels, wanted, off)
        view: dict[str, Any] = {
            "name": run,
            "words": network.words,
            "pixels": pixels,
            **_answer(predictor, outputs),
            "before": _answer(predictor, look(predictor, pixels)[0]) if off else None,
            "layers": network.layers,
        }
        if layer:
            view["maps"], view["range"] = _packed(maps[layer])
        else:
            view["overview"] = [_strip(name, maps[name]) for name, place in places.items() if place.is_stage]
        if first and layer and settings.unit is not None:
            view["unit"] = _unit(predictor, maps[layer], places[layer], settings)
            if settings.over == "unit":
                place = tuple(view["unit"]["place"])
                view["unit"]["gradient"] = unit_gradient(predictor, pixels, layer, place, off)  # type: ignore[arg-type]
        if settings.over == "class" and predictor.spec.task != "detect":
            view["heat"] = _heat(network, pixels, self._target(settings, predictor, first=first), layer, view, off)
        return view

    def _words(self, run: str, predictor: TorchPredictor) -> dict[str, Any]:
        spec = predictor.spec
        words = {"architecture": spec.architecture, "task": spec.task, "classes": list(spec.class_names)}
        words["size"] = [spec.channels, *spec.image_size]
        if run == OWN and run not in self.opened.runs:
            record = load_checkpoint(small_network())[1]
            words["trained"] = {"seconds": record["seconds"], "images": record["num_images"]}
        return words

    # Searches

    def _found_mistakes(self, settings: NetworkSettings) -> dict[str, Any]:
        found, key = self._run_images(settings, settings.run), (settings.run, settings.data)
        predictor = self._predictor(settings.run)
        if key not in self._mistakes:
            tell = self._teller("mistakes")
            self._mistakes[key] = mistakes_of(predictor, found.images, most=_MOST_SEARCHED, tell=tell)
        mistakes = self._mistakes[key]
        pairs: dict[tuple[str, str], int] = {}
        for mistake in mistakes:
            pair = (mistake.true, mistake.predicted)
            pairs[pair] = pairs.get(pair, 0) + 1
        sent = mistakes[:_MOST_MISTAKES]
        return {
            **_searched(found),
            "num_wrong": len(mistakes),
            "pairs": [[*pair, count] for pair, count in sorted(pairs.items(), key=lambda each: -each[1])],
            "found": [
                {"index": each.index, "true": each.true, "predicted": each.predicted, "probability": each.probability}
                for each in sent
            ],
            "thumbs": _thumbs(found, [each.index for each in sent]),
        }

    def _found_strongest(self, settings: NetworkSettings, view: Mapping[str, Any]) -> dict[str, Any]:
        if "unit" not in view:
            raise ValueError("choose a unit first")
        found, predictor = self._run_images(settings, settings.run), self._predictor(settings.run)
        key = (settings.run, settings.data, settings.layer)
        if self._largest is None or self._largest[0] != key:
            tell = self._teller("strongest")
            searched = largest(predictor, found.images, settings.layer, most=_MOST_SEARCHED, tell=tell)
            self._largest = (key, searched)
        values, places = (each[:, view["unit"]["place"][0]] for each in self._largest[1])
        place, width = self._network(settings.run).places[settings.layer], view["maps"].shape[2]
        order = values.argsort(descending=True, stable=True)[:9].tolist()
        return {
            **_searched(found),
            "layer": settings.layer,
            "channel": view["unit"]["place"][0],
            "found": [
                {
                    "index": index,
                    "true": _true_class(found.images, index, predictor),
                    "value": float(values[index]),
                    "box": field_box(place.field, divmod(int(places[index]), width), predictor.spec.image_size),
                }
                for index in order
            ],
            "thumbs": _thumbs(found, order),
        }

    def _teller(self, kind: str) -> Callable[[int, int], None]:
        """Return what tells the page of each twentieth of some work, and ends it with the page."""
        last = -1

        def tell(done: int, total: int) -> None:
            nonlocal last
            if self._is_closed:
                raise RunError("the page has been closed")
            if (part := 20 * done // total) != last:
                last = part
                self.send({"kind": kind, "done": done, "total": total})

        return tell

    # Commands

    def _shell_line(self, settings: NetworkSettings) -> str:
        file = self.opened.path_of(settings.image) if settings.image in self.opened.names else None
        plain = {"run": settings.run, "image": settings.image}
        if file is None or settings.changed().keys() - plain.keys():
            return print_line(self.name, settings, self.opened)
        predictor = self._predictor(settings.run)
        grey = predictor.spec.channels == 1 and not is_grey(self.opened.image(settings.image))
        top = () if predictor.spec.task == "detect" else ("--top", str(min(10, len(predictor.class_names))))
        return command("predict", self._path(settings.run), file, "--json", *top, *(("--to-grey",) if grey else ()))

    def _program(self, settings: NetworkSettings) -> str:
        lines, image = self._program_image(settings)
        loads = [f"model = {self._program_load(settings.run, lines)}"]
        off = {name: list(channels) for name, channels in settings.off.items() if channels}
        stage = self._heat_stage(settings)
        body = [f"prediction = model.predict({image})", "print(prediction)"]
        if off or settings.layer or stage:
            lines.append("from twofold.labs.inside import look, switched_off, unit_gradient")
            body = [
                f"pixels = model.pixels({image})",
                f"outputs, maps = look(model, pixels, {[settings.layer] if settings.layer else []}, off={off})",
                "prediction = model.decode(outputs)[0]",
                "print(prediction)",
            ]
        if settings.layer and settings.unit is not None:
            shape = next(each["shape"] for each in self._network(settings.run).layers if each["name"] == settings.layer)
            unit = _nearest(settings.unit, shape)
            body += [f"print(maps[{settings.layer!r}][{', '.join(map(str, unit))}])"]
            if settings.over == "unit":
                body += [f"gradient = unit_gradient(model, pixels, {settings.layer!r}, {unit}, off={off})"]
        elif settings.layer:
            body += [f"print(maps[{settings.layer!r}].shape)"]
        if stage:
            lines.append("from twofold.interpret import grad_cam")
            wanted = repr(settings.target) if settings.target else "prediction.ranked[0][0]"
            body += [
                f"with switched_off(model.model, {off}):",
                f"    heat = grad_cam(model, pixels, model.class_names.index({wanted}), stage={stage!r})",
            ]
        if settings.other:
            loads += [f"other = {self._program_load(settings.other, lines)}"]
            body += [f"print(other.predict({image}))"]
        return "\n".join([*_imports(lines, body), "", *loads, *body])

    def _program_load(self, run: str, lines: list[str]) -> str:
        grey = ", to_grey=True" if self._predictor(run).spec.channels == 1 else ""
        if run in self.opened.runs:
            return f"twofold.load({self.opened.runs[run]!r}{grey})"
        lines.append("from twofold.labs.small_network import small_network")
        return f"twofold.load(small_network(){grey})"

    def _program_image(self, settings: NetworkSettings) -> tuple[list[str], str]:
        """Return the lines that a program imports, and what stands in it for the image."""
        name, lines = settings.image, ["import twofold"]
        if name == "drawing":
            return [*lines, "from twofold.labs import drawn"], f"drawn({settings.drawing or BLANK!r})[0]"
        if (index := _index(name)) is not None and name not in self.opened.names:
            run, data = self.opened.runs.get(settings.run), self.opened.data.get(settings.data)
            path = repr(run) if run else "small_network()"
            data = data or (None if run else "fashion-mini")
            given = f"{path}, {data!r}" if data else path
            lines += ["import torch", "from twofold.labs.run_images import images_of"]
            return lines, f"images_of({given}).images.load(torch.tensor([{index}]))[0]"
        if (file := self.opened.path_of(name)) is not None:
            return lines, repr(file)
        return [*lines, "from twofold.labs import pixels as sample"], f"sample({name!r})[0]"

    def _heat_stage(self, settings: NetworkSettings) -> str | None:
        network = self._network(settings.run)
        if settings.over != "class" or network.predictor.spec.task == "detect":
            return None
        return _stage_of_heat(settings.layer, network.layers)

    def _target(self, settings: NetworkSettings, predictor: TorchPredictor, *, first: bool) -> str:
        """Return the class that is looked for; the second network may not know that of the first."""
        known = first or settings.target in predictor.class_names
        return settings.target if known else ""


def _open(predictor: TorchPredictor, words: dict[str, Any]) -> _Opened:
    """Return a network with what is to be known of its layers; their shapes are those for a black image."""
    spec, places = predictor.spec, places_of(network_of(predictor))
    black = torch.zeros(spec.channels, *spec.image_size, dtype=torch.uint8)
    shapes = {name: list(maps.shape) for name, maps in look(predictor, black, list(places))[1].items()}
    there = {name: place for name, place in places.items() if name in shapes}
    layers = [
        {
            "name": name,
            "kind": place.kind,
            "stage": place.is_stage,
            "shape": shapes[name],
            "sees": _field_size(place.field, predictor),
        }
        for name, place in there.items()
    ]
    return _Opened(predictor, there, layers, words)


def _imports(lines: list[str], body: list[str]) -> list[str]:
    """Return the imports of a program, each once, and of the names in a line those that `body` uses."""
    used, text = [], "\n".join(body)
    for line in dict.fromkeys(lines):
        start, _, names = line.partition(" import ")
        kept = [name for name in names.split(", ") if f"{name}(" in text]
        several = names.count(",")
        used.append(f"{start} import {', '.join(kept)}" if several else line)
    return sorted(used, key=lambda line: (line.startswith("from twofold"), line != "import torch", line))


def _index(name: str) -> int | None:
    return int(name[1:]) if name[:1] == "#" and name[1:].isdecimal() and len(name) < 10 else None


def _answer(predictor: TorchPredictor, outputs: Tensor) -> dict[str, Any]:
    """Return what a network says: of a classifier its classes with probabilities, of a detector its objects.

    All classes in their own order where there is room for them, else the most probable ones.
    """
    (prediction,) = predictor.decode(outputs)
    if isinstance(prediction, DetectionPrediction):
        objects = [{"class": name, "probability": share, "box": list(box)} for name, share, box in prediction.objects]
        return {"top": objects[0]["class"] if objects else "", "objects": objects, "classes": [], "probabilities": []}
    ranked = dict(prediction.ranked)
    names = predictor.class_names if len(ranked) <= _MOST_BARS else list(ranked)[:_MOST_BARS]
    top = ", ".join(prediction.answers) if predictor.spec.task != ClassTargets.task else prediction.answers[0]
    return {"top": top, "classes": list(names), "probabilities": [ranked[name] for name in names]}


def _field_size(field: Any, predictor: TorchPredictor) -> list[int]:
    """Return height and width of what an element in the middle of a map depends on; no more than the image."""
    height, width = predictor.spec.image_size
    return [height, width] if field is None else [min(field[0].field, height), min(field[1].field, width)]


def _packed(maps: Tensor) -> tuple[np.ndarray, list[float]]:
    """Return maps as they are sent, with their least and greatest value: float32, or many of them as 0 to 255."""
    values = np.ascontiguousarray(maps.numpy())
    low, high = float(values.min()), float(values.max())
    if values.size <= _MOST_FLOATS:
        return values, [low, high]
    return ((values - low) * (255 / (high - low or 1))).round().astype(np.uint8), [low, high]


def _strip(name: str, maps: Tensor) -> dict[str, Any]:
    channels = most_active(maps, _STRIP)
    packed, extent = _packed(maps[channels])
    return {"name": name, "channels": channels, "maps": packed, "range": extent}


def _nearest(unit: tuple[int, int, int] | None, shape: Any) -> tuple[int, ...]:
    """Return an element that is there: the one asked for, or the nearest."""
    return tuple(min(place, side - 1) for place, side in zip(unit or (0, 0, 0), shape, strict=True))


def _unit(predictor: TorchPredictor, maps: Tensor, place: Any, settings: NetworkSettings) -> dict[str, Any]:
    unit = _nearest(settings.unit, maps.shape)
    height, width = predictor.spec.image_size
    box = field_box(place.field, (unit[1], unit[2]), (height, width))
    return {"place": list(unit), "value": maps[unit], "box": list(box or (0, height, 0, width))}


def _stage_of_heat(layer: str, layers: list[dict[str, Any]]) -> str:
    """Return where Grad-CAM is computed: the chosen layer if it ends a stage, else the last stage with a position."""
    stages = [each for each in layers if each["stage"]]
    if any(each["name"] == layer for each in stages):
        return layer
    return next((each["name"] for each in reversed(stages) if each["shape"][1:] != [1, 1]), stages[-1]["name"])


def _heat(network: _Opened, pixels: Tensor, target: str, layer: str, view: dict[str, Any], off: Any) -> dict[str, Any]:
    predictor, stage = network.predictor, _stage_of_heat(layer, network.layers)
    names = predictor.class_names
    target = target or view["classes"][int(np.argmax(view["probabilities"]))]
    if target not in names:
        raise ValueError(f"the network knows no class {target[:60]!r}")
    with switched_off(network_of(predictor), off):
        heat = grad_cam(predictor, pixels, names.index(target), stage=stage)
    return {"class": target, "stage": stage, "heat": heat}


def _true_class(images: Any, index: int, predictor: TorchPredictor) -> str | None:
    targets = images.targets
    return predictor.class_names[int(targets.labels[index])] if isinstance(targets, ClassTargets) else None


def _searched(found: RunImages) -> dict[str, Any]:
    total = len(found.images)
    return {"data": found.name, "split": found.split, "searched": min(total, _MOST_SEARCHED), "total": total}


def _thumbs(found: RunImages, indices: list[int]) -> Tensor:
    """Return images as small as they are drawn: uint8 (images, channels, height, width)."""
    if not indices:
        return torch.zeros(0, 1, 1, 1, dtype=torch.uint8)
    pixels = found.images.load(torch.tensor(indices)).cpu()
    scale = _THUMB / max(pixels.shape[2:])
    if scale >= 1:
        return pixels
    size = [max(1, round(side * scale)) for side in pixels.shape[2:]]
    return functional.interpolate(pixels.float(), size, mode="area").round().to(torch.uint8)


# For the exercises


def _map_size(shown: Mapping[str, Any]) -> tuple[int, ...]:
    maps = shown["run"].get("maps")
    return (0, 0) if maps is None else tuple(maps.shape[1:])


def _sees(shown: Mapping[str, Any]) -> tuple[int, int] | None:
    if "unit" not in shown["run"]:
        return None
    top, bottom, left, right = shown["run"]["unit"]["box"]
    return bottom - top, right - left


def _ink(settings: NetworkSettings) -> float:
    return float(drawn(settings.drawing or BLANK).mean())


def _probabilities(shown: Mapping[str, Any]) -> list[float]:
    return [0.0, 0.0, *shown["run"]["probabilities"]]


def _probability(shown: Mapping[str, Any], name: str) -> float:
    view = shown["run"]
    pairs = zip(view["classes"], view["probabilities"], strict=True)
    return max((share for each, share in pairs if each.casefold() == name), default=0.0)


def _changed(shown: Mapping[str, Any]) -> bool:
    before = shown["run"]["before"]
    return before is not None and before["top"] != shown["run"]["top"]


def _half_off(settings: NetworkSettings, shown: Mapping[str, Any]) -> bool:
    first = next(iter(shown["run"]["layers"]))
    off = settings.off.get(first["name"], ())
    return shown["run"]["before"] is not None and 2 * len(set(off)) >= first["shape"][0]


def _names(*names: str | None) -> tuple[str, ...]:
    return tuple((name or "").casefold() for name in names)
