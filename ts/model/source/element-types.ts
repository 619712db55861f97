/** Element types of weight files: what GGUF calls them, and how many bytes a tensor takes. */
import { SOURCE_TYPE_NAMES, SOURCE_TYPES, type SourceFormat, type SourceType } from "../../../protocol/source-types.ts";

/** `ggml_type` numbers that workers can load. */
export const GGML_TYPES: ReadonlyMap<number, SourceType> = new Map(
  SOURCE_TYPE_NAMES.flatMap((type) => {
    const { ggml }: SourceFormat = SOURCE_TYPES[type];
    return ggml === undefined ? [] : [[ggml, type]];
  }),
);

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
  const { elements, bytes } = SOURCE_TYPES[type];
  const columns = shape.at(-1) ?? 1;
  const total = shape.reduce((product, size) => product * size, 1);
  if (columns % elements !== 0 || !Number.isSafeInteger(total) || !Number.isSafeInteger(total * bytes))
    return undefined;
  return (total / elements) * bytes;
}
