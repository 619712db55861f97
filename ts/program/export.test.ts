/**
 * A program that was written into a file is the one that comes back. If these fail, what proves or replays programs works on
 * others than those that answer, or misreads a file of another version without a word.
 */
import { describe, expect, it } from "vitest";
import { OPTIONS } from "../../test/support/model-options.ts";
import { tinyConfig } from "../../test/support/tiny-model.ts";
import { buildModel, type ModelOptions, modelOfConfig } from "../model/families/index.ts";
import { ProgramBuilder } from "./builder.ts";
import { exportProgram, type ProgramFile, readProgram } from "./export.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower.ts";
import { printProgram } from "./print.ts";
import type { Program, TensorPart } from "./program.ts";
import { shard } from "./shard.ts";

const LIMITS = { T: 32, S: 4, B: 4, J: 8, H: 64, D: 16, Q: 2 };
const manifest = modelOfConfig("config.json", tinyConfig({ family: "qwen2", tied: true }));
const model = { path: "config.json", family: "llama", architecture: "Qwen2ForCausalLM" };

function built(options: Partial<ModelOptions> = {}): Program {
  return buildModel(manifest, { ...OPTIONS, ...options });
}

/** Half of each of two experts, of columns that a device may have. */
function sliced(): Program {
  const b = new ProgramBuilder();
  const parts: TensorPart[] = [
    { tensor: "experts", rows: [3, 6], columns: [0, 64] },
    { tensor: "experts", columns: [64, 128] },
  ];
  const weight = b.weight("w", { parts, shape: [6, 64], form: "int8" });
  b.output("y", b.linear(b.input("x", "float32", ["T", 64]), weight));
  return b.build();
}

function written(program: Program, constants = false): ProgramFile {
  const file = exportProgram(program, { model, options: OPTIONS, limits: LIMITS }, { constants });
  return JSON.parse(JSON.stringify(file));
}

function message(program: Program) {
  const handles = new Map([...program.parameters.keys()].map((name, index) => [name, index + 1]));
  return lower(program, (name) => handles.get(name)!, LIMITS);
}

describe("a program from a file", () => {
  const cases: readonly (readonly [string, Program])[] = [
    ["as the family writes it", built()],
    ["fused", fuse(built())],
    ["of 16-bit weights, with logits", fuse(built({ weights: "16bit", output: { type: "logits" } }))],
    ["that judges against a reference", fuse(built({ head: "int8", output: { type: "score", reference: "read" } }))],
    ["of slices of tensors", sliced()],
    ["of one of several ranks", fuse(shard(built({ head: "16bit" }), [1, 1])[1]!)],
    ["that observes outliers", fuse(built({ observe: 6, threshold: { absolute: 6, relative: 0.1 } }))],
  ];

  it.each(cases)("%s is the same, with the same message for the worker", (_, program) => {
    const { program: read, file } = readProgram(written(program, true), "p.json");
    expect(read.parameters).toEqual(program.parameters);
    expect([read.ops, read.inputs, read.outputs]).toEqual([program.ops, program.inputs, program.outputs]);
    expect(message(read)).toEqual(message(program));
    expect(file.arenaBytes).toBe(message(program).arenaBytes);
    expect(file).toMatchObject({ model, limits: LIMITS, options: JSON.parse(JSON.stringify(OPTIONS)) });
  });

  it("can be looked at without the data of its constants, and not run", () => {
    const { program } = readProgram(written(built()), "p.json");
    expect(message(program)).toEqual(message(built()));
    const { source } = program.parameters.get("rope.cos")!;
    expect(() => source.type === "constant" && source.data).toThrow(
      /p\.json: the constant rope\.cos was exported without/,
    );
  });
});

describe("a file is refused", () => {
  const good = written(built());
  /** The file with one field changed, or without it. */
  const change = (path: string, value?: unknown): unknown => {
    const file: unknown = structuredClone(good);
    const keys = path.split(".");
    const last = keys.pop()!;
    Reflect.set(keys.reduce((at, key) => Reflect.get(at as object, key), file) as object, last, value);
    return JSON.parse(JSON.stringify(file));
  };
  const columns = written(fuse(built())).values.findIndex(({ place }) => place.type === "columns");

  it.each<[string, unknown, RegExp]>([
    ["that is something else", { hidden_size: 64 }, /no octavo-program/],
    ["that is nothing", null, /no octavo-program/],
    ["of another version", change("version", 1), /version 1 .* reads version 2/],
    ["with a field that nobody knows", change("extra", 1), /extra/],
    ["with an op that nobody knows", change("ops.0.op", "dream"), /ops\[0\]\.op/],
    ["with a field of an op that nobody knows", change("ops.0.fast", true), /fast/],
    ["with an operand that the op has not", change("ops.0.inputs.bias", 0), /embed \(embed\): .*bias/],
    ["without an operand", change("ops.0.inputs.table"), /no operand table/],
    ["with an attribute out of range", change("ops.1.attributes.eps", -1), /eps is -1/],
    ["with an attribute that the op has not", change("ops.1.attributes.base", 1), /no attribute base/],
    ["with a value that is not there", change("ops.0.outputs.y", 9999), /no value 9999/],
    ["with an output that is not there", change("outputs.0.value", 9999), /no value 9999/],
    ["with a parameter that is not there", change("parameters.2.name", "other"), /no parameter/],
    ["with a constant of another size", change("parameters.0.source.data", "AAAA"), /has 3 bytes/],
  ])("%s", (_, document, text) => {
    expect(() => readProgram(document, "p.json")).toThrow(
      expect.objectContaining({ code: "OCTAVO_MODEL_FILE_INVALID", message: expect.stringMatching(text) }),
    );
  });

  it("with a view of itself", () => {
    const file = written(fuse(built()));
    const { place } = file.values[columns]!;
    if (place.type === "columns") place.of = columns;
    expect(() => readProgram(file, "p.json")).toThrow(/no earlier one/);
  });
});

describe("the text of a program", () => {
  it("has every op with its operands, shapes and places", () => {
    const text = printProgram(written(fuse(built())));
    expect(text).toMatch(/^ {3}0 {2}embed {2}embed scale=1\n {6}<- tokens +int32 \[T\] +input tokens\n/m);
    expect(text).toMatch(/-> low +int8 \[T, 64\] +arena \d+ {2}model\.layers\.0\./);
    expect(text).toMatch(/columns from \d+ of arena \d+ /);
    expect(text).toMatch(/<- weight +int8 \[\d+, 64\] packed +parameter model\.layers\.0/);
    expect(text).not.toContain("undefined");
  });

  it("says of a gather which columns are the rank's own, and of a parameter which part of which tensor", () => {
    const [, second] = shard(built(), [3, 1]).map(fuse);
    const text = printProgram(written(second!));
    expect(text).toContain("gather  embed.gather columns 48..64 of 64 are this rank's\n");
    expect(text).toMatch(/int8 of model\.layers\.0\.self_attn\.o_proj\.weight\[48\.\.64, \]/);
  });
});
