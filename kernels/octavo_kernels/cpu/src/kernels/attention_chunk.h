// One chunk of 256 keys of attention: scores, softmax with the chunk's own maximum, weighted values.
//
// A block is some queries of one sequence with the query heads of one kv head: row r is query r / group, head
// r % group. Every row goes through its own visible keys in ascending order, so that neither the block's size nor its
// other rows matter to a row's bits.
#pragma once

#include <cstring>

#include "attention_tile.h"
#include "partial.h"

namespace octavo::OCTAVO_ISA {

inline constexpr int chunk_pages = attention_chunk / page_size;
// A row of scores. Rows a power of two apart would share cache sets.
inline constexpr int score_stride = attention_chunk + page_size;
// Converted values kept in the first-level cache.
inline constexpr int value_buffer_floats = 4096;

inline int64_t round_up_16(int64_t n) { return (n + 15) / 16 * 16; }

struct AttentionShape {
  int heads, kv_heads, head_dim;
  int group;   // query heads of a kv head
  int padded;  // head_dim rounded up to 16
  float scale, softcap;
  int64_t window;
  const float* slopes;

  explicit AttentionShape(const OpCall& call) {
    namespace op = op_attention;
    heads = call.integer(op::attr_heads);
    kv_heads = call.integer(op::attr_kvHeads);
    head_dim = call.integer(op::attr_headDim);
    group = heads / kv_heads;
    padded = static_cast<int>(round_up_16(head_dim));
    scale = call.number(op::attr_scale);
    softcap = call.number(op::attr_softcap);
    window = call.integer(op::attr_window);
    slopes = call.in[op::slopes].as<float>();
  }
  // Pages of converted values that fit the buffer, at least 1.
  int value_pages() const {
    const int fit = value_buffer_floats / (page_size * padded);
    return fit < 1 ? 1 : fit > chunk_pages ? chunk_pages : fit;
  }
};

struct AttentionBlock {
  int queries, rows;
  int64_t position;  // of the first query
  int kv_head;
  int query_row;         // of the first query, in q and y
  const int32_t* pages;  // of the sequence

  // Keys [first, end) that query i sees.
  int64_t first_key(int i, int64_t window) const {
    const int64_t low = window ? position + i - window + 1 : 0;
    return low > 0 ? low : 0;
  }
  int64_t end_key(int i) const { return position + i + 1; }
};

// What the rows of a block have of one chunk: the largest score, the sum of exponentials, the weighted values.
struct ChunkPart {
  float* output;  // [rows][padded]
  float* largest;
  float* total;
  int64_t stride;  // from one row's `largest` and `total` to the next
};

struct ChunkScratch {
  float* q;       // [rows][head_dim]
  float* scores;  // [rows][score_stride]
  float* keys;    // 4 pages [head_dim][16]
  float* values;  // value_pages() pages [16][padded]

