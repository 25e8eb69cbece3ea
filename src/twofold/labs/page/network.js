import { at, cleared, digits, lab, make, write } from "./kit.js";

export default lab((page) => {
  const { t, about } = page;
  const percent = (share) => `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)}\u00a0%`;
  const named = (run) => (run === about.own && !about.runs.slice(1).includes(run) ? t("small network of this lab", "本实验自带的小网络") : run);

  // Settings
  const fresh = { layer: "", unit: null, off: {}, target: "", over: "nothing" };
  const forget = () => (page.settings.image.startsWith("#") ? { image: about.images[0] } : {});
  page.choice("run", { label: t("network", "网络"), options: about.runs.map((run) => [run, named(run)]),
    change: (run) => ({ run, ...fresh, ...forget() }) });
  page.choice("other", { label: t("beside it", "并排比较"), options: [["", t("none", "无")], ...about.runs.map((run) => [run, named(run)])],
    change: (other) => ({ other, other_layer: "" }) });
  if (about.data.length) {
    page.choice("data", { label: t("its images", "数据"), options: [["", t("those of the run", "训练运行自己的")], ...about.data.map((each) => [each, each])],
      change: (data) => ({ data, ...forget() }) });
  }
  const given = make("div", { className: "column", style: { flex: "0 0 14rem" } });
  page.stage.append(given);
  page.imageChoice({ drawing: "drawing", into: given, always: true });
  given.querySelector(".row").style.gridTemplateColumns = "auto minmax(0, 1fr)";
  given.querySelector(".pad-box").prepend(make("figcaption", { textContent: t("Draw here, or drop an image:", "在此绘画，或拖入图像："), style: { margin: "0" } }));
  const layersOf = (view) => [["", t("overview: the stages", "总览：各阶段")], ...(page.shown?.[view]?.layers ?? []).map((each) => [each.name, `${each.stage ? "▸ " : ""}${each.name} · ${each.kind === "stage" ? t("stage", "阶段") : each.kind} · ${each.shape.join("×")}`])];
  page.choice("layer", { label: t("maps of", "特征图"), options: () => layersOf("run"), change: (layer) => ({ layer, unit: null }) });
  const otherLayer = page.choice("other_layer", { label: t("maps, beside", "并排的特征图"), options: () => layersOf("other") });
  page.choice("over", { label: t("lay over", "叠加"), options: [
    ["nothing", t("nothing", "无")], ["class", t("where a class is seen (Grad-CAM)", "类别在哪里（Grad-CAM）")], ["unit", t("pixels that the unit depends on", "单元取决于的像素")]] });
  const target = page.choice("target", { label: t("class", "类别"), options: () => [["", t("the predicted one", "预测的类别")], ...(page.shown?.run.words.classes ?? []).map((each) => [each, each])] });
  const switches = page.group(t("switch channels off", "关闭通道"));
  let clicksSwitch = false;
  const box = make("input", { type: "checkbox" });
  box.addEventListener("change", () => { clicksSwitch = box.checked; });
  switches.append(make("label", { className: "row toggle" }, box, make("span", { textContent: t("a click on a map switches its channel", "点击特征图即切换其通道") })));
  const offWords = make("p", { className: "sum" }), offTools = make("div", { className: "tools" });
  switches.append(offWords, offTools);
  const one = page.button("", () => toggle(page.settings.unit[0]), { into: offTools });
  const allOn = page.button(t("All on", "全部打开"), () => page.set({ off: {} }), { into: offTools });

  const toggle = (channel) => {
    const { layer, off } = page.settings, channels = new Set(off[layer] ?? []);
    if (!channels.delete(channel)) channels.add(channel);
    const next = { ...off, [layer]: [...channels].sort((a, b) => a - b) };
    if (!channels.size) delete next[layer];
    page.set({ off: next });
  };

  // Figure
  const busy = make("div", { className: "across", hidden: true }), busyWords = make("p", { className: "soft" }), bar = make("progress", { style: { width: "min(100%, 24rem)" } });
  busy.append(busyWords, bar);
  page.stage.prepend(busy);
  const panels = { run: panel(page, "run", named), other: panel(page, "other", named) };
  page.stage.append(panels.run.element, panels.other.element);

  const work = {
    train: t("First, the lab trains a small network for itself, once:", "首先，本实验为自己训练一个小网络（仅一次）："),
    load: t("Loading the images…", "正在加载图像…"),
    mistakes: t("Looking for mistakes:", "正在寻找错误："),
    strongest: t("Looking for the strongest images:", "正在寻找激活最强的图像："),
  };
  page.onTold = ({ kind, done, total }) => {
    busy.hidden = false;
    write(busyWords, total ? `${work[kind]} ${done} / ${total}` : work[kind]);
    bar.hidden = !total;
    if (total) Object.assign(bar, { max: total, value: done });
  };
  page.root.addEventListener("answered", () => { busy.hidden = true; });

  // A unit: what it depends on, and what excites its channel
  const unitBox = make("section", { className: "across", ariaLabel: t("unit", "单元") });
  const unitWords = make("p", { className: "sum" }), unitTools = make("div", { className: "tools" });
  unitBox.append(unitWords, unitTools);
  page.button(t("Strongest images of its channel", "其通道激活最强的图像"), () => page.act("strongest"), { into: unitTools });
  const gradient = page.button("", () => page.set({ over: page.settings.over === "unit" ? "nothing" : "unit" }), { into: unitTools });
  const best = gallery(page, unitBox, { caption: (each) => `${digits(each.value, 2)}${each.true ? ` · ${each.true}` : ""}` });

  // Mistakes
  const wrongBox = make("section", { className: "across", ariaLabel: t("mistakes", "错误") });
  const wrongTools = make("div", { className: "tools" }), wrongWords = make("p", { className: "sum" });
  wrongBox.append(wrongTools, wrongWords);
  const find = page.button(t("Find its mistakes", "寻找它的错误"), () => page.act("mistakes"), { into: wrongTools });
  const pairs = make("select", { ariaLabel: t("kind of mistake", "错误类型"), hidden: true });
  wrongTools.append(pairs);
  const step = (by) => {
    const there = wrong.shown(), now = there.findIndex((each) => `#${each.index}` === page.settings.image);
    const next = there[(now + by + there.length) % there.length];
    if (next) page.set({ image: `#${next.index}` });
  };
  const walk = [page.button(t("‹ Previous", "‹ 上一个"), () => step(-1), { into: wrongTools }), page.button(t("Next ›", "下一个 ›"), () => step(1), { into: wrongTools })];
  const wrong = gallery(page, wrongBox, { caption: (each) => `${each.true} → ${each.predicted} ${percent(each.probability)}` });
  pairs.addEventListener("change", () => { wrong.filter(pairs.value); page.redraw(); });
  page.stage.append(unitBox, wrongBox);

  // Until there is something to show: the first answer may take as long as training a network.
  for (const each of [panels.run.element, panels.other.element, unitBox, wrongBox, otherLayer, target, one, allOn]) each.hidden = true;

  let found = null, foundOf = "", layersShown = "";
  const say = ({ data, split, searched, total }) => `${searched < total ? t(`the first ${searched} of `, `前 ${searched} 幅，共 `) : ""}${total} ${t(`${split} images of ${data}`, `幅 ${data} 的 ${split} 图像`)}`;

  return (shown, settings) => {
    const { run, other } = shown, { unit } = run;
    const layers = JSON.stringify([run.name, other?.name, run.layers.length]);
    if (layers !== layersShown) {
      layersShown = layers;
      for (const show of page.bound) show(settings);
    }
    panels.run.element.hidden = wrongBox.hidden = false;
    otherLayer.hidden = !other;
    target.hidden = settings.over !== "class";
    panels.run.draw(run, { shown, settings, click: (place, shift) => (clicksSwitch || shift ? toggle(place[0]) : page.set({ unit: place })), toggle });
    panels.other.element.hidden = !other;
    if (other) panels.other.draw(other, { shown, settings: { ...settings, layer: settings.other_layer, off: {}, unit: null } });

    // Channels that are off
    const offs = Object.entries(settings.off).filter(([, channels]) => channels.length);
    write(offWords, offs.length ? offs.map(([layer, channels]) => `${layer}: ${channels.join(", ")}`).join("; ") : t("none is off: choose a layer, then a channel", "没有关闭的通道：先选一层，再选通道"));
    const isOff = unit && (settings.off[settings.layer] ?? []).includes(unit.place[0]);
    one.hidden = !unit;
    write(one, unit ? `${isOff ? t("Switch on", "打开") : t("Switch off", "关闭")} ${t("channel", "通道")} ${unit.place[0]}` : "");
    allOn.hidden = !offs.length;

    // The unit
    unitBox.hidden = !unit;
    if (unit) {
      const [top, bottom, left, right] = unit.box, [channel, row, column] = unit.place;
      const still = unit.gradient && !unit.gradient.data.some((value) => value > 0);
      unitWords.textContent = t(
        `Unit of ${settings.layer}: channel ${channel}, row ${row}, column ${column} = ${digits(unit.value)}. It sees ${bottom - top}×${right - left} px of the image: rows ${top} to ${bottom - 1}, columns ${left} to ${right - 1}.`,
        `${settings.layer} 的单元：通道 ${channel}，第 ${row} 行，第 ${column} 列 = ${digits(unit.value)}。它看到图像的 ${bottom - top}×${right - left} 像素：第 ${top} 至 ${bottom - 1} 行，第 ${left} 至 ${right - 1} 列。`)
        + (still ? t(" Its gradient is zero everywhere: here it does not react to small changes.", " 它的梯度处处为零：在此处它对微小变化没有反应。") : "");
      write(gradient, settings.over === "unit" ? t("Hide its gradient", "隐藏梯度") : t("Show its gradient", "显示梯度"));
    }
    const strongest = shown.strongest ?? (best.of && unit && best.of.layer === settings.layer && best.of.channel === unit.place[0] && best.run === run.name + settings.data ? best.of : null);
    if (strongest) best.run = run.name + settings.data;
    best.draw(strongest, strongest ? t(`Strongest of ${say(strongest)} in channel ${strongest.channel}; the rectangle is what its largest element sees:`, `通道 ${strongest.channel} 在${say(strongest)}中激活最强的图像；矩形是其最大元素所看到的部分：`) : "");

    // Mistakes
    if (foundOf !== run.name + settings.data) found = null;
    if (shown.mistakes && shown.mistakes !== found) {
      found = shown.mistakes;
      foundOf = run.name + settings.data;
      pairs.replaceChildren(make("option", { value: "", textContent: t("all kinds", "全部类型") }), ...found.pairs.map(([from, to, count]) => make("option", { value: `${from}\n${to}`, textContent: `${from} → ${to} (${count})` })));
      wrong.filter("");
    }
    find.hidden = Boolean(found) || run.words.task !== "classify";
    pairs.hidden = walk[0].hidden = walk[1].hidden = !found?.found.length;
    write(wrongWords, found ? t(`${found.num_wrong} of ${say(found)} are wrong; the most confident mistakes first${found.num_wrong > found.found.length ? `, ${found.found.length} of them` : ""}:`, `${say(found)}中有 ${found.num_wrong} 幅判断错误；最自信的错误在前${found.num_wrong > found.found.length ? `，显示 ${found.found.length} 幅` : ""}：`) : "");
    wrong.draw(found, "");
  };
});

