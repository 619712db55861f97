/**
 * In a realm of its own, as Jest runs tests (`pool: "vmForks"`, vitest.config.ts): errors and arrays of Node's own modules
 * are then no instances of the `Error` and `Uint8Array` that the code sees. If these fail, Octavo cannot be tested with Jest.
 */
import { readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Engine, OctavoError, Pool } from "../ts/index.ts";
import { DEVICE } from "./support/devices.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

/** No `await using`: another realm of Node 20 has no `Symbol.asyncDispose`. */
const owned: { dispose(): Promise<void> }[] = [];
function own<T extends { dispose(): Promise<void> }>(thing: T): T {
  owned.push(thing);
  return thing;
}
afterEach(async () => {
  for (const thing of owned.splice(0)) await thing.dispose();
});

test("this is another realm", () => {
  const error = (() => {
    try {
      readFileSync(join(tmpdir(), "no such file"));
    } catch (cause) {
      return cause;
    }
  })();
  expect(error instanceof Error).toBe(false);
});

test("tensors go in and out, and errors are errors", async () => {
  const pool = own(await Pool.start({ devices: DEVICE, threads: 1 }));
  const device = pool.devices[0]!;
  const x = await device.tensor(Float32Array.of(1, 2), { shape: [1, 2] });
  const w = await device.quantize(Float32Array.of(1, 0, 0, 1), { shape: [2, 2] });
  expect(Math.round((await (await x.linear(w)).read())[1]!)).toBe(2);
  const big = await device.tensor(new Int32Array(300_000).fill(7), { shape: [300_000] });
  expect((await big.read())[299_999]).toBe(7);
  const error = await device.tensor([1], { shape: [2] }).catch((cause: unknown) => cause);
  expect(OctavoError.isInstance(error) && error.code).toBe("OCTAVO_SHAPE_MISMATCH");
});

test("a model loads and answers, with a signal; one that is not there is not found", async () => {
  const model = await writeTinyModel();
  own({ dispose: async () => rmSync(model.path, { recursive: true, force: true }) });
  const { signal } = new AbortController();
  const loaded = await Engine.load(model.path, { devices: DEVICE, threads: 1, context: 128, signal });
  const engine = own(loaded);
  const { ids } = await engine.generate([1, 2], { maxTokens: 3, ignoreEos: true, signal }).complete();
  expect(ids).toHaveLength(3);
  await expect(Engine.load(join(model.path, "none"))).rejects.toMatchObject({ code: "OCTAVO_MODEL_NOT_FOUND" });
  await expect(Pool.start({ devices: DEVICE, python: "/nowhere/python" })).rejects.toMatchObject({
    code: "OCTAVO_WORKER_START_FAILED",
  });
});
