import { digits, extent, lab, make, write } from "./kit.js";

export default lab((page) => {
  const { t, about } = page;
  const surfaceZh = { quadratic: "二次函数", noisy: "带噪声的二次函数", "ill-conditioned": "狭长山谷（病态）", parabola: "抛物线", wave: "波浪", cubic: "三次函数", saddle: "鞍面", beale: "Beale 函数", himmelblau: "Himmelblau 函数", rosenbrock: "Rosenbrock 函数" };
  const surfaceEn = { "ill-conditioned": "long valley (ill-conditioned)" };
  const named = (name) => t(surfaceEn[name] ?? name, surfaceZh[name] ? `${surfaceZh[name]} ${name}` : name);
  const anew = { start: null, view: null, look: null, step: null, lr: {}, noise: null };

  // Settings
  page.choice("surface", { label: t("surface", "曲面"), change: (surface) => ({ surface, ...anew }), options: ({ surface }) => [
    ...about.surfaces.map(({ name }) => [name, named(name)]), ...(about.surfaces.some(({ name }) => name === surface) ? [] : [[surface, surface]])] });
  const formula = make("input", { type: "text", spellcheck: false, autocapitalize: "off", ariaLabel: t("or your own formula", "或自己的公式") });
  formula.addEventListener("change", () => { if (formula.value.trim()) page.set({ surface: formula.value.trim(), ...anew }); });
  page.controls.append(make("label", { className: "row" }, make("span", { textContent: t("or a formula", "或自己的公式") }), formula));
  page.bound.push(({ surface }) => {
    if (document.activeElement !== formula) formula.value = about.surfaces.find(({ name }) => name === surface)?.formula ?? surface;
  });
  const starts = ["x", "y"].map((axis, i) => {
    const input = make("input", { type: "number", step: 0.1, ariaLabel: `${t("start", "起点")} ${axis}` });
    input.addEventListener("input", () => {
      if (Number.isFinite(input.valueAsNumber) && page.shown) page.set({ start: page.shown.start.with(i, input.valueAsNumber), look: null });
    });
    return input;
  });
  const startRow = make("div", { className: "row" }, make("span", { textContent: t("start", "起点") }), make("div", { className: "tools" }, ...starts));
  for (const input of starts) Object.assign(input.style, { width: "50%", minWidth: 0, flex: "1 1 0" });
  Object.assign(startRow.lastChild.style, { gridColumn: "2 / 4", flexWrap: "nowrap" });
  page.controls.append(startRow);

  const racing = page.group(t("rules that race, and their learning rates", "参赛的规则及其学习率"));
  const racers = about.rules.map((rule) => racer(page, rule, racing));
  page.button(t("Suggest learning rates", "建议学习率"), () => page.set({ lr: {} }), { into: racing });
  page.choice("convention", { label: t("written as in", "写法"), into: racing, options: [["d2l", t("the book (D2L)", "《动手学》(D2L)")], ["torch", "torch"], ["both", t("both", "两种")]] });
  const constants = page.group(t("settings of the rules", "规则的设置"));
  const uses = { momentum: ["momentum", "nesterov"], gamma: ["rmsprop"], rho: ["adadelta"], beta1: ["adam", "adamw"], beta2: ["adam", "adamw"], epsilon: ["adagrad", "rmsprop", "adadelta", "adam", "adamw"] };
  const ownWord = t("default", "默认");
  const rows = {
    momentum: page.slider("momentum", { into: constants, label: t("momentum γ", "动量 γ"), min: 0, max: 0.99, step: 0.01 }),
    gamma: page.slider("gamma", { into: constants, label: "rmsprop γ", min: 0, max: 0.99, step: 0.01 }),
    rho: page.slider("rho", { into: constants, label: "adadelta ρ", min: 0, max: 0.99, step: 0.01 }),
    beta1: page.slider("beta1", { into: constants, label: "β₁", min: 0, max: 0.99, step: 0.01 }),
    beta2: page.slider("beta2", { into: constants, label: "β₂", min: 0, max: 0.999, step: 0.001 }),
    epsilon: page.slider("epsilon", { into: constants, label: "ε", min: 1e-10, max: 10, step: 0.1, log: true, show: (value) => (value === null ? ownWord : digits(value)) }),
    decay: page.slider("weight_decay", { into: constants, label: t("weight decay λ", "权重衰减 λ"), min: 0, max: 1, step: 0.01, show: (value) => (value === null ? ownWord : digits(value)) }),
  };
  page.bound.push((settings) => {
    for (const [name, rules] of Object.entries(uses)) rows[name].hidden = !rules.some((rule) => settings.rules.includes(rule));
    for (const [row, value, empty] of [[rows.epsilon, settings.epsilon, -8], [rows.decay, settings.weight_decay, 0]]) if (value === null) row.querySelector("input").value = empty;
  });
  const chance = page.group(t("noise of the gradient, and steps", "梯度噪声与步数"));
  const noise = page.slider("noise", { into: chance, label: t("noise", "噪声"), min: 0, max: 2, step: 0.05, show: (value) => digits(value ?? page.shown?.surface.noise ?? 0) });
  page.slider("seed", { into: chance, label: t("seed", "随机种子"), min: 0, max: 99 });
  page.slider("steps", { into: chance, label: t("steps", "步数"), min: 1, max: about.most_steps });

  // Figure
  const left = make("div", { className: "column wide" }), right = make("div", { className: "column wide" });
  left.style.flex = "1.7 1 20rem";
  page.stage.append(left, right);
  const map = new SurfaceMap(page, left);
  const walk = make("div", { className: "tools" });
  const slider = make("input", { type: "range", min: 0, step: 1, ariaLabel: t("step", "步") }), out = make("output");
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  const go = (step) => page.set({ step: step >= page.settings.steps ? null : Math.max(0, step) });
  const now = () => page.settings.step ?? page.settings.steps;
  let playing = null;
  const stop = () => { clearInterval(playing); playing = null; play.textContent = t("Play", "播放"); };
  page.button("|◀", () => { stop(); go(0); }, { into: walk }).ariaLabel = t("first step", "第一步");
  page.button("◀", () => { stop(); go(now() - 1); }, { into: walk }).ariaLabel = t("step back", "后退一步");
  const play = page.button(t("Play", "播放"), () => {
    if (playing) { stop(); return; }
    if (page.settings.step === null) go(0);
    write(play, t("Pause", "暂停"));
    playing = setInterval(() => { if (page.settings.step === null) stop(); else go(now() + 1); }, 120);
  }, { into: walk });
  play.hidden = page.calm;
  page.button("▶", () => { stop(); go(now() + 1); }, { into: walk }).ariaLabel = t("step forward", "前进一步");
  page.button("▶|", () => { stop(); go(Infinity); }, { into: walk }).ariaLabel = t("last step", "最后一步");
  page.onClose = stop;
  left.append(make("label", { className: "row" }, make("span", { textContent: t("step", "步") }), slider, out), walk, make("p", { className: "soft", textContent:
    t("Drag the start (ring). ★ minimum, ✕ saddle, ▲ maximum. Where you point: the arrow goes downhill, the two lines are the axes of the Hessian, short where it bends steeply, red where it bends down. Dashed arrows: against the gradient that the last step saw. Of two conventions, torch is dashed.",
      "拖动起点（圆环）。★ 最小值，✕ 鞍点，▲ 最大值。指针处：箭头指向下坡，两条线是海森矩阵的主轴，弯得急则短，向下弯则为红色。虚线箭头：上一步所见梯度的反方向。显示两种约定时，torch 为虚线。") }));

  const readout = make("dl", { className: "descent-facts" }), where = make("figcaption");
  right.append(where, readout);
  const losses = page.plot({ label: t("loss at each step: drag", "每一步的损失：可拖动"), x: t("step", "步"), into: right, height: 230, press: (x) => { stop(); go(Math.round(x)); } });
  const table = make("table", { className: "descent-table descent-standings" });
  page.stage.append(make("div", { className: "across descent-scroll" }, table));
  const cards = make("div", { className: "across descent-cards" });
  page.stage.append(cards);
  page.root.append(make("style", { textContent: STYLE }));

  return (shown, settings) => {
    map.take(shown);
    if (!map.isCurrent(shown)) { page.act("surface"); return; }
    if (shown.grid && page.wantsLines()) queueMicrotask(() => page.ask());
    const { paths } = shown, both = settings.convention === "both";
    const colours = paths.map(({ rule }) => ruleColour(page, about.rules.indexOf(rule)));
    const names = paths.map(({ rule, convention }) => (paths.filter((each) => each.rule === rule).length > 1 ? `${rule} (${convention})` : rule));
    map.draw(shown, colours, both);
    racers.forEach((each) => each.draw(shown));
    starts.forEach((input, i) => {
      input.hidden = i >= shown.surface.dimension;
      if (!input.hidden && document.activeElement !== input) input.value = Number(shown.start[i].toPrecision(6));
    });
    if (settings.noise === null) noise.querySelector("input").value = shown.surface.noise;
    slider.max = settings.steps;
    slider.value = shown.step;
    out.textContent = slider.ariaValueText = `${shown.step} / ${settings.steps}`;
    losses.log = paths.length > 0 && paths.every(({ values }) => extent(values)[0] > 0);
    if (paths.length) {
      // No more than the map shows: what falls without end would leave nothing to see of the rest.
      const seen = map.extent(), firsts = paths.map(({ values }) => values.data[0]), [low, high] = extent(...paths.map(({ values }) => values));
      const bottom = Math.max(low, Math.min(seen[0], ...firsts)), top = Math.min(high, bottom + 3 * (Math.max(...firsts) - bottom || 1));
      losses.draw(paths.map(({ values }, i) => ({ name: names[i], y: values.data, colour: colours[i] })), {
        at: shown.step, xRange: [0, settings.steps], range: losses.log ? null : [bottom, top],
        title: losses.log ? t("loss at each step, logarithmic: drag", "每一步的损失（对数坐标）：可拖动") : t("loss at each step: drag", "每一步的损失：可拖动") });
    }
    losses.element.hidden = !paths.length;
    write(where, settings.look ? t("at the pointer", "指针处") : t("at the start: point to look elsewhere", "起点处：指向别处可查看"));
    if (page.isToBeRead()) {
      readout.replaceChildren(...facts(page, shown, settings));
      table.replaceChildren(...standings(page, shown, names, colours));
      cards.replaceChildren(...paths.map((path, i) => card(page, path, names[i], colours[i], shown)));
    }
  };
});

