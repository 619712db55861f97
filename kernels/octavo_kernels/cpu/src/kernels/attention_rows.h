// Rows of attention, and what a thread holds of them and of a block of 128 keys.
//
// Rows are some queries of one sequence with the query heads of one kv head: row r is query r / group, head r % group.
// They share each load of a key or value; no row's numbers depend on the others.
#pragma once

#include "attention_weights.h"
#include "kv_rows.h"

namespace octavo::OCTAVO_ISA {

inline constexpr int block_pages = attention_block / page_size;

#if defined(OCTAVO_AMX)
inline constexpr bool attention_digits = true;  // many rows are multiplied as digits (attention_digits.h)
#else
inline constexpr bool attention_digits = false;
#endif
// Rows of a task: several queries share each load of a page, or its digits.
inline constexpr int attention_task_rows = attention_digits ? 512 : 48;
inline constexpr int attention_held_rows = 48;  // whose scores and weights a thread holds at once, with digits

struct AttentionShape {
  int heads, kv_heads, head_dim;
  int group;   // query heads of a kv head
  int padded;  // head_dim rounded up to 16
  int depth;   // integers of a row of q, zeros from head_dim on
  float scale, softcap;
  bool causal;
  int64_t window;
  const float* slopes;
  const float* bias;
  int64_t distances;
  bool wide;  // int16 pages
  int query_levels, weight_bits;

  explicit AttentionShape(const OpCall& call) {
    namespace op = op_attention;
    heads = call.integer(op::attr_heads);
    kv_heads = call.integer(op::attr_kvHeads);
    head_dim = call.integer(op::attr_headDim);
    group = heads / kv_heads;
    padded = static_cast<int>(round_up_16(head_dim));
    depth = attention_digits ? (head_dim + 63) / 64 * 64 : padded;
    scale = call.number(op::attr_scale);
    softcap = call.number(op::attr_softcap);
    causal = call.flag(op::attr_causal);
    window = call.integer(op::attr_window);
    slopes = call.in[op::slopes].as<float>();
    bias = call.in[op::bias].as<float>();
    distances = bias ? call.in[op::bias].shape[1] : 0;
    wide = call.in[op::keys].dtype == DType::int16;
    // A sum of products must fit int32.
    const int fit = INT32_MAX / ((wide ? int16_keys : int8_keys) * head_dim);
    const int most = wide ? int16_queries : int8_queries;
    query_levels = fit < most ? fit : most;
    weight_bits = wide ? int16_weight_bits : int8_weight_bits;
  }
  bool bent() const { return softcap != 0 || slopes || bias; }
  // What makes a sum of products, times both steps, a score, or its binary logarithm if nothing bends scores.
  float score_scale() const { return bent() ? scale : scale * exp_log2_e; }
  Bend bend(int head, const Operand& biases) const {
    return {softcap, slopes ? slopes[head] : 0, bias ? biases.row<float>(head) : nullptr, distances};
  }
};

struct AttentionRows {
  int queries, rows;
  int64_t position;  // of the first query
  int64_t length;    // keys of the sequence
  int kv_head;
  int query_row;         // of the first query, in q and y
  const int32_t* pages;  // of the sequence

  // Keys [first, end) that query i sees; both rise with i.
  int64_t first_key(const AttentionShape& shape, int i) const {
    const int64_t low = shape.window ? position + i - shape.window + 1 : 0;
    return low > 0 ? low : 0;
  }
  int64_t end_key(const AttentionShape& shape, int i) const {
    if (shape.causal) return position + i + 1;
    const int64_t high = position + i + shape.window;
    return shape.window && high < length ? high : length;
  }
  // Of the block that starts at `block_key`.
  KeyRange seen(const AttentionShape& shape, int64_t block_key, int row) const {
    const int query = row / shape.group;
    const auto clip = [&](int64_t key) {
      const int64_t x = key - block_key;
      return static_cast<int>(x < 0 ? 0 : x > attention_block ? attention_block : x);
    };
    return {clip(first_key(shape, query)), clip(end_key(shape, query))};
  }
};

// What a row carries through the blocks of keys: E and l, and the factors of this block's step, of what was and of the
// block's sums.
struct RowState {
  float exponent = -__builtin_inff(), total = 0;
  float old = 0, own = 0;

  // The step of a block across blocks, but for o.
  void add(const BlockSums& block) {
    const float next = block.exponent > exponent ? block.exponent : exponent;
    const float factor = power_of_two(block.exponent - next);
    old = power_of_two(exponent - next);
    own = factor * block.unit;
    total = __builtin_fmaf(block.total, factor * 0x1p-16f, total * old);
    exponent = next;
  }
};

// The states of rows, each number an array: tiles of rows take a row in each lane.
struct RowStates {
  float* scale;  // q's step times the shape's score_scale(); NaN once the row is lost
  float *exponent, *total, *old, *own;
  int32_t* sees;  // whether it sees any of this block

