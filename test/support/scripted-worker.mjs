#!/usr/bin/env node
// Stands in for Python and the worker it runs: a proper hello, then what SCRIPT in the environment says.
import msgpack from "msgpack-lite";
import { Dealer } from "zeromq";

const option = (name) => process.argv[process.argv.indexOf(`--${name}`) + 1];
const { SCRIPT } = process.env;
const socket = new Dealer({ linger: 0, sendHighWaterMark: 0 });
process.stdin.on("end", () => process.exit(0)).resume();
socket.connect(option("endpoint"));
await socket.send(
  msgpack.encode({
    kind: "hello",
    protocol: SCRIPT === "other-protocol" ? 99 : 5,
    token: process.env.OCTAVO_WORKER_TOKEN,
    pid: process.pid,
    versions: { python: "3.12.0", worker: "9.9.9", kernels: "9.9.9" },
    description: {
      device: option("device"),
      backend: option("backend"),
      isa: "none",
      isas: [],
      threads: 1,
      memoryTotal: 1,
      memoryAvailable: 1,
      baseline: 1,
      model: "none",
    },
  }),
);
if (SCRIPT === "endless-line") {
  // One line without an end.
  const more = "x".repeat(2 ** 20);
  for (let written = 0; written < 600; written++) await new Promise((resolve) => process.stdout.write(more, resolve));
  process.stdout.write("\nthe end\n");
}
for await (const [header] of socket) {
  const { kind, id, epoch } = msgpack.decode(header);
  if (SCRIPT === "endless-progress" && kind === "load") {
    for (let done = 1; ; done++) await socket.send(msgpack.encode({ kind: "progress", id, epoch, done, total: 2 ** 31 }));
  }
  if (SCRIPT === "unasked-progress" && kind === "bye") {
    while (true) await socket.send(msgpack.encode({ kind: "progress", id, epoch, done: 0, total: 1 }));
  }
  if (SCRIPT === "another-answer" && kind === "stats") {
    await socket.send(msgpack.encode({ kind: "ok", id: id + 1000, epoch }));
    continue;
  }
  await socket.send(msgpack.encode({ kind: "ok", id, epoch, ...(kind === "allocate" ? { bytes: 64 } : {}) }));
  if (kind === "bye") process.exit(0);
}
