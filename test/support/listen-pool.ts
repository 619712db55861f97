/** A program that waits for one worker to dial in, says when it has, and then waits to be killed. Its argument: the folder for keys. */
import { Pool } from "../../ts/pool.ts";
import { HEARTBEAT_MS } from "./dialling.ts";

const [, , keys] = process.argv;
const say = (text: string) => process.stdout.write(`${text}\n`);
const listen = "tcp://127.0.0.1:0";
await Pool.start({ devices: "cpu:0", launcher: { type: "env", listen, keys: keys!, heartbeatMs: HEARTBEAT_MS } });
say("ready");
setInterval(() => {}, 1000);
