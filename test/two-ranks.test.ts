/**
 * A deployment of two ranks on two workers. There is no sharding yet: both ranks run all of the model, so what is held to here is
 * that they are loaded, stepped, lost, restored and freed as one.
 */
import { expect, it } from "vitest";
import type { Sizes } from "../protocol/messages.ts";
import { ModelDeployment } from "../ts/deploy/deployment.ts";
import type { StepProgram } from "../ts/deploy/group.ts";
import { Recovery } from "../ts/deploy/recovery.ts";
import { OctavoError } from "../ts/errors.ts";
import { openModel } from "../ts/model/source/index.ts";
import { needsOf } from "../ts/plan/needs.ts";
import { rankPrograms } from "../ts/plan/programs.ts";
import { Pool } from "../ts/pool.ts";
import { packInputs, unpackOutputs } from "../ts/program/payload.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

const SIZES: Sizes = { T: 1, S: 1, B: 1, J: 1, H: 0, D: 0, Q: 0 };

/** The likeliest token after token 5. */
async function drawn(program: StepProgram): Promise<number> {
  const [zero, none] = [Int32Array.of(0), new Int32Array(0)];
  const payload = packInputs(program, SIZES, {
    ...{ tokens: Int32Array.of(5), positions: zero, slots: zero, pages: zero, lengths: Int32Array.of(1) },
    ...{ starts: Int32Array.of(0, 1), rows: zero, settings: Float32Array.of(0, 1, 0, 1, 0, 0) },
    ...{ counters: Int32Array.of(0, 0, 0, 1, -1, -1, 0), historyStarts: Int32Array.of(0, 0), history: none },
    ...{ biasStarts: Int32Array.of(0, 0), biasIds: none, biasValues: new Float32Array(0), masks: none },
  });
  const { payload: returned } = await program.step(SIZES, payload);
  return Number(unpackOutputs(program, SIZES, returned).ids![0]);
}

it("two ranks are loaded, stepped, restored after the loss of one, and freed as one", async () => {
  await using model = await writeTinyModel();
  await using pool = await Pool.start({ devices: "cpu:0,cpu:1", threads: 2 });
  const manifest = await openModel(model.path);
  const { settings, ranks } = needsOf(manifest, { context: 64, sequences: 1 });
  const deployment = await ModelDeployment.plan(
    {
      ...{ pool, ownsPool: false, devices: pool.devices, name: "tiny", manifest },
      needs: { settings, ranks: [ranks[0]!, ranks[0]!] },
      programs: (...of) => [rankPrograms(...of)[0]!, rankPrograms(...of)[0]!],
    },
    {},
  );
  const steps: number[] = [];
  await deployment.load({ onProgress: (done, total) => steps.push(done / total) });
  expect([steps.at(-1), steps.every((share) => share <= 1)]).toEqual([1, true]);
  const books = () => deployment.devices.map(({ ledger }) => [ledger.planned, ledger.committed]);
  const [first, second] = books();
  expect(first).toEqual(second);
  expect(first![0]).toBe(first![1]);
  const expected = await drawn(deployment.program);

  let lost: (reason: OctavoError) => void = () => {};
  const loss = new Promise<OctavoError>((resolve) => {
    lost = resolve;
  });
  const recovery = new Recovery(deployment, {
    onLost: async (reason) => lost(reason),
    onBack() {},
    onFailed() {},
    isWanted: () => true,
    served: () => 1,
  });
  const [survivor, victim] = deployment.devices;
  process.kill(victim!.pid, "SIGSTOP"); // So that it cannot answer before it dies.
  const ended = drawn(deployment.program);
  process.kill(victim!.pid, "SIGKILL");
  await expect(ended).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
  expect((await loss).message).toContain("cpu:1");
  await recovery.ready();
  expect(deployment.devices[0]).toBe(survivor);
  expect(deployment.devices[1]).not.toBe(victim);
  expect(books()).toEqual([first, second]);
  expect(await drawn(deployment.program)).toBe(expected);

  await recovery.dispose(new OctavoError("OCTAVO_DISPOSED", "over"));
  expect(books()).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(await Promise.all(pool.devices.map(async (device) => (await device.stats()).handleBytes))).toEqual([0, 0]);
});
