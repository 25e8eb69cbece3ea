// The page at /docs: what openapi.json says, for people.

const made = (tag, text = "", ...inside) => {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...inside);
  return element;
};
const row = (cell, ...texts) => made("tr", "", ...texts.map((text) =>
  text instanceof Node ? made(cell, "", text) : made(cell, text)));
const table = (names, rows) => made("table", "", row("th", ...names), ...rows.map((texts) => row("td", ...texts)));

// A schema as one would write an example of it.
function form(schema) {
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map(form).join(" | ");
  if (schema.format === "binary") return "bytes";
  if (schema.contentEncoding) return "\"BASE64\"";
  if (schema.type === "array") return `[${form(schema.items)}, …]`;
  if (schema.type === "object") {
    const needed = new Set(schema.required ?? Object.keys(schema.properties ?? {}));
    const pairs = Object.entries(schema.properties ?? {})
      .map(([name, own]) => `${name}${needed.has(name) ? "" : "?"}: ${form(own)}`);
    return `{${pairs.join(", ")}}`;
  }
  return schema.type ?? "any";
}

const api = await (await fetch("openapi.json")).json();
document.getElementById("title").textContent = `${api.info.title} ${api.info.version}: API`;
document.getElementById("description").textContent = api.info.description.replace("http://127.0.0.1:8000", location.origin);
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const part = made("section", "", made("h2", "", made("code", `${method.toUpperCase()} ${path}`)), made("p", operation.summary));
    if (operation.parameters?.length) {
      part.append(table(["in the address", "", ""], operation.parameters.map((each) =>
        [made("code", each.name), form(each.schema), each.description ?? ""])));
    }
    const body = Object.entries(operation.requestBody?.content ?? {});
    if (body.length) part.append(table(["content", ""], body.map(([kind, own]) => [made("code", kind), made("code", form(own.schema))])));
    part.append(table(["status", "", ""], Object.entries(operation.responses).map(([status, own]) => {
      const [content] = Object.values(own.content ?? {});
      return [made("code", status), own.description, made("code", content?.schema ? form(content.schema) : "")];
    })));
    document.getElementById("operations").append(part);
  }
}
