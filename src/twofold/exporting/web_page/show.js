// What a network says of an image, on a page: rows with bars, and boxes in the picture.

const COLOURS = ["#c2410c", "#1d6fb8", "#2f7d32", "#6d4fb3", "#c02560", "#8a6508", "#0f7c7c", "#666666"];

const make = (tag, properties = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...inside);
  return element;
};

// `result` is {predictions: [{class, probability}], labels?: [{label}]}, or {objects: [{class, probability, box}]}.
export function showAnswers(list, result, none) {
  const boxes = result.objects, rows = boxes ?? result.predictions;
  const labelled = new Set((result.labels ?? []).map((each) => each.label));
  const colour = colours(boxes ?? []);
  list.replaceChildren(...rows.map((each) => {
    const filled = make("i");
    filled.style.width = `${100 * each.probability}%`;
    if (boxes) filled.style.background = colour(each.class);
    const share = `${(100 * each.probability).toFixed(1)} %`;
    const names = [make("span", { className: "name", textContent: each.class }), make("span", { textContent: share })];
    const below = result.labels && !labelled.has(each.class);
    return make("li", { className: below ? "below" : "" },
      make("div", { className: "row" }, ...names), make("div", { className: "bar" }, filled));
  }));
  if (!rows.length) list.append(make("li", { textContent: none }));
}

// Draw a picture with the boxes in it; `width` and `height` are those in whose pixels the boxes are.
export function showPicture(canvas, picture, { objects = [], predictions = [], width, height }) {
  canvas.hidden = !picture;
  if (!picture) return;
  const shrink = Math.min(1, 1200 / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * shrink));
  canvas.height = Math.max(1, Math.round(picture.height * shrink));
  canvas.className = canvas.width < 200 ? "small" : "";
  canvas.ariaLabel = (objects.length ? objects : predictions).map((each) => each.class).join(", ");
  const pen = canvas.getContext("2d"), colour = colours(objects);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(canvas.width, canvas.height) / 400;
  pen.lineWidth = 2 * unit;
  pen.font = `${12 * unit}px system-ui, sans-serif`;
  for (const { class: name, probability, box } of objects) {
    const [x1, y1, x2, y2] = box.map((side, place) => side * (place % 2 ? canvas.height / height : canvas.width / width));
    const text = `${name} ${(100 * probability).toFixed(0)} %`;
    pen.strokeStyle = pen.fillStyle = colour(name);
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const length = pen.measureText(text).width + 6 * unit, high = 16 * unit;
    const top = y1 >= high ? y1 - high : y1, left = Math.max(0, Math.min(x1 - unit, canvas.width - length));
    pen.fillRect(left, top, length, high);
    pen.fillStyle = "#fff";
    pen.fillText(text, left + 3 * unit, top + 12 * unit);
  }
}

function colours(objects) {
  const names = [...new Set(objects.map((each) => each.class))];
  return (name) => COLOURS[names.indexOf(name) % COLOURS.length];
}

// Call `take` with each image that is dropped on `area`, pasted, chosen in `input`, or shot with the camera.
export function takeImages({ area, input, camera, shoot, video }, take, fail) {
  const image = (files) => [...files].find((each) => each.type.startsWith("image/") || each.type === "");
  const given = (files) => { const file = image(files); if (file) take(file); };
  area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    given(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => given(event.clipboardData.files));
  input.addEventListener("change", () => { given(input.files); input.value = ""; });

  let stream = null;
  camera.addEventListener("click", async () => {
    if (stream) {
      for (const track of stream.getTracks()) track.stop();
      stream = null;
      video.hidden = shoot.hidden = true;
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      fail(error?.message ?? String(error));
      return;
    }
    video.srcObject = stream;
    video.hidden = shoot.hidden = false;
    await video.play();
  });
  shoot.addEventListener("click", async () => {
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    take(await canvas.convertToBlob({ type: "image/png" }));
  });
}
