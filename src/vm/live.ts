// Which registers a suspended frame still needs: what may be read before it is written, from an instruction on. What is
// not live is not in the snapshot, so dead temporaries neither cost bytes nor keep what they held.

import { op, shapes } from "../program/instructions.ts";
import type { Code } from "./frame.ts";

const known = new WeakMap<Code, Uint8Array[]>();

/** Registers live when the instruction at pc has been given its value; ascending. */
export function liveAfter(code: Code, pc: number): number[] {
  let sets = known.get(code);
  if (sets === undefined) {
    sets = solve(code);
    known.set(code, sets);
  }
  const live = sets[pc];
  const list: number[] = [];
  if (live === undefined) return list;
  for (let i = 0; i < code.registers; i++) if ((live[i >> 3]! >> (i & 7)) & 1) list[list.length] = i;
  return list;
}

interface Uses {
  reads: number[];
  writes: number[];
  next: number[];
}

/** Live-in for every instruction, by iterating backwards until nothing changes. */
function solve(code: Code): Uint8Array[] {
  const words = code.code;
  const width = (code.registers + 7) >> 3;
  const starts: number[] = [];
  const uses: Uses[] = [];
  const sets: Uint8Array[] = [];
  for (let pc = 0; pc < words.length; pc += 1 + shapes[words[pc]!]!.length) {
    starts[starts.length] = pc;
    uses[pc] = usesOf(code, pc);
    sets[pc] = new Uint8Array(width);
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (let n = starts.length - 1; n >= 0; n--) {
      const pc = starts[n]!;
      const { reads, writes, next } = uses[pc]!;
      const live = new Uint8Array(width);
      for (let i = 0; i < next.length; i++) join(live, sets[next[i]!]);
      for (let i = 0; i < writes.length; i++) live[writes[i]! >> 3]! &= ~(1 << (writes[i]! & 7));
      // A throw comes before the write.
      for (let i = 0; i < code.handlers.length; i++) {
        const handler = code.handlers[i]!;
        if (pc < handler.start || pc >= handler.end) continue;
        const into = sets[handler.handler];
        if (into === undefined) continue;
        const had = (live[handler.into >> 3]! >> (handler.into & 7)) & 1;
        join(live, into);
        if (!had) live[handler.into >> 3]! &= ~(1 << (handler.into & 7));
      }
      for (let i = 0; i < reads.length; i++) live[reads[i]! >> 3]! |= 1 << (reads[i]! & 7);
      const old = sets[pc]!;
      for (let i = 0; i < width; i++) {
        if (old[i] !== live[i]) {
          sets[pc] = live;
          changed = true;
          break;
        }
      }
    }
  }
  return sets;
}

function join(into: Uint8Array, from: Uint8Array | undefined): void {
  if (from !== undefined) for (let i = 0; i < into.length; i++) into[i]! |= from[i]!;
}

function usesOf(code: Code, pc: number): Uses {
  const words = code.code;
  const name = words[pc]!;
  const shape = shapes[name]!;
  const reads: number[] = [];
  const writes: number[] = [];
  const next: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    const value = words[pc + 1 + i]!;
    switch (shape[i]) {
      case "d":
        writes[writes.length] = value;
        break;
      case "dd":
        writes[writes.length] = value;
        writes[writes.length] = value + 1;
        break;
      case "r":
        reads[reads.length] = value;
        break;
      case "rr":
        reads[reads.length] = value;
        reads[reads.length] = value + 1;
        break;
      case "o":
        if (value >= 0) reads[reads.length] = value;
        break;
      case "t":
        next[next.length] = value;
        break;
      case "f": {
        const { captures } = code.program.codes[value]!;
        for (let c = 0; c < captures.length; c++) if (captures[c]! >= 0) reads[reads.length] = captures[c]!;
        break;
      }
    }
  }
  // Arguments stand in a row from the first.
  const first = name === op.CALL ? 4 : name === op.NEW || name === op.SUPERCALL ? 3 : 0;
  if (first > 0) {
    reads.length -= 1; // the first argument register itself, unread where there are none
    for (let i = 0; i < words[pc + first + 1]!; i++) reads[reads.length] = words[pc + first]! + i;
  }
  if (name === op.SUPERCALL || name === op.SUPERCALLA) reads[reads.length] = words[pc + 1]! + 1;
  const ends = name === op.JUMP || name === op.RETURN || name === op.THROW || name === op.THROWNEW;
  if (!ends) next[next.length] = pc + 1 + shape.length;
  return { reads, writes, next };
}
