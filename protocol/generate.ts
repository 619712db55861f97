/**
 * Writes everything that is generated from the contracts, the tables of this folder: `npm run generate`. With `--check` it writes nothing and fails when a file is stale.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { errorsMarkdown, opsMarkdown } from "./generate/docs.ts";
import { environmentMarkdown, environmentPython } from "./generate/environment.ts";
import { errorsPython } from "./generate/errors-python.ts";
import { messagesPython } from "./generate/messages-python.ts";
import { opsCpp } from "./generate/ops-cpp.ts";
import { opsPython } from "./generate/ops-python.ts";
import { HEADER } from "./generate/python.ts";
import { sourceTypesCpp, sourceTypesPython } from "./generate/source-types.ts";
import { workspacePython } from "./generate/workspace-python.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Path from the repository's root, and how its content is made. */
const FILES: Readonly<Record<string, () => string>> = {
  "kernels/octavo_kernels/generated/__init__.py": () => `"""${HEADER}"""\n`,
  "kernels/octavo_kernels/generated/environment.py": () => environmentPython("kernels"),
  "kernels/octavo_kernels/generated/errors.py": errorsPython,
  "kernels/octavo_kernels/generated/ops.py": opsPython,
  "kernels/octavo_kernels/generated/source_types.py": sourceTypesPython,
  "kernels/octavo_kernels/generated/workspace.py": workspacePython,
  "kernels/octavo_kernels/cpu/src/generated/ops.h": opsCpp,
  "kernels/octavo_kernels/cpu/src/generated/source_types.h": sourceTypesCpp,
  "worker/octavo_worker/generated/__init__.py": () => `"""${HEADER}"""\n`,
  "worker/octavo_worker/generated/environment.py": () => environmentPython("worker"),
  "worker/octavo_worker/generated/messages.py": messagesPython,
  "docs/ops.md": opsMarkdown,
  "docs/errors.md": errorsMarkdown,
  "docs/environment.md": environmentMarkdown,
};

/** Paths whose content on disk is not what the contracts say; with `write`, brought up to date. */
export async function generate(options: { write: boolean }): Promise<string[]> {
  const stale: string[] = [];
  for (const [path, content] of Object.entries(FILES)) {
    const file = join(ROOT, path);
    const expected = content();
    const present = await readFile(file, "utf8").catch(() => undefined);
    if (present === expected) continue;
    stale.push(path);
    if (!options.write) continue;
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, expected);
  }
  return stale;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const check = process.argv.includes("--check");
  const stale = await generate({ write: !check });
  if (check && stale.length > 0) {
    console.error(`Stale generated files; run \`npm run generate\`:\n${stale.map((path) => `  ${path}`).join("\n")}`);
    process.exitCode = 1;
  } else {
    console.log(stale.length > 0 ? `Wrote ${stale.join(", ")}` : "Generated files are up to date.");
  }
}
