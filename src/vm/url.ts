// URLs inside a workflow. The realm has no URL parser, and one that agreed with every Node would be as large as the VM,
// so a URL here is what an action or an argument brought: its text, already normalised where it was parsed, and the parts
// read off it. Making one from a string and changing one are refused by name.
import { WaymarkError } from "../base/failure.ts";
import type { UrlKind } from "../program/value.ts";

const { defineProperty, create, setPrototypeOf } = Object;
const match = RegExp.prototype.exec;

/** Scheme, authority (absent in `mailto:a@b`), path, query, fragment of a normalised href. */
const whole =
  /^([a-z][a-z0-9+.-]*:)(?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\[[^\]]*\]|[^:/?#]*)(?::(\d+))?)?([^?#]*)(\?[^#]*)?(#.*)?$/s;
const special = ["http:", "https:", "ws:", "wss:", "ftp:"];

class Text {
  readonly #href: string;
  constructor(href: string, prototype: object) {
    this.#href = href;
    setPrototypeOf(this, prototype);
  }
  static href(url: object): string {
    if (!(#href in url)) throw new TypeError("Value of `this` must be a URL");
    return url.#href;
  }
  static is(url: object): boolean {
    return #href in url;
  }
}

function refuse(what: string): never {
  throw new WaymarkError("WM102", `${what} is not available in a workflow yet.`, {
    hint: "Parse or build the URL in an action and return it: its parts can be read here.",
  });
}

/** The global `URL` of the realm. */
export const realmUrl = function URL(): never {
  refuse("`new URL()`");
};

const prototype: object = create(Object.prototype) as object;
defineProperty(realmUrl, "prototype", { value: prototype, writable: false, enumerable: false, configurable: false });
hide(prototype, "constructor", realmUrl);
defineProperty(prototype, Symbol.toStringTag, { value: "URL", writable: false, enumerable: false, configurable: true });

type Part = (parts: RegExpExecArray, href: string) => string;
const part =
  (index: number): Part =>
  (parts) =>
    parts[index] ?? "";
const dropEmpty = (text: string): string => (text.length > 1 ? text : "");

const parts: Record<string, Part> = {
  href: (_parts, href) => href,
  protocol: part(1),
  username: part(2),
  password: part(3),
  hostname: part(4),
  port: part(5),
  host: (found) => (found[5] === undefined ? (found[4] ?? "") : `${found[4]}:${found[5]}`),
  pathname: part(6),
  search: (found) => dropEmpty(found[7] ?? ""),
  hash: (found) => dropEmpty(found[8] ?? ""),
  origin: (found) => {
    if (!special.includes(found[1] as string)) return "null";
    return `${found[1]}//${found[5] === undefined ? found[4] : `${found[4]}:${found[5]}`}`;
  },
};

for (const name of Object.keys(parts)) {
  const read = parts[name] as Part;
  const accessor = Object.getOwnPropertyDescriptor(
    {
      get [name](): string {
        const href = Text.href(this);
        return read(Reflect.apply(match, whole, [href]) as RegExpExecArray, href);
      },
      set [name](_value: string) {
        refuse(`Changing \`url.${name}\``);
      },
    },
    name,
  ) as PropertyDescriptor;
  defineProperty(prototype, name, { ...accessor, enumerable: true, configurable: true });
}

const methods = {
  toString() {
    return Text.href(this);
  },
  toJSON() {
    return Text.href(this);
  },
  get searchParams(): never {
    return refuse("`url.searchParams`");
  },
};
for (const name of ["toString", "toJSON", "searchParams"]) {
  const found = Object.getOwnPropertyDescriptor(methods, name) as PropertyDescriptor;
  defineProperty(prototype, name, { ...found, enumerable: true, configurable: true });
}

const statics = {
  canParse(): never {
    return refuse("`URL.canParse`");
  },
  parse(): never {
    return refuse("`URL.parse`");
  },
};
hide(realmUrl, "canParse", statics.canParse);
hide(realmUrl, "parse", statics.parse);

function hide(holder: object, key: PropertyKey, value: unknown): void {
  defineProperty(holder, key, { value, writable: true, enumerable: false, configurable: true });
}

/** For the value codec and for snapshots: the state of a URL is its text. */
export const urlKind: UrlKind & { is(value: object): boolean } = {
  prototype,
  href: (url) => Text.href(url),
  make: (href) => new Text(href, prototype),
  is: (value) => Text.is(value),
};
