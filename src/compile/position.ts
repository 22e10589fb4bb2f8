// From a place in a function's text to the place in the file its author wrote: through where V8 says the function
// stands, and through whichever source map Node can see. Nothing is believed that was not checked: a loader that keeps
// its maps to itself names the TypeScript file with the lines of the JavaScript, so words of the text are looked up at
// the places they map to. What fails that check has no position, and its frames show the text itself.

import type { SourceMap } from "node:module";
import { type Node, tokenizer } from "acorn";
import type { At } from "../base/failure.ts";
import { codeFrame } from "./frame.ts";
import { type Location, listScripts, type Script } from "./inspector.ts";
import type { Parsed } from "./text.ts";

export interface Positions {
  at(offset: number): At | null;
  frame(offset: number, length?: number): string | null;
  textOf(file: string): string | null;
}

/** Where a text that is already original starts in its file, 1-based: what a build plugin tells. */
export interface Known {
  at: readonly [line: number, column: number];
  url: string;
}

export const generatedLabel = "generated code";

export function positionsOf(where: Location | Known | null, text: string, parsed: Parsed): Positions {
  const lines = new Lines(text);
  const place =
    where === null ? null : "scriptId" in where ? inScript(where, lines, text, parsed) : inFile(where, lines);
  const trusted = place !== null && isTrue(place, text, parsed) ? place : null;
  const at = (offset: number) => trusted?.find(offset) ?? null;
  return {
    at,
    frame(offset, length) {
      const found = at(offset);
      const original = found === null ? null : (trusted?.files.textOf(found.file) ?? null);
      if (found !== null && original !== null)
        return codeFrame(original, found.line, found.column, { length: length ?? 1 });
      const { line, column } = lines.at(offset);
      return codeFrame(text, line + 1, column + 1, { length: length ?? 1, label: generatedLabel });
    },
    textOf: (file) => trusted?.files.textOf(file) ?? null,
  };
}

/** URL of the script a function was loaded from, without the queries that loaders add. */
export function scriptUrl(location: Location | null): string | null {
  if (location === null) return null;
  const url = scriptOf(location.scriptId)?.url ?? "";
  return url === "" ? null : url;
}

interface Place {
  find(offset: number): At | null;
  files: Files;
  /** Through a map that names this script: then renamed variables are to be expected. */
  mapped: boolean;
}

interface Files {
  textOf(file: string): string | null;
  /** Of a place in a file whose text is known. */
  offsetOf(at: At): number | null;
}

function inFile({ at: [line, column], url }: Known, lines: Lines): Place {
  const file = fileOf(url);
  return {
    mapped: false,
    files: reading(),
    find(offset) {
      const here = lines.at(offset);
      return { file, line: line + here.line, column: here.line === 0 ? column + here.column : here.column + 1 };
    },
  };
}

function inScript(location: Location, lines: Lines, text: string, parsed: Parsed): Place | null {
  const script = scriptOf(location.scriptId);
  if (script === null || script.url === "") return null;
  const anchor = lines.at(anchorOf(text, parsed));
  const generated = (offset: number) => {
    const here = lines.at(offset);
    const shift = here.line === anchor.line ? location.column - anchor.column : 0;
    return { line: location.line + here.line - anchor.line, column: here.column + shift };
  };
  const map = mapOf(location.scriptId, script);
  if (map === null) {
    const file = fileOf(script.url);
    const find = (offset: number) => {
      const { line, column } = generated(offset);
      return { file, line: line + 1, column: column + 1 };
    };
    return { find, files: reading(), mapped: false };
  }
  return {
    mapped: true,
    files: map,
    find(offset) {
      const { line, column } = generated(offset);
      return map.find(line, column);
    },
  };
}

/**
 * Where V8 says a function is: the start of an arrow or of a class without constructor, and the `(` of the parameters of
 * everything else. The same in Node 20 to 26.
 */
function anchorOf(text: string, { kind, node, prefix }: Parsed): number {
  if (kind === "method") return method(node).value.start - prefix.length;
  if (kind === "class") {
    const members = (node as Node & { body: { body: Member[] } }).body.body;
    const made = members.find((member) => member.kind === "constructor");
    return made === undefined ? 0 : made.value.start - prefix.length;
  }
  if (node.type === "ArrowFunctionExpression") return 0;
  for (const token of tokenizer(text, { ecmaVersion: "latest", sourceType: "module" })) {
    if (token.type.label === "(") return token.start;
  }
  return 0;
}

type Member = Node & { kind?: string; value: Node };

function method(node: Node): Member {
  return node as Member;
}

