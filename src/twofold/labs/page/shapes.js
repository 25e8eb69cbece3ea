import { SERIES, cleared, digits, lab, make } from "./kit.js";

const MOVE_MS = 900, MOST = 64;

export default lab((page) => {
  const { t, about } = page;

  // The expression
  const field = make("input", { type: "text", spellcheck: false, ariaLabel: t("expression", "表达式"), autocomplete: "off", style: { font: "1.05rem ui-monospace, monospace", width: "100%", padding: ".45rem .6rem" } });
  let typing = null;
  const take = () => { clearTimeout(typing); if (field.value !== page.settings.expression) page.set({ expression: field.value, at: null }); };
  field.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(take, 350); });
  field.addEventListener("change", take);
  page.bound.push(({ expression }) => { if (document.activeElement !== field) field.value = expression; });
  const told = make("p", { style: { margin: ".4rem 0 0", minHeight: "1.5em", overflowWrap: "anywhere" }, ariaLive: "polite", className: "told" });
  const again = make("div", { className: "tools", style: { alignItems: "center" } });
  page.stage.append(make("div", { className: "across" }, field, told, again));
  page.button(t("Move again", "再移动一次"), () => move(), { into: again });
  again.append(make("span", { className: "soft", style: { margin: 0 }, textContent: t("Point at an element to see where it comes from and where it goes.", "指向一个元素，查看它从哪里来、到哪里去。") }));
  const steps = make("div", { className: "across", style: { display: "grid", gap: "1.2rem" } });
  page.stage.append(steps);

  // Settings
  page.choice("expression", {
    label: t("examples", "示例"),
    options: ({ expression }) => [...new Set([expression, ...about.examples.map((each) => each.expression)])].map((text) => [text, text]),
    change: (expression) => { field.blur(); return { expression, at: null, tensors: about.examples.find((each) => each.expression === expression)?.tensors ?? page.settings.tensors }; },
  });
  const group = page.group(t("tensors", "张量")), list = make("div", { style: { display: "grid", gap: ".5rem" } });
  group.append(list);
  const more = page.button(t("One more tensor", "再加一个张量"), () => {
    const name = about.names.find((each) => !(each in page.settings.tensors));
    page.set({ tensors: { ...page.settings.tensors, [name]: "2x3" }, at: null });
  }, { into: group });
  const rows = tensorRows(page, list);
  page.bound.push(({ tensors }) => { more.hidden = Object.keys(tensors).length === about.names.length; rows(tensors); });
  page.controls.append(make("p", { className: "soft", style: { margin: 0 }, textContent: t("Without values a tensor counts: a by ones, b by tens, c by hundreds, so that a sum shows what it is made of.", "不填数值时自动编号：a 以一、b 以十、c 以百递增，这样从和中就能看出它由什么组成。") }));

  // Figure
  let drawn = [], key = "", since = null, frame = null;
  const paint = () => {
    const { shown } = page;
    if (!shown) return;
    const time = since === null ? Infinity : performance.now() - since;
    drawn.forEach((step, i) => step.paint(shown, Math.min(1, Math.max(0, (time - i * MOVE_MS * 0.7) / MOVE_MS))));
    const isMoving = time < MOVE_MS * (0.7 * (drawn.length - 1) + 1);
    steps.dataset.moving = isMoving ? "yes" : "no";
    cancelAnimationFrame(frame);
    if (isMoving) frame = requestAnimationFrame(paint);
    else since = null;
  };
  const move = () => { since = performance.now(); paint(); };
  page.redraws.push(paint);
  page.onClose = () => { cancelAnimationFrame(frame); clearTimeout(typing); };

  return (shown, settings) => {
    const next = JSON.stringify([shown.nodes.map((each) => [each.text, each.values.shape, Array.from(each.values.data ?? [])]), shown.failed]);
    told.textContent = shown.failed ? `${shown.failed.text}: ${shown.failed.why}` : goesInto(shown, t);
    told.style.color = page.colour(shown.failed ? "bad" : "ink");
    if (next !== key) {
      key = next;
      const parts = shown.nodes.flatMap((node, i) => (node.kind === "tensor" && (shown.nodes.length > 1 || shown.failed) ? [] : [{ ...node, number: i }]));
      if (shown.failed) parts.push({ ...shown.failed, number: null, kind: "failed", sources: [] });
      drawn = parts.map((part) => new Step(page, part));
      steps.replaceChildren(...drawn.map((each) => each.element));
      since = page.calm ? null : performance.now();
    }
    for (const step of drawn) step.tell(shown, settings);
  };
});

