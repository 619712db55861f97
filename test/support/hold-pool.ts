/** A program that starts a pool with work in it, prints what it has as JSON, and then waits to be killed. */
import { Pool } from "../../ts/pool/pool.ts";

const pool = await Pool.start({ devices: process.argv[2] ?? "reference:0", threads: 2 });
for (const device of pool.devices) await device.tensor(new Float32Array(1e6), { shape: [1000, 1000] });
process.stdout.write(`${JSON.stringify({ pids: pool.devices.map((device) => device.pid) })}\n`);
setInterval(() => {}, 1000);
