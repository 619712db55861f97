/**
 * `npx tsx bench/handles.ts`: what a handle costs while 1,000 and while 100,000 others are alive: allocate, use, free.
 * The ratio must stay near 1: no bridge operation looks at the other handles.
 */
import { parseArgs } from "node:util";
import { type Device, Pool, type TensorHandle } from "../ts/index.ts";

const { values } = parseArgs({
  options: { device: { type: "string", default: "cpu:0" }, live: { type: "string", default: "1000,100000" } },
});
const ROUNDS = 2000;

/** Microseconds per handle, one at a time. */
async function cost(device: Device) {
  const spec = { dtype: "float32", layout: "plain", shape: [1, 4], kind: "user", owner: "bench" } as const;
  const started = performance.now();
  for (let round = 0; round < ROUNDS; round++) {
    const [x] = await device.allocate([spec]);
    await x!.dispose();
  }
  const freed = performance.now();
  const [x] = await device.allocate([spec]);
  for (let round = 0; round < ROUNDS; round++) await (await x!.add(x!)).dispose();
  const used = performance.now();
  await x!.dispose();
  return { allocateAndFree: ((freed - started) * 1000) / ROUNDS, runAndFree: ((used - freed) * 1000) / ROUNDS };
}

await using pool = await Pool.start({ devices: values.device, threads: 1 });
const device = pool.devices[0]!;
const results: { live: number; allocateAndFree: number; runAndFree: number }[] = [];
await cost(device); // warm
for (const live of values.live.split(",").map(Number)) {
  const spec = { dtype: "int8", layout: "plain", shape: [1], kind: "user", owner: "bench" } as const;
  const handles: TensorHandle[] = [];
  while (handles.length < live) handles.push(...(await device.allocate(Array(Math.min(1000, live)).fill(spec))));
  const measured = await cost(device);
  const started = performance.now();
  await Promise.all(handles.map((handle) => handle.dispose()));
  const milliseconds = Math.round(performance.now() - started);
  results.push({ live, ...measured });
  const [create, run] = [measured.allocateAndFree, measured.runAndFree].map((time) => time.toFixed(0));
  console.log(`${live} live: allocate and free ${create} us, run and free ${run} us; all freed in ${milliseconds} ms`);
}
const [few, many] = [results[0]!, results.at(-1)!];
const ratio = (many.allocateAndFree / few.allocateAndFree).toFixed(2);
console.log(`ratio ${ratio} (allocate and free), ${(many.runAndFree / few.runAndFree).toFixed(2)} (run and free)`);
