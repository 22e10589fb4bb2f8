// Programs as bytes: `body` (what runs, and what is hashed) and `debug` (what people read). The same program gives the
// same bytes. Pure, without node:* and without `instanceof`: it also runs inside the VM's sealed realm, on bytes that come
// from a database, so every count and every read is bounded.

import { WaymarkError } from "../base/failure.ts";
import type { Constant, Debug, FunctionCode, Graph, GraphNode, Program, Reference, StaticDef } from "./program.ts";
import { programFormat } from "./program.ts";

const nodeKinds: readonly GraphNode["kind"][] = [
  "start",
  "end",
  "action",
  "sleep",
  "child",
  "durable",
  "branch",
  "loop",
  "fanout",
  "try",
  "catch",
  "finally",
  "throw",
  "call",
];
const durables = ["sleep", "now", "random", "uuid", "runAction"] as const;

export function encodeProgram(program: Program): { body: Uint8Array; debug: Uint8Array } {
  const body = new Writer();
  body.int(program.format);
  body.text(program.workflow);
  body.list(program.functions, writeFunction);
  body.list(program.constants, writeConstant);
  body.list(program.templates, (out, template) => {
    out.list(template.cooked, (o, text) => {
      o.int(text === undefined ? 0 : 1);
      if (text !== undefined) o.text(text);
    });
    out.list(template.raw, (o, text) => o.text(text));
  });
  body.list(program.statics, (out, item) => {
    out.int(item.kind === "function" ? 0 : item.kind === "class" ? 1 : 2);
    out.int(item.kind === "data" ? item.data : item.function);
  });
  body.list(program.data, (out, bytes) => out.bytes(bytes));
  body.list(program.references, writeReference);
  const debug = new Writer();
  debug.int(program.format);
  writeDebug(debug, program.debug);
  return { body: body.done(), debug: debug.done() };
}

/** Throws WaymarkError WM411 where the bytes are not a program of a format this build reads. */
export function decodeProgram(bytes: Uint8Array, debugBytes: Uint8Array | null): Program {
  const body = new Reader(bytes);
  const format = body.int();
  if (format < 1 || format > programFormat)
    throw new WaymarkError(
      "WM411",
      `program is damaged or newer: format ${format}, this build reads up to ${programFormat}`,
    );
  const workflow = body.text();
  const functions = body.list(readFunction);
  const constants = body.list(readConstant);
  const templates = body.list((from) => ({
    cooked: from.list((f) => (f.choice(2) === 1 ? f.text() : undefined)),
    raw: from.list((f) => f.text()),
  }));
  const statics = body.list((from): StaticDef => {
    const kind = from.choice(3);
    const index = from.int();
    return kind === 2 ? { kind: "data", data: index } : { kind: kind === 0 ? "function" : "class", function: index };
  });
  const data = body.list((from) => from.bytes());
  const references = body.list(readReference);
  body.end();
  return {
    format,
    workflow,
    functions,
    constants,
    templates,
    statics,
    data,
    references,
    debug: debugBytes === null ? noDebug(functions.length) : decodeDebug(debugBytes),
  };
}

export function decodeDebug(bytes: Uint8Array): Debug {
  const from = new Reader(bytes);
  from.int();
  const debug = readDebug(from);
  from.end();
  return debug;
}

function noDebug(functions: number): Debug {
  const empty = { source: -1, positions: new Int32Array(0), locals: [], captures: [], text: "", callees: [] };
  return { sources: [], functions: Array.from({ length: functions }, () => empty), graph: { nodes: [], edges: [] } };
}

function writeFunction(out: Writer, fn: FunctionCode): void {
  out.text(fn.name);
  out.int(fn.length);
  out.int(fn.parameters);
  out.int(fn.registers);
  out.int(fn.flags);
  out.list(fn.captures, (o, n) => o.signed(n));
  out.int(fn.code.length);
  for (const word of fn.code) out.signed(word);
  out.list(fn.handlers, (o, h) => {
    o.int(h.start);
    o.int(h.end);
    o.int(h.handler);
    o.int(h.into);
  });
}

