// An image to the uint8 pixels that a network takes: what Twofold does in Python with Pillow, in the same arithmetic.

// Red, green and blue of an image, upright, transparency on white: {width, height, bands: [Uint8Array, …]}.
export async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  const { width, height } = bitmap;
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0);
  const { data } = pen.getImageData(0, 0, width, height);
  const bands = [0, 1, 2].map(() => new Uint8Array(width * height));
  // A plain loop: a call for each value would take seconds for a photo.
  for (let at = 0; at < width * height; at++) for (let band = 0; band < 3; band++) bands[band][at] = data[4 * at + band];
  return { width, height, bands, bitmap };
}

export function isGrey({ bands: [red, green, blue] }) {
  return red.every((value, at) => value === green[at] && value === blue[at]);
}

// The pixels of `image` as (channels, height, width), for a spec with channels, image_size [height, width] and resize.
export function toPixels(image, spec) {
  const [height, width] = spec.image_size;
  const bands = spec.channels === 1 ? [luma(image.bands)] : image.bands;
  const planes = bands.map((band) => fit({ ...image, band }, spec.resize, width, height));
  const pixels = new Uint8Array(spec.channels * height * width);
  planes.forEach((plane, channel) => pixels.set(plane, channel * height * width));
  return pixels;
}

// ITU-R 601 in 16 bits of fraction, as Pillow's convert("L").
function luma([red, green, blue]) {
  return red.map((value, at) => (value * 19595 + green[at] * 38470 + blue[at] * 7471 + 0x8000) >> 16);
}

function fit(image, resize, width, height) {
  const whole = [0, 0, image.width, image.height];
  if (image.width === width && image.height === height) return image.band;
  if (resize === "stretch") return scaled(image, width, height, whole);
  if (resize === "crop") {
    const scale = Math.min(image.width / width, image.height / height);
    if (scale === 1) return cut(image, width, height);
    const across = Math.min(width * scale, image.width), down = Math.min(height * scale, image.height);
    const left = (image.width - across) / 2, top = (image.height - down) / 2;
    return scaled(image, width, height, [left, top, left + across, top + down]);
  }
  const scale = Math.min(width / image.width, height / image.height);
  const across = Math.max(1, toEven(image.width * scale)), down = Math.max(1, toEven(image.height * scale));
  const inner = across === image.width && down === image.height ? image.band : scaled(image, across, down, whole);
  const black = new Uint8Array(width * height);
  const left = Math.floor((width - across) / 2), top = Math.floor((height - down) / 2);
  for (let y = 0; y < down; y++) {
    black.set(inner.subarray(y * across, (y + 1) * across), (top + y) * width + left);
  }
  return black;
}

function cut(image, width, height) {
  const left = Math.floor((image.width - width) / 2), top = Math.floor((image.height - height) / 2);
  const inside = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = (top + y) * image.width + left;
    inside.set(image.band.subarray(start, start + width), y * width);
  }
  return inside;
}

// Halves go to the even neighbour, as Python rounds.
function toEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

// Pillow's bilinear filter, which averages over the area that a pixel covers: along rows, then along columns, each
// rounded to 8 bits, with weights of 22 bits of fraction. Since version 13 Pillow begins with the columns where the
// height shrinks by more than twice as many pixels as the width, and rounding makes that another image by a level.
const BITS = 22;

function scaled(image, width, height, [left, top, right, bottom]) {
  const across = (given) => alongRows(given, weights(given.width, left, right, width));
  const down = (given) => alongColumns(given, weights(given.height, top, bottom, height));
  const less = image.height - height;
  return (less > 0 && less > 2 * (image.width - width) ? across(down(image)) : down(across(image))).band;
}

// Where there is nothing to scale the weights are 1 at the pixel itself, so a pass that Pillow leaves out does nothing.
function alongRows({ band, width: length, height }, columns) {
  const width = columns.length, result = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    columns.forEach(({ start, values }, x) => {
      let sum = 1 << (BITS - 1);
      for (let each = 0; each < values.length; each++) sum += band[y * length + start + each] * values[each];
      result[y * width + x] = clip(sum);
    });
  }
  return { band: result, width, height };
}

function alongColumns({ band, width }, rows) {
  const height = rows.length, result = new Uint8Array(width * height);
  rows.forEach(({ start, values }, y) => {
    for (let x = 0; x < width; x++) {
      let sum = 1 << (BITS - 1);
      for (let each = 0; each < values.length; each++) sum += band[(start + each) * width + x] * values[each];
      result[y * width + x] = clip(sum);
    }
  });
  return { band: result, width, height };
}

const clip = (sum) => Math.max(0, Math.min(255, Math.floor(sum / 2 ** BITS)));

// For each of `count` places the first source pixel and the weights from there on. Pillow has the ends in 32 bits.
function weights(size, from, to, count) {
  const first = Math.fround(from), last = Math.fround(to);
  const scale = Math.fround(last - first) / count, wide = Math.max(scale, 1);
  return Array.from({ length: count }, (_, place) => {
    const centre = first + (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - wide + 0.5));
    const end = Math.min(size, Math.trunc(centre + wide + 0.5));
    const each = Array.from({ length: end - start }, (_, at) =>
      Math.max(0, 1 - Math.abs((at + start - centre + 0.5) * (1 / wide))));
    const sum = each.reduce((total, value) => total + value, 0);
    return { start, values: each.map((value) => Math.trunc(0.5 + (value / sum) * 2 ** BITS)) };
  });
}
