/** The command line as scripts and people meet it: real processes, real workers. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CLI } from "./support/cli.ts";
import { waitForEnd } from "./support/processes.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

function octavo(args: readonly string[], options: { input?: string; env?: Readonly<Record<string, string>> } = {}) {
  return execa(process.execPath, [...CLI, ...args], {
    reject: false,
    input: options.input ?? "",
    env: { NO_COLOR: "1", ...options.env },
    timeout: 50_000,
  });
}

/** Direct children of a process. */
function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
  );
}

let model: TinyModel;
beforeAll(async () => {
  model = await writeTinyModel();
});
afterAll(() => model[Symbol.asyncDispose]());

describe("octavo run", () => {
  it("prints one JSON document with the text, its ids, speed and memory", async () => {
    const { stdout, exitCode, stderr } = await octavo(["run", "-m", model.path, "--raw", "hello", "-n", "5", "--json"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const document = JSON.parse(stdout);
    expect(document).toEqual({
      model: model.path,
      text: expect.any(String),
      ids: expect.any(Array),
      promptTokens: expect.any(Number),
      completionTokens: document.ids.length,
      finishReason: expect.stringMatching(/^(stop|length)$/),
      timings: {
        loadMs: expect.any(Number),
        firstTokenMs: expect.any(Number),
        prefillTokensPerSecond: expect.any(Number),
        decodeTokensPerSecond: expect.any(Number),
      },
      memory: [
        {
          device: "cpu:0",
          planned: expect.any(Number),
          measured: expect.any(Number),
          unattributed: expect.any(Number),
        },
      ],
    });
    expect(document.memory[0].planned).toBeGreaterThan(0);
  });

  it("prints the answer on stdout, and what it cost on stderr", async () => {
    const { stdout, stderr, exitCode } = await octavo(["run", "-m", "smollm2", "What is 2 + 2?", "-n", "8"]);
    expect(exitCode).toBe(0);
    expect(stdout.length).toBeGreaterThan(3);
    expect(stdout).not.toMatch(/tokens\/s/);
    expect(stderr).toMatch(/prompt \d+ tokens at .*\ncpu:0: planned|cpu:0: planned/);
    expect(stderr).not.toContain("\x1b");
  });

  it("takes the prompt from stdin, and draws the same tokens for the same seed", async () => {
    const flags = ["run", "-m", model.path, "--raw", "--json", "-n", "12", "--temperature", "1", "--seed", "7"];
    const [argument, stdin] = await Promise.all([octavo([...flags, "hello"]), octavo(flags, { input: "hello\n" })]);
    expect(JSON.parse(stdin.stdout).ids).toEqual(JSON.parse(argument.stdout).ids);
  });

  it("puts what is piped in after the prompt", async () => {
    const flags = ["run", "-m", model.path, "--raw", "--json", "-n", "3"];
    const [joined, whole] = await Promise.all([
      octavo([...flags, "Summarise:"], { input: "the rain\nin spain\n" }),
      octavo([...flags, "Summarise:\n\nthe rain\nin spain"]),
    ]);
    expect(JSON.parse(joined.stdout).promptTokens).toBe(JSON.parse(whole.stdout).promptTokens);
    expect(JSON.parse(joined.stdout).ids).toEqual(JSON.parse(whole.stdout).ids);
  });

  it("refuses an empty prompt before it loads anything", async () => {
    for (const [args, input] of [
      [[""], ""],
      [["  "], ""],
      [[], "\n"],
    ] as const) {
      const { exitCode, stderr, stdout } = await octavo(["run", ...args], { input });
      expect([exitCode, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(/^error OCTAVO_EMPTY_PROMPT: /);
    }
  });

  it("refuses a stdin that does not end", async () => {
    const options = { reject: false, stdin: { file: "/dev/zero" }, timeout: 50_000 } as const;
    const { exitCode, stderr } = await execa(process.execPath, [...CLI, "run", "-"], options);
    expect([exitCode, stderr]).toEqual([
      1,
      expect.stringMatching(/^error OCTAVO_FILE_NOT_READABLE: stdin goes on past /),
    ]);
  });

  it("stopped by Ctrl-C while it waits for its prompt exits with 130", async () => {
    const run = execa(process.execPath, [...CLI, "run"], { reject: false, stdin: "pipe" });
    // More than a pipe holds: when it is gone, the prompt is being read.
    await new Promise((resolve) => run.stdin.write("hello ".repeat(100_000), resolve));
    run.kill("SIGINT");
    expect((await run).exitCode).toBe(130);
  });

  it("stopped by Ctrl-C in the middle of an answer exits with 130 and leaves no worker", async () => {
    const run = octavo(["run", "-m", "smollm2", "Tell a long story.", "-n", "4000"]);
    await new Promise((resolve) => run.stdout.once("data", resolve));
    const workers = childrenOf(run.pid ?? 0);
    expect(workers.length).toBeGreaterThan(0);
    run.kill("SIGINT");
    const { exitCode, stderr } = await run;
    expect([exitCode, stderr]).toEqual([130, ""]);
    await waitForEnd(workers, 2000);
  });

  it("stopped by Ctrl-C while it loads exits with 130 and leaves no worker", async () => {
    const run = octavo(["run", "-m", "smollm2", "hi"]);
    let workers: number[] = [];
    while (workers.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      workers = childrenOf(run.pid ?? 0);
    }
    run.kill("SIGINT");
    expect((await run).exitCode).toBe(130);
    await waitForEnd(workers, 2000);
  });
});

describe("octavo chat", () => {
  it("answers each line of a pipe, knowing what was said before", async () => {
    const flags = ["chat", "-m", "smollm2", "-n", "8", "--json"];
    const { stdout, exitCode, stderr } = await octavo(flags, { input: "My name is Ada.\nWhat is my name?\n" });
    expect([exitCode, stderr]).toEqual([0, ""]);
    const answers = stdout.split("\n").map((line) => JSON.parse(line));
    expect(answers.length).toBe(2);
    expect(answers[1].usage.promptTokens).toBeGreaterThan(answers[0].usage.promptTokens + 8);
  });

  it("forgets the oldest turns of a conversation that has outgrown the context, however long its texts", async () => {
    const long = "hello ".repeat(3000); // Two of them are more than 4,096 tokens, and each more than becomes tokens at once.
    const flags = ["chat", "-m", "smollm2", "-n", "2", "--json"];
    const { stdout, exitCode } = await octavo(flags, { input: `${long}\n${long}\n` });
    const answers = stdout.split("\n").map((line) => JSON.parse(line));
    expect(exitCode).toBe(0);
    expect(answers[1].usage.promptTokens).toBe(answers[0].usage.promptTokens);
  });

  it("refuses a line that begins like a command, instead of asking the model about it", async () => {
    const { exitCode, stdout, stderr } = await octavo(["chat", "-m", model.path, "-n", "2"], {
      input: "/frob\nhello\n",
    });
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^error OCTAVO_BAD_ARGUMENT: there is no command \/frob; \/clear /);
  });
});

describe("octavo program", () => {
  it("prints the program of a model of which only the config is there, as text and as JSON", async () => {
    const flags = ["program", join(model.path, "config.json"), "--sequences", "2"];
    const [text, json] = await Promise.all([octavo(flags), octavo([...flags, "--json", "--unfused"])]);
    expect([text.exitCode, text.stderr, json.exitCode, json.stderr]).toEqual([0, "", 0, ""]);
    expect(text.stdout).toMatch(/^ {3}0 {2}embed .*\n {6}<- tokens +int32 \[T\] +input tokens\n/m);
    const { format, version, options, limits, ops } = JSON.parse(json.stdout);
    expect({ format, version }).toEqual({ format: "octavo-program", version: 2 });
    expect([options.rows, limits.B, ops[0].op]).toEqual([2, 2, "embed"]);
    expect(ops.map(({ op }: { op: string }) => op)).not.toContain("rope_append");
  });

  it("says which head it has: int8 with its own threshold, 16-bit with 16-bit weights or when asked for", async () => {
    const programOf = async (...flags: string[]) => {
      const { stdout } = await octavo(["program", join(model.path, "config.json"), "--json", ...flags]);
      const { options, ops } = JSON.parse(stdout);
      const [norm, head] = ops.slice(-3) as { op: string; attributes: Record<string, unknown> }[];
      return [options.head, options.headThreshold, head!.op, norm!.attributes.decompose];
    };
    const runs = [[], ["--head-threshold", "6"], ["--weights", "16bit"], ["--head", "16bit"], ["--head", "auto"]];
    const programs = await Promise.all(runs.map((flags) => programOf(...flags)));
    const [int8, float] = [
      ["int8", "all", "linear_int8", "all"],
      ["16bit", "all", "linear_float", undefined],
    ];
    expect(programs).toEqual([int8, ["int8", 6, "linear_int8", "threshold"], float, float, int8]);
  });

  it("asks a device for the launches of each op", async () => {
    const flags = ["program", model.path, "--context", "64", "--devices", "triton-interpreter:0", "--json"];
    const { stdout, exitCode } = await octavo(flags);
    expect(exitCode).toBe(0);
    const launches = JSON.parse(stdout).ops.map((op: { launches: number }) => op.launches);
    expect(launches.every((count: number) => count >= 1 && count < 10)).toBe(true);
  }, 60_000);

  it("refuses a rank that is not there", async () => {
    const { exitCode, stderr } = await octavo(["program", model.path, "--rank", "1"]);
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(/^error OCTAVO_BAD_ARGUMENT: --rank 1: there is only rank 0/),
    ]);
  });
});

describe("octavo replay", () => {
  it("runs a trace again, and exits with 1 where results are not the trace's", async () => {
    const folder = join(model.path, "trace");
    const run = ["run", "-m", model.path, "--raw", "hello", "-n", "3", "--devices", "cpu:0", "--context", "64"];
    expect(await octavo(run, { env: { OCTAVO_TRACE: folder } })).toMatchObject({ exitCode: 0 });
    const again = await octavo(run, { env: { OCTAVO_TRACE: folder } });
    expect([again.exitCode, again.stderr]).toEqual([
      1,
      expect.stringMatching(/OCTAVO_FILE_NOT_READABLE: .*holds files/),
    ]);
    const replay = ["replay", folder, "--device", "cpu:0", "--threads", "1"];
    const equal = await octavo([...replay, "--against", "reference:0", "--json"]);
    expect([equal.exitCode, JSON.parse(equal.stdout)]).toEqual([0, { devices: ["cpu:0", "reference:0"], steps: 3 }]);
    const several = await octavo([...run, "--devices", "cpu:0,cpu:1"], { env: { OCTAVO_TRACE: `${folder}2` } });
    expect([several.exitCode, several.stderr]).toEqual([
      2,
      expect.stringMatching(/OCTAVO_BAD_ARGUMENT: OCTAVO_TRACE .*one device, not on 2/),
    ]);
    const steps = join(folder, "steps.jsonl");
    const lines = readFileSync(steps, "utf8").split("\n");
    lines[1] = lines[1]!.replace(/"ids":"\w+"/, '"ids":"0"');
    writeFileSync(steps, lines.join("\n"));
    const other = await octavo(replay);
    expect([other.exitCode, other.stdout]).toEqual([1, "step 2: ids of cpu:0 are not the trace's"]);
  });
});

describe("octavo plan", () => {
  it("prints the bytes of each device, from headers", async () => {
    const { stdout, exitCode } = await octavo(["plan", "-m", "smollm2", "--devices", "24GiB", "--json"]);
    expect(exitCode).toBe(0);
    const { fits, kvTokens, totals, devices } = JSON.parse(stdout);
    // 106,168,320 of the layers; 28,311,552 of the head and as many scales as there are tokens.
    expect([fits, kvTokens > 0, totals.int8, totals.head]).toEqual([true, true, 134_479_872, 28_508_160]);
    const [device] = devices;
    const { weights, kv, activations, context, collectives, margin, free } = device;
    expect(weights + kv + activations + context + collectives + margin + free).toBe(device.total);
  });

  it("says why a model does not fit", async () => {
    const { stdout, exitCode } = await octavo(["plan", "smollm2", "--devices", "100MiB", "--json"]);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ fits: false, refusal: expect.stringContaining("100.00 MiB") });
    const shown = await octavo(["plan", "smollm2", "--devices", "100MiB"]);
    expect([shown.exitCode, shown.stdout]).toEqual([1, expect.stringMatching(/^smollm2 does not fit\. device:0: /)]);
  });

  it("speaks of what was asked for, not of what there is room for", async () => {
    const flags = ["plan", "smollm2", "--devices", "1GiB", "--context", "4096", "--sequences"];
    const [many, one] = await Promise.all([octavo([...flags, "64"]), octavo([...flags, "1"])]);
    const shared = await octavo([...flags, "1", "--head", "16bit"]);
    expect(one.stdout).toContain("; the head is 27.19 MiB of them\n");
    expect(shared.stdout).toContain("; the embedding is the head\n");
    expect(many.stdout).toMatch(
      /^smollm2 fits: room for \d+ tokens of the 262144 that 64 sequences of 4096 tokens may reach; \d of that length run/,
    );
    expect(one.stdout).toMatch(/^smollm2 fits: room for 1 sequence of 4096 tokens\n/);
    expect([many.exitCode, one.exitCode]).toEqual([0, 0]);
  });

  it("has a row for each of several devices, and says what of the model is on which", async () => {
    const flags = ["plan", "smollm2", "--devices", "2x1GiB", "--shares", "2,1"];
    const [shown, document] = await Promise.all([octavo(flags), octavo([...flags, "--json"])]);
    expect(shown.stdout).toMatch(/device:0 .*\n.*device:1 /);
    expect(shown.stdout).toMatch(/heads +kv heads +mlp columns +vocabulary\n.*rank 0: device:0 +6 +2 +1024 +32768\n/);
    const { devices, cut } = JSON.parse(document.stdout);
    expect(devices.map(({ name }: { name: string }) => name)).toEqual(["device:0", "device:1"]);
    expect(cut).toEqual([
      { layers: [0, 30], heads: 6, kvHeads: 2, mlp: 1024, vocabulary: 32_768 },
      { layers: [0, 30], heads: 3, kvHeads: 1, mlp: 512, vocabulary: 16_384 },
    ]);
    const stages = await octavo(["plan", "smollm2", "--devices", "2x1GiB", "--pp", "2"]);
    expect(stages.stdout).toMatch(/stage +layers +heads .*\n.*device:0 +0 +0\.\.16 +9 .*\n.*device:1 +1 +17\.\.29 +9 /);
    const ranks = await octavo(["plan", "smollm2", "--devices", "10x1GiB"]);
    expect([ranks.exitCode, ranks.stderr]).toEqual([2, expect.stringMatching(/10 ranks, .*at most 9/)]);
  });

  it("takes what a load takes: a memory limit, the type of K and V, the tokens of a step", async () => {
    const flags = ["plan", "smollm2", "--devices", "1GiB", "--memory-limit", "330MiB", "--token-budget", "64"];
    const [sixteen, eight] = await Promise.all([octavo(flags), octavo([...flags, "--kv", "int8"])]);
    expect([sixteen.exitCode, sixteen.stdout]).toEqual([1, expect.stringMatching(/more than its 330\.00 MiB/)]);
    expect([eight.exitCode, eight.stdout]).toEqual([0, expect.stringMatching(/room for \d+ tokens of/)]);
  });
});

