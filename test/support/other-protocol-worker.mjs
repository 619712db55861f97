#!/usr/bin/env node
// Stands in for `python -m octavo_worker` of another release: says a proper hello, but in protocol 99.
import msgpack from "msgpack-lite";
import { Dealer } from "zeromq";

const option = (name) => process.argv[process.argv.indexOf(`--${name}`) + 1];
const socket = new Dealer({ linger: 0 });
socket.connect(option("endpoint"));
await socket.send(
  msgpack.encode({
    kind: "hello",
    protocol: 99,
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
process.stdin.on("end", () => process.exit(0)).resume();