const RULE_COLOURS = { light: ["#b3420e", "#1d6fb8", "#0f7f7f", "#8a6a00", "#2f7d32", "#6b6b6b", "#a81e5c", "#6f45c4"], dark: ["#ff9d66", "#6fb5f5", "#4fd0cf", "#e2c04d", "#7fd384", "#b9b9b9", "#ff85b8", "#b79bff"] };
const STYLE = `
.lab .descent-facts { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: .1rem .8rem; margin: 0; font-variant-numeric: tabular-nums; }
.lab .descent-facts dt { color: var(--soft); } .lab .descent-facts dd { margin: 0; }
.lab .descent-scroll { overflow-x: auto; max-width: 100%; }
.lab .descent-table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; width: 100%; }
.lab .descent-table :is(th, td) { text-align: right; padding: .15rem .4rem; font-weight: normal; white-space: nowrap; border-top: 1px solid var(--line); }
.lab .descent-table thead :is(th, td) { color: var(--soft); border: 0; }
.lab .descent-table :is(th, td):first-child { text-align: left; padding-left: 0; }
.lab .descent-table .ahead { font-weight: 600; }
.lab .descent-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14.5rem, 100%), 1fr)); gap: .8rem; }
.lab .descent-card { min-width: 0; background: var(--raised); border-radius: .5rem; border-top: 3px solid; padding: .4rem .7rem .5rem; }
.lab .descent-card th { white-space: normal !important; }
@media (max-width: 30rem) { .lab .descent-standings :is(tr > :nth-child(2), tr > :nth-child(5)) { display: none; } .lab .descent-standings :is(th, td) { white-space: normal; } }
.lab .descent-card h2 { font-size: .95rem; margin: 0 0 .1rem; color: var(--ink); }
.lab .swatch { display: inline-block; flex: none; width: .75em; height: .75em; border-radius: .15em; margin-right: .4em; }
.lab .racer { display: grid; grid-template-columns: 7.8rem minmax(0, 1fr) 4.2rem; gap: .4rem; align-items: center; }
.lab .racer label { font-size: .9rem; display: flex; gap: .35rem; align-items: center; white-space: nowrap; }
.lab .racer input[type=number] { width: 100%; min-width: 0; padding: .1rem .3rem; }
.lab .surface-map { touch-action: none; cursor: crosshair; }
`;

