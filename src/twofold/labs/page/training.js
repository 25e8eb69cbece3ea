import { at, cleared, digits, extent, lab, make } from "./kit.js";

const ASK_MS = 1000; // while a run goes, exercises and command are asked for so often
const ENDED = ["finished", "stopped", "diverged", "failed"];

export default lab((page) => {
  const { t, about } = page;

  // Settings
  const networks = { "lenet-bn": t("LeNet, batch norm, ReLU", "LeNet，批量归一化、ReLU"), lenet: t("LeNet, sigmoids", "LeNet，sigmoid"),
    "lenet-wide": t("LeNet, three times as wide", "LeNet，三倍宽"), "lenet-narrow": t("LeNet, half as wide", "LeNet，一半宽"),
    sprint: "Sprint", "resnet18-narrow": t("ResNet-18, an eighth as wide", "ResNet-18，八分之一宽") };
  const rules = { sgd: "SGD", momentum: t("momentum", "动量"), nesterov: "Nesterov", adagrad: "AdaGrad", rmsprop: "RMSProp", adadelta: "AdaDelta", adam: "Adam", adamw: "AdamW" };
  const schedules = { constant: t("constant", "不变"), step: t("in steps", "阶梯"), power: t("power", "幂次"), exponential: t("exponential", "指数"),
    "one-cycle": t("one cycle", "单周期"), "warmup-cosine": t("warm-up, cosine", "预热加余弦") };
  const augments = { none: t("none", "无"), flip: t("mirror", "镜像"), crop: t("shift and mirror", "平移与镜像") };
  const pairs = (names) => Object.entries(names);

  const live = page.group(t("may change while it runs", "运行中可改"));
  page.choice("rule", { into: live, label: t("rule", "更新规则"), options: pairs(rules), change: (rule) => ({ rule, lr: null }) });
  const rate = rateSlider(page, live);
  const tools = make("div", { className: "tools" });
  live.append(tools);
  page.button(t("half the rate", "学习率减半"), () => page.set({ lr: short(rate() / 2) }), { into: tools });
  page.button(t("twice the rate", "学习率加倍"), () => page.set({ lr: short(rate() * 2) }), { into: tools });
  page.choice("weight_decay", { into: live, label: t("weight decay", "权重衰减"), options: ({ weight_decay }) => [[null, t("the rule's own", "规则默认")],
    ...[...new Set([0, 0.0001, 0.0005, 0.001, 0.01, 0.1, ...(weight_decay === null ? [] : [weight_decay])])].sort((a, b) => a - b).map((each) => [each, String(each)])] });
  page.choice("batch_size", { into: live, label: t("batch size", "批量大小"), options: ({ batch_size }) =>
    [...new Set([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, batch_size])].sort((a, b) => a - b).map((each) => [each, String(each)]) });
  page.slider("epochs", { into: live, label: t("epochs", "轮数"), min: 1, max: 50 });
  const kept = page.group(t("as the run begins", "开始后不变"));
  page.choice("network", { into: kept, label: t("network", "网络"), options: pairs(networks), change: (network) => ({ network, layer: "" }) });
  const data = page.choice("data", { into: kept, label: t("data", "数据"), options: about.data_sets.map((each) => [each, each]), change: (name) => ({ data: name, layer: "" }) });
  data.hidden = about.data_sets.length < 2;
  const size = page.choice("image_size", { into: kept, label: t("image size", "图像大小"), options: [[null, t("its own", "原大小")], ...[28, 32, 48, 64, 96, 128].map((each) => [each, `${each} px`])] });
  size.hidden = data.hidden;
  page.choice("schedule", { into: kept, label: t("schedule", "学习率调度"), options: pairs(schedules) });
  page.choice("augment", { into: kept, label: t("augmentation", "数据增广"), options: pairs(augments) });
  page.slider("seed", { into: kept, label: t("seed", "随机种子"), min: 0, max: 20 });
  const looked = page.group(t("what is looked at", "观察什么"));
  page.choice("layer", { into: looked, label: t("layer", "层"), options: () => (page.shown?.layers ?? []).map((each, i) => [each.name === page.shown.layers[0].name ? "" : each.name, layerName(each, i)]) });
  page.imageChoice({ into: looked });

  // Figure
  const across = () => { const box = make("div", { className: "across" }); page.stage.append(box); return box; };
  const bar = across(), buttons = make("div", { className: "tools" }), line = make("p", { className: "sum" }), words = make("p", { className: "soft", ariaLive: "polite" });
  bar.append(buttons, line, words);
  const go = page.button("", () => page.act(page.shown.state === "running" ? "pause" : "start"), { into: buttons });
  go.className = "main";
  const step = page.button(t("One step", "一步"), () => page.act("step"), { into: buttons });
  const stop = page.button(t("Stop and save", "停止并保存"), () => page.act("stop"), { into: buttons });
  const losses = page.plot({ label: t("loss of the steps", "每步的损失"), x: t("step", "步"), log: true });
  const scores = page.plot({ label: t("accuracy after each epoch", "每轮后的准确率"), x: t("epoch", "轮") });
  const changes = make("ul", { className: "soft changes", style: { margin: "0", paddingLeft: "1.2rem" } });
  across().append(changes);
  const kernels = new Tiles(page, { label: t("kernels of the first layer", "第一层的卷积核"), name: t("kernel", "核"), kind: "signed" });
  const input = page.matrix({ label: t("the image", "图像"), kind: "grey", height: 130 });
  const maps = new Tiles(page, { label: t("feature maps", "特征图"), name: t("map", "图"), kind: "signed" });
  const says = make("p", { className: "sum" });
  input.element.append(says);
  const table = new Layers(page, across(), layerName);

  const codePanel = page.root.querySelector('.panel[data-part="code"]');
  codePanel?.prepend(make("p", { className: "soft", textContent: t(
    "What trains here is the engine, with torch's operations; this is the readable form of the same steps. None of its lines has run, so none is marked. That both compute the same is what twofold verify checks; with --form scratch, twofold train takes the layers, the loss and the update from twofold.scratch.",
    "这里由引擎用 torch 的运算进行训练；下面是同样步骤的易读形式，其代码并未在此运行，因此没有标记任何一行。twofold verify 检验两者的计算结果相同；给 twofold train 加上 --form scratch，层、损失与更新就由 twofold.scratch 的代码计算。") }));

  function layerName({ kind, out, kernel }, i) {
    return kind === "conv" ? `${i + 1} ${t("conv", "卷积")} ${kernel.join("×")}, ${out}` : `${i + 1} ${t("dense", "全连接")}, ${out}`;
  }

  // What is told while a run goes is drawn at once.
  let asked = 0;
  page.onTold = (told) => {
    const isNew = told.state !== page.shown?.state;
    page.shown = told;
    page.redraw();
    if (isNew || performance.now() - asked > ASK_MS) {
      asked = performance.now();
      page.ask();
    }
  };

  const states = { ready: t("not begun", "尚未开始"), starting: t("loading the images", "正在加载图像"), running: t("training", "训练中"), paused: t("paused", "已暂停"),
    finished: t("finished", "已完成"), stopped: t("stopped and saved", "已停止并保存"), diverged: t("the loss exploded", "损失爆炸"), failed: t("it failed", "失败") };
  const goes = { running: t("Pause", "暂停"), paused: t("Go on", "继续") };
  const names = { optimizer: t("rule", "规则"), lr: t("learning rate", "学习率"), batch_size: t("batch size", "批量大小"), epochs: t("epochs", "轮数"), weight_decay: t("weight decay", "权重衰减"), momentum: t("momentum", "动量") };

  return (shown, settings) => {
    const { state, inside } = shown, has_ended = ENDED.includes(state), is_going = ["starting", "running", "paused"].includes(state);
    go.textContent = goes[state] ?? (has_ended ? t("New run", "新的训练") : t("Start", "开始"));
    go.disabled = state === "starting";
    step.disabled = state === "starting" || state === "running";
    stop.disabled = !is_going;
    for (const each of kept.querySelectorAll("select, input")) each.disabled = is_going;
    const facts = [states[state], `${t("step", "步")} ${shown.step}`, `${t("epoch", "轮")} ${shown.epoch.toFixed(2)} / ${settings.epochs}`];
    if (shown.step) facts.push(`${t("loss", "损失")} ${digits(shown.last_loss)}`, `${t("rate", "学习率")} ${short(shown.lr)}`);
    line.textContent = facts.join(" · ");
    words.textContent = shown.error || (shown.run ? `${t("run folder", "运行文件夹")}: ${shown.run}` :
      t(`Each epoch is ${shown.steps_per_epoch} steps. The run will be a folder in runs/.`, `每轮 ${shown.steps_per_epoch} 步。训练会保存为 runs/ 下的一个文件夹。`));
    const changed = shown.changes.at(-1);
    losses.draw([{ name: t("loss", "损失"), y: shown.losses.loss.data ?? [], x: shown.losses.step.data ?? [] }], { at: changed?.step ?? null, xRange: shown.step ? null : [0, shown.steps_per_epoch],
      title: changed ? t("loss of the steps; the line is the last change", "每步的损失；竖线为最近一次改动") : t("loss of the steps", "每步的损失") });
    const epochs = shown.epochs.map((each) => each.epoch), of = (name) => shown.epochs.map((each) => each[name] ?? NaN);
    scores.draw([{ name: t("training, during the epoch", "训练（该轮过程中）"), y: of("train"), x: epochs }, { name: t("validation, after it", "验证（该轮之后）"), y: of("val"), x: epochs }],
      { xRange: [1, Math.max(2, settings.epochs)], range: epochs.length ? null : [0, 1] });
    changes.hidden = !shown.changes.length;
    changes.replaceChildren(...shown.changes.map(({ step: from, was, now }) => make("li", { textContent:
      `${t(`from step ${from} on`, `第 ${from} 步之后`)}: ${Object.keys(now).map((name) => `${names[name] ?? name} ${value(was[name])} → ${value(now[name])}`).join(", ")}` })));
    table.draw(shown.layers, inside.layer, shown.looked_at);
    kernels.element.hidden = !inside.kernels;
    if (inside.kernels) kernels.draw(planes(inside.kernels), extent(inside.kernels));
    input.draw(inside.input.shape[0] === 3 ? inside.input : at(inside.input, 0), { range: [0, 1] });
    says.replaceChildren(...inside.says.flatMap(({ name, share }) => [`${name} ${(100 * share).toFixed(0)} %`, make("br")]));
    const place = shown.layers.findIndex((each) => each.name === inside.layer), count = inside.maps.shape[0];
    maps.draw(Array.from({ length: count }, (_, i) => at(inside.maps, i)), extent(inside.maps),
      `${t("what the image gives in layer", "图像在该层的输出：")} ${layerName(shown.layers[place], place)}${count < inside.num_maps ? t(`, the first ${count}`, `，前 ${count} 个`) : ""}`);
    for (const show of page.bound) show(settings);
  };
});

