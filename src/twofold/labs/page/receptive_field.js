import { at, cleared, extent, lab, make } from "./kit.js";

export default lab((page) => {
  const { t, about } = page;

  // Settings
  const views = [["network", t("a network", "一个网络")], ["stack", t("own layers", "自己的层")]];
  page.choice("view", { label: t("show", "显示"), options: views });
  const network = page.group(t("network", "网络"));
  const fresh = { layer: "", unit: null, channel: -1 };
  if (about.runs.length) {
    page.choice("run", { into: network, label: t("trained run", "训练好的运行"), change: (run) => ({ run, ...fresh }),
      options: [["", t("none: random weights", "无：随机权重")], ...about.runs.map((run) => [run, run])] });
  }
  const untrained = [
    page.choice("model", { into: network, label: t("network", "网络"), options: Object.keys(about.models).map((name) => [name, name]),
      change: (model) => ({ model, size: about.models[model], ...fresh }) }),
    page.choice("size", { into: network, label: t("image size", "图像大小"), change: (size) => ({ size, unit: null }),
      options: ({ size }) => [...new Set([...about.sizes, size])].sort((a, b) => a - b).map((side) => [side, `${side} × ${side} px`]) }),
  ];
  const stem = page.choice("stem", { into: network, label: t("first layers", "起始层"), change: (value) => ({ stem: value, ...fresh }),
    options: [["small", t("small", "小型")], ["paper", t("the paper's", "论文的")]] });
  untrained.push(page.slider("seed", { into: network, label: t("random seed", "随机种子"), min: 0, max: 20, show: (seed) => `#${seed}` }));
  const unit = page.group(t("unit", "单元"));
  const title = ({ name, kind, row, field }) => [name, kind === "stage" ? t("stage", "阶段") : kind + spelledRow(row), field === null ? t("sees all", "看到全部") : t(`sees ${field} px`, `看到 ${field} px`)].join(" · ");
  const layers = page.choice("layer", { into: unit, label: t("layer", "层"), change: (layer) => ({ ...fresh, layer }),
    options: () => (page.shown?.layers ?? []).map((each) => [each.name, title(each)]) });
  // The names are long: a line of their own.
  layers.style.gridTemplateColumns = "minmax(0, 1fr)";
  const chooser = layers.querySelector("select");
  chooser.style.gridColumn = "1";
  const channel = page.slider("channel", { into: unit, label: t("channel", "通道"), min: -1, max: 15, show: (value) => (value < 0 ? t("all", "全部") : String(value)) });
  const picture = page.group(t("image", "图像"));
  page.imageChoice({ drawing: "drawing", into: picture });
  const own = page.group(t("own layers, first to last", "自己的层，从前到后"));
  const rows = make("div", { className: "rows" });
  own.append(rows);
  const tools = make("div", { className: "tools" });
  own.append(tools);
  const add = page.button(t("Add a layer", "加一层"), () => page.set({ stack: [...page.settings.stack, [3, 1, 1]] }), { into: tools });
  page.bound.push(({ view, run, model, stack }) => {
    network.hidden = unit.hidden = picture.hidden = view !== "network";
    own.hidden = view !== "stack";
    for (const row of untrained) row.hidden = run !== "";
    stem.hidden = run !== "" || !about.stems.includes(model);
    add.disabled = stack.length >= about.most_rows;
    showRows(page, rows);
  });

  // A unit of a network
  const first = make("div", { className: "across stage" }), second = make("div", { className: "across" });
  page.stage.append(first, second);
  const label = t("map of the layer: press a unit", "该层的特征图：按下一个单元");
  const map = page.matrix({ label, into: first, height: 230, point: (cell) => { if (cell && moves) page.set({ unit: cell }); }, press: (...cell) => page.set({ unit: cell }), leave: false });
  // A unit is chosen by a press, a drag or the arrow keys, not by passing over it.
  let moves = false;
  map.canvas.addEventListener("pointerdown", () => { moves = true; }, true);
  for (const kind of ["pointerup", "pointercancel", "pointerleave"]) map.canvas.addEventListener(kind, () => { moves = false; });
  map.canvas.addEventListener("keydown", () => { moves = true; }, true);
  map.canvas.addEventListener("keyup", () => { moves = false; });
  const image = page.matrix({ label: t("image", "图像"), kind: "grey", into: first, height: 300 });
  const heat = page.matrix({ label: t("gradient of the unit", "该单元的梯度"), into: first, height: 300 });
  const words = make("p", { className: "sum" }), note = make("p", { className: "soft" });
  second.append(words, note);
  const take = page.button(t("Take these layers as own layers", "把这些层作为自己的层"), () => page.set({ view: "stack", stack: page.shown.chain }), { into: second });
  take.style.marginBottom = ".8rem";
  const chart = page.plot({ label: t("field of each layer: press a layer", "每一层的感受野：按下一层"), x: t("layer", "层"), into: second,
    press: (x) => {
      const { layers } = page.shown; // that of a stack has none, and this chart is about to go
      if (layers) page.set({ ...fresh, layer: layers[Math.max(0, Math.min(layers.length - 1, Math.round(x)))].name });
    } });

  // Own layers
  const stacked = make("div", { className: "across" });
  page.stage.append(stacked);
  const paths = make("canvas", { role: "img" });
  const result = make("p", { className: "sum" }), table = make("table", { className: "layers" });
  stacked.append(result, make("figure", {}, make("figcaption", { textContent: t("the units on which one output depends; the stronger the colour, the more paths lead to it", "一个输出所依赖的单元；颜色越浓，通向该输出的路径越多") }), paths), table);
  Object.assign(table.style, { margin: ".6rem 0 1rem" });
  const counts = page.plot({ label: t("share of the paths from each pixel", "来自每个像素的路径所占份额"), x: t("pixel", "像素"), into: stacked });
  page.redraws.push(() => { if (page.shown?.view === "stack") drawPaths(page, paths, page.shown, page.stackShown); });

  return (shown, settings) => {
    const isStack = shown.view === "stack";
    first.hidden = second.hidden = isStack;
    stacked.hidden = !isStack;
    if (isStack) {
      page.stackShown = settings.stack.slice(0, shown.fields.length);
      showStack(page, shown, { result, table, counts, paths });
      return;
    }
    const layer = shown.layers[shown.layer], [rowAt, columnAt] = shown.unit, [, high, wide] = shown.image.shape;
    chooser.replaceChildren(...shown.layers.map((each) => make("option", { value: JSON.stringify(each.name), textContent: title(each) })));
    chooser.value = JSON.stringify(layer.name);
    channel.querySelector("input").max = shown.channels - 1;
    map.cell = [rowAt, columnAt];
    const [mapHigh, mapWide] = shown.map.shape;
    const [low, most] = extent(shown.map);
    map.draw(shown.map, { kind: low < 0 && most > 0 ? "signed" : "grey", marks: [{ row: rowAt, col: columnAt }], title: `${label} ${mapHigh}×${mapWide}` });
    const marks = [{ ...asMark(shown.middle), colour: "mark2" }, { ...asMark(shown.box), colour: "mark" }];
    const planes = shown.image.shape[0] === 3 ? shown.image : at(shown.image, 0);
    image.draw(planes, { range: [0, 1], marks, title: t(`image ${high}×${wide}`, `图像 ${high}×${wide}`) });
    heat.draw(shown.gradient, { marks, title: t("gradient of the unit: absolute, its channels added", "该单元的梯度：取绝对值，各通道相加") });
    words.replaceChildren(...sentences(page, shown, layer).flatMap((each) => [each, make("br")]));
    note.textContent = shown.chain === null && layer.field !== null ? t("Where branches meet, the largest path counts.", "分支汇合处，以最大的路径为准。") : "";
    take.hidden = shown.chain === null || shown.chain.length > about.most_rows;
    chart.draw([
      { name: t("theoretical field, px", "理论感受野（像素）"), y: shown.layers.map(({ field }) => field ?? NaN) },
      { name: t("jump: from a unit to the next, px", "间距：相邻单元相隔的像素"), y: shown.layers.map(({ jump }) => jump ?? NaN) },
      { name: t("side of the image", "图像边长"), y: shown.layers.map(() => high), colour: page.colour("soft") },
    ], { at: shown.layer });
  };
});

