// What every lab's page is made of: settings and controls bound to them, questions to Python, matrices, plots, drawing,
// and what stands beside the figure. A lab says what it has and how the answer is drawn; Python computes all values.
//
//   export default lab((page) => {
//     page.slider("stride", { label: page.t("stride", "步幅"), min: 1, max: 4 });
//     const output = page.matrix({ label: page.t("output", "输出") });
//     return (shown, settings) => output.draw(shown.output);
//   });

// An anywidget module around `build`, which takes the page, fills it, and returns what draws an answer.
export function lab(build) {
  return {
    render({ model, el }) {
      const page = new Page(model, el);
      page.drawAnswer = build(page) ?? (() => {});
      page.start();
      return () => page.close();
    },
  };
}

export function make(tag, properties = {}, ...inside) {
  const { style, data, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  if (style) Object.assign(element.style, style);
  if (data) Object.assign(element.dataset, data);
  element.append(...inside);
  return element;
}

// What stands there already is left alone: the browser would arrange the page anew.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A canvas of so many pixels of the screen, empty; return what draws on it, in pixels of the page.
export function cleared(canvas, width, height) {
  const ratio = devicePixelRatio || 1, pixels = [Math.round(width * ratio), Math.round(height * ratio)], pen = canvas.getContext("2d");
  if (canvas.width === pixels[0] && canvas.height === pixels[1]) pen.reset();
  else {
    [canvas.width, canvas.height] = pixels;
    Object.assign(canvas.style, { width: `${pixels[0] / ratio}px`, height: `${pixels[1] / ratio}px` });
  }
  pen.scale(ratio, ratio);
  return pen;
}

// Of a value, so many digits that two that differ on the screen can be told apart.
export function digits(value, most = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  const fixed = size >= 100 ? 0 : size >= 10 ? Math.min(1, most) : most;
  return String(Number(value.toFixed(fixed)));
}

// An array as Python sent it: {shape, data}. `at(array, i, j)` is a part of it: an array, or a value.
export function at(array, ...indices) {
  let start = 0, shape = array.shape;
  for (const index of indices) {
    shape = shape.slice(1);
    start += index * shape.reduce((product, side) => product * side, 1);
  }
  const length = shape.reduce((product, side) => product * side, 1);
  return shape.length ? { shape, data: array.data.subarray(start, start + length) } : array.data[start];
}

export function extent(...arrays) {
  let low = Infinity, high = -Infinity;
  for (const { data } of arrays) for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 1] : [low, high];
}

// A plane with zeros around it, so many above and below, left and right.
export function surrounded({ shape: [rows, cols], data }, [[top, bottom], [left, right]]) {
  const width = left + cols + right, values = new Float32Array((top + rows + bottom) * width);
  for (let row = 0; row < rows; row++) values.set(data.subarray(row * cols, (row + 1) * cols), (row + top) * width + left);
  return { shape: [top + rows + bottom, width], data: values };
}

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int32: Int32Array };

function unpack(value, buffers) {
  if (Array.isArray(value)) return value.map((each) => unpack(each, buffers));
  if (value === null || typeof value !== "object") return value;
  if ("$array" in value) {
    const view = buffers[value.$array];
    const bytes = new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
    const size = ARRAYS[value.dtype].BYTES_PER_ELEMENT;
    const own = bytes.byteOffset % size ? bytes.slice() : bytes;
    return { shape: value.shape, data: new ARRAYS[value.dtype](own.buffer, own.byteOffset, own.byteLength / size) };
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpack(each, buffers)]));
}

const REST_MS = 180, READ_MS = 100;
const SAMPLES_ZH = { "t-shirt": "T恤", trouser: "裤子", pullover: "套衫", dress: "连衣裙", coat: "外套", sandal: "凉鞋", shirt: "衬衫", sneaker: "运动鞋", bag: "包", boot: "短靴" };

class Page {
  constructor(model, root) {
    this.model = model;
    this.about = model.get("about");
    this.language = model.get("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
    this.settings = { ...this.about.defaults, ...model.get("settings") };
    this.t = (en, zh) => (this.language === "zh" ? zh : en);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.bound = [];
    this.redraws = [];
    this.colours = new Map();
    this.widths = new WeakMap();
    this.frame = 0;
    this.read = 0;
    this.number = 0;
    this.waiting = null;
    this.again = false;
    this.onTold = () => {};
    this.watch = new ResizeObserver((entries) => this.#resized(entries));
    this.#frame(root);
  }

  // Settings

  // Change settings, ask Python, and keep the address true.
  set(values) {
    Object.assign(this.settings, values);
    const changed = Object.fromEntries(Object.entries(this.settings)
      .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(this.about.defaults[name])));
    this.model.set("settings", changed);
    this.model.save_changes();
    this.#showSettings();
    this.ask();
  }

  #showSettings() {
    for (const show of this.bound) show(this.settings);
  }

