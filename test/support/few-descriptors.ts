/**
 * Starts a pool, loads an engine and replaces its worker with few free file descriptors. Prints what came of each as a line
 * of JSON: [what, free descriptors, "works" or the error].
 */
import { closeSync, openSync } from "node:fs";
import { devNull } from "node:os";
import { setTimeout } from "node:timers/promises";
import { Engine, OctavoError, Pool } from "../../ts/index.ts";

const [model = "", devices = ""] = process.argv.slice(2);
await setTimeout(50); // tsx still has files open.

/** All descriptors but `free` are taken meanwhile. */
async function tell(what: string, free: number, action: () => Promise<unknown>): Promise<void> {
  const held: number[] = [];
  try {
    while (true) held.push(openSync(devNull, "r"));
  } catch {}
  for (const descriptor of held.splice(0, free)) closeSync(descriptor);
  const outcome = await action().then(
    () => "works",
    (error) => (OctavoError.isInstance(error) ? { code: error.code, message: error.message } : String(error)),
  );
  for (const descriptor of held) closeSync(descriptor);
  console.log(JSON.stringify([what, free, outcome]));
}

const startPool = async () => (await Pool.start({ devices, threads: 1 })).dispose();
for (const free of [...Array(16).keys(), 24, 30]) await tell("pool", free, startPool);

const loadEngine = async () => (await Engine.load(model, { devices, threads: 1 })).dispose();
for (const free of [0, 1, 3, 8, 14, 24]) await tell("engine", free, loadEngine);

const engine = await Engine.load(model, { devices, threads: 1 });
const ask = () => engine.generate([1, 2, 3], { maxTokens: 1 }).complete();
for (const free of [0, 1, 4, 8]) {
  const device = engine.deployment.devices[0]!;
  process.kill(device.pid, "SIGKILL");
  await tell("restart", free, async () => {
    while (!device.lost.aborted) await setTimeout(5);
    await ask();
  });
  await tell("restart", 200, ask); // 200: more than there are.
}
await engine.dispose();
