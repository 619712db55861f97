import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Dealer } from "zeromq";
import { type Hello, PROTOCOL_VERSION } from "../../protocol/messages.ts";
import { Channel, type Peer } from "./channel.ts";
import { encodeValue } from "./codec.ts";

let channel: Channel;
let dealer: Dealer;
beforeEach(async () => {
  channel = await Channel.open();
  dealer = new Dealer({ linger: 0 });
  dealer.connect(channel.endpoint);
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
  right.connect(channel.endpoint);
  await right.send(encodeValue(hello("right")));
  await until(() => peers.length > 0);
  expect(peers).toHaveLength(1);
  right.close();
});

test("a token is good for one hello", async () => {
  const peers = arrivals();
  const late = new Dealer({ linger: 0 });
  late.connect(channel.endpoint);
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
  const file = channel.endpoint.replace("ipc://", "");
  expect(statSync(dirname(file)).mode & 0o777).toBe(0o700);
  const other = await Channel.open();
  const path = other.endpoint.replace("ipc://", "");
  expect(existsSync(path)).toBe(true);
  await other.close();
  expect(existsSync(dirname(path))).toBe(false);
});
