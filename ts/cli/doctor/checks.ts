/** The checks of `octavo doctor`, in the order in which they depend on each other. */
import { statfs } from "node:fs/promises";
import { formatBytes } from "../../bytes.ts";
import { openModel } from "../../model/source/index.ts";
import { askPython, findPython, requirements } from "../../python.ts";
import { describeError } from "../describe-error.ts";
import type { Check } from "./check.ts";
import { checkGpu } from "./gpu.ts";
import { checkWorker } from "./worker.ts";

const WORKER_PACKAGES = ["numpy", "pyzmq", "msgspec"];

/** Versions without importing anything: importing torch takes seconds. */
const ASK_PYTHON = `
import importlib.metadata as m, json, platform
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
names = ${JSON.stringify([...WORKER_PACKAGES, "torch", "triton"])}
print(json.dumps({"python": platform.python_version(), "packages": {n: version(n) for n in names}}))
`;

interface PythonFacts {
  readonly python: string;
  readonly packages: Readonly<Record<string, string | null>>;
}

/** `begin` is called with the name of each check before it starts. */
export async function* checkMachine(
  pythonOption: string | undefined,
  signal: AbortSignal,
  begin: (name: string) => void,
): AsyncGenerator<Check> {
  yield checkNode();
  begin("Python");
  const python = findPython(pythonOption);
  const facts = await pythonFacts(python, signal);
  yield checkPython(python, facts);
  if (facts) yield checkPackages(python, facts);
  begin("a worker");
  yield await checkWorker("cpu:0", python, signal);
  begin("the demo model");
  yield await checkModel(python);
  yield await checkSharedMemory();
  begin("GPUs");
  if (facts) yield* checkGpu(python, facts.packages, signal);
}

function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  const fix = ok ? {} : { fix: "install Node 20.19 or newer" };
  return { name: "Node", ok, needed: true, detail: `${process.versions.node} at ${process.execPath}`, ...fix };
}

async function pythonFacts(python: string, signal: AbortSignal): Promise<PythonFacts | undefined> {
  try {
    return JSON.parse(await askPython(python, ASK_PYTHON, { timeout: 30_000, signal }));
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

function checkPython(python: string, facts: PythonFacts | undefined): Check {
  const [major = 0, minor = 0] = (facts?.python ?? "").split(".").map(Number);
  const ok = major > 3 || (major === 3 && minor >= 10);
  const fix = ok ? {} : { fix: "install Python 3.10 or newer, and set OCTAVO_PYTHON or --python to it" };
  const detail = facts ? `${facts.python} at ${python}` : `${python} does not run`;
  return { name: "Python", ok, needed: true, detail, ...fix };
}

function checkPackages(python: string, { packages }: PythonFacts): Check {
  const missing = WORKER_PACKAGES.filter((name) => !packages[name]);
  const detail = WORKER_PACKAGES.map((name) => `${name} ${packages[name] ?? "missing"}`).join(", ");
  const fix =
    missing.length === 0 ? {} : { fix: `${python} -m pip install --require-hashes -r ${requirements("worker")}` };
  return { name: "worker packages", ok: missing.length === 0, needed: true, detail, ...fix };
}

async function checkModel(python: string): Promise<Check> {
  try {
    const { path, tensors } = await openModel("smollm2", { python });
    return { name: "demo model", ok: true, needed: false, detail: `smollm2, ${tensors.size} tensors in ${path}` };
  } catch (error) {
    return { name: "demo model", ok: false, needed: false, detail: describeError(error) };
  }
}

/** Large tensors go through it; without, they go through the socket, slower. */
async function checkSharedMemory(): Promise<Check> {
  const name = "shared memory";
  const found = await statfs("/dev/shm").catch(() => undefined);
  if (!found) return { name, ok: false, needed: false, detail: "no /dev/shm; tensors go through sockets" };
  const free = found.bavail * found.bsize;
  const ok = free >= 64 * 2 ** 20;
  const fix = ok ? {} : { fix: "in Docker: --shm-size 1g" };
  return { name, ok, needed: false, detail: `${formatBytes(free)} free in /dev/shm`, ...fix };
}
