// Weights of 16 rows at once, from the sums that tiles leave: the steps of attention_weights.h, with a row in each lane
// where a number belongs to a row.
//
// Scores lie as [vector of 16 keys][16 rows][16], as tiles give their sums.
#pragma once

#include "attention_block.h"

namespace octavo::OCTAVO_ISA {

// Rows of a tile, and floats from one vector of their scores to the next.
inline constexpr int lane_rows = 16, lane_vector = lane_rows * 16;
// Keys whose weights are one chunk of digits, in vectors.
inline constexpr int chunk_vectors = 4;
// Of a row of digits: bytes of a chunk of 64 integers, the high digits first.
inline constexpr int row_chunk = 128, row_low = 64;

// Sums of 16 rows and 16 columns, by the power of 256 that they count.
struct alignas(64) DigitSums {
  int32_t of[3][lane_rows * 16];

  // Of one row. Sums may wrap on the way: the whole fits.
  template <class T>
  OCTAVO_ALWAYS_INLINE I32x16 joined(int row) const {
    I32x16 sum = load_i32(of[1] + 16 * row);
    if constexpr (sizeof(T) == 2) sum = add(shift_left<8>(load_i32(of[2] + 16 * row)), sum);
    return add(shift_left<8>(sum), load_i32(of[0] + 16 * row));
  }
};

// 16 rows of a task on their way through a block of keys.
struct alignas(64) LaneRows {
  uint16_t seen[lane_rows][block_vectors];  // keys that each row sees, a bit each, unless all see all
  float largest[lane_rows], offset[lane_rows], factor[lane_rows];
  F32x16 exponent = zero();
  float* scores;           // [block_vectors][16 rows][16]; later the weights as floats
  int first, rows = 0;     // of the task; lanes from `rows` on hold anything
  int vector, end_vector;  // of the keys that some row sees
  Sight sight;             // of all rows
  uint16_t sees;           // which rows see something and are not lost
  bool plain;              // whether exp2_times_65536 does

