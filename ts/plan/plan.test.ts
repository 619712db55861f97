import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { PAGE_SIZE } from "../../protocol/ops.ts";
import { modelOfConfig } from "../model/families/index.ts";
import { ProgramBuilder } from "../program/builder.ts";
import { planManifest, planModel } from "./plan.ts";
import { threadBytes } from "./process-bytes.ts";

/** The demo model (SmolLM2-135M), without its files. */
const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
};
const smollm2 = () => modelOfConfig("config.json", CONFIG);

it("a thread that loads some columns of a tensor reads its whole rows", () => {
  const b = new ProgramBuilder();
  b.weight("left", { parts: [{ tensor: "w", columns: [0, 64] }], shape: [100, 64], form: "int8" });
  b.vector("bias", 200, { tensor: "w", rows: [0, 1], columns: [0, 200] });
  const { parameters } = b.build();
  // 16 rows and one more as floats, in 14 bytes per element: more than those of a vocabulary of 10.
  expect(threadBytes(parameters.values(), 10, new Map([["w", { shape: [100, 4096] }]]))).toBe(17 * 4096 * 14);
});

describe("planManifest", () => {
  it("gives the demo model's bytes as computed by hand", () => {
    const plan = planManifest(smollm2(), { device: { name: "device:0", total: 2 ** 30 }, context: 2048, sequences: 1 });
    expect(plan.fits).toBe(true);
    // Per layer: q 576, k and v 192 each, o 576 rows of 576; gate and up 1536 rows of 576; down 576 rows of 1536.
    expect(plan.totals.int8).toBe(30 * (1536 * 576 + 3072 * 576 + 576 * 1536));
    expect(plan.totals.scales).toBe(30 * 4 * (960 + 576 + 3072 + 576));
    // K and V, 30 layers, 3 heads of 64, two bytes: 23,040 bytes a token.
    expect(plan.devices[0]!.kv).toBe(2048 * 23_040);
  });

  it("refuses with the missing bytes, and fits when given exactly these", () => {
    const options = { device: { name: "device:0", total: 256 * 2 ** 20 }, context: 8192, sequences: 1 };
    const plan = planManifest(smollm2(), options);
    expect(plan.fits).toBe(false);
    expect(plan.devices[0]!.free).toBeLessThan(0);
    const missing = Number(/\((\d+) bytes\) more/.exec(plan.refusal!)![1]);
    const sized = (total: number) => planManifest(smollm2(), { ...options, device: { name: "device:0", total } });
    expect(sized(options.device.total + missing).fits).toBe(true);
    expect(sized(options.device.total + missing - 1).fits).toBe(false);
  });

  it("proposes only changes that fit, and the longest context", () => {
    const options = { device: { name: "device:0", total: 300 * 2 ** 20 }, context: 8192, sequences: 1 };
    const { refusal } = planManifest(smollm2(), options);
    const context = Number(/context (\d+),/.exec(refusal!)![1]);
    expect(planManifest(smollm2(), { ...options, context }).fits).toBe(true);
    expect(planManifest(smollm2(), { ...options, context: context + PAGE_SIZE }).fits).toBe(false);
  });

  it("of a GPU leaves its context and what others use alone, and refuses with numbers like that of a CPU", () => {
    const gpu = { name: "cuda:0", backend: "cuda", total: 24 * 2 ** 30 } as const;
    const known = { baseline: 300 * 2 ** 20, memoryLimit: 20 * 2 ** 30, context: 2048, sequences: 1 };
    const [device] = planManifest(smollm2(), { device: gpu, ...known }).devices;
    expect([device!.name, device!.total, device!.context]).toEqual(["cuda:0", 20 * 2 ** 30, 300 * 2 ** 20]);
    expect(planManifest(smollm2(), { device: gpu }).devices[0]!.context).toBeGreaterThan(400 * 2 ** 20);
    const { fits, refusal } = planManifest(smollm2(), { device: gpu, ...known, memoryLimit: 500 * 2 ** 20 });
    expect([fits, refusal]).toEqual([
      false,
      expect.stringMatching(/^cuda:0: .* more than its 500.00 MiB.*\d+ bytes\) more/),
    ]);
  });

  it("counts what each thread of the worker takes beside the model: the rows that it loads, or candidates for a draw", () => {
    const context = (threads: number, backend: "cpu" | "cuda" = "cpu") =>
      planManifest(smollm2(), { device: { name: "cpu:0", backend, threads, total: 2 ** 30 }, baseline: 40 * 2 ** 20 })
        .devices[0]!.context;
    expect(context(8) - context(7)).toBe(49_152 * 20); // More than 16 rows of 1536 elements in 14 bytes each.
    expect(context(1)).toBeGreaterThan(56 * 2 ** 20);
    expect(context(8, "cuda")).toBe(40 * 2 ** 20); // On the machine, not on the GPU.
  });

  it("accounts for every byte of the device", () => {
    const options = { device: { name: "device:0", total: 2 ** 30 }, memoryLimit: 400 * 2 ** 20 };
    const { total, weights, kv, activations, context, collectives, margin, free } = planManifest(smollm2(), options)
      .devices[0]!;
    expect(total).toBe(400 * 2 ** 20);
    expect(weights + kv + activations + context + collectives + margin + free).toBe(total);
  });
});

