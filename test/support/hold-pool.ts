/**
 * A program that starts a pool with work in it, prints what it has as JSON, and then waits to be killed. For each line on
 * its stdin the first device is asked for something that may take a second.
 */
import { createInterface } from "node:readline";
import { Pool } from "../../ts/pool.ts";

const pool = await Pool.start({ devices: process.argv[2] ?? "reference:0", threads: 2 });
for (const device of pool.devices) await device.tensor(new Float32Array(1e6), { shape: [1000, 1000] });
const say = (text: string) => process.stdout.write(`${text}\n`);
say(JSON.stringify({ pids: pool.devices.map((device) => device.pid) }));
createInterface({ input: process.stdin }).on("line", async () => {
  const answer = pool.devices[0]!.request({ kind: "drain" }, undefined, { deadlineMs: 1000 });
  say("asked");
  say(await answer.then(() => "answered", String));
});
setInterval(() => {}, 1000);
