/**
 * Scratch memory of each op: how many bytes a backend's kernels take beside the op's operands, at a program's limits.
 *
 * The backends size their workspace by these formulas (Python's form is generated: `npm run generate`) and the plan
 * foresees it by them (`ts/plan/workspace.ts`), so what is planned is what is taken, to the byte. A kernel that needs more
 * than its formula says writes beyond its memory: both change together.
 *
 * A formula is `+ - *`, `//` (rounded down), integers, names, and `min`, `max`, `pad(n, m)` (n rounded up to a multiple of
 * m), `ceil(n, m)` (n / m rounded up), `pow2(n)` (the smallest power of two from n on). Names are the op's shape symbols
 * and attributes, `threads`, and those that stand before in the same entry. Three names are results, 0 where absent:
 * `thread` (cpu: bytes of each thread), `shared` (cpu: of all threads together), `scratch` (triton: of the op's launches,
 * at most, for steps of any size up to the limits; parts begin at multiples of 256).
 */
import { ATTENTION_BLOCK, type OpName, PAGE_SIZE } from "./ops.ts";

/** cpu: sums of attention's blocks of keys that wait to be joined, unless one query needs more. */
export const PARTIAL_BYTES = 4 * 2 ** 20;
/** cpu: high digits that a thread gathers for tiles (AMX). Rows beyond are multiplied with all of theirs. */
export const GATHERED_BYTES = 256 * 2 ** 10;
/** triton: partial results of a split op (attention over keys, linear_int8 over columns). More, and the op is not split. */
export const SPLIT_BYTES = 128 * 2 ** 20;
/** triton: most programs of a kernel whose programs have a scratch row each. */
export const SCRATCH_ROWS = 192;
/** triton: bytes of the counters that split launches meet at; zero between launches. */
export const TICKET_BYTES = 16 * 1024;

export type WorkspaceFormulas = Readonly<Record<string, string>>;

const quantizeRows = (cpuThread: string): WorkspaceFormulas => ({
  thread: cpuThread,
  // Rows of more than 8,192 columns are not held in registers.
  scratch: `min(1, K // 8193) * 4 * min(T, ${SCRATCH_ROWS}) * K`,
});

const int8Product: WorkspaceFormulas = {
  // A panel of a plain weight, and the carries that tiles gather.
  thread: `16 * pad(K, 64) + ${GATHERED_BYTES}`,
  splits: "min(16, pad(K, 64) // 128)",
  partial: `min(${SPLIT_BYTES}, 4 * pad(T, 128) * pad(N, 128) * splits)`,
  lists: "4 * ceil(T, 128) * (1 + 2 * ceil(K, 32))",
  scratch: "lists + partial + 4 * 256",
};

export const WORKSPACE: Readonly<Partial<Record<OpName, WorkspaceFormulas>>> = {
  norm: { thread: "8 * pad(K, 16)" },
  norm_quantize: quantizeRows("12 * pad(K, 16)"),
  add_norm_quantize: quantizeRows("12 * pad(K, 16)"),
  glu_quantize: quantizeRows("4 * K"),
  quantize_weight: { thread: "5 * pad(K, 64)" },
  linear_int8: int8Product,
  multiply_int8: int8Product,
  linear_published: {
    rows: "2 * pad(4 * T, 64) + pad(T * pad(K, 64), 64)",
    shared: "pad(K, 64) + 64 + pad(4 * K, 64) + rows",
    scratch: "8 * K + 4 + 4 * T + T * pad(K, 64) + 5 * 256",
  },
  linear_scheme: {
    padded: "pad(K, 64)",
    columns: "4 * padded + 64 + pad(4 * K, 64)",
    rows: "pad(8 * T, 64) + pad(12 * T, 64) + pad(4 * T, 64) + pad(T * padded, 64) + pad(4 * T * K, 64)",
    shared: "columns + rows + 2 * 4 * pad(N, 16)",
    thread: "16 * padded + 64 * K",
    scratch: "8 * K + 4 + (T + N) * (20 + padded) + 14 * 256",
  },
  attention: {
    group: "heads // kvHeads",
    padded: "pad(headDim, 16)",
    chunks: `ceil(J * ${PAGE_SIZE}, ${ATTENTION_BLOCK})`,
    // The tasks' rows (512 with tiles, else 48): numbers of each, o, and integers of q; scores and weights of some of them;
    // beside the steps of a block of keys, and its digits.
    rows: "max(1, 512 // group) * group",
    depth: "pad(headDim, 64)",
    steps: `pad(8 * ${ATTENTION_BLOCK} + 24, 64)`,
    held: `6 * ${ATTENTION_BLOCK} * max(48, group)`,
    digits: `2 * ${ATTENTION_BLOCK} * (depth + padded)`,
    thread: "steps + pad(32 * rows, 64) + 4 * rows * padded + held + 2 * pad(rows, 32) * depth + digits",
    // Blocks of keys of a row that wait to be joined.
    waiting: "4 * (chunks * padded + 3 * pad(chunks, 16))",
    query: "max(1, waiting * heads)",
    shared: `min(1, threads - 1) * query * max(1, min(T, ${PARTIAL_BYTES} // query))`,
    // One query per sequence and few programs: blocks apart; tiles of queries need nothing.
    alone: "max(0, min(T, 4 * B - 1))",
    scratch: `min(${SPLIT_BYTES}, 4 * alone * heads * chunks * (headDim + 3)) + 4 * 256`,
  },
  sample: {
    thread: "20 * V",
    scratch: "S * (4 * V + 28 * ceil(V, 512) + 8 * 1024) + 7 * 256",
  },
  score: { scratch: "S * (28 * ceil(V, 512) + 16) + 7 * 256" },
};