function ruleColour(page, index) {
  return RULE_COLOURS[page.isDark() ? "dark" : "light"][index];
}

// A rule: whether it races, and its learning rate as a slider and as a number.
function racer(page, rule, into) {
  const { t } = page, index = page.about.rules.indexOf(rule);
  const box = make("input", { type: "checkbox", ariaLabel: rule }), swatch = make("i", { className: "swatch", style: { margin: 0 } });
  const slider = make("input", { type: "range", min: -5, max: 1, step: 0.01, ariaLabel: `${t("learning rate of", "学习率：")} ${rule}` });
  const number = make("input", { type: "number", min: 0, step: "any", ariaLabel: `${t("learning rate of", "学习率：")} ${rule} (${t("number", "数值")})` });
  box.addEventListener("change", () => page.set({ rules: page.about.rules.filter((each) => (each === rule ? box.checked : page.settings.rules.includes(each))) }));
  const set = (lr) => { if (lr > 0) page.set({ lr: { ...page.settings.lr, [rule]: lr } }); };
  slider.addEventListener("input", () => set(Number((10 ** Number(slider.value)).toPrecision(3))));
  number.addEventListener("input", () => set(number.valueAsNumber));
  into.append(make("div", { className: "racer" }, make("label", {}, box, swatch, rule), slider, number));
  page.bound.push(({ rules }) => { box.checked = rules.includes(rule); slider.hidden = number.hidden = !box.checked; });
  return {
    draw({ paths }) {
      swatch.style.background = ruleColour(page, index);
      const lr = paths.find((path) => path.rule === rule)?.lr;
      if (lr === undefined) return;
      slider.value = Math.log10(lr);
      slider.ariaValueText = digits(lr);
      if (document.activeElement !== number) number.value = Number(lr.toPrecision(6));
    },
  };
}

