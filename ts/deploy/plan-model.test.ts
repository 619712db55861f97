import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { DEMO_CONFIG } from "../../test/support/model-options.ts";
import { planModel } from "./plan-model.ts";

vi.mock("zeromq", () => {
  throw new Error("a plan has no use for sockets");
});

describe("planModel", () => {
  it.each([
    [[5], "the model is 5; it takes a folder"],
    [[undefined], 'planModel("model-folder", { devices: "24GiB" })'],
    [["config.json", null], "options are null"],
    [["config.json", { devices: 24 }], "devices is 24; it takes sizes such as"],
    [["config.json", { devices: "2x24GiB", tensorParallel: 3 }], "tensorParallel is 3 for 2 devices"],
    [["config.json", { devices: "cpu:0,cpu:1", shares: [1] }], "shares has 1 number for 2 devices"],
    [["config.json", { tensorParallel: 2, shares: [1, 2, 3] }], "shares has 3 numbers for 2 devices"],
    [["config.json", { shares: [1, 0] }], "a list of numbers above 0"],
    [["config.json", { pipelineParallel: 0 }], "pipelineParallel is 0; it takes a whole number from 1 to 1024"],
    [["config.json", { devices: "3x24GiB", pipelineParallel: 2 }], "pipelineParallel is 2 for 3 devices"],
    [
      ["config.json", { devices: "2x24GiB", pipelineParallel: 2, tensorParallel: 2 }],
      "tensorParallel 2 and pipelineParallel 2 are 4 ranks, for 2 devices",
    ],
    [["config.json", { devices: "gpu:0" }], '"gpu:0" is not a device'],
    [["config.json", { devices: "" }], "is not a device"],
    [["config.json", { tensorParallel: 2048 }], "tensorParallel is 2048; it takes a whole number from 1 to 1024"],
    [["config.json", { weights: "int4" }], 'weights is "int4"'],
    [["config.json", { memoryLimit: Number.NaN }], "memoryLimit is NaN"],
    [["config.json", { contxt: 5 }], "there is no option contxt; there are"],
  ])("refuses %j before it opens anything, with what it takes", async (given, message) => {
    const plan = (planModel as (...given: unknown[]) => Promise<unknown>)(...given);
    const error = { code: "OCTAVO_BAD_ARGUMENT", message: expect.stringContaining(message) };
    await expect(plan).rejects.toMatchObject(error);
  });

  it("takes a folder that has nothing but its config.json", async () => {
    const folder = await mkdtemp(join(tmpdir(), "octavo-plan-"));
    await writeFile(join(folder, "config.json"), JSON.stringify(DEMO_CONFIG));
    const options = { devices: "1GiB", context: 2048, sequences: 1 };
    expect(await planModel(folder, options)).toEqual(await planModel(join(folder, "config.json"), options));
    // Half a download is no config alone: what its shards hold is not known.
    await writeFile(join(folder, "model-00001-of-00002.safetensors"), "");
    await expect(planModel(folder, options)).rejects.toMatchObject({ code: "OCTAVO_MODEL_INCOMPLETE" });
  });

  it("plans from a config.json alone, so a model need not be downloaded to know whether it fits", async () => {
    const file = join(await mkdtemp(join(tmpdir(), "octavo-plan-")), "config.json");
    await writeFile(file, JSON.stringify(DEMO_CONFIG));
    const plan = await planModel(file, { devices: "1GiB", context: 2048, sequences: 1 });
    expect(plan.kvTokens).toBe(2048);
    expect(plan.devices[0]!.name).toBe("device:0");
    expect((await planModel(file, { devices: "2x1GiB" })).devices.map(({ name }) => name)).toEqual([
      "device:0",
      "device:1",
    ]);
    vi.stubEnv("PATH", "/nowhere"); // Without nvidia-smi.
    await expect(planModel(file, { devices: "cuda:0" })).rejects.toMatchObject({
      code: "OCTAVO_NO_DEVICE",
      message: expect.stringMatching(/^cuda:0: .*24GiB/),
    });
    vi.unstubAllEnvs();
    await expect(planModel(join(file, "none.json"))).rejects.toMatchObject({ code: "OCTAVO_MODEL_NOT_FOUND" });
  });
});
