/**
 * Workers that somebody else starts. If these fail, a user's machines answer something else together than alone, hang, stay taken
 * by workers that nobody owns, or serve strangers.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { networkInterfaces } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker as Thread } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { curveKeyPair } from "zeromq";
import { type Device, Engine, Pool } from "../ts/index.ts";
import { packageRoot } from "../ts/python.ts";
import { answerTogether, randomJobs } from "./support/answers.ts";
import { type Dialling, HEARTBEAT_MS, Outside } from "./support/dialling.ts";
import { waitForEnd } from "./support/processes.ts";
import { writeTinyModel } from "./support/tiny-model.ts";

const support = fileURLToPath(new URL("support", import.meta.url));
let outside: Outside;
beforeEach(() => {
  outside = new Outside();
});
afterEach(() => outside[Symbol.asyncDispose]());

/** The promise is the time of a heartbeat, and a look each quarter of a second; a loaded machine gets some more. */
const LOSS_MS = HEARTBEAT_MS + 4000;

const lostOf = ({ lost }: Device) =>
  new Promise<void>((resolve) => {
    if (lost.aborted) resolve();
    else lost.addEventListener("abort", () => resolve(), { once: true });
  });

/** A pool of one worker from outside. */
async function one(): Promise<{ pool: Pool; worker: Dialling; file: string }> {
  let worker: Dialling | undefined;
  let file = "";
  const pool = await outside.pool((files) => {
    file = files[0]!;
    worker = outside.dial(file);
  });
  return { pool, worker: worker!, file };
}

/** Twice what it holds. */
async function double(device: Device): Promise<unknown> {
  const x = await device.tensor([1, 2], { shape: [1, 2] });
  return await (await x.add(x)).read();
}

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === "::1"));

let forgeries = 0;
/** The file with other content, under another name. */
function forged(file: string, change: Readonly<Record<string, unknown>>): string {
  const path = `${file}.${forgeries++}`;
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...change }), { mode: 0o600 });
  return path;
}

test("models on workers that dialled in say to the bit what they say on workers of this process", async () => {
  await using model = await writeTinyModel();
  const jobs = randomJobs(6, model.vocabulary, 60);
  const small = { context: 128, sequences: 3 } as const;
  // A launcher may start them before there is an orchestrator; each finds its file by its rank.
  const workers = [0, 1].map((rank) => outside.dial(outside.folder, [], { RANK: String(rank), LOCAL_RANK: "0" }));
  await workers[0]!.says(/there is no .*waiting/);
  await using pool = await outside.pool(() => {}, { devices: "cpu:0,cpu:1" });
  expect(pool.devices.map(({ name, pid }) => [name, pid])).toEqual([
    ["cpu:0", workers[0]!.pid],
    ["cpu:1", workers[1]!.pid],
  ]);
  const big = new Float32Array(3e6).map((_, index) => index); // More than one message, and no shared memory.
  const tensor = await pool.devices[1]!.tensor(big, { shape: [3000, 1000] });
  expect(Buffer.compare(Buffer.from(((await tensor.read()) as Float32Array).buffer), Buffer.from(big.buffer))).toBe(0);
  await using remote = await Engine.load(model.path, { pool, devices: "cpu:1", ...small });
  await using local = await Engine.load(model.path, { devices: "cpu:0", threads: 1, ...small });
  expect(await answerTogether(remote, jobs)).toEqual(await answerTogether(local, jobs));
  await remote.dispose();
  await pool.dispose();
  expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0]);
});

test("the files are nobody else's to read, say no secret to the caller, and are gone with the pool", async () => {
  const { pool, worker, file } = await one();
  expect(lstatSync(outside.folder).mode & 0o777).toBe(0o700);
  expect(lstatSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(outside.folder)).toEqual(["worker-0.json"]);
  const { secretKey, token } = JSON.parse(readFileSync(file, "utf8"));
  const environment = readFileSync(`/proc/${worker.pid}/environ`, "utf8");
  const command = readFileSync(`/proc/${worker.pid}/cmdline`, "utf8");
  for (const secret of [secretKey, token]) expect(`${environment}${command}${worker.log()}`).not.toContain(secret);
  await pool.dispose();
  expect(existsSync(file)).toBe(false);
  expect(await worker.ended).toBe(0);
});

