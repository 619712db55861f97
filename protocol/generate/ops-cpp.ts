/** `kernels/octavo_kernels/cpu/src/generated/ops.h`: op codes and the index of every operand, attribute and enum value. */
import {
  ATTENTION_BLOCK,
  BYTES_PER_ELEMENT,
  DTYPES,
  KV_LEVELS,
  LAYOUTS,
  MAX_LOGPROBS,
  OPS,
  type OpSpec,
  PACKED_ROWS,
  PAGE_SIZE,
} from "../ops.ts";
import { SIZE_NAMES } from "../sizes.ts";
import { HEADER } from "./python.ts";

const specs: readonly OpSpec[] = Object.values(OPS);

/** Most entries that any op has of one kind: the fixed array sizes of an op call. */
function most(kind: "inputs" | "outputs" | "attributes"): number {
  return Math.max(...specs.map((spec) => Object.keys(spec[kind]).length));
}

function enumeration(name: string, values: readonly string[]): string {
  return [`enum class ${name} : int32_t {`, ...values.map((value, index) => `  ${value} = ${index},`), "};"].join("\n");
}

function indices(names: readonly string[]): string[] {
  return names.map((name, index) => `inline constexpr int ${name} = ${index};`);
}

function op(name: string, spec: OpSpec): string {
  const lines = [
    ...indices(Object.keys(spec.inputs)),
    ...indices(Object.keys(spec.outputs).map((output) => `out_${output}`)),
    ...indices(Object.keys(spec.attributes).map((attribute) => `attr_${attribute}`)),
  ];
  for (const [attribute, { type, ...rest }] of Object.entries(spec.attributes)) {
    if (type === "enum" && "values" in rest)
      lines.push(...indices(rest.values.map((value) => `${attribute}_${value}`)));
  }
  return [`namespace op_${name} {`, ...lines, `}  // namespace op_${name}`].join("\n");
}

export function opsCpp(): string {
  return `// The op table: input i of a call is op_<name>::<input>, output i op_<name>::out_<output>, attribute i
// op_<name>::attr_<attribute>; enum attributes hold the index of their value, op_<name>::<attribute>_<value>.
// ${HEADER}
#pragma once

#include <cstdint>

namespace octavo {

${enumeration("DType", DTYPES)}
inline constexpr int bytes_per_element[] = {${DTYPES.map((dtype) => BYTES_PER_ELEMENT[dtype]).join(", ")}};

${enumeration("Layout", LAYOUTS)}

// Sizes of a step, in this order: ${SIZE_NAMES.join(", ")}.
inline constexpr int size_count = ${SIZE_NAMES.length};

inline constexpr int packed_rows = ${PACKED_ROWS};
inline constexpr int page_size = ${PAGE_SIZE};
inline constexpr int attention_block = ${ATTENTION_BLOCK};
// By the type of KV pages: largest integers of K, V and q, and bits of the weights of values.
${Object.entries(KV_LEVELS)
  .map(([dtype, { keys, values, queries, weightBits }]) =>
    [
      `inline constexpr int ${dtype}_keys = ${keys}, ${dtype}_values = ${values};`,
      `inline constexpr int ${dtype}_queries = ${queries}, ${dtype}_weight_bits = ${weightBits};`,
    ].join("\n"),
  )
  .join("\n")}
inline constexpr int max_logprobs = ${MAX_LOGPROBS};

inline constexpr int op_count = ${specs.length};
inline constexpr int max_inputs = ${most("inputs")};
inline constexpr int max_outputs = ${most("outputs")};
inline constexpr int max_attributes = ${most("attributes")};

${enumeration("OpCode", Object.keys(OPS))}
// Row(op) for each op, in the order of OpCode.
#define OCTAVO_OPS(Row) \\
${Object.keys(OPS)
  .map((name) => `  Row(${name})`)
  .join(" \\\n")}

${Object.entries(OPS)
  .map(([name, spec]) => op(name, spec))
  .join("\n\n")}

}  // namespace octavo
`;
}
