// linear_int8 by tiles (AMX), for more rows than decode has. The sums are those of linear_int8.h: exact, so the same.
//
// A work item is up to 256 rows, whose digits stay in the L2 cache, and a strip of two panels. Their products are made a
// block of 32 rows at a time; while one is multiplied, the sums of the one before become results. (Chunks of K that keep
// the strip's weights in the L1 cache were slower: sums come and go between them.)
#pragma once

#include <cstdint>

#include "int8_carries_tiles.h"
#include "int8_product.h"
#include "int8_tiles.h"

namespace octavo::OCTAVO_ISA {

// From this many rows on tiles are faster than vectors.
inline constexpr int64_t tiles_from_rows = 16;
inline constexpr int tile_item_blocks = 8;
inline constexpr int64_t tile_item_rows = tile_item_blocks * tile_block_rows;

// The panels that rows are multiplied with, at most two.
struct TilePanels {
  int64_t first;
  const int8_t* weights;
  const PanelUnits& units;
  bool whole;  // 16 columns each
  // The next panels: fetched meanwhile, for the hardware's prefetchers start anew with every panel.
  const int8_t* ahead;
};

// Up to 32 rows, and their sums.
struct TileBlock {
  int64_t row = 0;
  int rows = 0, done = 0;
  const int32_t* high = nullptr;  // sums of high digits, null without any
  alignas(64) int32_t low[tile_block_rows * 2 * 16];
};

// The results of the next `rows` rows of a block.
template <int panels>
OCTAVO_ALWAYS_INLINE void finish_rows(const Int8Product& product, const TilePanels& strip, TileBlock& block, int rows) {
  const int begin = block.done, end = begin + rows < block.rows ? begin + rows : block.rows;
  block.done = end;
  const bool carried = block.high != nullptr;
  int32_t* low = block.low + begin * panels * 16;
  const int32_t* high = carried ? block.high + begin * panels * 16 : low;
  if (product.steps == nullptr || !strip.whole) {
    for (int r = begin; r < end; r++, low += panels * 16, high += panels * 16) {
      for (int i = 0; carried && i < panels * 16; i += 16) {
        const I32x16 sum = load_i32(high + i);
        store_i32(low + i, add(load_i32(low + i), sub(shift_left<8>(sum), sum)));
      }
      store_row<panels>(product, block.row + r, strip.first, strip.units, low);
    }
    return;
  }
  // The usual case, in as few instructions as it can be: they share the core's front end with those of tiles.
  const int64_t row = block.row + begin;
  const float* steps = product.steps->as<const float>() + row;
  const float* const bias = product.bias->as<const float>();
  float* y = product.target.row<float>(row) + strip.first * 16;
  F32x16 unit[panels], offset[panels];
  for (int p = 0; p < panels; p++) {
    unit[p] = load(strip.units.unit + 16 * p);
    offset[p] = bias ? load(bias + (strip.first + p) * 16) : zero();
  }
  for (int r = begin; r < end; r++) {
    const F32x16 step = set1(*steps++);
    for (int p = 0; p < panels; p++) {
      I32x16 sum = load_i32(low + 16 * p);
      if (carried) {
        const I32x16 h = load_i32(high + 16 * p);
        sum = add(sum, sub(shift_left<8>(h), h));
      }
      const F32x16 value = mul(to_f32(sum), step);
      store(y + 16 * p, bias ? fma(value, unit[p], offset[p]) : mul(value, unit[p]));
    }
    low += panels * 16, high += panels * 16, y += product.target.stride;
  }
}

// A thread's rows: which have carries, gathered once for all strips.
struct TileRows {
  int64_t begin = -1, end = -1;
  CarriedBlock carried[tile_item_blocks];

