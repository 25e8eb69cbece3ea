import { SERIES, at, digits, lab, make } from "./kit.js";

export default lab((page) => {
  const { t, about } = page;
  const names = { scene: t("scene", "场景"), pullover: t("pullover", "套衫"), boot: t("boot", "短靴"), bag: t("bag", "包"), coat: t("coat", "外套"), "t-shirt": t("t-shirt", "T恤"),
    trouser: t("trouser", "裤子"), dress: t("dress", "连衣裙"), sandal: t("sandal", "凉鞋"), shirt: t("shirt", "衬衫"), sneaker: t("sneaker", "运动鞋") };
  const named = (label) => names[label] ?? label;
  const whenView = (element, ...views) => page.bound.push((settings) => { element.hidden = !views.includes(settings.view); });

  // Settings
  page.choice("view", { label: t("show", "显示"), options: [["iou", t("two boxes", "两个框")], ["anchors", t("anchors", "锚框")],
    ["matching", t("matching", "匹配与偏移量")], ["suppression", t("suppression", "非极大值抑制")]] });
  page.imageChoice({ own: [["scene", names.scene]] });

  const shapes = page.group(t("anchors", "锚框"));
  whenView(shapes, "anchors", "matching");
  page.slider("rows", { into: shapes, label: t("rows", "行"), min: 1, max: 8 });
  page.slider("columns", { into: shapes, label: t("columns", "列"), min: 1, max: 8 });
  page.slider("maps", { into: shapes, label: t("feature maps", "特征图数"), min: 1, max: 3 });
  listSliders(page, "sizes", { into: shapes, item: (i) => t(`size s${i + 1}`, `大小 s${i + 1}`), min: 0.05, max: 1.2, step: 0.05, fresh: 0.6 });
  listSliders(page, "ratios", { into: shapes, item: (i) => t(`ratio r${i + 1}`, `宽高比 r${i + 1}`), min: 0.25, max: 4, step: 0.05, fresh: 3, log: true });
  const level = page.choice("cell", { into: shapes, label: t("pixel of", "像素所在"), change: (cell) => ({ cell }),
    options: ({ cell, maps }) => Array.from({ length: maps }, (_, k) => [k === Math.min(cell[0], maps - 1) ? cell : [k, 0, 0], t(`map ${k + 1}`, `第 ${k + 1} 个特征图`)]) });
  page.bound.push(({ view, maps }) => { level.hidden = view !== "anchors" || maps < 2; });

  const objects = page.group(t("objects", "物体"));
  whenView(objects, "matching");
  const list = make("div", { style: { display: "grid", gap: ".4rem" } });
  objects.append(list);
  const add = page.button(t("Add an object", "添加物体"), () => {
    const { truth, classes } = page.settings;
    page.set({ truth: [...truth, [48, 48, 88, 80]], classes: [...classes, "bag"] });
  }, { into: objects });
  page.bound.push(({ truth, classes }) => {
    add.disabled = truth.length >= 5;
    // Rebuilt only when it says something else: a list that is open stays open while a box is dragged.
    if (list.dataset.of === JSON.stringify(classes)) return;
    list.dataset.of = JSON.stringify(classes);
    list.replaceChildren(...classes.map((own, i) => {
      const select = make("select", { ariaLabel: t(`class of object ${i + 1}`, `物体 ${i + 1} 的类别`) },
        ...[...new Set([own, ...about.samples])].map((each) => make("option", { value: each, textContent: named(each), selected: each === own })));
      select.addEventListener("change", () => page.set({ classes: page.settings.classes.with(i, select.value) }));
      const remove = make("button", { type: "button", textContent: "×", ariaLabel: t(`remove object ${i + 1}`, `删除物体 ${i + 1}`), disabled: classes.length < 2 });
      remove.addEventListener("click", () => {
        const { truth: boxes, classes: kinds } = page.settings;
        page.set({ truth: boxes.toSpliced(i, 1), classes: kinds.toSpliced(i, 1), pair: null });
      });
      return make("div", { className: "tools" }, make("i", { className: "dot", style: { background: SERIES[i], width: ".9rem", height: ".9rem", borderRadius: "50%", alignSelf: "center" } }), select, remove);
    }));
  });
  const match = page.group(t("matching", "匹配"));
  whenView(match, "matching");
  page.slider("threshold", { into: match, label: t("IoU threshold", "交并比阈值"), min: 0, max: 1, step: 0.05 });
  page.choice("way", { into: match, label: t("matching as in", "匹配方式"), options: [["d2l", t("the book (D2L)", "《动手学》(D2L)")], ["torchvision", "torchvision"]] });
  const offsetGroup = page.group(t("four offsets by hand", "手动设定四个偏移量"));
  whenView(offsetGroup, "matching");
  ["t_x", "t_y", "t_w", "t_h"].forEach((label, i) => placeSlider(page, "said", i, { label, into: offsetGroup, min: -10, max: 10, step: 0.1 }));
  const offsetTools = make("div", { className: "tools" });
  offsetGroup.append(offsetTools);
  page.button(t("all 0: the anchor", "全部为 0：即锚框"), () => page.set({ said: [0, 0, 0, 0] }), { into: offsetTools });

  const suppress = page.group(t("suppression", "抑制"));
  whenView(suppress, "suppression");
  if (about.runs.length) {
    page.choice("run", { into: suppress, label: t("boxes", "框"), change: (run) => ({ run, step: 1 }),
      options: [["", t("of the scene (built in)", "场景自带")], ...about.runs.map((run) => [run, t(`detector ${run}`, `检测器 ${run}`)])] });
  }
  page.slider("confidence", { into: suppress, label: t("least score", "最低置信度"), min: 0.01, max: 1, step: 0.01 });
  page.slider("overlap", { into: suppress, label: t("IoU threshold", "交并比阈值"), min: 0, max: 1, step: 0.05 });
  page.toggle("by_class", { into: suppress, label: t("class by class", "按类别分别进行") });

  // Figure
  const left = make("div", { className: "column wide" }), right = make("div", { className: "column wide" });
  page.stage.append(left, right);
  const walk = make("div", { className: "tools walk" });
  let pointed = null; // the box under the pointer, of suppression
  const board = page.board({
    label: t("image with boxes", "图像与边界框"), into: left,
    change: (name, corners) => {
      if (name === "A") page.set({ a: corners });
      else if (name === "B") page.set({ b: corners });
      else page.set({ truth: page.settings.truth.with(Number(name.split(" ")[0]) - 1, corners) });
    },
    press: (x, y, name) => {
      const { view } = page.shownFor;
      if (view === "anchors") {
        const [k] = page.shown.cell, [rows, columns] = page.shown.maps[k].size;
        page.set({ cell: [k, Math.min(rows - 1, Math.floor(y / about.side * rows)), Math.min(columns - 1, Math.floor(x / about.side * columns))] });
      } else if (view === "suppression") { pointed = name; page.redraw(); }
    },
    step: (down, across) => {
      if (page.shownFor.view === "suppression") { go(down + across); return; }
      if (page.shownFor.view !== "anchors") return;
      const [k, row, column] = page.shown.cell, [rows, columns] = page.shown.maps[k].size, limit = (value, most) => Math.max(0, Math.min(most - 1, value));
      const cell = [k, limit(row + down, rows), limit(column + across, columns)];
      page.announce.textContent = t(`pixel ${cell[1]}, ${cell[2]} of map ${k + 1}`, `第 ${k + 1} 个特征图的像素 ${cell[1]}, ${cell[2]}`);
      page.set({ cell });
    },
    point: (name) => {
      if (page.shownFor.view !== "suppression" || !page.shown?.scores) return;
      pointed = name;
      if (name !== null) page.announce.textContent = `${named(page.shown.labels[name])} ${digits(at(page.shown.scores, name), 2)}`;
      page.redraw();
    },
  });
  left.append(walk);
  const stepOf = () => (page.shown.first ? "match_step" : "step");
  const most = () => (page.shown.first ? page.shown.first.length + 1 : page.shown.steps.length);
  const go = (by) => page.set({ [stepOf()]: Math.max(0, Math.min(most(), page.shown.step + by)) });
  const back = page.button(t("Back", "上一步"), () => go(-1), { into: walk });
  const slide = make("input", { type: "range", min: 0, step: 1, ariaLabel: t("step", "步骤"), style: { flex: "1 1 8rem", width: "auto" } });
  slide.addEventListener("input", () => page.set({ [stepOf()]: Number(slide.value) }));
  walk.append(slide);
  const next = page.button(t("Next step", "下一步"), () => go(1), { into: walk });
  next.className = "main";
  const said = make("p", { className: "sum story" }), facts = make("div", { className: "column" });
  const below = make("div", { className: "column" });
  left.append(said, below);
  right.append(facts);

  const showSteps = (shown) => {
    walk.hidden = shown.step === undefined;
    if (walk.hidden) return;
    slide.max = most();
    slide.value = shown.step;
    slide.ariaValueText = t(`${shown.step} of ${most()}`, `第 ${shown.step} 步，共 ${most()} 步`);
    back.disabled = shown.step === 0;
    next.disabled = shown.step === most();
  };
  const tell = (text) => {
    if (said.textContent !== text && !walk.hidden) page.announce.textContent = text;
    said.textContent = text;
  };

  const draw = {
    iou(shown) {
      const { a, b, intersection, hull } = shown;
      board.draw({
        picture: shown.picture, title: t("drag the middle, an edge or a corner; or arrow keys, Shift to resize, Enter for the other", "拖动框的中间、边或角；或用方向键，按 Shift 改变大小，Enter 切换"),
        boxes: [
          { corners: hull.corners, colour: "soft", dash: true, thick: 1 },
          ...(intersection.corners ? [{ corners: intersection.corners, colour: "#e0a100", fill: 0.5, thick: 0 }] : []),
          { name: "A", corners: a.corners, colour: SERIES[0], text: "A", drag: true },
          { name: "B", corners: b.corners, colour: SERIES[1], text: "B", drag: true },
        ],
      });
      const [w, h] = a.centre.slice(2), [w2, h2] = b.centre.slice(2), meet = intersection.corners;
      tell("");
      facts.replaceChildren(
        table([t("pixels", "像素"), "x₁", "y₁", "x₂", "y₂", "cx", "cy", "w", "h"], [["A", ...a.corners.map(plain), ...a.centre.map(plain)], ["B", ...b.corners.map(plain), ...b.centre.map(plain)]]),
        lines([
          ["|A|", `${plain(w)} · ${plain(h)}`, plain(a.area)],
          ["|B|", `${plain(w2)} · ${plain(h2)}`, plain(b.area)],
          ["|A ∩ B|", meet ? `${plain(meet[2] - meet[0])} · ${plain(meet[3] - meet[1])}` : t("they do not meet", "没有公共部分"), plain(intersection.area)],
          ["|A ∪ B|", `${plain(a.area)} + ${plain(b.area)} − ${plain(intersection.area)}`, plain(shown.union)],
          ["IoU", `${plain(intersection.area)} / ${plain(shown.union)}`, digits(shown.iou), true],
          ["|C|", t("the smallest box around both, dashed", "包住两者的最小框（虚线）"), plain(hull.area)],
          ["GIoU", `${digits(shown.iou)} − (${plain(hull.area)} − ${plain(shown.union)}) / ${plain(hull.area)}`, digits(shown.giou), true],
        ]));
    },
    anchors(shown, settings) {
      const [k, row, column] = shown.cell, [rows, columns] = shown.maps[k].size, { side } = about, { per_pixel: each } = shown.maps[0];
      board.draw({
        picture: shown.picture, grid: [rows, columns], title: t("click a pixel of the feature map; or arrow keys", "点击特征图的一个像素；或用方向键"),
        boxes: [
          { corners: [column / columns * side, row / rows * side, (column + 1) / columns * side, (row + 1) / rows * side], colour: "#e0a100", fill: 0.4, thick: 0 },
          ...shown.pairs.map((_, i) => ({ corners: [...at(shown.anchors, i).data], colour: SERIES[i], text: String(i + 1) })),
        ],
      });
      tell(t(`${settings.sizes.length} sizes + ${settings.ratios.length} ratios − 1 = ${each} anchors a pixel, ${shown.total} in all.`,
        `${settings.sizes.length} 种大小 + ${settings.ratios.length} 种宽高比 − 1 = 每个像素 ${each} 个锚框，共 ${shown.total} 个。`));
      facts.replaceChildren(
        caption(t(`anchors of pixel ${row}, ${column}`, `像素 ${row}, ${column} 的锚框`)),
        table(["", "s", "r", "cx", "cy", "w", "h"], shown.pairs.map(([size, ratio], i) => [coloured(i + 1, SERIES[i]), digits(size), digits(ratio), ...[...at(shown.centres, i).data].map((value) => digits(value, 1))])),
        caption(t("w = s√r, h = s/√r, in pixels of an image of 128 px", "w = s√r，h = s/√r，以 128 像素的图像为准")),
        table([t("map", "特征图"), t("rows × columns", "行 × 列"), t("sizes", "大小"), t("a pixel", "每像素"), t("anchors", "锚框数")],
          [...shown.maps.map((map, i) => [String(i + 1), map.size.join(" × "), map.sizes.map((size) => digits(size)).join(", "), String(map.per_pixel), String(map.count)]), [t("all", "合计"), "", "", "", String(shown.total)]]));
    },
    matching(shown, settings) {
      const { pair, first, step, matched } = shown, label = (i) => `${i + 1} ${named(settings.classes[i])}`, last = step > first.length;
      const owned = [...matched.data].map((object, anchor) => [anchor, object]).filter(([, object]) => object >= 0);
      board.draw({
        picture: shown.picture, grid: [settings.rows, settings.columns], title: t("drag the objects; dashed: the anchors that learn them", "拖动物体；虚线：要学习它们的锚框"),
        boxes: [
          ...owned.map(([anchor, object]) => ({ corners: [...at(shown.anchors, anchor).data], colour: SERIES[object], dash: true, thick: 1.5 })),
          { corners: [...at(shown.anchors, pair.anchor).data], colour: SERIES[pair.truth], dash: true, thick: 3, text: t(`anchor ${pair.anchor}`, `锚框 ${pair.anchor}`) },
          ...(settings.said.some(Boolean) ? [{ corners: pair.said_box, colour: "mark2", thick: 2.5, text: t("decoded", "解码") }] : []),
          ...settings.truth.map((_, i) => ({ name: label(i), corners: [...at(shown.truth, i).data], colour: SERIES[i], text: label(i), drag: true })),
        ],
      });
      const more = owned.length - new Set(first.map(([anchor]) => anchor)).size, [anchor, object, overlap] = first[Math.min(Math.max(step, 1), first.length) - 1];
      const lost = settings.truth.map((_, i) => i).filter((i) => !owned.some(([, each]) => each === i)).map(label).join(", ");
      tell(step === 0 ? t("Nothing is matched yet: every anchor is background.", "还没有匹配：所有锚框都是背景。")
        : last ? t(`Last: of the anchors left, each takes the object that it overlaps most, if the IoU is ${settings.threshold} or more: ${more} more. All others are background.${lost ? ` Without an anchor: ${lost}.` : ""}`,
          `最后：其余锚框各取与它重叠最多的物体，只要交并比不小于 ${settings.threshold}：又有 ${more} 个。其他都是背景。${lost ? `没有锚框的物体：${lost}。` : ""}`)
          : settings.way === "d2l" ? t(`Step ${step} of ${first.length + 1}: of all free pairs, anchor ${anchor} and ${label(object)} overlap most, ${digits(overlap)}: they belong together.`,
            `第 ${step} 步，共 ${first.length + 1} 步：在所有空闲配对中，锚框 ${anchor} 与 ${label(object)} 重叠最多，为 ${digits(overlap)}：配成一对。`)
            : t(`Step ${step} of ${first.length + 1}: ${label(object)} takes the anchor that it overlaps most, ${anchor}, with ${digits(overlap)}, whether another has it or not.`,
              `第 ${step} 步，共 ${first.length + 1} 步：${label(object)} 取与它重叠最多的锚框 ${anchor}（${digits(overlap)}），不管是否已被占用。`));
      overlaps(shown, settings, label);
    },
    suppression(shown) {
      const { step, steps, labels, scores } = shown, done = steps.slice(0, step), now = done.at(-1);
      const state = labels.map(() => ({ word: t("waiting", "等待"), colour: "accent", thick: 1.5 }));
      for (const [i, { taken, removed }] of done.entries()) {
        const current = i === done.length - 1;
        state[taken] = { word: t(`taken, step ${i + 1}`, `第 ${i + 1} 步保留`), colour: current ? "mark" : "good", thick: current ? 3.5 : 2.5, kept: true, first: current };
        for (const [j, overlap] of removed) state[j] = { word: t(`removed by ${taken + 1}: IoU ${digits(overlap, 2)}`, `被 ${taken + 1} 删除：交并比 ${digits(overlap, 2)}`), colour: current ? "bad" : "soft", dash: true, thick: 1.5, faint: !current, gone: true, first: current };
      }
      const many = labels.length > 30;
      const boxes = labels.map((label, i) => ({ name: i, corners: [...at(shown.boxes, i).data], ...state[i], thick: i === pointed ? 4 : state[i].thick, faint: state[i].faint && i !== pointed,
        text: i === pointed || state[i].kept ? `${i + 1} ${named(label)} ${digits(at(scores, i), 2)}` : state[i].first || (!many && !state[i].gone) ? String(i + 1) : "" }));
      // What matters now is drawn last, over the others.
      const order = (box) => 4 * (box.name === pointed) + 2 * Boolean(box.first) + Boolean(box.kept);
      board.draw({ picture: shown.picture, boxes: boxes.sort((a, b) => order(a) - order(b)),
        title: t(`${shown.num_raw} boxes with this score or more; ${shown.kept.shape[0]} are left in the end`, `达到该置信度的框有 ${shown.num_raw} 个；最后留下 ${shown.kept.shape[0]} 个`) });
      tell(!labels.length ? t("No box has this score: lower it.", "没有框达到该置信度：请调低。")
        : !now ? t("All boxes wait, by falling score.", "所有框按置信度从高到低等待。")
          : t(`Step ${step} of ${steps.length}: ${now.taken + 1} ${named(labels[now.taken])} has the highest score left, ${digits(at(scores, now.taken), 2)}: it stays. ${now.removed.length ? `It removes ${now.removed.map(([i, overlap]) => `${i + 1} (IoU ${digits(overlap, 2)})`).join(", ")}.` : "It removes none."}`,
            `第 ${step} 步，共 ${steps.length} 步：剩余的框中 ${now.taken + 1} ${named(labels[now.taken])} 置信度最高，为 ${digits(at(scores, now.taken), 2)}：保留。${now.removed.length ? `它删除 ${now.removed.map(([i, overlap]) => `${i + 1}（交并比 ${digits(overlap, 2)}）`).join("、")}。` : "它没有删除任何框。"}`));
      const rows = table(["", t("class", "类别"), t("score", "置信度"), t("what becomes of it", "结果")], labels.map((label, i) => [String(i + 1), named(label), digits(at(scores, i), 2), coloured(state[i].word, page.colour(state[i].colour))]),
        (i) => ({ chosen: i === pointed }));
      const scroll = facts.querySelector(".scroll")?.scrollTop ?? 0;
      facts.replaceChildren(make("div", { className: "scroll", style: { maxHeight: "34rem" }, tabIndex: 0, role: "group", ariaLabel: t("boxes by falling score", "按置信度从高到低排列的框") }, rows));
      facts.firstChild.scrollTop = scroll;
    },
  };

  // The table of overlaps, anchors by objects, and the offsets of the pair that is chosen in it.
  const overlaps = (shown, settings, label) => {
    const { pair, rows, matched } = shown;
    const body = rows.map((anchor) => [String(anchor), ...settings.truth.map((_, i) => at(shown.iou, anchor, i).toFixed(2))]);
    const grid = table([t("anchor", "锚框"), ...settings.truth.map((_, i) => coloured(label(i), SERIES[i]))], body, (row) => ({ chosen: rows[row] === pair.anchor }));
    [...grid.tBodies[0].rows].forEach((line, row) => [...line.cells].slice(1).forEach((cell, i) => {
      const isPair = rows[row] === pair.anchor && i === pair.truth;
      Object.assign(cell.style, { cursor: "pointer", fontWeight: matched.data[rows[row]] === i ? "700" : "", boxShadow: matched.data[rows[row]] === i ? `inset 0 0 0 2px ${SERIES[i]}` : "", textDecoration: isPair ? "underline" : "" });
      cell.addEventListener("click", () => page.set({ pair: [rows[row], i] }));
    }));
    grid.tabIndex = 0;
    grid.ariaLabel = t("intersection over union: arrow keys choose a pair", "交并比：方向键选择一对");
    grid.addEventListener("keydown", (event) => {
      const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!by) return;
      event.preventDefault();
      const row = Math.max(0, Math.min(rows.length - 1, rows.indexOf(pair.anchor) + by[0])), i = Math.max(0, Math.min(settings.truth.length - 1, pair.truth + by[1]));
      page.announce.textContent = t(`anchor ${rows[row]}, ${label(i)}: ${body[row][i + 1]}`, `锚框 ${rows[row]}，${label(i)}：${body[row][i + 1]}`);
      page.set({ pair: [rows[row], i] });
    });
    const hadFocus = facts.querySelector("table[tabindex]") === document.activeElement, scroll = facts.querySelector(".scroll")?.scrollTop ?? 0;
    facts.replaceChildren(
      caption(t("IoU of anchors and objects (those that overlap most); framed: matched. Click a pair.", "锚框与物体的交并比（重叠较多者）；带框的已匹配。点击选择一对。")),
      make("div", { className: "scroll", style: { maxHeight: "36rem" } }, grid));
    below.replaceChildren(
      caption(t(`offsets of anchor ${pair.anchor} to ${label(pair.truth)}`, `锚框 ${pair.anchor} 到 ${label(pair.truth)} 的偏移量`)),
      table(["", "x", "y", "w", "h"], [
        [t("anchor, centre form", "锚框（中心形式）"), ...pair.anchor_centre.map((value) => digits(value, 1))],
        [t("object, centre form", "物体（中心形式）"), ...pair.truth_centre.map((value) => digits(value, 1))],
        [t("set by hand", "手动设定"), ...settings.said.map((value) => digits(value, 1))],
      ]),
      lines([
        ["t_x", "((cx − a_x) / a_w) / 0.1", digits(pair.offsets[0], 2)],
        ["t_y", "((cy − a_y) / a_h) / 0.1", digits(pair.offsets[1], 2)],
        ["t_w", "log(w / a_w) / 0.2", digits(pair.offsets[2], 2)],
        ["t_h", "log(h / a_h) / 0.2", digits(pair.offsets[3], 2)],
        [t("decoded back", "解码还原"), "x₁, y₁, x₂, y₂", pair.decoded.map((value) => digits(value, 1)).join(", ")],
        [t("by hand", "手动"), t("IoU of the decoded box", "解码框的交并比"), digits(pair.said_iou), true],
      ]));
    facts.querySelector(".scroll").scrollTop = scroll;
    if (hadFocus) grid.focus();
  };

  return (shown, settings) => {
    // An answer to what was asked before the view was changed is not drawn.
    const answered = shown.steps ? "suppression" : shown.first ? "matching" : shown.maps ? "anchors" : "iou";
    if (answered !== settings.view) return;
    showSteps(shown);
    below.hidden = answered !== "matching";
    draw[answered](shown, settings);
  };
});