function readFunction(from: Reader): FunctionCode {
  const name = from.text();
  const length = from.int();
  const parameters = from.int();
  const registers = from.int();
  const flags = from.int();
  const captures = from.list((f) => f.signed());
  const code = new Int32Array(from.count());
  for (let i = 0; i < code.length; i++) code[i] = from.signed();
  const handlers = from.list((f) => ({ start: f.int(), end: f.int(), handler: f.int(), into: f.int() }));
  return { name, length, parameters, registers, flags, captures, code, handlers };
}

function writeConstant(out: Writer, value: Constant): void {
  if (typeof value === "string") {
    out.int(0);
    out.text(value);
  } else if (typeof value === "bigint") {
    out.int(1);
    out.text(value.toString());
  } else if (Object.is(value, value | 0)) {
    out.int(2);
    out.signed(value);
  } else {
    out.int(3);
    out.double(value);
  }
}

function readConstant(from: Reader): Constant {
  const kind = from.choice(4);
  if (kind === 0) return from.text();
  if (kind === 2) return from.signed();
  if (kind === 3) return from.double();
  const digits = from.text();
  if (!/^-?[0-9]+$/.test(digits)) throw damaged();
  return BigInt(digits);
}

function writeReference(out: Writer, reference: Reference): void {
  if (reference.kind === "action") {
    out.int(0);
    out.text(reference.name);
    out.int(reference.policy === null ? 0 : 1);
    if (reference.policy !== null) out.bytes(reference.policy);
  } else if (reference.kind === "workflow") {
    out.int(1);
    out.text(reference.name);
  } else {
    out.int(2);
    out.int(durables.indexOf(reference.name));
  }
}

function readReference(from: Reader): Reference {
  const kind = from.choice(3);
  if (kind === 2) return { kind: "durable", name: durables[from.choice(durables.length)]! };
  const name = from.text();
  if (kind === 1) return { kind: "workflow", name };
  return { kind: "action", name, policy: from.choice(2) === 1 ? from.bytes() : null };
}

function writeDebug(out: Writer, debug: Debug): void {
  out.list(debug.sources, (o, source) => {
    o.text(source.file);
    o.int(source.text === null ? 0 : 1);
    if (source.text !== null) o.text(source.text);
  });
  out.list(debug.functions, (o, fn) => {
    o.signed(fn.source);
    o.int(fn.positions.length);
    let before = [0, 0, 0];
    for (let i = 0; i + 2 < fn.positions.length; i += 3) {
      const now = [fn.positions[i]!, fn.positions[i + 1]!, fn.positions[i + 2]!];
      for (let j = 0; j < 3; j++) o.signed(now[j]! - before[j]!);
      before = now;
    }
    o.list(fn.locals, (w, [register, name, start, end]) => {
      w.int(register);
      w.text(name);
      w.int(start);
      w.int(end);
    });
    o.list(fn.captures, (w, name) => w.text(name));
    o.text(fn.text);
    o.list(fn.callees, (w, [pc, text]) => {
      w.int(pc);
      w.text(text);
    });
  });
  writeGraph(out, debug.graph);
}

function readDebug(from: Reader): Debug {
  const sources = from.list((f) => ({ file: f.text(), text: f.choice(2) === 1 ? f.text() : null }));
  const functions = from.list((f) => {
    const source = f.signed();
    const length = f.count();
    if (length % 3 !== 0) throw damaged();
    const positions = new Int32Array(length);
    for (let i = 0; i < length; i++) positions[i] = (i < 3 ? 0 : positions[i - 3]!) + f.signed();
    const locals = f.list((r): readonly [number, string, number, number] => [r.int(), r.text(), r.int(), r.int()]);
    const captures = f.list((r) => r.text());
    const text = f.text();
    const callees = f.list((r): readonly [number, string] => [r.int(), r.text()]);
    return { source, positions, locals, captures, text, callees };
  });
  return { sources, functions, graph: readGraph(from) };
}