  int vectors() const { return rows == 0 || end_vector <= vector ? 0 : end_vector - vector; }
  int chunk() const { return vector / chunk_vectors; }
  int end_chunk() const { return (end_vector + chunk_vectors - 1) / chunk_vectors; }
  Mask16 keys_seen(int row, int v) const { return mask_of(seen[row][v]); }
};

// The 16 rows from `first` on.
inline void begin_lanes(LaneRows& lanes, const AttentionShape& shape, const AttentionRows& block, int64_t block_key,
                        int first, float* scores, const AttentionScratch& scratch) {
  lanes.first = first;
  lanes.rows = block.rows - first < lane_rows ? block.rows - first : lane_rows;
  lanes.scores = scores;
  const KeyRange low = block.seen(shape, block_key, first), high = block.seen(shape, block_key, first + lanes.rows - 1);
  lanes.vector = low.first / 16;
  lanes.end_vector = (high.end + 15) / 16;
  const bool whole = low.end == attention_block && high.first == 0;
  lanes.sight = shape.bent() ? Sight::bent : whole ? Sight::whole : Sight::part;
  uint16_t sees = static_cast<uint16_t>((1u << lanes.rows) - 1);
  if (lanes.sight != Sight::whole) std::memset(lanes.seen, 0, sizeof lanes.seen);
  if (lanes.sight != Sight::whole || scratch.steps->any_lost) {
    const auto below = [](int n) { return n <= 0 ? 0 : n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; };
    for (int row = 0; row < lanes.rows; row++) {
      const KeyRange seen = block.seen(shape, block_key, first + row);
      const uint64_t keys[2] = {below(seen.end) & ~below(seen.first), below(seen.end - 64) & ~below(seen.first - 64)};
      std::memcpy(lanes.seen[row], keys, sizeof keys);
      if (scratch.steps->any_lost && sees_lost(*scratch.steps, seen)) scratch.states.lose(first + row);
      if ((keys[0] | keys[1]) == 0) sees &= static_cast<uint16_t>(~(1u << row));
    }
  }
  const F32x16 scale = load(scratch.states.scale + first);
  lanes.sees = sees & mask_bits(eq(scale, scale));
}

// The scores of all rows with vector v of the keys.
template <class T, Sight sight>
inline void score_lanes(const LaneRows& lanes, const DigitSums& sums, const AttentionShape& shape,
                        const AttentionRows& block, int64_t block_key, const Operand& biases,
                        const AttentionScratch& scratch, int v) {
  const F32x16 step = load(scratch.steps->keys + 16 * v);
  float* const target = lanes.scores + v * lane_vector;
#pragma GCC unroll 4
  for (int row = 0; row < lane_rows; row++) {
    F32x16 y = mul(to_f32(sums.joined<T>(row)), step);
    if constexpr (sight == Sight::bent) {
      if (row >= lanes.rows) return;
      const int head = block.kv_head * shape.group + (lanes.first + row) % shape.group;
      const int64_t distance = block_key + 16 * v - (block.position + (lanes.first + row) / shape.group);
      y = shape.bend(head, biases).logarithms(mul(y, set1(scratch.states.scale[lanes.first + row])), distance);
    }
    if constexpr (sight != Sight::whole) y = select(lanes.keys_seen(row, v), y, set1(-__builtin_inff()));
    store(target + 16 * row, y);
  }
}

// Whether all logarithms of a row are finite.
template <Sight sight>
inline bool finite_logarithms(const LaneRows& lanes, int row, float scale) {
  for (int v = lanes.vector; v < lanes.end_vector; v++) {
    F32x16 x = sub(load(lanes.scores + v * lane_vector + 16 * row), set1(lanes.largest[row]));
    if constexpr (sight != Sight::bent) x = fma(x, set1(scale), set1(lanes.offset[row]));
    const uint16_t finite = mask_bits(lt(abs(x), set1(__builtin_inff())));
    const uint16_t seen = sight == Sight::whole ? 0xffff : lanes.seen[row][v];
    if ((finite & seen) != seen) return false;
  }
  return true;
}

// The exponents of rows, from their scores.
template <Sight sight>
inline void find_exponents(LaneRows& lanes, const AttentionScratch& scratch) {
  constexpr bool bent = sight == Sight::bent;
  F32x16 most[lane_rows];
#pragma GCC unroll 1
  for (int row = 0; row < lane_rows; row++) {
    const float* scores = lanes.scores + 16 * row;
    if constexpr (sight == Sight::whole) {
      F32x16 m[block_vectors];
#pragma GCC unroll 8
      for (int v = 0; v < block_vectors; v++) m[v] = load(scores + v * lane_vector);
      most[row] = max(max(max(m[0], m[1]), max(m[2], m[3])), max(max(m[4], m[5]), max(m[6], m[7])));
    } else {
      F32x16 m = set1(-__builtin_inff());
      for (int v = lanes.vector; v < lanes.end_vector; v++) m = max(load(scores + v * lane_vector), m);
      most[row] = m;
    }
  }
  const F32x16 largest = max_of_each(most);
  const F32x16 scale = load(scratch.states.scale + lanes.first);
  const F32x16 top = bent ? largest : mul(largest, scale);
  lanes.exponent = ceil(top);
  store(lanes.largest, bent ? lanes.exponent : largest);
  store(lanes.offset, sub(top, lanes.exponent));
  const uint16_t finite = mask_bits(lt(abs(lanes.exponent), set1(__builtin_inff())));
  const uint16_t safe = mask_bits(lt(mul(scale, set1(scratch.steps->span)), set1(0x1p126f)));
  const uint16_t near = mask_bits(lt(abs(mul(scale, set1(scratch.steps->span))), set1(0x1p20f)));
  lanes.plain = !bent && scratch.steps->plain && (lanes.sees & ~near) == 0;
  const uint16_t doubtful = bent ? lanes.sees : lanes.sees & ~(finite & safe);
  if (doubtful == 0) return;
  for (int row = 0; row < lanes.rows; row++) {
    if (!(doubtful >> row & 1)) continue;
    if (finite >> row & 1 && finite_logarithms<sight>(lanes, row, scratch.states.scale[lanes.first + row])) continue;
    scratch.states.lose(lanes.first + row);
    lanes.sees &= static_cast<uint16_t>(~(1u << row));
  }
}

inline F32x16 power_of_two(const I32x16& n) {
  return as_f32(shift_left<23>(add(max_i32(n, set1_i32(-126)), set1_i32(127))));
}

// What a block comes to, to where it waits.
inline void leave_lanes(const LaneRows& lanes, F32x16 total, F32x16 unit, const RowStates& states,
                        const BlockPart& part) {
  alignas(64) float sums[3][lane_rows];
  store(sums[0], lanes.exponent);
  store(sums[1], total);
  store(sums[2], unit);
  for (int i = 0; i < lanes.rows; i++) {
    const int row = lanes.first + i;
    const bool sees = lanes.sees >> i & 1;
    part.exponent[row * part.stride] = sees ? sums[0][i] : 0;
    part.total[row * part.stride] = states.lost(row) ? __builtin_nanf("") : sees ? sums[1][i] : 0;
    part.unit[row * part.stride] = sees ? sums[2][i] : 0;
  }
}

// RowStates::add of the rows that see something.
inline void add_lanes(const LaneRows& lanes, F32x16 block_total, F32x16 unit, const RowStates& states) {
  const int first = lanes.first;
  const auto scaling = [](F32x16 n) { return power_of_two(to_i32(max(n, set1(-126.0f)))); };
  const Mask16 sees = mask_of(lanes.sees);
  const F32x16 exponent = load(states.exponent + first), total = load(states.total + first);
  const F32x16 next = max(lanes.exponent, exponent);
  const F32x16 factor = scaling(sub(lanes.exponent, next)), old = scaling(sub(exponent, next));
  store(states.old + first, old);
  store(states.own + first, mul(factor, unit));
  const F32x16 sum = fma(block_total, mul(factor, set1(0x1p-16f)), mul(total, old));
  store(states.total + first, select(sees, sum, total));
  store(states.exponent + first, select(sees, next, exponent));
}

// 2^16 times 2^x of several x, for x <= 0 above -2^20, the bits of exp2_of_nonpositive for those from -125 on; below it
// goes on to 0. While tiles multiply, a core has one port for products, maxima, conversions and shifts of vectors, but
// two for sums: hence no clamp, and sums to round.
template <int n>
OCTAVO_ALWAYS_INLINE void exp2_times_65536(F32x16 (&x)[n]) {
  F32x16 whole[n], y[n];
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) whole[i] = sub(add(x[i], set1(rounding)), set1(rounding));
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) x[i] = sub(x[i], whole[i]);
#pragma GCC unroll 8
  for (int i = 0; i < n; i++)
    y[i] = fma(set1(exp2_coefficients[0] * 0x1p16f), x[i], set1(exp2_coefficients[1] * 0x1p16f));
