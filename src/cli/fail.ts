// How a command ends badly: one error on stderr (what, where, what to do), exit code 1.
import ansis from "ansis";

import { WaymarkError } from "../base/failure.ts";

export function fail(error: unknown): void {
  process.stderr.write(`${describe(error)}\n`);
  process.exitCode = 1;
}

export function describe(error: unknown): string {
  if (!(error instanceof WaymarkError)) {
    return `${ansis.red("error")} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  const lines = [`${ansis.red.bold(error.code)} ${error.message}`];
  if (error.at) lines.push(ansis.dim(`  at ${error.at.file}:${error.at.line}:${error.at.column}`));
  if (error.hint) lines.push(`  ${error.hint}`);
  for (let cause = error.cause; cause !== undefined; cause = cause instanceof Error ? cause.cause : undefined) {
    lines.push(ansis.dim(`  because: ${cause instanceof Error ? cause.message : String(cause)}`));
  }
  return lines.join("\n");
}

/** A variable of the environment that must be set. */
export function required(name: string, what: string): string {
  const value = process.env[name];
  if (value) return value;
  throw new WaymarkError("WM601", `${name} is not set`, {
    hint: `Set it to ${what}. For development, \`waymark dev MODULE\` needs no database.`,
  });
}