describe("planModel", () => {
  it.each([
    [[5], "the model is 5; it takes a folder"],
    [[undefined], 'planModel("model-folder", { devices: "24GiB" })'],
    [["config.json", null], "options are null"],
    [["config.json", { devices: 24 }], "devices is 24; it takes a size such as"],
    [["config.json", { devices: "2x24GiB" }], "2 devices (2x24GiB): this version runs a model on one device"],
    [["config.json", { devices: "gpu:0" }], '"gpu:0" is not a device'],
    [["config.json", { devices: "" }], "is not a device"],
    [["config.json", { tensorParallel: 2 }], "leave both at 1"],
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
    await writeFile(join(folder, "config.json"), JSON.stringify(CONFIG));
    const options = { devices: "1GiB", context: 2048, sequences: 1 };
    expect(await planModel(folder, options)).toEqual(await planModel(join(folder, "config.json"), options));
    // Half a download is no config alone: what its shards hold is not known.
    await writeFile(join(folder, "model-00001-of-00002.safetensors"), "");
    await expect(planModel(folder, options)).rejects.toMatchObject({ code: "OCTAVO_MODEL_INCOMPLETE" });
  });

  it("says how many tokens were asked for, beside how many there is room for", () => {
    const options = { device: { name: "device:0", total: 2 ** 30 }, context: 4096, sequences: 64 };
    const { fits, kvTokens, wantedTokens } = planManifest(smollm2(), options);
    expect([fits, wantedTokens]).toEqual([true, 262_144]);
    expect(kvTokens).toBeLessThan(wantedTokens);
  });

  it("plans from a config.json alone, so a model need not be downloaded to know whether it fits", async () => {
    const file = join(await mkdtemp(join(tmpdir(), "octavo-plan-")), "config.json");
    await writeFile(file, JSON.stringify(CONFIG));
    const plan = await planModel(file, { devices: "1GiB", context: 2048, sequences: 1 });
    expect(plan.kvTokens).toBe(2048);
    expect(plan.devices[0]!.name).toBe("device:0");
    await expect(planModel(file, { devices: "2x1GiB" })).rejects.toMatchObject({ code: "OCTAVO_BAD_ARGUMENT" });
    vi.stubEnv("PATH", "/nowhere"); // Without nvidia-smi.
    await expect(planModel(file, { devices: "cuda:0" })).rejects.toMatchObject({
      code: "OCTAVO_NO_DEVICE",
      message: expect.stringMatching(/^cuda:0: .*24GiB/),
    });
    vi.unstubAllEnvs();
    await expect(planModel(join(file, "none.json"))).rejects.toMatchObject({ code: "OCTAVO_MODEL_NOT_FOUND" });
  });
});
