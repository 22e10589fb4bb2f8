import { describe, expect, it } from "vitest";
import { classNames } from "../../src/author/errors.ts";
import { systemClock, VirtualClock } from "../../src/base/clock.ts";
import type { Report } from "../../src/engine/dispatch.ts";
import { inlinePool } from "../../src/workers/inline.ts";
import { CardDeclined } from "./fixtures/actions.ts";
import { Desk, errorOf, resultOf, task } from "./task.ts";

const pool = () => inlinePool({ clock: systemClock, concurrency: 10 });

describe("outcomes", () => {
  it("a result", async () => {
    expect(resultOf(await new Desk(pool()).one(task("add", [1, 2])))).toBe(3);
  });

  it("the context of the attempt", async () => {
    const sent = task("context", [], { attempt: 3, instance: "signup-42" });
    expect(resultOf(await new Desk(pool()).one(sent))).toEqual({
      instanceId: "signup-42",
      workflow: "orders",
      action: "context",
      attempt: 3,
      idempotencyKey: sent.idempotencyKey,
    });
  });

  it("an error with its class names, cause and own properties", async () => {
    const report = await new Desk(pool()).one(task("decline"));
    const error = errorOf(report);
    expect(report).toMatchObject({ kind: "failed", retryable: true });
    expect(error).toMatchObject({ name: "CardDeclined", message: "no funds", code: "insufficient_funds" });
    expect(error.stack).toContain("no funds");
    expect(error.cause).toBeInstanceOf(TypeError);
    expect(CardDeclined.name).toBe("CardDeclined");
  });

  it("a thrown value that is not an error", async () => {
    expect(errorOf(await new Desk(pool()).one(task("throwText")))).toBe("just text");
  });

  it("NonRetryableError and RetryAfter", async () => {
    const desk = new Desk(pool());
    expect(await desk.one(task("giveUp"))).toMatchObject({ kind: "failed", retryable: false });
    expect(await desk.one(task("later"))).toMatchObject({ kind: "failed", retryable: true, retryAfterMs: 90_000 });
  });

  it("a result that cannot be stored names the action and the path", async () => {
    const report = await new Desk(pool()).one(task("returnFunction"));
    expect(errorOf(report).message).toMatch(/"returnFunction".*\.items\[0\]\.price/s);
    expect(report).toMatchObject({ retryable: false });
    expect(classNames(errorOf(report))).toContain("WaymarkError");
  });

  it("an action that is not there", async () => {
    expect(await new Desk(pool()).one(task("nowhere"))).toMatchObject({ kind: "missing", action: "nowhere" });
  });

  it("arguments that cannot be read", async () => {
    const report = await new Desk(pool()).one(task("add", [], { args: new Uint8Array([9, 9, 9]) }));
    expect(report).toMatchObject({ kind: "failed", retryable: false });
  });
});

describe("time", () => {
  it("at the deadline the signal fires, the slot is freed, and the late result is dropped", async () => {
    const clock = new VirtualClock({ mode: "manual" });
    const inline = inlinePool({ clock, concurrency: 1 });
    const desk = new Desk(inline);
    const report = desk.one(task("untilAborted", [], { timeoutMs: 5_000 }));
    expect(inline.free()).toBe(0);
    await clock.advance(4_999);
    expect(desk.reports.size).toBe(0);
    await clock.advance(1);
    expect(await report).toMatchObject({ kind: "timeout" });
    expect(inline.free()).toBe(1);
    expect(resultOf(await desk.one(task("add", [1, 1])))).toBe(2); // the late "late" was not reported: Desk would throw
  });

  it("a cancelled attempt is aborted, frees its slot and is not reported", async () => {
    const inline = inlinePool({ clock: systemClock, concurrency: 1 });
    const empty = new Promise<readonly Report[]>((resolve) => inline.onReport(resolve));
    const sent = task("untilAborted");
    inline.dispatch([sent]);
    inline.cancel([sent.key]);
    expect(inline.free()).toBe(1);
    expect(await empty).toEqual([]);
  });
});

describe("batches and closing", () => {
  it("reports what settles in one turn together", async () => {
    const desk = new Desk(inlinePool({ clock: systemClock, concurrency: 500 }));
    await desk.perform(...Array.from({ length: 500 }, (_, n) => task("add", [n, n])));
    expect(desk.batches).toBeLessThan(20);
  });

  it("close waits for what runs, and no longer than the grace", async () => {
    const clock = new VirtualClock({ mode: "manual" });
    const inline = inlinePool({ clock });
    const desk = new Desk(inline);
    const running = desk.one(task("add", [1, 2]));
    await inline.close(1_000);
    expect(resultOf(await running)).toBe(3);

    const stuck = inlinePool({ clock });
    stuck.dispatch([task("hang")]);
    const closed = stuck.close(1_000);
    await clock.advance(1_000);
    await closed;
    expect(stuck.free()).toBe(0);
  });
});
