// What we forbid ourselves: left on in production, because a wrong step in a durable system is stored.

/** Throws if a thing that must hold does not. `says` names it and its values. */
export function assert(holds: unknown, says: string): asserts holds {
  if (!holds) throw new Error(`waymark is broken: ${says}. Please report this with the stack below.`);
}

/** The `default` of a switch over a union: does not compile if a case is missing. */
export function unreachable(value: never): never {
  throw new Error(`waymark is broken: no case for ${JSON.stringify(value)}. Please report this with the stack below.`);
}
