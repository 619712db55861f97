// Attention's products by AMX tiles, for many rows: 16-bit integers as two digits of 8 bits, x = 256 * high + low, of
// which the low one has no sign.
//
// Digits lie in chunks of 64 along what is summed (elements of a head for scores, keys for values): 64 high digits, then
// 64 low ones. The order within a chunk is what takes least work, the same on both sides of a product: for scores pairs
// of elements of the first half beside those of the second, for values key 16 i + g as byte i of lane g.
#pragma once

#include "attention_lanes.h"
#include "int8_tiles.h"

namespace octavo::OCTAVO_ISA {

// Whether so many rows are worth the digits of a block's keys and values: from 49 on, or from 32 on with heads of 128.
// Fewer rows go on with vectors, and are held all at once.
inline bool worth_digits(const AttentionShape& shape, int rows) {
  return rows > attention_held_rows || rows * shape.depth >= 4096;
}
// Tiles of rows that are under way at once: the steps of one hide where the other has to wait.
inline constexpr int tiles_together = 2;
static_assert(attention_held_rows >= tiles_together * lane_rows);
// Of a panel: 16 columns, 64 digits each, high then low.
inline constexpr int panel_chunk = 2048, panel_low = 1024;

// Chunks of 64 integers, in place.
inline void split_row(int16_t* row, int chunks) {
  for (int i = 0; i < chunks; i++, row += 64) {
    const Pairs a = load_pairs(row), b = load_pairs(row + 32);
    store_pairs(row, high_bytes(a, b));
    store_pairs(row + 32, low_bytes(a, b));
  }
}

// The keys of a page, 16 columns: chunks of 64 elements, with zeros to the end of the last. Integers of 8 bits are low
// digits as they are.
template <class T>
inline void split_keys(const T* page, int head_dim, int8_t* panel) {
  const int pairs = head_dim / 2;
  const auto load = [&](int pair) { return pair < pairs ? load_pairs(page + pair * 2 * page_size) : no_pairs(); };
  for (int chunk = 0; chunk < pairs; chunk += 32, panel += panel_chunk) {
    for (int g = 0; g < 16; g++) {
      const Pairs a = load(chunk + g), b = load(chunk + g + 16);
      if constexpr (sizeof(T) == 2) store_pairs(panel + 64 * g, high_bytes(a, b));
      store_pairs(panel + panel_low + 64 * g, low_bytes(a, b));
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
  for (int chunk = 0; chunk < block_pages; chunk += chunk_vectors, panel += panel_chunk) {
    for (int pair = 0; pair < page_size / 2; pair++) {
      const Pairs a = load(chunk, pair), b = load(chunk + 1, pair), c = load(chunk + 2, pair), d = load(chunk + 3, pair);
      const auto put = [&](int8_t* target, const Pairs& ab, const Pairs& cd) {
        store_pairs(target + 128 * pair, low_halves(ab, cd));
        store_pairs(target + 128 * pair + 64, high_halves(ab, cd));
      };
      if constexpr (sizeof(T) == 2) put(panel, high_bytes(a, b), high_bytes(c, d));
      put(panel + panel_low, low_bytes(a, b), low_bytes(c, d));
    }
  }
}

// Chunks [first, end) of 16 rows of digits times those of a panel. T: what the panel's integers were.
template <class T>
OCTAVO_ALWAYS_INLINE void multiply_digits(const int8_t* rows, int64_t stride, const int8_t* panel, int first, int end,
                                          DigitSums& sums) {
  constexpr bool wide = sizeof(T) == 2;
  asm volatile("" : : : "memory");  // gcc 12 does not know that tiles are loaded from memory
  // Registers 0 to 2: sums by power, 4 and 5: low and high digits of rows, 6 and 7: of the panel.
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (wide) _tile_zero(2);
  for (int chunk = first; chunk < end; chunk++) {
    const int8_t* digits = rows + chunk * row_chunk;
    const int8_t* columns = panel + chunk * panel_chunk;
    _tile_loadd(6, columns + panel_low, 64);
    _tile_loadd(5, digits, stride);
    if constexpr (wide) {
      _tile_dpbsud(1, 5, 6);
    } else {
      _tile_dpbssd(1, 5, 6);
    }
    _tile_loadd(4, digits + row_low, stride);
    if constexpr (wide) {
      _tile_dpbuud(0, 4, 6);
      _tile_loadd(7, columns, 64);
      _tile_dpbssd(2, 5, 7);
      _tile_dpbusd(1, 4, 7);
    } else {
      _tile_dpbusd(0, 4, 6);
    }
  }
  _tile_stored(0, sums.of[0], 64);
  _tile_stored(1, sums.of[1], 64);
  if constexpr (wide) _tile_stored(2, sums.of[2], 64);
  asm volatile("" : : : "memory");
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
  for (int first = 0; first < block.rows; first += tiles_together * lane_rows) {
    LaneRows lanes[tiles_together];
    int count = 0;
    for (int row = first; count < tiles_together && row < block.rows; row += lane_rows, count++) {
      begin_lanes(lanes[count], shape, block, block_key, row, count, scratch);
      with_sight(lanes[count].sight, [&](auto sight) {
        const int8_t* q = reinterpret_cast<const int8_t*>(scratch.q + static_cast<int64_t>(row) * shape.depth);
        score_lanes<T, decltype(sight)::value>(lanes[count], shape, block, block_key, call.in[op_attention::bias],
                                               scratch, [&](int v, DigitSums& sums) {
          multiply_digits<T>(q, 2 * shape.depth, scratch.keys + v * key_bytes, 0, chunks, sums);
        });
      });
    }
    for (int i = 0; i < count; i++)
      with_sight(lanes[i].sight, [&](auto sight) { weigh_lanes<decltype(sight)::value>(lanes[i], shape, scratch, part); });
    for (int i = 0; i < count; i++) {
      const int chunk = lanes[i].chunk(), end_chunk = lanes[i].end_chunk();
      split_weights(lanes[i], chunk, end_chunk);
      take_lanes<T>(lanes[i], shape, scratch, part, [&](int v, DigitSums& sums) {
        multiply_digits<T>(lanes[i].digits, 2 * attention_block, scratch.values + v * value_bytes, chunk, end_chunk, sums);
      });
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
