import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { autoDevices, listGpus } from "./gpus.ts";

let folder: string | undefined;
afterEach(() => {
  vi.unstubAllEnvs();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
});

/** An nvidia-smi that prints this. */
function driver(output: string): void {
  folder = mkdtempSync(join(tmpdir(), "octavo-test-"));
  const file = join(folder, "nvidia-smi");
  writeFileSync(file, `#!/bin/sh\ncat <<'END'\n${output}END\n`);
  chmodSync(file, 0o755);
  vi.stubEnv("PATH", `${folder}${delimiter}${process.env.PATH}`);
}

describe("auto", () => {
  test.each([
    ["a machine without a GPU", {}, ["null", "tty"], ["cpu:0"]],
    ["a GPU, and the CPU when it cannot be used", {}, ["nvidiactl", "nvidia3"], ["cuda:0", "cpu:0"]],
    ["a driver without a GPU, as containers see it", {}, ["nvidiactl", "nvidia-uvm"], ["cpu:0"]],
    ["a GPU that the user has hidden", { CUDA_VISIBLE_DEVICES: "" }, ["nvidia0"], ["cpu:0"]],
    ["a GPU that the user has hidden by -1", { CUDA_VISIBLE_DEVICES: "-1" }, ["nvidia0"], ["cpu:0"]],
    ["one of several GPUs", { CUDA_VISIBLE_DEVICES: "2,3" }, ["nvidia0"], ["cuda:0", "cpu:0"]],
    ["what the user says, and nothing else", { OCTAVO_DEVICE: "cuda:1" }, [], ["cuda:1"]],
    ["the CPU, where the user says so", { OCTAVO_DEVICE: "cpu:0" }, ["nvidia0"], ["cpu:0"]],
  ])("is %s", (_name, env, files, expected) => {
    expect(autoDevices(env, files)).toEqual(expected);
  });
});

describe("GPUs", () => {
  const H100 = "GPU-aa11, NVIDIA H100 80GB HBM3, 81559, 80994, 9.0, 550.54.15\n";
  const RTX = "GPU-bb22, NVIDIA GeForce RTX 3090, 24576, 12000, 8.6, 550.54.15\n";

  test("are what the driver lists, in bytes", async () => {
    driver(H100 + RTX);
    const [first, second, ...others] = await listGpus({});
    expect(others).toEqual([]);
    expect(first).toMatchObject({ name: "NVIDIA H100 80GB HBM3", total: 81559 * 2 ** 20, free: 80994 * 2 ** 20 });
    expect(second).toMatchObject({ capability: "8.6", driver: "550.54.15" });
  });

  test.each([
    ["1", ["8.6"]],
    ["1,0", ["8.6", "9.0"]],
    ["GPU-bb", ["8.6"]],
    ["0,7,1", ["9.0"]],
    ["", []],
  ])("with CUDA_VISIBLE_DEVICES=%j are those that a worker will see, in its order", async (list, expected) => {
    driver(H100 + RTX);
    expect((await listGpus({ CUDA_VISIBLE_DEVICES: list })).map(({ capability }) => capability)).toEqual(expected);
  });

  test("are none where there is no driver, or where it says something else", async () => {
    vi.stubEnv("PATH", "/nowhere");
    expect(await listGpus({})).toEqual([]);
    vi.unstubAllEnvs();
    driver("No devices were found\n");
    expect(await listGpus({})).toEqual([]);
  });
});
