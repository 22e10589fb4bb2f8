// Programs as bytes: the same again after decoding, and damage is found, not executed.

import { expect, test } from "vitest";
import { compileScript } from "../../src/compile/compile.ts";
import { disassemble } from "../../src/program/disassemble.ts";
import { decodeProgram, encodeProgram } from "../../src/program/encode.ts";
import { verifyProgram } from "../../src/program/verify.ts";

const source = `
class A { #x = 1; get x() { return this.#x; } }
const f = async (n) => { try { for (const k of [1, 2, n]) if (k > 1.5) return k; } finally { console.log("é\\ud800", 10n, -0, NaN); } };
await f(new A().x), ((s) => s.raw)\`t\${1}\`;
`;

test("decode(encode(program)) is the program, and its bytes are the same again", () => {
  const { program, body, debug } = compileScript(source);
  const again = decodeProgram(body, debug);
  expect(again).toEqual(program);
  expect(encodeProgram(again)).toEqual({ body, debug });
  expect(verifyProgram(again)).toBeNull();
});

test("the disassembly shows instructions with names and the source above them", () => {
  const text = disassemble(compileScript("let total = 0;\nfor (let i = 0; i < 3; i++) total += i;\ntotal;").program);
  expect(text).toBe(`function 0 script, 0 parameters, 4 registers, async:
      ; 1: let total = 0;
    0  INT         r1:total, 0
      ; 2: for (let i = 0; i < 3; i++) total += i;
    3  INT         r2:i, 0
    6  JUMP        -> 21
    8  ADD         r1:total, r1:total, r2:i
   12  MOVE        r0, r1:total
   15  NUMERIC     r2:i, r2:i
   18  INC         r2:i, r2:i
   21  INT         r3, 3
   24  JLT         r2:i, r3, -> 8
      ; 3: total;
   28  MOVE        r0, r1:total
   31  RETURN      r0`);
});

test("every single changed byte is refused or still a program that verifies", () => {
  const { body } = compileScript(source);
  let refused = 0;
  for (let i = 0; i < body.length; i++) {
    for (const flip of [1, 0x80, 0xff]) {
      const bytes = body.slice();
      bytes[i]! ^= flip;
      try {
        if (verifyProgram(decodeProgram(bytes, null)) !== null) refused++;
      } catch (error) {
        expect((error as { code: string }).code).toBe("WM411");
        refused++;
      }
    }
  }
  expect(refused).toBeGreaterThan(body.length / 2);
});

test("a program cut short is damaged", () => {
  const { body } = compileScript(source);
  for (let length = 0; length < body.length; length++)
    expect(() => decodeProgram(body.slice(0, length), null)).toThrow("program is");
});