// What Python says of the surface at the point that is looked at.
function facts(page, { here, surface }, settings) {
  const { t } = page, list = (values) => (values ?? []).map((value) => digits(value)).join(", ");
  const kinds = { minimum: t("up (valley)", "向上（谷）"), maximum: t("down (hill)", "向下（峰）"), saddle: t("both ways (saddle)", "一上一下（鞍）"), undecided: t("not in every direction", "某个方向不弯曲") };
  const rows = [
    [surface.dimension === 1 ? "x" : "(x, y)", list(here.point)], [t("value", "值"), digits(here.value)], [t("gradient", "梯度"), list(here.gradient)],
    [surface.dimension === 1 ? t("second derivative", "二阶导数") : t("eigenvalues of the Hessian", "海森矩阵的特征值"), here.eigenvalues ? list(here.eigenvalues) : t("not finite", "非有限值")],
    [t("it bends", "弯曲方向"), kinds[here.kind] ?? "–"],
  ];
  if (surface.dimension === 2) rows.push([t("condition number", "条件数"), here.condition === null ? "–" : digits(here.condition)]);
  const stable = here.stable;
  rows.push([t("largest stable rate, 2/λmax", "最大稳定学习率 2/λmax"), stable ? digits(stable.sgd) : "–"]);
  if (stable && settings.rules.some((rule) => rule === "momentum" || rule === "nesterov")) rows.push([t("with momentum, nesterov", "动量法、nesterov"), `${digits(stable.momentum)}, ${digits(stable.nesterov)}`]);
  return rows.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]);
}

function verdictWord(page, verdict) {
  const { t } = page, [, step] = verdict.match(/(\d+)$/) ?? [];
  if (verdict === "converged") return t("converged", "已收敛");
  if (verdict === "still moving") return t("still moving", "仍在移动");
  if (verdict === "diverging") return t("diverging", "正在发散");
  return verdict.startsWith("diverged") ? t(verdict, `第 ${step} 步发散`) : t(verdict, `第 ${step} 步离开定义域`);
}

// The race as a table.
function standings(page, { paths, ahead, step }, names, colours) {
  const { t } = page;
  if (!paths.length) return [make("tbody", {}, make("tr", {}, make("td", { textContent: t("Choose a rule.", "请选择一个规则。") })))];
  const head = [t("the race", "比赛"), t("learning rate", "学习率"), t(`loss at step ${step}`, `第 ${step} 步的损失`), t("at the end", "最后的损失"), t("to the minimum", "到最小值的距离"), t("how it ended", "结局")];
  return [
    make("thead", {}, make("tr", {}, ...head.map((textContent) => make("td", { textContent })))),
    make("tbody", {}, ...paths.map((path, i) => make("tr", { className: i === ahead ? "ahead" : "" },
      make("th", { scope: "row" }, make("i", { className: "swatch", style: { background: colours[i] } }), names[i], i === ahead && paths.length > 1 ? t(" – ahead", "（领先）") : ""),
      ...[digits(path.lr), digits(path.here), digits(path.last), digits(path.distance), verdictWord(page, path.verdict)].map((textContent) => make("td", { textContent }))))),
  ];
}