const CELL = 108, GAP = 3;

// One network: the image that it is given, what it says, and the maps of a layer or a few of each stage.
function panel(page, name, named) {
  const { t } = page;
  const title = make("h2", { style: { fontSize: "1.05rem", margin: "0" } }), words = make("p", { className: "soft" });
  const top = make("div", { style: { display: "flex", flexWrap: "wrap", gap: ".75rem 1.5rem", alignItems: "flex-start" } });
  const picture = make("canvas", { role: "img", ariaLabel: name === "run" ? t("image as the network is given it", "网络得到的图像") : t("second network: image", "第二个网络：图像") });
  const caption = make("figcaption"), laid = make("figcaption", { style: { marginTop: ".25rem", maxWidth: "16rem" } });
  const answer = make("div", { style: { flex: "1 1 15rem", minWidth: 0, display: "grid", gap: ".2rem" }, ariaLabel: t("prediction", "预测") });
  answer.setAttribute("role", "group");
  top.append(make("figure", {}, caption, picture, laid), answer);
  const maps = make("section", { style: { minWidth: 0 }, ariaLabel: name === "run" ? t("maps", "特征图") : t("second network: maps", "第二个网络：特征图") });
  const element = make("div", { className: "column", style: { flex: "1 1 18rem", minWidth: 0 } }, title, words, top, maps);
  const bars = classBars(page, answer), grid = mapGrid(page, name), strips = overview(page, name);
  maps.append(grid.element, strips.element);

  const draw = (view, context) => {
    const { shown, settings } = context, { words: about } = view;
    write(title, `${named(view.name)}: ${view.top || t("nothing found", "没有发现")}`);
    const trained = about.trained ? t(`; trained in ${about.trained.seconds} seconds on ${about.trained.images.toLocaleString("en")} images, for this lab`, `；用 ${about.trained.images} 幅图像训练了 ${about.trained.seconds} 秒，专为本实验`) : "";
    write(words, `${about.architecture}, ${about.size.join("×")}, ${t(`${about.classes.length} classes`, `${about.classes.length} 个类别`)}${trained}`);
    write(caption, shown.truth ? `${shown.source}: ${shown.truth}` : t("the image as it is given", "输入网络的图像"));
    paintImage(page, picture, view);
    const { heat, unit } = view;
    laid.textContent = heat ? `Grad-CAM: ${heat.class}, ${heat.stage}${heat.heat.data.some((value) => value > 0) ? "" : t(": nothing speaks for it", "：没有支持它的地方")}`
      : unit?.gradient ? t("how much the unit changes with each pixel", "单元随每个像素变化的程度")
      : name === "run" && shown.reduced ? t("made smaller as it was dropped; of the file itself the values may differ a little", "放入时已缩小；对原文件，数值可能略有不同") : "";
    laid.hidden = !laid.textContent;
    bars.draw(view, settings);
    grid.element.hidden = !view.maps;
    strips.element.hidden = !view.overview;
    if (view.maps) grid.draw(view, context);
    else strips.draw(view);
  };
  return { element, draw };
}

