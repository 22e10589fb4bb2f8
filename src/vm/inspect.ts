// A snapshot for people: where each suspended function stands and what its locals hold, as text. Nothing is run.

import { format } from "./console.ts";
import { Cell, type Frame, hole, type Loaded } from "./frame.ts";
import type { Suspended } from "./machine.ts";
import { decodeFrames } from "./snapshot.ts";
import { positionOf } from "./trace.ts";

export function inspect(loaded: Loaded, bytes: Uint8Array): Suspended[] {
  const frames = decodeFrames(loaded, bytes);
  const list: Suspended[] = [];
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i]!;
    list[i] = {
      name: frame.code.name,
      function: frame.code.index,
      pc: frame.pc,
      at: positionOf(frame),
      locals: localsOf(frame),
    };
  }
  return list;
}

function localsOf(frame: Frame): Suspended["locals"] {
  const debug = frame.code.program.program.debug.functions[frame.code.index];
  const locals: Suspended["locals"] = [];
  if (debug === undefined) return locals;
  for (let i = 0; i < debug.locals.length; i++) {
    const [register, name, from, to] = debug.locals[i]!;
    if (frame.pc < from || frame.pc >= to) continue;
    tell(locals, name, frame.regs[register]);
  }
  for (let i = 0; i < debug.captures.length; i++) tell(locals, debug.captures[i]!, frame.closure.cells[i]);
  return locals;
}

/** What is not in the snapshot because it is not needed any more is left out. */
function tell(locals: Suspended["locals"], name: string, held: unknown): void {
  const value = held instanceof Cell ? held.value : held;
  if (value === undefined || value === hole) return;
  locals[locals.length] = { name, value: format([value]) };
}
