// The page at /: an image to the server, and what the network says of it. Nothing leaves this server.

import { showAnswers, showPicture, takeImages } from "./show.js";

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
const at = (id) => document.getElementById(id);

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname); // so that a copied address does not hold it
}
const token = given ?? sessionStorage.getItem("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let models = [], last = null;
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
  showPicture(at("canvas"), picture, result);
  showAnswers(at("answers"), result, words().none);
}

takeImages(
  { area: at("drop"), input: at("file"), camera: at("camera"), shoot: at("shoot"), video: at("video") },
  predict, (reason) => fail(words().noCamera + reason),
);
at("network").addEventListener("change", () => { speak(); if (last) predict(last.blob); });
at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  speak();
});
start();
