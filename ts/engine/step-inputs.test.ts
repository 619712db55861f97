import { expect, test } from "vitest";
import type { Sizes } from "../../protocol/messages.ts";
import type { PageId } from "../memory/kv/pages.ts";
import type { PayloadArray } from "../program/lower.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import { GENERATE_RULES, type GenerateOptions, resolveOptions, withPrompt } from "./generate-options.ts";
import { Request } from "./request.ts";
import { stepInputs } from "./step-inputs.ts";

const int = (name: string, ...shape: PayloadArray["shape"]): PayloadArray => ({ name, dtype: "int32", shape });
const program = {
  inputs: [
    int("tokens", "T"),
    int("positions", "T"),
    int("slots", "T"),
    int("pages", "B", "J"),
    int("lengths", "B"),
    int("starts", "B+1"),
    int("rows", "S"),
    { name: "settings", dtype: "float32", shape: ["S", 6] },
    int("counters", "S", 7),
    int("historyStarts", "S+1"),
    int("history", "H"),
    int("biasStarts", "S+1"),
    int("biasIds", "D"),
    { name: "biasValues", dtype: "float32", shape: ["D"] },
    int("masks", "Q", 2),
  ],
} as const;

/** The arrays of a payload, each at the next multiple of 64 bytes. */
function read(sizes: Sizes, payload: Uint8Array): Record<string, number[]> {
  const arrays: Record<string, number[]> = {};
  let offset = 0;
  for (const { name, dtype, shape } of program.inputs) {
    const size = (d: number | string) =>
      typeof d === "number" ? d : sizes[d.replace("+1", "") as keyof Sizes] + (d.endsWith("+1") ? 1 : 0);
    const count = shape.reduce<number>((product, dimension) => product * size(dimension), 1);
    offset = Math.ceil(offset / 64) * 64;
    const view = dtype === "int32" ? Int32Array : Float32Array;
    arrays[name] = [...new view(payload.buffer as ArrayBuffer, payload.byteOffset + offset, count)];
    offset += count * 4;
  }
  return arrays;
}

function request(prompt: readonly number[], options: GenerateOptions): Request {
  const limits = { vocabulary: 100, context: 64, biases: 4, eosTokenIds: [], defaults: {} };
  return new Request(withPrompt(resolveOptions(options, limits, GENERATE_RULES), prompt, limits), undefined, {
    tokenized() {},
    piece() {},
    finish() {},
    fail() {},
  });
}

const seed = 2 ** 33 + 5;

test("a step after a prompt takes its token from the step before, in tokens and in the penalties' history", () => {
  const scheduler = new Scheduler({ pages: 8, sequences: 2, tokenBudget: 20 });
  const prompts = [[11, 12, 13], Array.from({ length: 18 }, (_, index) => 50 + index)];
  const requests = [
    request(prompts[0]!, { maxTokens: 4, repetitionPenalty: 2, logitBias: { 7: 1.5 }, logprobs: 3, seed }),
    request(prompts[1]!, { maxTokens: 4, presencePenalty: 1, temperature: 0.5, seed: 1 }),
  ];
  const sequences = requests.map(({ spec }) => scheduler.submit(spec.prompt.length, spec.maxTokens));
  const next = () => {
    const step = scheduler.plan()!;
    const rows = step.rows.map((row) => ({ row, request: requests[sequences.indexOf(row.sequence)]! }));
    const { sizes, payload } = stepInputs(program, step, rows);
    return { step, sizes, arrays: read(sizes, payload) };
  };

  const first = next();
  expect(first.sizes).toEqual({ T: 20, S: 1, B: 2, J: 2, H: 3, D: 1, Q: 0 });
  const [others, own] = sequences.map(({ pages }) => pages!.ids) as [PageId[], PageId[]];
  expect(first.arrays).toMatchObject({
    tokens: [...prompts[0]!, ...prompts[1]!.slice(0, 17)],
    positions: [0, 1, 2, ...Array.from({ length: 17 }, (_, index) => index)],
    pages: [others[0], 0, own[0], own[1]],
    lengths: [3, 17],
    starts: [0, 3, 20],
    rows: [2],
    settings: [0, 1, 0, 2, 0, 0],
    counters: [0, 5, 2, 3, 3, -1, 3], // Of the history, the three ids of the prompt come before the answer.
    historyStarts: [0, 3],
    history: [11, 12, 13],
    biasStarts: [0, 1],
    biasIds: [7],
    biasValues: [1.5],
  });
  expect(first.arrays.slots!.slice(3)).toEqual(
    Array.from({ length: 17 }, (_, index) => own[index >> 4]! * 16 + (index % 16)),
  );

  // Sent while the first one runs: the token at position 3 of the first sequence is row 0 of `sampled`.
  const second = next();
  expect(second.arrays).toMatchObject({
    tokens: [-1, 67],
    positions: [3, 17],
    lengths: [4, 18],
    rows: [0, 1],
    settings: [0, 1, 0, 2, 0, 0, 0.5, 1, 0, 1, 1, 0],
    historyStarts: [0, 4, 4],
    history: [11, 12, 13, -1],
  });

  scheduler.returned(first.step);
  requests[0]!.accept({ id: 42, logprob: undefined, logits: undefined });
  const third = next();
  expect(third.arrays).toMatchObject({
    tokens: [-1, -2],
    history: [11, 12, 13, 42, -1, -2],
    historyStarts: [0, 5, 6],
    biasStarts: [0, 1, 1],
  });
});

test("a sequence that is computed again brings the ids drawn so far, with the prompt or after it", () => {
  const scheduler = new Scheduler({ pages: 8, sequences: 1, tokenBudget: 20 });
  const resumed = request([11, 12, 13], { maxTokens: 40, frequencyPenalty: 1, seed: 1 });
  const sequence = scheduler.submit(3, 40);
  for (const id of [70, 71, 72]) {
    scheduler.returned(scheduler.plan()!);
    resumed.accept({ id, logprob: undefined, logits: undefined });
  }
  scheduler.requeue([{ sequence, drawn: 3, alone: false }]);
  const step = scheduler.plan()!;
  const { sizes, payload } = stepInputs(program, step, [{ row: step.rows[0]!, request: resumed }]);
  expect(read(sizes, payload)).toMatchObject({
    tokens: [11, 12, 13, 70, 71, 72],
    positions: [0, 1, 2, 3, 4, 5],
    history: [70, 71, 72], // The penalty counts the answer alone, however much of it is input now.
    counters: [0, 1, 0, 6, -1, -1, 0], // The sixth position, wherever the first five were computed.
    rows: [5],
  });
});
