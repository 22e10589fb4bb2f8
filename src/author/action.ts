// `action()`: a side effect with a name. Inside a workflow the compiler turns its call into an effect; anywhere else
// the function that is returned simply runs the user's, dependencies resolved.

import { WaymarkError } from "../base/failure.ts";
import { mergePolicy, type PolicyData, toPolicyData } from "../program/policy.ts";
import { type ActionDefinition, actionBrand, type Policy } from "./definition.ts";
import { assertProvider, type Dependencies, type Injected, invoke } from "./dependency.ts";
import { checkName, shown } from "./name.ts";
import { placeOf, registerAction } from "./registry.ts";

/** An action as it is called: always asynchronous, the user's own parameters and nothing else. */
export type Action<Call> = Call & {
  /** The same action under this policy, merged field by field over the declared one. */
  with(policy: Policy): Action<Call>;
  readonly actionName: string;
};

/** A function type made asynchronous; one that is already stays as it is, with its generics and overloads. */
export type Asynchronous<F> = F extends (...args: never[]) => Promise<unknown>
  ? F
  : F extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;

/** Parameters without the last, which is injected. */
export type OwnParameters<F> = F extends (...args: [...infer Own, injected: infer _Injected]) => unknown ? Own : never;
type Returned<F> = F extends (...args: never[]) => infer Result ? Result : never;
type AcceptsInjected<F, I> = F extends (...args: [...infer _Own, injected: infer Last]) => unknown
  ? I extends Last
    ? unknown
    : { "the last parameter must accept what deps provide": I }
  : { "the last parameter must accept what deps provide": I };

export interface ActionOptions<D extends Dependencies = Dependencies> extends Policy {
  /** Providers by name: the function gets what they provide as its last parameter. */
  deps?: D;
}

type AnyFunction = (...args: never[]) => unknown;

/**
 * Declare an action.
 *
 *     const charge = action("charge", { retry: { attempts: 5 }, timeout: "2m" },
 *       async (order: Order): Promise<Receipt> => gateway.charge(order));
 *
 * `name` is stored for as long as an instance lives. Throws WM201 or WM202 for a wrong policy, WM203 if the name is taken,
 * WM204 for a wrong name or function.
 */
export function action<
  D extends Dependencies,
  // Gives `{ db }` its type wherever it stands, and infers the rest from what is written there.
  F extends ((...args: Injected<D>[]) => unknown) | CallableFunction,
>(
  name: string,
  options: Policy & { deps: D },
  fn: F & AcceptsInjected<F, Injected<D>>,
): Action<(...args: OwnParameters<F>) => Promise<Awaited<Returned<F>>>>;
export function action<F extends CallableFunction>(
  name: string,
  options: Policy & { deps?: undefined },
  fn: F,
): Action<Asynchronous<F>>;
export function action<F extends CallableFunction>(name: string, fn: F): Action<Asynchronous<F>>;
export function action(name: string, ...rest: readonly unknown[]): unknown {
  const place = placeOf(action);
  checkName("action", name);
  const [options, fn] = (rest.length === 1 ? [{}, rest[0]] : rest) as [unknown, unknown];
  if (typeof fn !== "function") {
    throw new WaymarkError("WM204", `Action "${name}" needs a function, not ${shown(fn)}.`, {
      hint: "action(name, fn) or action(name, options, fn).",
    });
  }
  if (typeof options !== "object" || options === null) {
    throw new WaymarkError("WM204", `Action "${name}": the options are an object, not ${shown(options)}.`);
  }
  const { deps, ...policy } = options as ActionOptions;
  const definition: ActionDefinition = {
    name,
    policy: naming(name, () => toPolicyData(policy)),
    dependencies: checkDependencies(deps ?? {}),
    run: fn as AnyFunction,
    declaredAt: place.at,
  };
  registerAction(definition, place);
  return callable(definition);
}

function callable(definition: ActionDefinition): unknown {
  const call = (...args: unknown[]): Promise<unknown> => invoke(definition, args);
  const hidden = { writable: false, enumerable: false, configurable: true };
  return Object.defineProperties(call, {
    name: { ...hidden, value: definition.name },
    length: { ...hidden, value: definition.run.length },
    actionName: { ...hidden, value: definition.name },
    with: { ...hidden, value: (policy: Policy) => callable({ ...definition, policy: merged(definition, policy) }) },
    [actionBrand]: { ...hidden, value: definition },
  });
}

function merged(definition: ActionDefinition, policy: Policy): PolicyData {
  return mergePolicy(
    definition.policy,
    naming(definition.name, () => toPolicyData(policy)),
  );
}

/** Errors about a policy say whose it is. */
function naming<T>(name: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof WaymarkError)) throw error;
    throw new WaymarkError(
      error.code,
      `action "${name}": ${error.message}`,
      error.hint === undefined ? {} : { hint: error.hint },
    );
  }
}

function checkDependencies(deps: Dependencies): Dependencies {
  for (const [key, provider] of Object.entries(deps)) assertProvider(provider, key);
  return deps;
}
