// In a thread: waits for a worker to dial in, has it add, and stays. `workerData`: the folder for keys.
import { parentPort, workerData } from "node:worker_threads";
import { register } from "tsx/esm/api";

register();
const { Pool } = await import("../../ts/pool.ts");
const onListening = () => parentPort.postMessage("listening");
const launcher = { type: "env", listen: "tcp://127.0.0.1:0", onListening, ...workerData };
const pool = await Pool.start({ devices: "cpu:0", launcher });
const x = await pool.devices[0].tensor([1, 2], { shape: [1, 2] });
parentPort.postMessage(String(await (await x.add(x)).read()));
setInterval(() => {}, 1000);
