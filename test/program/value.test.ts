// The value codec: what crosses comes back the same, what cannot cross is refused with its path, and bytes that were not
// written by it do no harm.
import assert from "node:assert/strict";
import { createContext, runInContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { WaymarkError } from "../../src/base/failure.ts";
import { decodeValue, describeError, encodeError, encodeValue } from "../../src/program/value.ts";

const roundTrip = (value: unknown): unknown => decodeValue(encodeValue(value));

/** Comes back deeply equal, prototypes and identity included, and encodes to the same bytes again. */
function check(value: unknown): void {
  const bytes = encodeValue(value);
  const back = decodeValue(bytes);
  assert.deepStrictEqual(back, value);
  expect(encodeValue(back)).toEqual(bytes);
}

const shared = { a: 1 };
const buffer = new ArrayBuffer(16);
const extended = Object.assign("a1b2".match(/[a-z]/) as unknown[], { extra: true });

const table: Record<string, unknown> = {
  undefined: undefined,
  null: null,
  true: true,
  false: false,
  NaN: Number.NaN,
  "-0": -0,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
  integers: [0, 1, -1, 127, 128, -128, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 53, -(2 ** 53), Date.UTC(2026, 1, 1)],
  fractions: [0.1, -1e-300, Number.MAX_VALUE, Number.MIN_VALUE],
  bigint: [0n, 1n, -1n, 2n ** 64n, -(2n ** 200n)],
  "empty string": "",
  strings: ["a", "é", "ÿ", "Ā", "日本語", "😀", "\ud800", "\u0000", "x".repeat(10_000), "ж".repeat(10_000)],
  "the same string twice": ["welcome", "welcome", { welcome: "welcome" }],
  "plain object": { a: 1, b: { c: [1, "two", null] } },
  "null prototype": Object.assign(Object.create(null), { toString: 1 }),
  "keys of Object.prototype": { toString: 1, constructor: "x", valueOf: null },
  "__proto__ as a key": JSON.parse('{"__proto__": {"a": 1}, "b": 2}'),
  "keys with strange characters": { "": 1, "a\u0000b": 2, ключ: 3 },
  "integer keys": { 2: "b", 1: "a", x: "c" },
  "many shapes": Array.from({ length: 60 }, (_, index) => ({ [`k${index % 30}`]: index, z: 1 })),
  "keys that join alike": [...Array(20).keys()].map((index) => (index % 2 ? { "a\u0000b": 1 } : { a: 1, b: 2 })),
  "many objects": Array.from({ length: 300 }, (_, id) => ({ id, name: `user ${id % 40}`, tags: ["x", `t${id}`] })),
  // biome-ignore lint/suspicious/noSparseArray: holes are the point
  holes: [1, , 3, , ,],
  "sparse array": Object.assign([], { 4294967294: "last" }),
  "array of length 5000 without elements": new Array(5000),
  "array with properties": extended,
  "empty array and object": [[], {}],
  date: [new Date(0), new Date(1.7e12)],
  map: new Map<unknown, unknown>([
    ["a", 1],
    [{ k: 1 }, new Map([[1, new Set()]])],
    [Number.NaN, "nan"],
  ]),
  set: new Set([1, "1", shared, [shared]]),
  regexp: [/a/, /[/\]]+(?<n>x)/dgimsuy, /\p{L}/v],
  url: new URL("https://me:secret@example.com:8080/a%20b?q=1#h"),
  "array buffer": new Uint8Array([1, 2, 3]).buffer,
  "typed arrays": [
    new Uint8Array([1, 255]),
    new Int8Array([-1]),
    new Uint8ClampedArray([300]),
    new Int16Array([-2]),
    new Uint16Array([65535]),
    new Int32Array([-3]),
    new Uint32Array([2 ** 32 - 1]),
    new Float32Array([0.5]),
    new Float64Array([Number.NaN, -0]),
    new BigInt64Array([-1n]),
    new BigUint64Array([2n ** 64n - 1n]),
    new DataView(new ArrayBuffer(4), 1, 2),
  ],
  "views of one buffer": [new Uint8Array(buffer), new Float64Array(buffer, 8), buffer, new DataView(buffer, 4)],
};

