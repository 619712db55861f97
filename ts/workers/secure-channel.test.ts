/** Who may speak to a pool that listens on a network. If these fail, anybody may. */
import { readdirSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { curveKeyPair, Dealer } from "zeromq";
import { PROTOCOL_VERSION } from "../../protocol/messages.ts";
import type { Peer } from "./channel.ts";
import { encodeValue } from "./codec.ts";
import { type KeyPair, listen, type SecureChannel } from "./secure-channel.ts";
import { z85 } from "./z85.ts";

let secure: SecureChannel;
let dealers: Dealer[];
let arrived: Peer[];
beforeEach(async () => {
  dealers = [];
  arrived = [];
  secure = await listen("tcp://127.0.0.1:*", 10_000);
});
afterEach(async () => {
  for (const dealer of dealers) dealer.close();
  await secure.close();
});

/** Handshakes end with one of these. */
const ENDS = ["handshake", "handshake:error:protocol", "handshake:error:auth", "handshake:error:other"] as const;

/** Says the right hello, by whatever connection it gets. `handshake`: how that ended. */
function stranger(options: { readonly keys?: KeyPair; readonly serverKey?: string }) {
  const { keys, serverKey = secure.serverKey } = options;
  const dealer = new Dealer({ linger: 0, reconnectInterval: 60_000 });
  dealers.push(dealer);
  if (keys !== undefined) {
    dealer.curvePublicKey = keys.publicKey;
    dealer.curveSecretKey = keys.secretKey;
    dealer.curveServerKey = serverKey;
  }
  const handshake = new Promise<string>((resolve) => {
    for (const end of ENDS) dealer.events.on(end, () => resolve(end));
  });
  dealer.connect(secure.url);
  const description = { device: "cpu:0", backend: "cpu", isa: "avx2", isas: [], threads: 1, model: "test" };
  const memory = { memoryTotal: 1, memoryAvailable: 1, baseline: 1 };
  void dealer.send(
    encodeValue({
      kind: "hello",
      protocol: PROTOCOL_VERSION,
      token: "right",
      pid: 1,
      versions: { python: "3", worker: "0", kernels: "0" },
      description: { ...description, ...memory },
    }),
  );
  return { dealer, handshake };
}

/** Whoever says the right hello next. */
const arrival = () =>
  new Promise<void>((resolve) => {
    secure.channel.expect("right", (peer) => {
      arrived.push(peer);
      resolve();
    });
  });

test("without encryption, with a key that is not listed, or with another server's key nobody says a word; the listed one does", async () => {
  const came = arrival();
  const listed = secure.newKeyPair();
  secure.allowList.allow(listed.publicKey);
  expect(await stranger({}).handshake).toMatch(/^handshake:error/);
  expect(await stranger({ keys: curveKeyPair() }).handshake).toBe("handshake:error:auth");
  const other = curveKeyPair();
  expect(await stranger({ keys: listed, serverKey: other.publicKey }).handshake).toBe("handshake:error:other");
  const forged = { publicKey: listed.publicKey, secretKey: other.secretKey };
  expect(await stranger({ keys: forged }).handshake).toBe("handshake:error:other");
  expect(secure.allowList.refused).toBe(1);
  expect(arrived).toEqual([]); // Any hello that had come through would be here.
  stranger({ keys: listed });
  await came;
  expect(arrived).toHaveLength(1);
});

test("a key that is forbidden again is refused from the next handshake on; who is in stays in", async () => {
  const keys = secure.newKeyPair();
  secure.allowList.allow(keys.publicKey);
  const came = arrival();
  const first = stranger({ keys });
  await came;
  secure.allowList.forbid(keys.publicKey);
  expect(await stranger({ keys }).handshake).toBe("handshake:error:auth");
  arrived[0]!.send([Buffer.from("still here")], (error) => expect.unreachable(error.message));
  expect(String((await first.dealer.receive())[0])).toBe("still here");
});

test("when nobody answers for the list, even a listed key is refused", async () => {
  const keys = secure.newKeyPair();
  secure.allowList.allow(keys.publicKey);
  await secure.allowList.close();
  void arrival();
  expect(await stranger({ keys }).handshake).toMatch(/^handshake:error/);
  expect(arrived).toEqual([]);
});

test("a second hello with the same token is turned away, not left waiting", async () => {
  const keys = secure.newKeyPair();
  secure.allowList.allow(keys.publicKey);
  const came = arrival();
  stranger({ keys });
  await came;
  const second = stranger({ keys });
  expect(String((await second.dealer.receive())[0])).toContain("bye");
  expect(arrived).toHaveLength(1);
});

test("a key of one pool opens no other pool, and the end of one is not the end of the other's list", async () => {
  const other = await listen("tcp://127.0.0.1:*", 10_000);
  const keys = other.newKeyPair();
  other.allowList.allow(keys.publicKey);
  expect(await stranger({ keys }).handshake).toBe("handshake:error:auth");
  await other.close();
  secure.allowList.allow(keys.publicKey);
  expect(await stranger({ keys }).handshake).toBe("handshake");
});

test.skipIf(process.platform !== "linux")("pools that come and go leave no descriptors behind", async () => {
  const open = () => readdirSync("/proc/self/fd").length;
  const cycle = async () => (await listen("tcp://127.0.0.1:*", 10_000)).close();
  await cycle();
  const before = open();
  for (let count = 0; count < 20; count++) await cycle();
  expect(open()).toBeLessThan(before + 20); // zeromq closes in a thread of its own.
});

test("an address that is taken is named, with what to do", async () => {
  await expect(listen(secure.url, 10_000)).rejects.toMatchObject({
    code: "OCTAVO_WORKER_START_FAILED",
    message: expect.stringMatching(new RegExp(`${secure.url}.*port 0`)),
  });
});

test("keys are written as zeromq writes them", () => {
  // https://rfc.zeromq.org/spec/32: the test case of the specification.
  expect(z85(Buffer.from("864fd26fb559f75b", "hex"))).toBe("HelloWorld");
  expect(z85(Buffer.alloc(32))).toBe("0".repeat(40));
});