  static size_t floats(const AttentionShape& shape, int rows) {
    const size_t one = static_cast<size_t>(shape.head_dim);
    return round_up_16(rows * one) + static_cast<size_t>(rows) * score_stride + 4 * page_size * one +
           static_cast<size_t>(shape.value_pages()) * page_size * shape.padded;
  }
  ChunkScratch(float* memory, const AttentionShape& shape, int rows) {
    q = memory;
    scores = q + round_up_16(static_cast<int64_t>(rows) * shape.head_dim);
    keys = scores + static_cast<int64_t>(rows) * score_stride;
    values = keys + static_cast<int64_t>(4) * page_size * shape.head_dim;
  }
};

// Visible keys of a row relative to the chunk, clipped to it; empty when end <= first.
struct KeyRange {
  int first, end;
};
inline KeyRange visible_keys(const AttentionShape& shape, const AttentionBlock& block, int64_t chunk_key, int row) {
  const int query = row / shape.group;
  const int64_t first = block.first_key(query, shape.window) - chunk_key, end = block.end_key(query) - chunk_key;
  const auto clip = [](int64_t x) { return static_cast<int>(x < 0 ? 0 : x > attention_chunk ? attention_chunk : x); };
  return {clip(first), clip(end)};
}

// Tiles of at most attention_tile_rows rows, even in size.
template <class Body>
OCTAVO_INLINE void each_tile(int rows, const Body& body) {
  const int tiles = (rows + attention_tile_rows - 1) / attention_tile_rows;
  for (int t = 0, first = 0; t < tiles; t++) {
    const int end = rows * (t + 1) / tiles;
    body(first, end - first);
    first = end;
  }
}

// A page of one kv head.
template <class T>
inline void prefetch_page(const T* page, int elements) {
  for (int i = 0; i < elements * page_size; i += 64 / static_cast<int>(sizeof(T))) prefetch(page + i);
}

// Scores of all rows with the key pages [first_page, end_page) of the chunk, 4 pages in turn.
template <class T>
inline void score_chunk(const AttentionShape& shape, const AttentionBlock& block, int64_t chunk_key, int first_page,
                        int end_page, const T* const* pages, const T* const* values, bool convert,
                        const ChunkScratch& scratch) {
  const int elements = shape.head_dim;
  for (int page = first_page; page < end_page; page += 4) {
    const int stop = page + 4 < end_page ? page + 4 : end_page;
    const float* converted[4];
    for (int i = page; i < stop; i++) {
      if (convert) {
        float* target = scratch.keys + (i - page) * page_size * elements;
        for (int d = 0; d < elements; d++) store(target + 16 * d, load_lanes(pages[i] + 16 * d));
        converted[i - page] = target;
        continue;
      }
      // One query's keys and values come from memory once: ask for the next ones while these are multiplied (cold
      // pages come 15 to 25 % faster, warm ones 8 % slower, and a step's pages are cold).
      prefetch_page(values[i], elements);
      if (i + 4 < end_page) prefetch_page(pages[i + 4], elements);
    }
    each_tile(block.rows, [&](int first, int rows) {
      // Pages that some row of the tile sees.
      const int low = visible_keys(shape, block, chunk_key, first).first / page_size;
      const int high = (visible_keys(shape, block, chunk_key, first + rows - 1).end + page_size - 1) / page_size;
      const int begin = low > page ? low : page, end = high < stop ? high : stop;
      if (begin >= end) return;
      float* scores = scratch.scores + first * score_stride + begin * page_size;
      const float* q = scratch.q + static_cast<int64_t>(first) * elements;
      with_rows(rows, [&](auto count) {
        constexpr int R = decltype(count)::value;
        if (convert) {
          const float* const* near = converted + (begin - page);
          score_rows<R>(scores, score_stride, q, elements, near, end - begin, elements, shape.scale);
        } else {
          score_rows<R>(scores, score_stride, q, elements, pages + begin, end - begin, elements, shape.scale);
        }
      });
    });
  }
}

inline F32x16 lane_numbers() {
  alignas(64) static const float numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(numbers);
}

// exp() where nothing is above zero, in two thirds of its operations and with its bits: one factor 2^n is enough.
// NaN where x is minus infinity (x - x): a score that overflowed is no key without weight.
inline F32x16 exp_of_nonpositive(F32x16 x) {
  const F32x16 n = round(mul(x, set1(exp_log2_e)));
  F32x16 r = fnma(n, set1(exp_ln2_high), x);
  r = fnma(n, set1(exp_ln2_low), r);
  const F32x16 y = add(fma(polynomial(r, exp_coefficients), mul(r, r), r), set1(1.0f));
  const F32x16 scaled = mul(y, as_f32(shift_left<23>(add(to_i32(n), set1_i32(127)))));
  return select(lt(x, set1(exp_underflow)), sub(x, x), scaled);
}

// Softcap and ALiBi, in place, on the vectors that hold the keys [begin, end).
inline void bend_scores(const AttentionShape& shape, float* scores, int begin, int end, float slope,
                        int64_t key_minus_query) {
  const F32x16 cap = set1(shape.softcap);
  for (int k = begin; k < end; k += 16) {
    F32x16 x = load(scores + k);
    // x - x: an infinite score would be `cap`, which passes for a number.
    if (shape.softcap != 0) x = add(mul(cap, tanh(div(x, cap))), sub(x, x));
    // Positions are exact in float32 to 2^24.
    if (shape.slopes)
      x = add(x, mul(set1(slope), add(set1(static_cast<float>(key_minus_query + k)), lane_numbers())));
    store(scores + k, x);
  }
}

// Scores of one row to exponentials in place; what is not visible in a touched vector becomes 0.
inline void soften_row(float* scores, KeyRange keys, float* largest, float* total) {
  const F32x16 lanes = lane_numbers();
  const int begin = keys.first / 16 * 16;
  const auto visible = [&](int k, F32x16 x, F32x16 otherwise) {
    if (k < keys.first) x = select(ge(lanes, set1(static_cast<float>(keys.first - k))), x, otherwise);
    if (k + 16 > keys.end) x = select(lt(lanes, set1(static_cast<float>(keys.end - k))), x, otherwise);
    return x;
  };
  const F32x16 low = set1(-__builtin_inff());
  F32x16 most = low;
  for (int k = begin; k < keys.end; k += 16) most = max(most, visible(k, load(scores + k), low));
  *largest = reduce_max(most);
  const F32x16 maximum = set1(*largest);
  F32x16 sum = zero();
  for (int k = begin; k < keys.end; k += 16) {
    const F32x16 p = visible(k, exp_of_nonpositive(sub(load(scores + k), maximum)), zero());
    store(scores + k, p);
    sum = add(sum, p);
  }
  *total = reduce_add(sum);
}

// Weighted values of one tile of rows over the keys [first, end) of the chunk that `pages` covers.
template <class T>
inline void add_values(const AttentionShape& shape, const AttentionBlock& block, int64_t chunk_key, int first_row,
                       int rows, const T* const* pages, int64_t value_stride, int first, int end,
                       const ChunkScratch& scratch, float* output) {
  const auto clipped = [&](int row) {
    const KeyRange keys = visible_keys(shape, block, chunk_key, row);
    return KeyRange{keys.first > first ? keys.first : first, keys.end < end ? keys.end : end};
  };
  // Keys that all rows see go together; what only some see goes row by row, before and after them.
  const KeyRange common = {clipped(first_row + rows - 1).first, clipped(first_row).end};
  const bool together = common.first < common.end;
  const auto alone = [&](int row, int from, int to) {
    if (from >= to) return;
    value_rows<1>(output + static_cast<int64_t>(row) * shape.padded, shape.padded,
                  scratch.scores + row * score_stride, score_stride, pages, value_stride, shape.padded, from, to);
  };
  for (int row = first_row; row < first_row + rows; row++) {
    const KeyRange keys = clipped(row);
    alone(row, keys.first, together ? common.first : keys.end);
  }
  if (!together) return;
  with_rows(rows, [&](auto count) {
    value_rows<decltype(count)::value>(output + static_cast<int64_t>(first_row) * shape.padded, shape.padded,
                                       scratch.scores + first_row * score_stride, score_stride, pages, value_stride,
                                       shape.padded, common.first, common.end);
  });
  for (int row = first_row; row < first_row + rows; row++) alone(row, common.end, clipped(row).end);
}

template <class T>
inline void value_chunk(const AttentionShape& shape, const AttentionBlock& block, int64_t chunk_key, int first_page,
                        int end_page, const T* const* pages, bool convert, const ChunkScratch& scratch, float* output) {
  std::memset(output, 0, sizeof(float) * block.rows * shape.padded);
  if (!convert) {
    each_tile(block.rows, [&](int first, int rows) {
      add_values(shape, block, chunk_key, first, rows, pages, shape.head_dim, first_page * page_size,
                 end_page * page_size, scratch, output);
    });
    return;
  }
  const int step = shape.value_pages();
  for (int page = first_page; page < end_page; page += step) {
    const int stop = page + step < end_page ? page + step : end_page;
    const float* converted[chunk_pages];
    for (int i = page; i < stop; i++) {
      float* target = scratch.values + static_cast<int64_t>(i - page) * page_size * shape.padded;
      converted[i] = target;
      for (int key = 0; key < page_size; key++) {
        const T* source = pages[i] + key * shape.head_dim;
        int d = 0;
        for (; d + 16 <= shape.head_dim; d += 16) store(target + key * shape.padded + d, load_lanes(source + d));
        if (d < shape.head_dim)
          store(target + key * shape.padded + d, load_lanes_first(source + d, shape.head_dim - d));
      }
    }
    each_tile(block.rows, [&](int first, int rows) {
      add_values(shape, block, chunk_key, first, rows, converted, shape.padded, page * page_size, stop * page_size,
                 scratch, output);
    });
  }
}

// The whole chunk for a block whose q rows are in scratch. A row that sees nothing of it gets total 0.
template <class T>
inline void attend_chunk(const OpCall& call, const AttentionShape& shape, const AttentionBlock& block, int64_t chunk,
                         const ChunkScratch& scratch, const ChunkPart& part) {
  const Operand& keys = call.in[op_attention::keys];
  const Operand& values = call.in[op_attention::values];
  const int64_t chunk_key = chunk * attention_chunk;
  const int first_key = visible_keys(shape, block, chunk_key, 0).first;
  const int end_key = visible_keys(shape, block, chunk_key, block.rows - 1).end;
  const int first_page = first_key / page_size, end_page = (end_key + page_size - 1) / page_size;
  const int64_t offset = static_cast<int64_t>(block.kv_head) * page_size * shape.head_dim;
  const T* key_pages[chunk_pages];
  const T* value_pages[chunk_pages];
  for (int i = first_page; i < end_page; i++) {
    const int64_t page = block.pages[chunk * chunk_pages + i];
    key_pages[i] = keys.row<T>(page) + offset;
    value_pages[i] = values.row<T>(page) + offset;
  }
  // One tile of rows reads each element once: then converting in the loop is cheaper than a copy.
  const bool convert = block.rows > attention_tile_rows || shape.head_dim % 16 != 0;
  score_chunk(shape, block, chunk_key, first_page, end_page, key_pages, value_pages, convert, scratch);
  for (int row = 0; row < block.rows; row++) {
    const KeyRange visible = visible_keys(shape, block, chunk_key, row);
    float* largest = part.largest + row * part.stride;
    float* total = part.total + row * part.stride;
    if (visible.first >= visible.end) {
      *largest = -__builtin_inff();
      *total = 0;
      continue;
    }
    float* scores = scratch.scores + row * score_stride;
    if (shape.softcap != 0 || shape.slopes) {
      const int head = block.kv_head * shape.group + row % shape.group;
      bend_scores(shape, scores, visible.first / 16 * 16, visible.end, shape.slopes ? shape.slopes[head] : 0,
                  chunk_key - (block.position + row / shape.group));
    }
    soften_row(scores, visible, largest, total);
  }
  value_chunk(shape, block, chunk_key, first_page, end_page, value_pages, convert, scratch, part.output);
}

}  // namespace octavo::OCTAVO_ISA