describe("what crosses comes back the same", () => {
  test.each(Object.entries(table))("%s", (_name, value) => check(value));

  test("-0 keeps its sign", () => expect(Object.is(roundTrip(-0), -0)).toBe(true));

  test("an invalid date", () => expect((roundTrip(new Date(Number.NaN)) as Date).getTime()).toBe(Number.NaN));

  test("holes stay holes", () => {
    // biome-ignore lint/suspicious/noSparseArray: holes are the point
    const back = roundTrip([1, , 3]) as unknown[];
    expect([0 in back, 1 in back, 2 in back, back.length]).toEqual([true, false, true, 3]);
  });

  test("the position of a regular expression", () => {
    const pattern = /a/g;
    pattern.lastIndex = 3;
    expect((roundTrip(pattern) as RegExp).lastIndex).toBe(3);
  });

  test("shared references stay shared", () => {
    const [a, b, map] = roundTrip([shared, shared, new Map([[shared, shared]])]) as [
      object,
      object,
      Map<object, object>,
    ];
    expect(a).toBe(b);
    expect(map.get(a)).toBe(a);
  });

  test("cycles through every container", () => {
    const object: Record<string, unknown> = {};
    const map = new Map<unknown, unknown>();
    const set = new Set<unknown>();
    const array: unknown[] = [object, map, set];
    object.array = array;
    map.set(map, array);
    set.add(set).add(map);
    const back = roundTrip(array) as [Record<string, unknown>, Map<unknown, unknown>, Set<unknown>];
    expect(back[0].array).toBe(back);
    expect(back[1].get(back[1])).toBe(back);
    expect(back[2].has(back[2]) && back[2].has(back[1])).toBe(true);
  });

  test("views share their buffer", () => {
    const [bytes, floats, whole] = roundTrip(table["views of one buffer"]) as [Uint8Array, Float64Array, ArrayBuffer];
    bytes.fill(0x3f);
    expect(floats.buffer).toBe(whole);
    expect(floats[0]).not.toBe(0);
  });

  test("a list a million deep", () => {
    let list: unknown = null;
    for (let depth = 0; depth < 1_000_000; depth++) list = { next: list };
    let back = roundTrip(list) as { next: unknown } | null;
    let depth = 0;
    for (; back !== null; depth++) back = back.next as { next: unknown } | null;
    expect(depth).toBe(1_000_000);
  });

  test("values of another realm, by what they are", () => {
    const foreign = runInContext(
      "({ list: [1, [2]], map: new Map([[1, 2]]), set: new Set([3]), at: new Date(5), pattern: /x/gi, bytes: new Uint8Array([7]), error: new TypeError('no'), buffer: new ArrayBuffer(2) })",
      createContext({}),
    ) as Record<string, unknown>;
    const back = roundTrip(foreign) as Record<string, unknown>;
    assert.deepStrictEqual(back.list, [1, [2]]);
    assert.deepStrictEqual(back.map, new Map([[1, 2]]));
    assert.deepStrictEqual(back.set, new Set([3]));
    assert.deepStrictEqual(back.at, new Date(5));
    assert.deepStrictEqual(back.pattern, /x/gi);
    assert.deepStrictEqual(back.bytes, new Uint8Array([7]));
    assert.deepStrictEqual(back.buffer, new ArrayBuffer(2));
    expect(back.error).toBeInstanceOf(TypeError);
  });
});

