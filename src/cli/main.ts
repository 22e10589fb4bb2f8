#!/usr/bin/env node
// `waymark`: one file a command. A command that is not run is not loaded.
import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";

import { fail } from "./fail.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const cli = new Command("waymark")
  .description("Durable background work for TypeScript, with nothing to run but Postgres.")
  .version(version)
  .showHelpAfterError("(waymark --help lists the commands)");

cli
  .command("dev")
  .description("embedded Postgres, migrations, a host that reloads on change")
  .argument("<module...>", "modules that declare workflows and actions")
  .option("--directory <path>", "where the development database lives", ".waymark")
  .action(async (modules: string[], options: { directory: string }) =>
    (await import("./dev.ts")).dev(modules, options),
  );

cli
  .command("start-workers")
  .description("a host for production: shards and worker processes (WAYMARK_* in the environment)")
  .action(async () => (await import("./start-workers.ts")).startWorkers());

cli
  .command("compile")
  .description("say what compiles, what does not and why, and list every captured value")
  .argument("<module>", "a module that declares workflows")
  .option("--asm", "print the bytecode")
  .option("--json", "print JSON")
  .action(async (module: string, options: { asm?: boolean; json?: boolean }) =>
    (await import("./compile.ts")).compile(module, options),
  );

cli
  .command("visualize")
  .description("draw the graph of a workflow")
  .argument("<module>", "a module that declares workflows")
  .argument("[workflow]", "the name of one; all if left out")
  .option("--format <format>", "text, svg, mermaid or json", format, "text" as const)
  .action(
    async (module: string, workflow: string | undefined, options: { format: "text" | "svg" | "mermaid" | "json" }) =>
      (await import("./visualize.ts")).visualize(module, workflow, options),
  );

cli
  .command("migrate")
  .description("bring the schema up to date")
  .option("--print", "print the SQL and change nothing")
  .action(async (options: { print?: boolean }) => (await import("./migrate.ts")).migrate(options));

cli.parseAsync().catch(fail);

function format(value: string): "text" | "svg" | "mermaid" | "json" {
  if (value === "text" || value === "svg" || value === "mermaid" || value === "json") return value;
  throw new InvalidArgumentError("It must be text, svg, mermaid or json.");
}