const wildcard = ["tcp://0.0.0.0:0", /listens at all addresses.*--connect/] as const;
const version6 = ["tcp://[::1]:0", undefined] as const;
test.each(hasIpv6 ? [wildcard, version6] : [wildcard])(
  "a pool that listens at %s is found",
  async (listen, refusal) => {
    let dialled: Promise<void> | undefined;
    const dial = async (file: string, url: string) => {
      const wrong = refusal && outside.dial(file);
      if (wrong !== undefined) {
        expect(await wrong.ended).toBe(2);
        expect(wrong.log()).toMatch(refusal!);
      }
      outside.dial(file, ["--connect", url.replace("0.0.0.0", "localhost")]);
    };
    const pool = await Pool.start({
      devices: "cpu:0",
      launcher: {
        type: "env",
        listen,
        keys: outside.folder,
        onListening: ({ url, files: [file] }) => {
          dialled = dial(file!, url);
        },
      },
    });
    await dialled;
    expect(await double(pool.devices[0]!)).toEqual(Float32Array.of(2, 4));
    await pool.dispose();
  },
);

describe("a worker that is not let in says why, and the one that is goes on:", () => {
  test("another server's key, a key that is not listed, its own file a second time, nobody there", async () => {
    const { pool, file } = await one();
    const other = curveKeyPair();
    const refused = [
      [forged(file, { serverKey: other.publicKey }), [], /has not the keys of our file/],
      [forged(file, { ...other }), [], /refused by the orchestrator.*our key is not expected/],
      [file, [], /our key is not expected.*another worker uses it/],
      [file, ["--connect", "tcp://127.0.0.1:1"], /nobody answers at tcp:\/\/127.0.0.1:1/],
    ] as const;
    await Promise.all(
      refused.map(async ([keys, args, why]) => {
        const worker = outside.dial(keys, ["--wait", "0", ...args]);
        expect(await worker.ended).toBe(6);
        expect(worker.log()).toMatch(/octavo-error: OCTAVO_WORKER_START_FAILED/);
        expect(worker.log()).toMatch(why);
      }),
    );
    expect(await double(pool.devices[0]!)).toEqual(Float32Array.of(2, 4));
    await pool.dispose();
  });

  test("of two with the same file that come at the same moment one serves, and the other takes its place when it is gone", async () => {
    const workers: Dialling[] = [];
    await using pool = await outside.pool(([file]) => {
      workers.push(outside.dial(file!), outside.dial(file!));
    });
    const [device] = pool.devices;
    const second = workers.find(({ pid }) => pid !== device!.pid)!;
    await second.says(/another worker/);
    expect(await double(device!)).toEqual(Float32Array.of(2, 4));
    process.kill(device!.pid, "SIGKILL");
    await lostOf(device!);
    const next = await pool.restart(device!);
    expect(next.pid).toBe(second.pid);
    expect(await double(next)).toEqual(Float32Array.of(2, 4));
  });

  test("a file that others can read, and a kind of device that was not asked for", async () => {
    const pool = outside.pool(() => {}, { startDeadlineMs: 60_000 });
    pool.catch(() => {});
    const file = join(outside.folder, "worker-0.json");
    while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 10));
    const open = `${file}.open`;
    copyFileSync(file, open);
    chmodSync(open, 0o640);
    const wrong = [outside.dial(open), outside.dial(file, ["--device", "cuda:0"])];
    expect(await Promise.all(wrong.map(({ ended }) => ended))).toEqual([2, 2]);
    expect(wrong[0]!.log()).toMatch(/OCTAVO_BAD_ARGUMENT.*mode 0640/);
    expect(wrong[1]!.log()).toMatch(/OCTAVO_BAD_ARGUMENT.*cuda:0 is not of the kind.*cpu/);
    outside.dial(file);
    await (await pool).dispose();
  });
});