describe("octavo doctor", () => {
  it("says that this machine is ready, and on what", async () => {
    const { stdout, exitCode } = await octavo(["doctor", "--json"]);
    const { ok, checks } = JSON.parse(stdout);
    expect([exitCode, ok]).toEqual([0, true]);
    expect(checks.find(({ name }: { name: string }) => name === "worker").detail).toMatch(/^cpu:0 on .* threads/);
  });

  it("says what is missing, and exits with 1", async () => {
    const { stdout, exitCode } = await octavo(["doctor", "--json", "--python", "/nonexistent/python"]);
    const { ok, checks } = JSON.parse(stdout);
    expect([exitCode, ok]).toEqual([1, false]);
    const python = checks.find(({ name }: { name: string }) => name === "Python");
    expect(python).toMatchObject({ ok: false, fix: expect.stringContaining("OCTAVO_PYTHON") });
  });
});

describe("--json", () => {
  it.each([
    [["run", "--max-token", "3", "hi"], 2, "OCTAVO_BAD_ARGUMENT", /--max-tokens\?/],
    [["frob"], 2, "OCTAVO_BAD_ARGUMENT", /json|frob/],
    [["run", "-m", "no/such-model", "hi"], 1, "OCTAVO_MODEL_NOT_FOUND", /octavo pull/],
    [["pull", "not an id"], 2, "OCTAVO_BAD_ARGUMENT", /hub id/],
  ])("%j that fails prints one document with the error on stdout", async (args, status, code, message) => {
    const { exitCode, stdout } = await octavo([...args, "--json"]);
    const error = { code, message: expect.stringMatching(message), retryable: false };
    expect([exitCode, JSON.parse(stdout)]).toEqual([status, { error }]);
  });
});

