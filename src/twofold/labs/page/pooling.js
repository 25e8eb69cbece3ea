import { at, digits, extent, lab, make, surrounded } from "./kit.js";

export default lab((page) => {
  const { t } = page;

  // Settings
  page.imageChoice({ drawing: "drawing" });
  page.slider("size", { label: t("height, width", "高、宽"), min: 8, max: 64, show: (side) => `${side} px` });
  page.toggle("colour", { label: t("three channels (red, green, blue)", "三个通道（红、绿、蓝）") });
  const shift = page.group(t("move the image (or drag it)", "移动图像（也可以拖动）"));
  page.slider("dx", { into: shift, label: t("to the right", "向右"), min: -16, max: 16, show: (d) => `${d} px` });
  page.slider("dy", { into: shift, label: t("down", "向下"), min: -16, max: 16, show: (d) => `${d} px` });
  page.choice("edge", { into: shift, label: t("at the edge", "边缘处"), options: [["black", t("black", "补黑色")], ["wrap", t("around", "循环")]] });
  page.slider("same_within", { into: shift, label: t("same within", "相同的误差"), min: 0, max: 0.5, step: 0.01 });
  page.button(t("Back to where it was", "移回原处"), () => page.set({ dx: 0, dy: 0 }), { into: shift });
  const window_ = page.group(t("pooling", "池化"));
  page.choice("pool", { into: window_, label: t("kind", "种类"), options: [
    ["max", t("maximum", "最大")], ["average", t("average", "平均")], ["adaptive", t("adaptive", "自适应平均")]] });
  const rows = [t("down", "竖直"), t("across", "水平")];
  const half = (kernel) => page.settings.padding.map((pad, i) => Math.min(pad, Math.floor(kernel[i] / 2)));
  const fixed = rows.map((text, i) => pairRow(page, window_, {
    label: `${t("window", "窗口")}, ${text}`, min: 1, max: 8, value: () => page.settings.kernel[i],
    // Padding is at most half the window; a smaller window takes less of it.
    use: (side) => { const kernel = page.settings.kernel.with(i, side); page.set({ kernel, padding: half(kernel) }); } }));
  fixed.push(...rows.map((text, i) => pairRow(page, window_, {
    label: `${t("stride", "步幅")}, ${text}`, min: 1, max: 8, value: () => (page.settings.stride ?? page.settings.kernel)[i],
    use: (step) => page.set({ stride: (page.settings.stride ?? page.settings.kernel).with(i, step) }) })));
  const asWindow = page.button(t("Stride as the window", "步幅与窗口相同"), () => page.set({ stride: null }), { into: window_ });
  fixed.push(asWindow, ...rows.map((text, i) => pairRow(page, window_, {
    label: `${t("padding", "填充")}, ${text}`, min: 0, max: 4, value: () => page.settings.padding[i],
    use: (pad) => page.set({ padding: half(page.settings.kernel).with(i, Math.min(pad, Math.floor(page.settings.kernel[i] / 2))) }) })));
  fixed.push(page.toggle("ceil_mode", { into: window_, label: t("windows may hang over (ceil_mode)", "窗口可超出边缘（ceil_mode）") }));
  const counted = page.toggle("count_include_pad", { into: window_, label: t("padding counts in the average", "填充计入平均值") });
  const adaptive = rows.map((text, i) => pairRow(page, window_, {
    label: `${t("parts", "份数")}, ${text}`, min: 1, max: 8, value: () => page.settings.parts[i], use: (parts) => page.set({ parts: page.settings.parts.with(i, parts) }) }));
  const whole = page.button(t("Global: one part", "全局：只有一份"), () => page.set({ parts: [1, 1] }), { into: window_ });
  const before = page.group(t("before the pooling", "池化之前"));
  page.choice("convolution", { into: before, label: t("convolution", "卷积"), options: [
    ["none", t("none", "无")], ["edges", t("vertical edges", "竖直边缘")], ["level edges", t("horizontal edges", "水平边缘")],
    ["blur", t("blur", "模糊")], ["sharpen", t("sharpen", "锐化")], ["outline", t("outline", "轮廓")]] });
  const maps = [page.slider("maps", { into: before, label: t("feature maps", "特征图"), min: 1, max: 4 }), page.toggle("rectify", { into: before, label: t("ReLU after it", "之后接 ReLU") })];
  page.choice("view", { label: t("show", "显示"), options: [
    ["window", t("one window", "一个窗口")], ["gradient", t("one gradient", "一个输出的梯度")], ["gradient of all", t("all gradients", "所有输出的梯度")]] });

  // Figure
  let channel = 0;
  const pick = (cell) => { if (cell) page.set({ unit: [channel, ...cell] }); };
  const column = (...inside) => { const box = make("div", { className: "column wide" }, ...inside); page.stage.append(box); return box; };
  const channels = make("div", { className: "tools across" });
  const left = column(), right = column();
  const picture = page.matrix({ label: t("image: drag it", "图像：可拖动"), kind: "grey", into: left, height: 150 });
  const input = page.matrix({ label: t("input", "输入"), kind: "grey", into: left });
  const output = page.matrix({ label: t("output", "输出"), into: right, point: pick, leave: false, largest: 48 });
  page.stage.append(channels);
  const detail = make("div", { className: "across", style: { display: "flex", flexWrap: "wrap", gap: "1rem", alignItems: "center" } }), text = make("p", { className: "sum" });
  page.stage.append(detail);
  const seen = page.matrix({ label: t("window", "窗口"), kind: "grey", into: detail, largest: 44, height: 200 });
  detail.append(text);
  const after = make("div", { className: "across" }), table = make("table", { style: { borderSpacing: "1rem .1rem", marginLeft: "-1rem", textAlign: "right", fontVariantNumeric: "tabular-nums" } }), note = make("p", { className: "sum" });
  const pictures = make("div", { style: { display: "flex", flexWrap: "wrap", gap: ".8rem 1.2rem", marginTop: ".6rem" } });
  after.append(make("figcaption", { textContent: t("what stays when the image moves", "图像移动时什么不变") }), table, note, pictures);
  page.stage.append(after);
  const small = [
    [t("before: input", "移动前：输入"), "grey"], [t("before: output", "移动前：输出"), "grey"], [t("after: output", "移动后：输出"), "grey"], [t("difference", "输出之差"), "signed"],
  ].map(([label, kind]) => { const box = make("div", { style: { width: "11rem", maxWidth: "calc(50% - .6rem)" } }); pictures.append(box); return page.matrix({ label, kind, into: box, largest: 12, height: 180 }); });
  dragged(page, input);
  dragged(page, picture);

  return (shown, settings) => {
    const isAdaptive = settings.pool === "adaptive", { unit, gradient, stayed } = shown;
    for (const row of fixed) row.hidden = isAdaptive;
    counted.hidden = settings.pool !== "average";
    asWindow.disabled = settings.stride === null;
    for (const row of [...adaptive, whole]) row.hidden = !isAdaptive;
    for (const row of maps) row.hidden = settings.convolution === "none";
    channel = unit ? unit.place[0] : Math.min(channel, shown.output.shape[0] - 1);
    chooseChannel(page, channels, shown, channel, (i) => {
      channel = i;
      if (settings.unit) page.set({ unit: [i, ...settings.unit.slice(1)] });
      else page.redraw();
    });

    const [[top], [start]] = shown.sides, [, height, width] = shown.input.shape;
    const outside = (row, col) => row < top || col < start || row >= top + height || col >= start + width;
    picture.element.hidden = !shown.image;
    if (shown.image) picture.draw(shown.image.shape[0] === 3 ? shown.image : at(shown.image, 0), { range: [0, 1] });
    const kind = settings.convolution === "none" ? "grey" : "signed", range = kind === "grey" ? [0, 1] : extent(shown.input);
    const marks = unit ? [{ row: unit.rows[0] + top, col: unit.columns[0] + start, rows: unit.rows[1] - unit.rows[0], cols: unit.columns[1] - unit.columns[0] }] : [];
    if (unit?.winner) marks.push({ row: unit.winner[0] + top, col: unit.winner[1] + start, colour: "mark2" });
    const slope = settings.view === "gradient" ? t("gradient of the input (how much the chosen output changes with each value)", "输入的梯度（所选输出随每个值变化的程度）")
      : t("gradient of the input (how much the sum of all outputs changes with each value)", "输入的梯度（所有输出之和随每个值变化的程度）");
    const what = gradient ? slope : settings.convolution === "none" ? t("image: drag it", "图像：可拖动") : t("feature map: drag it", "特征图：可拖动");
    input.draw(surrounded(at(gradient ?? shown.input, channel), shown.sides), {
      kind: gradient ? "signed" : kind, range: gradient ? extent(gradient) : range, marks, faint: outside,
      title: `${what} ${height}×${width}${Math.max(...shown.sides.flat()) ? ` ${t("and its padding", "及其填充")}` : ""}`,
    });
    const values = at(shown.output, channel), size = values.shape.join("×");
    output.draw(values, { kind, range, marks: unit ? [{ row: unit.place[1], col: unit.place[2] }] : [], title: `${t("output: point at a value", "输出：指向一个值")} ${size}` });

    detail.hidden = settings.view === "gradient of all";
    seen.element.hidden = !unit || !unit.window.data.length || unit.window.data.length > 100;
    if (!seen.element.hidden) {
      const [first, begin] = [Math.max(0, unit.rows[0]), Math.max(0, unit.columns[0])];
      seen.draw(unit.window, { kind, range, marks: unit.winner ? [{ row: unit.winner[0] - first, col: unit.winner[1] - begin, colour: "mark2" }] : [] });
    }
    text.textContent = unit ? spelled(unit, t) : t("Point at the output to see its window.", "指向输出，查看它的窗口。");

    const isMoved = settings.dx !== 0 || settings.dy !== 0;
    table.hidden = pictures.hidden = !isMoved;
    note.textContent = isMoved && isAdaptive ? t("Adaptive pooling has no stride: each output is the mean of what is in its part now.", "自适应池化没有步幅：每个输出都是此刻自己那一份的平均。") : isMoved ? movedNote(stayed.moved, t) : t("Drag the image, or use the arrow keys on it.", "拖动图像，或在图像上使用方向键。");
    if (!isMoved) return;
    const share = (value) => make("td", { textContent: `${digits(100 * value, 1)} %` });
    table.replaceChildren(
      make("tr", {}, make("th", { textContent: t(`share that changed by ${digits(settings.same_within)} at most`, `变化不超过 ${digits(settings.same_within)} 的比例`), style: { textAlign: "left" } }), make("th", { textContent: t("all", "全部") }), make("th", { textContent: t("not empty", "非空") })),
      make("tr", {}, make("td", { style: { textAlign: "left" }, textContent: t("outputs", "输出") }), share(stayed.outputs), share(stayed.outputs_not_empty)),
      make("tr", {}, make("td", { style: { textAlign: "left" }, textContent: settings.convolution === "none" ? t("pixels", "像素") : t("values of the map", "特征图的值") }), share(stayed.inputs), share(stayed.inputs_not_empty)));
    const [image, was, is, difference] = small;
    image.draw(at(shown.before.input, channel), { kind, range });
    was.draw(at(shown.before.output, channel), { kind, range });
    is.draw(values, { kind, range });
    const most = Math.max(1e-6, ...range.map(Math.abs));
    difference.draw(at(shown.difference, channel), { range: [-most, most] });
  };
});

