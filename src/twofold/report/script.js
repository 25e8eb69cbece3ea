
// The page is complete without this script: it adds the theme switch, sorting and copying.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const stored = () => { try { return localStorage.getItem("twofold-theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("twofold-theme", theme); } catch { /* a private window */ } };
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => root.dataset.theme || (prefersDark.matches ? "dark" : "light");
  const toggle = document.getElementById("theme");
  const label = () => { toggle.setAttribute("aria-pressed", String(theme() === "dark")); };
  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
  label();
  prefersDark.addEventListener("change", label);
  toggle.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    store(root.dataset.theme);
    label();
  });

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const isNumber = header.classList.contains("number");
        // Numbers start with the largest, names with A.
        const first = isNumber ? "descending" : "ascending";
        const second = isNumber ? "ascending" : "descending";
        const order = header.getAttribute("aria-sort") === first ? second : first;
        const sign = order === "ascending" ? 1 : -1;
        const key = (row) => row.cells[header.cellIndex].dataset.value;
        const compare = (a, b) => {
          if (!isNumber) return sign * key(a).localeCompare(key(b), undefined, { numeric: true });
          if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
          return sign * (Number(key(a)) - Number(key(b)));
        };
        for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", order);
        body.append(...[...body.rows].sort(compare));
      });
    }
  }

  for (const box of document.querySelectorAll(".command")) {
    const button = box.querySelector("button");
    const code = box.querySelector("code");
    button.addEventListener("click", async () => {
      let copied = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        // Older browsers allow no clipboard on a page from a file, but do allow copying what is selected.
        getSelection().selectAllChildren(code);
        copied = document.execCommand("copy");
      }
      button.textContent = copied ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }
})();
