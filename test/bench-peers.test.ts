/** `make bench` without its peers: what they are asked, how their answers are read, and what the table says of them. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CASES, chooseCases, makeJob, type Timing } from "../bench/cases.ts";
import { featuresIn } from "../bench/machine.ts";
import { measurePeer, type Outcome, readLine, reasonOf } from "../bench/measure.ts";
import { parseOptions } from "../bench/options.ts";
import { measure } from "../bench/peers/job.mjs";
import { choosePeers, octavo, PEERS } from "../bench/peers.ts";
import { summarise } from "../bench/summary.ts";
import { type Results, ratioOf, table } from "../bench/table.ts";
import { bytesOf, type Weights } from "../bench/weights.ts";
import { findPython } from "../ts/python.ts";

const root = join(import.meta.dirname, "..");
const TEXT = Array.from({ length: 5000 }, (_, index) => 10_000 + index);
const signal = new AbortController().signal;
const caseOf = (name: string) => CASES.find((one) => one.name === name)!;

describe("a job", () => {
  const job = makeJob(TEXT, 2, CASES, 2);

  it("has no two prompts that begin alike, but those of the shared prefix", () => {
    const sharing = job.measurements.filter(({ name }) => name.endsWith("prefix"));
    const others = job.measurements.filter((one) => !sharing.includes(one)).flatMap(({ prompts }) => prompts);
    expect(new Set(others.map((prompt) => prompt[0])).size).toBe(others.length);
    // Twice: a request before, then eight with the same 1,024 tokens and 32 of their own.
    expect(sharing.map(({ name, prompts }) => [name, prompts.length])).toEqual([
      ["before prefix", 1],
      ["prefix", 8],
      ["before prefix", 1],
      ["prefix", 8],
    ]);
    const prompts = sharing.slice(0, 2).flatMap((one) => one.prompts);
    expect(new Set(prompts.map((prompt) => prompt.slice(0, 1024).join())).size).toBe(1);
    expect(new Set(prompts.map((prompt) => prompt[1024])).size).toBe(9);
    expect(sharing[0]!.prompts[0]![0]).not.toBe(sharing[2]!.prompts[0]![0]);
  });

  it("starts with one short prompt, and repeats each case as often as it is short", () => {
    expect(job.measurements[0]).toMatchObject({ name: "start", tokens: 0 });
    const times = (name: string) => job.measurements.filter((one) => one.name === name).length;
    expect(["start", "prefill 512", "batch 32", "1 x 4,096"].map(times)).toEqual([1, 6, 4, 2]);
    for (const { name, prompts } of job.measurements) {
      expect(new Set(prompts.map(({ length }) => length)).size, name).toBe(1);
    }
    expect(job.context).toBeGreaterThanOrEqual(4096 + 48);
  });

  it("measures once what two columns need", () => {
    const both = makeJob(TEXT, 2, chooseCases("prefill-4096,context-4096"), 1);
    expect(both.measurements.map(({ name }) => name)).toEqual(["start", "1 x 4,096"]);
  });

  it("needs a text that is long enough", () => {
    expect(() => makeJob(TEXT.slice(0, 4000), 2, CASES, 1)).toThrow("too short");
  });
});

describe("the command line", () => {
  it("refuses what it does not know, and says what there is", () => {
    expect(() => chooseCases("prefill-513")).toThrow(/no case "prefill-513"; there are prefill-512, /);
    expect(() => choosePeers("ollama")).toThrow(/no peer "ollama"; there are octavo, /);
    expect(() => parseOptions(["--round", "2"], 2)).toThrow();
    expect(() => parseOptions(["--rounds", "0"], 2)).toThrow('--rounds is "0"');
    expect(() => parseOptions(["--octavo", "int8"], 2)).toThrow("a JSON object");
  });

  it("has defaults, and Octavo among any peers", () => {
    expect(parseOptions([], 3)).toMatchObject({ threads: 3, peers: "", cases: "", model: "smollm2", octavo: [] });
    expect(choosePeers("")).toEqual(PEERS);
    expect(choosePeers("q8_0,VLLM").map(({ name }) => name)).toEqual(["octavo", "vLLM", "llama.cpp Q8_0"]);
    const [options] = parseOptions(["--octavo", '{"head":"int8"}'], 2).octavo;
    expect(octavo(options).name).toBe("octavo, head int8");
  });
});

describe("a peer's process", () => {
  const cwd = root;
  const node = (code: string) => ({ command: process.execPath, args: ["-e", code] });

  it("is read line by line; what it was before it failed is kept", async () => {
    const line = JSON.stringify({ name: "start", first: 0.5, made: 0, seconds: 0, answer: [7] });
    const code = `console.log("noise"); console.log('@octavo-bench {"version":"1.2"}'); console.log('@octavo-bench ${line}');
      throw new RangeError("out of pages")`;
    const outcome = await measurePeer(node(code), { cwd, signal });
    expect(outcome).toMatchObject({ version: "1.2", failure: "RangeError: out of pages" });
    expect(outcome.timings).toEqual([{ name: "start", first: 0.5, made: 0, seconds: 0, answer: [7] }]);
    expect(outcome.startSeconds).toBeGreaterThan(0);
  });

  it("that cannot be started is an outcome too", async () => {
    const outcome = await measurePeer({ command: join(root, "no-such-program"), args: [] }, { cwd, signal });
    expect(outcome).toMatchObject({ timings: [], failure: expect.stringContaining("ENOENT") });
  });

  it("is ended with its children when the bench is interrupted", async () => {
    const interrupted = new AbortController();
    // The pipe of stdout stays open as long as the grandchild lives: without its end this test would not end.
    const code = `require("node:child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" });
      console.log('@octavo-bench {"name":"start","first":1,"made":0,"seconds":0,"answer":[]}'); setInterval(() => {}, 1000)`;
    const reason = new Error("SIGINT");
    const options = { cwd, signal: interrupted.signal, onTiming: () => interrupted.abort(reason) };
    await expect(measurePeer(node(code), options)).rejects.toBe(reason);
  });

  it("prints nothing of ours that is not understood", () => {
    expect(readLine("loading 100%")).toBeUndefined();
    expect(() => readLine('@octavo-bench {"name":"start","first":null}')).toThrow("a peer printed");
  });

  it("that ends with a traceback is named by the exception, one that cannot be installed by the cause", () => {
    const traceback =
      'python ended with 1:\nTraceback (most recent call last):\n  File "x.py"\nValueError: no such op\n\n';
    expect(reasonOf(new Error(traceback))).toBe("ValueError: no such op");
    const client = "python -m ended with 1:\nerror: No solution found\n  cause: Because there is no version of x==9\n";
    expect(reasonOf(new Error(client))).toBe("cause: Because there is no version of x==9");
  });
});

describe("tokens count from when all rows have one", () => {
  const measurement = { name: "batch 2", prompts: [[1], [2]], tokens: 2, limit: 20 };

  it("in Node", async () => {
    // The second row has its first token when the first has three.
    let third = () => {};
    const reached = new Promise<void>((resolve) => {
      third = resolve;
    });
    const timing = await measure(measurement, async function* (_prompt, row) {
      if (row === 1) await reached;
      for (let token = 0; ; token++) {
        if (row === 0 && token === 3) {
          third();
          await new Promise((resolve) => setImmediate(resolve));
        }
        yield row * 100 + token;
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    expect(timing).toMatchObject({ name: "batch 2", made: 4 });
    expect(timing.answer.slice(0, 4)).toEqual([0, 1, 2, 3]);
  });

  it("in Python", async () => {
    const folder = await mkdtemp(join(tmpdir(), "octavo-bench-"));
    try {
      const job = { threads: 1, context: 20, measurements: [measurement] };
      await writeFile(join(folder, "job.json"), JSON.stringify(job));
      await writeFile(
        join(folder, "peer.py"),
        `import sys\nsys.path.insert(0, sys.argv[2])\nfrom job import read_job, run\nclosed = []\n` +
          `def steps(prompts, limit):\n    try:\n        yield [(0, 5)]\n        yield [(0, 6), (1, 7)]\n` +
          `        yield [(0, 8)]\n        yield [(0, 9), (1, 10)]\n        yield [(0, 11), (1, 12)]\n        raise RuntimeError("not needed")\n` +
          `    finally:\n        closed.append(True)\n` +
          `run(read_job(sys.argv[1]), "1.0", steps)\nassert closed\n`,
      );
      const args = [join(folder, "peer.py"), join(folder, "job.json"), join(root, "bench", "peers")];
      const outcome = await measurePeer({ command: findPython(), args }, { cwd: root, signal });
      expect(outcome.failure).toBeUndefined();
      // Three after the step in which the second row has its first, then two more: the first sum that reaches four.
      expect(outcome.timings).toMatchObject([{ name: "batch 2", made: 5, answer: [5, 6, 8, 9, 11] }]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("the table", () => {
  const weights: Weights = { linears: 1_000_000, head: 1_000_000, shipped: 900_000, octavo: () => 3_000_000 };
  const timing = (name: string, first: number, made: number, seconds: number, answer: number[] = []): Timing => ({
    ...{ name, first, made, seconds, answer },
  });
  const cases = chooseCases("prefill-512,start,memory,batch-1,batch-8");
  const peers = choosePeers("vllm,q4_0,torchao");
  const outcomes: Outcome[][] = [
    [
      {
        version: "0.1.0",
        timings: [
          timing("prefill 512", 0.5, 0, 0),
          timing("batch 1", 1, 100, 1, [1, 2, 3]),
          timing("batch 8", 1, 80, 1),
        ],
        startSeconds: 2,
        peakBytes: 100 * 2 ** 20,
      },
      {
        timings: [timing("prefill 512", 0.25, 0, 0), timing("batch 1", 1, 300, 1)],
        startSeconds: 1,
        peakBytes: 2 ** 20,
      },
    ],
    [{ timings: [timing("batch 1", 1, 50, 1, [1, 2, 9])], startSeconds: 10, failure: "MemoryError | 3" }],
    [
      {
        timings: [timing("prefill 512", 1, 0, 0), timing("batch 1", 1, 400, 1, [4]), timing("batch 8", 1, 40, 1)],
        startSeconds: 0.5,
        peakBytes: 25 * 2 ** 20,
      },
    ],
    [{ timings: [], failure: "not measured: no wheel" }],
  ];
  const results: Results = {
    ...{ commit: "abc", date: "2026-11-27", machine: "A CPU", features: ["AVX2"], threads: 2, load: 1.5, rounds: 2 },
    ...{ model: "A model", cases: cases.map(({ name }) => name) },
    peers: summarise(
      peers.map((peer, index) => ({ peer, outcomes: outcomes[index]! })),
      cases,
      weights,
    ),
  };
  const text = table(results);
  const line = (start: string) => text.split("\n").filter((one) => one.startsWith(`| ${start}`));
  const cells = (row: string) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());

  it("takes medians over rounds and repeats", () => {
    expect(results.peers[0]!.values).toEqual({
      ...{ "prefill-512": (1024 + 2048) / 2, start: 1.5, memory: 50.5, "batch-1": 200, "batch-8": 80 },
    });
    expect(results.peers.map(({ agrees }) => agrees)).toEqual([3, 2, 0, undefined]);
  });

  it("says how many times as fast, or as small, Octavo is, and marks where a peer is ahead", () => {
    const [prompts, decode] = line("llama.cpp Q4_0");
    expect(cells(prompts!)).toEqual([
      ...["llama.cpp Q4_0", "-", "4-bit blocks of 32", "4.5", "1"],
      ...["512 (3.0x)", "0.5 (**0.33x**)", "25 (**0.50x**)"],
    ]);
    expect(cells(decode!)).toEqual(["llama.cpp Q4_0", "400 (**0.50x**)", "40 (2.0x)"]);
    expect(text).toContain(
      "Ahead of Octavo:\n\n- start to first token: llama.cpp Q4_0 3.00x\n" +
        "- peak RSS: llama.cpp Q4_0 2.02x\n- decode, batch 1: llama.cpp Q4_0 2.00x\n",
    );
  });

  it("names who failed, and why, with what it had measured", () => {
    expect(cells(line("vLLM")[1]!)).toEqual(["vLLM", "50 (4.0x)", "failed"]);
    expect(cells(line("torchao")[1]!)).toEqual(["torchao", "failed", "failed"]);
    expect(text).toContain("vLLM: MemoryError / 3");
    expect(text).toContain("torchao: not measured: no wheel");
  });

  it("tells of other work on the machine, and of other answers", () => {
    expect(text).toContain("load average 1.5");
    expect(text).toContain("Another answer from its first token on: llama.cpp Q4_0.");
    expect(table({ ...results, load: 0.1 })).not.toContain("load average");
  });

  it("has lines of the same width in each table", () => {
    const widths = text.split("\n").filter((one) => one.startsWith("|"));
    expect(new Set(widths.slice(0, 6).map(({ length }) => length)).size).toBe(1);
    expect(new Set(widths.slice(6).map(({ length }) => length)).size).toBe(1);
  });

  it("compares what is better when it is less the other way round", () => {
    expect(ratioOf(caseOf("batch-1"), 30, 10)).toBe(3);
    expect(ratioOf(caseOf("start"), 10, 30)).toBe(3);
  });

  it("counts the bytes of a token by the bits of linears and head", () => {
    const peer = (name: string) => PEERS.find((one) => one.name === name)!;
    expect(bytesOf(peer("vLLM"), weights)).toBe(1_000_000 + 2_000_000);
    expect(bytesOf(peer("llama.cpp as shipped"), weights)).toBe(900_000);
    expect(results.peers.map(({ bits }) => bits)).toEqual([12, 12, 4.5, 20]);
  });
});

describe("what is pinned and named", () => {
  it("has a file of requirements for every Python environment", async () => {
    for (const name of new Set(PEERS.map(({ environment }) => environment))) {
      if (name === undefined || name === "node") continue;
      const pins = (await readFile(join(root, "bench", "requirements", `${name}.in`), "utf8")).trim().split("\n");
      expect(
        pins.every((pin) => /^[a-z0-9_.-]+==\S+$/i.test(pin)),
        name,
      ).toBe(true);
    }
  });

  it("reads the features of x86 and of ARM", () => {
    expect(featuresIn("model name : X\nflags\t\t: fpu avx2 avx512_vnni amx_int8\n")).toEqual([
      ...["AVX2", "AVX-512 VNNI", "AMX int8"],
    ]);
    expect(featuresIn("Features\t: fp asimd asimddp i8mm\n")).toEqual(["NEON dot product", "NEON int8 matrices"]);
    expect(featuresIn("")).toEqual([]);
  });
});
