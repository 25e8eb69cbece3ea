// An exported network in the browser: onnxruntime-web computes it, and no image leaves this page.

import { decode, isGrey, toPixels } from "./pixels.js";
import { showAnswers, showPicture, takeImages } from "./show.js";

const WORDS = {
  en: {
    title: "What is in the image?", drop: "Drop an image here, or paste one", choose: "Choose a file", draw: "Draw",
    camera: "Camera", shoot: "Take the picture", clear: "Clear", none: "nothing found", other: "中文",
    loading: "The network is being loaded …", broken: "The browser cannot read this image",
    noCamera: "The camera cannot be used: ", grey: "turned to grey, which the network takes",
    noRuntime: "onnxruntime-web is not in the folder runtime: README.md says how to put it there",
    local: "Open this page from a server: python -m http.server --directory FOLDER",
    about: (spec) => `${spec.architecture}, ${spec.class_names.length} classes, ${spec.image_size[1]} × ${spec.image_size[0]} px`,
    took: (ms) => `${ms.toFixed(0)} ms in this browser`, maps: "What each stage sees",
    stage: (name, shape) => `${name}: ${shape[1]} maps of ${shape[3]} × ${shape[2]}`,
  },
  zh: {
    title: "图中有什么？", drop: "把图片拖到这里，或粘贴图片", choose: "选择文件", draw: "手绘",
    camera: "摄像头", shoot: "拍照", clear: "清空", none: "没有找到物体", other: "English",
    loading: "正在加载网络……", broken: "浏览器无法读取这张图片",
    noCamera: "无法使用摄像头：", grey: "已转为灰度图，因为网络使用灰度图",
    noRuntime: "runtime 文件夹中没有 onnxruntime-web：README.md 说明了如何放入",
    local: "请通过服务器打开此页面：python -m http.server --directory FOLDER",
    about: (spec) => `${spec.architecture}，${spec.class_names.length} 个类别，${spec.image_size[1]} × ${spec.image_size[0]} 像素`,
    took: (ms) => `在浏览器中用时 ${ms.toFixed(0)} 毫秒`, maps: "每个阶段看到了什么",
    stage: (name, shape) => `${name}：${shape[1]} 张 ${shape[3]} × ${shape[2]} 的特征图`,
  },
};
const MOST_MAPS = 32;
const at = (id) => document.getElementById(id);
let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let spec = null, session = null, ort = null, last = null, failure = null;
const words = () => WORDS[language];

function speak() {
  document.documentElement.lang = language;
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = words()[each.dataset.word];
  at("language").textContent = words().other;
  at("language").lang = language === "zh" ? "en" : "zh";
  at("about").textContent = spec ? words().about(spec) : words().loading;
  at("error").textContent = failure ? words()[failure] ?? failure : "";
  if (last?.result) show(last);
}

function fail(reason) {
  failure = reason;
  speak();
}

async function start() {
  speak();
  if (location.protocol === "file:") return fail("local");
  try {
    ort = await import("./runtime/ort.wasm.min.mjs");
  } catch {
    return fail("noRuntime");
  }
  ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
  ort.env.wasm.wasmPaths = new URL("runtime/", location.href).href;
  try {
    spec = await (await fetch("spec.json")).json();
    session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  } catch (error) {
    return fail(String(error?.message ?? error));
  }
  speak();
}

// All that the network gives for an image, by name.
async function compute(image) {
  const [height, width] = spec.image_size;
  const given = { pixels: new ort.Tensor("uint8", toPixels(image, spec), [1, spec.channels, height, width]) };
  if (spec.task === "detect") {
    given.sizes = new ort.Tensor("int64", BigInt64Array.of(BigInt(image.height), BigInt(image.width)), [1, 2]);
  }
  return session.run(given);
}

function result(found, image) {
  const named = (values) => [...values].map((probability, index) => ({ class: spec.class_names[index], probability }));
  if (spec.task === "detect") {
    const least = spec.score_threshold ?? 0.5;
    const objects = [...found.scores.data].map((probability, row) => ({
      class: spec.class_names[Number(found.labels.data[row])], probability,
      box: [...found.boxes.data.subarray(4 * row, 4 * row + 4)],
    }));
    return { objects: objects.filter((each) => each.probability >= least), width: image.width, height: image.height };
  }
  const all = named(found.probabilities.data);
  const predictions = all.toSorted((a, b) => b.probability - a.probability).slice(0, 10);
  if (spec.task !== "multilabel") return { predictions };
  const least = spec.label_thresholds ?? spec.class_names.map(() => 0.5);
  return { predictions, labels: all.filter((each, index) => each.probability >= least[index]).map((each) => ({ label: each.class })) };
}