// A row with a slider for one place of a setting that is a pair.
function pairRow(page, into, { label, min, max, value, use }) {
  const out = make("output"), input = make("input", { type: "range", min, max, step: 1, ariaLabel: label });
  input.addEventListener("input", () => use(Number(input.value)));
  page.bound.push(() => { input.value = value(); out.textContent = input.ariaValueText = String(value()); });
  const row = make("label", { className: "row" }, make("span", { textContent: label }), input, out);
  into.append(row);
  return row;
}

// The image follows the pointer, a pixel for a pixel of it; arrow keys move it by one.
function dragged(page, matrix) {
  const { t } = page, { canvas } = matrix, within = (d) => Math.max(-16, Math.min(16, d));
  const move = (dx, dy) => {
    page.set({ dx: within(dx), dy: within(dy) });
    page.announce.textContent = t(`moved ${page.settings.dx} to the right, ${page.settings.dy} down`, `向右 ${page.settings.dx}，向下 ${page.settings.dy}`);
  };
  canvas.tabIndex = 0;
  Object.assign(canvas.style, { touchAction: "none", cursor: "grab" });
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const pixel = canvas.getBoundingClientRect().width / matrix.values.shape[1];
    from = { x: event.clientX, y: event.clientY, dx: page.settings.dx, dy: page.settings.dy, pixel };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const dx = from.dx + Math.round((event.clientX - from.x) / from.pixel), dy = from.dy + Math.round((event.clientY - from.y) / from.pixel);
    if (dx !== page.settings.dx || dy !== page.settings.dy) move(dx, dy);
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { from = null; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    move(page.settings.dx + step[0], page.settings.dy + step[1]);
  });
}

