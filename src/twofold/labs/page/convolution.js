import { at, digits, extent, lab, make, surrounded } from "./kit.js";

export default lab((page) => {
  const { t, about } = page;

  // Settings
  page.imageChoice({ drawing: "drawing" });
  page.slider("size", { label: t("height, width", "高、宽"), min: 5, max: 64, show: (side) => `${side} px` });
  page.toggle("colour", { label: t("three channels (red, green, blue)", "三个通道（红、绿、蓝）") });
  const kernel = page.group(t("kernel", "卷积核"));
  const names = { edges: t("vertical edges", "竖直边缘"), "level edges": t("horizontal edges", "水平边缘"), blur: t("blur", "模糊"),
    sharpen: t("sharpen", "锐化"), outline: t("outline", "轮廓"), identity: t("identity", "恒等"), shift: t("shift", "平移"), random: t("random", "随机") };
  page.choice("preset", {
    into: kernel, label: t("weights", "权重"),
    options: ({ weights, preset }) => [...about.presets.map((each) => [each, weights && each === preset ? `${names[each]} (${t("changed", "已修改")})` : names[each]])],
    change: (preset) => ({ preset, weights: null }),
  });
  const sides = (name, label, into, max, more = {}) => {
    for (const [place, text] of [[0, t("rows", "行")], [1, t("columns", "列")]]) {
      pairSlider(page, name, place, { label: `${label}, ${text}`, into, max, more });
    }
  };
  sides("kernel", t("size", "大小"), kernel, 7, { weights: null });
  page.slider("out_channels", { into: kernel, label: t("how many", "个数"), min: 1, max: 4 });
  page.slider("groups", { into: kernel, label: t("groups", "分组"), min: 1, max: 3 });
  page.slider("bias", { into: kernel, label: t("bias", "偏置"), min: -1, max: 1, step: 0.05 });
  kernel.append(make("p", { className: "soft", style: { margin: 0, fontSize: ".87rem" }, textContent: t(
    "Each kernel gives one output. Groups: a kernel reads only its share of the channels. The bias is added to every output.",
    "每个卷积核得到一个输出。分组：每个核只读自己那一份通道。偏置：加到每个输出值上。") }));
  const steps = page.group(t("stride, dilation, padding", "步幅、空洞、填充"));
  sides("stride", t("stride", "步幅"), steps, 4);
  sides("dilation", t("dilation", "空洞"), steps, 4);
  const tools = make("div", { className: "tools" });
  steps.append(tools);
  page.button(t("no padding", "不填充"), () => page.set({ padding: [0, 0, 0, 0] }), { into: tools });
  page.button(t("same size", "保持大小"), () => page.set({ padding: "same", stride: [1, 1] }), { into: tools });
  [t("above", "上"), t("below", "下"), t("left", "左"), t("right", "右")].forEach((label, place) => {
    pairSlider(page, "padding", place, { label: `${t("padding", "填充")}, ${label}`, into: steps, min: 0, max: 6 });
  });
  steps.append(make("p", { className: "soft", style: { margin: 0, fontSize: ".87rem" }, textContent: t(
    "Stride: pixels from one output to the next. Dilation: pixels from one weight to the next. Padding: zeros around the image.",
    "步幅：相邻输出相隔的像素数。空洞：相邻权重相隔的像素数。填充：图像四周的零。") }));
  page.choice("view", { label: t("show", "显示"), options: [
    ["forward", t("products of one output", "一个输出的各乘积")], ["backward", t("gradient of one output", "一个输出的梯度")], ["learn", t("a kernel that is learned", "学习卷积核")]] });

  // Figure
  let looked = 0, channel = 0; // the channel of the input, and of the output, that is looked at
  const pick = (cell) => { if (cell) page.set({ unit: [channel, ...cell] }); };
  const [left, middle, right] = ["wide", "narrow", "wide"].map((width) => make("div", { className: `column ${width}` }));
  page.stage.append(left, middle, right);
  const input = page.matrix({ label: t("input", "输入"), kind: "grey", into: left });
  const inputs = make("div", { className: "tools" }), outputs = make("div", { className: "tools" });
  left.append(inputs);
  const kernelTitle = make("figcaption", { textContent: t("kernel: type, or drag a value up and down", "卷积核：输入数值，或上下拖动") });
  middle.append(kernelTitle);
  const grid = page.grid({ label: t("kernel", "卷积核"), into: middle, change: (index, value) => {
    const weights = nested(page.shown.weight);
    const [, , , columns] = page.shown.weight.shape;
    weights[channel][kernelOf()][Math.floor(index / columns)][index % columns] = value;
    page.set({ weights });
  } });
  const learned = page.matrix({ label: t("learned", "学到的"), into: middle, height: 160 });
  const output = page.matrix({ label: t("output: point at a value", "输出：指向一个值"), into: right, point: pick, leave: false });
  right.append(outputs);
  const sums = make("div", { className: "across" }), sum = make("p", { className: "sum" });
  page.stage.append(sums);
  sums.append(make("div", { className: "tools walk" }), sum);
  const walk = sums.firstChild;
  let playing = null;
  const next = () => {
    const [, rows, columns] = page.shown.output.shape, [, row, column] = page.settings.unit ?? [channel, 0, -1];
    const place = (row * columns + column + 1) % (rows * columns);
    page.set({ unit: [channel, Math.floor(place / columns), place % columns] });
  };
  const stop = () => { clearInterval(playing); playing = null; play.textContent = t("Play", "播放"); };
  page.button(t("Next output", "下一个输出"), () => { stop(); next(); }, { into: walk });
  const play = page.button(t("Play", "播放"), () => {
    if (playing) stop();
    else { playing = setInterval(next, 250); play.textContent = t("Pause", "暂停"); }
  }, { into: walk });
  play.hidden = page.calm;
  page.onClose = stop;
  const losses = page.plot({ label: t("loss of the learned kernel, a step each: drag", "学习过程中每一步的损失：可拖动"), x: t("step", "步"), log: true, into: sums,
    press: (x) => page.set({ step: Math.max(0, Math.min(about.most_steps, Math.round(x))) }) });
  const rate = page.slider("rate", { label: t("learning rate", "学习率"), min: 0.01, max: 10, step: 0.05, log: true });
  const kernelOf = () => Math.min(looked, page.shown.weight.shape[1] - 1);

  const choose = (box, count, chosen, title, use) => {
    box.hidden = count < 2;
    box.replaceChildren(...Array.from({ length: count }, (_, i) => {
      const button = make("button", { type: "button", textContent: `${title} ${i}`, ariaPressed: String(i === chosen), className: i === chosen ? "main" : "" });
      button.addEventListener("click", () => { use(i); page.redraw(); });
      return button;
    }));
  };

  return (shown, settings) => {
    const { unit, backward, learned: learning } = shown;
    looked = Math.min(looked, shown.input.shape[0] - 1);
    channel = unit ? unit.place[0] : Math.min(channel, shown.output.shape[0] - 1);
    choose(inputs, shown.input.shape[0], looked, t("channel", "通道"), (i) => { looked = i; });
    choose(outputs, shown.output.shape[0], channel, t("kernel", "核"), (i) => {
      channel = i;
      if (page.settings.unit) page.set({ unit: [i, ...page.settings.unit.slice(1)] });
    });
    const plane = surrounded(at(backward ? backward.input : shown.input, looked), shown.sides);
    const [[top], [start]] = shown.sides, [, height, width] = shown.input.shape;
    const outside = (row, column) => row < top || column < start || row >= top + height || column >= start + width;
    const sees = unit && looked >= unit.channels[0] && looked < unit.channels[1];
    const cells = sees ? unit.rows.flatMap((row) => unit.columns.map((column) => [row + top, column + start])) : [];
    input.draw(plane, {
      kind: backward ? "signed" : "grey", range: backward ? undefined : [0, 1], marks: cells.length ? [{ cells }] : [], faint: outside,
      title: `${backward ? t("gradient of the input (how much the chosen output changes with each value)", "输入的梯度（所选输出随每个值变化的程度）") : t("input", "输入")} ${height}×${width}${Math.max(...shown.sides.flat()) ? ` ${t("and its padding", "及其填充")}` : ""}`,
    });
    grid.draw(at(backward ? backward.weight : shown.weight, channel, kernelOf()));
    kernelTitle.textContent = backward ? t("gradient of the kernel", "卷积核的梯度") : t("kernel: type, or drag a value up and down", "卷积核：输入数值，或上下拖动");
    for (const cell of grid.element.children) cell.readOnly = Boolean(backward);
    learned.element.hidden = !learning;
    losses.element.hidden = rate.hidden = !learning;
    if (learning) {
      learned.draw(at(learning.kernel, channel, kernelOf()), { range: extent(at(shown.weight, channel)), title: t(`learned in ${settings.step} steps`, `经过 ${settings.step} 步学到`) });
      const loss = digits(learning.losses[settings.step]);
      losses.draw([{ name: t("loss", "损失"), y: learning.losses }], { at: settings.step,
        title: t(`loss, half the mean squared difference to the output of the kernel above: ${loss} at step ${settings.step}; drag`,
          `损失，即与上方卷积核输出之差的平方的平均的一半：第 ${settings.step} 步为 ${loss}；可拖动`) });
    }
    const values = at(learning ? learning.output : shown.output, channel);
    const [rows, columns] = values.shape;
    output.draw(values, { range: extent(shown.output), marks: unit ? [{ row: unit.place[1], col: unit.place[2] }] : [],
      title: `${t("output: point at a value", "输出：指向一个值")} ${rows}×${columns}` });
    walk.hidden = Boolean(learning);
    sum.textContent = unit ? spelled(unit) : t("Point at the output to see what it is made of.", "指向输出，查看它由什么构成。");
  };
});