// The image, what is laid over it, the part that the unit sees, and a detector's objects.
function paintImage(page, canvas, view) {
  const { pixels, heat, unit } = view, [, height, width] = pixels.shape, ratio = devicePixelRatio || 1;
  const unitSide = Math.max(1, Math.round(252 * ratio / Math.max(height, width)));
  const scale = height > 252 || width > 252 ? 252 * ratio / Math.max(height, width) : unitSide;
  Object.assign(canvas, { width: Math.round(scale * width), height: Math.round(scale * height) });
  Object.assign(canvas.style, { width: `${canvas.width / ratio}px`, height: `${canvas.height / ratio}px` });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = scale < 1;
  pen.drawImage(imageOf(pixels), 0, 0, canvas.width, canvas.height);
  const over = heat?.heat ?? unit?.gradient;
  if (over) {
    const most = over.data.reduce((a, b) => Math.max(a, b), 0) || 1, picture = new ImageData(width, height);
    over.data.forEach((value, i) => picture.data.set(heat ? [255, 110, 0, 190 * value / most] : [40, 190, 255, 230 * Math.sqrt(value / most)], 4 * i));
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(picture, 0, 0);
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  }
  pen.lineWidth = Math.max(2, 2 * ratio);
  if (unit) {
    const [top, bottom, left, right] = unit.box;
    pen.strokeStyle = page.colour("mark");
    pen.strokeRect(left * scale + 1, top * scale + 1, (right - left) * scale - 2, (bottom - top) * scale - 2);
  }
  pen.font = `${12 * ratio}px system-ui, sans-serif`;
  for (const { class: name, probability, box: [x1, y1, x2, y2] } of view.objects ?? []) {
    pen.strokeStyle = pen.fillStyle = page.colour("mark2");
    pen.strokeRect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
    pen.fillText(`${name} ${digits(probability, 2)}`, x1 * scale + 3, Math.max(12 * ratio, y1 * scale - 4));
  }
}

