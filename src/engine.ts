// Door: `waymark/engine`, for whoever runs a host: the commands of this package, embedders, benchmarks.

export { type Clock, systemClock, VirtualClock } from "./base/clock.ts";
export { type Config, configFrom, type HostConfig, hostDefaults, type WorkersConfig } from "./engine/config.ts";
export type { ActionPool, Report, Task } from "./engine/dispatch.ts";
export type { EngineEvent, Log } from "./engine/events.ts";
export { type Host, type HostOptions, startHost } from "./engine/host.ts";
export { createMachine } from "./engine/realm.ts";
export { programFormat } from "./program/program.ts";
export { type MemoryState, memoryState, openMemory } from "./store/memory.ts";
export { migrationSql, openPostgres, type PostgresOptions } from "./store/postgres/store.ts";
export type { Store } from "./store/store.ts";
export type { Machine } from "./vm/machine.ts";
export { type InlineOptions, inlinePool } from "./workers/inline.ts";
export { located, resolveModules, type UserModule, workerArguments } from "./workers/modules.ts";
export { type ProcessPool, type ProcessPoolOptions, processPool, type WorkerEvent } from "./workers/pool.ts";

import { workerArguments } from "./workers/modules.ts";

/** Node options with which these files can be imported: a TypeScript loader where this Node needs one. */
export function loaderFor(files: readonly string[]): string[] {
  const all = workerArguments(files, process.cwd());
  const plain = workerArguments([], process.cwd());
  return all.slice(plain.length);
}