  // `scratch`: the worker's, or null where a plain weight's panel lies in it.
  void set(const Int8Product& product, int64_t first, int64_t last, uint8_t* scratch) {
    if (begin == first && end == last) return;
    begin = first, end = last;
    CarryGatherer gatherer(product, scratch);
    for (int i = 0; i < blocks(); i++) gatherer.gather(first + i * tile_block_rows, rows(i), &carried[i]);
  }
  int blocks() const { return static_cast<int>((end - begin + tile_block_rows - 1) / tile_block_rows); }
  int rows(int block) const {
    const int64_t left = end - begin - block * tile_block_rows;
    return static_cast<int>(left < tile_block_rows ? left : tile_block_rows);
  }
};

// The memory of a strip's products, small enough for the L1 cache beside the strip's weights.
struct TileMemory {
  // Of a block and the one before it.
  TileBlock blocks[2];
  alignas(64) int32_t high[2][tile_block_rows * 2 * 16];
  GatheredWeights gathered;
};

inline constexpr auto nothing_between = [](int64_t) {};

// The sums of a block's high digits. The weights of the first steps are gathered already.
template <bool two, int panels>
inline void multiply_gathered(const CarriedBlock& carried, const int8_t* weights, int64_t stride,
                              GatheredWeights& gathered, int32_t* high) {
  const int64_t row_bytes = carried.steps * 64;
  const int64_t first = carried.steps < gathered_steps ? carried.steps : gathered_steps;
  multiply_tiles<two, panels, false>(carried.digits, row_bytes, gathered.panel[0], gathered.panel_bytes, first, high,
                                     nothing_between);
  for (int64_t step = first; step < carried.steps; step += gathered_steps) {
    const int64_t left = carried.steps - step, steps = left < gathered_steps ? left : gathered_steps;
    const int64_t begin = step * step_groups, end = begin + steps * step_groups;
    gathered.copy<panels>(carried, weights, stride, begin, begin, end);
    multiply_tiles<two, panels, true>(carried.digits + 64 * step, row_bytes, gathered.panel[0], gathered.panel_bytes,
                                      steps, high, nothing_between);
  }
}

// The sums of `block`; meanwhile the results of `before`, if there is one, and `lines` of the panels ahead in each step.
template <bool two, int panels>
inline void multiply_block(const Int8Product& product, const TilePanels& strip, const CarriedBlock& carried,
                           TileBlock& block, int32_t* high, GatheredWeights& gathered, TileBlock* before,
                           const int8_t* ahead, int lines) {
  const int64_t steps = product.groups / step_groups, panel_bytes = product.groups * 64;
  const int rows = before ? static_cast<int>((before->rows + steps - 1) / steps) : 0;
  const int64_t at_once = carried.steps < gathered_steps ? carried.steps : gathered_steps;
  const int64_t groups = at_once * step_groups, copied = (groups + steps - 1) / steps;
  const auto meanwhile = [&](int64_t step) {
    const int8_t* line = ahead + step * lines * 64;
    for (int i = 0; i < lines; i++, line += 64) {
      for (int p = 0; p < panels; p++) prefetch_far(line + p * panel_bytes);
    }
    if (before) finish_rows<panels>(product, strip, *before, rows);
    if (groups > 0) {
      const int64_t begin = step * copied, end = begin + copied < groups ? begin + copied : groups;
      gathered.copy<panels>(carried, strip.weights, panel_bytes, 0, begin, end);
    }
  };
  multiply_tiles<two, panels, false>(product.low(block.row), product.low_stride(), strip.weights, panel_bytes, steps,
                                     block.low, meanwhile);
  block.high = carried.steps == 0 ? nullptr : high;
  if (carried.steps > 0) {
    multiply_gathered<two, panels>(carried, strip.weights, panel_bytes, gathered, high);
  } else if (carried.steps < 0) {
    multiply_tiles<two, panels, false>(product.high(block.row), product.high_stride(), strip.weights, panel_bytes,
                                       steps, high, nothing_between);
  }
}

// Rows times a strip of panels.
template <int panels>
inline void multiply_strip(const Int8Product& product, const TilePanels& strip, const TileRows& rows, Tiles& tiles) {
  TileMemory memory;
  TileBlock* before = nullptr;
  const int count = rows.blocks(), lines = step_groups / count;
  const int8_t* ahead = strip.ahead;
  for (int i = 0; i < count; i++, ahead += product.groups / step_groups * lines * 64) {
    TileBlock& block = memory.blocks[i % 2];
    block.row = rows.begin + i * tile_block_rows;
    block.rows = rows.rows(i), block.done = 0;
    tiles.set_rows(block.rows);
    if (block.rows > tile_rows) {
      multiply_block<true, panels>(product, strip, rows.carried[i], block, memory.high[i % 2], memory.gathered, before,
                                   ahead, lines);
    } else {
      multiply_block<false, panels>(product, strip, rows.carried[i], block, memory.high[i % 2], memory.gathered, before,
                                    ahead, lines);
    }
    before = &block;
  }
  finish_rows<panels>(product, strip, *before, tile_block_rows);
}

// Rows of a work item: fewer where the L2 cache would not hold their digits, or threads would have nothing to do.
inline int64_t tile_rows_of(const Int8Product& product, int64_t strips, int threads) {
  constexpr int64_t near_bytes = int64_t{1} << 20;
  int64_t rows = tile_item_rows;
  while (rows > tile_block_rows && rows * product.groups * 4 > near_bytes) rows /= 2;
  while (rows > tile_block_rows && (product.rows + rows - 1) / rows * strips < 4 * threads) rows /= 2;
  return rows;
}

template <int width>
inline void run_int8_strip(const Int8Product& product, int64_t panel, const int8_t* weights, const int8_t* ahead,
                           const TileRows& rows, Tiles& tiles) {
  const PanelUnits units(product, panel, width);
  multiply_strip<width>(product, {panel, weights, units, (panel + width) * 16 <= product.columns, ahead}, rows, tiles);
}

// Rows of a thread from which it multiplies its own with all of the weight: a thread finds what it has written itself two to
// three times as fast as what another has, and from here on that is more than reading the weight for fewer rows costs.
inline constexpr int64_t tile_own_rows = 128;
// Most pieces that such a thread's work is cut into, for others to take from.
inline constexpr int tile_own_pieces = 8;

// Items of the product of a packed weight with rows: strips of two panels for some rows, then for the next rows.
struct TileItems {
  const Int8Product& product;
  int64_t first_row, last_row, item_rows;
  int64_t strips = (product.panels + 1) / 2;

