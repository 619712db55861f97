// Attention's products by AMX tiles, for many rows: 16-bit integers as two int8 digits, x = 256 * high + low.
//
// Digits lie in chunks of 64 along what is summed (elements of a head for scores, keys for values): 64 high digits, then
// 64 low ones. A chunk of 64 integers becomes its digits in place, in an order of its own: lane i of the first 32
// integers beside lane i of the last 32, a few instructions without any shuffle. Pages, which hold pairs, are split by
// the same function, so both sides of a product have the same order.
#pragma once

#include "attention_block.h"
#include "int8_tiles.h"

namespace octavo::OCTAVO_ISA {

// Whether so many rows are worth the digits of a block's keys and values: from 49 on, or from 32 on with heads of 128.
// Fewer rows go on with vectors, and are held all at once.
inline bool worth_digits(const AttentionShape& shape, int rows) {
  return rows > attention_held_rows || rows * shape.depth >= 4096;
}
static_assert(attention_held_rows >= tile_block_rows);
// Of a panel: 16 columns, 64 digits each, high then low.
inline constexpr int panel_chunk = 2048, panel_low = 1024;
// Of a row of digits.
inline constexpr int row_chunk = 128, row_low = 64;

// Chunks of 64 integers, in place. Low digits are -128 to 127.
inline void split_row(int16_t* row, int chunks) {
  for (int i = 0; i < chunks; i++, row += 64) {
    const Pairs a = load_pairs(row), b = load_pairs(row + 32);
    store_pairs(row, high_digits(a, b));
    store_pairs(row + 32, low_digits(a, b));
  }
}

// 64 bytes of a panel: its 16 columns of two pairs. Integers of 8 bits are low digits as they are.
template <class T>
OCTAVO_ALWAYS_INLINE void put_group(int8_t* panel, const Pairs& a, const Pairs& b) {
  if constexpr (sizeof(T) == 2) store_pairs(panel, high_digits(a, b));
  store_pairs(panel + panel_low, low_digits(a, b));
}

// The keys of a page, 16 columns: chunks of 64 elements, with zeros to the end of the last.
template <class T>
inline void split_keys(const T* page, int head_dim, int8_t* panel) {
  const int pairs = head_dim / 2;
  for (int chunk = 0; chunk < pairs; chunk += 32, panel += panel_chunk) {
    for (int g = 0; g < 16; g++) {
      const int a = chunk + g, b = a + 16;
      put_group<T>(panel + 64 * g, a < pairs ? load_pairs(page + a * 2 * page_size) : no_pairs(),
                   b < pairs ? load_pairs(page + b * 2 * page_size) : no_pairs());
    }
  }
}

// The values of the pages [first, end) of a block, `element` and the 15 after it as columns: two chunks of 64 keys.
template <class T>
inline void split_values(const T* const* pages, int first, int end, int head_dim, int element, int8_t* panel) {
  const int left = head_dim - element;
  const auto load = [&](int page, int pair) {
    if (page < first || page >= end) return no_pairs();
    const T* place = pages[page] + pair * 2 * static_cast<int64_t>(head_dim) + 2 * element;
    return left < 16 ? load_pairs_first(place, left) : load_pairs(place);
  };
  for (int chunk = 0; chunk < block_pages; chunk += 4, panel += panel_chunk) {
    for (int g = 0; g < 16; g++)
      put_group<T>(panel + 64 * g, load(chunk + g / 8, g % 8), load(chunk + 2 + g / 8, g % 8));
  }
}

// Sums of 32 rows and 16 columns, by the power of 256 that they count.
struct alignas(64) DigitSums {
  int32_t of[3][tile_block_rows * 16];