  // Take settings from outside, such as an address. Python says what is wrong with them, but a control may not know how
  // to show a value of another kind: then the lab shows its own.
  #take(settings) {
    this.settings = { ...this.about.defaults, ...settings };
    try {
      this.#showSettings();
    } catch {
      this.settings = { ...this.about.defaults };
      this.#showSettings();
    }
  }

  // Questions and answers

  ask() {
    if (this.waiting !== null) this.again = true;
    else this.#send({ kind: "show", settings: this.settings });
  }

  act(action, settings = this.settings) {
    if (this.waiting !== null) {
      this.next = () => this.act(action, settings);
      return;
    }
    this.#send({ kind: "act", action, settings });
  }

  // Send an image to Python; `use` is called with what it is called there.
  async open(file, use = (image) => this.set({ image, drawing: "" })) {
    if (file.size > this.about.most_bytes) {
      const most = `${this.about.most_bytes / 1e6} MB`;
      this.say(this.t(`${file.name} has more than ${most}.`, `${file.name} 超过 ${most}。`));
      return;
    }
    const bytes = await file.arrayBuffer();
    const send = () => this.#send({ kind: "open", name: file.name || "image.png" }, [bytes]);
    this.opened = use;
    if (this.waiting === null) send();
    else this.next = send;
  }

  #send(content, buffers = []) {
    this.waiting = { number: ++this.number, since: performance.now(), kind: content.kind, settings: { ...content.settings } };
    this.again = false;
    clearTimeout(this.resting);
    this.model.send({ ...content, number: this.number }, undefined, buffers);
  }

  #receive(message, buffers) {
    const content = unpack(message, buffers);
    if (content.kind === "told") {
      this.onTold(content.told);
      return;
    }
    if (content.number !== this.waiting?.number) return;
    const { kind, since, settings } = this.waiting;
    this.waiting = null;
    if (content.kind === "shown" && content.settings && !this.again) this.settings = content.settings;
    // Python goes on while the answer is drawn.
    const next = this.next ?? (this.again ? () => this.ask() : null);
    this.next = null;
    next?.();
    this.say(content.kind === "failed" ? content.error : "");
    if (content.kind === "opened") {
      this.about.images = content.images;
      this.#showSettings();
      this.opened(content.image);
    } else if (content.kind === "shown") {
      // An answer is drawn by the settings that it was computed for: a hand may have changed them since.
      [this.shown, this.shownFor] = [content.shown, content.settings ?? settings];
      if (content.settings) this.#showSettings();
      this.redraw();
      this.#showBeside(content);
    }
    this.root.dataset.answered = content.number;
    this.root.dispatchEvent(new CustomEvent("answered", { detail: { number: content.number, ms: performance.now() - since } }));
    // Lines are looked for when the hand rests: that takes longer than the values alone.
    if (this.waiting === null && kind === "show" && content.kind === "shown" && this.wantsLines() && !content.lines) {
      this.resting = setTimeout(() => {
        if (this.waiting === null) this.#send({ kind: "show", settings: this.settings, lines: true });
      }, REST_MS);
    }
  }

  say(text) {
    write(this.status, text);
    this.status.hidden = !text;
  }

  // Drawing

  redraw() {
    this.frame += 1;
    if (this.shown) this.drawAnswer(this.shown, this.shownFor);
    for (const redraw of this.redraws) redraw();
  }

  // Whether tables are to be written anew: ten times a second while a hand drags, and when it rests. Faster nobody reads,
  // and the browser would arrange the page for each.
  isToBeRead() {
    const now = performance.now(), isDue = this.waiting === null || now - this.read > READ_MS;
    if (isDue) this.read = now;
    return isDue;
  }

  // What the answer has just drawn is not painted a second time.
  #paintOnce(part) {
    const { paint } = part;
    part.paint = (...values) => { part.painted = this.frame; paint.apply(part, values); };
    this.redraws.push(() => { if (part.painted !== this.frame) part.paint(); });
    return part;
  }

  colour(name) {
    if (!this.colours.has(name)) this.colours.set(name, getComputedStyle(this.root).getPropertyValue(`--${name}`).trim());
    return this.colours.get(name);
  }

  // How wide an element is inside. The browser says so when that changes: to ask it at each drawing would have it arrange
  // the page each time.
  widthOf(element) {
    if (!this.widths.has(element)) {
      this.widths.set(element, element.clientWidth);
      this.watch.observe(element);
    }
    return this.widths.get(element);
  }

  #resized(entries) {
    let isNew = false;
    for (const { target } of entries) {
      const width = target.clientWidth;
      isNew ||= width !== this.widths.get(target);
      this.widths.set(target, width);
    }
    if (isNew) this.redraw();
  }

  // A colour by its name here, or as CSS has it.
  ink(colour = "mark") {
    return /^[a-z]+2?$/.test(colour) ? this.colour(colour) : colour;
  }

  // The colour of a value: "grey" from black at low to white at high; "signed" blue below zero, orange above.
  shade(kind, low, high) {
    const span = high - low || 1;
    if (kind === "grey") return (value) => { const g = 255 * (value - low) / span; return [g, g, g]; };
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const middle = this.isDark() ? [29, 33, 40] : [247, 247, 247], below = [38, 105, 190], above = [222, 110, 18];
    return (value) => {
      const share = Math.min(1, Math.abs(value) / most) ** 0.7, end = value < 0 ? below : above;
      return middle.map((from, i) => from + (end[i] - from) * share);
    };
  }

  isDark() {
    return matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // Parts of a lab

  slider(name, { label, min, max, step = 1, show = digits, into = this.controls, log = false }) {
    const out = make("output"), toValue = (x) => (log ? Number((10 ** x).toPrecision(3)) : x);
    const input = make("input", { type: "range", min: log ? Math.log10(min) : min, max: log ? Math.log10(max) : max, step });
    input.addEventListener("input", () => this.set({ [name]: toValue(Number(input.value)) }));
    this.bound.push((settings) => {
      input.value = log ? Math.log10(settings[name]) : settings[name];
      write(out, show(settings[name]));
      input.ariaValueText = out.textContent;
    });
    return this.#row(into, label, input, out);
  }

  choice(name, { label, options, into = this.controls, change = (value) => ({ [name]: value }) }) {
    const input = make("select");
    const list = typeof options === "function" ? options : () => options;
    input.addEventListener("change", () => this.set(change(JSON.parse(input.value))));
    let there = "";
    this.bound.push((settings) => {
      const wanted = JSON.stringify(settings[name]), choices = list(settings).map(([value, text]) => [JSON.stringify(value), text]);
      if (there !== (there = String(choices))) input.replaceChildren(...choices.map(([value, text]) => make("option", { value, textContent: text })));
      if (input.value !== wanted) input.value = wanted;
    });
    return this.#row(into, label, input);
  }

  toggle(name, { label, into = this.controls }) {
    const input = make("input", { type: "checkbox" });
    input.addEventListener("change", () => this.set({ [name]: input.checked }));
    this.bound.push((settings) => { input.checked = settings[name]; });
    const row = make("label", { className: "row toggle" }, input, make("span", { textContent: label }));
    into.append(row);
    return row;
  }

  // A line of text, taken when Enter is pressed or the field is left.
  text(name, { label, into = this.controls, placeholder = "" }) {
    const input = make("input", { type: "text", placeholder, spellcheck: false });
    input.addEventListener("change", () => this.set({ [name]: input.value }));
    this.bound.push((settings) => { if (document.activeElement !== input) input.value = settings[name]; });
    return this.#row(into, label, input);
  }

  button(text, press, { into = this.controls } = {}) {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", press);
    into.append(button);
    return button;
  }

  #row(into, label, ...inside) {
    inside[0].ariaLabel = label;
    const row = make("label", { className: "row" }, make("span", { textContent: label }), ...inside);
    into.append(row);
    return row;
  }

  // A group of controls under a heading.
  group(title, { into = this.controls } = {}) {
    const group = make("fieldset", {}, make("legend", { textContent: title }));
    into.append(group);
    return group;
  }

  // The choice of an image: those that are here, a file, what is dropped or pasted, the camera, and a drawing.
  // `own` are more images to choose from, as options of a choice.
  // `always` keeps the drawing pad open; to draw then chooses the drawing.
  imageChoice({ name = "image", drawing = null, own = [], into = this.controls, label = this.t("image", "图像"), always = false } = {}) {
    const ink = this.t("my drawing", "我的手绘");
    this.choice(name, {
      label, into,
      options: (settings) => [
        ...own,
        ...this.about.images.map((each) => [each, this.t(each, SAMPLES_ZH[each] ?? each)]),
        ...(drawing ? [["drawing", ink]] : []),
        ...(this.about.images.includes(settings[name]) || own.some(([value]) => value === settings[name]) || (drawing && settings[name] === "drawing") ? [] : [[settings[name], settings[name]]]),
      ],
    });
    const take = (file) => this.open(file, (image) => this.set({ [name]: image }));
    const input = make("input", { type: "file", accept: "image/*", className: "hidden", tabIndex: -1 });
    input.addEventListener("change", () => { if (input.files[0]) take(input.files[0]); input.value = ""; });
    const tools = make("div", { className: "tools" });
    this.button(this.t("Open…", "打开…"), () => input.click(), { into: tools });
    this.button(this.t("Camera", "摄像头"), () => this.#camera(take), { into: tools });
    tools.append(input);
    into.append(tools);
    this.stage.addEventListener("dragover", (event) => event.preventDefault());
    this.stage.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
    this.root.addEventListener("paste", (event) => {
      if (event.clipboardData.files[0]) take(event.clipboardData.files[0]);
    });
    if (drawing) this.pad({ name: drawing, into, when: (settings) => always || settings[name] === "drawing", also: always ? { [name]: "drawing" } : {} });
  }

  async #camera(take) {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      this.say(error?.message ?? String(error));
      return;
    }
    const video = make("video", { srcObject: stream, muted: true, playsInline: true });
    const end = () => { stream.getTracks().forEach((track) => track.stop()); box.remove(); };
    const box = make("div", { className: "camera" }, video);
    this.button(this.t("Take it", "拍照"), async () => {
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
      canvas.getContext("2d").drawImage(video, 0, 0);
      const blob = await canvas.convertToBlob({ type: "image/png" });
      end();
      take(new File([blob], "camera.png"));
    }, { into: box });
    this.button(this.t("Close", "关闭"), end, { into: box });
    this.controls.append(box);
    await video.play();
  }

  // A drawing of 28 x 28 px, kept in the settings as "28x28:" and two digits a pixel; `also` is set with it.
  pad({ name = "drawing", into = this.controls, side = 28, when = () => true, label = this.t("draw here", "在此绘画"), also = {} } = {}) {
    const canvas = make("canvas", { width: side, height: side, className: "pad", role: "img", ariaLabel: label });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    const clear = make("button", { type: "button", textContent: this.t("Clear", "清除") });
    const box = make("div", { className: "pad-box" }, canvas, clear);
    let last = null;
    const wipe = () => { pen.fillStyle = "#000"; pen.fillRect(0, 0, side, side); };
    const keep = () => {
      const { data } = pen.getImageData(0, 0, side, side);
      let hex = "";
      for (let i = 0; i < data.length; i += 4) hex += data[i].toString(16).padStart(2, "0");
      this.set({ [name]: `${side}x${side}:${hex}`, ...also });
    };
    const place = (event) => {
      const area = canvas.getBoundingClientRect();
      return [side * (event.clientX - area.left) / area.width, side * (event.clientY - area.top) / area.height];
    };
    const stroke = (to) => {
      pen.strokeStyle = "#fff";
      pen.lineWidth = side / 12;
      pen.lineCap = "round";
      pen.beginPath();
      pen.moveTo(...(last ?? to));
      pen.lineTo(...to);
      pen.stroke();
      last = to;
      keep();
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); last = null; stroke(place(event)); });
    canvas.addEventListener("pointermove", (event) => { if (last) stroke(place(event)); });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { last = null; });
    clear.addEventListener("click", () => { wipe(); keep(); });
    this.bound.push((settings) => {
      box.hidden = !when(settings);
      if (last) return;
      wipe();
      const hex = settings[name].split(":")[1] ?? "";
      if (hex.length !== 2 * side * side) return;
      const picture = pen.createImageData(side, side);
      for (let i = 0; i < side * side; i++) {
        const grey = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
        picture.data.set([grey, grey, grey, 255], 4 * i);
      }
      pen.putImageData(picture, 0, 0);
    });
    into.append(box);
    return box;
  }

  // A grid of free values, shape [rows, columns], each typed, stepped with the arrow keys, or dragged up and down.
  grid({ label, into = this.stage, change, step = 0.1 }) {
    const box = make("div", { className: "grid", role: "group", ariaLabel: label });
    into.append(box);
    let shape = "";
    const draw = ({ shape: [rows, cols], data }) => {
      if (shape !== `${rows}x${cols}`) {
        shape = `${rows}x${cols}`;
        box.style.gridTemplateColumns = `repeat(${cols}, minmax(2.6rem, 4rem))`;
        box.replaceChildren(...Array.from({ length: rows * cols }, (_, i) => this.#cell(i, `${label} ${Math.floor(i / cols)}, ${i % cols}`, step, change)));
      }
      const shade = this.shade("signed", ...extent({ data }));
      [...box.children].forEach((input, i) => {
        if (document.activeElement !== input || input.dataset.dragged) input.value = digits(data[i]);
        const [r, g, b] = shade(data[i]);
        input.style.background = `rgb(${r}, ${g}, ${b})`;
        input.style.color = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#111" : "#fff";
      });
    };
    return { draw, element: box };
  }

  #cell(index, label, step, change) {
    const input = make("input", { type: "number", step, ariaLabel: label });
    input.addEventListener("input", () => { if (Number.isFinite(input.valueAsNumber)) change(index, input.valueAsNumber); });
    input.addEventListener("pointerdown", (down) => {
      const from = input.valueAsNumber || 0;
      const move = (event) => {
        const moved = down.clientY - event.clientY;
        if (!input.dataset.dragged && Math.abs(moved) < 4) return;
        input.dataset.dragged = "yes";
        event.preventDefault();
        change(index, Number((from + Math.round(moved / 4) * step).toFixed(4)));
      };
      const end = () => {
        delete input.dataset.dragged;
        for (const [kind, listener] of [["pointermove", move], ["pointerup", end]]) removeEventListener(kind, listener);
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", end);
    });
    return input;
  }

  // A table of values as cells of colour, with the values in them where there is room.
  matrix(options) {
    const matrix = new Matrix(this, options);
    return this.#paintOnce(matrix);
  }

  // An image with boxes that are dragged.
  board(options) {
    const board = new Board(this, options);
    return this.#paintOnce(board);
  }

  // Lines over x, or bars.
  plot(options) {
    const plot = new Plot(this, options);
    return this.#paintOnce(plot);
  }

  // The frame around a lab

  #frame(root) {
    const { about, t } = this;
    this.stage = make("section", { className: "stage", ariaLabel: t("figure", "图示") });
    this.controls = make("section", { className: "controls", ariaLabel: t("settings", "设置") });
    this.status = make("p", { className: "status", role: "alert", hidden: true });
    this.announce = make("p", { className: "announce", ariaLive: "polite" });
    const parts = [
      ["exercises", t("Exercises", "练习"), this.#exercises()],
      ["formula", t("Formula", "公式"), this.#formula()],
      ["code", t("Code", "代码"), this.#code()],
      ["command", t("Command", "命令"), this.#command()],
    ].filter(([, , inside]) => inside);
    const tabs = make("div", { className: "tabs", role: "tablist" }), panels = [];
    const choose = (name) => {
      for (const [i, [each]] of parts.entries()) {
        tabs.children[i].ariaSelected = String(each === name);
        tabs.children[i].tabIndex = each === name ? 0 : -1;
        panels[i].hidden = each !== name;
      }
      this.beside = name;
      if (name === "code" && !this.linesShown && this.shown) this.ask();
    };
    for (const [i, [name, title, inside]] of parts.entries()) {
      const tab = make("button", { type: "button", role: "tab", textContent: title, data: { part: name } });
      tab.addEventListener("click", () => choose(name));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const to = (i + step + parts.length) % parts.length;
        choose(parts[to][0]);
        tabs.children[to].focus();
      });
      tabs.append(tab);
      panels.push(make("div", { className: "panel", role: "tabpanel", ariaLabel: title, data: { part: name } }, inside));
    }
    const next = make("p", { className: "next" });
    if (about.next.length && this.model.linkTo) {
      next.append(t("What to look at next: ", "接下来看："));
      about.next.forEach((each, i) => next.append(i ? " · " : "", make("a", { href: this.model.linkTo(each.name), textContent: each.title[this.language] })));
    }
    this.root = make("article", { className: "lab", lang: this.language, data: { lab: about.name } },
      make("header", {}, make("h1", { textContent: about.title[this.language] }), make("p", { className: "summary", textContent: about.summary[this.language] })),
      this.status,
      make("div", { className: "body" }, this.stage, this.controls),
      this.announce,
      make("div", { className: "beside" }, tabs, ...panels, next));
    this.root.page = this; // for a console, and for tests
    root.append(this.root);
    choose(parts[0][0]);
  }

  #exercises() {
    if (!this.about.exercises.length) return null;
    this.exercises = this.about.exercises.map((each) => make("li", {}, make("span", { className: "mark", ariaLabel: this.t("not done yet", "未完成") }), each[this.language]));
    return make("ol", { className: "exercises" }, ...this.exercises);
  }

  #formula() {
    if (!this.about.ideas.length) return null;
    return make("div", {},
      make("dl", { className: "formulas" }, ...this.about.ideas.flatMap((idea) => [
        make("dt", {}, idea[this.language].title),
        make("dd", {},
          make("pre", { textContent: idea.formula.replaceAll(/[;,]  /g, "\n") }),
          make("p", { className: "where", textContent: idea[this.language].where }),
          make("p", { className: "soft", textContent: `${idea.source} · twofold show ${idea.name}` })),
      ])),
      make("p", { className: "soft", textContent: this.t("Σ: the sum; ←: becomes; ∂L/∂x: how fast L changes when x does.", "Σ：求和；←：变为；∂L/∂x：x 变化时 L 变化的快慢。") }));
  }

  #code() {
    if (!this.about.code.length) return null;
    this.code = new Map(this.about.code.map((each) => [each.name, each]));
    return make("div", {}, ...this.about.code.map((each) => {
      each.rows = each.lines.map((line, i) => make("span", { className: "line", data: { line: each.first + i }, textContent: `${line}\n` }));
      each.box = make("details", { open: each === this.about.code[0] }, make("summary", { textContent: `${each.file}:${each.first}  ${each.name.split(":")[1]}` }), make("pre", {}, ...each.rows));
      return each.box;
    }));
  }

  #command() {
    const part = (title) => {
      const text = make("pre"), copy = make("button", { type: "button", textContent: this.t("Copy", "复制") });
      copy.addEventListener("click", () => navigator.clipboard.writeText(text.textContent));
      return [text, make("div", { className: "command" }, make("div", { className: "head" }, make("span", { textContent: title }), copy), text)];
    };
    const [shell, shellBox] = part(this.t("in a shell: the same values", "在终端中：得到同样的数值"));
    const [python, pythonBox] = part("Python");
    Object.assign(this, { shell, python });
    return make("div", {}, shellBox, pythonBox);
  }

  wantsLines() {
    return this.beside === "code";
  }

  #showBeside({ done, command, lines }) {
    this.exercises?.forEach((item, i) => {
      if (done[i]) item.dataset.done = "yes"; // done once is done
      item.firstChild.ariaLabel = item.dataset.done ? this.t("done", "已完成") : this.t("not done yet", "未完成");
    });
    write(this.shell, command.shell);
    write(this.python, command.python);
    this.linesShown = Boolean(lines);
    if (!lines) return;
    for (const [name, { rows, box }] of this.code) {
      const ran = new Set(lines[name] ?? []);
      for (const row of rows) row.classList.toggle("ran", ran.has(Number(row.dataset.line)));
      box.classList.toggle("idle", !ran.size);
    }
    // What runs now is seen: if none of the open functions ran, the first that did opens.
    const running = Object.keys(lines).filter((name) => lines[name].length).join();
    if (running === this.running) return;
    this.running = running;
    const ran = [...this.code.values()].filter(({ box }) => !box.classList.contains("idle"));
    if (ran.length && !ran.some(({ box }) => box.open)) ran[0].box.open = true;
  }

  start() {
    this.model.on("msg:custom", (message, buffers) => this.#receive(message, buffers));
    this.model.on("change:settings", () => {
      const next = { ...this.about.defaults, ...this.model.get("settings") };
      if (JSON.stringify(next) === JSON.stringify(this.settings)) return;
      this.#take(next);
      this.ask();
    });
    this.widthOf(this.stage);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.theme.addEventListener("change", this.onTheme = () => { this.colours.clear(); this.redraw(); });
    this.#take(this.settings);
    this.ask();
  }

  close() {
    clearTimeout(this.resting);
    this.watch.disconnect();
    this.theme.removeEventListener("change", this.onTheme);
    this.onClose?.();
  }
}

