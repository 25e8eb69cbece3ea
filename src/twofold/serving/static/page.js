// The page at /: an image to the server, and what the network says of it. Nothing leaves this server.

const WORDS = {
  en: {
    title: "What is in the image?", network: "Network", drop: "Drop an image here, or paste one",
    choose: "Choose a file", camera: "Camera", shoot: "Take the picture", api: "API",
    command: "The same from the command line", none: "nothing found", other: "中文",
    token: "This server needs its token: open the address that twofold serve printed, which ends in #token=…",
    loading: "The network is being loaded …", noCamera: "The camera cannot be used: ", away: "The server does not answer",
    about: (m) => `${m.architecture}, ${m.classes.length} ${m.classes.length === 1 ? "class" : "classes"}, ${m.image.width} × ${m.image.height} px, ${m.engine}`,
    took: (ms) => `${ms.toFixed(0)} ms from the image to the answer`,
  },
  zh: {
    title: "图中有什么？", network: "网络", drop: "把图片拖到这里，或粘贴图片",
    choose: "选择文件", camera: "摄像头", shoot: "拍照", api: "接口",
    command: "在命令行中做同样的事", none: "没有找到物体", other: "English",
    token: "此服务器需要令牌：请打开 twofold serve 打印的、以 #token=… 结尾的地址",
    loading: "正在加载网络……", noCamera: "无法使用摄像头：", away: "服务器没有响应",
    about: (m) => `${m.architecture}，${m.classes.length} 个类别，${m.image.width} × ${m.image.height} 像素，${m.engine}`,
    took: (ms) => `从图片到答案用时 ${ms.toFixed(0)} 毫秒`,
  },
};
const COLOURS = ["#e6550d", "#3182bd", "#31a354", "#756bb1", "#d6336c", "#b8860b", "#17a2a2", "#7f7f7f"];
const at = (id) => document.getElementById(id);

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname); // so that a copied address does not hold it
}
const token = given ?? sessionStorage.getItem("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let models = [], last = null, stream = null;
const words = () => WORDS[language];
const model = () => models[at("network").selectedIndex] ?? models[0];

function speak() {
  document.documentElement.lang = language;
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = words()[each.dataset.word];
  at("language").textContent = words().other;
  at("language").lang = language === "zh" ? "en" : "zh";
  if (model()) at("about").textContent = words().about(model());
  const named = models.length > 1 ? `?model=${model().name}` : "";
  const bearer = token ? ` -H "Authorization: Bearer $TWOFOLD_TOKEN"` : "";
  at("command").textContent = `curl${bearer} --data-binary @photo.png ${location.origin}/v1/predict${named}`;
  if (last?.result) show(last);
}

function fail(reason) {
  at("error").textContent = reason;
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  } catch {
    throw new Error(words().away);
  }
  if (response.status === 401) throw new Error(words().token);
  const content = await response.json().catch(() => ({ error: `${response.status}` }));
  if (!response.ok) throw Object.assign(new Error(content.error), { status: response.status });
  return content;
}

