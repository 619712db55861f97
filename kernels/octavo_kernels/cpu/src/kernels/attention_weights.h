// One row's weights of the values of a block of keys: from exact sums of products to integers (docs/numerics.md,
// "attention").
#pragma once

#include <cstring>

#include "attention_tile.h"

namespace octavo::OCTAVO_ISA {

// Vectors of a block's keys.
inline constexpr int block_vectors = attention_block / 16;

// Keys of a block, relative to its first; none when end <= first.
struct KeyRange {
  int first, end;
};

// The steps of a block's keys and values; of those that nobody sees they may be anything.
struct BlockSteps {
  float keys[attention_block];
  float values[attention_block];
  // 2^32 times the largest of `keys`: more than sums times steps can be apart.
  float span;
  // Whether key i or its value has no step: bit i % 16 of word i / 16.
  uint16_t lost[block_vectors];
  bool any_lost;
  // Whether all of `values` lie so near to each other that a weight of 2^-125 times one counts as 0.
  bool plain;
};

// 2^max(n, -126) for n up to 127.
inline float power_of_two(int n) {
  const uint32_t bits = static_cast<uint32_t>((n < -126 ? -126 : n) + 127) << 23;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline float power_of_two(float n) { return power_of_two(n >= -126.0f ? static_cast<int>(n) : -126); }

// 2^x for x <= 0, never below 2^-125: a polynomial of degree 4, within 2.8e-6. Adding 1.5 * 2^23 rounds x to an integer
// n and leaves it in the lowest bits, so that moving these up is multiplying by 2^n.
inline constexpr float rounding = 0x1.8p23f;
inline constexpr uint32_t rounding_bits = 0x4b400000;
inline constexpr float exp2_least = -125;
inline constexpr float exp2_coefficients[] = {9.582852944731712e-3f, 5.5906426161527634e-2f, 2.4024099111557007e-1f,
                                              6.931241750717163e-1f, 1.0f};
OCTAVO_INLINE F32x16 exp2_of_nonpositive(F32x16 x) {
  const F32x16 clamped = max(x, set1(exp2_least));
  const F32x16 shifted = add(clamped, set1(rounding));
  const F32x16 fraction = sub(clamped, sub(shifted, set1(rounding)));
  F32x16 y = set1(exp2_coefficients[0]);
#pragma GCC unroll 4
  for (int i = 1; i < 5; i++) y = fma(y, fraction, set1(exp2_coefficients[i]));
  return as_f32(add(bits(y), shift_left<23>(bits(shifted))));
}

// What bends scores: softcap, ALiBi, a bias by distance.
struct Bend {
  float softcap, slope;
  const float* bias;  // of the row's head, or null
  int64_t distances;

  // The binary logarithms of exponentials, of scores of 16 keys of which the first is `distance` after the query.
  F32x16 logarithms(F32x16 score, int64_t distance) const {
    // score - score: an infinite score would be the cap, which passes for a number.
    if (softcap != 0) score = add(mul(set1(softcap), tanh(div(score, set1(softcap)))), sub(score, score));
    if (slope != 0) {
      static constexpr int32_t lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
      score = add(score, mul(set1(slope), to_f32(add(set1_i32(static_cast<int32_t>(distance)), load_i32(lanes)))));
    }
    if (bias) {
      float added[16];
      for (int i = 0; i < 16; i++) {
        const int64_t place = distance + i + distances / 2;
        added[i] = bias[place < 0 ? 0 : place < distances ? place : distances - 1];
      }
      score = add(score, load(added));
    }
    return mul(score, set1(exp_log2_e));
  }
};

// A row's sums of one block: those of its exponentials are 2^exponent * 2^-16 * total, those of its weighted values the
// sums of integers times 2^exponent * unit.
struct BlockSums {
  float exponent, total, unit;
};

// What a row of a block sees: all of it, or some; and whether its scores are bent.
enum class Sight { whole, part, bent };

// A row on its way from sums of products to weights. The steps below go through several rows each: one row alone would
// wait for its own maxima most of the time.
struct RowWeights {
  int32_t* sums;     // [attention_block]; later the bits of floats
  int16_t* weights;  // [attention_block]
  KeyRange seen;
  Sight sight;
  float scale;  // from a sum times a key's step to a logarithm; to a score, if it is bent
  float largest, offset;
  float heaviest;
  BlockSums result;
};

// Calls body(v) for the vectors that hold what a row sees.
template <Sight sight, class Body>
OCTAVO_INLINE void each_vector(KeyRange seen, const Body& body) {
  if constexpr (sight == Sight::whole) {
#pragma GCC unroll 8
    for (int v = 0; v < block_vectors; v++) body(v);
  } else {
    const int end = (seen.end + 15) / 16;
#pragma GCC unroll 1
    for (int v = seen.first / 16; v < end; v++) body(v);
  }
}

// Which of two running results vector v goes to: two chains are shorter than one, in registers if v is a constant.
template <Sight sight>
constexpr int half_of(int v) {
  return sight == Sight::whole ? v % 2 : 0;
}

// `x` where the row sees the keys of vector v, else `otherwise`.
template <Sight sight>
OCTAVO_INLINE F32x16 where_seen(KeyRange seen, int v, F32x16 x, F32x16 otherwise) {
  if constexpr (sight == Sight::whole) return x;
  static constexpr float numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const F32x16 keys = add(load(numbers), set1(static_cast<float>(16 * v)));
  if (seen.first > 16 * v) x = select(ge(keys, set1(static_cast<float>(seen.first))), x, otherwise);
  if (seen.end < 16 * v + 16) x = select(lt(keys, set1(static_cast<float>(seen.end))), x, otherwise);
  return x;
}

OCTAVO_INLINE F32x16 stepped_sums(const RowWeights& row, const BlockSteps& steps, int v) {
  return mul(to_f32(load_i32(row.sums + 16 * v)), load(steps.keys + 16 * v));
}
// Logarithms of a row's exponentials, at most 0.
template <Sight sight>
OCTAVO_INLINE F32x16 logarithms(const RowWeights& row, const BlockSteps& steps, int v) {
  if constexpr (sight == Sight::bent)
    return sub(as_f32(load_i32(row.sums + 16 * v)), set1(row.result.exponent));
  return fma(sub(stepped_sums(row, steps, v), set1(row.largest)), set1(row.scale), set1(row.offset));
}

// The first step: the largest score. `distance` is the block's first key minus the query.
template <Sight sight>
OCTAVO_INLINE void find_largest(RowWeights& row, const BlockSteps& steps, const Bend& bend, int64_t distance) {
  const F32x16 low = set1(-__builtin_inff());
  F32x16 most[2] = {low, low};
  each_vector<sight>(row.seen, [&](int v) {
    F32x16 y = stepped_sums(row, steps, v);
    if constexpr (sight == Sight::bent) {
      y = bend.logarithms(mul(y, set1(row.scale)), distance + 16 * v);
      store_i32(row.sums + 16 * v, bits(y));
    }
    F32x16& so_far = most[half_of<sight>(v)];
    so_far = max(where_seen<sight>(row.seen, v, y, low), so_far);
  });
  row.largest = reduce_max(max(most[0], most[1]));
}

// The second: the exponent. False: it, or a logarithm, is not finite.
template <Sight sight>
OCTAVO_INLINE bool find_exponent(RowWeights& row, const BlockSteps& steps) {
  const float top = sight == Sight::bent ? row.largest : row.largest * row.scale;
  row.result.exponent = __builtin_ceilf(top);
  row.offset = top - row.result.exponent;
  if (!(__builtin_fabsf(row.result.exponent) < __builtin_inff())) return false;
  if (sight != Sight::bent && row.scale * steps.span < 0x1p126f) return true;
  bool finite = true;
  each_vector<sight>(row.seen, [&](int v) {
    const F32x16 x = where_seen<sight>(row.seen, v, logarithms<sight>(row, steps, v), zero());
    finite &= mask_bits(lt(abs(x), set1(__builtin_inff()))) == 0xffff;
  });
  return finite;
}

// The third: exponentials, their sum, and the weights as floats.
template <Sight sight>
OCTAVO_INLINE void find_weights(RowWeights& row, const BlockSteps& steps) {
  I32x16 total[2] = {set1_i32(0), set1_i32(0)};
  F32x16 heaviest[2] = {zero(), zero()};
  each_vector<sight>(row.seen, [&](int v) {
    const F32x16 p = exp2_of_nonpositive(logarithms<sight>(row, steps, v));
    const F32x16 w = where_seen<sight>(row.seen, v, mul(p, load(steps.values + 16 * v)), zero());
    const F32x16 counted = where_seen<sight>(row.seen, v, p, zero());
    const int half = half_of<sight>(v);
    total[half] = add(total[half], bits(fma(counted, set1(0x1p16f), set1(rounding))));
    heaviest[half] = max(w, heaviest[half]);
    store_i32(row.sums + 16 * v, bits(w));
  });
  // Each vector has added the bits of `rounding` too; the rest is at most 2^23, exact as a float.
  const uint32_t vectors = static_cast<uint32_t>((row.seen.end + 15) / 16 - row.seen.first / 16);
  const int32_t added = static_cast<int32_t>(0u - vectors * rounding_bits);
  row.result.total = reduce_add(to_f32(add(add(total[0], total[1]), set1_i32(added))));
  row.heaviest = reduce_max(max(heaviest[0], heaviest[1]));
}

// The last: the weights as integers of at most 2^bits.
template <Sight sight>
OCTAVO_INLINE void round_weights(RowWeights& row, int bits_of_weights) {
  uint32_t heaviest;
  std::memcpy(&heaviest, &row.heaviest, sizeof heaviest);
  const int k = static_cast<int>((heaviest + 0x7fffffu) >> 23) - 127;
  row.result.unit = power_of_two(k - bits_of_weights);
  const F32x16 factor = set1(power_of_two(bits_of_weights - k));
  each_vector<sight>(row.seen, [&](int v) {
    store_i16(row.weights + 16 * v, bits(fma(as_f32(load_i32(row.sums + 16 * v)), factor, set1(rounding))));
  });
}

}  // namespace octavo::OCTAVO_ISA
