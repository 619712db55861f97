// What a product of digits with int8 weights is made of, and what becomes of its sums: shared by the loops over vectors
// (linear_int8.h) and over tiles (int8_product_tiles.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "../runtime/op.h"
#include "dot_tile.h"

namespace octavo::OCTAVO_ISA {

struct Int8Product {
  const Operand &low_digits, &high_digits, &carried, &weight;
  // int32 sums; or float32 with the last three.
  const Operand& target;
  const Operand *steps, *scale, *bias;
  int64_t rows = target.shape[0], columns = target.shape[1], groups = low_digits.shape[1] / 4,
          panels = (columns + 15) / 16;

  const int8_t* low(int64_t row) const { return low_digits.row<const int8_t>(row); }
  const int8_t* high(int64_t row) const { return high_digits.row<const int8_t>(row); }
  const int32_t* carries(int64_t row) const { return carried.row<const int32_t>(row); }
  int64_t low_stride() const { return low_digits.stride; }
  int64_t high_stride() const { return high_digits.stride; }
  int lanes(int64_t column) const { return columns - column < 16 ? static_cast<int>(columns - column) : 16; }
  const int8_t* panel(int64_t index) const { return weight.as<const int8_t>() + index * groups * 64; }
};

// scale / 127 of the panels of a work item: divided once for all its rows.
struct PanelUnits {
  float unit[dot_tile_panels * 16];

  PanelUnits(const Int8Product& product, int64_t first_panel, int64_t panels) {
    if (product.scale == nullptr) return;
    const float* scale = product.scale->as<const float>();
    for (int64_t p = 0; p < panels; p++) {
      const int64_t column = (first_panel + p) * 16;
      store(unit + 16 * p, div(load_first(scale + column, product.lanes(column), 0.0f), set1(127.0f)));
    }
  }
};

// y[0 .. lanes) of sums in one panel; bias may be null.
inline void dequantize_panel(F32x16 sums, F32x16 step, F32x16 unit, const float* bias, float* y, int lanes) {
  const F32x16 value = mul(sums, step);
  if (lanes == 16) {
    store(y, bias ? fma(value, unit, load(bias)) : mul(value, unit));
  } else {
    store_first(y, bias ? fma(value, unit, load_first(bias, lanes, 0.0f)) : mul(value, unit), lanes);
  }
}

template <int panels>
inline void store_row(const Int8Product& product, int64_t row, int64_t first_panel, const PanelUnits& units,
                      const int32_t* sums) {
  if (product.steps == nullptr) {
    const int64_t left = product.columns - first_panel * 16, count = left < panels * 16 ? left : panels * 16;
    std::memcpy(product.target.row<int32_t>(row) + first_panel * 16, sums, static_cast<size_t>(count) * sizeof *sums);
    return;
  }
  float* y = product.target.row<float>(row);
  const float* bias = product.bias->as<const float>();
  const F32x16 step = set1(product.steps->as<const float>()[row]);
  for (int p = 0; p < panels; p++) {
    const int64_t column = (first_panel + p) * 16;
    dequantize_panel(to_f32(load_i32(sums + 16 * p)), step, load(units.unit + 16 * p), bias ? bias + column : nullptr,
                     y + column, product.lanes(column));
  }
}

// A plain weight [N, K], as handles of users have it: one panel in the packed layout.
inline void pack_panel(const Int8Product& product, int64_t panel, int8_t* packed) {
  const Operand& weight = product.weight;
  const int64_t depth = weight.shape[1];
  for (int64_t k = 0; k < product.groups * 4; k++) {
    for (int64_t i = 0; i < 16; i++) {
      const int64_t column = panel * 16 + i;
      const bool inside = column < product.columns && k < depth;
      packed[k / 4 * 64 + i * 4 + k % 4] = inside ? weight.row<const int8_t>(column)[k] : 0;
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
