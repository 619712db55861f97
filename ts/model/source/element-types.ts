/** Element types of weight files: which blocks they come in, and what the formats call them. */
import type { SourceType } from "../../../protocol/messages.ts";

/** A block of `elements` consecutive elements of a row takes `bytes`. */
export interface Block {
  readonly elements: number;
  readonly bytes: number;
}

/** Block layouts of ggml (`ggml-common.h`); plain types are blocks of one. */
export const BLOCKS: Readonly<Record<SourceType, Block>> = {
  F64: { elements: 1, bytes: 8 },
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  BF16: { elements: 1, bytes: 2 },
  I8: { elements: 1, bytes: 1 },
  Q8_0: { elements: 32, bytes: 34 },
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
};

/** `ggml_type` numbers that workers can load. */
export const GGML_TYPES: ReadonlyMap<number, SourceType> = new Map([
  [0, "F32"],
  [1, "F16"],
  [2, "Q4_0"],
  [3, "Q4_1"],
  [6, "Q5_0"],
  [7, "Q5_1"],
  [8, "Q8_0"],
  [12, "Q4_K"],
  [13, "Q5_K"],
  [14, "Q6_K"],
  [28, "F64"],
  [30, "BF16"],
]);

/** Names of other `ggml_type`s, for the refusal. */
export const OTHER_GGML_TYPES: ReadonlyMap<number, string> = new Map([
  [9, "Q8_1"],
  [10, "Q2_K"],
  [11, "Q3_K"],
  [15, "Q8_K"],
  [16, "IQ2_XXS"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [20, "IQ4_NL"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [23, "IQ4_XS"],
  // Codes without a scale are no weights.
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
]);

/**
 * Bytes of a tensor, or undefined when its rows are not whole blocks or its size is not a safe integer. Sizes come from
 * files: they may be anything.
 */
export function sourceBytes(type: SourceType, shape: readonly number[]): number | undefined {
  const { elements, bytes } = BLOCKS[type];
  const columns = shape.at(-1) ?? 1;
  const total = shape.reduce((product, size) => product * size, 1);
  if (columns % elements !== 0 || !Number.isSafeInteger(total) || !Number.isSafeInteger(total * bytes))
    return undefined;
  return (total / elements) * bytes;
}
