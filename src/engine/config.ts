// What a host can be told: the WAYMARK_* variables that concern it, read once, checked, and handed on as plain data.

import { availableParallelism } from "node:os";
import { WaymarkError } from "../base/failure.ts";

/** How one host behaves. Periods may be `Infinity`: never. */
export interface HostConfig {
  /** Most instances in memory, over all shards. */
  maxConcurrentInstances: number;
  shards: number;
  lockTtlMs: number;
  lockHeartbeatMs: number;
  /** A wait longer than this leaves memory. */
  evictSleepThresholdMs: number;
  /** How often the queue is read while notices are not heard. */
  pollIntervalMs: number;
  reclaimIntervalMs: number;
  /** Most instances taken over by one sweep. */
  reclaimBatchSize: number;
  /** How long in-flight attempts may take to finish when the host closes. */
  graceMs: number;
}

/** Worker processes, as `workers/pool.ts` takes them. */
export interface WorkersConfig {
  count: number;
  concurrency: number;
  modules: string[];
  /** Actions after which a process is replaced, or null: never. */
  maxLifecycle: number | null;
  /** `host:port`, and whether somebody asked for exactly that. */
  address: string;
  addressExplicit: boolean;
}

export interface Config extends HostConfig {
  databaseUrl: string | null;
  workers: WorkersConfig;
  webapp: { enabled: boolean; address: string };
  logLevel: string;
}

/**
 * Several shards of one process are loops on one thread today, which buys nothing but parallel commits; so one is the
 * default until a shard has a thread of its own.
 */
export const hostDefaults: HostConfig = {
  maxConcurrentInstances: 500,
  shards: 1,
  lockTtlMs: 15_000,
  lockHeartbeatMs: 5_000,
  evictSleepThresholdMs: 10_000,
  pollIntervalMs: 100,
  reclaimIntervalMs: 1_000,
  reclaimBatchSize: 1_000,
  graceMs: 10_000,
};

type Environment = Readonly<Record<string, string | undefined>>;

/** Throws WM601 naming the variable, its value and what was expected. An empty value counts as unset. */
export function configFrom(env: Environment): Config {
  const config: Config = {
    maxConcurrentInstances: count(env, "WAYMARK_MAX_CONCURRENT_INSTANCES", hostDefaults.maxConcurrentInstances),
    shards: count(env, "WAYMARK_EXECUTOR_SHARDS", hostDefaults.shards),
    lockTtlMs: count(env, "WAYMARK_LOCK_TTL_MS", hostDefaults.lockTtlMs),
    lockHeartbeatMs: count(env, "WAYMARK_LOCK_HEARTBEAT_MS", hostDefaults.lockHeartbeatMs),
    evictSleepThresholdMs: count(env, "WAYMARK_EVICT_SLEEP_THRESHOLD_MS", hostDefaults.evictSleepThresholdMs, 0),
    pollIntervalMs: count(env, "WAYMARK_POLL_INTERVAL_MS", hostDefaults.pollIntervalMs),
    reclaimIntervalMs: count(env, "WAYMARK_EXPIRED_LOCK_RECLAIMER_INTERVAL_MS", hostDefaults.reclaimIntervalMs),
    reclaimBatchSize: count(env, "WAYMARK_EXPIRED_LOCK_RECLAIMER_BATCH_SIZE", hostDefaults.reclaimBatchSize),
    graceMs: count(env, "WAYMARK_SHUTDOWN_GRACE_MS", hostDefaults.graceMs, 0),
    databaseUrl: text(env, "WAYMARK_DATABASE_URL") ?? null,
    workers: {
      count: count(env, "WAYMARK_WORKER_COUNT", availableParallelism()),
      concurrency: count(env, "WAYMARK_CONCURRENT_PER_WORKER", 10),
      modules: list(env, "WAYMARK_USER_MODULE"),
      maxLifecycle: text(env, "WAYMARK_MAX_ACTION_LIFECYCLE") ? count(env, "WAYMARK_MAX_ACTION_LIFECYCLE", 1) : null,
      address: address(env, "WAYMARK_WORKER_GRPC_ADDR", "127.0.0.1:24118"),
      addressExplicit: text(env, "WAYMARK_WORKER_GRPC_ADDR") !== undefined,
    },
    webapp: {
      enabled: flag(env, "WAYMARK_WEBAPP_ENABLED", false),
      address: address(env, "WAYMARK_WEBAPP_ADDR", "0.0.0.0:24119"),
    },
    logLevel: level(env, "WAYMARK_LOG_LEVEL"),
  };
  checkLease(config);
  return config;
}

/** A lease must survive a missed renewal, and its holder stops `leaseMarginMs` before it ends. */
export const leaseMarginMs = 1_000;

export function checkLease({ lockTtlMs, lockHeartbeatMs }: HostConfig): void {
  if (lockTtlMs === Number.POSITIVE_INFINITY) return;
  if (lockTtlMs <= leaseMarginMs) {
    const message = `WAYMARK_LOCK_TTL_MS cannot be ${lockTtlMs}: a host lets go ${leaseMarginMs} ms before its lease ends.`;
    throw new WaymarkError("WM601", message, { hint: "Give it several seconds; 15000 is the default." });
  }
  if (lockHeartbeatMs < lockTtlMs - leaseMarginMs) return;
  const message = `WAYMARK_LOCK_HEARTBEAT_MS (${lockHeartbeatMs}) must be less than WAYMARK_LOCK_TTL_MS (${lockTtlMs}) minus ${leaseMarginMs}.`;
  throw new WaymarkError("WM601", message, { hint: "A third of the TTL leaves room for a renewal that is lost." });
}

function text(env: Environment, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === "" ? undefined : value;
}

const countMax = 2 ** 31 - 1;

function count(env: Environment, name: string, otherwise: number, least = 1): number {
  const given = text(env, name);
  if (given === undefined) return otherwise;
  const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
  if (value >= least && value <= countMax) return value;
  throw bad(name, given, `a whole number from ${least} to ${countMax}`);
}

function flag(env: Environment, name: string, otherwise: boolean): boolean {
  const given = text(env, name)?.toLowerCase();
  if (given === undefined) return otherwise;
  if (["1", "true", "yes", "on"].includes(given)) return true;
  if (["0", "false", "no", "off"].includes(given)) return false;
  throw bad(name, given, "true or false");
}

function list(env: Environment, name: string): string[] {
  const given = text(env, name);
  if (given === undefined) return [];
  const parts = given.split(",").map((part) => part.trim());
  if (parts.includes("")) throw bad(name, given, "modules separated by single commas");
  return parts;
}

function address(env: Environment, name: string, otherwise: string): string {
  const given = text(env, name);
  if (given === undefined) return otherwise;
  const port = /^(?:\[[^\]]+\]|[^:\s]+):(\d{1,5})$/.exec(given)?.[1];
  if (port !== undefined && Number(port) <= 65_535) return given;
  throw bad(name, given, "host:port");
}

const levels = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "silent"];

function level(env: Environment, name: string): string {
  const given = text(env, name) ?? "INFO";
  if (levels.includes(given.toLowerCase())) return given.toLowerCase() === "warning" ? "warn" : given.toLowerCase();
  throw bad(name, given, `one of ${levels.map((each) => each.toUpperCase()).join(", ")}`);
}

function bad(name: string, given: string, expected: string): WaymarkError {
  return new WaymarkError("WM601", `${name} cannot be ${JSON.stringify(given)}: expected ${expected}.`, {
    hint: `Change or unset ${name}.`,
  });
}