describe("a worker that ends", () => {
  test("is lost, loudly; a new one that dials in takes its place, empty; an engine goes on by itself", async () => {
    await using model = await writeTinyModel();
    const { pool, worker, file } = await one();
    await using _ = pool;
    await using engine = await Engine.load(model.path, { pool, context: 128, sequences: 2 });
    const before = await engine.generate([1, 2, 3], { maxTokens: 8 }).complete();
    const [device] = pool.devices;
    const x = await device!.tensor([1], { shape: [1, 1] });
    worker.process.kill("SIGKILL");
    const next = outside.dial(file); // As a supervisor would: no matter whether the pool knows already.
    await lostOf(device!);
    expect(device!.lost.reason).toMatchObject({
      code: "OCTAVO_WORKER_LOST",
      message: expect.stringContaining("cpu:0"),
    });
    await expect(x.read()).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
    const after = await engine.generate([1, 2, 3], { maxTokens: 8 }).complete();
    expect(after.ids).toEqual(before.ids);
    expect(pool.devices[0]!.pid).toBe(next.pid);
  });

  test("by SIGTERM ends in order, and is lost at once", async () => {
    const { pool, worker } = await one();
    await using _ = pool;
    const [device] = pool.devices;
    worker.process.kill("SIGTERM");
    expect(await worker.ended).toBe(0);
    await lostOf(device!);
  });

  test("not, but is stopped, is lost after the time of a heartbeat, and ends when it goes on", async () => {
    const { pool, worker } = await one();
    await using _ = pool;
    const [device] = pool.devices;
    worker.process.kill("SIGSTOP");
    const pending = device!.stats();
    await expect(pending).rejects.toMatchObject({ code: "OCTAVO_WORKER_LOST" });
    worker.process.kill("SIGCONT");
    expect(await worker.ended).toBe(5);
    expect(worker.log()).toMatch(/connection to the orchestrator is gone/);
  });

  test("not, while it does something for longer than a heartbeat, is not lost; with SIGTERM it still answers that", async () => {
    const env = { PYTHONPATH: [join(packageRoot(), "kernels"), support].join(delimiter) };
    let worker: Dialling | undefined;
    const dial = ([file]: readonly string[]) => {
      worker = outside.dial(file!, [], env);
    };
    await using pool = await outside.pool(dial, { ops: ["my_ops"] });
    const [device] = pool.devices;
    const x = await device!.zeros({ shape: [1] });
    const slow = device!.call("my_ops:sleep", [x], { seconds: (1.3 * HEARTBEAT_MS) / 1000 });
    await worker!.says(/begun/);
    worker!.process.kill("SIGTERM");
    expect(await slow).toEqual([]);
    expect(await worker!.ended).toBe(0);
  });
});

