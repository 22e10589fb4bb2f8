// Prints the lines around a place in a source. Lines of minified code are cut to a window around the column.

const windowMax = 100;

export interface FrameOptions {
  /** Characters to underline. At least 1; cut at the end of the line. */
  length?: number;
  /** Lines shown before and after. */
  around?: number;
  /** First line, for text that is not what the user wrote. */
  label?: string;
}

/** `line` and `column` are 1-based. A place outside the text gives an empty string. */
export function codeFrame(text: string, line: number, column: number, options: FrameOptions = {}): string {
  const lines = text.split(/\r\n|[\n\r\u2028\u2029]/);
  const marked = lines[line - 1];
  if (marked === undefined) return "";
  const around = options.around ?? 1;
  const first = Math.max(1, line - around);
  const last = Math.min(lines.length, line + around);
  const cut = windowOf(marked, column - 1);
  const width = String(last).length;
  const output = options.label === undefined ? [] : [options.label];
  for (let number = first; number <= last; number++) {
    const shown = detab(slice(lines[number - 1]!, cut));
    output.push(`${number === line ? ">" : " "} ${String(number).padStart(width)} | ${shown}`.trimEnd());
    if (number === line) output.push(`  ${" ".repeat(width)} | ${caret(marked, column - 1, options.length ?? 1, cut)}`);
  }
  return output.join("\n");
}

interface Cut {
  start: number;
  end: number;
}

/** The part of a long line that is shown: as much before the column as after it. */
function windowOf(line: string, column: number): Cut {
  if (line.length <= windowMax * 1.5) return { start: 0, end: windowMax * 1.5 };
  const start = Math.max(0, Math.min(column - windowMax / 2, line.length - windowMax));
  return { start, end: start + windowMax };
}

function slice(line: string, { start, end }: Cut): string {
  const before = start > 0 && line.length > start ? "…" : "";
  return before + line.slice(start, end) + (line.length > end ? "…" : "");
}

function caret(line: string, column: number, length: number, cut: Cut): string {
  const lead = (cut.start > 0 ? 1 : 0) + column - cut.start;
  const room = Math.max(1, Math.min(line.length, cut.end) - column);
  return " ".repeat(Math.max(0, lead)) + "^".repeat(Math.max(1, Math.min(length, room)));
}

/** A tab counts as one column, so it is shown as one. */
function detab(line: string): string {
  return line.replaceAll("\t", " ");
}
