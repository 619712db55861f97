/**
 * What a decode step asks of a GPU's queue. Launches cost microseconds each: if these fail, small batches wait for launches
 * instead of for memory.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildModel, modelOfConfig } from "../ts/model/families/index.ts";
import { fuse } from "../ts/program/fuse.ts";
import { lower } from "../ts/program/lower.ts";
import { findPython, workerEnvironment } from "../ts/python.ts";
import { encodeRequest } from "../ts/workers/codec.ts";

const LAYERS = 3;
/** Llama-3-8B's layers. */
const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: LAYERS,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128256,
  max_position_embeddings: 8192,
};
/** Quantising, and the products of int8: what takes about 17 launches per linear layer in bitsandbytes. */
const INT8 = ["quantize", "norm_quantize", "add_norm_quantize", "glu_quantize", "linear_int8"];

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "octavo-test-"));
  file = join(folder, "define.msgpack");
  const program = fuse(
    buildModel(modelOfConfig("config.json", CONFIG), {
      weights: "int8",
      head: "16bit",
      threshold: "adaptive",
      context: 4096,
      pages: 256,
      rows: 8,
      kv: "float16",
      output: { type: "sample" },
    }),
  );
  const handles = new Map([...program.parameters.keys()].map((name, index) => [name, index + 1]));
  const limits = { T: 512, S: 8, B: 8, J: 256, H: 8 * 4096, D: 8 * 1024, Q: 8 };
  const { message } = lower(program, (name) => handles.get(name)!, limits);
  await writeFile(file, encodeRequest({ kind: "define", id: 1, epoch: 1, program: 1, arena: 2, ...message }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Counted {
  readonly architecture: number;
  readonly rows: number;
  readonly ops: readonly (readonly [op: string, launches: number])[];
}

it("a decoder layer takes at most 8 launches for its int8 path, on every GPU and up to 16 rows", async () => {
  const script = join(import.meta.dirname, "support/count_launches.py");
  const { stdout } = await execa(findPython(), [script, file, "1,8,16", "80,86,89,90,100"], {
    env: workerEnvironment(""),
  });
  for (const { ops, ...where } of JSON.parse(stdout) as Counted[]) {
    const total = (some: Counted["ops"]) => some.reduce((sum, [, launches]) => sum + launches, 0);
    const int8 = ops.filter(([op]) => INT8.includes(op));
    expect(int8.length).toBe(8 * LAYERS);
    expect({ ...where, launches: total(int8) }).toEqual({
      ...where,
      launches: expect.toSatisfy((n) => n <= 8 * LAYERS),
    });
    // Beside it rope with the append, and attention; once per step the embedding, the last norm, the head, sampling.
    expect({ ...where, all: total(ops) }).toEqual({ ...where, all: expect.toSatisfy((n) => n <= 11 * LAYERS + 10) });
  }
});
