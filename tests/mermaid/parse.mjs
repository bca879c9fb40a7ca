// Reads files of Mermaid with Mermaid's own parser, and prints what it understood of each:
// a JSON list of {title, about, nodes, links, groups}, or {error}.
// The packages are those beside this file, or those in the folder COMPOSER_NODE_MODULES.
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.env.COMPOSER_NODE_MODULES;
const require = createRequire(folder ? pathToFileURL(join(folder, "..", "x.js")) : import.meta.url);
const { JSDOM } = require("jsdom");
const { window } = new JSDOM("");
Object.assign(globalThis, { window, document: window.document });
const core = join(require.resolve("mermaid/package.json"), "..", "dist", "mermaid.core.mjs");
const { default: mermaid } = await import(pathToFileURL(core));

// What the page shows: Mermaid writes its marks for entities back once all is drawn.
const text = (label) =>
  (label ?? "").replace(/ﬂ°°/g, "&#").replace(/ﬂ°/g, "&").replace(/¶ß/g, ";");

async function read(path) {
  const source = await readFile(path, "utf-8");
  try {
    await mermaid.parse(source);
    const { db } = await mermaid.mermaidAPI.getDiagramFromText(source);
    return {
      title: db.getDiagramTitle(),
      about: text(db.getAccDescription()),
      nodes: [...db.getVertices().values()]
        .filter(({ id }) => id.startsWith("b"))
        .map((n) => ({ id: n.id, label: text(n.text), shape: n.type, classes: n.classes })),
      links: db.getEdges().map((e) => ({
        source: e.start, target: e.end, label: text(e.text), stroke: e.stroke, arrow: e.type,
      })),
      groups: db.getSubGraphs().map((g) => ({ id: g.id, label: text(g.title), members: g.nodes })),
    };
  } catch (error) {
    return { error: String(error) };
  }
}

const found = [];
for (const path of process.argv.slice(2)) found.push(await read(path));
console.log(JSON.stringify(found));
