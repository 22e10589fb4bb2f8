// `waymark visualize`: the graph of a workflow for people. Text for the terminal, SVG for documents, Mermaid for Markdown,
// JSON for programs. All four draw the same tree: containers (loops, branches, fan-outs, try) hold what runs inside them.
import path from "node:path";
import ansis from "ansis";

import { WaymarkError } from "../base/failure.ts";
import { compileWorkflow, type Debug, type Graph, type GraphNode } from "../compiler.ts";
import { declaredWorkflows, loadModule } from "./module.ts";

type Kind = GraphNode["kind"];

const looks: Record<Kind, { icon: string; colour: (text: string) => string; fill: string }> = {
  start: { icon: "●", colour: ansis.green, fill: "#16a34a" },
  end: { icon: "◉", colour: ansis.green, fill: "#16a34a" },
  action: { icon: "◆", colour: ansis.cyan, fill: "#0891b2" },
  sleep: { icon: "◷", colour: ansis.blue, fill: "#2563eb" },
  child: { icon: "▣", colour: ansis.magenta, fill: "#9333ea" },
  durable: { icon: "○", colour: ansis.blue, fill: "#2563eb" },
  branch: { icon: "◇", colour: ansis.yellow, fill: "#ca8a04" },
  loop: { icon: "↻", colour: ansis.yellow, fill: "#ca8a04" },
  fanout: { icon: "⇶", colour: ansis.magenta, fill: "#9333ea" },
  try: { icon: "▽", colour: ansis.white, fill: "#64748b" },
  catch: { icon: "⚑", colour: ansis.red, fill: "#dc2626" },
  finally: { icon: "▵", colour: ansis.white, fill: "#64748b" },
  throw: { icon: "✗", colour: ansis.red, fill: "#dc2626" },
  call: { icon: "ƒ", colour: ansis.white, fill: "#64748b" },
};

export async function visualize(
  module: string,
  only: string | undefined,
  options: { format: "text" | "svg" | "mermaid" | "json" },
): Promise<void> {
  if (!(await loadModule(module))) return;
  const declared = declaredWorkflows(module);
  const chosen = only === undefined ? declared : declared.filter(([name]) => name === only);
  if (chosen.length === 0) {
    throw new WaymarkError("WM606", `${module} has no workflow named ${only}`, {
      hint: `It has ${declared.map(([name]) => name).join(", ")}.`,
    });
  }
  const drawn = chosen.map(([name, workflow]) => {
    const { debug } = compileWorkflow(workflow).program;
    return { name, graph: debug.graph, debug };
  });
  if (options.format === "json") {
    process.stdout.write(
      `${JSON.stringify(Object.fromEntries(drawn.map(({ name, graph }) => [name, graph])), null, 2)}\n`,
    );
    return;
  }
  const draw = { text: asText, svg: asSvg, mermaid: asMermaid }[options.format];
  process.stdout.write(`${drawn.map(({ name, graph, debug }) => draw(name, graph, debug)).join("\n")}\n`);
}

function childrenOf(graph: Graph, parent: number): GraphNode[] {
  return graph.nodes.filter((node) => node.parent === parent);
}

/** What the picture says without words: the body of a loop, its repetition, what follows it. */
const plain = new Set(["each", "again", "done"]);

/** The label on the way into a node ("yes", "no", "throws"), if it has one. */
function wayIn(graph: Graph, node: GraphNode): string | undefined {
  return graph.edges.find((edge) => edge.to === node.id && edge.label && !plain.has(edge.label))?.label;
}

// -- text

export function asText(name: string, graph: Graph, debug: Debug): string {
  const rows: { left: string; plain: number; at: string }[] = [];
  const walk = (parent: number, guide: string): void => {
    const nodes = childrenOf(graph, parent);
    nodes.forEach((node, index) => {
      const last = index === nodes.length - 1;
      const { icon, colour } = looks[node.kind];
      const way = wayIn(graph, node);
      const label = `${way ? `${way}: ` : ""}${node.label}`;
      const branch = `${guide}${last ? "└─" : "├─"} `;
      rows.push({
        left: `${ansis.dim(branch)}${colour(icon)} ${label}`,
        plain: branch.length + 2 + label.length,
        at: node.at
          ? `${path.relative(".", debug.sources[node.at.source]?.file.replace(/^file:\/\//, "") ?? "")}:${node.at.line}`
          : "",
      });
      walk(node.id, `${guide}${last ? "   " : "│  "}`);
    });
  };
  walk(-1, "");
  const width = Math.max(...rows.map((row) => row.plain)) + 3;
  return `${ansis.bold(name)}\n${rows.map((row) => `${row.left}${" ".repeat(width - row.plain)}${ansis.dim(row.at)}`.trimEnd()).join("\n")}\n`;
}

