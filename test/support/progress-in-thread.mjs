// In a thread: has a tensor loaded by the Python of `workerData`, which goes on for ever, and disposes of the pool meanwhile.
import { setTimeout } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { register } from "tsx/esm/api";

register();
const { Pool } = await import("../../ts/pool.ts");
const pool = await Pool.start({ ...workerData, threads: 1, stopDeadlineMs: 300 });
const device = pool.devices[0];
const target = await device.zeros({ shape: [4] });
const part = { file: "/nowhere", offset: 0, bytes: 16, type: "F32", rows: 1, columns: 4 };
const loading = device.load([{ form: "float", target, parts: [part] }]).catch((error) => error.code);
await setTimeout(50);
await pool.dispose();
parentPort.postMessage(await loading);
