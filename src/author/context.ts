// What an action can know of the attempt it is part of. Travels by AsyncLocalStorage, so that helpers deep inside an
// action can ask for it; never visible to workflow code, which runs in the VM.

import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import { WaymarkError } from "../base/failure.ts";

/** The attempt an action runs in. */
export interface ActionContext {
  /** Id of the instance that called; `"local"` where the action was called as a plain function. */
  readonly instanceId: string;
  /** Name of the workflow that called; `"local"` where the action was called as a plain function. */
  readonly workflow: string;
  /** Name of the action. */
  readonly action: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /** The same for every attempt of one call, different for every call: hand it to services that deduplicate. */
  readonly idempotencyKey: string;
  /** Aborted when the attempt has run out of time or is cancelled; its result is dropped from then on. */
  readonly signal: AbortSignal;
}

// On globalThis, so that all copies of waymark in a process (ESM and CommonJS, two installs) see the same attempt.
const key = Symbol.for("waymark.context");
const shared = globalThis as { [key]?: AsyncLocalStorage<ActionContext> };
shared[key] ??= new AsyncLocalStorage<ActionContext>();
const running = shared[key];

/** The context of the running action. Throws WM701 where no action runs. */
export function actionContext(): ActionContext {
  const context = running.getStore();
  if (context === undefined) {
    throw new WaymarkError("WM701", "actionContext() was called where no action is running.", {
      hint: "Call it inside the function given to action(), or in what that function calls. A worker-scoped dependency outlives every action and has no context.",
    });
  }
  return context;
}

/** Run with `context` as what `actionContext()` gives. */
export function withContext<T>(context: ActionContext, run: () => T): T {
  return running.run(context, run);
}

/** Run where no action is running: what outlives an attempt must not keep its context. */
export function withoutContext<T>(run: () => T): T {
  return running.exit(run);
}

/**
 * The context of an action called as a plain function: in a unit test, a script, or from another action. The key is
 * fresh: numbering such calls inside the outer attempt would hand a retry the key of a different call wherever
 * concurrent calls change order, and a service would then drop a call it has not seen.
 */
export function localContext(action: string): ActionContext {
  const outer = running.getStore();
  let key: string | undefined;
  let signal = outer?.signal;
  return {
    instanceId: outer?.instanceId ?? "local",
    workflow: outer?.workflow ?? "local",
    action,
    attempt: outer?.attempt ?? 1,
    get idempotencyKey() {
      key ??= randomUUID();
      return key;
    },
    get signal() {
      signal ??= new AbortController().signal;
      return signal;
    },
  };
}
