// Durations: every way to write one, and every way to get it wrong.

import { expect, test } from "vitest";
import { type Duration, parseDuration } from "../../src/base/duration.ts";

const good: [Duration, number][] = [
  ["90s", 90_000],
  ["24h", 86_400_000],
  ["1h30m", 5_400_000],
  ["1h 30m", 5_400_000],
  ["500ms", 500],
  ["2d", 172_800_000],
  ["1w2d", 777_600_000],
  ["0.5s", 500],
  [".5s", 500],
  ["1.1s", 1_100],
  ["10 minutes", 600_000],
  ["1 hour 5 min", 3_900_000],
  ["2H", 7_200_000],
  ["0s", 0],
  [0, 0],
  [1_500, 1_500],
  [0.2, 1],
  [1_000.7, 1_001],
  [{ minutes: 10 }, 600_000],
  [{ hours: 1, milliseconds: 1 }, 3_600_001],
  [{ days: 0.5, seconds: 0 }, 43_200_000],
];

test.each(good)("%j is %d ms", (written, ms) => {
  expect(parseDuration(written)).toBe(ms);
});

const bad: [unknown, RegExp][] = [
  [Number.NaN, /NaN is not a duration/],
  [-1, /-1 is not a duration: it is negative/],
  [Number.POSITIVE_INFINITY, /Infinity/],
  ["", /"" is not a duration/],
  ["  ", /cannot be read/],
  ["90", /90 has no unit/],
  ["-5s", /"-5s" is not a duration/],
  ["5 parsecs", /"parsecs" is not a unit/],
  ["5s5s", /each once/],
  ["30m1h", /largest to the smallest/],
  ["5s later", /cannot be read/],
  ["1e3s", /"e" is not a unit/],
  [{}, /has no parts/],
  [{ minute: 5 }, /"minute" is not a part/],
  [{ minutes: "5" }, /minutes is not a number/],
  [{ minutes: -5 }, /minutes is not a number that is zero or more/],
  [{ minutes: Number.NaN }, /minutes is not a number/],
  [new Date(0), /a point in time is not a duration/],
  [null, /null is not a duration/],
  [undefined, /undefined is not a duration/],
  [5n, /5n is not a duration/],
  [[], /has no parts/],
];

test.each(bad)("%o is refused, and named", (written, message) => {
  expect(() => parseDuration(written as Duration)).toThrow(
    expect.objectContaining({ code: "WM201", message: expect.stringMatching(message) }),
  );
});
