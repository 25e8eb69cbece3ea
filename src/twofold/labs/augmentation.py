"""The lab of augmentation: a policy built by sliders or as text, what it makes of an image and its boxes, by steps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import AfterValidator, Field
from torch import Tensor

from twofold.augment.flip import Flip
from twofold.augment.iou_crop import IouCrop
from twofold.augment.jitter import PROPERTIES, ColourJitter
from twofold.augment.names import POLICIES
from twofold.augment.operation import Augmentation, Compose, take
from twofold.augment.policies import OPERATIONS, create_policy, operation_class, spelled_out
from twofold.augment.resized_crop import ResizedCrop
from twofold.augment.spelling import LONGEST_TEXT, SETTINGS, Part, parse_policy
from twofold.augment.zoom_out import ZoomOut
from twofold.data.pixels import to_pixels
from twofold.data.spec import PixelSpec
from twofold.labs.images import SAMPLES, Opened, pixels
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.scene import SIDE, TRUTH, ordered, scene
from twofold.scratch import augment as readable, box_augment as readable_boxes
from twofold.terminal import command

COLUMNS = 6
"""Images in a row of the gallery, as in the figure of `twofold augment`; the original is the first."""
_USUAL_SIZE = 224

# For sliders: lowest and highest value, and step.
SLIDERS: dict[str, dict[str, tuple[float, float, float]]] = {
    "flip": {"horizontal": (0, 1, 0.05), "vertical": (0, 1, 0.05)},
    "flip_crop": {"flip_probability": (0, 1, 0.05), "padding": (0, 32, 1)},
    "resized_crop": {"scale": (0.05, 1, 0.05), "ratio": (0.25, 4, 0.05)},
    "iou_crop": {"scale": (0.1, 1, 0.05), "ratio": (0.25, 4, 0.05)},
    "zoom_out": {"sides": (1, 4, 0.1), "probability": (0, 1, 0.05)},
    "affine": {"degrees": (0, 180, 5), "shift": (0, 0.5, 0.05), "scale": (0.3, 2, 0.05), "shear": (0, 45, 1)},
    "colour_jitter": {
        "brightness": (0, 1, 0.05),
        "contrast": (0, 1, 0.05),
        "saturation": (0, 1, 0.05),
        "hue": (0, 0.5, 0.01),
    },
    "grey": {"probability": (0, 1, 0.05)},
    "gaussian_blur": {"kernel_size": (1, 31, 2), "sigma": (0.1, 8, 0.1)},
    "random_erasing": {
        "probability": (0, 1, 0.05),
        "scale": (0.02, 1, 0.02),
        "ratio": (0.3, 3.3, 0.1),
        "fill": (0, 255, 1),
    },
    "cutout": {"side": (1, 128, 1), "probability": (0, 1, 0.05), "fill": (0, 255, 1)},
    "rand_augment": {"num_changes": (0, 6, 1), "strength": (0, 30, 1)},
    "trivial_augment": {"max_shift": (0, 64, 1)},
    "sometimes": {"probability": (0, 1, 0.05)},
}
# What an operation that is added begins with, where the usual values are none or change nothing.
_FRESH: dict[str, dict[str, Any]] = {
    "resized_crop": {"scale": (0.3, 1)},
    "zoom_out": {"sides": (1, 2)},
    "affine": {"degrees": 30},
    "colour_jitter": {"brightness": 0.4},
    "gaussian_blur": {"kernel_size": 9},
    "cutout": {"side": 32},
    "trivial_augment": {},
}


# A policy may come with a link: one that takes minutes, or more memory than there is, is not begun.
_MOST = {"num_changes": 16, "kernel_size": 63, "padding": 128}
_MOST_CHANGES = 20


Share = Annotated[float, Field(ge=0, le=1)]
Corners = Annotated[tuple[Share, Share, Share, Share], AfterValidator(ordered)]


class AugmentationSettings(LabSettings):
    """What decides the lab of augmentation.

    Attributes:
        image: the name of an image, or "scene": three garments in colour.
        size: side in px of the square that training cuts out; 224, or the shorter side if less, if left out.
        policy: a name, or operations joined by "+" (see `twofold.augment.spelling`).
        seed, epoch: of the draws.
        rows: of six images, the original first: draws 0, 1, … of as many samples.
        picked: the draw that is shown large, and step by step.
        boxes: left, top, right and bottom in parts of the square; those of the scene if left out, none of others.
    """

    image: str = "scene"
    size: Annotated[int, Field(ge=8, le=256)] | None = None
    policy: Annotated[str, Field(max_length=LONGEST_TEXT)] = (
        "flip() + resized_crop(scale=(0.3, 1)) + colour_jitter(brightness=0.4, hue=0.1)"
    )
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    epoch: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    rows: Annotated[int, Field(ge=1, le=4)] = 2
    picked: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    boxes: Annotated[tuple[Corners, ...], Field(max_length=4)] | None = None


def original(name: str, size: int | None = None) -> UInt8[Tensor, "channels size size"]:
    """Return an image that comes with the labs as training would cut it out.

    Args:
        name: "scene", or one of `images.SAMPLES`.
        size: side of the square; the shorter side of the image, if left out.
    """
    picture = scene(colour=True) if name == "scene" else (pixels(name)[0] * 255).round().byte()
    array = picture.permute(1, 2, 0).numpy()
    return _square(Image.fromarray(array if len(picture) == 3 else array[:, :, 0]), size)


def _square(image: Image.Image, size: int | None) -> UInt8[Tensor, "channels size size"]:
    side = size or min(_USUAL_SIZE, *image.size)
    spec = PixelSpec(channels=1 if image.mode == "L" else 3, image_size=(side, side))
    return torch.from_numpy(to_pixels(image, spec))


class AugmentationLab(Lab):
    """See `twofold lab augmentation`."""

    name = "augmentation"
    Settings = AugmentationSettings
    reads = (
        "scratch.augment:horizontal_flip",
        "scratch.augment:vertical_flip",
        "scratch.augment:resized_crop",
        "scratch.augment:resize_matrix",
        "scratch.augment:color_jitter",
        "scratch.augment:adjust_brightness",
        "scratch.augment:adjust_contrast",
        "scratch.augment:adjust_saturation",
        "scratch.augment:adjust_hue",
        "scratch.box_augment:iou_crop",
        "scratch.box_augment:zoom_out",
    )
    exercises: ClassVar = (
        Exercise(
            "Mirror every draw (a draw is one random variant of the image), and not only half of them.",
            "让每次抽样（图像的一个随机变体）都被镜像，而不只是一半。",
            lambda s, shown: 1 in (_set(shown, "flip", "horizontal"), _set(shown, "flip_crop", "flip_probability")),
        ),
        Exercise(
            "Change the hue of the image, but neither its brightness, its contrast nor its saturation.",
            "改变图像的色调，但不去改变亮度、对比度和饱和度。",
            lambda s, shown: (
                len(shown["original"]) == 3
                and bool(_set(shown, "colour_jitter", "hue"))
                and not any(_set(shown, "colour_jitter", name) for name in PROPERTIES[:3])
            ),
        ),
        Exercise(
            "Pick a draw whose crop keeps less than a quarter of the image (scale: the share of the area).",
            "选出一次抽样，其裁剪只保留不到四分之一的图像（比例：所占面积）。",
            lambda s, shown: shown["share"] is not None and shown["share"] < 0.25,
        ),
        Exercise(
            "Pick a draw in which a box is lost. When does a resized crop lose one, and when a crop by IoU?",
            "选出一次丢失了边界框的抽样。随机裁剪缩放何时丢失边界框？按交并比裁剪呢？",
            lambda s, shown: len(shown["boxes"]) > 0 and bool((_areas(shown["moved"][shown["picked"]]) == 0).any()),
        ),
        Exercise(
            "Crop so that every draw of the gallery still has a box: which operation looks at the boxes?",
            "进行裁剪，并使画廊中的每次抽样都还有边界框：哪种操作会考虑边界框？",
            lambda s, shown: (
                len(shown["boxes"]) > 0
                and any(part["name"] == "iou_crop" for part in shown["parts"])
                and bool((_areas(shown["moved"]) > 0).any(dim=1).all())
            ),
        ),
        Exercise(
            "Show every object, in every draw, at a quarter of its area or less.",
            "让每次抽样中的每个物体都在，但面积都不超过原来的四分之一。",
            lambda s, shown: _are_small(shown),
        ),
    )

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._image: tuple[tuple[str, int | None], Tensor] | None = None
        self._policy: tuple[tuple[str, int], Augmentation] | None = None

    def about(self) -> dict[str, Any]:
        """Return the operations to choose from and their sliders, and the named policies."""
        operations = {}
        for name in (*OPERATIONS, "sometimes"):
            usual = _usual(name)
            operations[name] = {
                "fresh": _FRESH.get(name, {}),
                "settings": [
                    {"name": setting, "usual": usual.get(setting), "low": low, "high": high, "step": step}
                    for setting, (low, high, step) in SLIDERS[name].items()
                ],
            }
        return {
            "operations": operations,
            "policies": [[name, spelled_out(name), what] for name, what in POLICIES.items() if name != "none"],
            "columns": COLUMNS,
        }

    def compute(self, settings: AugmentationSettings) -> dict[str, Any]:
        """Return the original, the draws with their phrases and boxes, the policy in parts, and one draw by steps."""
        start = self._original(settings)
        size = (start.shape[1], start.shape[2])
        policy = self._policy_of(settings.policy, size[0])
        boxes = _boxes_of(settings, size[0])
        indices = torch.arange(settings.rows * COLUMNS - 1)
        # Boxes decide some draws, so without them a policy draws as it does for images that have none.
        params = policy.draw(seed=settings.seed, epoch=settings.epoch, indices=indices)
        every = boxes.expand(len(indices), -1, -1)
        if len(boxes):
            params = policy.choose(params, every, size)
        picked = min(settings.picked, len(indices) - 1)
        steps, share = _steps(policy, take(params, slice(picked, picked + 1)), start, boxes)
        return {
            "original": start,
            "boxes": boxes,
            "draws": policy.apply(start.repeat(len(indices), 1, 1, 1), params),
            "moved": policy.move_boxes(every, params, size),
            # A policy without any part has nothing to say of any draw.
            "phrases": policy.describe(params) or [[] for _ in indices],
            "parts": [_spelled(part) for part in parse_policy(settings.policy)],
            "policy": settings.policy,
            "picked": picked,
            "steps": steps,
            "share": share,
        }

    def command(self, settings: AugmentationSettings) -> Command:
        """Return the shell line and the program that give the same images.

        The line is `twofold augment` where that draws the same: of a file, in epoch 0, and not decided by boxes.
        """
        path = None if settings.image == "scene" else self.opened.path_of(settings.image)
        size = self._original(settings).shape[1]
        boxes = _boxes_of(settings, size)
        is_decided_by_boxes = len(boxes) > 0 and "iou_crop" in _names(parse_policy(spelled_out(settings.policy)))
        if path is None or settings.epoch or is_decided_by_boxes or settings.policy == "none":
            shell = print_line(self.name, settings, self.opened)
        else:
            options = ["--augment", settings.policy, "--rows", str(settings.rows), "--seed", str(settings.seed)]
            shell = command("augment", path, *options, *([] if settings.size is None else ["--image-size", str(size)]))
        return Command(shell, "\n".join(_program(settings, path, size, boxes)))

    def _original(self, settings: AugmentationSettings) -> Tensor:
        key = (settings.image, settings.size)
        if self._image is None or self._image[0] != key:
            name = settings.image
            if name in SAMPLES or (name == "scene" and name not in self.opened.names):
                square = original(name, settings.size)
            else:
                square = _square(self.opened.original(name), settings.size)
            self._image = (key, square)
        return self._image[1]

    def _policy_of(self, text: str, side: int) -> Augmentation:
        # Making one tries it on some images: too slow for every draw of a drag.
        if self._policy is None or self._policy[0] != (text, side):
            _check_cost(parse_policy(text))
            self._policy = ((text, side), create_policy(text, (side, side)) or Compose([]))
        return self._policy[1]


def _boxes_of(settings: AugmentationSettings, side: int) -> Float[Tensor, "boxes 4"]:
    """Return the boxes in whole pixels of the square."""
    if settings.boxes is None:
        shares = torch.tensor(TRUTH[:2] if settings.image == "scene" else []) / SIDE
    else:
        shares = torch.tensor(settings.boxes)
    return (shares.float().view(-1, 4) * side).round()


def _check_cost(parts: tuple[Part, ...]) -> None:
    """Raise ValueError if a policy would take too long for a page: a large blur counts as several changes."""

    def num_changes(part: Part) -> int:
        for name, most in _MOST.items():
            if part.settings.get(name, 0) > most:
                raise ValueError(f"{name} of {part.name} is at most {most} in this lab, got {part.settings[name]}")
        own = max(1, part.settings.get("num_changes", 1), part.settings.get("kernel_size", 1) // 8)
        return own + sum(map(num_changes, part.inner))

    if (total := sum(map(num_changes, parts))) > _MOST_CHANGES:
        raise ValueError(f"the policy makes {total} changes to an image; this lab shows at most {_MOST_CHANGES}")


def _usual(name: str) -> dict[str, Any]:
    if name == "sometimes":
        return {"probability": 0.5}
    parameters = inspect.signature(operation_class(name).__init__).parameters.values()
    usual = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {setting: usual.get(setting) for setting in SETTINGS[name]}


def _spelled(part: Part) -> dict[str, Any]:
    """Return a part of a policy for the page: its name, settings, and text; of `sometimes` what is inside, too."""
    inner = " + ".join(_spelled(each)["text"] for each in part.inner)
    words = [f"{name}={_word(value)}" for name, value in part.settings.items()]
    is_named = part.name not in OPERATIONS and part.name != "sometimes"
    text = part.name if is_named else f"{part.name}({', '.join([*([inner] if inner else []), *words])})"
    return {"name": part.name, "settings": dict(part.settings), "inner": inner, "text": text, "named": is_named}


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_word, value))})"
    return repr(value)


def _names(parts: tuple[Part, ...]) -> set[str]:
    """Return the operations of a policy, those inside of `sometimes` and of named policies as well."""
    names = set[str]()
    for part in parts:
        names |= {part.name} | _names(part.inner)
        if spelled_out(part.name) != part.name:
            names |= _names(parse_policy(spelled_out(part.name)))
    return names


def _steps(
    policy: Augmentation, params: Any, image: Tensor, boxes: Tensor
) -> tuple[list[dict[str, Any]], float | None]:
    """Return the image and its boxes after each part of a policy, and which share of the image crops have kept.

    Each step is shown as the readable form makes it, where there is one, of the image as it was before. That is what
    the step of the policy gives but for a level here and there, so the steps go on from the latter: they end in the
    very draw.

    Args:
        policy: as created.
        params: drawn for one image.
        image: uint8 (channels, height, width).
        boxes: its boxes.
    """
    parts = zip(policy.parts, params.parts, strict=True) if isinstance(policy, Compose) else [(policy, params)]
    steps, share = [], None
    for part, drawn in parts:
        size = (image.shape[1], image.shape[2])
        read = _readable(part, drawn, image, boxes)
        if isinstance(part, ResizedCrop | IouCrop):
            place = _place(drawn if isinstance(part, ResizedCrop) else drawn.crop)
            share = (share or 1) * place[2] * place[3] / (size[0] * size[1])
        image, boxes = part.apply(image[None], drawn)[0], part.move_boxes(boxes[None], drawn, size)[0]
        shown = (image, boxes) if read is None else read
        steps.append(
            {
                "operation": type(part).__name__,
                "phrases": part.describe(drawn)[0],
                "image": shown[0],
                "boxes": shown[1],
                "readable": read is not None,
            }
        )
    return steps, share


def _readable(part: Augmentation, drawn: Any, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return an image and its boxes after one change, by its readable form; None where there is none."""
    size = (image.shape[1], image.shape[2])
    moved = part.move_boxes(boxes[None], drawn, size)[0]
    if isinstance(part, Flip):
        image = readable.horizontal_flip(image) if drawn.horizontal[0] else image
        return readable.vertical_flip(image) if drawn.vertical[0] else image, moved
    if isinstance(part, ResizedCrop):
        return readable.resized_crop(image, *_place(drawn), part.size), moved
    if isinstance(part, IouCrop):
        return readable_boxes.iou_crop(image, boxes, _place(drawn.crop))
    if isinstance(part, ZoomOut):
        place = _place(drawn)
        # An image that fills its place stays as it is.
        return (image, moved) if place == (0, 0, *size) else readable_boxes.zoom_out(image, boxes, place, part.fill)
    if isinstance(part, ColourJitter):
        factors = {name: float(getattr(drawn, name)[0]) for name in PROPERTIES}
        order = tuple(PROPERTIES[i] for i in drawn.order[0].tolist())
        return readable.color_jitter(image, readable.Jitter(order=order, **factors)), moved
    return None


