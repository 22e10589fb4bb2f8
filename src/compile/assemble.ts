// One function's code while it grows: instructions, labels, registers in stack order, handler ranges, positions. Knows
// nothing of JavaScript.

import { type Op, op } from "../program/instructions.ts";

export interface Label {
  at: number;
  uses: number[];
}

export interface Region {
  label: Label;
  into: number;
  start: number;
  spans: { start: number; end: number }[];
}

export class Assembler {
  readonly code: number[] = [];
  readonly positions: number[] = [];
  readonly locals: [number, string, number, number][] = [];
  readonly callees: [number, string][] = [];
  readonly handlers: { start: number; end: number; label: Label; into: number }[] = [];
  registers = 0;
  #next = 0;
  #line = 0;
  #column = 0;
  #pending: { line: number; column: number } | null = null;

  get pc(): number {
    return this.code.length;
  }

  /** Registers are taken and given back in stack order. */
  take(count = 1): number {
    const first = this.#next;
    this.#next += count;
    if (this.#next > this.registers) this.registers = this.#next;
    return first;
  }

  get mark(): number {
    return this.#next;
  }

  release(mark: number): void {
    this.#next = mark;
  }

  /** Position of what is emitted next. */
  at(place: { line: number; column: number } | null): void {
    if (place !== null) this.#pending = place;
  }

  emit(name: Op, ...operands: number[]): number {
    const pc = this.code.length;
    const place = this.#pending;
    if (place !== null) {
      this.#pending = null;
      if (place.line !== this.#line || place.column !== this.#column) {
        this.positions.push(pc, place.line, place.column);
        this.#line = place.line;
        this.#column = place.column;
      }
    }
    this.code.push(op[name], ...operands);
    return pc;
  }

  label(): Label {
    return { at: -1, uses: [] };
  }

  place(label: Label): void {
    label.at = this.code.length;
    for (const use of label.uses) this.code[use] = label.at;
  }

  /** A jump: the target is the last operand. */
  jump(name: Op, operands: readonly number[], label: Label): number {
    const pc = this.emit(name, ...operands, label.at);
    if (label.at < 0) label.uses.push(this.code.length - 1);
    return pc;
  }

  open(into: number, label = this.label()): Region {
    return { label, into, start: this.pc, spans: [] };
  }

  /** What follows, up to `resume`, is not guarded by the region. */
  pause(region: Region): void {
    if (region.start >= 0 && region.start < this.pc) region.spans.push({ start: region.start, end: this.pc });
    region.start = -1;
  }

  resume(region: Region): void {
    region.start = this.pc;
  }

  /** Regions close innermost first, which is the order handlers are searched in. Says whether anything was guarded. */
  close(region: Region): boolean {
    this.pause(region);
    for (const { start, end } of region.spans)
      this.handlers.push({ start, end, label: region.label, into: region.into });
    return region.spans.length > 0;
  }

  callee(pc: number, text: string): void {
    this.callees.push([pc, text]);
  }

  local(register: number, name: string, start: number): void {
    if (start < this.pc) this.locals.push([register, name, start, this.pc]);
  }
}
