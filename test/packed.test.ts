/**
 * The package as npm delivers it, outside of this repository, in the places where backends put it. If these fail, Octavo
 * runs here and nowhere else, or a bundled program fails with words that lead nowhere.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findPython } from "../ts/python.ts";

const repository = join(dirname(fileURLToPath(import.meta.url)), "..");
let folder: string;
let packed: string[];
/** What Python leaves beside its sources on every machine that ran them. */
const leftover = join(repository, "kernels", "octavo_kernels", "__pycache__", "packed.test.pyc");

/** Compiled anew, so that nothing old is tested; packed by npm; its dependencies are links to those of the repository. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "octavo-packed-"));
  const installed = join(folder, "node_modules", "octavo");
  mkdirSync(dirname(leftover), { recursive: true });
  writeFileSync(leftover, "");
  const { dependencies } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));
  const [{ files }] = JSON.parse(run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], repository).stdout);
  packed = files.map(({ path }: { path: string }) => path);
  for (const path of packed) {
    if (path.startsWith("dist/")) continue;
    mkdirSync(dirname(join(installed, path)), { recursive: true });
    cpSync(join(repository, path), join(installed, path));
  }
  run(
    join(repository, "node_modules", ".bin", "tsc"),
    ["-p", "tsconfig.build.json", "--outDir", join(installed, "dist")],
    repository,
  );
  // Built by whoever installs it; here it is there already.
  const library = join("kernels", "octavo_kernels", "cpu", "build");
  symlinkSync(join(repository, library), join(installed, library));
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(folder, "node_modules", name)), { recursive: true });
    symlinkSync(join(repository, "node_modules", name), join(folder, "node_modules", name));
  }
});
afterAll(() => {
  rmSync(leftover, { force: true });
  rmSync(folder, { recursive: true, force: true });
});

function run(command: string, args: string[], cwd = folder) {
  const env = { ...process.env, OCTAVO_PYTHON: findPython(), OCTAVO_DEVICE: "cpu:0", NODE_OPTIONS: "" };
  const done = spawnSync(command, args, { cwd, encoding: "utf8", env, maxBuffer: 64 * 2 ** 20 });
  return { stdout: done.stdout.trim(), stderr: done.stderr, status: done.status, signal: done.signal };
}

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

const BODY = `const pool = await Pool.start({ threads: 1 });
  const x = await pool.devices[0].tensor([1, 2], { shape: [1, 2] });
  console.log(String(await (await x.add(x)).read()));
  await pool.dispose();`;
const MODULE = `import { Pool } from "octavo";\n${BODY}\n`;
const COMMON = `const { Pool } = require("octavo");\n(async () => {\n  ${BODY}\n})().catch((error) => {
  console.log(error.code, error.message);
});\n`;

/** All that may be in it: what a user runs, and what pip and messages name. */
const DELIVERED = [
  /^dist\/(ts|protocol)\/[\w/-]+\.(js|d\.ts)$/,
  /^worker\/(__main__|octavo_worker\/[\w/]+)\.py$/,
  /^kernels\/octavo_kernels\/[\w/]+\.py$/,
  /^kernels\/octavo_kernels\/cpu\/src\/[\w/]+\.(h|cpp)$/,
  /^(worker|kernels)\/pyproject\.toml$/,
  /^requirements\/(compiler|model|torch|worker)\.txt$/,
  /^ts\/eval\/text\/[\w.-]+$/,
  /^docs\/[\w/-]+\.(md|svg)$/, // What README.md links to.
  /^(package\.json|README\.md|LICENSE)$/,
];

test("has what a user runs, and no tests, no proofs, nothing that a machine has made of the sources", () => {
  expect(packed.filter((file) => !DELIVERED.some((rule) => rule.test(file)))).toEqual([]);
  expect(packed.filter((file) => /(^|\/)(build|tests?|proofs|__pycache__|generate)\/|\.test\./.test(file))).toEqual([]);
  const needed = ["worker/octavo_worker/__main__.py", "kernels/octavo_kernels/cpu/src/kernels/table.h", "README.md"];
  expect(packed).toEqual(expect.arrayContaining(needed));
  for (const rule of DELIVERED.slice(1)) expect(packed.filter((file) => rule.test(file)).length).toBeGreaterThan(0);
  // It had 879 once, and 786 with groups, stages and launchers. A new room of the house adds a dozen; a folder that should not be there adds hundreds.
  expect(packed.length).toBeLessThan(850);
});

test("runs in plain Node, from a module", () => {
  expect(run(process.execPath, [write("plain.mjs", MODULE)])).toMatchObject({ stdout: "2,4", status: 0 });
});

describe("esbuild", () => {
  test("with octavo as an external package", async () => {
    const entry = write("app.mjs", MODULE);
    const outfile = join(folder, "out", "external.mjs");
    await build({ entryPoints: [entry], outfile, bundle: true, platform: "node", format: "esm", external: ["octavo"] });
    expect(run(process.execPath, [outfile])).toMatchObject({ stdout: "2,4", status: 0 });
  });

  test("with octavo in the bundle: the error says so, and names the setting that mends it", async () => {
    const entry = write("app.cjs", COMMON);
    const outfile = join(folder, "out", "bundled.cjs");
    await build({ entryPoints: [entry], outfile, bundle: true, platform: "node", logLevel: "error" });
    const { stdout } = run(process.execPath, [outfile]);
    expect(stdout).toMatch(/^OCTAVO_MISSING_DEPENDENCY .*bundled.*--external:octavo.*serverExternalPackages/);
  });
});

describe("in a thread", () => {
  /** zeromq.js #411: it aborted the whole process (exit 134). */
  test.each(["terminate", "process.exit"])("that is ended by %s while a pool lives, the process goes on", (how) => {
    const program = `import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Pool } from "octavo";
if (isMainThread) {
  const thread = new Worker(new URL(import.meta.url), { workerData: process.argv[2] });
  thread.on("message", (text) => {
    console.log(text);
    if (process.argv[2] === "terminate") void thread.terminate();
  });
  thread.on("exit", () => setTimeout(() => console.log("goes on"), 200));
} else {
  const pool = await Pool.start({ threads: 1 });
  const x = await pool.devices[0].tensor([1, 2], { shape: [1, 2] });
  parentPort.postMessage(String(await (await x.add(x)).read()));
  if (workerData !== "terminate") setTimeout(() => process.exit(0), 50);
}
`;
    const ended = run(process.execPath, [write("thread.mjs", program), how]);
    expect(ended).toMatchObject({ stdout: "2,4\ngoes on", status: 0, signal: null });
  });
});