async function start() {
  speak();
  for (;;) {
    try {
      models = (await ask("v1/models")).models;
      if (models.length) break;
    } catch (error) {
      fail(error.message);
      return;
    }
    at("about").textContent = words().loading;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  at("network").replaceChildren(...models.map((each) => new Option(each.name)));
  at("network").hidden = models.length < 2;
  speak();
}

async function predict(blob) {
  fail("");
  const started = performance.now();
  last = { blob };
  const mine = last;
  try {
    const answer = await ask(`v1/predict?model=${encodeURIComponent(model().name)}`, {
      method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" },
    });
    const took = performance.now() - started;
    // An image that the browser cannot draw, such as TIFF, is answered all the same.
    const picture = await createImageBitmap(blob).catch(() => null);
    if (mine !== last) return; // another image came meanwhile
    Object.assign(last, { result: answer.results[0], picture, took });
    show(last);
  } catch (error) {
    if (mine !== last) return;
    at("shown").hidden = true;
    fail(error.message);
  }
}

function show({ result, picture, took }) {
  at("shown").hidden = false;
  at("took").textContent = words().took(took);
  const boxes = result.objects;
  const labelled = new Set((result.labels ?? []).map((each) => each.label));
  const rows = boxes ?? result.predictions;
  const names = [...new Set((boxes ?? []).map((each) => each.class))];
  const colour = (name) => COLOURS[names.indexOf(name) % COLOURS.length];
  draw(picture, boxes ?? [], colour, result);
  at("answers").replaceChildren(...rows.map((each) => {
    const item = document.createElement("li");
    if (result.labels && !labelled.has(each.class)) item.className = "below";
    const row = Object.assign(document.createElement("div"), { className: "row" });
    const name = Object.assign(document.createElement("span"), { className: "name", textContent: each.class });
    const share = Object.assign(document.createElement("span"), { textContent: `${(100 * each.probability).toFixed(1)} %` });
    const bar = Object.assign(document.createElement("div"), { className: "bar" });
    const filled = document.createElement("i");
    filled.style.width = `${100 * each.probability}%`;
    if (boxes) filled.style.background = colour(each.class);
    row.append(name, share);
    bar.append(filled);
    item.append(row, bar);
    return item;
  }));
  if (!rows.length) at("answers").append(Object.assign(document.createElement("li"), { textContent: words().none }));
}

function draw(picture, boxes, colour, result) {
  const canvas = at("canvas");
  canvas.hidden = !picture;
  if (!picture) return;
  const shrink = Math.min(1, 1200 / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * shrink));
  canvas.height = Math.max(1, Math.round(picture.height * shrink));
  canvas.className = canvas.width < 200 ? "small" : "";
  canvas.ariaLabel = (boxes.length ? boxes : result.predictions ?? []).map((each) => each.class).join(", ");
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(canvas.width, canvas.height) / 400;
  pen.lineWidth = 2 * unit;
  pen.font = `${12 * unit}px system-ui, sans-serif`;
  for (const { class: name, probability, box } of boxes) {
    const [x1, y1, x2, y2] = box.map((side, place) =>
      side * (place % 2 ? canvas.height / result.height : canvas.width / result.width));
    const text = `${name} ${(100 * probability).toFixed(0)} %`;
    pen.strokeStyle = pen.fillStyle = colour(name);
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const width = pen.measureText(text).width + 6 * unit, height = 16 * unit;
    const top = y1 >= height ? y1 - height : y1, left = Math.max(0, Math.min(x1 - unit, canvas.width - width));
    pen.fillRect(left, top, width, height);
    pen.fillStyle = "#fff";
    pen.fillText(text, left + 3 * unit, top + 12 * unit);
  }
}

async function toggleCamera() {
  if (stream) return endCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return fail(words().noCamera + (error?.message ?? error));
  }
  at("video").srcObject = stream;
  at("video").hidden = at("shoot").hidden = false;
  await at("video").play();
}

function endCamera() {
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  at("video").hidden = at("shoot").hidden = true;
}

function shoot() {
  const video = at("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.convertToBlob({ type: "image/png" }).then(predict);
}

const dropped = (items) => [...items].find((each) => each.type.startsWith("image/") || each.type === "");
at("drop").addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const file = dropped(event.dataTransfer.files);
  if (file) predict(file);
});
document.addEventListener("paste", (event) => {
  const file = dropped(event.clipboardData.files);
  if (file) predict(file);
});
at("file").addEventListener("change", () => { if (at("file").files[0]) predict(at("file").files[0]); at("file").value = ""; });
at("camera").addEventListener("click", toggleCamera);
at("shoot").addEventListener("click", shoot);
at("network").addEventListener("change", () => { speak(); if (last) predict(last.blob); });
at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  speak();
});
start();