// A step of a rule: what it saw, its state before and after, and how far it went.
function card(page, { rule, at: did }, name, colour, { surface }) {
  const { t } = page, words = {
    velocity: t("velocity v", "速度 v"), square_sum: t("sum of squares s", "平方和 s"), grad_avg: t("average gradient v", "梯度平均 v"), square_avg: t("average square s", "平方平均 s"), delta_avg: t("average squared step Δ", "步长平方平均 Δ"),
  };
  if (rule === "adam" || rule === "adamw") words.grad_avg = t("first moment v", "一阶矩 v"), words.square_avg = t("second moment s", "二阶矩 s");
  const axes = surface.dimension === 1 ? ["x"] : ["x", "y"], row = (label, array) => make("tr", {}, make("th", { scope: "row", textContent: label }),
    ...axes.map((_, i) => make("td", { textContent: array && !Number.isNaN(array.data[i]) ? digits(array.data[i]) : "–" })));
  const states = Object.entries(did.state).flatMap(([part, values]) => [
    ...(did.before ? [row(t(`${words[part]}, before`, `${words[part]}，之前`), did.before[part])] : []), row(did.before ? t(`${words[part]}, after`, `${words[part]}，之后`) : words[part], values)]);
  return make("section", { className: "descent-card", style: { borderColor: colour } },
    make("h2", { textContent: did.step ? t(`${name}, step ${did.step}`, `${name}，第 ${did.step} 步`) : t(`${name}, start`, `${name}，起点`) }),
    make("div", { className: "descent-scroll" }, make("table", { className: "descent-table" },
      make("thead", {}, make("tr", {}, ...["", ...axes].map((textContent) => make("td", { textContent })))),
      make("tbody", {}, row(t("gradient g", "梯度 g"), did.gradient), ...states, row(t("step taken", "迈出的一步"), did.update), row(t("effective rate: step / −g", "有效学习率：步长 / −g"), did.effective), row(t("point", "位置"), did.point)))));
}