// A part of the expression: its operands, a sign, and its result, in one canvas.
class Step {
  constructor(page, part) {
    Object.assign(this, { page, part });
    const { t } = page;
    this.canvas = make("canvas", { role: "img", tabIndex: 0, step: this, ariaLabel: part.text, style: { touchAction: "manipulation" } });
    this.sum = make("p", { className: "sum", style: { minHeight: "1.5em" } });
    const head = make("p", { style: { margin: "0 0 .3rem" } }, make("code", { textContent: part.text, style: { fontWeight: 600 } }), make("span", { className: "soft", textContent: `  ${explained(part, t)}` }));
    this.shapes = make("div");
    this.element = make("div", { className: "step", style: { minWidth: 0 }, data: { step: part.text } }, head, this.shapes, this.canvas, this.sum);
    this.canvas.addEventListener("pointermove", (event) => this.point(this.under(event)));
    this.canvas.addEventListener("pointerdown", (event) => this.point(this.under(event)));
    this.canvas.addEventListener("keydown", (event) => this.press(event));
  }

  point(at) {
    const { settings } = this.page;
    if (at && String(at) !== String(settings.at)) this.page.set({ at });
  }

  // Arrow keys move in the table that is pointed at, at first the result; Enter goes to the next table.
  press(event) {
    const { nodes } = this.page.shown, { at } = this.page.settings, tables = this.items.filter((item) => item.node).map((item) => item.number);
    const place = tables.indexOf(at?.[0]), number = place < 0 ? tables.at(-1) : at[0], columns = shapeOf(nodes[number]).at(-1) ?? 1;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (!step && event.key !== "Enter") return;
    event.preventDefault();
    if (!step) this.point([tables[(place + 1) % tables.length], 0]);
    else if (place < 0) this.point([number, 0]);
    else if (at[1] + step >= 0 && at[1] + step < valuesOf(nodes[number]).length) this.point([number, at[1] + step]);
  }

  under(event) {
    const area = this.canvas.getBoundingClientRect(), x = event.clientX - area.left, y = event.clientY - area.top;
    for (const item of this.items ?? []) {
      if (!item.place) continue;
      const found = valuesOf(item.node).findIndex((_, i) => { const [left, top] = item.place(i); return x >= left && x < left + this.side && y >= top && y < top + this.side; });
      if (found >= 0) return [item.number, found];
    }
    return null;
  }

  // Where the element that is pointed at comes from, in words.
  tell(shown, { at }) {
    this.shapes.replaceChildren(...aligned(shown, this.part, this.page));
    const isHere = shown.lit && at?.[0] === this.part.number;
    this.sum.textContent = isHere ? made(shown, this.part, shown.lit.element) : "";
    if (isHere) this.page.announce.textContent = this.sum.textContent;
  }

