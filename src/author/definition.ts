// What `action()` and `workflow()` leave on the functions they return, under symbols of the global registry so that the
// ESM and CommonJS copies of waymark, and every realm of a test runner, agree.

import type { Duration } from "../base/duration.ts";
import type { PolicyData } from "../program/policy.ts";

export const actionBrand: unique symbol = Symbol.for("waymark.action") as never;
export const workflowBrand: unique symbol = Symbol.for("waymark.workflow") as never;
export const durableBrand: unique symbol = Symbol.for("waymark.durable") as never;

export type ErrorFilter = string | (abstract new (...args: never[]) => unknown);

export interface Retry {
  /** Total tries. Absent: without limit. */
  attempts?: number;
  on?: ErrorFilter | readonly ErrorFilter[];
  except?: ErrorFilter | readonly ErrorFilter[];
}

export interface Backoff {
  kind?: "exponential" | "linear" | "constant";
  baseDelay?: Duration;
  multiplier?: number;
  maxDelay?: Duration;
  jitter?: "none" | "full" | "equal";
}

export interface Policy {
  retry?: Retry;
  backoff?: Backoff;
  /** One attempt. Default 5 minutes. */
  timeout?: Duration;
  /** Bound for timeouts and lost workers. Default: without limit. */
  timeouts?: { attempts?: number };
}

export interface ActionDefinition {
  name: string;
  policy: PolicyData;
  /** Names of the injected parameters and their providers, in order. */
  dependencies: Readonly<Record<string, unknown>>;
  run: (...args: never[]) => unknown;
  /** "file:line:column" of the declaration. */
  declaredAt: string;
}

export interface WorkflowDefinition {
  name: string;
  /** The user's function, or class with run(). */
  target: (...args: never[]) => unknown;
  isClass: boolean;
  /** Explicit captures, overriding reflection. */
  scope: (() => Record<string, unknown>) | undefined;
  declaredAt: string;
}

export interface DurableDefinition {
  name: "sleep" | "now" | "random" | "uuid" | "runAction";
}