// Pixels (1 or 3, height, width) as a small canvas.
function imageOf({ shape: [channels, height, width], data }) {
  const picture = new ImageData(width, height), area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = data[(channels === 3 ? c * area : 0) + i];
    picture.data[4 * i + 3] = 255;
  }
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(picture, 0, 0);
  return small;
}

// A bar a class; a class that is pressed is looked for in the image. An outline is what it was with all channels on.
function classBars(page, into) {
  const note = make("p", { className: "soft", textContent: page.t("the line: with all channels on", "竖线：所有通道打开时"), style: { margin: 0, fontSize: ".87rem" } });
  let rows = [], classes = "";
  const draw = ({ classes: names, probabilities, before, objects, top }, settings) => {
    if (objects) {
      rows = [];
      classes = "";
      into.replaceChildren(...objects.slice(0, 12).map((each) => make("span", { textContent: `${each.class} ${digits(each.probability, 2)}` })));
      return;
    }
    if (classes !== names.join("\n")) {
      classes = names.join("\n");
      rows = names.map((name) => {
        const fill = make("i", { style: { position: "absolute", inset: "0 auto 0 0", borderRadius: ".2rem" } });
        const old = make("i", { style: { position: "absolute", top: "-1px", bottom: "-1px", borderRight: "2px solid var(--mark)" } });
        const button = make("button", { type: "button", textContent: name, title: page.t("where is it seen?", "在哪里看到它？"), style: { padding: "0 .4rem", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap", textAlign: "right" } });
        button.addEventListener("click", () => page.set(page.settings.over === "class" && page.settings.target === name ? { over: "nothing", target: "" } : { over: "class", target: name }));
        const share = make("output", { style: { textAlign: "right", fontVariantNumeric: "tabular-nums", whiteSpace: "nowrap" } });
        const row = make("div", { style: { display: "grid", gridTemplateColumns: "7rem minmax(3rem, 1fr) 3.9rem", gap: ".5rem", alignItems: "center" } },
          button, make("span", { style: { position: "relative", height: "1rem", background: "var(--raised)", borderRadius: ".2rem" } }, fill, old), share);
        return { name, fill, old, button, share, row };
      });
      into.replaceChildren(...rows.map((each) => each.row), note);
    }
    note.hidden = !before;
    const was = before && new Map(before.classes.map((name, i) => [name, before.probabilities[i]]));
    rows.forEach(({ name, fill, old, button, share }, i) => {
      const value = probabilities[i], isTop = top.split(", ").includes(name);
      Object.assign(fill.style, { width: `${100 * value}%`, background: isTop ? "var(--accent)" : "var(--soft)" });
      old.hidden = !was?.has(name);
      if (!old.hidden) old.style.width = `${100 * was.get(name)}%`;
      write(share, `${(100 * value).toFixed(1)} %`);
      share.title = was?.has(name) ? page.t(`with all channels on: ${(100 * was.get(name)).toFixed(1)} %`, `通道全开时：${(100 * was.get(name)).toFixed(1)} %`) : "";
      share.style.fontWeight = isTop ? "700" : "";
      button.ariaPressed = String(settings.over === "class" && settings.target === name);
    });
  };
  return { draw };
}

// Colours of 256 steps from the least to the greatest value, as the bytes of a picture.
function colours(page, [low, high]) {
  const shade = page.shade(low < 0 ? "signed" : "grey", low, high);
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const [r, g, b] = shade(low + (high - low) * level / 255);
    return 255 << 24 | Math.round(b) << 16 | Math.round(g) << 8 | Math.round(r);
  });
}

// Maps (channels, height, width) below one another on a small canvas.
function mapsOf(page, { shape: [channels, height, width], data }, range) {
  const table = colours(page, range), [low, high] = range, factor = 255 / (high - low || 1);
  const picture = new ImageData(width, Math.max(1, channels * height)), words = new Uint32Array(picture.data.buffer);
  if (data instanceof Uint8Array) for (let i = 0; i < data.length; i++) words[i] = table[data[i]];
  else for (let i = 0; i < data.length; i++) words[i] = table[(data[i] - low) * factor + 0.5 | 0];
  const small = new OffscreenCanvas(width, picture.height);
  small.getContext("2d").putImageData(picture, 0, 0);
  return small;
}

// One of them, with an edge that tells a white map from a white page.
function drawMap(page, pen, small, index, [height, width], [x, y, wide, high]) {
  pen.drawImage(small, 0, index * height, width, height, x, y, wide, high);
  if (!index) pen.strokeStyle = page.colour("line");
  pen.lineWidth = 1;
  pen.strokeRect(x + 0.5, y + 0.5, wide - 1, high - 1);
}

// Size of a cell and number of columns such that all maps fit into the room, as large as they can be.
function arranged(count, [height, width], room, tall) {
  const most = height * width === 1 ? 26 : CELL;
  for (let wide = most; ; wide -= 2) {
    const high = Math.max(6, wide * height / width), columns = Math.max(1, Math.floor((room + GAP) / (wide + GAP)));
    if (wide <= 10 || Math.ceil(count / columns) * (high + GAP) <= tall) return { wide, high, columns: Math.min(columns, count) };
  }
}

// All maps of a layer. A unit is chosen by a click or by keys.
function mapGrid(page, name) {
  const { t } = page, isFirst = name === "run", field = isFirst ? "layer" : "other_layer";
  const head = make("div", { className: "tools", style: { alignItems: "center" } }), title = make("span");
  const move = (by) => {
    const names = ["", ...view.layers.map((each) => each.name)], next = names[(names.indexOf(settings.layer) + by + names.length) % names.length];
    page.set({ [field]: next, ...(isFirst ? { unit: null } : {}) });
  };
  page.button(t("Overview", "总览"), () => page.set({ [field]: "", ...(isFirst ? { unit: null } : {}) }), { into: head });
  page.button("‹", () => move(-1), { into: head }).ariaLabel = t("layer before", "前一层");
  page.button("›", () => move(1), { into: head }).ariaLabel = t("layer after", "后一层");
  head.append(title);
  const canvas = make("canvas", { role: "img", tabIndex: 0, ariaLabel: isFirst ? t("maps of the layer", "该层的特征图") : t("second network: maps of the layer", "第二个网络：该层的特征图"), style: { margin: ".4rem 0", cursor: "crosshair" } });
  const hint = make("p", { className: "soft" });
  const element = make("div", {}, head, canvas, hint);
  let view, settings, click, toggle, layout;

  const value = ([channel, row, column]) => {
    const [low, high] = view.range, each = at(view.maps, channel, row, column);
    return view.maps.data instanceof Uint8Array ? low + each * (high - low) / 255 : each;
  };
  const under = (event) => {
    const area = canvas.getBoundingClientRect(), [channels, height, width] = view.maps.shape;
    const x = event.clientX - area.left, y = event.clientY - area.top;
    const column = Math.floor(x / (layout.wide + GAP)), row = Math.floor(y / (layout.high + GAP)), channel = row * layout.columns + column;
    const inside = [Math.floor((y - row * (layout.high + GAP)) / layout.high * height), Math.floor((x - column * (layout.wide + GAP)) / layout.wide * width)];
    if (column < 0 || row < 0 || column >= layout.columns || channel >= channels || inside[0] >= height || inside[1] >= width) return null;
    return [channel, ...inside];
  };
  // Many maps come as bytes: their values are near, and a unit that is chosen has its own.
  const near = (place) => `${view.maps.data instanceof Uint8Array ? "≈ " : ""}${digits(value(place))}`;
  const spell = (place) => t(`channel ${place[0]}, row ${place[1]}, column ${place[2]}: ${near(place)}`, `通道 ${place[0]}，第 ${place[1]} 行，第 ${place[2]} 列：${near(place)}`);
  const usual = () => (isFirst
    ? t("Click a unit; Shift and a click switches its channel off. Keys: arrows, Page up and down for channels, o for off.", "点击一个单元；按住 Shift 点击可关闭其通道。按键：方向键，PageUp/PageDown 换通道，o 关闭通道。")
    : t("Point at a unit to read its value.", "指向单元以读取数值。"));
  canvas.addEventListener("pointermove", (event) => {
    const place = under(event);
    write(hint, place ? spell(place) : usual());
    if (place) write(page.announce, hint.textContent);
  });
  canvas.addEventListener("pointerleave", () => { hint.textContent = usual(); });
  canvas.addEventListener("pointerdown", (event) => {
    const place = under(event);
    if (place) click?.(place, event.shiftKey);
  });
  canvas.addEventListener("keydown", (event) => {
    const [channels, height, width] = view.maps.shape, [channel, row, column] = view.unit?.place ?? [0, 0, 0], single = height * width === 1;
    const steps = single ? { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [-layout.columns, 0, 0], ArrowDown: [layout.columns, 0, 0] }
      : { ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0] };
    const step = { ...steps, PageUp: [-1, 0, 0], PageDown: [1, 0, 0] }[event.key];
    if (!click || (!step && event.key !== "o" && event.key !== "Enter")) return;
    event.preventDefault();
    if (event.key === "o") return toggle(channel);
    const to = [channel, row, column].map((each, i) => Math.max(0, Math.min([channels, height, width][i] - 1, each + (view.unit && step ? step[i] : 0))));
    hint.textContent = page.announce.textContent = spell(to);
    click(to, false);
  });

  const draw = (next, context) => {
    [view, settings, click, toggle] = [next, context.settings, context.click, context.toggle];
    const [channels, height, width] = view.maps.shape;
    const { kind, sees } = view.layers.find((each) => each.name === settings.layer) ?? {};
    title.textContent = t(`${settings.layer} · ${kind} · ${channels} maps of ${height}×${width} · a unit sees ${sees?.join("×")} px · values ${digits(view.range[0], 2)} to ${digits(view.range[1], 2)}`,
      `${settings.layer} · ${kind} · ${channels} 个 ${height}×${width} 的特征图 · 单元看到 ${sees?.join("×")} 像素 · 数值 ${digits(view.range[0], 2)} 至 ${digits(view.range[1], 2)}`);
    if (!hint.textContent) write(hint, usual());
    layout = arranged(channels, [height, width], page.widthOf(element.parentElement) || 300, 460);
    const { wide, high, columns } = layout, rows = Math.ceil(channels / columns);
    const across = columns * (wide + GAP) - GAP, down = rows * (high + GAP) - GAP;
    canvas.style.maxWidth = "none";
    const pen = cleared(canvas, across, down), small = mapsOf(page, view.maps, view.range);
    pen.imageSmoothingEnabled = false;
    for (let channel = 0; channel < channels; channel++) {
      drawMap(page, pen, small, channel, [height, width], [channel % columns * (wide + GAP), Math.floor(channel / columns) * (high + GAP), wide, high]);
    }
    pen.lineWidth = 2;
    for (const channel of settings.off[settings.layer] ?? []) {
      const x = channel % columns * (wide + GAP), y = Math.floor(channel / columns) * (high + GAP);
      pen.strokeStyle = page.colour("bad");
      pen.strokeRect(x + 1, y + 1, wide - 2, high - 2);
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x + wide, y + high); pen.moveTo(x + wide, y); pen.lineTo(x, y + high); pen.stroke();
    }
    if (view.unit) {
      const [channel, row, column] = view.unit.place, x = channel % columns * (wide + GAP), y = Math.floor(channel / columns) * (high + GAP);
      pen.strokeStyle = page.colour("accent");
      pen.strokeRect(x + 1, y + 1, wide - 2, high - 2);
      pen.strokeStyle = page.colour("mark");
      pen.strokeRect(x + column * wide / width, y + row * high / height, Math.max(3, wide / width), Math.max(3, high / height));
    }
  };
  return { element, draw };
}