  // The items from left to right, in as many lines as they need; elements as large as fit into one line, down to 24 px.
  arrange(shown, room) {
    const { part } = this, pen = this.canvas.getContext("2d");
    pen.font = "12px system-ui, sans-serif";
    const table = (number) => ({ number, node: shown.nodes[number] });
    const items = part.operands.flatMap((operand, i) => [...(i ? [{ sign: part.kind === "join" ? "," : part.operation.length > 1 ? "@" : part.operation }] : []), table(operand)]);
    if (part.kind !== "tensor") items.push({ sign: part.kind === "failed" ? "✗" : part.operands.length > 1 && part.kind !== "join" ? "=" : "→" });
    if (part.number !== null) items.push(table(part.number));
    const sizes = (side, named = 72) => { for (const item of items) Object.assign(item, item.node ? extentOf(item.node, side, pen, named) : { width: 18, height: side }); };
    const widths = () => items.reduce((sum, item) => sum + item.width + 10, -10);
    let side = 38;
    // Long names are cut before anything becomes smaller.
    sizes(side, 160);
    if (widths() > room) for (sizes(side); side > 24 && widths() > room; sizes(side)) side -= 1;
    if (widths() > room) sizes(side = 34);
    // One table that is wider than the page makes all smaller.
    for (; side > 12 && Math.max(...items.map((item) => item.width)) > room; sizes(side)) side -= 1;
    this.side = side;
    let x = 0, y = 0, line = [];
    const end = () => { const high = Math.max(...line.map((item) => item.height)); for (const item of line) item.y = y + (item.node ? 0 : (high - 20) / 2 - 10); y += high + 14; line = []; x = 0; };
    for (const item of items) {
      if (line.length && x + item.width > room) end();
      item.x = x;
      x += item.width + 10;
      line.push(item);
    }
    end();
    for (const item of items) if (item.node) item.place = placesOf(item, side);
    this.items = items;
    return [Math.max(...items.map((item) => item.x + item.width)), y - 12];
  }

  // `progress` from 0, where the elements of the result are still in the operands, to 1.
  paint(shown, progress) {
    const { page, part, canvas } = this, pen = cleared(canvas, ...this.arrange(shown, Math.max(120, page.widthOf(this.element))));
    pen.textBaseline = "middle";
    const result = this.items.find((item) => item.number === part.number && part.number !== null && item === this.items.at(-1));
    for (const item of this.items) {
      if (!item.node) {
        pen.fillStyle = page.colour(item.sign === "✗" ? "bad" : "ink");
        pen.font = "20px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.fillText(item.sign, item.x + 9, item.y + 22);
        continue;
      }
      labels(pen, page, item, this.side);
      valuesOf(item.node).forEach((value, i) => {
        const waits = item === result && progress < 1 && part.kind !== "tensor";
        cell(pen, page, shown, item.place(i), this.side, waits ? null : value, waits ? null : item.node.origins, i);
      });
    }
    if (result && progress < 1 && part.kind !== "tensor") this.fly(pen, shown, result, progress);
    else if (shown.lit) this.light(pen, shown);
  }

  fly(pen, shown, result, progress) {
    const share = progress < 0.5 ? 2 * progress ** 2 : 1 - 2 * (1 - progress) ** 2;
    const operands = this.items.filter((item) => item.node && item !== result);
    pen.globalAlpha = 0.9;
    this.part.sources.forEach((sources, o) => {
      const [count, each] = sources.shape, from = operands[o], values = valuesOf(from.node);
      for (let i = 0; i < count; i++) for (let k = 0; k < each; k++) {
        const source = sources.data[i * each + k];
        if (source < 0) continue;
        const [x0, y0] = from.place(source), [x1, y1] = result.place(i);
        cell(pen, this.page, shown, [x0 + share * (x1 - x0), y0 + share * (y1 - y0)], this.side, values[source], from.node.origins, source);
      }
    });
    pen.globalAlpha = 1;
  }

  light(pen, shown) {
    const { lit } = shown, { page, side } = this;
    for (const item of this.items) {
      if (!item.node) continue;
      const outline = (i, colour, wide) => {
        const [x, y] = item.place(i);
        pen.strokeStyle = page.colour(colour);
        pen.lineWidth = wide;
        pen.strokeRect(x + wide / 2, y + wide / 2, side - wide, side - wide);
      };
      for (const i of lit.to[item.number]) outline(i, "accent", 2.5);
      for (const i of lit.from[item.number]) outline(i, "mark2", 2.5);
      if (item.number === lit.node) outline(lit.element, "mark", 3);
    }
  }
}

function valuesOf(node) {
  return node.values.data ? Array.from(node.values.data) : [node.values];
}