class PaymentError extends Error {}
class CardDeclined extends PaymentError {
  override name = "CardDeclined";
  readonly code: string;
  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

describe("errors", () => {
  const classes = new Map<string, abstract new (...args: never[]) => unknown>([["CardDeclined", CardDeclined]]);
  const errorClass = (names: readonly string[]) => classes.get(names[0] as string);

  test("message, stack, cause, own properties and class", () => {
    const error = new CardDeclined("no funds", "51");
    error.cause = new RangeError("inner", { cause: "text" });
    const back = decodeValue(encodeValue(error), { errorClass }) as CardDeclined;
    expect(back).toBeInstanceOf(CardDeclined);
    expect([back.name, back.message, back.code, back.stack]).toEqual(["CardDeclined", "no funds", "51", error.stack]);
    expect(back.cause).toBeInstanceOf(RangeError);
    expect((back.cause as Error).cause).toBe("text");
    expect(Object.keys(back)).toEqual(Object.keys(error));
  });

  test("an unknown class keeps its names over any number of borders", () => {
    const twice = encodeValue(decodeValue(encodeValue(new CardDeclined("no", "1"))));
    expect(decodeValue(twice)).not.toBeInstanceOf(CardDeclined);
    expect((decodeValue(twice) as Error).name).toBe("CardDeclined");
    expect(describeError(twice)).toEqual({ names: ["CardDeclined", "PaymentError", "Error"], message: "no" });
    expect(decodeValue(twice, { errorClass })).toBeInstanceOf(CardDeclined);
  });

  test("built-in classes", () => {
    for (const Class of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
      const back = roundTrip(new Class("m")) as Error;
      expect(Object.getPrototypeOf(back)).toBe(Class.prototype);
      expect(Object.prototype.toString.call(back)).toBe("[object Error]");
      expect(Object.keys(back)).toEqual([]);
    }
  });

  test("an AggregateError keeps its errors", () => {
    const back = roundTrip(new AggregateError([new TypeError("a"), "b"], "many")) as AggregateError;
    expect(back).toBeInstanceOf(AggregateError);
    expect([back.message, back.errors.length, back.errors[1]]).toEqual(["many", 2, "b"]);
    expect(back.errors[0]).toBeInstanceOf(TypeError);
  });

  test("an AbortError keeps its name", () => {
    const back = roundTrip(new DOMException("stopped", "AbortError")) as Error;
    expect([back.name, back.message, back instanceof Error]).toEqual(["AbortError", "stopped", true]);
  });

  test("what an error holds and is not data becomes a note, and the rest is kept", () => {
    const error = Object.assign(new Error("bad gateway"), {
      status: 502,
      retry: () => 0,
      config: { headers: { a: "b" }, transform: [function parse() {}] },
    });
    const back = roundTrip(error) as Error & Record<string, unknown>;
    expect(back.status).toBe(502);
    expect(back.retry).toBe("[not kept: a function `retry`]");
    expect(back.config).toBe("[not kept: a function `parse` at .transform[0]]");
  });

  test("cycles through errors", () => {
    const error = new Error("loop") as Error & { self: { error: unknown } };
    error.self = { error };
    error.cause = error;
    const back = roundTrip(error) as typeof error;
    expect(back.cause).toBe(back);
    expect(back.self.error).toBe(back);
  });

  test("a chain of causes takes linear time", () => {
    let error = new Error("0");
    for (let depth = 1; depth < 400; depth++)
      error = Object.assign(new Error(`${depth}`, { cause: error }), { in: { error } });
    expect((roundTrip(error) as Error).message).toBe("399");
  });

  test("whatever is thrown can be encoded", () => {
    for (const thrown of [
      undefined,
      "text",
      5,
      Symbol("s"),
      () => 0,
      { at: () => 0 },
      new (class Odd {})(),
      Promise.resolve(),
    ]) {
      expect(encodeError(thrown)).toBeInstanceOf(Uint8Array);
    }
    expect(describeError(encodeError(() => 0)).message).toBe("a function was thrown");
    expect(describeError(encodeError("text"))).toEqual({ names: [], message: "text" });
  });
});

describe("what is not data is refused with its path", () => {
  class Money {
    cents = 5;
  }
  function refuse(value: unknown, message: string): void {
    try {
      encodeValue(value, { what: "argument 1" });
    } catch (error) {
      assert(error instanceof WaymarkError);
      expect([error.code, error.message]).toEqual(["WM401", `argument 1 cannot be stored: ${message}`]);
      expect(error.hint).toBeTruthy();
      return;
    }
    assert.fail("it was stored");
  }
  const cases: [unknown, string][] = [
    [() => 0, "a function"],
    [{ items: [0, 1, 2, { price: new Money() }] }, "a class instance `Money` at .items[3].price"],
    [{ items: [{ price: function cost() {} }] }, "a function `cost` at .items[0].price"],
    [{ Class: Money }, "a class `Money` at .Class"],
    [[Symbol("s")], "a symbol `Symbol(s)` at [0]"],
    [
      {
        "a b": {
          get total() {
            return 1;
          },
        },
      },
      'a getter `total` at ["a b"].total',
    ],
    [{ p: Promise.resolve(1) }, "a Promise at .p"],
    [new WeakMap(), "a WeakMap"],
    [new Map([["key", { x: new WeakSet() }]]), 'a WeakSet at .get("key").x'],
    [new Map([[new Money(), 1]]), "a class instance `Money` at (key 0)"],
    [new Set([[new Money()]]), "a class instance `Money` at (member 0)[0]"],
    [[Object(1)], "a boxed number at [0]"],
    [Object("s"), "a boxed string"],
    [new (class Rows extends Array {})(), "a class instance `Rows`"],
    [new (class Cache extends Map {})(), "a class instance `Cache`"],
    [{ b: Buffer.from("x") }, "a class instance `Buffer` at .b"],
    [(function* () {})(), "a Generator"],
    [[1][Symbol.iterator](), "an Array Iterator"],
    [new Uint8Array(new SharedArrayBuffer(1)), "a Uint8Array over a SharedArrayBuffer"],
    [{ [Symbol("k")]: 1 }, "a property keyed by a symbol `Symbol(k)`"],
    [Object.assign(new Date(0), { note: 1 }), "a Date with a property `note` of its own"],
    [Object.create({}), "an object with a prototype of its own"],
    [
      [
        (function (..._: unknown[]) {
          // biome-ignore lint/complexity/noArguments: the point
          return arguments;
        })(1),
      ],
      "an `arguments` object at [0]",
    ],
  ];
  test.each(cases.map(([value, message]) => [message, value] as const))("%s", (message, value) =>
    refuse(value, message),
  );

  test("a proxy that throws", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    expect(() => encodeValue({ proxy })).toThrow(expect.objectContaining({ code: "WM401" }));
  });

  test("no getter, iterator or toJSON of the value is run", () => {
    let ran = 0;
    const trap = () => {
      ran++;
      return "x";
    };
    const value = Object.defineProperties({ toJSON: 1 }, { hidden: { get: trap, enumerable: false } });
    const list = Object.defineProperty([1, 2], Symbol.iterator, { get: trap, enumerable: false });
    encodeValue([value, list]);
    expect(() => encodeValue(Object.defineProperty({}, "x", { get: trap, enumerable: true }))).toThrow(WaymarkError);
    expect(ran).toBe(0);
  });

  test("the encoder is as good as new after a refusal", () => {
    expect(() => encodeValue(["a", "bb", () => 0])).toThrow(WaymarkError);
    check(["bb", { a: "bb" }]);
  });

  test("a value over the limit", () => {
    expect(() => encodeValue("x".repeat(2000), { limitBytes: 1000 })).toThrow(
      expect.objectContaining({ code: "WM402" }),
    );
    expect(() => encodeValue(Array(500).fill("ab"), { limitBytes: 1000 })).toThrow(
      expect.objectContaining({ code: "WM402" }),
    );
    expect(encodeValue("x".repeat(900), { limitBytes: 1000 }).length).toBeLessThan(1000);
  });
});

