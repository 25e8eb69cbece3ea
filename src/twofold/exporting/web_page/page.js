// An exported network in the browser: onnxruntime-web computes it, and no image leaves this page.

import { showMaps } from "./maps.js";
import { decode, isGrey, toPixels } from "./pixels.js";
import { showAnswers, showPicture, takeImages } from "./show.js";

const WORDS = {
  en: {
    title: "What is in the image?", drop: "Drop an image here, or paste one", choose: "Choose a file", draw: "Draw",
    camera: "Camera", shoot: "Take the picture", clear: "Clear", invert: "Invert", none: "nothing found", other: "中文",
    loading: "The network is being loaded …", broken: "The browser cannot read this image",
    noCamera: "The camera cannot be used: ", grey: "turned to grey, which the network takes",
    noRuntime: "onnxruntime-web is not in the folder runtime: npm pack onnxruntime-web gets it, README.md says where it goes",
    about: (spec) => `${spec.architecture}, ${spec.class_names.length} ${spec.class_names.length === 1 ? "class" : "classes"}, ${spec.image_size[1]} × ${spec.image_size[0]} px`,
    took: (ms) => `${ms.toFixed(0)} ms in this browser`, maps: "What each stage sees",
    scale: "All maps of a stage have one scale: dark is 0, or the lowest value if that is higher; light is the highest.",
    given: (shape) => `pixels: ${shape[1]} × ${shape[2]} × ${shape[3]}, as the network is given them`,
    stage: (name, shape, shown) => `${name}: ${shape[1]} × ${shape[2]} × ${shape[3]}${shown < shape[1] ? `, the first ${shown} maps` : ""}`,
  },
  zh: {
    title: "图中有什么？", drop: "把图片拖到这里，或粘贴图片", choose: "选择文件", draw: "手绘",
    camera: "摄像头", shoot: "拍照", clear: "清空", invert: "反色", none: "没有找到物体", other: "English",
    loading: "正在加载网络……", broken: "浏览器无法读取这张图片",
    noCamera: "无法使用摄像头：", grey: "已转为灰度图，因为网络使用灰度图",
    noRuntime: "runtime 文件夹中没有 onnxruntime-web：可用 npm pack onnxruntime-web 获取，README.md 说明了放在哪里",
    about: (spec) => `${spec.architecture}，${spec.class_names.length} 个类别，${spec.image_size[1]} × ${spec.image_size[0]} 像素`,
    took: (ms) => `在浏览器中用时 ${ms.toFixed(0)} 毫秒`, maps: "每个阶段看到了什么",
    scale: "同一阶段的特征图使用同一尺度：暗色为 0（若最小值更大，则为最小值），亮色为最大值。",
    given: (shape) => `像素：${shape[1]} × ${shape[2]} × ${shape[3]}，即网络得到的输入`,
    stage: (name, shape, shown) => `${name}：${shape[1]} × ${shape[2]} × ${shape[3]}${shown < shape[1] ? `，前 ${shown} 张特征图` : ""}`,
  },
};
const at = (id) => document.getElementById(id);
let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let spec = null, session = null, ort = null, last = null, failure = null;
const words = () => WORDS[language];

function speak() {
  document.documentElement.lang = language;
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = words()[each.dataset.word];
  at("language").textContent = words().other;
  at("language").lang = language === "zh" ? "en" : "zh";
  at("about").textContent = session ? words().about(spec) : failure ? "" : words().loading;
  at("error").textContent = failure ? words()[failure] ?? failure : "";
  if (last?.result) show(last);
}

function fail(reason) {
  failure = reason;
  speak();
}

async function start() {
  at("unserved").hidden = location.protocol !== "file:";
  speak();
  try {
    const binary = await fetch("runtime/ort-wasm-simd-threaded.wasm");
    if (!binary.ok) throw new Error(binary.statusText);
    ort = await import("./runtime/ort.wasm.min.js");
    ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
    ort.env.wasm.wasmPaths = { mjs: new URL("runtime/ort-wasm-simd-threaded.js", location.href).href };
    ort.env.wasm.wasmBinary = await binary.arrayBuffer(); // whatever type the server says that it has
  } catch {
    return fail("noRuntime");
  }
  try {
    spec = await (await fetch("spec.json")).json();
    session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  } catch (error) {
    return fail(String(error?.message ?? error));
  }
  preparePad();
  speak();
  if (waiting) predict(waiting);
}