const asMark = ([top, bottom, left, right]) => ({ row: top, col: left, rows: bottom - top, cols: right - left });

function spelledRow(row) {
  if (!row) return "";
  const [kernel, stride, dilation] = row;
  return ` ${kernel}×${kernel}${stride > 1 ? ` /${stride}` : ""}${dilation > 1 ? ` d${dilation}` : ""}`;
}

function sentences({ t }, shown, layer) {
  const [top, bottom, left, right] = shown.box, [row, column] = shown.unit;
  const found = [t(`${layer.name}, unit (${row}, ${column}), ${shown.channel < 0 ? `sum of ${shown.channels} channels` : `channel ${shown.channel}`}.`,
    `${layer.name}，单元 (${row}, ${column})，${shown.channel < 0 ? `${shown.channels} 个通道之和` : `通道 ${shown.channel}`}。`)];
  if (layer.field === null) found.push(t("It depends on the whole image.", "它取决于整幅图像。"));
  else {
    found.push(t(`By the rule it sees ${layer.field}×${layer.field} px, and the next unit ${layer.jump} px further on. Here: rows ${top} to ${bottom - 1}, columns ${left} to ${right - 1}${shown.is_cut ? ", cut off by the border" : ""} (pink).`,
      `按规则它看到 ${layer.field}×${layer.field} 个像素，相邻单元相隔 ${layer.jump} 个像素。这里是第 ${top} 到 ${bottom - 1} 行、第 ${left} 到 ${right - 1} 列${shown.is_cut ? "，被边界截断" : ""}（粉色框）。`));
  }
  const per = (share) => `${Math.round(100 * share)}%`;
  if (shown.share === null) found.push(t("No gradient comes through: every path to this unit ends at a ReLU that gives 0. Try another unit.", "没有梯度通过：通向该单元的每条路径都止于输出为 0 的 ReLU。请换一个单元。"));
  else found.push(t(`By the gradient, ${per(shown.share)} of it lies in the middle half (green), which is ${per(shown.area)} of the area.`, `从梯度看，${per(shown.share)} 位于中间一半（绿色框）内，而它只占面积的 ${per(shown.area)}。`));
  return found;
}