// A few maps of each stage; a press opens the stage.
function overview(page, name) {
  const { t } = page, element = make("div", { style: { display: "grid", gap: ".6rem" } });
  let rows = [], names = "";
  const draw = ({ overview: stages, layers }) => {
    if (names !== stages.map((each) => each.name).join("\n")) {
      names = stages.map((each) => each.name).join("\n");
      rows = stages.map((stage) => {
        const open = () => page.set(name === "run" ? { layer: stage.name, unit: null } : { other_layer: stage.name });
        const button = make("button", { type: "button" }), words = make("span", { className: "soft" }), canvas = make("canvas", { role: "img", ariaLabel: `${name === "run" ? "" : t("second network: ", "第二个网络：")}${stage.name}`, style: { cursor: "pointer" } });
        button.addEventListener("click", open);
        canvas.addEventListener("click", open);
        return { button, words, canvas, row: make("div", {}, make("div", { className: "tools", style: { alignItems: "baseline" } }, button, words), canvas) };
      });
      element.replaceChildren(...rows.map((each) => each.row));
    }
    stages.forEach((stage, i) => {
      const { button, words, canvas } = rows[i], [count, height, width] = stage.maps.shape;
      const { shape, sees } = layers.find((each) => each.name === stage.name);
      write(button, stage.name);
      words.textContent = t(`${shape[0]} maps of ${height}×${width}; a unit sees ${sees.join("×")} px${count < shape[0] ? `; the ${count} most active` : ""}`,
        `${shape[0]} 个 ${height}×${width} 的特征图；单元看到 ${sees.join("×")} 像素${count < shape[0] ? `；最活跃的 ${count} 个` : ""}`);
      const room = page.widthOf(element.parentElement) || 300, wide = Math.min(72, Math.floor((room + GAP) / count) - GAP), high = wide * height / width;
      const pen = cleared(canvas, count * (wide + GAP) - GAP, high), small = mapsOf(page, stage.maps, stage.range);
      pen.imageSmoothingEnabled = false;
      for (let k = 0; k < count; k++) drawMap(page, pen, small, k, [height, width], [k * (wide + GAP), 0, wide, high]);
    });
  };
  return { element, draw };
}

