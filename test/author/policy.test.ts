// Policies: from what authors write to data, how two are merged, and what the defaults do.

import { expect, test } from "vitest";
import {
  backoffMs,
  mayRetry,
  mayRetryLost,
  mergePolicy,
  type PolicyData,
  toPolicyData,
} from "../../src/program/policy.ts";

class Declined extends Error {}

const good: [unknown, PolicyData][] = [
  [{}, {}],
  [{ retry: {} }, { retry: {} }],
  [{ retry: { attempts: 5 } }, { retry: { attempts: 5 } }],
  [
    { retry: { on: Declined, except: ["Fatal", TypeError] } },
    { retry: { on: ["Declined"], except: ["Fatal", "TypeError"] } },
  ],
  [
    { backoff: { kind: "linear", baseDelay: "1s", multiplier: 3, maxDelay: { minutes: 1 }, jitter: "full" } },
    { backoff: { kind: "linear", baseDelayMs: 1_000, multiplier: 3, maxDelayMs: 60_000, jitter: "full" } },
  ],
  [{ timeout: "0.5s" }, { timeoutMs: 500 }],
  [{ timeouts: { attempts: 3 } }, { timeouts: { attempts: 3 } }],
  [{ retry: undefined, timeout: undefined }, {}],
];

test.each(good)("%o becomes %j", (policy, data) => {
  expect(toPolicyData(policy)).toEqual(data);
});

const bad: [unknown, RegExp][] = [
  [{ retry: { attempts: 0 } }, /retry\.attempts cannot be 0/],
  [{ retry: { attempts: -1 } }, /retry\.attempts cannot be -1/],
  [{ retry: { attempts: Number.NaN } }, /retry\.attempts cannot be NaN/],
  [{ retry: { attempts: 1.5 } }, /retry\.attempts cannot be 1\.5/],
  [{ retry: { attempts: "3" } }, /retry\.attempts cannot be "3"/],
  [{ retry: { attempts: Number.POSITIVE_INFINITY } }, /leave it out to try without limit/],
  [{ retry: 3 }, /retry cannot be 3/],
  [{ retry: { attempt: 3 } }, /"attempt" is not one of its fields/],
  [{ retry: { on: [5] } }, /retry\.on cannot be 5/],
  [{ retry: { except: [class {}] } }, /retry\.except cannot be a function/],
  [{ retries: 3 }, /"retries" is not one of its fields/],
  [{ backoff: { kind: "fibonacci" } }, /backoff\.kind cannot be "fibonacci"/],
  [{ backoff: { multiplier: 0.5 } }, /backoff\.multiplier cannot be 0\.5/],
  [{ backoff: { multiplier: Number.POSITIVE_INFINITY } }, /backoff\.multiplier/],
  [{ backoff: { baseDelay: "soon" } }, /backoff\.baseDelay: "soon" is not a duration/],
  [{ backoff: { baseDelay: "2s", maxDelay: "1s" } }, /backoff\.maxDelay cannot be "1s"/],
  [{ backoff: { jitter: true } }, /backoff\.jitter cannot be true/],
  [{ timeout: 0 }, /timeout cannot be 0/],
  [{ timeout: -1 }, /timeout: -1 is not a duration/],
  [{ timeouts: { attempts: 0 } }, /timeouts\.attempts cannot be 0/],
  [null, /the policy cannot be null/],
  [[], /the policy cannot be an array/],
];

test.each(bad)("%o is refused, and named", (policy, message) => {
  expect(() => toPolicyData(policy)).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^WM20[12]$/), message: expect.stringMatching(message) }),
  );
});

test("a call's policy is merged over the declared one field by field", () => {
  const declared = toPolicyData({
    retry: { attempts: 5, on: "A" },
    backoff: { kind: "linear", baseDelay: 10 },
    timeout: "1m",
  });
  const over = toPolicyData({ retry: { attempts: 50 }, backoff: { baseDelay: 20 }, timeouts: { attempts: 2 } });
  expect(mergePolicy(declared, over)).toEqual({
    retry: { attempts: 50, on: ["A"] },
    backoff: { kind: "linear", baseDelayMs: 20 },
    timeoutMs: 60_000,
    timeouts: { attempts: 2 },
  });
  expect(mergePolicy(declared, {})).toEqual(declared);
  expect(mergePolicy({}, over)).toEqual(over);
});

test("what throws is not retried unless a policy says so", () => {
  expect(mayRetry({}, 1, ["Error"])).toBe(false);
  expect(mayRetry({ retry: {} }, 1_000_000, ["Error"])).toBe(true);
  expect(mayRetry({ retry: { attempts: 3 } }, 2, ["Error"])).toBe(true);
  expect(mayRetry({ retry: { attempts: 3 } }, 3, ["Error"])).toBe(false);
});

test("filters go by class name, and subclasses match", () => {
  const names = ["CardDeclined", "PaymentError", "Error"];
  expect(mayRetry({ retry: { on: ["PaymentError"] } }, 1, names)).toBe(true);
  expect(mayRetry({ retry: { on: ["TypeError"] } }, 1, names)).toBe(false);
  expect(mayRetry({ retry: { except: ["PaymentError"] } }, 1, names)).toBe(false);
  expect(mayRetry({ retry: { on: ["Error"], except: ["CardDeclined"] } }, 1, names)).toBe(false);
});

test("timeouts and lost workers are retried without limit unless bounded", () => {
  expect(mayRetryLost({}, 1_000)).toBe(true);
  expect(mayRetryLost({ timeouts: { attempts: 3 } }, 2)).toBe(true);
  expect(mayRetryLost({ timeouts: { attempts: 3 } }, 3)).toBe(false);
});

const delays: [PolicyData["backoff"], number[]][] = [
  [undefined, [1_000, 2_000, 4_000, 8_000]],
  [{ baseDelayMs: 100 }, [100, 200, 400, 800]],
  [{ baseDelayMs: 100, multiplier: 3 }, [100, 300, 900, 2_700]],
  [{ kind: "linear", baseDelayMs: 100 }, [100, 200, 300, 400]],
  [{ kind: "constant", baseDelayMs: 100 }, [100, 100, 100, 100]],
  [{ baseDelayMs: 100, maxDelayMs: 250 }, [100, 200, 250, 250]],
  [{ baseDelayMs: 7_200_000 }, [7_200_000, 7_200_000, 7_200_000, 7_200_000]],
  [{ baseDelayMs: 0 }, [0, 0, 0, 0]],
];

test.each(delays)("backoff %j waits %j", (backoff, expected) => {
  const policy: PolicyData = backoff === undefined ? {} : { backoff };
  expect([1, 2, 3, 4].map((attempt) => backoffMs(policy, attempt, () => 0.5))).toEqual(expected);
});

test("backoff stays finite however many attempts there were, and jitter stays within the delay", () => {
  expect(backoffMs({}, 1_000_000, Math.random)).toBe(3_600_000);
  expect(backoffMs({ backoff: { baseDelayMs: 0 } }, 1_000_000, Math.random)).toBe(0);
  const full = (random: number) => backoffMs({ backoff: { baseDelayMs: 100, jitter: "full" } }, 1, () => random);
  const equal = (random: number) => backoffMs({ backoff: { baseDelayMs: 100, jitter: "equal" } }, 1, () => random);
  expect([full(0), full(0.5), full(0.999)]).toEqual([0, 50, 100]);
  expect([equal(0), equal(0.5), equal(0.999)]).toEqual([50, 75, 100]);
});