const plain = (value) => String(Number(value.toFixed(1)));
const caption = (text) => make("figcaption", { textContent: text });
const coloured = (text, colour) => make("span", {}, make("i", { style: { display: "inline-block", width: ".7em", height: ".7em", borderRadius: "50%", background: colour, marginRight: ".35em" } }), text);

function table(head, rows, look = () => ({})) {
  return make("table", { className: "values" },
    make("thead", {}, make("tr", {}, ...head.map((each) => make("th", { scope: "col" }, each)))),
    make("tbody", {}, ...rows.map((row, i) => make("tr", { className: look(i).chosen ? "chosen" : "" }, ...row.map((each) => make("td", {}, each))))));
}

// name = how = value, one below the other.
function lines(rows) {
  return make("table", { className: "values" }, make("tbody", {}, ...rows.map(([name, how, value, strong]) =>
    make("tr", {}, make("td", {}, name), make("td", { style: { textAlign: "left", color: "var(--soft)" } }, how), make("td", { style: strong ? { fontWeight: "700" } : {} }, value)))));
}

// A slider for one place of a setting that is a list.
function placeSlider(page, name, place, { label, into, min, max, step, log = false }) {
  const toSlider = (value) => (log ? Math.log2(value) : value), toValue = (value) => (log ? Number((2 ** value).toPrecision(2)) : value);
  const input = make("input", { type: "range", min: toSlider(min), max: toSlider(max), step: log ? 0.125 : step, ariaLabel: label }), out = make("output");
  input.addEventListener("input", () => page.set({ [name]: page.settings[name].with(place, toValue(Number(input.value))) }));
  const show = (settings) => {
    if (settings[name][place] === undefined) return;
    input.value = toSlider(settings[name][place]);
    out.textContent = input.ariaValueText = digits(settings[name][place], 2);
  };
  page.bound.push(show);
  show(page.settings);
  into.append(make("label", { className: "row" }, make("span", { textContent: label }), input, out));
}

// Sliders for a list of 1 to 4 values, and buttons for one more and one less.
function listSliders(page, name, { item, into, min, max, step, fresh, log }) {
  const box = make("div", { style: { display: "grid", gap: ".4rem" } }), tools = make("div", { className: "tools" }), { t } = page;
  for (let i = 0; i < 4; i++) placeSlider(page, name, i, { label: item(i), into: box, min, max, step, log });
  const word = { sizes: t("size", "大小"), ratios: t("ratio", "宽高比") }[name];
  const more = page.button(`+ ${word}`, () => page.set({ [name]: [...page.settings[name], fresh] }), { into: tools });
  const fewer = page.button(`− ${word}`, () => page.set({ [name]: page.settings[name].slice(0, -1) }), { into: tools });
  page.bound.push((settings) => {
    const count = settings[name].length;
    [...box.children].forEach((row, i) => { row.hidden = i >= count; });
    more.disabled = count >= 4;
    fewer.disabled = count <= 1;
  });
  into.append(box, tools);
}