// One image at a time: of those that come meanwhile, the newest.
let waiting = null, isBusy = false;
async function predict(blob) {
  waiting = blob;
  if (isBusy || !session) return;
  isBusy = true;
  while (waiting) {
    const mine = waiting;
    waiting = null;
    failure = null;
    try {
      const image = await decode(mine).catch(() => { throw new Error(words().broken); });
      const started = performance.now();
      const found = await compute(image);
      last = {
        result: result(found, image), picture: image.bitmap, found, took: performance.now() - started,
        turned: spec.channels === 1 && !isGrey(image),
      };
    } catch (error) {
      last = null;
      at("shown").hidden = true;
      at("maps").replaceChildren();
      failure = String(error?.message ?? error);
    }
    speak();
  }
  isBusy = false;
}

function show({ result, picture, found, took, turned }) {
  at("shown").hidden = false;
  at("took").textContent = words().took(took);
  at("remark").textContent = turned ? words().grey : "";
  showAnswers(at("answers"), result, words().none);
  showPicture(at("canvas"), picture, result);
  const stages = Object.keys(found).filter((name) => name.startsWith("maps/"));
  at("maps").replaceChildren(...(stages.length ? [heading("h2", words().maps)] : []), ...stages.flatMap((name) => {
    const grid = document.createElement("div");
    grid.className = "maps";
    grid.dataset.stage = name.slice(5);
    grid.append(...mapsOf(found[name]));
    return [heading("h3", words().stage(name.slice(5), found[name].dims)), grid];
  }));
}

const heading = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

// A canvas for each of the first maps of a stage, the darkest value black and the brightest white.
function* mapsOf({ data, dims: [, count, height, width] }) {
  for (let map = 0; map < Math.min(count, MOST_MAPS); map++) {
    const values = data.subarray(map * height * width, (map + 1) * height * width);
    const least = values.reduce((a, b) => Math.min(a, b)), most = values.reduce((a, b) => Math.max(a, b));
    const canvas = Object.assign(document.createElement("canvas"), { width, height, ariaHidden: "true" });
    const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height);
    values.forEach((value, place) => {
      const grey = 255 * (value - least) / (most - least || 1);
      picture.data.set([grey, grey, grey, 255], 4 * place);
    });
    pen.putImageData(picture, 0, 0);
    yield canvas;
  }
}

// The pad: white on black, as the garments and digits that grey networks learn from.
function prepareThePad() {
  const ink = at("ink"), pen = ink.getContext("2d");
  const clear = () => { pen.fillStyle = "#000"; pen.fillRect(0, 0, ink.width, ink.height); };
  let isDown = false;
  const place = (event) => {
    const box = ink.getBoundingClientRect();
    return [(event.clientX - box.left) * ink.width / box.width, (event.clientY - box.top) * ink.height / box.height];
  };
  const ask = () => ink.toBlob((blob) => predict(blob), "image/png");
  clear();
  Object.assign(pen, { lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  ink.addEventListener("pointerdown", (event) => {
    isDown = true;
    ink.setPointerCapture(event.pointerId);
    pen.beginPath();
    pen.moveTo(...place(event));
    pen.lineTo(...place(event));
    pen.stroke();
  });
  ink.addEventListener("pointermove", (event) => {
    if (!isDown) return;
    pen.lineTo(...place(event));
    pen.stroke();
    ask();
  });
  for (const end of ["pointerup", "pointercancel"]) ink.addEventListener(end, () => { isDown = false; ask(); });
  at("clear").addEventListener("click", clear);
  at("draw").addEventListener("click", () => { at("pad").hidden = !at("pad").hidden; });
}

takeImages(
  { area: at("drop"), input: at("file"), camera: at("camera"), shoot: at("shoot"), video: at("video") },
  predict, (reason) => fail(words().noCamera + reason),
);
at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  speak();
});
prepareThePad();
window.twofold = { compute, decode, toPixels, ready: start() }; // for who wants to look, and for tests