class Matrix {
  // `point(row, col)` is called with the cell under the pointer or chosen by keys, and with null as it leaves; `press`
  // with one that is pressed.
  constructor(page, { label, kind = "signed", point, press, leave = true, into = page.stage, largest = 34, caption = true, height = 420 }) {
    Object.assign(this, { page, label, kind, point, press, largest, height });
    this.canvas = make("canvas", { role: "img", ariaLabel: label });
    this.title = make("figcaption", { textContent: label });
    this.element = make("figure", { className: "matrix" }, ...(caption ? [this.title] : []), this.canvas);
    into.append(this.element);
    this.cell = null;
    if (!point && !press) return;
    this.canvas.tabIndex = 0;
    this.canvas.style.touchAction = "none";
    this.canvas.addEventListener("pointermove", (event) => this.#move(this.#under(event)));
    this.canvas.addEventListener("pointerdown", (event) => { const cell = this.#under(event); this.#move(cell); if (cell) press?.(...cell); });
    if (leave) this.canvas.addEventListener("pointerleave", () => this.#move(null));
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!this.values || (!step && event.key !== "Enter")) return;
      event.preventDefault();
      const [rows, cols] = this.values.shape, [row, col] = this.cell ?? [0, -1];
      if (step) this.#move([Math.max(0, Math.min(rows - 1, row + step[0])), Math.max(0, Math.min(cols - 1, col + step[1]))]);
      else if (this.cell) press?.(...this.cell);
    });
  }

  #under(event) {
    if (!this.values) return null;
    const area = this.canvas.getBoundingClientRect(), [rows, cols] = this.values.shape;
    const row = Math.floor(rows * (event.clientY - area.top) / area.height), col = Math.floor(cols * (event.clientX - area.left) / area.width);
    return row >= 0 && col >= 0 && row < rows && col < cols ? [row, col] : null;
  }

