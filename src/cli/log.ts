// The log of a command: pino's JSON lines, or one readable line each on a terminal.
import ansis from "ansis";
import { type Logger, pino } from "pino";

const levels: Record<number, (text: string) => string> = {
  20: ansis.dim,
  30: ansis.cyan,
  40: ansis.yellow,
  50: ansis.red,
  60: ansis.red.bold,
};
const names: Record<number, string> = { 20: "debug", 30: "info ", 40: "warn ", 50: "error", 60: "fatal" };

export function logger(level: string = process.env.WAYMARK_LOG_LEVEL ?? "INFO"): Logger {
  const options = { level: level.toLowerCase() === "warning" ? "warn" : level.toLowerCase(), base: null };
  if (!process.stderr.isTTY && process.env.WAYMARK_LOG_FORMAT !== "pretty") {
    return pino(options, pino.destination({ fd: 2, sync: true }));
  }
  return pino(options, { write: (line: string) => void process.stderr.write(`${readable(line)}\n`) });
}

function readable(line: string): string {
  const { level, time, msg, err, ...rest } = JSON.parse(line) as {
    level: number;
    time: number;
    msg?: string;
    err?: { stack?: string; message?: string };
  } & Record<string, unknown>;
  const clock = ansis.dim(new Date(time).toISOString().slice(11, 23));
  const extra = Object.entries(rest).map(([key, value]) =>
    ansis.dim(`${key}=${typeof value === "string" ? value : JSON.stringify(value)}`),
  );
  const text = [clock, (levels[level] ?? String)(names[level] ?? String(level)), msg ?? "", ...extra].join(" ");
  return err ? `${text}\n${err.stack ?? err.message ?? ""}` : text;
}
