// Door: what a workflow file and its callers import. Loads no compiler, driver or engine; those come at the first
// `.run()` or `.start()`.

import { offerRuntime } from "./author/runtime.ts";
import { locate, skipsWait } from "./client/locate.ts";

export { type Action, type ActionOptions, action } from "./author/action.ts";
export { type ActionContext, actionContext } from "./author/context.ts";
export type { Backoff, ErrorFilter, Policy, Retry } from "./author/definition.ts";
export { type Dependency, dependency, type Injected, overrideDependency, type Provided } from "./author/dependency.ts";
export { ActionTimeout, NonRetryableError, RetryAfter, WorkflowCancelled, WorkflowFailed } from "./author/errors.ts";
export { registeredActions, registeredWorkflows } from "./author/registry.ts";
export { type Handle, type HistoryEntry, type Status, shutdown } from "./author/runtime.ts";
export { now, random, runAction, sleep, uuid } from "./author/wait.ts";
export { type Starter, type Workflow, type WorkflowOptions, workflow } from "./author/workflow.ts";
export type { Duration } from "./base/duration.ts";
export { type At, WaymarkError } from "./base/failure.ts";
export type { StartOptions } from "./program/start.ts";

offerRuntime(async () => {
  const location = locate(process.env, process.cwd());
  if (location.kind === "memory") return (await import("./testing.ts")).memoryRuntime();
  const skipWait = skipsWait(process.env);
  return (await import("./client/direct.ts")).openDirect(location.url, { skipWait });
});