// Images that were found in the data; a press shows one to the network.
function gallery(page, into, { caption }) {
  const words = make("p", { className: "soft" }), box = make("div", { className: "tools", style: { maxHeight: "26rem", overflowY: "auto" } });
  into.append(words, box);
  const state = { of: null, kind: "" };
  let buttons = [], drawn = "";
  state.shown = () => (state.of?.found ?? []).filter((each) => !state.kind || state.kind === `${each.true}\n${each.predicted}`);
  state.filter = (kind) => { state.kind = kind; drawn = ""; };
  state.draw = (of, text) => {
    if (of !== state.of) drawn = "";
    state.of = of;
    write(words, text);
    words.hidden = !text;
    box.hidden = !of;
    if (!of) return;
    if (!drawn) {
      drawn = "yes";
      const chosen = new Set(state.shown());
      buttons = of.found.flatMap((each, i) => (chosen.has(each) ? [[each, thumb(page, each, at(of.thumbs, i), caption(each))]] : []));
      box.replaceChildren(...buttons.map(([, button]) => button));
    }
    for (const [each, button] of buttons) {
      const isOn = page.settings.image === `#${each.index}`;
      button.ariaPressed = String(isOn);
      button.style.borderColor = isOn ? "var(--accent)" : "";
    }
  };
  return state;
}

function thumb(page, each, pixels, text) {
  const [, height, width] = pixels.shape, scale = Math.max(1, Math.round(64 / Math.max(height, width)));
  const canvas = make("canvas", { width: width * scale, height: height * scale, style: { margin: "0 auto", height: "4rem", width: "auto" } }), pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(imageOf(pixels), 0, 0, canvas.width, canvas.height);
  if (each.box) {
    const [top, bottom, left, right] = each.box, [, tall, wide] = page.shown.run.pixels.shape;
    pen.strokeStyle = page.colour("mark");
    pen.lineWidth = 2;
    pen.strokeRect(left / wide * canvas.width + 1, top / tall * canvas.height + 1, (right - left) / wide * canvas.width - 2, (bottom - top) / tall * canvas.height - 2);
  }
  const button = make("button", { type: "button", style: { padding: ".3rem", width: "6.6rem", fontSize: ".78rem", lineHeight: "1.25" } }, canvas, make("span", { textContent: text }));
  button.addEventListener("click", () => page.set({ image: `#${each.index}` }));
  return button;
}
