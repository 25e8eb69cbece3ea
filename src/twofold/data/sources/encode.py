"""How an image is stored in a pack.

- One whose shorter side is at most `size` is stored as the bytes of its file (JPEG, PNG, WebP): nothing is lost, and
  its pixels are those that the folder gives. BMP and TIFF become PNG, which is lossless and smaller.
- A larger one is scaled so that its shorter side is `size`, aspect ratio kept: at the usual 256 px, a quarter more than
  a network of 224 px sees is left for random crops. A JPEG is first decoded at 1/2, 1/4 or 1/8 of its size, which its
  format allows for a fraction of the time, as long as twice the wanted size is left for the last step.
- Scaled images are stored as JPEG of `quality` 95, with colour at half the resolution as cameras store it: a
  photograph of 384 × 256 px is 44 KB and takes 1.1 ms to decode, as PNG 161 KB and 8 ms (one core). The scaling has
  already lost more than such a JPEG does.
- At 128 px and below, where the blocks of 8 × 8 pixels of a JPEG would be seen, they are bare pixels (PPM or PGM): at
  96 px 37 KB and 0.02 ms, where a PNG is 22 KB and takes 0.7 ms. At 256 px bare pixels are seven times as many
  bytes as a JPEG, so that disk and network may become the limit.
- `store` "raw" stores bare pixels of every image, small ones as well: exact, with nothing left to decode, and large.
  "png" is exact in half the bytes, and slow to read.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

from PIL import Image

from twofold.data.decode import MAX_PIXELS, open_image, quiet_pillow, remarks_of
from twofold.data.formats import FORMATS
from twofold.data.pixels import is_grey
from twofold.data.sources.packed import Store

_BARE_UP_TO = 128
_KEPT = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
# A file that is larger than its raw pixels carries something else along, such as a film or a thousand thumbnails.
_MOST_METADATA = 2**16


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record to be: its bytes, suffix, pixels, whether it is grey, and `remarks_of` it; or why it cannot be read."""

    content: bytes = b""
    suffix: str = ""
    height: int = 0
    width: int = 0
    grey: bool = False
    broken: str | None = None
    remarks: tuple[str, ...] = ()


def encode_image(file: io.BufferedReader, *, size: int, quality: int, store: Store) -> Encoded:
    """Return the image in an open file as it is stored.

    Raises:
        BrokenImageError: it cannot be read.
    """
    image = _open_reduced(file, size, store)
    if image is None:
        file.seek(0)
        content = file.read()
        image = open_image(content)
        with Image.open(io.BytesIO(content), formats=FORMATS) as header:
            suffix = _KEPT[str(header.format)]
        return Encoded(content, suffix, image.height, image.width, is_grey(image), remarks=remarks_of(image))
    remarks = remarks_of(image)
    grey = is_grey(image)
    image = image.convert("L") if grey else image
    shorter = min(image.size)
    is_scaled = shorter > size
    if is_scaled:
        width, height = (max(1, round(side * (size / shorter))) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    if store == "raw" or (store == "auto" and is_scaled and size <= _BARE_UP_TO):
        image.save(buffer, "PPM")
        suffix = "pgm" if grey else "ppm"
    elif store == "png" or not is_scaled:
        image.save(buffer, "PNG")
        suffix = "png"
    else:
        image.save(buffer, "JPEG", quality=quality)
        suffix = "jpg"
    return Encoded(buffer.getvalue(), suffix, image.height, image.width, grey, remarks=remarks)


def _open_reduced(file: io.BufferedReader, size: int, store: Store) -> Image.Image | None:
    """Return an image decoded, at reduced scale where its format allows; None if its file is stored as it is."""
    quiet_pillow()
    try:
        header = Image.open(file, formats=FORMATS)
    except Exception:  # noqa: BLE001 - whatever it is, open_image says it in words
        file.seek(0)
        return open_image(file)
    width, height = header.size
    shorter = min(width, height)
    num_bytes = os.fstat(file.fileno()).st_size
    is_lean = num_bytes <= 3 * width * height + _MOST_METADATA
    if store != "raw" and 0 < shorter <= size and header.format in _KEPT and is_lean:
        return None
    if header.format in ("JPEG", "MPO") and shorter > 2 * size and width * height <= MAX_PIXELS:
        header.draft(None, (2 * size * width // shorter, 2 * size * height // shorter))
        return open_image(header)
    file.seek(0)
    return open_image(file)