// The surface as a map of heights with contours, or as a curve, and the paths on it.
class SurfaceMap {
  constructor(page, into) {
    const { t } = page;
    this.page = page;
    this.title = make("figcaption");
    this.canvas = make("canvas", { role: "application", tabIndex: 0, className: "surface-map", ariaLabel: t("surface: drag the start, or move it with the arrow keys; Shift and arrow keys move the point that is looked at, + and − zoom", "曲面：拖动起点，或用方向键移动；Shift 加方向键移动观察点，+ 和 − 缩放") });
    const tools = make("div", { className: "tools" });
    into.append(make("figure", {}, this.title, this.canvas), tools);
    page.button(t("Zoom in", "放大"), () => this.zoom(0.5), { into: tools });
    page.button(t("Zoom out", "缩小"), () => this.zoom(2), { into: tools });
    page.button(t("Whole view", "全貌"), () => page.set({ view: null }), { into: tools });
    page.button(t("Usual start", "默认起点"), () => page.set({ start: null, look: null }), { into: tools });
    page.redraws.push(() => this.paint());
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.canvas.focus({ preventScroll: true });
      this.move(event, true);
    });
    this.canvas.addEventListener("pointermove", (event) => this.move(event, event.buttons & 1));
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.under(event));
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  take(shown) {
    if (shown.grid) Object.assign(this, { grid: shown.grid, gridOf: gridKey(shown), base: null });
  }

  isCurrent(shown) {
    return this.gridOf === gridKey(shown);
  }

  // Where the pointer is, in the coordinates of the surface, as few digits as the screen can tell apart.
  under(event) {
    const area = this.canvas.getBoundingClientRect(), { view } = this.shown.surface;
    const shares = [(event.clientX - area.left) / area.width, 1 - (event.clientY - area.top) / area.height];
    return view.map(([low, high], i) => rounded(low + shares[i] * (high - low), high - low));
  }

  move(event, isDrag) {
    if (!this.shown) return;
    const point = this.under(event);
    this.page.set(isDrag ? { start: point, look: null } : { look: point });
  }

  key(event) {
    const way = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (!this.shown || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["+", "=", "-"].includes(event.key)) this.zoom(event.key === "-" ? 2 : 0.5);
    else if (!way) return;
    else {
      const { view } = this.shown.surface, { settings } = this.page, from = event.shiftKey ? settings.look ?? this.shown.here.point : settings.start ?? this.shown.start;
      const point = view.map(([low, high], i) => rounded(from[i] + way[i] * (high - low) / 50, high - low));
      this.page.set(event.shiftKey ? { look: point } : { start: point, look: null });
      this.told = event.shiftKey ? "look" : "start";
    }
    event.preventDefault();
  }

  zoom(factor, around = this.page.settings.look ?? this.shown?.here.point) {
    if (!this.shown) return;
    this.page.set({ view: this.shown.surface.view.flatMap(([low, high], i) => {
      const inside = Math.min(high, Math.max(low, around[i])), span = Math.min(1e5, Math.max(1e-4, (high - low) * factor));
      const first = inside - (inside - low) / (high - low) * span;
      return [rounded(first, span), rounded(first + span, span)];
    }) });
  }

  draw(shown, colours, both) {
    Object.assign(this, { shown, colours, both });
    write(this.title, shown.surface.formula === shown.surface.name ? shown.surface.formula : `${shown.surface.name}: ${shown.surface.formula}`);
    if (!this.told) return;
    const { t } = this.page, point = this.told === "start" ? shown.start : shown.here.point;
    const ahead = shown.paths[shown.ahead];
    this.page.announce.textContent = `${this.told === "start" ? t("start", "起点") : t("looked at", "观察点")} ${point.map((x) => digits(x)).join(", ")}; ${this.told === "start" && ahead
      ? t(`${ahead.rule} is ahead with ${digits(ahead.here)}`, `${ahead.rule} 领先，损失 ${digits(ahead.here)}`) : t(`value ${digits(shown.here.value)}`, `值 ${digits(shown.here.value)}`)}`;
    this.told = null;
  }

  paint() {
    if (!this.shown || !this.grid) return;
    const { page, canvas, shown } = this, { surface } = shown, ratio = devicePixelRatio || 1, isCurve = surface.dimension === 1;
    const width = Math.max(200, Math.min(640, page.widthOf(canvas.parentElement) || 300)), [[x0, x1], [y0, y1]] = this.box();
    const height = Math.round(width * (isCurve ? 0.62 : Math.min(1, Math.max(0.55, (y1 - y0) / (x1 - x0)))));
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      this.base = null;
    }
    if (this.baseDark !== page.isDark()) this.base = null;
    Object.assign(this, { width, height, px: (x) => (x - x0) / (x1 - x0) * width, py: (y) => (y1 - y) / (y1 - y0) * height });
    if (!this.base) this.base = isCurve ? this.curve(ratio) : this.heights(ratio);
    this.baseDark = page.isDark();
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.base, 0, 0);
    pen.scale(ratio, ratio);
    this.landmarks(pen);
    shown.paths.forEach((path, i) => this.path(pen, path, this.colours[i]));
    this.lookedAt(pen);
    shown.paths.forEach((path, i) => this.standing(pen, path, this.colours[i]));
    const [sx, sy] = this.place(shown.start, shown.paths[0]?.values.data[0] ?? shown.here.value);
    disc(pen, sx, sy, 7, page.colour("ground"), page.colour("mark"), 3);
  }

  // The lowest and the highest value in view.
  extent() {
    return extent({ data: this.grid.values.data.filter(Number.isFinite) });
  }

  // The box that is drawn: of a curve, with the values in it.
  box() {
    const { view } = this.shown.surface;
    if (view.length === 2) return view;
    const [low, high] = this.extent(), room = (high - low || 1) * 0.08;
    return [view[0], [low - room, high + room]];
  }

  place(point, value) {
    return [this.px(point[0]), this.py(point.length === 2 ? point[1] : value)];
  }

  places({ path, values }) {
    const [count, dimension] = path.shape, far = 1e5, clip = (place) => Math.max(-far, Math.min(far, place));
    return Array.from({ length: count }, (_, i) => this.place(dimension === 2 ? [path.data[2 * i], path.data[2 * i + 1]] : [path.data[i]], values.data[i]).map(clip));
  }

  path(pen, path, colour) {
    const places = this.places(path), last = Math.min(this.shown.step, places.length - 1);
    const line = (from, to, alpha, wide) => {
      pen.globalAlpha = alpha;
      pen.lineWidth = wide;
      pen.beginPath();
      for (let i = from; i <= to; i++) pen.lineTo(...places[i]);
      pen.stroke();
    };
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineJoin = "round";
    pen.setLineDash(this.both && path.convention === "torch" ? [5, 4] : []);
    line(last, places.length - 1, 0.3, 1.5);
    line(0, last, 0.95, 2);
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    if (places.length > 101) return;
    pen.beginPath();
    for (const [x, y] of places.slice(1, last + 1)) { pen.moveTo(x, y); pen.arc(x, y, 2.2, 0, 7); }
    pen.fill();
  }

  // Where a rule stands at the step, and where the gradient pointed that it saw: against it, downhill.
  standing(pen, path, colour) {
    const places = this.places(path), { at: did } = path, here = places[did.step];
    if (did.step > 0 && did.gradient) {
      pen.globalAlpha = 0.8;
      const from = places[did.step - 1];
      if (this.shown.surface.dimension === 2) arrow(pen, from, this.downhill(did.gradient.data), 30, colour, [3, 3]);
      pen.globalAlpha = 1;
    }
    disc(pen, ...here, 5, colour, this.page.colour("ground"), 1.5);
  }

  downhill(slope) {
    const [[x0, x1], [y0, y1]] = this.box();
    return [-slope[0] / (x1 - x0) * this.width, slope[1] / (y1 - y0) * this.height];
  }

  lookedAt(pen) {
    const { here, surface } = this.shown, [x, y] = this.place(here.point, here.value), ink = this.page.colour("ink");
    pen.strokeStyle = ink;
    pen.lineWidth = 1.5;
    if (surface.dimension === 2) {
      this.bends(pen, x, y);
      pen.strokeStyle = ink;
      arrow(pen, [x, y], this.downhill(here.gradient), 46, ink);
      return;
    }
    disc(pen, x, y, 3, ink, ink, 1);
    // The tangent.
    const [[x0, x1]] = this.box(), reach = (x1 - x0) / 8, [slope] = here.gradient;
    if (slope === null) return;
    pen.beginPath();
    for (const side of [-reach, reach]) pen.lineTo(this.px(here.point[0] + side), this.py(here.value + side * slope));
    pen.stroke();
  }

  // The eigenvectors of the Hessian: long where the surface is flat, dashed where it bends down.
  bends(pen, x, y) {
    const { eigenvalues, axes } = this.shown.here, [[x0, x1], [y0, y1]] = this.box();
    const bends = eigenvalues ?? [1, 1], flattest = Math.min(...bends.map(Math.abs));
    bends.forEach((bend, i) => {
      const [u, v] = (axes ?? [[1, 0], [0, 1]])[i], dx = u / (x1 - x0) * this.width, dy = -v / (y1 - y0) * this.height;
      const reach = eigenvalues ? Math.max(9, 52 * Math.sqrt(flattest / Math.abs(bend) || 1)) : 6, size = Math.hypot(dx, dy);
      pen.strokeStyle = this.page.colour(bend < 0 ? "bad" : "ink");
      pen.setLineDash(bend < 0 ? [5, 3] : []);
      pen.beginPath();
      for (const side of [-reach, reach]) pen.lineTo(x + side * dx / size, y + side * dy / size);
      pen.stroke();
    });
    pen.setLineDash([]);
  }

  landmarks(pen) {
    const { surface } = this.shown, signs = { minimum: "★", maximum: "▲", saddle: "✕" };
    pen.fillStyle = this.page.colour("ink");
    pen.font = "13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    if (surface.dimension === 2) for (const { kind, point } of surface.stationary) pen.fillText(signs[kind], ...this.place(point));
  }

  sheet(ratio) {
    const sheet = new OffscreenCanvas(this.canvas.width, this.canvas.height), pen = sheet.getContext("2d");
    pen.fillStyle = this.page.colour("raised");
    pen.fillRect(0, 0, sheet.width, sheet.height);
    return [sheet, pen, () => pen.setTransform(ratio, 0, 0, ratio, 0, 0)];
  }

  heights(ratio) {
    const [sheet, pen, scale] = this.sheet(ratio), { values, levels } = this.grid, [rows, cols] = values.shape, { data } = levels;
    const low = this.page.isDark() ? [52, 84, 130] : [150, 187, 228], high = this.page.isDark() ? [24, 27, 33] : [250, 250, 247];
    const picture = new ImageData(cols, rows);
    for (let row = 0; row < rows; row++) for (let col = 0; col < cols; col++) {
      const value = values.data[row * cols + col];
      if (!Number.isFinite(value)) continue;
      let k = 1;
      while (k < data.length - 1 && value > data[k]) k++;
      const part = data.length > 1 ? (k - 1 + Math.min(1, Math.max(0, (value - data[k - 1]) / (data[k] - data[k - 1] || 1)))) / (data.length - 1) : 0;
      picture.data.set([...low.map((from, i) => from + (high[i] - from) * part), 255], 4 * ((rows - 1 - row) * cols + col));
    }
    const small = new OffscreenCanvas(cols, rows);
    small.getContext("2d").putImageData(picture, 0, 0);
    pen.imageSmoothingEnabled = true;
    // The middle of a pixel of the picture is a point of the grid, the first and last on the edge.
    const wide = sheet.width / (cols - 1), tall = sheet.height / (rows - 1);
    pen.drawImage(small, -wide / 2, -tall / 2, wide * cols, tall * rows);
    scale();
    pen.strokeStyle = this.page.isDark() ? "#7c8aa055" : "#5b6b8555";
    pen.lineWidth = 1;
    for (const level of data.slice(1, -1)) contour(pen, values, level, this.width / (cols - 1), this.height / (rows - 1), this.height);
    this.axes(pen);
    return sheet;
  }

  curve(ratio) {
    const [sheet, pen, scale] = this.sheet(ratio), { data } = this.grid.values, [[x0, x1]] = this.box();
    scale();
    pen.strokeStyle = this.page.colour("soft");
    pen.lineWidth = 2;
    pen.beginPath();
    let isDown = false;
    data.forEach((value, i) => {
      if (!Number.isFinite(value)) { isDown = false; return; }
      const place = [this.px(x0 + (x1 - x0) * i / (data.length - 1)), this.py(value)];
      if (isDown) pen.lineTo(...place);
      else pen.moveTo(...place);
      isDown = true;
    });
    pen.stroke();
    this.axes(pen);
    return sheet;
  }

  axes(pen) {
    const [[x0, x1], [y0, y1]] = this.box();
    pen.fillStyle = this.page.colour("ink");
    pen.strokeStyle = this.page.colour("soft");
    pen.font = "11px system-ui, sans-serif";
    pen.lineWidth = 1;
    const tick = (value, x, y, dx, dy, align, base) => {
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x + dx, y + dy); pen.stroke();
      pen.textAlign = align;
      pen.textBaseline = base;
      pen.fillText(value, x + 1.8 * dx, y + 1.6 * dy);
    };
    for (const x of ticks(x0, x1)) if (this.px(x) > 24 && this.px(x) < this.width - 14) tick(String(x), this.px(x), this.height, 0, -5, "center", "bottom");
    for (const y of ticks(y0, y1)) if (this.py(y) > 10 && this.py(y) < this.height - 18) tick(String(y), 0, this.py(y), 5, 0, "left", "middle");
  }
}

