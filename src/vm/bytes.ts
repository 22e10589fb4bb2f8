// biome-ignore-all lint/correctness/noVoidTypeReturn: `return this.byte(...)` ends a case where it is decided.
// The bytes of a snapshot: varints, doubles, strings told once.

import { WaymarkError } from "../base/failure.ts";
import { mapGet, mapSet } from "./primordial.ts";

export class Writer {
  bytes = new Uint8Array(512);
  length = 0;
  readonly strings = new Map<unknown, number>();

  room(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + count));
    grown.set(this.bytes);
    this.bytes = grown;
  }
  byte(value: number): void {
    this.room(1);
    this.bytes[this.length++] = value;
  }
  int(value: number): void {
    this.room(8);
    let rest = value;
    while (rest >= 128) {
      this.bytes[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }
  double(value: number): void {
    this.room(8);
    new DataView(this.bytes.buffer).setFloat64(this.length, value, true);
    this.length += 8;
  }
  blob(value: Uint8Array): void {
    this.int(value.length);
    this.room(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
  }
  optional(value: Uint8Array | null): void {
    this.byte(value === null ? 0 : 1);
    if (value !== null) this.blob(value);
  }
  /** 0, length and text; or the number of an earlier string plus one. */
  text(value: string): void {
    const known = mapGet(this.strings, value);
    if (known !== undefined) return this.int(known + 1);
    mapSet(this.strings, value, this.strings.size);
    this.int(0);
    let wide = false;
    for (let i = 0; i < value.length && !wide; i++) wide = value.charCodeAt(i) > 255;
    this.int(value.length * 2 + (wide ? 1 : 0));
    this.room(value.length * 2);
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      this.bytes[this.length++] = code & 255;
      if (wide) this.bytes[this.length++] = code >> 8;
    }
  }
  done(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

export class Reader {
  readonly bytes: Uint8Array;
  at = 0;
  readonly strings: string[] = [];
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  byte(): number {
    if (this.at >= this.bytes.length) throw damaged("it ends too early");
    return this.bytes[this.at++]!;
  }
  int(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) break;
      if (scale > 2 ** 49) throw damaged("a number is too large");
    }
    return value;
  }
  /** A count of things that take at least a byte each. */
  count(): number {
    const value = this.int();
    if (value > this.bytes.length - this.at) throw damaged("a count is too large");
    return value;
  }
  double(): number {
    if (this.at + 8 > this.bytes.length) throw damaged("it ends too early");
    this.at += 8;
    return new DataView(this.bytes.buffer, this.bytes.byteOffset).getFloat64(this.at - 8, true);
  }
  blob(): Uint8Array {
    const size = this.count();
    this.at += size;
    return this.bytes.slice(this.at - size, this.at);
  }
  optional(): Uint8Array | null {
    return this.byte() === 0 ? null : this.blob();
  }
  text(): string {
    const known = this.int();
    if (known > 0) {
      const text = this.strings[known - 1];
      if (text === undefined) throw damaged("it names a string that it has not told");
      return text;
    }
    const head = this.int();
    const wide = head % 2 === 1;
    const size = Math.floor(head / 2);
    if (size * (wide ? 2 : 1) > this.bytes.length - this.at) throw damaged("a string is too long");
    let text = "";
    for (let i = 0; i < size; i++) {
      const low = this.bytes[this.at++]!;
      text += String.fromCharCode(wide ? low | (this.bytes[this.at++]! << 8) : low);
    }
    this.strings[this.strings.length] = text;
    return text;
  }
}

export function damaged(how: string): WaymarkError {
  return new WaymarkError("WM451", `The snapshot is damaged: ${how}.`, {
    hint: "The instance cannot go on from it. Restore the row from a backup.",
  });
}
