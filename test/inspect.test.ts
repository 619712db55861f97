/** `octavo inspect --outliers` finds what is known to be there; otherwise the thresholds that users choose by it are wrong. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { expect, it } from "vitest";
import { evaluationText } from "../ts/eval/text.ts";
import { inspectOutliers } from "../ts/inspect/inspect.ts";
import { CLI } from "./support/cli.ts";
import { DEVICE, DEVICES } from "./support/devices.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

const planted = { gain: 32, channels: [24] };

it("finds a planted outlier feature in every layer that reads it, alike on every device, and on two together", async () => {
  await using model = await writeTinyModel({ planted });
  const text = (await evaluationText(undefined)).slice(0, 2000);
  const results = [];
  for (const devices of [...DEVICES, "cpu:0,cpu:1"])
    results.push(await inspectOutliers(model.path, text, { devices, threads: 2, tokens: 300, window: 200 }));
  for (const result of results) expect(result).toEqual(results[0]);
  const { inspection } = results[0]!;
  expect(inspection).toMatchObject({ model: model.path, threshold: 6, tokens: 300, window: 200, layers: 2 });
  expect(inspection.projections.map(({ projection, width }) => [projection, width])).toEqual([
    ["self_attn.qkv_proj", 64],
    ["self_attn.o_proj", 64],
    ["mlp.gate_up_proj", 64],
    ["mlp.down_proj", 112],
  ]);
  for (const { projection, dimensions } of inspection.projections) {
    if (!/qkv|gate_up/.test(projection)) continue;
    const systematic = dimensions.filter((one) => one.systematic).map(({ dimension }) => dimension);
    // 5 is the channel that every tiny model has (its norm weights are 9 there).
    expect(systematic.sort((a, b) => a - b)).toEqual([5, 24]);
  }
});

it("prints one JSON document and writes a picture", async () => {
  await using model = await writeTinyModel({ planted });
  const folder = await mkdtemp(join(tmpdir(), "octavo-inspect-"));
  try {
    const svg = join(folder, "map.svg");
    const flags = ["--outliers", "--devices", DEVICE, "--tokens", "60", "--window", "50", "--threshold", "20"];
    const arguments_ = [...CLI, "inspect", model.path, ...flags, "--svg", svg, "--json"];
    const { stdout, stderr } = await execa(process.execPath, arguments_);
    expect(stderr).toBe("");
    const document = JSON.parse(stdout);
    expect(Object.keys(document)).toEqual(["model", "threshold", "tokens", "window", "layers", "projections"]);
    expect(document.projections[0].layers).toHaveLength(2);
    expect(await readFile(svg, "utf8")).toMatch(/^<svg .*60 tokens.*<path fill/s);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it("refuses what it cannot do before a worker starts", async () => {
  await using model = await writeTinyModel();
  const refused = expect.objectContaining({ code: "OCTAVO_BAD_ARGUMENT" });
  await expect(inspectOutliers(model.path, "words", { threshold: 0, devices: DEVICE })).rejects.toThrow(refused);
  await expect(inspectOutliers(model.path, "", { devices: DEVICE })).rejects.toThrow(refused);
  await expect(inspectOutliers(model.path, "words", { window: 4096, devices: DEVICE })).rejects.toThrow(refused);
});
