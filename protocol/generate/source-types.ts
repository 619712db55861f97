/** The element types of weight files for both backends' languages. */
import { SOURCE_TYPES } from "../source-types.ts";
import { HEADER, text } from "./python.ts";

const types = Object.entries(SOURCE_TYPES);

/** `kernels/octavo_kernels/generated/source_types.py` */
export function sourceTypesPython(): string {
  return `"""Element types of weight files. ${HEADER}"""

from __future__ import annotations

from typing import NamedTuple


class Block(NamedTuple):
    """How many elements lie together in a file, and in how many bytes."""

    elements: int
    bytes: int


#: In the order of their codes in C++.
SOURCE_TYPES = {
${types.map(([name, { elements, bytes }]) => `    ${text(name)}: Block(${elements}, ${bytes}),`).join("\n")}
}
`;
}

/** `kernels/octavo_kernels/cpu/src/generated/source_types.h` */
export function sourceTypesCpp(): string {
  return `// Element types of weight files: how many bytes how many elements take. \`dequantize_*.h\` spell the blocks out.
// ${HEADER}
#pragma once

#include <cstdint>

namespace octavo {

enum class SourceType : int32_t {
${types.map(([name], code) => `  ${name} = ${code},`).join("\n")}
};
inline constexpr int32_t source_type_count = ${types.length};

struct SourceFormat {
  const char* name;
  int64_t block_elements;
  int64_t block_bytes;
};

inline constexpr SourceFormat source_formats[] = {
${types.map(([name, { elements, bytes }]) => `    {"${name}", ${elements}, ${bytes}},`).join("\n")}
};

}  // namespace octavo
`;
}