function writeGraph(out: Writer, graph: Graph): void {
  out.list(graph.nodes, (o, node) => {
    o.int(node.id);
    o.int(nodeKinds.indexOf(node.kind));
    o.text(node.label);
    o.signed(node.parent);
    o.int(node.at === null ? 0 : 1);
    if (node.at !== null) {
      o.signed(node.at.source);
      o.int(node.at.line);
      o.int(node.at.column);
    }
    o.list(node.sites, (w, site) => {
      w.int(site.function);
      w.int(site.pc);
    });
  });
  out.list(graph.edges, (o, edge) => {
    o.int(edge.from);
    o.int(edge.to);
    o.int(edge.label === undefined ? 0 : 1);
    if (edge.label !== undefined) o.text(edge.label);
  });
}

function readGraph(from: Reader): Graph {
  const nodes = from.list((f): GraphNode => {
    const id = f.int();
    const kind = nodeKinds[f.choice(nodeKinds.length)]!;
    const label = f.text();
    const parent = f.signed();
    const at = f.choice(2) === 1 ? { source: f.signed(), line: f.int(), column: f.int() } : null;
    return { id, kind, label, parent, at, sites: f.list((r) => ({ function: r.int(), pc: r.int() })) };
  });
  const edges = from.list((f) => {
    const edge = { from: f.int(), to: f.int() };
    return f.choice(2) === 1 ? { ...edge, label: f.text() } : edge;
  });
  return { nodes, edges };
}

function damaged(): WaymarkError {
  return new WaymarkError("WM411", "program is damaged", {
    hint: "Its row in the database was changed or cut short. Compile the workflow again.",
  });
}

class Writer {
  #buffer = new Uint8Array(1024);
  #length = 0;

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + bytes));
    larger.set(this.#buffer);
    this.#buffer = larger;
  }

  /** Non-negative, below 2^32. */
  int(value: number): void {
    this.#room(5);
    let rest = value >>> 0;
    while (rest > 127) {
      this.#buffer[this.#length++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.#buffer[this.#length++] = rest;
  }

  signed(value: number): void {
    this.int((value << 1) ^ (value >> 31));
  }

  double(value: number): void {
    this.#room(8);
    new DataView(this.#buffer.buffer).setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** UTF-16 code units, one varint each: lone surrogates survive, ASCII takes a byte. */
  text(value: string): void {
    this.int(value.length);
    for (let i = 0; i < value.length; i++) this.int(value.charCodeAt(i));
  }

  bytes(value: Uint8Array): void {
    this.int(value.length);
    this.#room(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  list<T>(items: readonly T[], write: (out: Writer, item: T) => void): void {
    this.int(items.length);
    for (const item of items) write(this, item);
  }

  done(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  int(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (this.#at >= this.#bytes.length) throw damaged();
      const byte = this.#bytes[this.#at++]!;
      if (shift === 28 && byte > 15) throw damaged();
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
    throw damaged();
  }

  signed(): number {
    const value = this.int();
    return (value >>> 1) ^ -(value & 1);
  }

  double(): number {
    if (this.#at + 8 > this.#bytes.length) throw damaged();
    const value = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, 8).getFloat64(0, true);
    this.#at += 8;
    return value;
  }

  /** A number of things that each take at least a byte: more than there are bytes left is damage, not memory. */
  count(): number {
    const n = this.int();
    if (n > this.#bytes.length - this.#at) throw damaged();
    return n;
  }

  choice(limit: number): number {
    const n = this.int();
    if (n >= limit) throw damaged();
    return n;
  }

  text(): string {
    const length = this.count();
    let text = "";
    for (let i = 0; i < length; i++) {
      const unit = this.int();
      if (unit > 0xffff) throw damaged();
      text += String.fromCharCode(unit);
    }
    return text;
  }

  bytes(): Uint8Array {
    const length = this.count();
    const bytes = this.#bytes.slice(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }

  list<T>(read: (from: Reader) => T): T[] {
    const length = this.count();
    const items: T[] = [];
    for (let i = 0; i < length; i++) items.push(read(this));
    return items;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw damaged();
  }
}