def _place(crop: Any) -> tuple[int, int, int, int]:
    return int(crop.top), int(crop.left), int(crop.height), int(crop.width)


def _set(shown: Mapping[str, Any], operation: str, setting: str) -> Any:
    """Return a setting of the first part of the policy that is this operation, or None."""
    for part in shown["parts"]:
        if part["name"] == operation:
            return part["settings"].get(setting, _usual(operation)[setting])
    return None


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _are_small(shown: Mapping[str, Any]) -> bool:
    shares = _areas(shown["moved"]) / _areas(shown["boxes"])
    # Whole pixels: half of 55 px is 28.
    return shares.numel() > 0 and bool(((shares > 0) & (shares < 0.27)).all())


def _program(settings: AugmentationSettings, path: str | None, size: int, boxes: Tensor) -> list[str]:
    count = settings.rows * COLUMNS - 1
    if path is None:
        lines = ["import torch", "", "from twofold.augment import create_policy"]
        lines += ["from twofold.labs.augmentation import original", ""]
        lines += [f"image = original({settings.image!r}, {size})"]
    else:
        lines = [
            "import torch",
            "",
            "from twofold.augment import create_policy",
            "from twofold.data.decode import open_image",
            "from twofold.data.pixels import to_pixels",
            "from twofold.data.spec import PixelSpec",
            "",
            f"photo = open_image({path!r})",
            f"spec = PixelSpec(channels=1 if photo.mode == 'L' else 3, image_size=({size}, {size}))",
            "image = torch.from_numpy(to_pixels(photo, spec))",
        ]
    lines += [f"images = image.repeat({count}, 1, 1, 1)"]
    if settings.policy == "none":
        return [line for line in lines if "create_policy" not in line]
    lines += [
        f"policy = create_policy({settings.policy!r}, ({size}, {size}))",
        f"params = policy.draw(seed={settings.seed}, epoch={settings.epoch}, indices=torch.arange({count}))",
    ]
    if len(boxes):
        lines += [
            f"boxes = torch.tensor({boxes.tolist()}).repeat({count}, 1, 1)",
            f"params = policy.choose(params, boxes, ({size}, {size}))",
            f"boxes = policy.move_boxes(boxes, params, ({size}, {size}))",
        ]
    return [*lines, "images = policy.apply(images, params)", "print(policy.describe(params))"]
