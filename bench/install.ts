/** Installs peers' environments into bench/.cache and bench/node_modules: each once, until what is pinned changes. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BUILD, type Environment, pythonOf } from "./peers.ts";
import { run } from "./processes.ts";

const bench = import.meta.dirname;

export interface Tools {
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

export async function installEnvironment(name: Environment, tools: Tools): Promise<void> {
  if (name !== "node") return installPython(name, tools);
  await once("node", join(bench, "node_modules"), [join(bench, "package.json")], tools, async () => {
    const args = ["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
    await run("npm", args, { cwd: bench, signal: tools.signal });
  });
}

/** `name`: of a file in bench/requirements; one beside it that ends in `.overrides` replaces what packages ask for. */
export async function installPython(name: string, tools: Tools): Promise<void> {
  const folder = join(BUILD, "environments", name);
  const [pins, overrides] = ["in", "overrides"].map((end) => join(bench, "requirements", `${name}.${end}`));
  const files = [pins!, overrides!].filter(existsSync);
  await once(name, folder, files, tools, async () => {
    const { signal } = tools;
    const own = join(bench, "..", ".venv", "bin", "python");
    rmSync(folder, { recursive: true, force: true });
    await run(own, ["-m", "venv", folder], { cwd: bench, signal });
    const replaced = files.length > 1 ? ["--overrides", overrides!] : [];
    const args = ["-m", "uv", "pip", "install", "--quiet", "--python", pythonOf(name), "-r", pins!, ...replaced];
    await run(own, args, { cwd: bench, signal });
  });
}

/** Runs `install` unless it ended well before with the same content of `files`. */
async function once(
  label: string,
  folder: string,
  files: readonly string[],
  tools: Tools,
  install: () => Promise<void>,
): Promise<void> {
  const wanted = files.map((file) => readFileSync(file, "utf8")).join("\n");
  const stamp = join(folder, ".octavo-installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  tools.say(`installing ${label} ...`);
  mkdirSync(BUILD, { recursive: true });
  await install();
  writeFileSync(stamp, wanted);
}
