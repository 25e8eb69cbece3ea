import { at, digits, extent, lab, make } from "./kit.js";

export default lab((page) => {
  const { t, about } = page;

  // Settings
  page.choice("mode", { label: t("mode", "模式"), options: [["training", t("training", "训练")], ["eval", t("eval", "评估")]] });
  const layer = page.group(t("values before", "归一化之前的数值"));
  page.choice("layer", { into: layer, label: t("layer", "层"), change: (value) => ({ layer: value, channel: 0 }),
    options: [["pixels", t("the pixels", "像素")], ["first", t("convolution 1", "卷积 1")], ["second", t("convolution 2", "卷积 2")]] });
  const channel = page.slider("channel", { into: layer, label: t("channel", "通道"), min: 0, max: 5 });
  page.bound.push((settings) => { channel.hidden = about.channels[settings.layer] < 2; channel.querySelector("input").max = about.channels[settings.layer] - 1; });
  page.slider("scale", { into: layer, label: t("stretch by", "拉伸"), min: 0.1, max: 5, step: 0.05, show: (value) => `× ${digits(value)}` });
  page.slider("shift", { into: layer, label: t("shift by", "平移"), min: -1, max: 1, step: 0.05 });
  page.toggle("constant", { into: layer, label: t("the same value everywhere", "处处为同一数值") });
  const batches = page.group(t("batches", "批量"));
  page.choice("batch_size", { into: batches, label: t("batch size", "批量大小"), options: ({ batch_size: size }) => [...new Set([...about.batch_sizes, size])].sort((a, b) => a - b).map((each) => [each, String(each)]) });
  page.slider("step", { into: batches, label: t("batches so far", "已见批量数"), min: 0, max: about.most_steps });
  page.slider("momentum", { into: batches, label: t("momentum", "动量"), min: 0, max: 1, step: 0.01 });
  const output = page.group(t("output", "输出"));
  page.slider("gamma", { into: output, label: "γ", min: -3, max: 3, step: 0.01 });
  page.slider("beta", { into: output, label: "β", min: -3, max: 3, step: 0.01 });
  page.slider("eps", { into: output, label: "ε", min: 1e-8, max: 1, step: 0.1, log: true });
  output.append(make("p", { className: "soft", style: { margin: 0, fontSize: ".87rem" }, textContent: t("output = γ · (value − mean) / √(variance + ε) + β", "输出 = γ · (数值 − 均值) / √(方差 + ε) + β") }));
  const picture = page.group(t("the image in many batches", "在多个批量中的图像"));
  page.imageChoice({ drawing: "drawing", into: picture });

  // Figure
  const row = () => { const box = make("div", { className: "across stage" }); page.stage.append(box); return box; };
  const histograms = row();
  const before = page.plot({ label: t("before", "归一化之前"), x: t("value", "数值"), bars: true, into: histograms, height: 170 });
  const after = page.plot({ label: t("after", "归一化之后"), x: t("value", "数值"), bars: true, into: histograms, height: 170 });
  const text = make("div", { className: "across" }), words = make("p", { className: "sum" }), table = make("table", { className: "statistics" });
  text.append(table, words);
  page.stage.append(text);
  const history = row();
  const press = (x) => page.set({ step: Math.max(0, Math.min(about.most_steps, Math.round(x))) });
  const x = t("batches so far: drag", "已见批量数：可拖动");
  const means = page.plot({ label: t("mean", "均值"), x, into: history, press });
  const variances = page.plot({ label: t("variance (logarithmic)", "方差（对数坐标）"), x, into: history, press, log: true });
  const one = row(), maps = make("div", { className: "across stage" });
  const title = make("p", { className: "sum" });
  one.append(title, maps);
  title.style.flexBasis = "100%";
  const image = page.matrix({ label: t("image", "图像"), kind: "grey", into: maps, height: 150 });
  const raw = page.matrix({ label: t("before", "之前"), into: maps, height: 150 });
  const normalised = [0, 1, 2].map((i) => page.matrix({ label: t(`in batch ${i + 1}`, `在批量 ${i + 1} 中`), into: maps, height: 150 }));
  const outputs = page.plot({ label: t("output of its largest unit in each batch", "其最大单元在各批量中的输出"), x: t("batch", "批量"), into: one, height: 150 });
  const spreads = page.plot({ label: t("spread for each batch size: press one", "各批量大小下的散布：按下选择"), x: t("batch size as a power of 2", "批量大小（2 的幂）"), into: one, height: 150,
    press: (power) => page.set({ batch_size: 2 ** Math.max(1, Math.min(about.batch_sizes.length, Math.round(power))) }) });

  return (shown, settings) => {
    const training = settings.mode === "training";
    draw(before, shown.before, t("before", "归一化之前"), page);
    draw(after, shown.after, t("after", "归一化之后"), page);
    const cell = (tag, value, used = false) => make(tag, { textContent: value, style: { padding: ".15rem .9rem .15rem 0", textAlign: "left", fontWeight: used ? "bold" : "normal", color: tag === "th" && !used ? page.colour("soft") : "inherit" } });
    const columns = [[t("this batch", "这一批量"), shown.batch, training], [t("running", "滑动统计量"), shown.running, !training], [t("all images", "全部图像"), shown.whole, false], [t("output", "输出"), shown.output, false]];
    table.replaceChildren(
      make("tr", {}, cell("th", ""), ...columns.map(([name, , used]) => cell("th", used ? `${name} ✓` : name, used))),
      make("tr", {}, cell("th", t("mean", "均值")), ...columns.map(([, { mean }, used]) => cell("td", near(mean), used))),
      make("tr", {}, cell("th", t("variance", "方差")), ...columns.map(([, each, used]) => cell("td", near(each.var), used))));
    table.style.fontVariantNumeric = "tabular-nums";
    words.textContent = training
      ? t(`Training mode: the batch's own statistics (✓) are used. Its mean becomes β = ${digits(settings.beta)}, its variance γ² σ²/(σ² + ε) = ${near(shown.output.var)}.`,
        `训练模式：使用该批量自己的统计量（✓）。均值变为 β = ${digits(settings.beta)}，方差变为 γ² σ²/(σ² + ε) = ${near(shown.output.var)}。`)
      : t(`Eval mode: the running statistics (✓) after ${settings.step} batches are used, whatever is in this batch.`,
        `评估模式：使用经过 ${settings.step} 个批量后的滑动统计量（✓），与这一批量的内容无关。`);
    const { history: past } = shown, flat = (value) => Float32Array.from(past.running_mean.data, () => value);
    const lines = (name) => [
      { name: t("of each batch", "各批量"), y: past[`batch_${name}`].data, colour: page.colour("soft") },
      { name: t("running", "滑动"), y: past[`running_${name}`].data },
      { name: t("of all images", "全部图像"), y: flat(shown.whole[name]), colour: page.colour("mark2") },
    ];
    const rule = t("running ← ", "滑动 ← ") + `${digits(1 - settings.momentum)} · ${t("running", "滑动")} + ${digits(settings.momentum)} · ${t("new", "新")}`;
    means.draw(lines("mean"), { at: settings.step, title: `${t("mean", "均值")}: ${rule}` });
    variances.draw(lines("var"), { at: settings.step, title: `${t("variance (logarithmic)", "方差（对数坐标）")}: ${rule}` });
    title.textContent = t(`One image in 12 batches of ${settings.batch_size}, each time with other images: the spread of its outputs (their standard deviation) is ${digits(shown.spread)}.`,
      `同一幅图像出现在 12 个大小为 ${settings.batch_size} 的批量中，每次与不同的图像一起：其输出的散布（标准差）为 ${digits(shown.spread)}。`);
    image.draw(shown.image, { range: [0, 1] });
    raw.draw(shown.map);
    const range = extent(shown.normalised);
    normalised.forEach((each, i) => each.draw(at(shown.normalised, i), { range }));
    const numbers = Array.from(shown.outputs.data, (_, i) => i + 1), middle = shown.outputs.data.reduce((sum, value) => sum + value, 0) / numbers.length;
    const reach = Math.max(1, ...Array.from(shown.outputs.data, (value) => Math.abs(value - middle)));
    outputs.draw([{ y: shown.outputs.data, x: numbers }], { range: [middle - reach, middle + reach] });
    spreads.draw([{ y: shown.spreads, x: about.batch_sizes.map(Math.log2) }], { at: Math.log2(settings.batch_size), range: [0, Math.max(0.2, ...shown.spreads)] });
  };
});

const near = (value) => digits(Math.abs(value) < 5e-6 ? 0 : value);

// A histogram, and how much of it does not fit.
function draw(plot, { low, high, middles, shares, below, above }, name, page) {
  const { t } = page;
  const outside = below + above;
  plot.draw([{ y: shares.data, x: middles.data, colour: page.colour("accent") }], { xRange: [low, high], range: [0, Math.max(0.1, ...shares.data)],
    title: outside > 0.0005 ? t(`${name} (${digits(100 * outside, 1)}% lie outside)`, `${name}（${digits(100 * outside, 1)}% 在范围之外）`) : name });
}
