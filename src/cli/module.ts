// Loading the user's module in a command, with the user's own loader: a TypeScript module that this Node cannot load makes
// the command start itself again under tsx, if the project has it.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { WaymarkError } from "../base/failure.ts";
import { loaderFor, located } from "../engine.ts";
import { registeredWorkflows } from "../index.ts";

/** True once the module is loaded here; false when the command ran in another process instead and has set the exit code. */
export async function loadModule(module: string): Promise<boolean> {
  const file = path.resolve(module);
  const loader = loaderFor([file]);
  if (loader.length > 0 && process.env.WAYMARK_RESTARTED !== "1") {
    const { status } = spawnSync(process.execPath, [...process.execArgv, ...loader, ...process.argv.slice(1)], {
      stdio: "inherit",
      env: { ...process.env, WAYMARK_RESTARTED: "1" },
    });
    process.exitCode = status ?? 1;
    return false;
  }
  try {
    await import(pathToFileURL(file).href);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND" && String(error).includes(file);
    throw missing
      ? new WaymarkError("WM602", `There is no module ${module}`, {
          hint: `Looked for ${file}. Give a path from here, with its extension.`,
        })
      : new WaymarkError("WM603", `${module} failed while it was loading`, {
          hint: located(error, pathToFileURL(file).href),
        });
  }
  return true;
}

/** Workflows by name; an error if the module declared none. */
export function declaredWorkflows(module: string) {
  const workflows = [...registeredWorkflows()];
  if (workflows.length > 0) return workflows;
  throw new WaymarkError("WM604", `${module} declares no workflow`, {
    hint: 'A workflow is declared with `workflow("name", async (...) => { ... })` from "waymark".',
  });
}
