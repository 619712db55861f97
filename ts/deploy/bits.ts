/**
 * Results as bits that two devices, or two days, can be compared by: as far as they are defined. NaN is one NaN, and what
 * follows the listed groups of `carries` is anything (the op table).
 */
import { createHash } from "node:crypto";
import type { Sizes } from "../../protocol/messages.ts";
import { type DType, OPS } from "../../protocol/ops.ts";
import { type PayloadData, unpackOutputs } from "../program/payload.ts";
import type { Program, ValueId } from "../program/program.ts";
import { shapeAt } from "../program/shapes.ts";
import { fromBfloat16, fromFloat16 } from "../tensor/float16.ts";
import type { ProgramHandle } from "../tensor/program-handle.ts";

/** One result of a step. `operand`: its name in the op table. */
export interface Result {
  readonly operand: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: PayloadData;
}

/** The first element that differs, and of how many. Elements as numbers, with their bits. */
export interface Difference {
  readonly at: readonly number[];
  readonly elements: readonly [string, string];
  readonly differ: number;
  readonly of: number;
}

/** Exponents of floats all ones, and the NaN that stands for all. */
const NANS = {
  float32: [0x7f80_0000, 0x7fc0_0000],
  float16: [0x7c00, 0x7e00],
  bfloat16: [0x7f80, 0x7fc0],
} as const;

/** What a step has returned, by the names of the program's outputs. */
export function resultsOf(
  program: Program,
  handle: ProgramHandle,
  sizes: Sizes,
  payload: Uint8Array,
): ReadonlyMap<string, Result> {
  const arrays = unpackOutputs(handle, sizes, payload);
  return new Map(
    program.outputs.map(({ name, value }) => {
      const { dtype, shape } = program.values[value]!;
      return [name, { operand: operandOf(program, value), dtype, shape: shapeAt(shape, sizes), data: arrays[name]! }];
    }),
  );
}

/** What the op table calls a value, by the op that writes it. */
function operandOf(program: Program, id: ValueId): string {
  for (const { op, outputs } of program.ops) {
    for (const operand of Object.keys(OPS[op].outputs)) if (outputs[operand] === id) return operand;
  }
  return "";
}

/** SHA-256 of the defined bits, as hex. */
export function digestOf(result: Result): string {
  return createHash("sha256").update(definedBits(result)).digest("hex");
}

/** Where two results of the same kind differ; undefined when they do not. */
export function differenceOf(a: Result, b: Result): Difference | undefined {
  const [left, right] = [definedBits(a), definedBits(b)];
  let first: number | undefined;
  let differ = 0;
  for (let i = 0; i < left.length; i++) {
    if (left[i] === right[i]) continue;
    first ??= i;
    differ += 1;
  }
  if (first === undefined) return undefined;
  const at = a.shape.map((_, axis) => {
    const inner = a.shape.slice(axis + 1).reduce((product, size) => product * size, 1);
    return Math.floor(first / inner) % a.shape[axis]!;
  });
  return { at, elements: [element(a, left, first), element(b, right, first)], differ, of: left.length };
}

type Words = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

function definedBits({ operand, dtype, shape, data }: Result): Words {
  const bytes = Uint8Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  if (dtype === "int64") return new BigUint64Array(bytes.buffer);
  if (dtype === "int8") return bytes;
  const words = data.BYTES_PER_ELEMENT === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer);
  if (dtype !== "int32" && dtype !== "int16") {
    const [infinity, nan] = NANS[dtype];
    const magnitude = words instanceof Uint32Array ? 0x7fff_ffff : 0x7fff;
    for (let i = 0; i < words.length; i++) if ((words[i]! & magnitude) > infinity) words[i] = nan;
  }
  if (operand === "carries") {
    const width = shape[1]!;
    for (let row = 0; row < words.length; row += width)
      words.fill(0, row + Math.min(4 + words[row]!, width), row + width);
  }
  return words;
}

function element({ dtype, data }: Result, words: Words, index: number): string {
  const bits = words[index]!.toString(16).padStart(2 * words.BYTES_PER_ELEMENT, "0");
  const halves = (convert: typeof fromFloat16) => convert((data as Uint16Array).subarray(index, index + 1))[0];
  const value = dtype === "float16" ? halves(fromFloat16) : dtype === "bfloat16" ? halves(fromBfloat16) : data[index];
  return `${value} (0x${bits})`;
}
