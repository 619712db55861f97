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

// Tile registers 0 to 2: sums of the upper 16 rows by power, 3 to 5: of the lower ones, 6: digits of rows, 7: of the
// panel. The intrinsics want numbers that are written out.
enum class Signs { both, panel, rows, none };
template <int tile>
OCTAVO_ALWAYS_INLINE void clear_sums() {
  if constexpr (tile == 0) _tile_zero(0);
  if constexpr (tile == 1) _tile_zero(1);
  if constexpr (tile == 2) _tile_zero(2);
  if constexpr (tile == 3) _tile_zero(3);
  if constexpr (tile == 4) _tile_zero(4);
  if constexpr (tile == 5) _tile_zero(5);
}
template <int tile>
OCTAVO_ALWAYS_INLINE void store_sums(int32_t* sums) {
  if constexpr (tile == 0) _tile_stored(0, sums, 64);
  if constexpr (tile == 1) _tile_stored(1, sums, 64);
  if constexpr (tile == 2) _tile_stored(2, sums, 64);
  if constexpr (tile == 3) _tile_stored(3, sums, 64);
  if constexpr (tile == 4) _tile_stored(4, sums, 64);
  if constexpr (tile == 5) _tile_stored(5, sums, 64);
}
#define OCTAVO_ADD_PRODUCTS(number)                                 \
  if constexpr (tile == number) {                                   \
    if constexpr (signs == Signs::both) _tile_dpbssd(number, 6, 7); \
    if constexpr (signs == Signs::panel) _tile_dpbusd(number, 6, 7); \
    if constexpr (signs == Signs::rows) _tile_dpbsud(number, 6, 7); \
    if constexpr (signs == Signs::none) _tile_dpbuud(number, 6, 7); \
  }
template <int tile, Signs signs>
OCTAVO_ALWAYS_INLINE void add_products() {
  OCTAVO_ADD_PRODUCTS(0)
  OCTAVO_ADD_PRODUCTS(1)
  OCTAVO_ADD_PRODUCTS(2)
  OCTAVO_ADD_PRODUCTS(3)
  OCTAVO_ADD_PRODUCTS(4)
  OCTAVO_ADD_PRODUCTS(5)
}
#undef OCTAVO_ADD_PRODUCTS

template <class T, int base>
OCTAVO_ALWAYS_INLINE void store_digit_sums(DigitSums& sums) {
  store_sums<base>(sums.of[0]);
  store_sums<base + 1>(sums.of[1]);
  if constexpr (sizeof(T) == 2) store_sums<base + 2>(sums.of[2]);
}

// Chunks of 16 rows of digits times those of a panel, in the registers from `base` on. T: what the panel's integers were.
// between(i), i = 0 to 3, is other work that goes on while the first chunk is multiplied.
template <class T, int base, class Between>
OCTAVO_ALWAYS_INLINE void multiply_digits(const int8_t* rows, int64_t stride, const int8_t* panel, int chunks,
                                          const Between& between) {
  constexpr bool wide = sizeof(T) == 2;
  const auto chunk = [&](const auto& piece) {
    _tile_loadd(7, panel + panel_low, 64);
    _tile_loadd(6, rows, stride);
    add_products<base + 1, wide ? Signs::rows : Signs::both>();
    piece(0);
    _tile_loadd(6, rows + row_low, stride);
    add_products<base, wide ? Signs::none : Signs::panel>();
    piece(1);
    if constexpr (wide) {
      _tile_loadd(7, panel, 64);
      add_products<base + 1, Signs::panel>();
    }
    piece(2);
    if constexpr (wide) {
      _tile_loadd(6, rows, stride);
      add_products<base + 2, Signs::both>();
    }
    piece(3);
    rows += row_chunk, panel += panel_chunk;
  };
  clear_sums<base>();
  clear_sums<base + 1>();
  if constexpr (wide) clear_sums<base + 2>();
  chunk(between);
  for (int i = 1; i < chunks; i++) chunk([](int) {});
}