test.each(["SIGKILL", "SIGSTOP"] as const)("an orchestrator that gets %s leaves no worker behind", async (signal) => {
  const child = spawn(process.execPath, ["--import", "tsx", join(support, "listen-pool.ts"), outside.folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  try {
    const worker = outside.dial(outside.folder, ["--rank", "0"]);
    await once(child.stdout, "data");
    child.kill(signal);
    await waitForEnd([worker.pid], LOSS_MS);
    expect(await worker.ended).toBe(5);
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
});

describe("a pool that waits", () => {
  test("for nobody fails at its deadline, says for whom it waited, and leaves no file", async () => {
    const start = outside.pool(() => {}, { startDeadlineMs: 300 });
    await expect(start).rejects.toMatchObject({
      code: "OCTAVO_WORKER_START_FAILED",
      retryable: true,
      message: expect.stringMatching(/cpu:0.*dial tcp:\/\/127.0.0.1:\d+ with .*worker-0.json.*300 ms/),
    });
    expect(readdirSync(outside.folder)).toEqual([]);
  });

  test("ends with the signal's reason", async () => {
    const start = outside.pool(() => {}, { signal: AbortSignal.timeout(100) });
    await expect(start).rejects.toMatchObject({ name: "TimeoutError" });
  });

  test("for the next worker can be disposed of", async () => {
    const { pool, worker } = await one();
    const [device] = pool.devices;
    worker.process.kill("SIGKILL");
    await lostOf(device!);
    const restart = pool.restart(device!);
    restart.catch(() => {});
    await pool.dispose();
    await expect(restart).rejects.toMatchObject({ code: "OCTAVO_DISPOSED" });
  });

  test("in a thread that is terminated takes nothing else along", async () => {
    const thread = new Thread(join(support, "listen-in-thread.mjs"), { workerData: { keys: outside.folder } });
    const [said] = await once(thread, "message");
    const worker = outside.dial(outside.folder, ["--rank", "0"]);
    expect([said, (await once(thread, "message"))[0]]).toEqual(["listening", "2,4"]);
    await thread.terminate();
    expect(await worker.ended).toBe(5);
  });

  test("for two, one of which does not come, leaves the other one no reason to stay", async () => {
    let worker: Dialling | undefined;
    const start = outside.pool(([file]) => (worker = outside.dial(file!)), {
      devices: "cpu:0,cpu:1",
      startDeadlineMs: 3000,
    });
    await expect(start).rejects.toMatchObject({ message: expect.stringContaining("worker-1.json") });
    expect([0, 5]).toContain(await worker!.ended);
  });
});

describe("is refused by name:", () => {
  const env = { type: "env", listen: "tcp://127.0.0.1:0" } as const;
  const start = (launcher: object, options = {}) =>
    Pool.start({ devices: "cpu:0", launcher: launcher as never, ...options }).then(
      (pool) => pool.dispose().then(() => expect.unreachable("it started")),
      (error) => error,
    );
  const refusal = (pattern: RegExp) => ({ code: "OCTAVO_BAD_ARGUMENT", message: expect.stringMatching(pattern) });

  test("plain tcp, here and beyond this machine", async () => {
    expect(await start(env)).toMatchObject(refusal(/keys is missing.*plain tcp/));
    expect(await start({ ...env, listen: "tcp://0.0.0.0:5555" })).toMatchObject(
      refusal(/plain tcp at "tcp:\/\/0.0.0.0:5555"/),
    );
  });

  test("what is no launcher, no address, no option", async () => {
    const keys = outside.folder;
    expect(await start({ type: "ray" })).toMatchObject(refusal(/type is "ray".*"local" and "env"/));
    expect(await start({ ...env, keys, listen: "ipc:///tmp/x" })).toMatchObject(refusal(/listen is "ipc:.*tcp:/));
    expect(await start({ ...env, keys, heartbeat: 5 })).toMatchObject(refusal(/heartbeat.*did you mean heartbeatMs/));
    expect(await start({ ...env, keys, heartbeatMs: 10 })).toMatchObject(refusal(/heartbeatMs is 10/));
    expect(await start({ type: "local", keys })).toMatchObject(refusal(/no option keys/));
  });

  test("what whoever starts the workers decides", async () => {
    const launcher = { ...env, keys: outside.folder };
    expect(await start(launcher, { devices: "auto" })).toMatchObject(refusal(/devices is "auto"/));
    expect(await start(launcher, { threads: 2 })).toMatchObject(refusal(/threads.*octavo-worker --threads/));
    expect(await start(launcher, { python: "python3" })).toMatchObject(refusal(/python/));
    expect(existsSync(outside.folder)).toBe(false);
  });

  test("a folder for keys that others can enter, a file, a link", async () => {
    mkdirSync(outside.folder);
    const link = join(outside.folder, "link");
    symlinkSync(outside.folder, link);
    const file = join(outside.folder, "file");
    writeFileSync(file, "");
    for (const mode of [0o755, 0o710, 0o500]) {
      chmodSync(outside.folder, mode);
      const text = new RegExp(`mode 0${mode.toString(8)}.*0700`);
      expect(await start({ ...env, keys: outside.folder })).toMatchObject(refusal(text));
    }
    chmodSync(outside.folder, 0o700);
    expect(await start({ ...env, keys: link })).toMatchObject(refusal(/is a link/));
    expect(await start({ ...env, keys: file })).toMatchObject({
      code: "OCTAVO_FILE_NOT_READABLE",
    });
  });
});