const short = (number) => Number(number.toPrecision(3));
const value = (each) => (typeof each === "number" ? short(each) : each === null ? "–" : String(each));

// A slider of the learning rate: that of the rule, while none is set. Returns what gives the rate.
function rateSlider(page, into) {
  const label = page.t("learning rate", "学习率"), out = make("output");
  const input = make("input", { type: "range", min: -5, max: 3, step: 0.05, ariaLabel: label });
  const now = () => page.settings.lr ?? page.about.rates[page.settings.rule];
  input.addEventListener("input", () => page.set({ lr: short(10 ** Number(input.value)) }));
  page.bound.push(() => {
    if (document.activeElement !== input || Math.abs(10 ** Number(input.value) / now() - 1) > 0.07) input.value = Math.log10(now());
    out.textContent = input.ariaValueText = String(short(now()));
  });
  into.append(make("label", { className: "row" }, make("span", { textContent: label }), input, out));
  return now;
}

// Kernels (out, in, rows, columns) as pictures: a colour kernel as three side by side, of more channels the first four.
function planes(array) {
  const [count, channels] = array.shape;
  return Array.from({ length: count }, (_, i) => Array.from({ length: Math.min(channels, channels === 3 ? 3 : 4) }, (_, j) => at(array, i, j))).flat();
}

