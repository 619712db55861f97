/** What is foreseen is what is taken, to the byte. If this fails, plans that fit run out of memory in the middle of a load. */
import { expect, it } from "vitest";
import { ResidentModel, residentBytes } from "../ts/deploy/resident.ts";
import { buildModel, type ModelOptions } from "../ts/model/families/index.ts";
import { openModel } from "../ts/model/source/index.ts";
import { Pool } from "../ts/pool.ts";
import { fuse } from "../ts/program/fuse.ts";
import { DEVICE } from "./support/devices.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

it("programs of 16-bit and int8 weights share what they can, and take the bytes that were foreseen", async () => {
  await using model = await writeTinyModel({ family: "qwen2", tied: true });
  const manifest = await openModel(model.path);
  const limits = { T: 32, S: 32, B: 1, J: 4, H: 0, D: 0, Q: 0 };
  const shared = { head: "16bit", headThreshold: "all", context: 64, pages: 4, rows: 32, kv: "int16" } as const;
  const options: ModelOptions[] = [
    { ...shared, weights: "16bit", threshold: 0, output: { type: "score", reference: "write" } },
    { ...shared, weights: "int8", threshold: 0, output: { type: "score", reference: "read" } },
    { ...shared, weights: "int8", threshold: "all", output: { type: "logits" } },
  ];
  const programs = options.map((each) => fuse(buildModel(manifest, each)));
  await using pool = await Pool.start({ devices: DEVICE, threads: 1 });
  const device = pool.devices[0]!;
  const resident = new ResidentModel(device, manifest, "test");
  for (const [index, program] of programs.entries()) {
    await resident.defineProgram(program, limits);
    expect(device.ledger.committed).toBe(residentBytes(programs.slice(0, index + 1), limits, device.description));
  }
  expect((await device.stats()).handleBytes).toBe(device.ledger.committed);
  const apart = programs.reduce((sum, program) => sum + residentBytes([program], limits, device.description), 0);
  expect(device.ledger.committed).toBeLessThan(0.8 * apart);
});