// 32 rows times panels [first, end): `use(half, sums, panel, row)` takes the sums of rows [row, row + 4) of the upper or
// lower 16. While one half is multiplied, the other one's sums leave the registers, and sums that have left are used.
template <class T, class Use>
OCTAVO_ALWAYS_INLINE void multiply_panels(const int8_t* rows, int64_t stride, const int8_t* panels, int64_t panel_bytes,
                                          int first, int end, int chunks, const Use& use) {
  constexpr bool wide = sizeof(T) == 2;
  const int8_t* const lower = rows + lane_rows * stride;
  DigitSums sums[2];
  asm volatile("" : : : "memory");  // gcc 12 does not know that tiles are loaded from memory, nor that they are stored
  const auto leave = [&](auto other, DigitSums& to, int i) {
    constexpr int base = decltype(other)::value;
    if (i == 0) store_sums<base>(to.of[0]);
    if (i == 1) store_sums<base + 1>(to.of[1]);
    if (i == 2 && wide) store_sums<base + 2>(to.of[2]);
    asm volatile("" : : : "memory");
  };
  const int8_t* panel = panels + first * panel_bytes;
  multiply_digits<T, 0>(rows, stride, panel, chunks, [](int) {});
  multiply_digits<T, 3>(lower, stride, panel, chunks, [&](int i) { leave(Count<0>(), sums[0], i); });
  for (int p = first + 1; p < end; p++) {
    panel += panel_bytes;
    multiply_digits<T, 0>(rows, stride, panel, chunks, [&](int i) {
      leave(Count<3>(), sums[1], i);
      use(0, sums[0], p - 1, 4 * i);
    });
    multiply_digits<T, 3>(lower, stride, panel, chunks, [&](int i) {
      leave(Count<0>(), sums[0], i);
      use(1, sums[1], p - 1, 4 * i);
    });
  }
  store_digit_sums<T, 3>(sums[1]);
  asm volatile("" : : : "memory");
  for (int half = 0; half < 2; half++)
    for (int row = 0; row < lane_rows; row += 4) use(half, sums[half], end - 1, row);
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
  const Operand& biases = call.in[op_attention::bias];
  // Pairs of tiles of rows, each a step behind with its values: what they multiply has left the core's queues by then.
  LaneRows pairs[2][2];
  const auto weigh = [&](int pair) {
    LaneRows(&lanes)[2] = pairs[pair % 2];
    const int first = pair * tile_block_rows;
    const int rows = block.rows - first < tile_block_rows ? block.rows - first : tile_block_rows;
    const LaneSight all(shape, block, block_key, first, rows);
    for (int half = 0; half < 2; half++)
      begin_lanes(lanes[half], all, shape, block, block_key, first + half * lane_rows, LanePlace(scratch, pair, half), scratch);
    if (all.vector >= all.end_vector) {
      for (int half = 0; part && half < 2; half++) leave_lanes(lanes[half], zero(), zero(), scratch.states, *part);
      return all;
    }
    const int8_t* q = reinterpret_cast<const int8_t*>(scratch.q + static_cast<int64_t>(first) * shape.depth);
    with_sight(all.sight, [&](auto sight) {
      constexpr Sight own = decltype(sight)::value;
      multiply_panels<T>(q, 2 * shape.depth, scratch.keys, key_bytes, all.vector, all.end_vector, chunks,
                         [&](int half, const DigitSums& sums, int v, int row) {
        score_lanes<T, own>(lanes[half], sums, shape, block, block_key, biases, scratch, v, row);
      });
      for (int half = 0; half < 2; half++) find_exponents<own>(lanes[half], all, scratch);
    });
    return all;
  };
  const auto round = [&](int pair, const LaneSight& all) {
    if (all.vector >= all.end_vector) return;
    LaneRows(&lanes)[2] = pairs[pair % 2];
    with_sight(all.sight, [&](auto sight) {
      constexpr Sight own = decltype(sight)::value;
      for (int half = 0; half < 2; half++) {
        if (own != Sight::bent && lanes[half].plain) {
          weigh_lanes<own, own != Sight::bent>(lanes[half], all, shape, scratch, part);
        } else {
          weigh_lanes<own, false>(lanes[half], all, shape, scratch, part);
        }
      }
    });
    for (int half = 0; half < 2; half++) split_weights(lanes[half], all.chunk(), all.end_chunk());
  };
  const auto take = [&](int pair, const LaneSight& all) {
    if (all.vector >= all.end_vector) return;
    LaneRows(&lanes)[2] = pairs[pair % 2];
    multiply_panels<T>(lanes[0].digits + all.chunk() * row_chunk, 2 * attention_block,
                       scratch.values + all.chunk() * panel_chunk, value_bytes, 0, shape.padded / 16,
                       all.end_chunk() - all.chunk(), [&](int half, const DigitSums& sums, int v, int row) {
      take_lanes<T>(lanes[half], sums, shape, scratch, part, v, row);
    });
  };
  const int count = (block.rows + tile_block_rows - 1) / tile_block_rows;
  LaneSight before = weigh(0);
  round(0, before);
  for (int pair = 1; pair < count; pair++) {
    const LaneSight all = weigh(pair);
    take(pair - 1, before);
    round(pair, all);
    before = all;
  }
  take(count - 1, before);
}

}  // namespace octavo::OCTAVO_ISA