describe("frozen constants", () => {
  test("everything is frozen, and containers refuse their mutators", () => {
    const back = decodeValue(encodeValue({ list: [{ a: 1 }], map: new Map([[1, 2]]), at: new Date(0) }), {
      freeze: true,
    }) as {
      list: { a: number }[];
      map: Map<number, number>;
      at: Date;
    };
    expect(Object.isFrozen(back) && Object.isFrozen(back.list) && Object.isFrozen(back.list[0])).toBe(true);
    expect(() => back.map.set(3, 4)).toThrow(TypeError);
    expect(() => back.at.setTime(5)).toThrow(TypeError);
    expect([back.map.get(1), back.at.getTime()]).toEqual([2, 0]);
    expect(roundTrip(back)).toEqual({ list: [{ a: 1 }], map: new Map([[1, 2]]), at: new Date(0) });
  });
});

/** A small seeded generator: mulberry32. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** A value of a few dozen nodes with shared references and cycles. */
function generate(pick: (below: number) => number): unknown {
  const made: object[] = [];
  const text = () =>
    String.fromCharCode(...Array.from({ length: pick(6) }, () => (pick(4) === 0 ? pick(0xffff) : 97 + pick(26))));
  const keep = <T extends object>(value: T): T => {
    made.push(value);
    return value;
  };
  const value = (depth: number): unknown => {
    const kind = pick(depth > 4 ? 9 : 18);
    switch (kind) {
      case 0:
        return pick(1 << 16) - (1 << 15);
      case 1:
        return (pick(1 << 30) - (1 << 29)) / 7;
      case 2:
        return text();
      case 3:
        return [true, false, null, undefined, Number.NaN, -0, Infinity, -Infinity][pick(8)];
      case 4:
        return BigInt(pick(1 << 30)) ** BigInt(pick(5)) * (pick(2) ? 1n : -1n);
      case 5:
        return keep(new Date(pick(1 << 30) * 1000));
      case 6:
        return keep(new RegExp(["a", "[b]+", "(?<x>y)"][pick(3)] as string, ["", "g", "iu"][pick(3)]));
      case 7:
        return made.length > 0 ? made[pick(made.length)] : text();
      case 8:
        return keep(new Uint8Array(Array.from({ length: pick(5) }, () => pick(256))));
      case 9:
      case 10: {
        const array: unknown[] = keep([]);
        for (let left = pick(6); left > 0; left--) {
          if (pick(8) === 0) array.length++;
          else array.push(value(depth + 1));
        }
        return array;
      }
      case 11: {
        const map = keep(new Map());
        for (let left = pick(4); left > 0; left--) map.set(value(depth + 1), value(depth + 1));
        return map;
      }
      case 12: {
        const set = keep(new Set());
        for (let left = pick(4); left > 0; left--) set.add(value(depth + 1));
        return set;
      }
      default: {
        const object: Record<string, unknown> = keep(pick(6) === 0 ? Object.create(null) : {});
        for (let left = pick(5); left > 0; left--) {
          Object.defineProperty(object, pick(3) ? (["id", "name", "next", "__proto__"][pick(4)] as string) : text(), {
            value: value(depth + 1),
            writable: true,
            enumerable: true,
            configurable: true,
          });
        }
        return object;
      }
    }
  };
  return value(0);
}