  // Of one row. Sums may wrap on the way: the whole fits.
  template <class T>
  OCTAVO_ALWAYS_INLINE I32x16 joined(int row) const {
    I32x16 sum = load_i32(of[1] + 16 * row);
    if constexpr (sizeof(T) == 2) sum = add(shift_left<8>(load_i32(of[2] + 16 * row)), sum);
    return add(shift_left<8>(sum), load_i32(of[0] + 16 * row));
  }
};

// Chunks [first, end) of 32 rows of digits times those of a panel. T: what the panel's integers were. Two tiles of rows,
// for the products of one would wait for each other.
template <class T>
OCTAVO_ALWAYS_INLINE void multiply_digits(const int8_t* rows, int64_t stride, const int8_t* panel, int first, int end,
                                          DigitSums& sums) {
  constexpr bool wide = sizeof(T) == 2;
  constexpr int lower = tile_rows * 16;
  asm volatile("" : : : "memory");  // gcc 12 does not know that tiles are loaded from memory
  // Registers 0 to 2: sums of the upper 16 rows by power, 3 to 5: of the lower ones, 6: digits of rows, 7: of the panel.
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (wide) _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  if constexpr (wide) _tile_zero(5);
  const int8_t* upper_rows = rows + first * row_chunk;
  const int8_t* lower_rows = upper_rows + tile_rows * stride;
  panel += first * panel_chunk;
  for (int chunk = first; chunk < end; chunk++) {
    _tile_loadd(7, panel + panel_low, 64);
    _tile_loadd(6, upper_rows, stride);
    _tile_dpbssd(1, 6, 7);
    _tile_loadd(6, lower_rows, stride);
    _tile_dpbssd(4, 6, 7);
    _tile_loadd(6, upper_rows + row_low, stride);
    _tile_dpbssd(0, 6, 7);
    _tile_loadd(6, lower_rows + row_low, stride);
    _tile_dpbssd(3, 6, 7);
    if constexpr (wide) {
      _tile_loadd(7, panel, 64);
      _tile_dpbssd(4, 6, 7);
      _tile_loadd(6, upper_rows + row_low, stride);
      _tile_dpbssd(1, 6, 7);
      _tile_loadd(6, lower_rows, stride);
      _tile_dpbssd(5, 6, 7);
      _tile_loadd(6, upper_rows, stride);
      _tile_dpbssd(2, 6, 7);
    }
    upper_rows += row_chunk, lower_rows += row_chunk, panel += panel_chunk;
  }
  _tile_stored(0, sums.of[0], 64);
  _tile_stored(1, sums.of[1], 64);
  if constexpr (wide) _tile_stored(2, sums.of[2], 64);
  _tile_stored(3, sums.of[0] + lower, 64);
  _tile_stored(4, sums.of[1] + lower, 64);
  if constexpr (wide) _tile_stored(5, sums.of[2] + lower, 64);
}

// As attend_block; q's rows are digits.
template <class T>
inline void attend_digits(const OpCall& call, const AttentionShape& shape, const AttentionRows& block, int64_t index,
                          const AttentionScratch& scratch, const BlockPart* part) {
  const int64_t block_key = index * attention_block;
  const KeyRange all = seen_by(shape, block, block_key, 0, block.rows);
  const int first_page = all.first / page_size, last_page = end_page(all);
  const BlockPages<T> pages(call, shape, block, index, first_page, last_page);
  gather_steps(pages.steps, first_page, last_page, scratch.steps);
  const int chunks = shape.depth / 64, key_bytes = chunks * panel_chunk, value_bytes = 2 * panel_chunk;
  for (int page = first_page; page < last_page; page++)
    split_keys<T>(pages.keys[page], shape.head_dim, scratch.keys + page * key_bytes);
  for (int element = 0; element < shape.head_dim; element += 16)
    split_values<T>(pages.values, first_page, last_page, shape.head_dim, element,
                    scratch.values + element / 16 * value_bytes);
  Tiles tiles;
  tiles.set_rows(tile_block_rows);
  DigitSums sums;
  for (int first = 0; first < block.rows; first += tile_block_rows) {
    const int rows = block.rows - first < tile_block_rows ? block.rows - first : tile_block_rows;
    const KeyRange seen = seen_by(shape, block, block_key, first, rows);
    const int8_t* q = reinterpret_cast<const int8_t*>(scratch.q + static_cast<int64_t>(first) * shape.depth);
    for (int page = seen.first / page_size; page < end_page(seen); page++) {
      multiply_digits<T>(q, 2 * shape.depth, scratch.keys + page * key_bytes, 0, chunks, sums);
      int32_t* target = scratch.sums + page * page_size;
#pragma GCC unroll 4
      for (int row = 0; row < tile_block_rows; row++, target += attention_block)
        store_i32(target, sums.joined<T>(row));
    }
    weigh_rows(shape, block, first, first + rows, call.in[op_attention::bias], block_key, scratch, part);
    for (int row = 0; row < rows; row++) split_row(scratch.weights + row * attention_block, 2);
    const int8_t* weights = reinterpret_cast<const int8_t*>(scratch.weights);
    for (int element = 0; element < shape.head_dim; element += 16) {
      multiply_digits<T>(weights, 2 * attention_block, scratch.values + element / 16 * value_bytes, seen.first / 64,
                         (seen.end + 63) / 64, sums);
      for (int row = 0; row < rows; row++)
        take_values(shape, first + row, element, sums.joined<T>(row), scratch, part);
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