  int64_t count() const { return strips * ((last_row - first_row + item_rows - 1) / item_rows); }
  // Items [item, end); the item `next`, if there is one, is likely to come after them.
  void run(int64_t item, int64_t end, int64_t next, uint8_t* scratch, TileRows& rows, Tiles& tiles) const {
    for (; item < end; item++) {
      const int64_t row = first_row + item / strips * item_rows, panel = item % strips * 2;
      rows.set(product, row, row + item_rows < last_row ? row + item_rows : last_row, scratch);
      const int64_t after = item + 1 < end ? item + 1 : next;
      const int8_t* weights = product.panel(panel);
      const int8_t* ahead = after < count() ? product.panel(after % strips * 2) : weights;
      if (product.panels - panel >= 2) {
        run_int8_strip<2>(product, panel, weights, ahead, rows, tiles);
      } else {
        run_int8_strip<1>(product, panel, weights, ahead, rows, tiles);
      }
    }
  }
};

// A plain weight's panels are packed one after the other, each for all rows.
inline void run_plain_tiles(const Int8Product& product, const Worker& worker) {
  const int64_t item_rows = tile_rows_of(product, product.panels, worker.threads);
  int8_t* const packed = reinterpret_cast<int8_t*>(worker.scratch);
  Tiles tiles;
  TileRows rows;
  int64_t panel, end;
  while (worker.next(product.panels, 1, &panel, &end)) {
    pack_panel(product, panel, packed);
    for (int64_t row = 0; row < product.rows; row += item_rows) {
      rows.set(product, row, row + item_rows < product.rows ? row + item_rows : product.rows, nullptr);
      run_int8_strip<1>(product, panel, packed, packed, rows, tiles);
    }
  }
}

inline void run_int8_tiles(const Int8Product& product, const Worker& worker) {
  if (product.weight.layout == Layout::plain) return run_plain_tiles(product, worker);
  Tiles tiles;
  TileRows rows;
  const int threads = worker.threads;
  const int64_t strips = (product.panels + 1) / 2, item_rows = tile_rows_of(product, strips, threads);
  if (product.rows >= tile_own_rows * threads && threads <= 64) {
    const int pieces = 64 / threads < tile_own_pieces ? 64 / threads : tile_own_pieces;
    int owner, piece;
    while (worker.next_near(pieces, &owner, &piece)) {
      int64_t first, last;
      worker.share_of(owner, product.rows, tile_block_rows, &first, &last);
      const TileItems items = {product, first, last, item_rows};
      const int64_t begin = items.count() * piece / pieces, end = items.count() * (piece + 1) / pieces;
      items.run(begin, end, end, worker.scratch, rows, tiles);
    }
    return;
  }
  const TileItems items = {product, 0, product.rows, item_rows};
  const int64_t pieces = 4 * threads, count = items.count(), chunk = count > pieces ? count / pieces : 1;
  int64_t item, end;
  while (worker.next(count, chunk, &item, &end)) {
    // The other threads are likely to take the pieces between this one and the next.
    items.run(item, end, end + chunk * (threads - 1), worker.scratch, rows, tiles);
  }
}

}  // namespace octavo::OCTAVO_ISA