// Many small pictures of one size in one canvas; one is chosen by pointer or arrow keys, and its range is said.
class Tiles {
  constructor(page, { label, name, kind }) {
    Object.assign(this, { page, label, name, kind, chosen: null });
    this.canvas = make("canvas", { role: "img", ariaLabel: label, tabIndex: 0 });
    this.title = make("figcaption", { textContent: label });
    this.says = make("figcaption", { style: { minHeight: "1.4em" } });
    this.element = make("figure", { style: { flex: "1 1 14rem", minWidth: "0" } }, this.title, this.canvas, this.says);
    page.stage.append(this.element);
    page.redraws.push(() => this.paint());
    this.canvas.addEventListener("pointermove", (event) => {
      const area = this.canvas.getBoundingClientRect();
      const place = Math.floor((event.clientY - area.top) / area.height * this.rows) * this.columns + Math.floor((event.clientX - area.left) / area.width * this.columns);
      this.#choose(place);
    });
    this.canvas.addEventListener("pointerleave", () => this.#choose(null));
    this.canvas.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns }[event.key];
      if (!move) return;
      event.preventDefault();
      this.#choose(Math.max(0, Math.min(this.tiles.length - 1, (this.chosen ?? -move) + move)));
    });
  }

  #choose(place) {
    if (place !== null && !this.tiles?.[place]) return;
    this.chosen = place;
    this.paint();
    if (place !== null) this.page.announce.textContent = this.says.textContent;
  }

  draw(tiles, range, title) {
    Object.assign(this, { tiles, range });
    if (title) this.title.textContent = title;
    if (this.chosen >= tiles.length) this.chosen = null;
    this.paint();
  }

  paint() {
    if (!this.tiles?.length) return;
    const [rows, columns] = this.tiles[0].shape, ratio = devicePixelRatio || 1, room = Math.max(120, this.page.widthOf(this.element)), count = this.tiles.length;
    const goal = Math.max(10, Math.min(74, Math.sqrt(room * 190 / count) - 4)); // together about 190 px high
    const unit = Math.max(1, Math.floor(goal * ratio / columns)), gap = Math.round(3 * ratio), wide = unit * columns + gap, high = unit * rows + gap;
    this.columns = Math.max(1, Math.min(count, Math.floor(room * ratio / wide)));
    this.rows = Math.ceil(count / this.columns);
    this.columns = Math.ceil(count / this.rows);
    const pen = cleared(this.canvas, this.columns * wide / ratio, this.rows * high / ratio), shade = this.page.shade(this.kind, ...this.range);
    pen.setTransform(1, 0, 0, 1, 0, 0); // in pixels of the screen
    pen.imageSmoothingEnabled = false;
    const small = new OffscreenCanvas(columns, rows), inner = small.getContext("2d"), picture = new ImageData(columns, rows);
    this.tiles.forEach(({ data }, i) => {
      for (let j = 0; j < data.length; j++) picture.data.set([...shade(data[j]), 255], 4 * j);
      inner.putImageData(picture, 0, 0);
      const x = i % this.columns * wide, y = Math.floor(i / this.columns) * high;
      pen.drawImage(small, x, y, unit * columns, unit * rows);
      if (i === this.chosen) {
        pen.strokeStyle = this.page.colour("mark");
        pen.lineWidth = 2 * ratio;
        pen.strokeRect(x + ratio, y + ratio, unit * columns - 2 * ratio, unit * rows - 2 * ratio);
      }
    });
    const one = this.tiles[this.chosen], t = this.page.t;
    const [low, high_] = one ? extent(one) : this.range;
    this.says.textContent = `${one ? `${this.name} ${this.chosen + 1}: ` : t("all: ", "全部：")}${digits(low)} … ${digits(high_)}`;
  }
}

