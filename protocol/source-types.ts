/**
 * Element types of weight files, in GGUF's spelling where it has one. Their order is the code of a type in the C++ backend;
 * `generated/source_types.py` and `.h` come from here. How a block is laid out inside: `dequantize_*.h`.
 */
export interface SourceFormat {
  /** A block of so many consecutive elements of a row ... */
  readonly elements: number;
  /** ... takes so many bytes. */
  readonly bytes: number;
  /** Its number in a GGUF file (`ggml_type`). */
  readonly ggml?: number;
}

export const SOURCE_TYPES = {
  F32: { elements: 1, bytes: 4, ggml: 0 },
  F16: { elements: 1, bytes: 2, ggml: 1 },
  BF16: { elements: 1, bytes: 2, ggml: 30 },
  F64: { elements: 1, bytes: 8, ggml: 28 },
  /** GGUF has it too; but there codes without a scale are no weights. */
  I8: { elements: 1, bytes: 1 },
  Q8_0: { elements: 32, bytes: 34, ggml: 8 },
  Q4_0: { elements: 32, bytes: 18, ggml: 2 },
  Q4_1: { elements: 32, bytes: 20, ggml: 3 },
  Q5_0: { elements: 32, bytes: 22, ggml: 6 },
  Q5_1: { elements: 32, bytes: 24, ggml: 7 },
  Q4_K: { elements: 256, bytes: 144, ggml: 12 },
  Q5_K: { elements: 256, bytes: 176, ggml: 13 },
  Q6_K: { elements: 256, bytes: 210, ggml: 14 },
} as const satisfies Record<string, SourceFormat>;

export type SourceType = keyof typeof SOURCE_TYPES;

export const SOURCE_TYPE_NAMES = Object.keys(SOURCE_TYPES) as [SourceType, ...SourceType[]];
