import { SERIES, at, lab, make } from "./kit.js";

export default lab((page) => {
  const { t, about } = page;
  const operationNames = { flip: t("flip", "翻转"), flip_crop: t("flip and shift", "翻转与平移"), resized_crop: t("resized crop", "随机裁剪缩放"), iou_crop: t("crop by IoU", "按交并比裁剪"), zoom_out: t("zoom out", "缩小"),
    affine: t("affine", "仿射变换"), colour_jitter: t("colour jitter", "颜色抖动"), grey: t("grey", "灰度"), gaussian_blur: t("blur", "模糊"), random_erasing: t("random erasing", "随机擦除"), cutout: t("cutout", "遮挡方块"),
    rand_augment: "RandAugment", trivial_augment: "TrivialAugment", sometimes: t("sometimes", "有时") };
  const settingNames = { horizontal: t("left to right", "左右翻转"), vertical: t("upside down", "上下翻转"), flip_probability: t("flip probability", "翻转概率"), padding: t("padding", "填充"), scale: t("scale", "比例"), ratio: t("ratio", "宽高比"),
    sides: t("sides", "边长倍数"), probability: t("probability", "概率"), degrees: t("degrees", "角度"), shift: t("shift", "平移"), shear: t("shear", "错切"), brightness: t("brightness", "亮度"), contrast: t("contrast", "对比度"),
    saturation: t("saturation", "饱和度"), hue: t("hue", "色调"), kernel_size: t("kernel size", "核大小"), sigma: t("sigma", "标准差"), fill: t("fill", "填充值"), side: t("side", "边长"), num_changes: t("changes", "变换次数"), strength: t("strength", "强度"), max_shift: t("largest shift", "最大平移") };
  const named = (part) => (part.named ? part.name : operationNames[part.name] ?? part.name);

  // Settings
  page.imageChoice({ own: [["scene", t("scene", "场景")]] });
  page.choice("policy", { label: t("ready-made", "现成策略"), options: ({ policy }) => [
    ...(about.policies.some(([, text]) => text === policy) ? [] : [[policy, t("own", "自定义")]]), ...about.policies.map(([name, text]) => [text, name])] });
  let parts = []; // of the policy as it stands in the settings, also before Python has answered
  const write = () => page.set({ policy: parts.map(spelled).join(" + ") || "none" });
  const list = make("div", { style: { display: "grid", gap: ".5rem" } });
  page.controls.append(list);
  const add = make("select", { ariaLabel: t("add an operation", "添加操作") }, make("option", { value: "", textContent: t("add an operation…", "添加操作…") }),
    ...Object.keys(about.operations).filter((name) => name !== "sometimes").map((name) => make("option", { value: name, textContent: operationNames[name] ?? name })));
  add.addEventListener("change", () => {
    if (!add.value) return;
    parts = [...parts.filter((part) => part.name !== "none"), { name: add.value, settings: { ...about.operations[add.value].fresh }, inner: "", named: false }];
    add.value = "";
    write();
    build();
  });
  page.controls.append(add);
  page.slider("seed", { label: t("seed", "随机种子"), min: 0, max: 99, show: String });
  page.slider("epoch", { label: t("epoch", "轮次"), min: 0, max: 30, show: String });
  page.slider("rows", { label: t("rows", "行数"), min: 1, max: 4 });
  const sizes = page.slider("size", { label: t("size", "大小"), min: 16, max: 224, step: 4, show: (side) => (side === null ? t("own", "原始") : `${side} px`) });
  page.bound.push(({ size }) => { if (size === null && page.shown) sizes.querySelector("input").value = page.shown.original.shape[1]; });
  const boxGroup = page.group(t("boxes", "边界框")), boxTools = make("div", { className: "tools" });
  boxGroup.append(boxTools);
  const round = (value) => Math.round(value * 1e5) / 1e5;
  const shares = () => { const [, , side] = page.shown.original.shape; return rows(page.shown.boxes).map((box) => box.map((place) => round(place / side))); };
  const more = page.button(t("Add a box", "添加边界框"), () => page.set({ boxes: [...(page.settings.boxes ?? shares()), [0.25, 0.25, 0.75, 0.75]] }), { into: boxTools });
  const fewer = page.button(t("Remove a box", "删除边界框"), () => page.set({ boxes: (page.settings.boxes ?? shares()).slice(0, -1) }), { into: boxTools });

  // The parts of the policy as controls; rebuilt when there are others, so that a slider that is held stays.
  let shows = [], built = "";
  const build = () => {
    const structure = JSON.stringify(parts.map(({ name, inner }) => [name, inner]));
    if (structure !== built) {
      built = structure;
      shows = [];
      list.replaceChildren(...parts.map((part, i) => {
        const box = make("fieldset", {}, make("legend", { textContent: named(part) })), tools = make("div", { className: "tools" });
        const move = (by) => { const [moved] = parts.splice(i, 1); parts.splice(i + by, 0, moved); write(); build(); };
        const button = (text, label, press, disabled = false) => tools.append(Object.assign(page.button(text, press, { into: tools }), { ariaLabel: `${label}: ${named(part)}`, disabled }));
        if (part.inner) box.append(make("code", { textContent: part.inner, style: { overflowWrap: "anywhere", fontSize: ".85rem" } }));
        for (const setting of about.operations[part.name]?.settings ?? []) sliders(part.name, setting, i, box);
        button("↑", t("earlier", "提前"), () => move(-1), i === 0);
        button("↓", t("later", "推后"), () => move(1), i === parts.length - 1);
        button("×", t("remove", "删除"), () => { parts.splice(i, 1); write(); build(); });
        box.append(tools);
        return box;
      }));
    }
    for (const show of shows) show();
  };
  const sliders = (operation, { name, usual, low, high, step }, i, into) => {
    const isPair = Array.isArray(usual), value = () => parts[i].settings[name] ?? usual;
    for (const end of isPair ? [0, 1] : [null]) {
      const label = isPair ? `${settingNames[name]}, ${end ? t("most", "最大") : t("least", "最小")}` : settingNames[name];
      const input = make("input", { type: "range", min: low, max: high, step, ariaLabel: `${operationNames[operation]}: ${label}` }), out = make("output");
      input.addEventListener("input", () => {
        const chosen = Number(input.value);
        let next = chosen;
        if (isPair) next = end ? [Math.min(value()[0], chosen), chosen] : [chosen, Math.max(value()[1], chosen)];
        parts[i] = { ...parts[i], settings: { ...parts[i].settings, [name]: next } };
        for (const show of shows) show();
        write();
      });
      shows.push(() => {
        const now = isPair ? value()[end] : value();
        input.value = now ?? low;
        out.textContent = input.ariaValueText = now === null || now === undefined ? t("usual", "默认") : String(Number(now.toFixed(3)));
      });
      into.append(make("label", { className: "row" }, make("span", { textContent: label }), input, out));
    }
  };

  // Figure
  const left = make("div", { className: "column wide" }), right = make("div", { className: "column wide" });
  page.stage.append(left, right);
  const start = page.board({ label: t("original", "原图"), into: left, height: 340,
    change: (name, corners) => {
      const [, , side] = page.shown.original.shape;
      page.set({ boxes: (page.settings.boxes ?? shares()).with(Number(name) - 1, corners.map((place) => round(place / side))) });
    } });
  const picked = page.board({ label: t("picked draw", "选中的抽样"), into: right, height: 340,
    step: (down, across) => pick(Math.max(0, Math.min(page.shown.draws.shape[0] - 1, page.shown.picked + across + about.columns * down))) });
  const said = make("p", { className: "sum" });
  right.append(said);
  const pick = (i) => page.set({ picked: i });
  const across = (...inside) => { const box = make("div", { className: "across" }, ...inside); page.stage.append(box); return box; };
  const strip = make("div", { className: "strip" }), gallery = make("div", { className: "gallery" });
  const stripTitle = make("figcaption", { textContent: t("the picked draw step by step", "选中的抽样：逐步进行") });
  across(stripTitle, strip);
  across(make("figcaption", { textContent: t("draws: click one to see it large; the arrow keys on the large one go on", "各次抽样：点击可放大；在大图上用方向键切换") }), gallery);
  const own = across(make("figcaption", { textContent: t("the policy as text: edit it, or copy it", "策略的文字形式：可编辑或复制") }));
  page.text("policy", { label: t("policy", "策略"), into: own });
  own.querySelector(".row").style.gridTemplateColumns = "auto minmax(0, 1fr) auto";
  own.querySelector("input").style.gridColumn = "2 / 3";
  page.button(t("Copy", "复制"), () => navigator.clipboard.writeText(page.settings.policy), { into: own.querySelector(".row") });
  for (const grid of [strip, gallery]) Object.assign(grid.style, { display: "grid", gridTemplateColumns: `repeat(auto-fill, minmax(max(6.6rem, calc(${100 / about.columns}% - .6rem)), 1fr))`, gap: ".6rem", fontSize: ".8rem", lineHeight: "1.3" });

  // Cells are kept from answer to answer, so that the one with the focus keeps it.
  const cells = (grid, count, create) => {
    while (grid.children.length > count) grid.lastChild.remove();
    while (grid.children.length < count) grid.append(create(grid.children.length));
    return [...grid.children];
  };
  const cell = (i, tag = "div") => make(tag, tag === "button" ? { type: "button" } : {}, make("canvas", { style: { width: "100%" } }), make("span", { style: { display: "block", overflowWrap: "anywhere" } }));

  const spoken = (phrases) => (page.language === "zh" ? phrases.map(inChinese).join("；") : phrases.join("; "));

  return (shown, settings) => {
    if (shown.policy === settings.policy) {
      parts = shown.parts.map((part) => ({ ...part, settings: { ...part.settings } })).filter((part) => part.name !== "none");
      build();
    }
    const boxes = rows(shown.boxes), count = shown.draws.shape[0], i = shown.picked, moved = rows(at(shown.moved, i));
    const outlined = (list, more_ = {}) => list.map((corners, k) => ({ corners, colour: SERIES[k], text: String(k + 1), ...more_ })).filter(({ corners: [x1, y1, x2, y2] }) => x2 > x1 && y2 > y1);
    start.draw({ picture: shown.original, title: `${t("original", "原图")} ${shown.original.shape[2]}×${shown.original.shape[1]}${boxes.length ? t(", boxes can be dragged", "，边界框可拖动") : ""}`,
      boxes: outlined(boxes).map((box) => ({ ...box, name: box.text, drag: true })) });
    const phrases = spoken(shown.phrases[i]) || t("unchanged", "未改变");
    const lost = moved.map((box, k) => [box, k + 1]).filter(([[x1, y1, x2, y2]]) => !(x2 > x1 && y2 > y1)).map(([, k]) => k);
    picked.draw({ picture: at(shown.draws, i), title: t(`draw ${i} (0 to ${count - 1})`, `第 ${i} 次抽样（0 到 ${count - 1}）`), boxes: outlined(moved) });
    const text = `${phrases}${lost.length ? t(`. Lost: box ${lost.join(", ")}.`, `。丢失的框：${lost.join("、")}。`) : ""}`;
    if (said.textContent && said.textContent !== text) page.announce.textContent = t(`draw ${i}: ${text}`, `第 ${i} 次抽样：${text}`);
    said.textContent = text;
    more.disabled = boxes.length >= 4;
    fewer.disabled = !boxes.length;
    stripTitle.hidden = strip.hidden = !shown.steps.length;
    const walk = [{ operation: "", phrases: [t("original", "原图")], image: shown.original, boxes: shown.boxes }, ...shown.steps];
    cells(strip, walk.length, cell).forEach((box, k) => {
      paint(page, box.firstChild, walk[k].image, rows(walk[k].boxes), t(`step ${k}`, `第 ${k} 步`));
      box.lastChild.textContent = k === 0 ? walk[0].phrases[0] : `${k}. ${parts[k - 1] && shown.policy === settings.policy && parts.length === shown.steps.length ? named(parts[k - 1]) : walk[k].operation}: ${spoken(walk[k].phrases) || t("unchanged", "未改变")}`;
    });
    cells(gallery, count, (k) => {
      const box = cell(k, "button");
      box.addEventListener("click", () => pick(k));
      Object.assign(box.style, { padding: ".25rem", textAlign: "left", font: "inherit", display: "flex", flexDirection: "column" });
      return box;
    }).forEach((box, k) => {
      paint(page, box.firstChild, at(shown.draws, k), rows(at(shown.moved, k)), t(`draw ${k}`, `第 ${k} 次抽样`));
      box.lastChild.textContent = spoken(shown.phrases[k]) || t("unchanged", "未改变");
      box.ariaPressed = String(k === i);
      box.style.borderColor = k === i ? page.colour("mark") : "";
      box.style.boxShadow = k === i ? `0 0 0 1px ${page.colour("mark")}` : "";
    });
  };
});