// All that the network gives for an image, by name.
async function compute(image, pixels = toPixels(image, spec)) {
  const given = { pixels: new ort.Tensor("uint8", pixels, [1, spec.channels, ...spec.image_size]) };
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

// One image at a time, a file or the pad: of those that come meanwhile, the newest.
let waiting = null, isBusy = false;
async function predict(source) {
  waiting = source;
  if (isBusy || !session) return;
  isBusy = true;
  while (waiting) {
    const mine = waiting;
    waiting = null;
    failure = null;
    try {
      const image = await decode(mine).catch(() => { throw new Error(words().broken); });
      const started = performance.now();
      const pixels = toPixels(image, spec);
      const found = await compute(image, pixels);
      const took = performance.now() - started;
      if (mine === at("ink") && !hasInk) continue; // it was cleared meanwhile
      const turned = spec.channels === 1 && !isGrey(image);
      last = { result: result(found, image), picture: image.bitmap, found, pixels, took, turned };
    } catch (error) {
      const newest = waiting;
      forget();
      waiting = newest;
      failure = String(error?.message ?? error);
    }
    speak();
    await new Promise(requestAnimationFrame); // so that a stroke is seen while its answer is computed
  }
  isBusy = false;
}

function forget() {
  last = waiting = null;
  at("shown").hidden = at("maps").hidden = true;
}

function show({ result, picture, found, pixels, took, turned }) {
  at("shown").hidden = at("maps").hidden = false;
  at("took").textContent = words().took(took);
  at("remark").textContent = turned ? words().grey : "";
  showAnswers(at("answers"), result, words().none);
  showPicture(at("canvas"), picture, result);
  // The pad shows the drawing already, but not the boxes.
  const isSeen = !at("pad").hidden && spec.task !== "detect";
  at("canvas").hidden = isSeen;
  at("shown").classList.toggle("alone", isSeen);
  showMaps(at("stages"), found, pixels, spec, words());
}

// The pad: white on black for grey networks, as the garments and digits are that most of them learn from.
let hasInk = false, isInverted = false;
function clearPad() {
  const ink = at("ink"), pen = ink.getContext("2d");
  const [ground, line] = (spec.channels === 1) === isInverted ? ["#fff", "#000"] : ["#000", "#fff"];
  pen.fillStyle = ground;
  pen.fillRect(0, 0, ink.width, ink.height);
  Object.assign(pen, { lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: line });
  hasInk = false;
}

function preparePad() {
  const ink = at("ink"), [height, width] = spec.image_size, pen = ink.getContext("2d");
  ink.width = Math.round(280 * Math.min(1, width / height));
  ink.height = Math.round(280 * Math.min(1, height / width));
  let point = null;
  const place = (event) => {
    const box = ink.getBoundingClientRect();
    return [(event.clientX - box.left) * ink.width / box.width, (event.clientY - box.top) * ink.height / box.height];
  };
  const draw = (event) => {
    if (!point) return;
    pen.beginPath();
    pen.moveTo(...point);
    point = place(event);
    pen.lineTo(...point);
    pen.stroke();
    hasInk = true;
    predict(ink);
  };
  ink.addEventListener("pointerdown", (event) => {
    ink.setPointerCapture(event.pointerId);
    point = place(event);
    draw(event);
  });
  ink.addEventListener("pointermove", draw);
  for (const end of ["pointerup", "pointercancel"]) ink.addEventListener(end, () => { point = null; });
  const begin = () => { clearPad(); forget(); };
  at("clear").addEventListener("click", begin);
  at("invert").addEventListener("click", () => { isInverted = !isInverted; begin(); });
  at("draw").addEventListener("click", () => { at("pad").hidden = !at("pad").hidden; begin(); });
  at("draw").disabled = false;
}

takeImages(
  { area: at("drop"), input: at("file"), camera: at("camera"), shoot: at("shoot"), video: at("video") },
  (blob) => { at("pad").hidden = true; predict(blob); }, (reason) => fail(words().noCamera + reason),
);
at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  speak();
});
window.twofold = { compute, decode, toPixels, ready: start() }; // for who wants to look, and for tests
