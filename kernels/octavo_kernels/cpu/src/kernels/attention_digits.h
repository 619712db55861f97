// Attention's products by AMX tiles, for many rows: 16-bit integers as two digits of 8 bits, x = 256 * high + low, of
// which the low one has no sign.
//
// Digits lie in chunks of 64 along what is summed (elements of a head for scores, keys for values): 64 high digits,
// then 64 low ones. The order within a chunk is what takes least work, the same on both sides of a product: for scores pairs
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
static_assert(attention_held_rows >= tile_block_rows && tile_block_rows == 2 * lane_rows);
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
      const Pairs a = load(chunk, pair), b = load(chunk + 1, pair);
      const Pairs c = load(chunk + 2, pair), d = load(chunk + 3, pair);
      const auto put = [&](int8_t* target, const Pairs& ab, const Pairs& cd) {
        store_pairs(target + 128 * pair, low_halves(ab, cd));
        store_pairs(target + 128 * pair + 64, high_halves(ab, cd));
      };
      if constexpr (sizeof(T) == 2) put(panel, high_bytes(a, b), high_bytes(c, d));
      put(panel + panel_low, low_bytes(a, b), low_bytes(c, d));
    }
  }
}

// Products of digits with panels: the scores of some rows, and the weighted values of others, one panel a step, while
// a third lot of rows is weighed. Sums stay in the tile registers until the next step: their products take as long as
// many vector instructions, which do not wait for them.
template <class T>
struct DigitSteps {
  const OpCall& call;
  const AttentionShape& shape;
  const AttentionRows& block;
  int64_t block_key;
  const AttentionScratch& scratch;
  const BlockPart* part;
  const LaneRows& scored;
  const LaneRows& taken;
  const int8_t* digits;  // of the weights of `taken`
  int scores, values;
  DigitSums& sums;
  int next = 0;

  // Those before row `row` of 16.
  void before(int row) {
    const int end = (scores + values + 1) * (row + 1) / lane_rows;
    while (next < end) step(next++);
  }

 private:
  __attribute__((noinline)) void step(int i) {
    asm volatile("" : : : "memory");  // gcc 12 does not know that tiles are loaded from memory and stored
    if (i > 0) {
      _tile_stored(0, sums.of[0], 64);
      _tile_stored(1, sums.of[1], 64);
      if constexpr (sizeof(T) == 2) _tile_stored(2, sums.of[2], 64);
    }
    if (i < scores) {
      const int chunks = shape.depth / 64;
      multiply(reinterpret_cast<const int8_t*>(scratch.q) + scored.first * int64_t{2} * shape.depth, 2 * shape.depth,
               scratch.keys + (scored.vector + i) * chunks * panel_chunk, chunks);
    } else if (i < scores + values) {
      const int chunk = taken.chunk();
      multiply(digits + chunk * row_chunk, 2 * attention_block,
               scratch.values + (2 * (i - scores) + chunk) * panel_chunk, taken.end_chunk() - chunk);
    }
    asm volatile("" : : : "memory");
    if (i == 0) return;
    if (i > scores) return take_lanes<T>(taken, sums, shape, scratch, part, i - 1 - scores);
    const Operand& biases = call.in[op_attention::bias];
    with_sight(scored.sight, [&](auto sight) {
      score_lanes<T, decltype(sight)::value>(scored, sums, shape, block, block_key, biases, scratch,
                                             scored.vector + i - 1);
    });
  }

  // Chunks of 16 rows of digits times those of a panel. Registers 0 to 2: sums by power, 4 and 5: low and high digits
  // of rows, 6 and 7: of the panel.
  OCTAVO_ALWAYS_INLINE static void multiply(const int8_t* rows, int64_t stride, const int8_t* panel, int chunks) {
    constexpr bool wide = sizeof(T) == 2;
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (wide) _tile_zero(2);
    for (int chunk = 0; chunk < chunks; chunk++, rows += row_chunk, panel += panel_chunk) {
      _tile_loadd(6, panel + panel_low, 64);
      _tile_loadd(5, rows, stride);
      if constexpr (wide) {
        _tile_dpbsud(1, 5, 6);
      } else {
        _tile_dpbssd(1, 5, 6);
      }
      _tile_loadd(4, rows + row_low, stride);
      if constexpr (wide) {
        _tile_dpbuud(0, 4, 6);
        _tile_loadd(7, panel, 64);
        _tile_dpbssd(2, 5, 7);
        _tile_dpbusd(1, 4, 7);
      } else {
        _tile_dpbusd(0, 4, 6);
      }
    }
  }
};

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
  // Scores and weights of two tiles of rows, and the digits of the weights of one.
  float* const scores = reinterpret_cast<float*>(scratch.sums);
  int8_t* const digits = reinterpret_cast<int8_t*>(scores + 2 * block_vectors * lane_vector);
  static_assert((2 * 4 + 2) * lane_rows * attention_block <= 6 * attention_held_rows * attention_block);
  // While a tile of rows is weighed, the next one is scored, and the values of the one before are summed.
  LaneRows lanes[3];
  DigitSums sums;
  const int tiles_of_rows = (block.rows + lane_rows - 1) / lane_rows;
  for (int tile = -1; tile <= tiles_of_rows; tile++) {
    LaneRows &past = lanes[(tile + 2) % 3], &now = lanes[(tile + 3) % 3], &next = lanes[(tile + 4) % 3];
    next.rows = 0;
    if (tile + 1 < tiles_of_rows) {
      const int first = (tile + 1) * lane_rows;
      begin_lanes(next, shape, block, block_key, first, scores + (tile + 1) % 2 * block_vectors * lane_vector, scratch);
    }
    DigitSteps<T> steps = {call, shape, block, block_key, scratch, part, next, past, digits, next.vectors(),
                           past.vectors() ? shape.padded / 16 : 0, sums};
    if (now.vectors()) {
      with_sight(now.sight, [&](auto sight) {
        constexpr Sight own = decltype(sight)::value;
        const auto between = [&](int row) { steps.before(row); };
        if (own != Sight::bent && now.plain) {
          weigh_lanes<own, own != Sight::bent>(now, shape, scratch, part, between);
        } else {
          weigh_lanes<own, false>(now, shape, scratch, part, between);
        }
      });
      split_weights(now, digits);
    } else {
      steps.before(lane_rows - 1);
      if (part && now.rows > 0) leave_lanes(now, zero(), zero(), scratch.states, *part);
    }
    if (!next.vectors()) continue;
    with_sight(next.sight, [&](auto sight) { find_exponents<decltype(sight)::value>(next, scratch); });
  }
}

}  // namespace octavo::OCTAVO_ISA