  #move(cell) {
    if (String(cell) === String(this.cell)) return;
    this.cell = cell;
    if (cell) this.page.announce.textContent = `${this.label}: ${cell.join(", ")} = ${digits(at(this.values, ...cell))}`;
    this.point?.(cell);
  }

  // `values` is an array [rows, cols], or [3, rows, cols] in colour; `marks` are {row, col, rows, cols, colour}, or
  // {cells: [[row, col], …], colour}; `faint` says of a cell that it is not of the image.
  draw(values, { range, marks = [], faint = null, title, kind } = {}) {
    if (values.shape.length === 3) this.planes = values;
    else this.planes = null;
    Object.assign(this, { values: this.planes ? at(values, 0) : values, range, marks, faint, kind: kind ?? this.kind });
    if (title !== undefined) write(this.title, title);
    this.paint();
  }

  paint() {
    if (!this.values) return;
    const [rows, cols] = this.values.shape, ratio = devicePixelRatio || 1;
    const room = this.page.widthOf(this.element.parentElement) || 300, width = Math.min(room, this.room ?? room);
    const side = Math.max(1, Math.min(this.largest, width / cols, this.height / rows)), unit = Math.max(1, Math.floor(side * ratio));
    const pen = cleared(this.canvas, unit * cols / ratio, unit * rows / ratio), [low, high] = this.range ?? extent(this.planes ?? this.values);
    const shade = this.page.shade(this.kind, low, high), { data } = this.values;
    pen.setTransform(1, 0, 0, 1, 0, 0); // cells are whole pixels of the screen
    const picture = new ImageData(cols, rows);
    for (let i = 0; i < data.length; i++) {
      const colour = this.planes ? [0, 1, 2].map((c) => shade(at(this.planes, c).data[i])[0]) : shade(data[i]);
      picture.data.set([...colour, this.faint?.(Math.floor(i / cols), i % cols) ? 70 : 255], 4 * i);
    }
    const small = new OffscreenCanvas(cols, rows);
    small.getContext("2d").putImageData(picture, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
    if (side >= 26 && !this.planes) this.#write(pen, unit, shade);
    for (const mark of this.marks) {
      pen.strokeStyle = this.page.colour(mark.colour ?? "mark");
      pen.lineWidth = Math.max(2, 2 * ratio);
      const boxes = mark.cells?.map(([row, col]) => [row, col, 1, 1]) ?? [[mark.row, mark.col, mark.rows ?? 1, mark.cols ?? 1]];
      for (const [row, col, high_, wide] of boxes) pen.strokeRect(col * unit + 1, row * unit + 1, wide * unit - 2, high_ * unit - 2);
    }
  }

  #write(pen, unit, shade) {
    const [, cols] = this.values.shape, most = Math.max(...extent(this.values).map(Math.abs));
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.font = `${Math.round(unit * 0.34)}px system-ui, sans-serif`;
    this.values.data.forEach((value, i) => {
      const [r, g, b] = shade(value);
      pen.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#111" : "#fff";
      pen.fillText(digits(Math.abs(value) < 1e-6 * most ? 0 : value, 2), (i % cols + 0.5) * unit, (Math.floor(i / cols) + 0.5) * unit, unit - 2);
    });
  }
}