function shapeOf(node) {
  return node.values.shape ?? [];
}

function spelledShape(shape) {
  return `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
}

const GAP = 12, HEAD = 18, BLOCK = 15;

// The last two dimensions are rows and columns; the one before it stands side by side, the first one below each other.
function sidesOf(node) {
  return [1, 1, 1, 1, ...shapeOf(node)].slice(-4);
}

function extentOf(node, side, pen, named) {
  const [down, beside, rows, columns] = sidesOf(node), block = shapeOf(node).length > 2 ? BLOCK : 0;
  const width = beside * (columns * side + GAP) - GAP, words = pen.measureText(spelledShape(shapeOf(node))).width;
  return { width: Math.max(width, words, Math.min(named, pen.measureText(node.text).width)), height: HEAD + down * (rows * side + block + GAP) - GAP + HEAD };
}

function placesOf(item, side) {
  const [, beside, rows, columns] = sidesOf(item.node), block = shapeOf(item.node).length > 2 ? BLOCK : 0;
  return (i) => {
    const column = i % columns, row = Math.floor(i / columns) % rows, place = Math.floor(i / columns / rows);
    return [item.x + (place % beside) * (columns * side + GAP) + column * side, item.y + HEAD + block + Math.floor(place / beside) * (rows * side + block + GAP) + row * side];
  };
}

function labels(pen, page, item, side) {
  const { node, x, y, width, height, place } = item, shape = shapeOf(node), [, beside, rows, columns] = sidesOf(node);
  pen.textAlign = "left";
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = page.colour("ink");
  let name = node.text;
  while (name.length > 2 && pen.measureText(name).width > width) name = `${name.slice(0, -2)}…`;
  pen.fillText(name, x, y + HEAD / 2 - 1);
  pen.fillStyle = page.colour("soft");
  pen.fillText(spelledShape(shape), x, y + height - HEAD / 2 + 2);
  if (shape.length < 3) return;
  const blocks = shape.slice(0, -2).reduce((product, each) => product * each, 1);
  for (let i = 0; i < blocks; i++) {
    const [left, top] = place(i * rows * columns);
    pen.fillText(`[${shape.length === 4 ? `${Math.floor(i / beside)}, ${i % beside}` : i}]`, left, top - BLOCK / 2);
  }
}

// One element: a stripe in the colour of each tensor that it comes from, deeper towards the end of the tensor.
function cell(pen, page, shown, [x, y], side, value, origins, i) {
  pen.fillStyle = page.colour("ground");
  pen.fillRect(x, y, side, side);
  if (value !== null) {
    const from = Array.from(origins.data.subarray(i * origins.shape[1], (i + 1) * origins.shape[1])).filter((each) => each >= 0);
    pen.fillStyle = page.colour("raised");
    pen.fillRect(x, y, side, side);
    const alpha = pen.globalAlpha;
    from.forEach((origin, place) => {
      const tensor = Math.floor(origin / MOST), count = shown.tensors[page.about.names[tensor]].data.length;
      pen.globalAlpha = alpha * (0.18 + 0.5 * (origin % MOST) / Math.max(1, count - 1));
      pen.fillStyle = SERIES[tensor];
      pen.fillRect(x + side * place / from.length, y, side / from.length, side);
    });
    pen.globalAlpha = alpha;
    pen.fillStyle = page.colour("ink");
    pen.font = `${Math.max(9, Math.round(side * 0.38))}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.fillText(digits(value, 2), x + side / 2, y + side / 2 + 1, side - 3);
  }
  pen.strokeStyle = page.colour("line");
  pen.lineWidth = 1;
  pen.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
}

