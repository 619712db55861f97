import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Dealer } from "zeromq";
import { type Hello, PROTOCOL_VERSION } from "../../protocol/messages.ts";
import { Channel, type Door, type Peer } from "./channel.ts";
import { encodeValue } from "./codec.ts";

let channel: Channel;
let door: Door;
let dealer: Dealer;
beforeEach(async () => {
  channel = await Channel.open();
  door = channel.door();
  dealer = new Dealer({ linger: 0 });
  dealer.connect(door.endpoint);
});
afterEach(async () => {
  dealer.close();
  await channel.close();
});

function hello(token: string): Hello {
  const description = { device: "cpu:0", isa: "avx2", isas: [] as string[], threads: 1 };
  return {
    kind: "hello",
    protocol: PROTOCOL_VERSION,
    token,
    pid: 1,
    versions: { python: "3", worker: "0", kernels: "0" },
    description: { ...description, backend: "cpu", model: "test", memoryTotal: 1, memoryAvailable: 1, baseline: 1 },
  };
}

/** The peers that say hello with the token "right". */
function arrivals(): Peer[] {
  const peers: Peer[] = [];
  channel.expect("right", (peer) => peers.push(peer));
  return peers;
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition() && tries < 500; tries++) await setTimeout(10);
}

test("a stranger without the token is ignored, whatever it sends, and the right one is not", async () => {
  const peers = arrivals();
  await dealer.send(encodeValue(hello("wrong")));
  await dealer.send("garbage");
  await dealer.send(["", "", ""]);
  await dealer.send(encodeValue({ kind: "ok", id: 1, epoch: 1 }));
  const right = new Dealer({ linger: 0 });
  right.connect(door.endpoint);
  await right.send(encodeValue(hello("right")));
  await until(() => peers.length > 0);
  expect(peers).toHaveLength(1);
  right.close();
});

test("a token is good for one hello", async () => {
  const peers = arrivals();
  const late = new Dealer({ linger: 0 });
  late.connect(door.endpoint);
  await dealer.send(encodeValue(hello("right")));
  await until(() => peers.length > 0);
  await late.send(encodeValue(hello("right")));
  await setTimeout(50);
  expect(peers).toHaveLength(1);
  late.close();
});

test("messages arrive in order both ways, and none of a forgotten peer", async () => {
  const peers = arrivals();
  await dealer.send(encodeValue(hello("right")));
  await until(() => peers.length > 0);
  const [peer] = peers;
  const seen: string[] = [];
  peer!.onMessage = (header) => seen.push(header.toString());
  for (const text of ["a", "b", "c"]) peer!.send([Buffer.from(text)], (error) => expect.unreachable(error.message));
  for (const text of ["a", "b", "c"]) {
    expect(String((await dealer.receive())[0])).toBe(text);
    await dealer.send(text);
  }
  await until(() => seen.length === 3);
  expect(seen).toEqual(["a", "b", "c"]);
  peer!.forget();
  await dealer.send("d");
  await setTimeout(50);
  expect(seen).toHaveLength(3);
});

test("only this user can reach the socket, and nothing is left of it", async () => {
  const file = door.endpoint.replace("ipc://", "");
  expect(statSync(dirname(file)).mode & 0o777).toBe(0o700);
  expect(existsSync(file)).toBe(true);
  await channel.close();
  expect(existsSync(dirname(file))).toBe(false);
});

test("a closed door leaves no file and lets nobody in; who is in stays in, and another door opens", async () => {
  const peers = arrivals();
  await dealer.send(encodeValue(hello("right")));
  await until(() => peers.length > 0);
  door.close();
  expect(existsSync(dirname(door.endpoint.replace("ipc://", "")))).toBe(false);
  const echoed = new Promise((resolve) => {
    peers[0]!.onMessage = (header) => resolve(header.toString());
  });
  peers[0]!.send([Buffer.from("a")], (error) => expect.unreachable(error.message));
  await dealer.send((await dealer.receive())[0]!);
  expect(await echoed).toBe("a");
  const next = channel.door();
  const late = new Dealer({ linger: 0 });
  late.connect(next.endpoint);
  channel.expect("right", (peer) => peers.push(peer));
  await late.send(encodeValue(hello("right")));
  await until(() => peers.length > 1);
  expect(peers).toHaveLength(2);
  late.close();
});

test("a folder for temporary files that cannot be used is named, with what to do", async () => {
  vi.stubEnv("TMPDIR", "/nowhere");
  expect(() => channel.door()).toThrow(
    expect.objectContaining({
      code: "OCTAVO_WORKER_START_FAILED",
      message: expect.stringMatching(/\/nowhere.*TMPDIR/),
    }),
  );
  vi.unstubAllEnvs();
});