// An image with boxes on it, some of which are moved and resized: by their middle, edges and corners, or with the arrow
// keys (with Shift their right and lower edge; Enter goes to the next). `change(name, corners)` is called with whole
// pixels; `press(x, y, name)` where nothing is dragged; `point(name)` with the box under the pointer, or null; `step(rows,
// columns)` with the arrow keys where there is nothing to drag.
class Board {
  constructor(page, { label, into = page.stage, change, press, point, step, height = 460 }) {
    Object.assign(this, { page, label, change, press, point, step, height, boxes: [], active: null });
    this.canvas = make("canvas", { role: "img", ariaLabel: label, tabIndex: 0, style: { touchAction: "none" } });
    this.title = make("figcaption", { textContent: label });
    this.element = make("figure", { className: "board" }, this.title, this.canvas);
    into.append(this.element);
    const where = (event) => {
      const area = this.canvas.getBoundingClientRect();
      return [(event.clientX - area.left) / area.width * this.width, (event.clientY - area.top) / area.height * this.height_];
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (!this.width) return;
      const place = where(event), hit = this.#grab(...place, event.pointerType === "touch" ? 16 : 9);
      if (!hit) { press?.(...place, this.#under(...place)); return; }
      this.canvas.setPointerCapture(event.pointerId);
      this.held = { ...hit, from: place, corners: [...hit.box.corners] };
      this.active = hit.box.name;
      this.paint();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.width) return;
      const place = where(event);
      if (this.held) this.#change(this.held.box.name, this.held.corners, this.held.sides, place[0] - this.held.from[0], place[1] - this.held.from[1]);
      else {
        this.canvas.style.cursor = this.#cursor(this.#grab(...place, 9));
        this.#look(this.#under(...place));
      }
    });
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => { this.held = null; });
    this.canvas.addEventListener("pointerleave", () => this.#look(null));
    this.canvas.addEventListener("keydown", (event) => {
      const [x, y] = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key] ?? [0, 0];
      const dragged = this.boxes.filter((box) => box.drag), at_ = dragged.findIndex((box) => box.name === this.active);
      if (!x && !y && event.key !== "Enter") return;
      event.preventDefault();
      if (!dragged.length) { if (x || y) this.step?.(y, x); return; }
      if (event.key === "Enter" || at_ < 0) {
        const next = dragged[event.key === "Enter" ? (at_ + 1) % dragged.length : 0];
        this.active = next.name;
        this.#tell(next.name, next.corners);
        this.paint();
        if (event.key === "Enter") return;
      }
      const box = dragged.find((each) => each.name === this.active);
      this.#change(box.name, box.corners, event.shiftKey ? [false, false, x !== 0, y !== 0] : [], x, y);
    });
  }

  #tell(name, corners) { this.page.announce.textContent = `${this.label}, ${name}: ${corners.map((side) => digits(side)).join(", ")}`; }

  #look(name) {
    if (name === this.looked) return;
    this.looked = name;
    this.point?.(name);
  }

  // Which box a press takes, and which of its sides: left, top, right, bottom; none of them moves all.
  #grab(x, y, reach) {
    const near = reach / this.unit;
    const order = this.boxes.filter((box) => box.drag).sort((a, b) => (b.name === this.active) - (a.name === this.active));
    let inside = null;
    for (const box of order) {
      const [x1, y1, x2, y2] = box.corners, nearX = Math.min(near, (x2 - x1) / 3), nearY = Math.min(near, (y2 - y1) / 3);
      if (x < x1 - near || x > x2 + near || y < y1 - near || y > y2 + near) continue;
      const sides = [x < x1 + nearX, y < y1 + nearY, x > x2 - nearX, y > y2 - nearY];
      if (sides.some(Boolean)) return { box, sides };
      if (!inside || box.name === this.active) inside = { box, sides: [] };
    }
    return inside;
  }

  #cursor(hit) {
    if (!hit) return this.press ? "pointer" : "default";
    const [left, top, right, bottom] = hit.sides;
    if ((left && top) || (right && bottom)) return "nwse-resize";
    if ((right && top) || (left && bottom)) return "nesw-resize";
    return left || right ? "ew-resize" : top || bottom ? "ns-resize" : "move";
  }

  #change(name, corners, sides, dx, dy) {
    const limit = (value, low, high) => Math.max(low, Math.min(high, value)), { width, height_: height } = this;
    let [x1, y1, x2, y2] = corners;
    if (!sides.some(Boolean)) {
      const right = limit(Math.round(dx), -x1, width - x2), down = limit(Math.round(dy), -y1, height - y2);
      [x1, y1, x2, y2] = [x1 + right, y1 + down, x2 + right, y2 + down];
    } else {
      if (sides[0]) x1 = limit(Math.round(x1 + dx), 0, x2 - 1);
      if (sides[1]) y1 = limit(Math.round(y1 + dy), 0, y2 - 1);
      if (sides[2]) x2 = limit(Math.round(x2 + dx), x1 + 1, width);
      if (sides[3]) y2 = limit(Math.round(y2 + dy), y1 + 1, height);
    }
    const next = [x1, y1, x2, y2], box = this.boxes.find((each) => each.name === name);
    if (box && String(next) === String(box.corners)) return;
    if (box) box.corners = next; // the next key counts from here, whether or not the answer has come
    this.#tell(name, next);
    this.change?.(name, next);
  }

  // The smallest box that has a name around a place.
  #under(x, y) {
    const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
    const around = this.boxes.filter(({ name, corners: [x1, y1, x2, y2] }) => name !== undefined && x >= x1 && x <= x2 && y >= y1 && y <= y2);
    return around.sort((a, b) => area(a.corners) - area(b.corners))[0]?.name ?? null;
  }

  // `picture` is an array [1 or 3, rows, columns] of bytes; `boxes` are {corners, colour, name?, text?, fill?: 0 to 1,
  // dash?, thick?, drag?, faint?}; `grid` is [rows, columns] of lines over the image. All in pixels of the image.
  draw({ picture, boxes, grid = null, title }) {
    const [, rows, columns] = picture.shape;
    if (this.held) for (const box of boxes) if (box.name === this.held.box.name) this.held.box = box;
    Object.assign(this, { picture, boxes, grid, width: columns, height_: rows });
    if (title !== undefined) write(this.title, title);
    this.paint();
  }

  paint() {
    if (!this.picture) return;
    const { width, height_: height, picture: { data, shape } } = this;
    const room = this.page.widthOf(this.element.parentElement) || 300, unit = Math.max(0.2, Math.min(room / width, this.height / height));
    this.unit = unit;
    const pixels = new ImageData(width, height), count = width * height;
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = data[i + (shape[0] === 3 ? c * count : 0)];
      pixels.data[4 * i + 3] = 255;
    }
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(pixels, 0, 0);
    const pen = cleared(this.canvas, unit * width, unit * height);
    pen.imageSmoothingEnabled = width > 64;
    pen.drawImage(small, 0, 0, unit * width, unit * height);
    if (this.grid) {
      const [rows, columns] = this.grid;
      pen.strokeStyle = "rgba(127, 127, 127, .8)";
      pen.beginPath();
      for (let i = 1; i < rows; i++) { pen.moveTo(0, i / rows * unit * height); pen.lineTo(unit * width, i / rows * unit * height); }
      for (let j = 1; j < columns; j++) { pen.moveTo(j / columns * unit * width, 0); pen.lineTo(j / columns * unit * width, unit * height); }
      pen.stroke();
    }
    for (const box of this.boxes) this.#outline(pen, box, unit);
    for (const box of this.boxes) this.#name(pen, box, unit);
  }

  #outline(pen, box, unit) {
    const [x, y, x2, y2] = box.corners.map((side) => side * unit), colour = this.page.ink(box.colour);
    pen.globalAlpha = box.faint ? 0.45 : 1;
    if (box.fill) {
      const whole = pen.globalAlpha;
      pen.globalAlpha = box.fill;
      pen.fillStyle = colour;
      pen.fillRect(x, y, x2 - x, y2 - y);
      pen.globalAlpha = whole;
    }
    pen.setLineDash(box.dash ? [5, 4] : []);
    if (box.thick !== 0) {
      // A dark line under each, so that it is seen on any image.
      for (const [style, wide] of [["rgba(0, 0, 0, .45)", 2], [colour, 0]]) {
        pen.strokeStyle = style;
        pen.lineWidth = (box.thick ?? 2) + wide;
        pen.strokeRect(x, y, x2 - x, y2 - y);
      }
    }
    pen.setLineDash([]);
    if (box.drag) {
      pen.fillStyle = colour;
      const side = box.name === this.active ? 9 : 6;
      for (const [cx, cy] of [[x, y], [x2, y], [x, y2], [x2, y2]]) pen.fillRect(cx - side / 2, cy - side / 2, side, side);
    }
    pen.globalAlpha = 1;
  }

  #name(pen, box, unit) {
    if (!box.text) return;
    const [x, y] = box.corners.map((side) => side * unit);
    pen.font = "600 12px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    const wide = pen.measureText(box.text).width + 8, left = Math.max(0, Math.min(x, unit * this.width - wide)), top = Math.max(0, Math.min(y >= 18 ? y - 18 : y, unit * this.height_ - 17));
    pen.globalAlpha = box.faint ? 0.6 : 0.92;
    pen.fillStyle = this.page.ink(box.colour);
    pen.fillRect(left, top, wide, 17);
    pen.globalAlpha = 1;
    pen.fillStyle = this.page.isDark() && !box.colour.startsWith("#") ? "#101216" : "#fff";
    pen.fillText(box.text, left + 4, top + 9);
  }
}

