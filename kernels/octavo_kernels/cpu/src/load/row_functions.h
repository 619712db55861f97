// What loading does to one row, compiled once per instruction set and reached through one table of each.
#pragma once

#include <cstdint>

#include "../generated/source_types.h"

namespace octavo {

struct RowFunctions {
  // `columns` elements of a row in its file format to float32. `columns` is a multiple of the format's block.
  void (*dequantize)(SourceType type, const uint8_t* source, int64_t columns, float* y);
  // Bits of max |x|: 0x7f800000 or more when there is an Inf or a NaN.
  uint32_t (*absmax_bits)(const float* x, int64_t n);
  // rint(x * factor), at most 127 in magnitude.
  void (*codes)(const float* x, int64_t n, float factor, int8_t* y);
  void (*to_f16)(const float* x, int64_t n, uint16_t* y);
  void (*to_bf16)(const float* x, int64_t n, uint16_t* y);
};

// The factor of `quantize_weight`: 127 / absmax, capped at 2^126 so that rows of subnormals do not overflow it.
static inline float code_factor(float absmax) {
  const float factor = 127.0f / absmax;
  return factor < 0x1p126f ? factor : 0x1p126f;
}

}  // namespace octavo
