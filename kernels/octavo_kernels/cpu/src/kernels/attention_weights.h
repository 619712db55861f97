// One row's weights of the values of a block of keys: from exact sums of products to integers (docs/numerics.md,
// "attention").
#pragma once

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
};

// 2^max(n, -126) for n up to 127.
inline float power_of_two(int n) {
  const uint32_t bits = static_cast<uint32_t>((n < -126 ? -126 : n) + 127) << 23;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline float power_of_two(float n) { return power_of_two(n >= -126.0f ? static_cast<int>(n) : -126); }

// 2^x for x <= 0, never below 2^-125: a polynomial of degree 4, within 2.8e-6. Adding 1.5 * 2^23 rounds x to an integer n
// and leaves it in the lowest bits, so that moving these up is multiplying by 2^n.
inline constexpr float rounding = 0x1.8p23f;
OCTAVO_INLINE F32x16 exp2_of_nonpositive(F32x16 x) {
  constexpr float coefficients[] = {9.582852944731712e-3f, 5.5906426161527634e-2f, 2.4024099111557007e-1f,
                                    6.931241750717163e-1f, 1.0f};
  const F32x16 clamped = max(x, set1(-125.0f));
  const F32x16 shifted = add(clamped, set1(rounding));
  const F32x16 fraction = sub(clamped, sub(shifted, set1(rounding)));
  F32x16 y = set1(coefficients[0]);
#pragma GCC unroll 4
  for (int i = 1; i < 5; i++) y = fma(y, fraction, set1(coefficients[i]));
  return as_f32(add(bits(y), shift_left<23>(bits(shifted))));
}

// What bends scores: softcap, ALiBi, a bias by distance.
struct Bend {
  float softcap, slope;
  const float* bias;  // of the row's head, or null
  int64_t distances;

  // The binary logarithms of exponentials, of scores of 16 keys of which the first is `distance` after the query.
  F32x16 logarithms(F32x16 score, int64_t distance) const {
    if (softcap != 0) score = mul(set1(softcap), tanh(div(score, set1(softcap))));
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

// Largest integers of weights are 2^bits.
struct RowScores {
  const int32_t* sums;  // [attention_block]
  KeyRange seen;
  float scale;  // from a sum times a key's step to a logarithm; to a score, if it is bent
  int weight_bits;
};

// The lanes of vector v that `seen` has.
OCTAVO_INLINE Mask16 lanes_of(KeyRange seen, int v) {
  static constexpr float numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const F32x16 lanes = load(numbers);
  const Mask16 from = ge(lanes, set1(static_cast<float>(seen.first - 16 * v)));
  const F32x16 inside = select(from, lanes, set1(16.0f));
  return lt(inside, set1(static_cast<float>(seen.end - 16 * v < 16 ? seen.end - 16 * v : 16)));
}

// Writes `weights` [attention_block] for the vectors that hold what the row sees; with `whole` it sees all keys. False: a
// score or an exponent is not finite. A `bend` makes logarithms of its own, `distance` being first key minus query.
template <bool whole>
OCTAVO_INLINE bool weigh(const RowScores& row, const BlockSteps& steps, const Bend* bend, int64_t distance,
                         int16_t* weights, BlockSums* sums) {
  const int begin = whole ? 0 : row.seen.first / 16, end = whole ? block_vectors : (row.seen.end + 15) / 16;
  const F32x16 low = set1(-__builtin_inff());
  const auto cut = [&](int v) { return !whole && (row.seen.first > 16 * v || row.seen.end < 16 * v + 16); };
  F32x16 y[block_vectors];
  F32x16 most = low;
#pragma GCC unroll 8
  for (int v = begin; v < end; v++) {
    y[v] = mul(to_f32(load_i32(row.sums + 16 * v)), load(steps.keys + 16 * v));
    if (bend) y[v] = bend->logarithms(mul(y[v], set1(row.scale)), distance + 16 * v);
    if (cut(v)) y[v] = select(lanes_of(row.seen, v), y[v], low);
    most = max(y[v], most);
  }
  const float largest = reduce_max(most);
  const float top = bend ? largest : largest * row.scale;
  const float exponent = __builtin_ceilf(top);
  if (!(__builtin_fabsf(exponent) < __builtin_inff())) return false;
  const auto below = [&](int v) {
    if (bend) return sub(y[v], set1(exponent));
    return fma(sub(y[v], set1(largest)), set1(row.scale), set1(top - exponent));
  };
  if (bend || !(row.scale * steps.span < 0x1p126f)) {
    for (int v = begin; v < end; v++) {
      const F32x16 x = cut(v) ? select(lanes_of(row.seen, v), below(v), zero()) : below(v);
      if (mask_bits(lt(abs(x), set1(__builtin_inff()))) != 0xffff) return false;
    }
  }
  I32x16 total = set1_i32(0);
  F32x16 heaviest = zero();
#pragma GCC unroll 8
  for (int v = begin; v < end; v++) {
    F32x16 p = exp2_of_nonpositive(below(v)), w = mul(p, load(steps.values + 16 * v));
    if (cut(v)) {
      const Mask16 seen = lanes_of(row.seen, v);
      p = select(seen, p, zero());
      w = select(seen, w, zero());
    }
    total = add(total, bits(fma(p, set1(0x1p16f), set1(rounding))));
    heaviest = max(w, heaviest);
    y[v] = w;
  }
  uint32_t heaviest_bits;
  const float heaviest_weight = reduce_max(heaviest);
  std::memcpy(&heaviest_bits, &heaviest_weight, sizeof heaviest_bits);
  const int k = static_cast<int>((heaviest_bits + 0x7fffffu) >> 23) - 127;
  const F32x16 factor = set1(power_of_two(row.weight_bits - k));
#pragma GCC unroll 8
  for (int v = begin; v < end; v++) store_i16(weights + 16 * v, bits(fma(y[v], factor, set1(rounding))));
  // Each vector has added the bits of `rounding` too; the rest is at most 2^19, exact as a float.
  int32_t rounding_bits;
  std::memcpy(&rounding_bits, &rounding, sizeof rounding_bits);
  const uint32_t added = static_cast<uint32_t>(end - begin) * static_cast<uint32_t>(rounding_bits);
  sums->total = reduce_add(to_f32(add(total, set1_i32(static_cast<int32_t>(0u - added)))));
  sums->exponent = exponent;
  sums->unit = power_of_two(k - row.weight_bits);
  return true;
}

}  // namespace octavo::OCTAVO_ISA
