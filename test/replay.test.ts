/**
 * What a process computed is kept and computed again elsewhere, and where devices differ the op is named. If these fail, a wrong
 * bit on somebody's GPU cannot be traced to its kernel, or a trace blames an op that is right.
 */
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { Trace } from "../ts/deploy/trace.ts";
import { readTrace, type TraceContent } from "../ts/deploy/trace-file.ts";
import { Engine } from "../ts/index.ts";
import { buildModel, type ModelOptions } from "../ts/model/families/index.ts";
import { openModel } from "../ts/model/source/index.ts";
import type { Operation, Program } from "../ts/program/program.ts";
import { replay } from "../ts/replay/replay.ts";
import { Side } from "../ts/replay/side.ts";
import { answerTogether, randomJobs } from "./support/answers.ts";
import { type TinyModel, writeTinyModel } from "./support/tiny-model.ts";

let model: TinyModel;
let root: string;
let trace: TraceContent;
const folder = () => join(root, "trace");

beforeAll(async () => {
  model = await writeTinyModel();
  root = await mkdtemp(join(tmpdir(), "octavo-test-"));
  vi.stubEnv("OCTAVO_TRACE", folder());
  await using engine = await Engine.load(model.path, { devices: "cpu:0", context: 64, sequences: 3, tokenBudget: 16 });
  vi.unstubAllEnvs();
  const jobs = randomJobs(4, model.vocabulary, 24);
  await answerTogether(
    engine,
    jobs.map(({ prompt, options }) => ({ prompt, options: { ...options, maxTokens: 4 } })),
  );
  await engine.dispose();
  trace = await readTrace(folder());
}, 60_000);
afterAll(async () => {
  await model[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

/** The op at `index` of every program otherwise. */
function change(index: number, edit: (op: Operation) => Operation): (program: Program) => Program {
  return (program) => ({ ...program, ops: program.ops.map((op, i) => (i === index ? edit(op) : op)) });
}

async function sideBySide(
  devices: readonly [string, string],
  changed?: (program: Program) => Program,
  first?: (program: Program) => Program,
) {
  const [a, b] = await Promise.all([
    Side.open(devices[0], { threads: 1 }, first),
    Side.open(devices[1], { threads: 1 }, changed),
  ]);
  try {
    return await replay(trace, [a, b]);
  } finally {
    await Promise.all([a, b].map((side) => side[Symbol.asyncDispose]()));
  }
}

describe("a trace", () => {
  it("holds programs with what loads them again, and steps, for this user's eyes only", async () => {
    const files = await readdir(folder());
    expect(files.sort()).toEqual(["program-1.json", "program-2.json", "steps.jsonl"]);
    const modes = await Promise.all([folder(), ...files.map((file) => join(folder(), file))].map((path) => stat(path)));
    expect(modes.map(({ mode }) => mode & 0o777)).toEqual([0o700, 0o600, 0o600, 0o600]);
    const { file, device, residence } = trace.programs.get(1)!;
    expect([file.model.path, device, residence]).toEqual([model.path, "cpu:0", 1]);
    expect(file.options).toMatchObject({ weights: "int8", context: 64 });
    expect(trace.steps.length).toBeGreaterThan(4);
    expect(Object.keys(trace.steps[0]!.results)).toContain("ids");
  });

  it("has equal results on the device that it comes from, and on the oracle", async () => {
    expect(await sideBySide(["cpu:0", "reference:0"])).toEqual({ steps: trace.steps.length });
  });

  it("of a process that lost a worker has what each worker has answered, and every answer's steps are equal", async () => {
    const lossy = join(root, "lossy");
    vi.stubEnv("OCTAVO_TRACE", lossy);
    await using engine = await Engine.load(model.path, {
      devices: "cpu:0",
      context: 64,
      sequences: 3,
      tokenBudget: 16,
    });
    onTestFinished(() => void vi.unstubAllEnvs()); // It is asked for again when the model is loaded again.
    const running = [[5, 6], [7]].map((prompt) => engine.generate(prompt, { maxTokens: 30, ignoreEos: true }));
    await running[0]![Symbol.asyncIterator]().next();
    process.kill(engine.deployment.devices[0]!.pid, "SIGKILL");
    await Promise.all(running.map((generation) => generation.complete()));
    expect(engine.statistics).toMatchObject({ restarts: 1, resumed: 2 });
    const { steps } = engine.statistics;
    await engine.dispose();
    const content = await readTrace(lossy);
    expect([...content.programs.values()].map(({ residence }) => residence)).toEqual([1, 2]);
    await using side = await Side.open("cpu:0", { threads: 1 });
    expect(await replay(content, [side])).toEqual({ steps });
  });

  it("of results that this version does not give says which step and which results", async () => {
    const wrong = trace.steps.map((step) =>
      step.step === 3 ? { ...step, results: { ...step.results, ids: "0" } } : step,
    );
    await using side = await Side.open("cpu:0", { threads: 1 });
    const found = await replay({ ...trace, steps: wrong }, [side]);
    expect(found.changed).toEqual({ step: 3, device: "cpu:0", outputs: ["ids"] });
  });
});

describe("two devices that differ", () => {
  it.each<[string, string, (op: Operation, program: Program) => Operation, string]>([
    ["a norm", "add_norm_quantize", (op) => ({ ...op, attributes: { ...op.attributes, eps: 0.01 } }), "step"],
    ["attention", "attention", (op) => ({ ...op, attributes: { ...op.attributes, scale: 0.3 } }), "y"],
    [
      "what is written into KV pages",
      "rope_append",
      (op) => ({ ...op, inputs: { ...op.inputs, v: op.inputs.k! } }),
      "values",
    ],
    ["an activation", "glu_quantize", (op) => ({ ...op, attributes: { ...op.attributes, activation: "relu" } }), "low"],
  ])("in %s are told apart by that op", async (_, kind, edit, operand) => {
    const { program } = trace.programs.get(1)!;
    const index = program.ops.findIndex(({ op }) => op === kind);
    const { found } = await sideBySide(
      ["cpu:0", "cpu:0"],
      change(index, (op) => edit(op, program)),
    );
    const { op, label } = program.ops[index]!;
    expect(found).toMatchObject({ step: 1, program: 1, op: index, name: `${op} (${label})`, operand });
    expect(found!.difference!.differ).toBeGreaterThan(0);
  });
});

it("an op that fusion hides is named in the program that the family has written", async () => {
  const manifest = await openModel(model.path);
  const plain = (program: Program) => {
    const { file } = [...trace.programs.values()].find((each) => each.program === program)!;
    return buildModel(manifest, file.options as unknown as ModelOptions);
  };
  const index = plain(trace.programs.get(1)!.program).ops.findIndex(({ op }) => op === "row_inliers");
  const edit = (op: Operation) => ({
    ...op,
    attributes: { ...op.attributes, decompose: "off", absolute: 0, relative: 0 },
  });
  const { changed, found } = await sideBySide(
    ["cpu:0", "cpu:0"],
    (program) => change(index, edit)(plain(program)),
    plain,
  );
  expect([changed?.device, found]).toEqual([
    undefined,
    expect.objectContaining({ step: 1, op: index, operand: "inliers" }),
  ]);
});

describe("a trace that cannot be written", () => {
  it.each([
    ["into a folder that holds something", () => root, /holds files/],
    ["into a folder that cannot be made", () => join(root, "none", "trace"), /no trace can be written there/],
    ["into a file", () => join(folder(), "steps.jsonl"), /no trace can be written there/],
  ])("%s is refused before a worker starts", async (_, path, message) => {
    vi.stubEnv("OCTAVO_TRACE", path());
    const loading = Engine.load(model.path, { devices: "reference:0" });
    await expect(loading).rejects.toMatchObject({
      code: "OCTAVO_FILE_NOT_READABLE",
      message: expect.stringMatching(message),
    });
    vi.unstubAllEnvs();
  });

  it("any further is ended with a warning, and the steps before it are kept", async () => {
    const warnings: string[] = [];
    const listen = ({ message }: Error) => warnings.push(message);
    process.on("warning", listen);
    const path = join(root, "small");
    const { file } = trace.programs.get(1)!;
    await using side = await Side.open("cpu:0", { threads: 1 });
    await side.use(await openModel(model.path));
    const { program, handle } = await side.define(trace.programs.get(1)!);
    new Trace(path, 200_000).residence(await openModel(model.path))(handle, program, file);
    const [step] = trace.steps.filter((each) => each.program === 1);
    for (let i = 0; i < 200; i++) await side.step({ program, handle, limits: file.limits }, step!);
    await vi.waitFor(() => expect(warnings.join()).toMatch(/small: the trace ends before step \d+: .*200000 bytes/));
    process.off("warning", listen);
    const { steps } = await readTrace(path);
    expect(steps.length).toBeGreaterThan(1);
    expect(steps.length).toBeLessThan(200);
    expect(steps[0]!.results).toEqual(step!.results);
  });
});

describe("a trace that is not whole", () => {
  const line = (step: number, more: object = {}) => `${JSON.stringify({ ...trace.steps[0], step, ...more })}\n`;

  it.each([
    ["a field that nobody knows", () => line(1, { extra: 1 }), /steps\.jsonl:1: .*extra/],
    ["no step", () => "", /no whole step/],
    ["the beginning of a step alone", () => line(1).slice(0, 40), /no whole step/],
    ["its first step missing", () => line(2), /line 1 is step 2/],
  ])("with %s is refused: it would be found equal to anything", async (name, content, message) => {
    const path = join(root, name);
    new Trace(path);
    await writeFile(join(path, "steps.jsonl"), content());
    const refused = { code: "OCTAVO_MODEL_FILE_INVALID", message: expect.stringMatching(message) };
    await expect(readTrace(path)).rejects.toMatchObject(refused);
  });

  it("tells that its last step is torn", async () => {
    const path = join(root, "torn");
    await cp(folder(), path, { recursive: true });
    const whole = await readFile(join(path, "steps.jsonl"), "utf8");
    await writeFile(join(path, "steps.jsonl"), whole.slice(0, -20));
    expect(await readTrace(path)).toMatchObject({ torn: true, steps: { length: trace.steps.length - 1 } });
  });

  it("is none where nothing was traced", async () => {
    const refused = { code: "OCTAVO_FILE_NOT_READABLE", message: expect.stringMatching(/is no trace.*OCTAVO_TRACE/) };
    await expect(readTrace(join(root, "nothing"))).rejects.toMatchObject(refused);
  });
});
