/**
 * Which Python runs the workers, where its packages lie, and how it is started: never so that a file that happens to lie in
 * the current folder (a json.py, a numpy.py) is executed. `-m` and `-c` put that folder first before Python 3.11, and an
 * empty entry of PYTHONPATH (`PYTHONPATH=/x:$PYTHONPATH`) means it in every version.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { variable } from "./environment.ts";
import { OctavoError } from "./errors.ts";

/** What a program that was bundled has to know. The same words in README.md. */
export const NOT_BUNDLED =
  'if octavo was bundled, keep it a package of its own in node_modules: esbuild --external:octavo (or --packages=external), Next.js serverExternalPackages: ["octavo"], webpack externals, Vite ssr.external';

/** Throws `OCTAVO_MISSING_DEPENDENCY` when the Python side is not where it is in this package. */
export function checkPackage(): void {
  const root = packageRoot();
  if (existsSync(join(root, "worker", "octavo_worker", "__main__.py"))) return;
  const text = `octavo's Python side (worker/octavo_worker) is not in ${root}, where its JavaScript runs; ${NOT_BUNDLED}`;
  throw new OctavoError("OCTAVO_MISSING_DEPENDENCY", text);
}

/** For `pip install -r`, in a shell: the versions that were tested, with their hashes. */
export function requirements(name: "torch" | "worker"): string {
  const file = join(packageRoot(), "requirements", `${name}.txt`);
  return /^[\w./-]+$/.test(file) ? file : `"${file}"`;
}

/** Folder of this package: where `package.json` says "octavo", from the source tree as well as from `dist`. */
export function packageRoot(): string {
  const here = ownFolder();
  for (let folder = here; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (existsSync(file) && JSON.parse(readFileSync(file, "utf8")).name === "octavo") return folder;
  }
  return here;
}

/** Of this module. A bundle in CommonJS has no `import.meta.url`. */
function ownFolder(): string {
  const { url } = import.meta as { readonly url?: string };
  return url === undefined ? dirname(process.argv[1] ?? process.cwd()) : dirname(fileURLToPath(url));
}

/** The option, then OCTAVO_PYTHON, then the package's own `.venv`, then `python3` of the PATH. */
export function findPython(option?: string): string {
  if (option !== undefined) return option;
  const fromEnvironment = variable("OCTAVO_PYTHON");
  if (fromEnvironment) return fromEnvironment;
  const windows = process.platform === "win32";
  const own = join(packageRoot(), ".venv", windows ? "Scripts/python.exe" : "bin/python");
  if (existsSync(own)) return own;
  return windows ? "python" : "python3";
}

/** The first arguments of a worker: its folder, which Python then imports from first. */
export function workerProgram(): string[] {
  return [join(packageRoot(), "worker")];
}

/** Environment of a worker: this package's Python code first, the caller's PYTHONPATH after it. */
export function workerEnvironment(token: string): Record<string, string> {
  return {
    PYTHONPATH: [join(packageRoot(), "kernels"), ...pythonPath()].join(delimiter),
    PYTHONUNBUFFERED: "1",
    // Containers often set this, and uv installs without bytecode: numpy is then compiled anew at every start (250 ms
    // instead of 80 to hello). Empty means no.
    PYTHONDONTWRITEBYTECODE: "",
    PYTHONSAFEPATH: "1", // For Pythons that a worker starts itself (3.11 and later).
    // numpy would start a BLAS thread per core, 50 ms for nothing: kernels have their own team.
    OPENBLAS_NUM_THREADS: variable("OPENBLAS_NUM_THREADS") ?? "1",
    CUDA_DEVICE_ORDER: variable("CUDA_DEVICE_ORDER") ?? "PCI_BUS_ID", // cuda:1 is then nvidia-smi's GPU 1
    OCTAVO_WORKER_TOKEN: token,
  };
}

/** The entries of the caller's PYTHONPATH. A `.` among them is the caller's own wish. */
export function pythonPath(): string[] {
  return (variable("PYTHONPATH") ?? "").split(delimiter).filter((path) => path !== "");
}

/** What a Python script prints. It sees the packages that a worker would see. Throws what `execFile` throws. */
export async function askPython(
  python: string,
  script: string,
  options: { readonly timeout: number; readonly signal?: AbortSignal },
): Promise<string> {
  const env = { ...process.env, PYTHONPATH: pythonPath().join(delimiter), PYTHONSAFEPATH: "1" };
  const { stdout } = await promisify(execFile)(python, ["-c", `${WITHOUT_CURRENT_FOLDER}\n${script}`], {
    ...options,
    env,
  });
  return stdout;
}

/** `sys` is built in. The current folder is the empty path here; relative ones of PYTHONPATH are absolute by now. */
const WITHOUT_CURRENT_FOLDER = 'import sys; sys.path[:] = [path for path in sys.path if path != ""]';