// A slider for one place of a setting that is a list; "same" padding becomes the zeros that it stands for, also with a
// stride, which it does not go with.
function pairSlider(page, name, place, { label, into, min = 1, max, more = {} }) {
  const out = make("output"), input = make("input", { type: "range", min, max, step: 1, ariaLabel: label });
  const list = () => (page.settings[name] === "same" ? page.shown?.sides.flat() ?? [0, 0, 0, 0] : page.settings[name]);
  const zeros = () => (name === "stride" && page.settings.padding === "same" && page.shown ? { padding: page.shown.sides.flat() } : {});
  input.addEventListener("input", () => page.set({ ...more, ...zeros(), [name]: list().with(place, Number(input.value)) }));
  const show = () => { input.value = list()[place]; out.textContent = input.ariaValueText = String(list()[place]); };
  page.bound.push(show);
  page.redraws.push(show);
  into.append(make("label", { className: "row" }, make("span", { textContent: label }), input, out));
}

function nested(array) {
  return array.shape.length ? Array.from({ length: array.shape[0] }, (_, i) => { const part = at(array, i); return typeof part === "number" ? part : nested(part); }) : array.data[0];
}

// 0.5·1 + 0.25·(-1) + … = 0.25, and at most so many terms.
function spelled({ window, weights, value, bias, place }) {
  const { data } = window, terms = [];
  for (let i = 0; i < Math.min(data.length, 27); i++) terms.push(`${digits(data[i], 2)}·${signed(weights.data[i])}`);
  const rest = data.length > 27 ? " + …" : "", shift = bias ? ` + ${digits(bias)}` : "";
  return `y[${place.join(", ")}] = ${terms.join(" + ")}${rest}${shift} = ${digits(value)}`;
}

const signed = (value) => (value < 0 ? `(${digits(value, 2)})` : digits(value, 2));
