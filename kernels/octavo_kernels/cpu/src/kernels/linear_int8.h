// linear_int8: digits times int8 weights in int32, exactly, then one dequantisation (design section 4.1).
//
// Weights are packed [panel of 16 columns][group of 4 k][16][4]. A tile is a few rows times a few panels, its sums stay in
// registers. High digits are sparse: their groups are listed per row, go into the sums first, times 255, and the dense
// low digits follow into the same sums. Integers do not depend on order, so neither tiles nor threads show in the result.
#pragma once

#include <cstdint>

#include "../runtime/op.h"

namespace octavo::OCTAVO_ISA {

struct Int8Product {
  const OpCall& call;
  int64_t rows, columns, groups, panels;

  explicit Int8Product(const OpCall& c)
      : call(c),
        rows(c.out[op_linear_int8::out_y].shape[0]),
        columns(c.out[op_linear_int8::out_y].shape[1]),
        groups(c.in[op_linear_int8::low].shape[1] / 4),
        panels((columns + 15) / 16) {}

  const int8_t* low(int64_t row) const { return call.in[op_linear_int8::low].row<const int8_t>(row); }
  const int8_t* high(int64_t row) const { return call.in[op_linear_int8::high].row<const int8_t>(row); }
  const int32_t* carries(int64_t row) const { return call.in[op_linear_int8::carries].row<const int32_t>(row); }
  float step(int64_t row) const { return call.in[op_linear_int8::step].as<const float>()[row]; }
  const int8_t* panel(int64_t index) const {
    return call.in[op_linear_int8::weight].as<const int8_t>() + index * groups * 64;
  }
};

// What a row's high digits add, and what the offset of unsigned weights takes away again.
template <int panels>
inline void carry_sums(const Int8Product& product, int64_t row, const int8_t* weights, I32x16 (&sums)[panels]) {
  const int32_t* carries = product.carries(row);
  const int64_t panel_bytes = product.groups * 64;
  const int32_t count = carries[0];
  if (count > 0) {
    const int8_t* high = product.high(row);
    for (int p = 0; p < panels; p++) sums[p] = set1_i32(0);
    for (int32_t i = 0; i < count; i++) {
      const int64_t group = carries[4 + i];
      const auto digits = load_digits(high + 4 * group);
      for (int p = 0; p < panels; p++) sums[p] = dot(sums[p], load_group(weights + p * panel_bytes + 64 * group), digits);
    }
    for (int p = 0; p < panels; p++) sums[p] = sub(shift_left<8>(sums[p]), sums[p]);
  }
  const int32_t offset = -dot_offset * (255 * carries[2] + carries[1]);
  for (int p = 0; p < panels; p++) sums[p] = count > 0 ? add(sums[p], set1_i32(offset)) : set1_i32(offset);
}

template <int panels>
inline void dequantize_row(const Int8Product& product, int64_t row, int64_t first_panel, const I32x16 (&sums)[panels]) {
  const Operand& bias = product.call.in[op_linear_int8::bias];
  const float* scale = product.call.in[op_linear_int8::scale].as<const float>();
  float* y = product.call.out[op_linear_int8::out_y].row<float>(row);
  const F32x16 step = set1(product.step(row)), levels = set1(127.0f);
  for (int p = 0; p < panels; p++) {
    const int64_t column = (first_panel + p) * 16, left = product.columns - column;
    const F32x16 value = mul(to_f32(sums[p]), step);
    if (left >= 16) {
      const F32x16 unit = div(load(scale + column), levels);
      store(y + column, bias ? fma(value, unit, load(bias.as<const float>() + column)) : mul(value, unit));
    } else {
      const int lanes = static_cast<int>(left);
      const F32x16 unit = div(load_first(scale + column, lanes, 0.0f), levels);
      const F32x16 result =
          bias ? fma(value, unit, load_first(bias.as<const float>() + column, lanes, 0.0f)) : mul(value, unit);
      store_first(y + column, result, lanes);
    }
  }
}

template <int rows, int panels>
inline void int8_tile(const Int8Product& product, int64_t row, int64_t first_panel, const int8_t* weights) {
  // Few sums would wait for each other: then every other group has sums of its own.
  constexpr int split = rows * panels >= 8 ? 1 : rows * panels >= 4 ? 2 : 4;
  const int64_t panel_bytes = product.groups * 64;
  const int8_t* low[rows];
  I32x16 sums[split][rows][panels];
  for (int r = 0; r < rows; r++) {
    low[r] = product.low(row + r);
    carry_sums<panels>(product, row + r, weights, sums[0][r]);
    for (int s = 1; s < split; s++) {
      for (int p = 0; p < panels; p++) sums[s][r][p] = set1_i32(0);
    }
  }
  for (int64_t group = 0; group < product.groups; group += split) {
    for (int s = 0; s < split; s++) {
      Int8x64 w[panels];
      for (int p = 0; p < panels; p++) w[p] = load_group(weights + p * panel_bytes + 64 * (group + s));
      for (int r = 0; r < rows; r++) {
        const auto digits = load_digits(low[r] + 4 * (group + s));
        for (int p = 0; p < panels; p++) sums[s][r][p] = dot(sums[s][r][p], w[p], digits);
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int s = 1; s < split; s++) {
      for (int p = 0; p < panels; p++) sums[0][r][p] = add(sums[0][r][p], sums[s][r][p]);
    }
    dequantize_row<panels>(product, row + r, first_panel, sums[0][r]);
  }
}

template <int panels>
inline void int8_rows(const Int8Product& product, int64_t row, int64_t end, int64_t first_panel, const int8_t* weights) {
  // Even pieces: 8 rows in tiles of at most 6 are 4 and 4, not 6 and 2.
  for (int64_t tiles = (end - row + dot_tile_rows - 1) / dot_tile_rows; tiles > 0; tiles--) {
    const int64_t rows = (end - row + tiles - 1) / tiles;
    switch (rows) {
      case 1: int8_tile<1, panels>(product, row, first_panel, weights); break;
      case 2: int8_tile<2, panels>(product, row, first_panel, weights); break;
      case 3: int8_tile<3, panels>(product, row, first_panel, weights); break;
      case 4: int8_tile<4, panels>(product, row, first_panel, weights); break;
      case 5: int8_tile<5, panels>(product, row, first_panel, weights); break;
      default: int8_tile<6, panels>(product, row, first_panel, weights); break;
    }
    row += rows;
  }
}

// A plain weight [N, K], as handles of users have it: one panel in the packed layout.
inline void pack_panel(const Int8Product& product, int64_t panel, int8_t* packed) {
  const Operand& weight = product.call.in[op_linear_int8::weight];
  const int64_t depth = weight.shape[1];
  for (int64_t k = 0; k < product.groups * 4; k++) {
    for (int64_t i = 0; i < 16; i++) {
      const int64_t column = panel * 16 + i;
      packed[k / 4 * 64 + i * 4 + k % 4] = column < product.columns && k < depth ? weight.row<const int8_t>(column)[k] : 0;
    }
  }
}

inline size_t linear_int8_scratch(const OpCall& call) {
  const bool plain = call.in[op_linear_int8::weight].layout == Layout::plain;
  return plain ? static_cast<size_t>(Int8Product(call).groups) * 64 : 0;
}

// Rows in a work item: their digits and sums stay near while the item's panels are read again for each tile.
constexpr int64_t int8_item_rows = 96;

inline void run_linear_int8(const OpCall& call, const Worker& worker) {
  const Int8Product product(call);
  if (product.rows == 0) return;
  const bool plain = call.in[op_linear_int8::weight].layout == Layout::plain;
  // Small pieces, so that a thread that lost its core to another process does not hold up the rest.
  const int64_t fair = product.panels / (8 * worker.threads);
  const int64_t width = plain || fair < 1 ? 1 : fair > dot_tile_panels ? dot_tile_panels : fair;
  const int64_t strips = (product.panels + width - 1) / width;
  const int64_t item_rows = plain ? product.rows : int8_item_rows;
  const int64_t blocks = (product.rows + item_rows - 1) / item_rows;
  int64_t item, end;
  while (worker.next(strips * blocks, 1, &item, &end)) {
    const int64_t panel = item % strips * width, row = item / strips * item_rows;
    const int64_t last_row = row + item_rows < product.rows ? row + item_rows : product.rows;
    const int64_t panels = product.panels - panel < width ? product.panels - panel : width;
    const int8_t* weights = product.panel(panel);
    if (plain) {
      int8_t* packed = reinterpret_cast<int8_t*>(worker.scratch);
      pack_panel(product, panel, packed);
      weights = packed;
    }
    switch (panels) {
      case 1: int8_rows<1>(product, row, last_row, panel, weights); break;
      case 2: int8_rows<2>(product, row, last_row, panel, weights); break;
      case 3: int8_rows<3>(product, row, last_row, panel, weights); break;
      default: int8_rows<4>(product, row, last_row, panel, weights); break;
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