  // Whole tiles of rows; not more than protocol/workspace.ts says, for the rows of a whole task.
  static int64_t padded(int64_t rows) { return (rows + 31) / 32 * 32; }
  static int64_t bytes(int64_t rows) { return 24 * padded(rows); }
  explicit RowStates(uint8_t* memory, int64_t rows) {
    const int64_t each = padded(rows);
    scale = reinterpret_cast<float*>(memory);
    exponent = scale + each;
    total = exponent + each;
    old = total + each;
    own = old + each;
    sees = reinterpret_cast<int32_t*>(own + each);
  }
  void begin(int row, float row_scale) const {
    scale[row] = row_scale;
    put(row, {});
    sees[row] = 0;
  }
  void lose(int row) const {
    scale[row] = __builtin_nanf("");
    sees[row] = 0;
  }
  bool lost(int row) const { return scale[row] != scale[row]; }
  // l, NaN of a row that is lost.
  float known_total(int row) const { return lost(row) ? __builtin_nanf("") : total[row]; }
  void add(int row, const BlockSums& block) const {
    RowState state = {exponent[row], total[row]};
    state.add(block);
    put(row, state);
  }

 private:
  void put(int row, const RowState& state) const {
    exponent[row] = state.exponent;
    total[row] = state.total;
    old[row] = state.old;
    own[row] = state.own;
  }
};

// A thread's memory for blocks of `rows` rows; protocol/workspace.ts says how much it is.
struct AttentionScratch {
  BlockSteps* steps;
  RowStates states;  // [rows]
  float* output;     // [rows][padded], o
  int32_t* sums;     // [held rows][attention_block]
  int16_t* weights;  // [held rows][attention_block]
  int16_t* q;        // [rows, or more to a multiple of 32][depth]
  // Digits of a block's keys and values, 128 bytes for 64 of them.
  int8_t* keys;    // [block_pages][depth / 64][2][16][16 keys][4]
  int8_t* values;  // [padded / 16][2][2][16][16 elements][4]

  AttentionScratch(uint8_t* memory, const AttentionShape& shape, int64_t rows)
      : states(memory + round_up_64(sizeof(BlockSteps)), rows) {
    const auto take = [&](int64_t bytes) {
      uint8_t* start = memory;
      memory += round_up_64(bytes);
      return start;
    };
    steps = reinterpret_cast<BlockSteps*>(take(sizeof(BlockSteps)));
    take(RowStates::bytes(rows));
    output = reinterpret_cast<float*>(take(4 * rows * shape.padded));
    const int64_t held = attention_digits ? attention_held_rows : rows;
    sums = reinterpret_cast<int32_t*>(take(4 * held * attention_block));
    weights = reinterpret_cast<int16_t*>(take(2 * held * attention_block));
    q = reinterpret_cast<int16_t*>(take(2 * ((rows + 31) / 32 * 32) * shape.depth));
    if (!attention_digits) return;
    keys = reinterpret_cast<int8_t*>(take(int64_t{2} * attention_block * shape.depth));
    values = reinterpret_cast<int8_t*>(take(int64_t{2} * attention_block * shape.padded));
  }
};
static_assert(sizeof(BlockSteps) == 8 * attention_block + 24, "protocol/workspace.ts");

// Where a block's sums wait when blocks are separate work: floats [rows][padded] of the sums of weighted values, and of
// each row what is left of BlockSums; total 0: the row sees nothing of it, NaN: it is lost.
struct BlockPart {
  float* output;
  float* exponent;
  float* total;
  float* unit;
  int64_t stride;  // from one row's numbers to the next
};

// q's rows as integers, and rows that have seen nothing.
inline void begin_rows(const AttentionShape& shape, const AttentionRows& block, const Operand& q,
                       const AttentionScratch& scratch) {
  const float score_scale = shape.score_scale();
  for (int row = 0; row < block.rows; row++) {
    const float* x = q.row<float>(block.query_row + row / shape.group) +
                     static_cast<int64_t>(block.kv_head * shape.group + row % shape.group) * shape.head_dim;
    int16_t* const integers = scratch.q + static_cast<int64_t>(row) * shape.depth;
    const float step = quantize_row(x, shape.head_dim, shape.query_levels, integers);
    for (int i = shape.padded; i < shape.depth; i++) integers[i] = 0;
    scratch.states.begin(row, step * score_scale);
  }
  std::memset(scratch.output, 0, sizeof(float) * block.rows * shape.padded);
}

}  // namespace octavo::OCTAVO_ISA