describe("a wrong command line", () => {
  it.each([
    [["frob"], /unknown command 'frob'/],
    [["run", "--max-token", "3", "hi"], /--max-tokens\?/],
    [["run", "--max-tokens", "0", "hi"], /whole number from 1/],
    [["bench", "--batches", "1,x"], /whole numbers from 1 on, with commas/],
    [["bench", "--batches", "8,8"], /a number twice/],
    [["bench", "--depth", "0"], /whole number from 1/],
    [["run", "--temperature", "hot", "hi"], /number from 0 to 1000/],
    [["run", "--threshold", "big", "hi"], /adaptive/],
    [["run", "--head", "float", "hi"], /auto, int8, 16bit/],
    [["run", "--head-threshold", "big", "hi"], /adaptive/],
    [["eval", "--head-threshold", "big"], /adaptive/],
    [["run", "--devices", "gpu:0", "hi"], /cpu:0/],
    [["run", "--weights", "int4", "hi"], /int8, 16bit/],
    [["run", "--kv", "float16", "hi"], /int16 or int8; pages hold integers .*: int16 in place of float16/],
    [["run", "--devices", "cpu:0,cpu:1", "--tp", "3", "hi"], /tensorParallel is 3 for 2 devices/],
    [["run", "--tp", "2", "--shares", "1,2,3", "hi"], /shares has 3 numbers for 2 devices/],
    [["run", "--shares", "1,,2", "hi"], /numbers above 0, with commas/],
    [["plan", "--devices", "24GiB", "--pp", "2"], /pipelineParallel is 2 for 1 device/],
    [["eval", "--pp", "2", "--devices", "cpu:0,cpu:1"], /leave pipelineParallel out/],
    [["run", "--top-p", "0", "hi"], /above 0/],
    [["run", "model.gguf", "hi"], /2 arguments \("model.gguf", "hi"\).* the model with -m: octavo run -m MODEL/],
    [["run", "model.gguf"], /the model with -m/],
  ])("%j says what is wrong with it, before anything is loaded, and exits with 2", async (args, message) => {
    const { exitCode, stderr, stdout } = await octavo(args);
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^error OCTAVO_BAD_ARGUMENT: /);
    expect(stderr).toMatch(message);
  });

  it("that names a model that is not there is told how to get it, and exits with 1", async () => {
    const { exitCode, stderr } = await octavo(["run", "-m", "no/such-model", "hi"]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error OCTAVO_MODEL_NOT_FOUND: .*octavo pull no\/such-model/);
  });
});

it("octavo --help names every command", async () => {
  const { exitCode, stdout } = await octavo(["--help"]);
  expect(exitCode).toBe(0);
  for (const command of ["run", "chat", "plan", "program", "pull", "doctor"]) expect(stdout).toContain(`  ${command} `);
});

describe("control characters in names and files", () => {
  it.each([
    ["run", "-m", "no\u001b]0;title\u0007\u009b2J", "hello"],
    ["plan", "-m", "no\u001b]0;title\u0007\u009b2J"],
    ["plan", "--\u001b[2J"],
  ])("are shown and not obeyed: %s", async (...args) => {
    const { exitCode, stderr, stdout } = await octavo(args);
    expect([exitCode, stderr]).toEqual([expect.any(Number), expect.stringContaining("\\x1b")]);
    expect(`${stdout}${stderr}`).not.toMatch(/[^\P{Cc}\n\t]/u);
  });
});
