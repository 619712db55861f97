// quantize_weight: weight rows to int8 codes and the largest magnitude of each row, by the functions of loading.
#pragma once

#include <cstdint>
#include <cstring>

#include "../load/rows.h"
#include "float_rows.h"

namespace octavo::OCTAVO_ISA {

constexpr int64_t code_panel_rows = packed_rows;
constexpr int64_t code_group = 4;

inline int64_t padded_codes(int64_t columns) { return (columns + 63) / 64 * 64; }

// Returns the scale. A row with NaN or Inf gets the scale NaN, so that what is computed with it says so; weights that
// are there before the step are refused by its checks.
inline float quantize_weight_row(const float* x, int64_t columns, int8_t* codes) {
  const uint32_t bits = row_absmax_bits(x, columns);
  if (bits == 0 || bits >= 0x7f800000u) {
    for (int64_t k = 0; k < columns; k++) codes[k] = 0;
    return bits == 0 ? 0.0f : __builtin_nanf("");
  }
  const float scale = float_of_bits(bits);
  row_codes(x, columns, code_factor(scale), codes);
  return scale;
}

// A row's groups of four codes into their places in its panel, [columns / 4][16][4].
inline void pack_code_row(const int8_t* codes, int64_t padded, int64_t row, int8_t* packed) {
  int8_t* target = packed + row / code_panel_rows * code_panel_rows * padded + row % code_panel_rows * code_group;
  for (int64_t k = 0; k < padded; k += code_group) std::memcpy(target + k * code_panel_rows, codes + k, code_group);
}

inline void run_quantize_weight(const OpCall& call, const Worker& worker) {
  namespace op = op_quantize_weight;
  const Operand& weight = call.in[op::weight];
  const Operand& codes = call.out[op::out_codes];
  const int64_t rows = weight.shape[0], columns = weight.shape[1], padded = padded_codes(columns);
  const bool packed = codes.layout == Layout::packed;
  // The widened row, then its codes.
  float* wide = reinterpret_cast<float*>(worker.scratch);
  int8_t* row_of_codes = reinterpret_cast<int8_t*>(worker.scratch) + padded * static_cast<int64_t>(sizeof(float));
  std::memset(row_of_codes, 0, static_cast<size_t>(padded));
  int64_t begin, end;
  worker.share(rows, code_panel_rows, &begin, &end);
  for (int64_t n = begin; n < end; n++) {
    widen(element(weight, n * weight.stride), weight.dtype, wide, columns);
    int8_t* target = packed ? row_of_codes : codes.row<int8_t>(n);
    *call.out[op::out_scale].row<float>(n) = quantize_weight_row(wide, columns, target);
    if (packed) pack_code_row(target, padded, n, codes.as<int8_t>());
  }
  if (!packed || end != rows || begin == end) return;
  // Rows that fill up the last panel.
  std::memset(row_of_codes, 0, static_cast<size_t>(padded));
  for (int64_t n = rows; n % code_panel_rows != 0; n++) pack_code_row(row_of_codes, padded, n, codes.as<int8_t>());
}

}  // namespace octavo::OCTAVO_ISA