// How shapes meet that are not equal: below each other, from the right.
function aligned(shown, part, page) {
  const isBroadcast = ["+", "-", "*"].includes(part.operation) && part.operands.length === 2;
  const shapes = isBroadcast ? part.operands.map((i) => shapeOf(shown.nodes[i])) : [];
  if (!isBroadcast || String(shapes[0]) === String(shapes[1])) return [];
  const most = Math.max(...shapes.map((each) => each.length)), result = part.number === null ? null : shapeOf(shown.nodes[part.number]);
  const lines = [...part.operands.map((i, n) => [shown.nodes[i].text, shapes[n]]), ...(result ? [[page.t("result", "结果"), result]] : [])];
  const table = make("table", { style: { borderSpacing: ".6rem 0", margin: "0 0 .4rem -.6rem", fontVariantNumeric: "tabular-nums" } });
  lines.forEach(([name, shape]) => {
    const sizes = [...Array(most - shape.length).fill(null), ...shape];
    table.append(make("tr", {}, make("td", { className: "soft", textContent: name }), ...sizes.map((size, column) => {
      const met = shapes.map((each) => each[each.length - most + column] ?? 1), clash = met[0] !== met[1] && !met.includes(1), isRepeated = shape !== result && (size ?? 1) === 1 && Math.max(...met) > 1;
      const text = isRepeated && !clash ? `${size ?? "·"} ↦ ${Math.max(...met)}` : String(size ?? "");
      return make("td", { textContent: clash ? `${text} ✗` : text, style: { textAlign: "right", color: clash ? page.colour("bad") : isRepeated ? page.colour("mark2") : "" } });
    })));
  });
  return [table];
}

function where(shape, i) {
  const place = [];
  for (const side of [...shape].reverse()) { place.unshift(i % side); i = Math.floor(i / side); }
  return shape.length ? `[${place.join(", ")}]` : "";
}

// Of an element of a tensor: into how many elements of the result it goes.
function goesInto(shown, t) {
  const { lit, nodes } = shown, node = lit && nodes[lit.node];
  if (node?.kind !== "tensor" || nodes.length === 1) return "";
  const name = `${node.text}${where(shapeOf(node), lit.element)} = ${digits(valuesOf(node)[lit.element])}`, count = lit.to.at(-1).length;
  return t(`${name} goes into ${count === 1 ? "one element" : `${count} elements`} of the result`, `${name} 进入结果的 ${count} 个元素`);
}

// y[0, 1] = 0·1 + 1·3 = 3: an element by what it is made of.
function made(shown, part, element) {
  const node = shown.nodes[part.number], value = digits(valuesOf(node)[element]);
  const name = `y${where(shapeOf(node), element)}`;
  if (part.kind === "tensor") return `${node.text}${where(shapeOf(node), element)} = ${value}`;
  const terms = node.operands.map((operand, o) => {
    const { data, shape: [, count] } = node.sources[o], from = shown.nodes[operand], values = valuesOf(from);
    const text = from.kind === "broadcast" || from.operation === "@" ? `(${from.text})` : from.text;
    return Array.from(data.subarray(element * count, (element + 1) * count)).filter((i) => i >= 0).map((i) => ({ name: `${text}${where(shapeOf(from), i)}`, value: digits(values[i]) }));
  });
  const bracket = (text) => (text.startsWith("-") ? `(${text})` : text);
  if (part.kind === "product") return `${name} = ${terms[0].map((each, k) => `${bracket(each.value)}·${bracket(terms[1][k].value)}`).join(" + ")} = ${value}`;
  if (part.kind === "reduce") {
    const sum = terms[0].map((each) => bracket(each.value)).join(" + ");
    return part.operation === "mean" ? `${name} = (${sum}) / ${terms[0].length} = ${value}` : `${name} = ${sum} = ${value}`;
  }
  if (part.kind === "broadcast" && terms.length === 2) {
    return `${name} = ${terms.map(([each]) => each.name).join(` ${part.operation} `)} = ${terms.map(([each]) => bracket(each.value)).join(` ${part.operation} `)} = ${value}`;
  }
  const [only] = terms.flat();
  return part.kind === "broadcast" ? `${name} = ${value}  (${only.name} = ${only.value})` : `${name} = ${only.name} = ${value}`;
}