// The rows of the own layers: kernel, stride, dilation, each a number, and a button to remove the layer.
function showRows(page, box) {
  const { t } = page, { stack } = page.settings;
  const names = [[t("kernel", "核"), 15], [t("stride", "步幅"), 4], [t("dilation", "空洞"), 16]];
  if (box.children.length !== stack.length) {
    box.replaceChildren(...stack.map((_, i) => {
      const inputs = names.map(([name, max], place) => {
        const input = make("input", { type: "number", min: 1, max, step: 1, ariaLabel: t(`${name} of layer ${i + 1}`, `第 ${i + 1} 层的${name}`), style: { width: "3.6rem" } });
        input.addEventListener("input", () => {
          const value = input.valueAsNumber;
          if (!Number.isInteger(value) || value < 1 || value > max) return;
          page.set({ stack: page.settings.stack.map((row, j) => (j === i ? row.with(place, value) : row)) });
        });
        return make("label", { style: { display: "grid" } }, make("span", { className: "soft", textContent: name, style: { margin: 0, fontSize: ".8rem" } }), input);
      });
      const drop = make("button", { type: "button", textContent: "×", ariaLabel: t(`remove layer ${i + 1}`, `删除第 ${i + 1} 层`), style: { alignSelf: "end" } });
      drop.addEventListener("click", () => page.set({ stack: page.settings.stack.filter((_, j) => j !== i) }));
      return make("div", { style: { display: "flex", gap: ".5rem", alignItems: "end", marginBottom: ".4rem" } }, make("span", { textContent: `${i + 1}`, style: { width: "1.2rem" } }), ...inputs, drop);
    }));
  }
  [...box.children].forEach((line, i) => {
    line.querySelectorAll("input").forEach((input, place) => { if (document.activeElement !== input) input.value = stack[i][place]; });
    line.querySelector("button").disabled = stack.length < 2;
  });
}

