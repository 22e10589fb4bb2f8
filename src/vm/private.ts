// Private members: on the object, behind a private field of ours, so that they can be walked from the object for a
// snapshot and work on frozen objects as the language says.

import { Fault } from "./fault.ts";
import { mapGet, mapSet } from "./primordial.ts";

/** What `#name` is at run time: one for each evaluation of the class. */
export class PrivateName {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export interface Member {
  kind: "field" | "method" | "accessor";
  value: unknown;
  get: unknown;
  set: unknown;
}

class Identity {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: returning another object is what puts the field on it
    return object;
  }
}

class Members extends Identity {
  #members = new Map<unknown, Member>();
  static of(object: object): Map<unknown, Member> | undefined {
    return #members in object ? object.#members : undefined;
  }
}

export const membersOf: (object: object) => Map<unknown, Member> | undefined = Members.of;

export function makeMembers(object: object): Map<unknown, Member> {
  const found = membersOf(object);
  if (found !== undefined) return found;
  new Members(object);
  return membersOf(object) as Map<unknown, Member>;
}

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function";

function find(value: unknown, name: PrivateName): Member | undefined {
  const members = isObject(value) ? membersOf(value) : undefined;
  return members === undefined ? undefined : mapGet(members, name);
}

export function privateHas(name: unknown, value: unknown): boolean {
  if (!isObject(value))
    throw new TypeError(`Cannot use 'in' operator to search for '${(name as PrivateName).text}' in ${String(value)}`);
  return find(value, name as PrivateName) !== undefined;
}

export function privateGet(value: unknown, key: unknown): unknown {
  const name = key as PrivateName;
  const member = find(value, name);
  if (member === undefined)
    throw new TypeError(`Cannot read private member ${name.text} from an object whose class did not declare it`);
  if (member.kind !== "accessor") return member.value;
  if (member.get === undefined) throw new TypeError(`'${name.text}' was defined without a getter`);
  return Reflect.apply(member.get as () => unknown, value, []);
}

export function privateSet(value: unknown, key: unknown, to: unknown): void {
  const name = key as PrivateName;
  const member = find(value, name);
  if (member === undefined)
    throw new TypeError(`Cannot write private member ${name.text} to an object whose class did not declare it`);
  if (member.kind === "field") member.value = to;
  else if (member.kind === "method") throw new TypeError(`Private method '${name.text}' is not writable`);
  else if (member.set === undefined) throw new TypeError(`'${name.text}' was defined without a setter`);
  else Reflect.apply(member.set as () => unknown, value, [to]);
}

export function privateDefine(value: unknown, key: unknown, to: unknown, kind: number): void {
  const name = key as PrivateName;
  if (!isObject(value)) throw new TypeError(`Cannot initialize ${name.text} on a value that is not an object`);
  const members = makeMembers(value);
  const found = mapGet(members, name);
  if (kind === 2 || kind === 3) {
    const half = kind === 2 ? "get" : "set";
    if (found === undefined) {
      const member: Member = { kind: "accessor", value: undefined, get: undefined, set: undefined };
      member[half] = to;
      mapSet(members, name, member);
      return;
    }
    if (found.kind === "accessor" && found[half] === undefined) {
      found[half] = to;
      return;
    }
  }
  if (found !== undefined) throw new TypeError(`Cannot initialize ${name.text} twice on the same object`);
  if (kind !== 0 && kind !== 1) throw new Fault("WM900", "internal: unknown kind of private member");
  mapSet(members, name, { kind: kind === 0 ? "field" : "method", value: to, get: undefined, set: undefined });
}