// -- Mermaid

export function asMermaid(name: string, graph: Graph): string {
  const lines = [`%% ${name}`, "flowchart TD"];
  const quote = (text: string) => `"${text.replaceAll('"', "#quot;")}"`;
  const walk = (parent: number, indent: string): void => {
    for (const node of childrenOf(graph, parent)) {
      if (childrenOf(graph, node.id).length === 0) {
        lines.push(`${indent}n${node.id}[${quote(node.label)}]`);
      } else {
        lines.push(`${indent}subgraph n${node.id}[${quote(node.label)}]`);
        walk(node.id, `${indent}  `);
        lines.push(`${indent}end`);
      }
    }
  };
  walk(-1, "  ");
  for (const { from, to, label } of graph.edges) lines.push(`  n${from} -->${label ? `|${quote(label)}|` : ""} n${to}`);
  return `${lines.join("\n")}\n`;
}

// -- SVG: leaves are boxes, containers are frames with their children stacked in order

interface Box {
  node: GraphNode;
  label: string;
  width: number;
  height: number;
  children: Box[];
}

const leafHeight = 38;
const header = 34;
const gap = 26;
const pad = 18;
const characterWidth = 7.6;

export function asSvg(name: string, graph: Graph): string {
  const boxes = childrenOf(graph, -1).map((node) => measure(graph, node));
  const width = Math.max(200, ...boxes.map((box) => box.width)) + pad * 2;
  const title = 44;
  const parts: string[] = [];
  const height = title + stack(boxes, width / 2, title, parts) + pad;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, SFMono-Regular, Menlo, monospace" font-size="13">
<style>.t{fill:#0f172a}.s{stroke:#94a3b8}.b{fill:#fff}.w{fill:#64748b;font-size:11px}svg{background:#f8fafc}@media(prefers-color-scheme:dark){.t{fill:#e2e8f0}.b{fill:#1e293b}svg{background:#0f172a}}</style>
<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#94a3b8"/></marker></defs>
<text class="t" x="${width / 2}" y="28" text-anchor="middle" font-weight="700" font-size="15">${escaped(name)}</text>
${parts.join("\n")}
</svg>
`;
}

function measure(graph: Graph, node: GraphNode): Box {
  const children = childrenOf(graph, node.id).map((child) => measure(graph, child));
  const way = wayIn(graph, node);
  const label = `${way ? `${way}: ` : ""}${node.label}`;
  const own = label.length * characterWidth + 48;
  if (children.length === 0) return { node, label, width: own, height: leafHeight, children };
  return {
    node,
    label,
    width: Math.max(own, ...children.map((child) => child.width)) + pad * 2,
    height: header + children.reduce((sum, child) => sum + child.height + gap, -gap) + pad,
    children,
  };
}

/** Draws boxes one under the other around a middle line; the height they took. */
function stack(boxes: readonly Box[], middle: number, top: number, parts: string[]): number {
  let y = top;
  boxes.forEach((box, index) => {
    if (index > 0)
      parts.push(
        `<path class="s" d="M${middle} ${y - gap}V${y - 1}" fill="none" stroke-width="1.5" marker-end="url(#a)"/>`,
      );
    draw(box, middle, y, parts);
    y += box.height + gap;
  });
  return y - gap - top;
}

function draw(box: Box, middle: number, top: number, parts: string[]): void {
  const { icon, fill } = looks[box.node.kind];
  const left = middle - box.width / 2;
  const container = box.children.length > 0;
  parts.push(
    `<rect class="b" x="${left}" y="${top}" width="${box.width}" height="${box.height}" rx="8" stroke="${fill}" stroke-width="1.5"${container ? ' stroke-dasharray="5 4" fill-opacity="0.5"' : ""}/>`,
    `<text x="${left + 14}" y="${top + 24}" fill="${fill}">${icon}</text><text class="t" x="${left + 34}" y="${top + 24}">${escaped(box.label)}</text>`,
  );
  if (container) stack(box.children, middle, top + header, parts);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