const samplesMax = 40;

/** Whether the text, or the words of it, stand where they map to. */
function isTrue(place: Place, text: string, { node, prefix }: Parsed): boolean {
  if (!place.mapped) return isSame(place, text);
  let known = 0;
  let hits = 0;
  for (const { start, word } of sample(wordsOf(node, prefix.length))) {
    const at = place.find(start);
    const offset = at === null ? null : place.files.offsetOf(at);
    if (at === null || offset === null) continue;
    known++;
    const original = place.files.textOf(at.file) ?? "";
    // Strings may change their quotes on the way, and a member may be mapped at its dot.
    if (original.startsWith(word, offset) || original.startsWith(word, offset + 1)) hits++;
  }
  // Tokens that a compiler put in map to their neighbours. Without a word or a source to compare, the map is all there is.
  return known === 0 ? place.find(0) !== null : hits >= known * 0.5;
}

/**
 * Text that was not moved stands in its file as it is, but for types that were replaced by spaces (and a `;` or bracket
 * that type stripping puts in here and there).
 */
function isSame(place: Place, text: string): boolean {
  const at = place.find(0);
  const start = at === null ? null : place.files.offsetOf(at);
  if (at === null || start === null) return false;
  const original = place.files.textOf(at.file) ?? "";
  let seen = 0;
  let same = 0;
  for (let index = 0; index < text.length; index++) {
    if (/\s/.test(text[index]!)) continue;
    seen++;
    if (text[index] === original[start + index]) same++;
  }
  return same >= seen * 0.98;
}

interface Word {
  start: number;
  word: string;
}

/** What no minifier renames: members, keys, strings, and a few keywords. Offsets in the text. */
function wordsOf(root: Node, shift: number): Word[] {
  const words: Word[] = [];
  walk(root, (node) => {
    const word = wordOf(node);
    if (word !== null) words.push({ start: word.start - shift, word: word.word });
  });
  return words;
}

type Shape = Node & {
  computed?: boolean;
  property?: Shape;
  key?: Shape;
  id?: Shape | null;
  name?: string;
  value?: unknown;
};

function wordOf(node: Node): Word | null {
  const shape = node as Shape;
  if (node.type === "Literal" && typeof shape.value === "string" && /^[\w ]{2,}$/.test(shape.value)) {
    return { start: node.start, word: shape.value.slice(0, 12) };
  }
  if (node.type === "AwaitExpression") return { start: node.start, word: "await" };
  const name = shape.computed === true ? null : (shape.property ?? shape.key ?? shape.id);
  return name?.name !== undefined && name.name.length > 2 ? { start: name.start, word: name.name } : null;
}

export function walk(node: Node, visit: (node: Node) => void): void {
  visit(node);
  for (const value of Object.values(node) as unknown[]) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, visit);
  }
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string";
}

function sample<T>(list: readonly T[]): T[] {
  const step = Math.max(1, Math.ceil(list.length / samplesMax));
  return list.filter((_, index) => index % step === 0);
}

// -- scripts and maps, by script id: an id names one text for as long as the thread lives

let scripts = new Map<string, Script>();
const maps = new Map<string, Mapping | null>();

interface Mapping extends Files {
  /** 0-based in the script. */
  find(line: number, column: number): At | null;
}

function scriptOf(scriptId: string): Script | null {
  if (!scripts.has(scriptId)) scripts = listScripts();
  return scripts.get(scriptId) ?? null;
}

function mapOf(scriptId: string, script: Script): Mapping | null {
  let mapping = maps.get(scriptId);
  if (mapping === undefined) {
    mapping = loadMap(script);
    maps.set(scriptId, mapping);
  }
  return mapping;
}

interface Payload {
  file?: string;
  version: number;
  sources: string[];
  sourcesContent?: (string | null)[];
  names: string[];
  mappings: string;
  sourceRoot?: string;
  sections?: { map: Payload }[];
}

/** An inline map is certainly the script's own; then the one Node keeps for the file; then the file beside it. */
function loadMap({ url, sourceMapUrl }: Script): Mapping | null {
  const { SourceMap, findSourceMap } = builtin<typeof import("node:module")>("node:module");
  if (sourceMapUrl.startsWith("data:")) {
    const payload = parsePayload(dataText(sourceMapUrl));
    if (payload !== null) return mapping(new SourceMap(payload as never), payload, url);
  }
  const kept = findSourceMap(url) ?? findSourceMap(fileOf(url));
  if (kept !== undefined) return mapping(kept, kept.payload as unknown as Payload, url);
  if (sourceMapUrl === "" || sourceMapUrl.startsWith("data:")) return null;
  const mapUrl = resolve(sourceMapUrl, url);
  const payload = parsePayload(readText(fileOf(mapUrl)));
  return payload === null ? null : mapping(new SourceMap(payload as never), payload, mapUrl);
}

