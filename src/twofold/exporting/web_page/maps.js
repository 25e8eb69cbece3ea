// What a network makes of an image, stage by stage: each feature map as a small canvas.

const MOST_MAPS = 32;

// Viridis, in five colours with a straight line from each to the next.
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const PALETTE = Array.from({ length: 256 }, (_, level) => {
  const place = level / 255 * (STOPS.length - 1), from = Math.min(STOPS.length - 2, Math.floor(place));
  return STOPS[from].map((value, band) => value + (STOPS[from + 1][band] - value) * (place - from));
});

/** Show the pixels as the network is given them, and the first maps of each stage; `found` has "maps/STAGE". */
export function showMaps(place, found, pixels, spec, words) {
  const [height, width] = spec.image_size, area = height * width;
  const shape = [1, spec.channels, height, width];
  const colour = (at) => [0, 1, 2].map((band) => pixels[(spec.channels === 3 ? band * area : 0) + at]);
  const stages = Object.entries(found).filter(([name]) => name.startsWith("maps/"));
  place.replaceChildren(
    row("", words.given(shape), [canvasOf(width, height, colour)]),
    ...stages.map(([name, { data, dims }]) => {
      const shown = Math.min(dims[1], MOST_MAPS);
      return row(name.slice(5), words.stage(name.slice(5), dims, shown), mapsOf(data, dims, shown));
    }),
  );
}

function row(stage, title, canvases) {
  const section = document.createElement("section"), heading = document.createElement("h3");
  const grid = document.createElement("div");
  section.dataset.stage = stage;
  heading.textContent = title;
  grid.className = "maps";
  grid.append(...canvases);
  section.append(heading, grid);
  return section;
}

function mapsOf(data, [, , height, width], shown) {
  const area = height * width;
  let low = Infinity, high = -Infinity;
  for (let at = 0; at < shown * area; at++) {
    low = Math.min(low, data[at]);
    high = Math.max(high, data[at]);
  }
  low = Math.max(0, low);
  const level = (value) => Math.round(255 * Math.min(1, Math.max(0, (value - low) / Math.max(high - low, 1e-12))));
  return Array.from({ length: shown }, (_, map) => canvasOf(width, height, (at) => PALETTE[level(data[map * area + at])]));
}

function canvasOf(width, height, colour) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height, ariaHidden: "true" });
  const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height);
  for (let at = 0; at < width * height; at++) picture.data.set([...colour(at), 255], 4 * at);
  pen.putImageData(picture, 0, 0);
  return canvas;
}