#pragma GCC unroll 3
  for (int c = 2; c < 5; c++) {
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) y[i] = fma(y[i], x[i], set1(exp2_coefficients[c] * 0x1p16f));
  }
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) x[i] = times_power_of_two(y[i], whole[i]);
}

// Weights as floats in place of the scores; what they come to goes into the rows' states, or to where it waits.
// between(row) is other work, before each row.
template <Sight sight, bool plain, class Between>
inline void weigh_lanes(LaneRows& lanes, const AttentionShape& shape, const AttentionScratch& scratch,
                        const BlockPart* part, const Between& between) {
  const BlockSteps& steps = *scratch.steps;
  I32x16 totals[lane_rows];
  F32x16 heaviest[lane_rows];
#pragma GCC unroll 1
  for (int row = 0; row < lane_rows; row++) {
    between(row);
    const F32x16 largest = set1(lanes.largest[row]), offset = set1(lanes.offset[row]);
    const F32x16 scale = set1(scratch.states.scale[lanes.first + row]);
    I32x16 total = set1_i32(0);
    F32x16 heavy = zero();
    const auto weigh = [&](int chunk) {
      F32x16 p[chunk_vectors];
      float* place = lanes.scores + chunk * chunk_vectors * lane_vector + 16 * row;
#pragma GCC unroll 4
      for (int i = 0; i < chunk_vectors; i++) p[i] = sub(load(place + i * lane_vector), largest);
      if constexpr (sight != Sight::bent) {
#pragma GCC unroll 4
        for (int i = 0; i < chunk_vectors; i++) p[i] = fma(p[i], scale, offset);
      }
      if constexpr (plain) {
        exp2_times_65536(p);
      } else {
#pragma GCC unroll 4
        for (int i = 0; i < chunk_vectors; i++) p[i] = exp2_of_nonpositive(p[i]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < chunk_vectors; i++) {
        const int v = chunk * chunk_vectors + i;
        F32x16 w = mul(p[i], load(steps.values + 16 * v));
        if constexpr (sight != Sight::whole) {
          p[i] = select(lanes.keys_seen(row, v), p[i], zero());
          w = select(lanes.keys_seen(row, v), w, zero());
        }
        const F32x16 counted = plain ? add(p[i], set1(rounding)) : fma(p[i], set1(0x1p16f), set1(rounding));
        total = add(total, bits(counted));
        heavy = max(w, heavy);
        store(place + i * lane_vector, w);
      }
    };
    if constexpr (sight == Sight::whole) {
      weigh(0);
      weigh(1);
    } else {
      for (int chunk = lanes.chunk(); chunk < lanes.end_chunk(); chunk++) weigh(chunk);
    }
    totals[row] = total;
    heaviest[row] = heavy;
  }
  // Each weight has added the bits of `rounding` too; the rest is at most 2^23, exact as a float.
  const uint32_t keys = static_cast<uint32_t>(lanes.end_chunk() - lanes.chunk()) * chunk_vectors * 16;
  const F32x16 total = to_f32(add(sum_of_each(totals), set1_i32(static_cast<int32_t>(0u - keys * rounding_bits))));
  const I32x16 heavy = bits(max_of_each(heaviest));
  const I32x16 k = sub(shift_right<23>(add(heavy, set1_i32(0x7fffff))), set1_i32(127));
  const I32x16 levels = set1_i32(shape.weight_bits);
  store(lanes.factor, power_of_two(sub(levels, k)));
  const F32x16 unit = power_of_two(sub(k, add(levels, set1_i32(plain ? 16 : 0))));
  if (part) return leave_lanes(lanes, total, unit, scratch.states, *part);
  add_lanes(lanes, total, unit, scratch.states);
}

// The weights as digits of integers: byte i of lane g of a chunk is that of key 16 i + g.
inline void split_weights(const LaneRows& lanes, int8_t* digits) {
#pragma GCC unroll 1
  for (int row = 0; row < lane_rows; row++) {
    const F32x16 factor = set1(lanes.factor[row]);
    for (int chunk = lanes.chunk(); chunk < lanes.end_chunk(); chunk++) {
      const float* place = lanes.scores + chunk * chunk_vectors * lane_vector + 16 * row;
      Pairs w[chunk_vectors];
#pragma GCC unroll 4
      for (int i = 0; i < chunk_vectors; i++)
        w[i] = pairs_of(bits(fma(load(place + i * lane_vector), factor, set1(rounding))));
      const Pairs even = low_halves(w[0], w[2]), odd = low_halves(w[1], w[3]);
      int8_t* target = digits + row * 2 * attention_block + chunk * row_chunk;
      store_pairs(target, high_bytes(even, odd));
      store_pairs(target + row_low, low_bytes(even, odd));
    }
  }
}

// Sums of the weighted values, elements 16 v to 16 v + 15, of all rows.
template <class T>
inline void take_lanes(const LaneRows& lanes, const DigitSums& sums, const AttentionShape& shape,
                       const AttentionScratch& scratch, const BlockPart* part, int v) {
  const int64_t place = static_cast<int64_t>(lanes.first) * shape.padded + 16 * v;
  const float* old = scratch.states.old + lanes.first;
  const float* own = scratch.states.own + lanes.first;
  const auto take = [&](int row) {
    const F32x16 sum = to_f32(sums.joined<T>(row));
    const int64_t at = place + row * shape.padded;
    if (part) return store(part->output + at, sum);
    float* o = scratch.output + at;
    store(o, fma(sum, set1(own[row]), mul(load(o), set1(old[row]))));
  };
  if (lanes.sees == 0xffff) {
#pragma GCC unroll 4
    for (int row = 0; row < lane_rows; row++) take(row);
  } else {
    for (int row = 0; row < lanes.rows; row++)
      if (lanes.sees >> row & 1) take(row);
  }
}

}  // namespace octavo::OCTAVO_ISA