function mapping(map: SourceMap, payload: Payload, base: string): Mapping {
  const contents = new Map<string, string | null>();
  for (const part of payload.sections?.map((section) => section.map) ?? [payload]) {
    part.sources.forEach((source, index) => {
      contents.set(nameOf(source, part.sourceRoot, base), part.sourcesContent?.[index] ?? null);
    });
  }
  const files = reading(contents);
  return {
    ...files,
    find(line, column) {
      const entry = map.findEntry(line, column);
      if (!("originalSource" in entry) || entry.generatedLine !== line || entry.originalSource === undefined)
        return null;
      const { originalSource, originalLine, originalColumn } = entry;
      return {
        file: nameOf(originalSource, payload.sourceRoot, base),
        line: originalLine + 1,
        column: originalColumn + 1,
      };
    },
  };
}

function nameOf(source: string, root: string | undefined, base: string): string {
  const rooted =
    root === undefined || root === "" || isAbsolute(source) ? source : `${root.replace(/\/$/, "")}/${source}`;
  return fileOf(resolve(rooted, base));
}

function isAbsolute(source: string): boolean {
  return source.startsWith("/") || /^[a-z][\w+.-]+:/i.test(source);
}

/** Relative to a script or map that V8 may know by path or by URL, with queries of loaders. */
function resolve(reference: string, base: string): string {
  if (/^[a-z][\w+.-]+:/i.test(reference)) return reference;
  const from = base.startsWith("/") ? builtin<typeof import("node:url")>("node:url").pathToFileURL(base).href : base;
  return URL.canParse(reference, from) ? new URL(reference, from).href : reference;
}

/** A path where it is a file, else the URL; without query. */
export function fileOf(url: string): string {
  if (!url.startsWith("file:")) return url.replace(/\?.*$/, "");
  const parsed = new URL(url);
  parsed.search = "";
  parsed.hash = "";
  return builtin<typeof import("node:url")>("node:url").fileURLToPath(parsed);
}

function dataText(url: string): string | null {
  const comma = url.indexOf(",");
  const body = url.slice(comma + 1);
  return url.slice(0, comma).includes(";base64")
    ? Buffer.from(body, "base64").toString("utf8")
    : decodeURIComponent(body);
}

function parsePayload(text: string | null): Payload | null {
  if (text === null) return null;
  try {
    return JSON.parse(text.replace(/^\)\]\}'[^\n]*\n/, "")) as Payload;
  } catch {
    return null; // a broken map is as good as none: the check on the text decides what is believed
  }
}

function reading(contents: ReadonlyMap<string, string | null> = new Map()): Files {
  const lines = new Map<string, Lines | null>();
  const texts = new Map<string, string | null>();
  const textOf = (file: string) => {
    let text = texts.get(file);
    if (text === undefined) {
      text = contents.get(file) ?? readText(file);
      texts.set(file, text);
    }
    return text;
  };
  return {
    textOf,
    offsetOf(at) {
      const text = textOf(at.file);
      if (!lines.has(at.file)) lines.set(at.file, text === null ? null : new Lines(text));
      return lines.get(at.file)?.offset(at) ?? null;
    },
  };
}

function readText(file: string): string | null {
  if (!file.startsWith("/") && !/^[a-z]:[\\/]/i.test(file)) return null;
  try {
    return builtin<typeof import("node:fs")>("node:fs").readFileSync(file, "utf8");
  } catch {
    return null; // sources need not be deployed
  }
}

// Not imported: bundlers and edge runtimes must be able to load this file.
function builtin<Module>(name: string): Module {
  return process.getBuiltinModule(name) as unknown as Module;
}

// -- lines of a text, as V8 counts them

export class Lines {
  /** Offsets where lines start. */
  readonly #starts: number[] = [0];

  constructor(text: string) {
    for (const { index, 0: end } of text.matchAll(/\r\n|[\n\r\u2028\u2029]/g)) this.#starts.push(index + end.length);
  }

  /** 0-based. */
  at(offset: number): { line: number; column: number } {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low, column: offset - this.#starts[low]! };
  }

  /** Of a 1-based place; past the end where there is no such line. */
  offset({ line, column }: { line: number; column: number }): number {
    return (this.#starts[line - 1] ?? Number.POSITIVE_INFINITY) + column - 1;
  }
}
