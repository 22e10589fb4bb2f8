// Configuration: defaults, and a clear refusal of nonsense that names the variable.
import { expect, test } from "vitest";
import { configFrom } from "../../src/engine/config.ts";

test("nothing set gives the documented defaults", () => {
  expect(configFrom({})).toMatchObject({
    maxConcurrentInstances: 500,
    lockTtlMs: 15_000,
    lockHeartbeatMs: 5_000,
    evictSleepThresholdMs: 10_000,
    pollIntervalMs: 100,
    reclaimIntervalMs: 1_000,
    reclaimBatchSize: 1_000,
    databaseUrl: null,
    workers: { concurrency: 10, modules: [], maxLifecycle: null, address: "127.0.0.1:24118", addressExplicit: false },
    webapp: { enabled: false, address: "0.0.0.0:24119" },
    logLevel: "info",
  });
});

test("what is set is read, and an empty value counts as unset", () => {
  const env = {
    WAYMARK_LOCK_TTL_MS: "9000",
    WAYMARK_LOCK_HEARTBEAT_MS: " 3000 ",
    WAYMARK_USER_MODULE: "./a.ts, b",
    WAYMARK_WORKER_COUNT: "",
  };
  expect(configFrom(env)).toMatchObject({
    lockTtlMs: 9_000,
    lockHeartbeatMs: 3_000,
    workers: { modules: ["./a.ts", "b"] },
  });
});

test.each([
  ["WAYMARK_LOCK_TTL_MS", "15s"],
  ["WAYMARK_LOCK_TTL_MS", "900"],
  ["WAYMARK_LOCK_HEARTBEAT_MS", "15000"],
  ["WAYMARK_WORKER_COUNT", "0"],
  ["WAYMARK_WORKER_COUNT", "-1"],
  ["WAYMARK_MAX_CONCURRENT_INSTANCES", "1e3"],
  ["WAYMARK_EXPIRED_LOCK_RECLAIMER_INTERVAL_MS", "0"],
  ["WAYMARK_WORKER_GRPC_ADDR", "localhost"],
  ["WAYMARK_WORKER_GRPC_ADDR", "localhost:99999"],
  ["WAYMARK_WEBAPP_ENABLED", "perhaps"],
  ["WAYMARK_USER_MODULE", "a,,b"],
  ["WAYMARK_LOG_LEVEL", "LOUD"],
])("%s=%s is refused by name", (name, value) => {
  expect(() => configFrom({ [name]: value })).toThrow(
    expect.objectContaining({ code: "WM601", message: expect.stringContaining(name) }),
  );
});
