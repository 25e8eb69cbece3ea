// Mounts a lab in a page of its own: the model that its module expects, over one WebSocket, with its settings in the
// address.

const place = new URL(location.href), name = place.pathname.split("/").pop();
const language = place.searchParams.get("lang") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const root = document.querySelector("main"), lost = document.getElementById("lost");
const BROKEN = 1011; // the lab itself failed: to ask again would fail again
const REST_MS = 120, NEW_ENTRY_MS = 700; // changes of one drag are one step back in the browser's history

document.documentElement.lang = language;
const word = (en, zh) => (language === "zh" ? zh : en);
lost.textContent = word("The connection to the lab has ended. It comes back when twofold lab runs again.", "与实验的连接已断开。重新运行 twofold lab 后会恢复。");
document.getElementById("labs").textContent = word("All labs", "全部实验");
document.getElementById("labs").href = `/?lang=${language}`;
const other = document.getElementById("language");
other.textContent = language === "zh" ? "English" : "中文";

class Model {
  #values = { language };
  #listeners = {};
  #changed = -Infinity;
  resting = null;

  get(key) { return this.#values[key]; }
  set(key, value) { this.#values[key] = value; }

  // The first change of a drag is a step that the browser goes back from; for the others the address waits until the hand
  // rests, since a browser takes only so many changes of it.
  save_changes() {
    const now = performance.now(), passed = now - this.#changed;
    this.#changed = now;
    this.#forget();
    if (passed > NEW_ENTRY_MS) history.pushState(null, "", this.#address());
    else if (passed > REST_MS) history.replaceState(null, "", this.#address());
    else this.resting = setTimeout(() => { this.resting = null; history.replaceState(null, "", this.#address()); }, REST_MS);
  }

  #forget() {
    clearTimeout(this.resting);
    this.resting = null;
  }

  // An address that was gone back to, or typed, is true already.
  take(settings) {
    this.#forget();
    this.set("settings", settings);
    this.emit("change:settings");
  }

  hash() {
    const text = written(this.#values.settings ?? read(location.hash));
    return text && `#${text}`;
  }

  #address() { return `${location.pathname}${location.search}${this.hash()}`; }

  on(event, listener) { (this.#listeners[event] ??= new Set()).add(listener); }
  off(event, listener) { this.#listeners[event]?.delete(listener); }
  emit(event, ...values) { for (const listener of this.#listeners[event] ?? []) listener(...values); }
  send(content, _, buffers = []) { socket.send(packed(content, buffers)); }
  linkTo(lab) { return `/lab/${lab}?lang=${language}`; }
}

function written(settings) {
  return Object.entries(settings).map(([key, value]) => `${key}=${encodeURIComponent(typeof value === "string" && !isJson(value) ? value : JSON.stringify(value))}`).join("&");
}

function isJson(text) {
  try { JSON.parse(text); return true; } catch { return false; }
}

// A text of an address; one that a hand has typed may have a % that stands for itself.
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function read(text) {
  return Object.fromEntries(text.replace(/^#/, "").split("&").filter(Boolean).map((pair) => {
    const [key, ...rest] = pair.split("="), value = decoded(rest.join("="));
    return [decoded(key), isJson(value) ? JSON.parse(value) : value];
  }));
}

// One message: the number of parts and their lengths, 4 bytes each; JSON; the arrays, each at a multiple of 4 bytes.
function packed(content, buffers) {
  const parts = [new TextEncoder().encode(JSON.stringify(content)), ...buffers.map((each) => new Uint8Array(each.buffer ?? each))];
  const head = 4 * (parts.length + 1), message = new Uint8Array(head + parts.reduce((sum, part) => sum + Math.ceil(part.length / 4) * 4, 0));
  new Uint32Array(message.buffer, 0, parts.length + 1).set([parts.length, ...parts.map((part) => part.length)]);
  let start = head;
  for (const part of parts) { message.set(part, start); start += Math.ceil(part.length / 4) * 4; }
  return message;
}

function unpacked(message) {
  const [count] = new Uint32Array(message, 0, 1), lengths = new Uint32Array(message, 4, count);
  let start = 4 * (count + 1);
  const [json, ...buffers] = Array.from(lengths, (length) => { const part = new DataView(message, start, length); start += Math.ceil(length / 4) * 4; return part; });
  return [JSON.parse(new TextDecoder().decode(json)), buffers];
}

const model = new Model(), module = import(`/lab/${name}.js`);
let socket, hasBegun = false;

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket/${name}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = async ({ data }) => {
    const [content, buffers] = unpacked(data);
    if (content.kind !== "about") return model.emit("msg:custom", content, buffers);
    // A server that was started anew: everything anew, and the address says where we were.
    if (hasBegun) return location.reload();
    hasBegun = true;
    document.title = `${content.title[language]} · Twofold`;
    model.set("about", content);
    model.set("settings", read(location.hash));
    (await module).default.render({ model, el: root });
    document.getElementById("loading").hidden = true;
  };
  socket.onclose = ({ code }) => {
    lost.hidden = false;
    if (code !== BROKEN) setTimeout(connect, 1500);
  };
  socket.onopen = () => { lost.hidden = true; };
}

const follow = () => {
  other.href = `${location.pathname}?lang=${language === "zh" ? "en" : "zh"}${model.hash()}`;
};
for (const event of ["popstate", "hashchange"]) addEventListener(event, () => model.take(read(location.hash)));
other.addEventListener("click", follow);
follow();
connect();
