"""Random crop of images with boxes: a part of each image that overlaps some box by a least amount, resized back.

Liu et al., "SSD: single shot multibox detector", 2016, section 2.2. A crop that knows nothing of the boxes often shows
none of them, or slivers. Here one of seven constraints is drawn for each image:

- its intersection over union with some box is at least 0.1, 0.3, 0.5, 0.7 or 0.9;
- it has the middle of some box in it, whatever the overlap;
- it is the whole image.

The first kind asks for the middle of that box as well. 50 parts are drawn, and the first that keeps the constraint is
taken. If none does, the next constraint is tried, in an order that is drawn, at the latest until the whole image is
taken. Boxes whose middle lies in the part are kept and clipped to it; the others are dropped, with an area of 0.

The sides of a part are drawn independently of each other, as shares of the image's. Since it is resized to the size of
the image, the two shares tell how much it is distorted; their quotient is limited.

In an image without boxes every part keeps the constraints, so that one in seven images stays whole. That is also what
`draw` returns, for images of which no boxes are known.

`twofold.scratch.box_augment` spells this out for one image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from twofold.augment.operation import Augmentation, check_range, check_size, clip_boxes, wide
from twofold.augment.resized_crop import ResizedCropParams, resized_crop
from twofold.errors import TwofoldError
from twofold.keyed import bits_of_several, derive_key, to_uniform

OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""The least intersection over union with some box; after these comes the whole image."""
NUM_TRIES = 50
_WHOLE = len(OVERLAPS)


@dataclass(frozen=True)
class IouCropParams:
    """The part of each image that is kept, and what it was chosen from.

    `tried` are all parts that were drawn, as top, left, height and width; `fits` says which of them have an allowed
    shape. `order` has the constraints as indices into `OVERLAPS`, and the number after the last for the whole image.
    """

    crop: ResizedCropParams
    tried: Int64[Tensor, "batch tries 4"]
    fits: Bool[Tensor, "batch tries"]
    order: Int64[Tensor, "batch constraints"]