describe("generated values", () => {
  test("2,000 of them come back the same", () => {
    for (let seed = 1; seed <= 2000; seed++) {
      const value = generate(random(seed));
      const bytes = encodeValue(value);
      try {
        const back = decodeValue(bytes);
        assert.deepStrictEqual(back, value);
        assert.deepStrictEqual(encodeValue(back), bytes);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });

  test("changed bytes are refused or are another value: never a crash, a hang or a large allocation", () => {
    const samples = [...Object.values(table), new CardDeclined("m", "c"), new AggregateError([1], "x", { cause: 2 })];
    let refused = 0;
    const before = process.memoryUsage().rss;
    for (let seed = 1; seed <= 20_000; seed++) {
      const pick = random(seed);
      const bytes = encodeValue(seed % 2 ? samples[pick(samples.length)] : generate(pick)).slice(0, 2000);
      for (let left = 1 + pick(4); left > 0; left--) bytes[1 + pick(bytes.length)] = pick(4) ? pick(256) : 255;
      try {
        decodeValue(pick(5) ? bytes : bytes.subarray(0, pick(bytes.length)));
      } catch (error) {
        refused++;
        if (!(error instanceof WaymarkError && error.code === "WM403"))
          throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    expect(refused).toBeGreaterThan(1000);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
  });

  test("another format is refused by name", () => {
    expect(() => decodeValue(new Uint8Array([9, 0]))).toThrow(/format 9/);
    expect(() => decodeValue(new Uint8Array())).toThrow(expect.objectContaining({ code: "WM403" }));
  });
});