const gridKey = ({ surface }) => JSON.stringify([surface.name, surface.formula, surface.view]);

// To a thousandth of the span that is seen.
function rounded(value, span) {
  const places = Math.max(0, Math.min(8, 3 - Math.floor(Math.log10(span))));
  return Number(value.toFixed(places));
}

function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(Number((k * step).toPrecision(6)));
  return found;
}

function disc(pen, x, y, radius, fill, stroke, wide) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fillStyle = fill;
  pen.strokeStyle = stroke;
  pen.lineWidth = wide;
  pen.fill();
  pen.stroke();
}

// An arrow of a fixed length: directions compare, lengths are in numbers beside.
function arrow(pen, [x, y], [dx, dy], length, colour, dash = []) {
  const size = Math.hypot(dx, dy);
  if (!(size > 1e-12) || !Number.isFinite(size)) return;
  const ux = dx / size, uy = dy / size, tip = [x + ux * length, y + uy * length];
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 1.5;
  pen.setLineDash(dash);
  pen.beginPath(); pen.moveTo(x, y); pen.lineTo(...tip); pen.stroke();
  pen.setLineDash([]);
  pen.beginPath();
  pen.moveTo(tip[0] + 3 * ux, tip[1] + 3 * uy);
  for (const side of [1, -1]) pen.lineTo(tip[0] - 6 * ux - side * 4 * uy, tip[1] - 6 * uy + side * 4 * ux);
  pen.fill();
}

// The line where values on a grid are `level`: through each cell from side to side, in proportion.
function contour(pen, { shape: [rows, cols], data }, level, wide, tall, height) {
  pen.beginPath();
  for (let row = 0; row + 1 < rows; row++) for (let col = 0; col + 1 < cols; col++) {
    const i = row * cols + col, corners = [data[i], data[i + 1], data[i + cols + 1], data[i + cols]];
    const above = corners.map((value) => value > level);
    if (above[0] === above[1] && above[1] === above[2] && above[2] === above[3]) continue;
    if (!corners.every(Number.isFinite)) continue;
    const sides = [[0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 0, 0]], cuts = [];
    for (let k = 0; k < 4; k++) {
      const next = (k + 1) % 4;
      if (above[k] === above[next]) continue;
      const share = (level - corners[k]) / (corners[next] - corners[k]), [xa, ya, xb, yb] = sides[k];
      cuts.push([(col + xa + share * (xb - xa)) * wide, height - (row + ya + share * (yb - ya)) * tall]);
    }
    for (let k = 0; k + 1 < cuts.length; k += 2) { pen.moveTo(...cuts[k]); pen.lineTo(...cuts[k + 1]); }
  }
  pen.stroke();
}