export const SERIES = ["#c2410c", "#1d6fb8", "#2f7d32", "#8b5cd6", "#c02560", "#a07a08", "#0f8a8a", "#777777"];

class Plot {
  constructor(page, { label, x = "", y = "", into = page.stage, height = 180, log = false, bars = false, press }) {
    Object.assign(this, { page, x, y, height, log, bars });
    this.canvas = make("canvas", { role: "img", ariaLabel: label });
    this.key = make("p", { className: "key" });
    this.title = make("figcaption", { textContent: label });
    this.element = make("figure", { className: "plot" }, this.title, this.canvas, this.key);
    into.append(this.element);
    if (!press) return;
    const where = (event) => { const area = this.canvas.getBoundingClientRect(); press(this.toX(event.clientX - area.left)); };
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); where(event); });
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons) where(event); });
  }

  // `series` are {name, y: values, x: values?}; `at` an x to mark; `range` the lowest and highest y.
  draw(series, { at: cursor = null, range = null, title, xRange = null } = {}) {
    Object.assign(this, { series, cursor, range, xRange });
    if (title !== undefined) write(this.title, title);
    this.paint();
  }

  paint() {
    if (!this.series) return;
    const width = Math.max(160, this.page.widthOf(this.element)), { height } = this, pen = cleared(this.canvas, width, height);
    const series = this.series.map((each) => ({ ...each, x: each.x ?? Array.from(each.y, (_, i) => i) }));
    const value = (y) => (this.log ? Math.log10(Math.max(y, 1e-12)) : y);
    const finite = series.flatMap((each) => Array.from(each.y, value)).filter(Number.isFinite);
    let [low, high] = this.range ?? [Math.min(...finite, this.bars ? 0 : Infinity), Math.max(...finite)];
    if (!(high > low)) [low, high] = [(low || 0) - 0.5, (low || 0) + 0.5];
    const xs = series.flatMap((each) => [each.x[0], each.x[each.x.length - 1]]).filter(Number.isFinite);
    const [first, last] = this.xRange ?? [Math.min(...xs, Infinity), Math.max(...xs, -Infinity)];
    const span = last > first ? last - first : 1, left = 52, bottom = 30, top = 8, right = 10;
    const px = (x) => left + (x - first) / span * (width - left - right), py = (y) => top + (high - value(y)) / (high - low) * (height - top - bottom);
    this.toX = (place) => first + (place - left) / (width - left - right) * span;
    pen.font = "12px system-ui, sans-serif";
    pen.strokeStyle = this.page.colour("line");
    pen.fillStyle = this.page.colour("soft");
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      const y = low + share * (high - low), place = top + (1 - share) * (height - top - bottom);
      pen.beginPath(); pen.moveTo(left, place); pen.lineTo(width - right, place); pen.stroke();
      if (Number.isFinite(y)) pen.fillText(this.log ? digits(Number((10 ** y).toPrecision(2)), 6) : digits(y), left - 6, place);
    }
    pen.textBaseline = "top";
    for (const [x, align] of [[first, "left"], [last, "right"]]) { pen.textAlign = align; if (Number.isFinite(x)) pen.fillText(digits(x, 2), px(x), height - bottom + 6); }
    pen.textAlign = "center";
    pen.fillText(this.x, (left + width - right) / 2, height - bottom + 12);
    series.forEach((each, i) => {
      pen.strokeStyle = pen.fillStyle = each.colour ?? SERIES[i % SERIES.length];
      pen.lineWidth = 2;
      if (this.bars) {
        const wide = (width - left - right) / each.y.length;
        pen.globalAlpha = 0.6;
        each.y.forEach((y, j) => pen.fillRect(left + j * wide, py(y), Math.max(1, wide - 1), py(0) - py(y)));
        pen.globalAlpha = 1;
        return;
      }
      pen.beginPath();
      each.y.forEach((y, j) => { if (Number.isFinite(y)) pen.lineTo(px(each.x[j]), Math.max(-20, Math.min(height + 20, py(y)))); });
      pen.stroke();
      if (each.y.length === 1) { pen.beginPath(); pen.arc(px(each.x[0]), py(each.y[0]), 3, 0, 7); pen.fill(); }
    });
    if (this.cursor !== null) {
      pen.strokeStyle = this.page.colour("mark");
      pen.beginPath(); pen.moveTo(px(this.cursor), top); pen.lineTo(px(this.cursor), height - bottom); pen.stroke();
    }
    this.key.replaceChildren(...(series.length > 1 || series[0]?.name ? series : []).map((each, i) => make("span", {}, make("i", { style: { background: each.colour ?? SERIES[i % SERIES.length] } }), each.name ?? "")));
  }
}