function explained(part, t) {
  const product = t("a row of the left times a column of the right, summed", "左边的一行与右边的一列逐个相乘再求和"), each = t("element by element; sizes of 1 are repeated", "逐元素计算；大小为 1 的维会被重复");
  return {
    ".T": t("rows become columns", "行变成列"),
    transpose: t("two dimensions change places", "交换两个维度"),
    permute: t("the dimensions in a new order; elements go along", "各维按新的顺序排列，元素随之移动"),
    reshape: t("elements keep their order, row by row; only the sizes change", "元素按行的顺序不变，只改变各维的大小"),
    view: t("as reshape, but never copies", "与 reshape 相同，但从不复制"),
    flatten: t("several dimensions become one; the order stays", "把几个维度合成一个，顺序不变"),
    squeeze: t("dimensions of size 1 go away", "去掉大小为 1 的维"),
    unsqueeze: t("a dimension of size 1 comes in", "插入一个大小为 1 的维"),
    expand: t("sizes of 1 are repeated", "重复大小为 1 的维"),
    stack: t("side by side along a new dimension", "沿一个新的维度叠放"),
    cat: t("one after the other along a dimension that is there", "沿已有的维度首尾相接"),
    "[ ]": t("only what the index names; a number takes its dimension away, None brings in one of size 1", "只取索引指出的部分；一个整数会去掉那一维，None 会插入大小为 1 的一维"),
    sum: t("elements along a dimension are added up; with keepdim=True it stays, of size 1", "沿维度把元素相加；keepdim=True 保留该维，大小为 1"),
    mean: t("elements along a dimension are averaged; with keepdim=True it stays, of size 1", "沿维度对元素求平均；keepdim=True 保留该维，大小为 1"),
    "@": product, mm: product, matmul: product, "+": each, "-": each, "*": each,
  }[part.operation] ?? "";
}

// A row for each tensor: its name, shape and values.
function tensorRows(page, list) {
  const { t } = page;
  let names = "";
  const fields = {};
  const put = (name, text) => page.set({ tensors: { ...page.settings.tensors, [name]: text }, at: null });
  const numbers = (text) => (text.match(/-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/gi) ?? []);
  const row = (name) => {
    const shape = make("input", { type: "text", ariaLabel: t(`shape of ${name}`, `${name} 的形状`), placeholder: "2, 3", style: { minWidth: 0, width: "100%" } });
    const values = make("input", { type: "text", ariaLabel: t(`values of ${name}`, `${name} 的数值`), placeholder: t("values: 0, 1, 2, …", "数值：0, 1, 2, …"), style: { minWidth: 0, width: "100%", gridColumn: "2 / 4" } });
    shape.addEventListener("change", () => put(name, numbers(shape.value).map((size) => size.replace("-", "")).join("x") || shape.value));
    values.addEventListener("change", () => put(name, page.settings.tensors[name].split(":")[0] + (numbers(values.value).length ? `:${numbers(values.value).join(",")}` : "")));
    const remove = make("button", { type: "button", textContent: "×", ariaLabel: t(`remove ${name}`, `去掉 ${name}`) });
    remove.addEventListener("click", () => { const { [name]: _, ...rest } = page.settings.tensors; page.set({ tensors: rest, at: null }); });
    fields[name] = { shape, values, remove };
    const colour = SERIES[page.about.names.indexOf(name)];
    return make("div", { style: { display: "grid", gridTemplateColumns: "1.6rem 1fr auto", gap: ".3rem", alignItems: "center" } },
      make("code", { textContent: name, style: { fontWeight: 700, borderBottom: `3px solid ${colour}`, textAlign: "center" } }), shape, remove, values);
  };
  return (tensors) => {
    const now = Object.keys(tensors).sort();
    if (now.join() !== names) {
      names = now.join();
      list.replaceChildren(...now.map(row));
    }
    for (const name of now) {
      const [sizes, listed = ""] = tensors[name].split(":"), { shape, values, remove } = fields[name];
      if (document.activeElement !== shape) shape.value = sizes.replaceAll("x", ", ");
      if (document.activeElement !== values) values.value = listed.replaceAll(",", ", ");
      remove.disabled = now.length === 1;
    }
  };
}
