/** A worker that cannot start. If these fail, a user sees a hang or a stack instead of what to do. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Pool } from "../ts/pool.ts";
import * as gpus from "../ts/workers/gpus.ts";
import { DEVICE } from "./support/devices.ts";

/** In its own module, so that a test can say what this machine has. */
vi.mock("../ts/workers/gpus.ts", { spy: true });

let folder: string | undefined;
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
});

/** A Python that sees this module before the installed one. */
function shadow(name: string, source: string): void {
  folder = mkdtempSync(join(tmpdir(), "octavo-test-"));
  writeFileSync(join(folder, `${name}.py`), source);
  vi.stubEnv("PYTHONPATH", folder);
}

function start(options: Parameters<typeof Pool.start>[0] = {}): Promise<Pool> {
  return Pool.start({ devices: DEVICE, threads: 1, ...options });
}

test("no Python there: the message names it and says how to choose one", async () => {
  await expect(start({ python: "/nowhere/python3" })).rejects.toMatchObject({
    code: "OCTAVO_WORKER_START_FAILED",
    message: expect.stringMatching(/\/nowhere\/python3.*OCTAVO_PYTHON/s),
  });
});

test("a package is missing: the message has the command that installs it", async () => {
  shadow("msgspec", "raise ImportError('No module named msgspec')");
  const error = await start().catch((reason) => reason);
  expect(error).toMatchObject({
    code: "OCTAVO_MISSING_DEPENDENCY",
    message: expect.stringMatching(/No module named msgspec.*pip install/s),
  });
  expect(existsSync(/-r (\S+worker\.txt)$/.exec(error.message)?.[1] ?? "")).toBe(true);
});

test("while the first worker on a machine compiles the kernels, its caller sees how far it is", async () => {
  // Says what a build says, and ends as if a package were missing: a build takes minutes.
  shadow("msgspec", "from octavo_kernels.cpu import build\nbuild._tell(3, 14)\nraise ImportError('the end')");
  const onProgress = vi.fn();
  const lines: string[] = [];
  await expect(start({ onProgress, onLog: (_, line) => lines.push(line) })).rejects.toThrow("the end");
  expect(onProgress.mock.calls).toEqual([[{ stage: "kernels", done: 3, total: 14 }]]);
  expect(lines).toHaveLength(1);
});

test("torch is missing for the reference backend: the message says so", async () => {
  shadow("torch", "raise ImportError('No module named torch')");
  await expect(start({ devices: "reference:0" })).rejects.toMatchObject({
    code: "OCTAVO_MISSING_DEPENDENCY",
    message: expect.stringMatching(/reference.*torch/s),
  });
});

test("torch is missing for device.call: only the call fails, with the command that installs it", async () => {
  shadow("torch", "raise ImportError('No module named torch')");
  await using pool = await start({ devices: "cpu:0", ops: ["math"] });
  const x = await pool.devices[0]!.tensor([1], { shape: [1] });
  await expect(pool.devices[0]!.call("math:sqrt", [x])).rejects.toMatchObject({
    code: "OCTAVO_MISSING_DEPENDENCY",
    message: expect.stringMatching(/torch.*pip install/s),
  });
  expect(await x.read()).toEqual(Float32Array.of(1));
});

test.each(["/nowhere/c++", "/bin/false"])(
  "a compiler that does not compile (%s) is no reason to try again",
  async (cxx) => {
    vi.stubEnv("CXX", cxx);
    await expect(start({ devices: "cpu:0" })).rejects.toMatchObject({
      code: "OCTAVO_MISSING_DEPENDENCY",
      retryable: false,
      message: expect.stringContaining(cxx),
    });
  },
);

test("an instruction set the machine does not have", async () => {
  vi.stubEnv("OCTAVO_ISA", "quantum");
  await expect(start()).rejects.toMatchObject({
    code: "OCTAVO_WORKER_START_FAILED",
    message: expect.stringContaining("quantum"),
  });
});

test("a worker that crashes at start shows the end of its log", async () => {
  shadow("numpy", "print('about to fail', flush=True); import os; os.abort()");
  await expect(start()).rejects.toMatchObject({
    code: "OCTAVO_WORKER_START_FAILED",
    message: expect.stringMatching(/SIGABRT.*about to fail/s),
  });
});

test("a worker that never says hello is given up at the start deadline", async () => {
  shadow("numpy", "import time; time.sleep(60)");
  await expect(start({ startDeadlineMs: 500 })).rejects.toMatchObject({
    code: "OCTAVO_WORKER_START_FAILED",
    message: expect.stringContaining("500 ms"),
  });
});

test("aborting the start ends it with the signal's reason", async () => {
  shadow("numpy", "import time; time.sleep(60)");
  await expect(start({ signal: AbortSignal.timeout(300) })).rejects.toMatchObject({ name: "TimeoutError" });
});

test("one device that cannot start ends the start of all", async () => {
  await expect(start({ devices: [DEVICE, "cuda:9999"] })).rejects.toMatchObject({ code: "OCTAVO_NO_DEVICE" });
  await expect(start({ devices: "tpu:0" })).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
});

describe("a GPU that is not there", () => {
  test("is named, with what is wrong, before any effect", async () => {
    vi.stubEnv("CUDA_VISIBLE_DEVICES", "");
    await expect(start({ devices: "cuda:0" })).rejects.toMatchObject({
      code: "OCTAVO_NO_DEVICE",
      retryable: false,
      message: expect.stringMatching(/^cuda:0: .*(NVIDIA|CUDA)/),
    });
  });

  test.each(["torch", "triton"])("and %s missing: the message says so, and for what it is needed", async (missing) => {
    shadow(missing, `raise ImportError("No module named ${missing}")`);
    await expect(start({ devices: "cuda:0" })).rejects.toMatchObject({
      code: "OCTAVO_MISSING_DEPENDENCY",
      message: expect.stringMatching(new RegExp(`^cuda:0: .*cuda backend needs .*No module named ${missing}`)),
    });
  });

  test("leaves auto the CPU, with a warning that says why; a device that was named is not replaced", async () => {
    vi.stubEnv("CUDA_VISIBLE_DEVICES", "");
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const auto = vi.spyOn(gpus, "autoDevices").mockReturnValue(["cuda:0", "cpu:0"]);
    await using pool = await start({ devices: "auto" });
    expect(pool.devices.map(({ name }) => name)).toEqual(["cpu:0"]);
    expect(warn).toHaveBeenCalledWith(expect.stringMatching(/^cuda:0: .*cpu:0/), {
      type: "OctavoWarning",
      code: "OCTAVO_NO_DEVICE",
    });
    auto.mockReturnValue(["cuda:0"]); // By OCTAVO_DEVICE.
    await expect(start({ devices: "auto" })).rejects.toMatchObject({ code: "OCTAVO_NO_DEVICE" });
  });
});

test("a worker of another release is refused with both versions", async () => {
  vi.stubEnv("SCRIPT", "other-protocol");
  const python = join(dirname(fileURLToPath(import.meta.url)), "support", "scripted-worker.mjs");
  await expect(start({ python })).rejects.toMatchObject({
    code: "OCTAVO_PROTOCOL",
    message: expect.stringMatching(/9\.9\.9.*protocol 99.*update/s),
  });
});
