#!/usr/bin/env node
// `start-workers`: a host for production. Reads WAYMARK_* from the environment, runs until SIGTERM or SIGINT, hands over.
import { configFrom, openPostgres, processPool, programFormat, startHost } from "../engine.ts";
import { fail, required } from "./fail.ts";
import { logger } from "./log.ts";

export async function startWorkers(): Promise<void> {
  const log = logger();
  const url = required(
    "WAYMARK_DATABASE_URL",
    "the URL of the Postgres that keeps the runtime's state, such as postgresql://user:password@host/database",
  );
  const config = configFrom(process.env);
  const store = await openPostgres(url);
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info(`${signal}: handing over`);
      stop.abort();
    });
  }
  if (config.webapp.enabled) log.warn("WAYMARK_WEBAPP_ENABLED is set, but this version has no webapp.");
  try {
    await store.nextDue(programFormat); // a database that is not there or not migrated is said before workers start
    const pool = await processPool({ ...config.workers, log });
    const host = await startHost({ store, pool, config, log });
    log.info({ workers: pool.workers().length, shards: config.shards }, "host ready");
    await new Promise<void>((resolve) => {
      if (stop.signal.aborted) resolve();
      stop.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await host.close({ graceMs: config.graceMs });
    log.info("host stopped");
  } finally {
    await store.close();
  }
}

if (import.meta.filename === process.argv[1] || process.argv[1]?.endsWith("start-workers")) {
  startWorkers().catch(fail);
}