// What Python says of a draw, in Chinese.
const PHRASES_ZH = [["mirrored", "左右镜像"], ["upside down", "上下镜像"], [/^crop (\S+) at (.*)/, "裁剪 $1，位于 $2"], [/^zoomed out (\S+) to (.*)/, "缩小 $1，位于 $2"], [/^moved (.*)/, "平移 $1"], [/^rotated (.*)/, "旋转 $1"],
  [/^size (.*)/, "大小 $1"], [/^sheared (.*)/, "错切 $1"], [/^brightness/, "亮度"], [/^contrast/, "对比度"], [/^saturation/, "饱和度"], [/^hue/, "色调"], [/^grey$/, "灰度"], [/^blur/, "模糊"], [/^erased (.*) at (.*)/, "擦除 $1，位于 $2"]];
const inChinese = (phrase) => PHRASES_ZH.reduce((text, [from, to]) => text.replace(from, to), phrase);

const rows = (array) => Array.from({ length: array.shape[0] }, (_, i) => [...at(array, i).data]);

// A part of a policy as text, as Python reads it.
function spelled({ name, settings, inner, named }) {
  if (named) return name;
  const write = (value) => (Array.isArray(value) ? `(${value.join(", ")})` : typeof value === "string" ? `'${value}'` : String(value));
  const words = Object.entries(settings).map(([key, value]) => `${key}=${write(value)}`);
  return `${name}(${[...(inner ? [inner] : []), ...words].join(", ")})`;
}

// A small image with its boxes.
function paint(page, canvas, { shape: [channels, height, width], data }, boxes, label) {
  canvas.width = width;
  canvas.height = height;
  canvas.role = "img";
  canvas.ariaLabel = label;
  const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height), count = width * height;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = data[i + (channels === 3 ? c * count : 0)];
    picture.data[4 * i + 3] = 255;
  }
  pen.putImageData(picture, 0, 0);
  pen.lineWidth = Math.max(1, width / 64);
  boxes.forEach(([x1, y1, x2, y2], k) => {
    if (!(x2 > x1 && y2 > y1)) return;
    pen.strokeStyle = SERIES[k];
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  });
  canvas.style.imageRendering = width < 80 ? "pixelated" : "";
}