// A row a layer: its name, histograms of activations and gradients, and the update relative to the weights.
class Layers {
  constructor(page, into, layerName) {
    Object.assign(this, { page, layerName, rows: [] });
    const { t } = page;
    this.title = make("figcaption");
    this.box = make("div", { className: "layers", role: "group", style: { display: "grid", gap: ".3rem .6rem", alignItems: "center" } });
    into.append(this.title, this.box);
    this.heads = [t("layer", "层"), t("activations", "激活值"), t("gradients", "梯度"), t("update / weights", "更新 / 权重")].map((textContent) => make("span", { className: "soft", textContent, style: { margin: "0", fontSize: ".87rem" } }));
    page.redraws.push(() => this.paint());
  }

  draw(layers, chosen, step) {
    Object.assign(this, { layers, chosen });
    const { t } = this.page, names = layers.map((each) => each.name).join();
    this.title.textContent = t("Each layer on 32 validation images, and at ", "各层在 32 张验证图像上的激活值，") + (step ? t(`step ${step}. `, `以及第 ${step} 步的梯度与更新。`) : t("the first step, when it is taken. ", "第一步之后显示梯度与更新。"))
      + t("A bar is as high as the square root of its count; the line marks an update of a thousandth.", "柱高为计数的平方根；竖线标出千分之一的更新。");
    if (names !== this.names) {
      this.names = names;
      this.rows = layers.map((layer, i) => {
        const button = make("button", { type: "button", textContent: this.layerName(layer, i), style: { textAlign: "left", padding: ".15rem .4rem", fontSize: ".87rem" } });
        button.addEventListener("click", () => this.page.set({ layer: i ? layer.name : "" }));
        const [first, second, track] = [0, 1, 2].map(() => make("canvas", { role: "img", style: { width: "100%" } }));
        const out = make("span", { style: { fontVariantNumeric: "tabular-nums", fontSize: ".87rem" } });
        return { button, first, second, track, out, last: make("div", {}, out, track) };
      });
      this.isNarrow = null;
    }
    this.paint();
  }

