// linear_int8: digits times int8 weights in int32, exactly, then one dequantisation; and the two ops that it is made of.
//
// Weights are packed [panel of 16 columns][group of 4 k][16][4]. A tile is a few rows times a few panels, its sums stay
// in registers. High digits are sparse: their groups are listed per row and enter the same sums times 255. Integers
// wrap around and the whole sum fits 32 bits, so neither order nor tiles nor threads show in the result.
//
// One tile of rows (decode) runs at the speed of memory, more at 75 to 85 % of what the multipliers do (`bench --ops`).
#pragma once

#include <cstdint>

#include "int8_product.h"
#if defined(OCTAVO_AMX)
#include "int8_product_tiles.h"
#endif

namespace octavo::OCTAVO_ISA {

// Adds 255 times what the high digits of `rows` rows contribute.
template <int rows, int panels>
inline void add_carries(const Int8Product& product, int64_t row, const int8_t* weights, int32_t* sums) {
  const int64_t groups = product.groups, panel_bytes = groups * 64;
  int64_t listed = 0;
  for (int r = 0; r < rows; r++) listed += product.carries(row + r)[0];
  // With many carries the dense loop is faster than the list; unlisted groups are zero.
  if (listed * 4 > rows * groups) {
    alignas(64) int32_t high[rows * panels * 16];
    for (int r = 0; r < rows; r++) {
      for (int p = 0; p < panels; p++)
        store_i32(high + (r * panels + p) * 16, set1_i32(-dot_offset * product.carries(row + r)[2]));
    }
    dot_tile<rows, panels>(high, product.high(row), product.high_stride(), weights, panel_bytes, groups, weights, 0);
    for (int i = 0; i < rows * panels * 16; i += 16) {
      const I32x16 sum = load_i32(high + i);
      store_i32(sums + i, add(load_i32(sums + i), sub(shift_left<8>(sum), sum)));
    }
    return;
  }
  for (int r = 0; r < rows; r++) {
    const int32_t* carries = product.carries(row + r);
    if (carries[0] == 0) continue;
    const int8_t* high = product.high(row + r);
    for (int p = 0; p < panels; p++) {
      I32x16 sum = set1_i32(-dot_offset * carries[2]);
      for (int32_t i = 0; i < carries[0]; i++) {
        const int64_t group = carries[4 + i];
        sum = dot(sum, load_group(weights + p * panel_bytes + 64 * group), load_digits(high + 4 * group));
      }
      int32_t* const target = sums + (r * panels + p) * 16;
      store_i32(target, add(load_i32(target), sub(shift_left<8>(sum), sum)));
    }
  }
}

template <int rows, int panels>
inline void int8_tile(const Int8Product& product, int64_t row, int64_t first_panel, const int8_t* weights,
                      const PanelUnits& units, const int8_t* ahead, int64_t ahead_step) {
  alignas(64) int32_t sums[rows * panels * 16];
  // Less what the offset of unsigned weights will add too much.
  for (int r = 0; r < rows; r++) {
    for (int p = 0; p < panels; p++)
      store_i32(sums + (r * panels + p) * 16, set1_i32(-dot_offset * product.carries(row + r)[1]));
  }
  dot_tile<rows, panels>(sums, product.low(row), product.low_stride(), weights, product.groups * 64, product.groups,
                         ahead, ahead_step);
  // After the dense part, when the weights are in the cache.
  add_carries<rows, panels>(product, row, weights, sums);
  for (int r = 0; r < rows; r++)
    store_row<panels>(product, row + r, first_panel, units, sums + r * panels * 16);
}

template <int panels, int most = dot_tile_rows>
inline void int8_tile_of(int64_t rows, const Int8Product& product, int64_t row, int64_t first_panel,
                         const int8_t* weights, const PanelUnits& units, const int8_t* ahead, int64_t ahead_step) {
  if constexpr (most > 1) {
    if (rows < most)
      return int8_tile_of<panels, most - 1>(rows, product, row, first_panel, weights, units, ahead, ahead_step);
  }
  int8_tile<most, panels>(product, row, first_panel, weights, units, ahead, ahead_step);
}

// Rows [row, end) in even pieces: 9 rows by tiles of 8 are 5 and 4, not 8 and 1.
template <int panels>
inline void int8_rows(const Int8Product& product, int64_t row, int64_t end, int64_t first_panel, const int8_t* weights,
                      const PanelUnits& units, const int8_t* ahead) {
  int64_t tiles = (end - row + dot_tile_rows - 1) / dot_tile_rows;
  // Each tile fetches its part of the next panels, so that memory and multiplication are busy all the time.
  const int64_t ahead_step = 64 / tiles;
  for (; tiles > 0; tiles--) {
    const int64_t rows = (end - row + tiles - 1) / tiles;
    int8_tile_of<panels>(rows, product, row, first_panel, weights, units, ahead, ahead_step);
    row += rows;
    ahead += product.groups * ahead_step;
  }
}

template <int most = dot_tile_panels>
inline void int8_panels(int64_t panels, const Int8Product& product, int64_t row, int64_t end, int64_t first_panel,
                        const int8_t* weights, const PanelUnits& units, const int8_t* ahead) {
  if constexpr (most > 1) {
    if (panels < most) return int8_panels<most - 1>(panels, product, row, end, first_panel, weights, units, ahead);
  }
  int8_rows<most>(product, row, end, first_panel, weights, units, ahead);
}

// Rows in a work item: their digits and sums stay near while the item's panels are read again for each tile.
constexpr int64_t int8_item_rows = 96;

inline void run_int8_product(const Int8Product& product, const Worker& worker) {
  if (product.rows == 0) return;
#if defined(OCTAVO_AMX)
  if (product.rows >= tiles_from_rows) return run_int8_tiles(product, worker);
#endif
  const bool plain = product.weight.layout == Layout::plain;
  // One tile of rows is bound by memory, and one panel at a time is read fastest: 43 against 34 GB/s a core (Zen 5).
  const int64_t width = plain || product.rows <= dot_tile_rows ? 1 : dot_tile_panels;
  const int64_t strips = (product.panels + width - 1) / width;
  const int64_t item_rows = plain ? product.rows : int8_item_rows;
  const int64_t items = strips * ((product.rows + item_rows - 1) / item_rows);
  // Several pieces for each thread, so that one that lost its core to another process does not hold up the rest; few when
  // memory is the bound, for a long piece is read faster: 70 GB/s by two cores with 2 pieces each, 60 with 4, 50 with 8.
  const int64_t pieces = (product.rows > int8_item_rows ? 4 : 2) * worker.threads;
  const int64_t chunk = items > pieces ? items / pieces : 1;
  int64_t item, end;
  while (worker.next(items, chunk, &item, &end)) {
    for (; item < end; item++) {
      const int64_t panel = item % strips * width, row = item / strips * item_rows;
      const int64_t last_row = row + item_rows < product.rows ? row + item_rows : product.rows;
      const int64_t panels = product.panels - panel < width ? product.panels - panel : width;
      const int8_t* weights = product.panel(panel);
      // The other threads are likely to take the pieces between this one and the next.
      const int64_t next = item + 1 < end ? item + 1 : end + chunk * (worker.threads - 1);
      const int8_t* ahead = next < items ? product.panel(next % strips * width) : weights;
      if (plain) {
        int8_t* packed = reinterpret_cast<int8_t*>(worker.scratch);
        pack_panel(product, panel, packed);
        ahead = weights = packed;
      }
      const PanelUnits units(product, panel, panels);
      int8_panels(panels, product, row, last_row, panel, weights, units, ahead);
    }
  }
}

inline Int8Product linear_int8_product(const OpCall& call) {
  namespace op = op_linear_int8;
  return {call.in[op::low],     call.in[op::high],  call.in[op::carries], call.in[op::weight],
          call.out[op::out_y], &call.in[op::step], &call.in[op::scale],  &call.in[op::bias]};
}
inline void run_linear_int8(const OpCall& call, const Worker& worker) {
  run_int8_product(linear_int8_product(call), worker);
}

inline Int8Product multiply_int8_product(const OpCall& call) {
  namespace op = op_multiply_int8;
  return {call.in[op::low],        call.in[op::high], call.in[op::carries], call.in[op::weight],
          call.out[op::out_sums], nullptr,           nullptr,              nullptr};
}
inline void run_multiply_int8(const OpCall& call, const Worker& worker) {
  run_int8_product(multiply_int8_product(call), worker);
}

}  // namespace octavo::OCTAVO_ISA
