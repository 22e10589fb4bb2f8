// `waymark compile`: what a module's workflows compile to, or every reason why they do not.
import path from "node:path";
import ansis from "ansis";

import { type Compiled, CompileError, compileWorkflow, disassemble } from "../compiler.ts";
import { declaredWorkflows, loadModule } from "./module.ts";

export async function compile(module: string, options: { asm?: boolean; json?: boolean }): Promise<void> {
  if (!(await loadModule(module))) return;
  const report = declaredWorkflows(module).map(([name, workflow]) => ({ name, ...attempt(workflow) }));
  if (report.some((row) => row.error)) process.exitCode = 1;
  if (options.json) {
    const rows = report.map(({ compiled, error, name }) => ({
      workflow: name,
      ok: compiled !== undefined,
      ...(compiled && { hash: hex(compiled.hash), bytes: compiled.body.length, captured: compiled.captured }),
      ...(error && { diagnostics: error.diagnostics }),
    }));
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  for (const { name, compiled, error } of report) {
    if (error) process.stdout.write(`${ansis.red("✗")} ${ansis.bold(name)}\n${indent(error.message)}\n`);
    if (!compiled) continue;
    const { program, body, hash, captured } = compiled;
    process.stdout.write(
      `${ansis.green("✓")} ${ansis.bold(name)}  ${ansis.dim(`${hex(hash).slice(0, 12)}  ${program.functions.length} functions, ${body.length} bytes`)}\n`,
    );
    for (const reference of program.references)
      process.stdout.write(`    ${reference.kind.padEnd(8)} ${reference.name}\n`);
    for (const value of captured)
      process.stdout.write(`    captured ${value.path} ${ansis.dim(`${value.bytes} bytes`)}\n`);
    if (options.asm) process.stdout.write(`\n${indent(disassemble(program))}\n`);
  }
  const failed = report.filter((row) => row.error).length;
  process.stdout.write(
    `${report.length - failed} of ${report.length} workflows in ${path.basename(module)} compile.\n`,
  );
}

type Attempt = { compiled: Compiled; error?: undefined } | { compiled?: undefined; error: CompileError };

function attempt(workflow: object): Attempt {
  try {
    return { compiled: compileWorkflow(workflow) };
  } catch (error) {
    if (error instanceof CompileError) return { error };
    throw error;
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}