function chooseChannel(page, box, shown, channel, use) {
  const count = shown.output.shape[0], title = page.settings.convolution === "none" ? page.t("channel", "通道") : page.t("map", "特征图");
  box.hidden = count < 2;
  box.replaceChildren(...Array.from({ length: count }, (_, i) => {
    const button = make("button", { type: "button", textContent: `${title} ${i}`, ariaPressed: String(i === channel), className: i === channel ? "main" : "" });
    button.addEventListener("click", () => use(i));
    return button;
  }));
}

// y[0, 3, 4] = max of 4 values = 0.83, or the sum times the share of each.
function spelled({ place, window, value, winner, sum, share }, t) {
  const name = `y[${place.join(", ")}]`, count = window.data.length;
  if (winner) return t(`${name} = the largest of ${count} values = ${digits(value)}, at row ${winner[0]}, column ${winner[1]}`, `${name} = ${count} 个值中的最大值 = ${digits(value)}，位于第 ${winner[0]} 行、第 ${winner[1]} 列`);
  const counted = Math.round(1 / share), zeros = counted - count;
  const more = zeros > 0 ? t(` (${zeros} of the ${counted} are zeros of the padding)`, `（${counted} 个中有 ${zeros} 个是填充的零）`) : "";
  return t(`${name} = the mean of ${counted} values = ${digits(sum)} / ${counted} = ${digits(value)}${more}`, `${name} = ${counted} 个值的平均 = ${digits(sum)} / ${counted} = ${digits(value)}${more}`);
}

function movedNote(moved, t) {
  if (!moved) return t("The shift is no whole number of strides: the windows see other groups of pixels.", "平移不是步幅的整数倍：窗口看到的是另外分组的像素。");
  const to = `(${moved.rows}, ${moved.columns})`, share = digits(100 * moved.outputs, 1);
  return t(`The shift is a whole number of strides: the output moved by ${to} (rows, columns), and ${share} % of it arrived there unchanged.`,
    `平移是步幅的整数倍：输出移动了 ${to}（行、列），其中 ${share}% 原样到达。`);
}