  // On a phone a layer takes two lines.
  #place() {
    const isNarrow = this.page.widthOf(this.box) < 560;
    if (isNarrow === this.isNarrow) return;
    this.isNarrow = isNarrow;
    this.box.style.gridTemplateColumns = isNarrow ? "1fr 1fr" : "minmax(4.2rem, max-content) 1fr 1fr minmax(4.6rem, 9rem)";
    const lines = [this.heads, ...this.rows.map(({ button, first, second, last }) => [button, first, second, last])];
    this.box.replaceChildren(...lines.flatMap(([name, first, second, last]) => (isNarrow ? [name, last, first, second] : [name, first, second, last])));
  }

  paint() {
    if (!this.layers) return;
    this.#place();
    const { t } = this.page;
    this.layers.forEach(({ name, activations, gradient, mean, update }, i) => {
      const row = this.rows[i];
      row.button.className = name === this.chosen ? "main" : "";
      row.button.ariaPressed = String(name === this.chosen);
      this.#bars(row.first, activations, "mark2", t("activations", "激活值"), i);
      this.#bars(row.second, gradient, "accent", t("gradients", "梯度"), i, mean === null ? "" : `${t("mean", "平均")} |g| ${mean.toPrecision(2)}`);
      row.out.textContent = update === null ? "–" : String(Number(update.toPrecision(2)));
      this.#track(row.track, update);
      row.track.ariaLabel = `${t("update relative to the weights", "更新与权重之比")}, ${this.layerName(this.layers[i], i)}: ${row.out.textContent}`;
    });
  }

  #pen(canvas, height) {
    const ratio = devicePixelRatio || 1, width = Math.max(40, this.page.widthOf(canvas));
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    return [pen, width];
  }

  #bars(canvas, histogram, colour, what, i, middle = "") {
    const [pen, width] = this.#pen(canvas, 46), base = 32;
    pen.fillStyle = this.page.colour("line");
    pen.fillRect(0, base, width, 1);
    if (!histogram) { canvas.ariaLabel = `${what}: –`; return; }
    const { low, high, counts: { data } } = histogram, most = Math.sqrt(Math.max(1, ...data)), wide = width / data.length;
    pen.fillStyle = this.page.colour(colour);
    data.forEach((count, j) => { const tall = Math.sqrt(count) / most * (base - 2); pen.fillRect(j * wide, base - tall, Math.max(1, wide - 0.5), tall); });
    pen.fillStyle = this.page.colour("soft");
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "bottom";
    const [from, to] = [low, high].map((each) => (each === 0 ? "0" : Math.abs(each) < 0.01 ? each.toExponential(0) : digits(each, 2)));
    pen.fillText(from, 0, 46);
    pen.textAlign = "center";
    pen.fillText(middle, width / 2, 46);
    pen.textAlign = "right";
    pen.fillText(to, width, 46);
    canvas.ariaLabel = `${what}, ${this.layerName(this.layers[i], i)}: ${from} … ${to}${middle && `, ${middle}`}`;
  }

  // From 0.00001 to 1, in powers of ten.
  #track(canvas, update) {
    const [pen, width] = this.#pen(canvas, 14), place = (share) => (Math.log10(Math.min(1, Math.max(1e-5, share))) + 5) / 5 * width;
    pen.fillStyle = this.page.colour("line");
    pen.fillRect(0, 6, width, 2);
    pen.fillRect(place(1e-3) - 1, 0, 2, 14);
    if (update === null) return;
    pen.fillStyle = this.page.colour("accent");
    pen.beginPath();
    pen.arc(Math.max(5, Math.min(width - 5, place(update))), 7, 5, 0, 7);
    pen.fill();
  }
}