class IouCrop(Augmentation):
    """Keep a part of each image that overlaps some box enough, and resize it to the size of the image; see the module.

    Args:
        image_size: (height, width) of the images that will come.
        scale: the part's height and its width, as shares of the image's, are uniform between these.
        ratio: its share of the width / its share of the height lies between these.

    Raises:
        TwofoldError: a scale outside 0..1, a ratio of 0 or less, either in the wrong order, or a ratio that no part
            has.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        scale: tuple[float, float] = (0.3, 1.0),
        ratio: tuple[float, float] = (0.5, 2.0),
    ) -> None:
        self.image_size = check_size("image_size", image_size)
        check_range("scale", scale, above=0.0, most=1.0)
        check_range("ratio", ratio, above=0.0)
        if ratio[0] > scale[1] / scale[0] or ratio[1] < scale[0] / scale[1]:
            raise TwofoldError(f"no part with sides in scale={scale} has a ratio in {ratio}; widen one of them")
        self.scale, self.ratio = scale, ratio

    def draw(self, *, seed: int, epoch: int, indices: Int64[Tensor, " batch"]) -> IouCropParams:
        """Return the parts and the order of the constraints for each sample, and a choice that needs no boxes."""
        full = torch.tensor(self.image_size)[:, None, None]
        keys = [derive_key(seed, epoch, "iou-crop", name) for name in ("height", "width", "top", "left")]
        counters = indices.cpu()[:, None] * NUM_TRIES + torch.arange(NUM_TRIES)
        drawn = to_uniform(bits_of_several(keys, counters.flatten())).view(4, *counters.shape).double()
        low, high = self.scale
        sides = ((low + (high - low) * drawn[:2]) * full).long().clamp_(min=1)
        starts = (drawn[2:] * (full - sides + 1)).long()
        numbers = indices.cpu()[:, None] * (_WHOLE + 1) + torch.arange(_WHOLE + 1)
        key = derive_key(seed, epoch, "iou-crop", "constraint")
        order = bits_of_several([key], numbers.flatten()).view(numbers.shape).argsort(dim=1)
        tried = torch.cat([starts, sides]).permute(1, 2, 0)
        fits = self.has_allowed_shape(tried)
        tried, fits, order = (values.to(indices.device) for values in (tried, fits, order))
        return IouCropParams(self._first(tried, fits[:, :, None].expand(-1, -1, _WHOLE), order), tried, fits, order)

    def has_allowed_shape(self, parts: Int64[Tensor, "batch tries 4"]) -> Bool[Tensor, "batch tries"]:
        """Return for each part, as top, left, height and width, whether its ratio is allowed."""
        height, width = self.image_size
        # (part's width / width) / (part's height / height) against the limits, without a division that rounds.
        down, across = parts[..., 2].double() * width, parts[..., 3].double() * height
        return (self.ratio[0] * down <= across) & (across <= self.ratio[1] * down)

    def choose(
        self, params: IouCropParams, boxes: Float[Tensor, "batch boxes 4"], image_size: tuple[int, int]
    ) -> IouCropParams:
        """Return the parameters with, for each image, the first part that keeps a constraint for these boxes."""
        # Along y and x at once, (2, batch, tries, boxes): for a batch's few boxes, most of the time goes into calls.
        x1, y1, x2, y2 = wide(boxes.to(params.tried.device)).unbind(2)
        low, high = torch.stack([y1, x1])[:, :, None], torch.stack([y2, x2])[:, :, None]
        start, sides = wide(params.tried).permute(2, 0, 1)[..., None].split(2)
        end, middle = start + sides, (low + high) / 2
        box_sides = high - low
        is_box = (box_sides > 0).all(dim=0)
        is_inside = (start < middle) & (middle < end)
        has_middle = is_inside[0] & is_inside[1] & is_box
        both = high.minimum(end).sub_(low.maximum(start)).clamp_(min=0)
        shared = both[0] * both[1]
        overlap = shared / (sides[0] * sides[1] + box_sides[0] * box_sides[1] - shared)
        if boxes.shape[1]:
            overlap = overlap.where(has_middle, -torch.ones_like(overlap)).amax(dim=2)
            # Without any box, each part keeps all constraints.
            overlap = overlap.where(is_box.any(dim=2), torch.ones_like(overlap))
        else:
            overlap = torch.ones_like(params.fits, dtype=start.dtype)
        least = torch.tensor(OVERLAPS, dtype=overlap.dtype, device=overlap.device)
        keeps = params.fits[:, :, None] & (overlap[:, :, None] >= least)
        return replace(params, crop=self._first(params.tried, keeps, params.order))

    def _first(
        self,
        tried: Int64[Tensor, "batch tries 4"],
        keeps: Bool[Tensor, "batch tries overlaps"],
        order: Int64[Tensor, "batch constraints"],
    ) -> ResizedCropParams:
        """Return for each image the first part of the first constraint that any part keeps; else the whole image."""
        always = torch.ones_like(order[:, :1], dtype=torch.bool)
        possible = torch.cat([keeps.any(dim=1), always], dim=1).gather(1, order)
        constraint = order.gather(1, possible.long().argmax(dim=1, keepdim=True))
        first = keeps.long().argmax(dim=1).gather(1, constraint.clamp(max=_WHOLE - 1))
        whole = torch.tensor([0, 0, *self.image_size], device=order.device)
        crop = torch.where(constraint == _WHOLE, whole, tried.gather(1, first[..., None].expand(-1, -1, 4))[:, 0])
        return ResizedCropParams(*crop.unbind(1))

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], params: IouCropParams
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Return the part of each image, at the size of the image.

        Raises:
            TwofoldError: the images are not of the size that the parameters were drawn for.
        """
        if tuple(images.shape[2:]) != self.image_size:
            raise TwofoldError(f"images must be {self.image_size} (height, width) px, got {tuple(images.shape[2:])}")
        return resized_crop(images, params.crop, self.image_size)

    def move_boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], params: IouCropParams, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch boxes 4"]:
        """Return the boxes whose middle lies in the part, clipped and resized with it, and zeros for the others."""
        height, width = self.image_size
        crop = params.crop
        start = torch.stack([crop.left, crop.top], dim=1)[:, None]
        sides = torch.stack([crop.width, crop.height], dim=1)[:, None]
        middle = (wide(boxes[..., :2]) + wide(boxes[..., 2:])) / 2  # rounded as in `choose`, or a box could be lost
        kept = ((middle > start) & (middle < start + sides)).all(dim=2, keepdim=True)
        new = torch.tensor([width, height] * 2, dtype=boxes.dtype, device=boxes.device)
        moved = clip_boxes((boxes - start.repeat(1, 1, 2)) * (new / sides.repeat(1, 1, 2)), self.image_size)
        return moved * kept

    def describe(self, params: IouCropParams) -> list[list[str]]:
        """Return the part's width and height, and its left and top edge; nothing for a whole image."""
        names = ("width", "height", "left", "top")
        each = zip(*(getattr(params.crop, name).tolist() for name in names), strict=True)
        full = self.image_size[::-1]
        return [[] if (w, h) == full else [f"crop {w}×{h} at {left}, {top}"] for w, h, left, top in each]
