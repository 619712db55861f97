/** Requests and their answers over a peer that is a script: what a user's awaits rest on. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Reply } from "../../protocol/messages.ts";
import { ERRORS, type OctavoError } from "../errors.ts";
import type { Peer } from "./channel.ts";
import { encodeValue } from "./codec.ts";
import { Connection } from "./connection.ts";
import type { RequestBody } from "./requests.ts";

const EPOCH = 7;
let sent: Uint8Array[][];
let failures: OctavoError[];
let busy: boolean[];
let peer: Peer;
let connection: Connection;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  sent = [];
  failures = [];
  busy = [];
  peer = { send: (frames) => sent.push([...frames]), onMessage: () => {}, forget: () => {} };
  connection = new Connection(peer, "cpu:0", EPOCH, {
    onBusy: (state) => busy.push(state),
    onFailure: (error) => failures.push(error),
    onUnreachable: (error) => expect.unreachable(error.message),
  });
});
afterEach(() => {
  vi.useRealTimers();
});

type ReplyFields = { kind: Reply["kind"]; id: number; epoch?: number } & Record<string, unknown>;

function reply(fields: ReplyFields, payloads: Buffer[] = []): void {
  peer.onMessage(encodeValue({ epoch: EPOCH, ...fields }), payloads);
}

const ALLOCATE: RequestBody = {
  kind: "allocate",
  handles: [{ handle: 1, dtype: "int8", layout: "plain", shape: [5] }],
};
const LOAD: RequestBody = {
  kind: "load",
  items: [
    {
      form: "int8",
      handle: 1,
      parts: [{ file: "/x", offset: 0, bytes: 3, type: "F32", rows: 1, columns: 1 }],
    },
  ],
};

test("each answer reaches its own request", async () => {
  const first = connection.request(ALLOCATE);
  const second = connection.request({ kind: "stats" });
  reply({ kind: "error", id: 2, code: "OCTAVO_SHAPE_MISMATCH", message: "no", retryable: false });
  reply({ kind: "ok", id: 1, bytes: 5 });
  expect((await first).reply.bytes).toBe(5);
  await expect(second).rejects.toMatchObject({ code: "OCTAVO_SHAPE_MISMATCH", message: "cpu:0: no" });
  expect(busy).toEqual([true, false]);
});

test.each([
  ["OCTAVO_OUT_OF_MEMORY", false],
  ["OCTAVO_WORKER_LOST", true],
] as const)("whether %s may pass is what the worker said of this failure: %s", async (code, retryable) => {
  expect(ERRORS[code].retryable).toBe(!retryable);
  const request = connection.request({ kind: "drain" });
  reply({ kind: "error", id: 1, code, message: "?", retryable });
  await expect(request).rejects.toMatchObject({ code, retryable });
});

test.each(["OCTAVO_FROM_THE_FUTURE", "constructor"])("the code %s is a failed worker, not a crash", async (code) => {
  const request = connection.request({ kind: "drain" });
  reply({ kind: "error", id: 1, code, message: "?", retryable: false });
  await expect(request).rejects.toMatchObject({ code: "OCTAVO_WORKER_FAILED" });
});

test.each<[string, () => void]>([
  ["for another epoch", () => reply({ kind: "ok", id: 2, epoch: EPOCH - 1 })],
  ["to a request that was never made", () => reply({ kind: "ok", id: 99 })],
  ["given twice", () => reply({ kind: "ok", id: 1 })],
  ["of another kind", () => reply({ kind: "ok", id: 2, bytes: 1 })],
  ["with a payload that was not asked for", () => reply({ kind: "ok", id: 2 }, [Buffer.alloc(1)])],
  ["that is progress of what has none", () => reply({ kind: "progress", id: 2, done: 1, total: 2 })],
  ["that lacks what was asked for", () => reply({ kind: "ok", id: 3 })],
])("an answer %s is a failure of the worker: else a request would wait for ever", async (_, send) => {
  const first = connection.request({ kind: "drain" });
  connection.request({ kind: "drain" }).catch(() => {});
  connection.request({ kind: "stats" }).catch(() => {});
  reply({ kind: "ok", id: 1 });
  await first;
  send();
  expect(failures).toMatchObject([{ code: "OCTAVO_PROTOCOL", message: expect.stringContaining("cpu:0") }]);
});

test("a caller's own error at progress is the caller's: others go on, and its answer is dropped", async () => {
  const onProgress = () => {
    throw new Error("mine");
  };
  const request = connection.request(LOAD, undefined, { onProgress });
  const next = connection.request({ kind: "drain" });
  reply({ kind: "progress", id: 1, done: 1, total: 3 });
  await expect(request).rejects.toThrow("mine");
  reply({ kind: "ok", id: 1, bytes: 3 });
  reply({ kind: "ok", id: 2 });
  await next;
  expect(failures).toEqual([]);
});

test("an answer that breaks the protocol is a failure of the worker", () => {
  connection.request({ kind: "drain" }).catch(() => {});
  peer.onMessage(Buffer.from([0xc1]), []);
  reply({ kind: "ok", id: 1, surprise: true });
  expect(failures.map((error) => error.code)).toEqual(["OCTAVO_PROTOCOL", "OCTAVO_PROTOCOL"]);
});

test("bytes in flight are bounded, order is kept, and one big message may exceed the bound", async () => {
  const payload = new Uint8Array(40 * 2 ** 20);
  const requests = [1, 2, 3].map(() => connection.request({ kind: "write", handle: 1, offset: 0 }, payload));
  const small = connection.request({ kind: "drain" });
  expect(sent).toHaveLength(1); // Two of them would be 80 MiB.
  reply({ kind: "ok", id: 1 });
  expect(sent).toHaveLength(2);
  reply({ kind: "ok", id: 2 });
  expect(sent).toHaveLength(4); // The small one never overtakes.
  reply({ kind: "ok", id: 3 });
  reply({ kind: "ok", id: 4 });
  await Promise.all([...requests, small]);
  connection.request({ kind: "write", handle: 1, offset: 0 }, new Uint8Array(100 * 2 ** 20)).catch(() => {});
  expect(sent).toHaveLength(5);
});

test("only the oldest request's deadline runs", async () => {
  const slow = connection.request({ kind: "drain" }, undefined, { deadlineMs: 1000 });
  const next = connection.request({ kind: "drain" }, undefined, { deadlineMs: 500 });
  vi.advanceTimersByTime(900);
  reply({ kind: "ok", id: 1 });
  await slow;
  vi.advanceTimersByTime(450);
  expect(failures).toEqual([]);
  vi.advanceTimersByTime(100);
  expect(failures).toMatchObject([{ code: "OCTAVO_WORKER_LOST" }]);
  next.catch(() => {});
});

test("progress starts the deadline anew, as long as it goes on", () => {
  const seen: number[] = [];
  const options = { deadlineMs: 1000, onProgress: (done: number) => seen.push(done) };
  connection.request(LOAD, undefined, options).catch(() => {});
  for (const done of [1, 2, 3]) {
    vi.advanceTimersByTime(800);
    reply({ kind: "progress", id: 1, done, total: 3 });
  }
  expect(seen).toEqual([1, 2, 3]);
  expect(failures).toEqual([]);
  for (let step = 0; step < 4; step++) {
    vi.advanceTimersByTime(400);
    reply({ kind: "progress", id: 1, done: 3, total: 3 });
  }
  expect(seen).toEqual([1, 2, 3]);
  expect(failures).toMatchObject([{ code: "OCTAVO_WORKER_LOST" }]);
});

test("a deadline that comes after a longer one holds: nobody waits for the longer one", async () => {
  const long = connection.request({ kind: "drain" }, undefined, { deadlineMs: 300_000 });
  vi.advanceTimersByTime(1000);
  reply({ kind: "ok", id: 1 });
  await long;
  connection.request({ kind: "drain" }, undefined, { deadlineMs: 2000 }).catch(() => {});
  vi.advanceTimersByTime(1900);
  expect(failures).toEqual([]);
  vi.advanceTimersByTime(700);
  expect(failures).toHaveLength(1);
});

test("a process that was stopped for minutes has not waited: what was answered meanwhile is read first", async () => {
  const request = connection.request({ kind: "drain" }, undefined, { deadlineMs: 10_000 });
  vi.advanceTimersByTime(4000);
  const now = performance.now();
  const stopped = vi.spyOn(performance, "now").mockReturnValue(now + 600_000);
  vi.advanceTimersByTime(1000);
  stopped.mockRestore();
  expect(failures).toEqual([]);
  reply({ kind: "ok", id: 1 });
  await request;
});

test("a worker with nothing to do is asked whether it is there, and missed when it is not", async () => {
  const request = connection.request({ kind: "drain" });
  reply({ kind: "ok", id: 1 });
  await request;
  vi.advanceTimersByTime(20_000);
  expect(sent).toHaveLength(2);
  reply({ kind: "ok", id: 2 });
  vi.advanceTimersByTime(20_000);
  expect(sent).toHaveLength(3);
  vi.advanceTimersByTime(35_000);
  expect(failures).toMatchObject([{ code: "OCTAVO_WORKER_LOST" }]);
});

test("a step over its deadline is a step timeout", () => {
  const sizes = { T: 0, S: 0, B: 0, J: 0, H: 0, D: 0, Q: 0 };
  connection.request({ kind: "step", program: 1, sizes }, undefined, { deadlineMs: 10 }).catch(() => {});
  vi.advanceTimersByTime(11);
  expect(failures).toMatchObject([{ code: "OCTAVO_STEP_TIMEOUT" }]);
});

test("a message out of the protocol's bounds is refused before it is sent", async () => {
  await expect(connection.request({ kind: "free", handles: [] })).rejects.toMatchObject({ code: "OCTAVO_PROTOCOL" });
  await expect(connection.request({ kind: "free", handles: [1.5] })).rejects.toMatchObject({ code: "OCTAVO_PROTOCOL" });
  expect(sent).toEqual([]);
});
