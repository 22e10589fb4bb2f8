// Constants of a program are stored in the database. What looks like a secret is refused before it gets there: by the
// name it has, by a password in a URL, or because an environment variable with such a name has the same value.
// Short ordinary strings must not trip it: `tokenType: "bearer"` and `passwordMinLength: 8` are fine.

export interface Secret {
  /** Of the value, from the captured name: "config.mail.password". */
  path: string;
  why: string;
}

/** The first secret in a captured constant. `name` is how the source names it: "config.mail" or "apiKey". */
export function findSecret(
  name: string,
  value: unknown,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Secret | null {
  return look(name, lastKey(name), value, secretValues(env), new Set());
}

function look(
  path: string,
  key: string,
  value: unknown,
  known: ReadonlyMap<string, string>,
  seen: Set<object>,
): Secret | null {
  if (typeof value === "string") {
    const why = reason(key, value, known);
    return why === null ? null : { path, why };
  }
  if (typeof value !== "object" || value === null || seen.has(value)) return null;
  seen.add(value);
  if (value instanceof URL) return look(path, key, value.href, known, seen);
  for (const [below, item] of itemsOf(value)) {
    // An element is called what its list is called: `tokens: ["..."]`.
    const step = /^\d+$/.test(below) ? `[${below}]` : `.${below}`;
    const found = look(path + step, step.startsWith("[") ? key : below, item, known, seen);
    if (found !== null) return found;
  }
  return null;
}

function itemsOf(value: object): Iterable<[string, unknown]> {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return [];
  if (value instanceof Map) return [...value].map(([key, item]) => [String(key), item]);
  if (value instanceof Set) return [...value].map((item, index) => [String(index), item]);
  return Object.entries(value);
}

function reason(key: string, value: string, known: ReadonlyMap<string, string>): string | null {
  const variable = known.get(value);
  if (variable !== undefined) return `it equals the environment variable ${variable}`;
  if (hasCredentials(value)) return "it is a URL with a password";
  if (isSecretShape(value)) return "it has the form of a private key or access token";
  if (isSecretName(key) && isSecretText(value)) return `it is called \`${key}\``;
  return null;
}

const minLength = 6;

/** Text that could be one: not a sentence, a word, a header name, a route. */
function isSecretText(value: string): boolean {
  if (value.length < minLength || /\s/.test(value) || /^\/|^https?:/.test(value)) return false;
  // Letters in words, as in `bearer`, `Password`, `X-Auth-Token`, `API_KEY`; a long run of letters is no word.
  return !(/^[A-Za-z]+([-_./:][A-Za-z]+)*$/.test(value) && !/[A-Za-z]{20}/.test(value));
}

const secretWords =
  /(password|passwd|passphrase|secret|secrets|token|tokens|credentials?|apikeys?|authkey|accesskey|secretkey|privatekey|signingkey|encryptionkey)$|^pwd$/;

/** By its last words: `apiKey`, `DB_PASSWORD`, `stripe-secret`, `accessToken2`; but not `tokenType` or `passwordHint`. */
function isSecretName(key: string): boolean {
  const words = key
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word !== "");
  return secretWords.test(words.at(-1) ?? "") || secretWords.test(words.slice(-2).join(""));
}

function hasCredentials(value: string): boolean {
  return /^[a-z][\w+.-]*:\/\/[^\s/@:]*:[^\s/@]+@/i.test(value);
}

function isSecretShape(value: string): boolean {
  return /-----BEGIN [A-Z ]*PRIVATE KEY-----|^(sk|rk)_live_\w{10,}$|^gh[pousr]_\w{20,}$|^AKIA[A-Z0-9]{16}$|^xox[abprs]-[\w-]{10,}$|^eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+$/.test(
    value,
  );
}

/** Values of environment variables that are called like secrets, long enough not to be met by chance. */
function secretValues(env: Readonly<Record<string, string | undefined>>): Map<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) continue;
    // `PGPASSWORD=postgres` must not turn every "postgres" into a secret.
    if ((isSecretName(name) && isSecretText(value)) || hasCredentials(value)) values.set(value, name);
  }
  return values;
}

function lastKey(name: string): string {
  return (
    name
      .split(/[.[\]"]+/)
      .filter((part) => part !== "")
      .at(-1) ?? name
  );
}
