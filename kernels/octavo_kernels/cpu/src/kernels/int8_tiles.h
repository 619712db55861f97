// Products of signed bytes by AMX tiles: up to 32 rows times one or two panels of 16 columns, exact in int32.
//
// A tile register is 16 rows of 64 bytes. Rows of digits lie as they are; panels are [k / 4][16 columns][4], as packed
// int8 weights: 16 groups of 4 k are one tile. One instruction adds 16 x 64 digits times 64 x 16 weights to 16 x 16 sums,
// and with four such sums each tile that is loaded is used twice, which keeps the multipliers busy from the L2 cache on.
#pragma once

#include <cstdint>

namespace octavo::OCTAVO_ISA {

// Rows of one tile, and the most that a product has: two tiles.
inline constexpr int tile_rows = 16, tile_block_rows = 32;

// The tile registers of this thread while it lives. Without a release the kernel would save them at each switch of
// threads, and the core could not rest.
class Tiles {
 public:
  Tiles() = default;
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  ~Tiles() {
    if (rows_ != 0) _tile_release();
  }
  // Of the products that come, 1 to 32. Costs some 150 cycles where it changes.
  void set_rows(int rows) {
    if (rows == rows_) return;
    rows_ = rows;
    const int upper = rows < tile_rows ? rows : tile_rows, lower = rows - upper;
    // Registers 0 to 3 are sums, 4 and 5 digits, 6 and 7 weights.
    const int rows_of[8] = {upper, upper, lower, lower, upper, lower, tile_rows, tile_rows};
    Config config = {};
    config.palette = 1;
    for (int tile = 0; tile < 8; tile++) {
      config.rows[tile] = static_cast<uint8_t>(rows_of[tile]);
      config.row_bytes[tile] = rows_of[tile] == 0 ? 0 : 64;
    }
    asm volatile("" : : "r"(&config) : "memory");  // gcc 12 lets the instruction read the first 8 bytes only
    _tile_loadconfig(&config);
  }

 private:
  struct alignas(64) Config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  int rows_ = 0;
};

// sums[r][p][i] = (continued ? sums[r][p][i] : 0) + sum over k of digits[r * stride + k] * panel p's [k / 4][i][k % 4],
// for k below 64 * steps, the columns i of a panel, and the rows of Tiles::set_rows: up to 16, or more with `two`.
// `sums` is [rows][panels][16]. `between(step)` is called once in each step: other work, in the multipliers' shadow.
// Digits are loaded past the L1 cache, where the weights are to stay for the next rows: 10 to 17 % of a product.
template <bool two, int panels, bool continued, class Between>
OCTAVO_ALWAYS_INLINE void multiply_tiles(const int8_t* digits, int64_t stride, const int8_t* weights,
                                         int64_t panel_bytes, int64_t steps, int32_t* sums, Between between) {
  static_assert(panels == 1 || panels == 2);
  constexpr int64_t sums_bytes = panels * 64;
  int32_t* const lower = sums + tile_rows * panels * 16;
  asm volatile("" : : : "memory");  // gcc 12 does not know that tiles are loaded from memory
  if constexpr (continued) {
    _tile_loadd(0, sums, sums_bytes);
    if constexpr (panels == 2) _tile_loadd(1, sums + 16, sums_bytes);
    if constexpr (two) _tile_loadd(2, lower, sums_bytes);
    if constexpr (two && panels == 2) _tile_loadd(3, lower + 16, sums_bytes);
  } else {
    _tile_zero(0);
    if constexpr (panels == 2) _tile_zero(1);
    if constexpr (two) _tile_zero(2);
    if constexpr (two && panels == 2) _tile_zero(3);
  }
  for (int64_t step = 0; step < steps; step++) {
    _tile_loadd(6, weights, 64);
    _tile_stream_loadd(4, digits, stride);
    _tile_dpbssd(0, 4, 6);
    if constexpr (panels == 2) {
      _tile_loadd(7, weights + panel_bytes, 64);
      _tile_dpbssd(1, 4, 7);
    }
    if constexpr (two) {
      _tile_stream_loadd(5, digits + tile_rows * stride, stride);
      _tile_dpbssd(2, 5, 6);
      if constexpr (panels == 2) _tile_dpbssd(3, 5, 7);
    }
    between(step);
    digits += 64, weights += 1024;
  }
  _tile_stored(0, sums, sums_bytes);
  if constexpr (panels == 2) _tile_stored(1, sums + 16, sums_bytes);
  if constexpr (two) _tile_stored(2, lower, sums_bytes);
  if constexpr (two && panels == 2) _tile_stored(3, lower + 16, sums_bytes);
}

}  // namespace octavo::OCTAVO_ISA
