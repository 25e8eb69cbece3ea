// The labs, each with its picture and what one does there.

const language = new URL(location.href).searchParams.get("lang") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const word = (en, zh) => (language === "zh" ? zh : en);
document.documentElement.lang = language;
document.title = word("Twofold labs", "Twofold 实验");
document.getElementById("title").textContent = word("Labs", "实验");
document.getElementById("summary").textContent = word(
  "Every value on these pages is computed by the code that stands beside it.", "这些页面上的每个数值，都由旁边的代码计算得出。");
const other = document.getElementById("language");
other.textContent = language === "zh" ? "English" : "中文";
other.href = `?lang=${language === "zh" ? "en" : "zh"}`;

const labs = await (await fetch("/labs.json")).json();
document.getElementById("labs").append(...labs.map((lab) => {
  const item = document.createElement("li"), link = document.createElement("a"), text = document.createElement("p"), icon = document.createElement("img");
  link.href = `/lab/${lab.name}?lang=${language}`;
  link.textContent = lab.title[language];
  text.textContent = lab.summary[language];
  icon.src = `/page/icons/${lab.name}.svg`;
  icon.alt = "";
  item.append(icon, link, text);
  return item;
}));