function showStack(page, shown, { result, table, counts, paths }) {
  const { t } = page, cell = (tag, text) => make(tag, { textContent: text });
  const holes = shown.holes ? t(` ${shown.holes} of these pixels are left out.`, ` 其中有 ${shown.holes} 个像素被漏掉。`) : "";
  result.textContent = t(`One output sees ${shown.field} px; the next one looks ${shown.jump} px further on.`, `一个输出看到 ${shown.field} 个像素；相邻的输出相隔 ${shown.jump} 个像素。`) + holes;
  paths.ariaLabel = result.textContent;
  table.replaceChildren(
    make("tr", {}, ...["", t("kernel", "核"), t("stride", "步幅"), t("dilation", "空洞"), t("field", "感受野"), t("jump", "间距")].map((text) => cell("th", text))),
    ...page.stackShown.map((row, i) => make("tr", {}, cell("td", t(`layer ${i + 1}`, `第 ${i + 1} 层`)), ...row.map((value) => cell("td", value)), cell("td", `${shown.fields[i]} px`), cell("td", `${shown.jumps[i]} px`))));
  for (const each of table.querySelectorAll("td, th")) Object.assign(each.style, { padding: ".1rem .9rem .1rem 0", textAlign: "left", fontWeight: "normal", fontVariantNumeric: "tabular-nums" });
  for (const each of table.querySelectorAll("th")) each.style.color = page.colour("soft");
  counts.draw([{ y: Array.from(shown.shares[0].data), x: Array.from(shown.pixels[0].data) }], { range: [0, extent(shown.shares[0])[1]] });
}

// The units, the image below and the one output on top, with a line for each weight on a way to that output.
function drawPaths(page, canvas, shown, stack) {
  const levels = shown.pixels.length;
  const width = Math.max(200, page.widthOf(canvas.parentElement)), step = 54, height = step * (levels - 1) + 34, pen = cleared(canvas, width, height);
  const names = 58, unit = Math.min(26, (width - names - 10) / shown.field);
  const left = names + (width - names - unit * shown.field) / 2;
  const x = (pixel) => left + unit * (pixel + 0.5), y = (level) => height - 16 - step * level;
  pen.strokeStyle = page.colour("soft");
  pen.lineWidth = 1;
  pen.globalAlpha = 0.45;
  pen.beginPath();
  for (let level = 1; level < levels; level++) {
    const [kernel, stride, dilation] = stack[level - 1], above = shown.pixels[level].data, below = shown.pixels[level - 1].data;
    above.forEach((pixel, i) => {
      if (!shown.shares[level].data[i]) return;
      for (let k = 0; k < kernel; k++) { pen.moveTo(x(pixel), y(level)); pen.lineTo(x(below[i * stride + k * dilation]), y(level - 1)); }
    });
  }
  pen.stroke();
  pen.globalAlpha = 1;
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (let level = 0; level < levels; level++) {
    pen.fillStyle = page.colour("soft");
    pen.fillText(level ? page.t(`layer ${level}`, `第 ${level} 层`) : page.t("pixels", "像素"), 0, y(level));
    const { data } = shown.shares[level], most = Math.max(...data);
    const size = Math.max(1.5, Math.min(16, 0.8 * unit));
    data.forEach((share, i) => {
      const place = x(shown.pixels[level].data[i]);
      pen.fillStyle = page.colour("ground");
      pen.fillRect(place - size / 2, y(level) - size / 2, size, size);
      pen.fillStyle = page.colour(share ? "accent" : "line");
      pen.globalAlpha = share ? 0.25 + 0.75 * share / most : 1;
      pen.fillRect(place - size / 2, y(level) - size / 2, size, size);
      pen.globalAlpha = 1;
    });
  }
}
