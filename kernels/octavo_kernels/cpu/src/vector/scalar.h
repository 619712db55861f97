// 16 lanes in plain C++: the definition of the others, and what a machine without any of them runs.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../load/half.h"

namespace octavo::OCTAVO_ISA {

struct F32x16 {
  float lane[16];
};
struct I32x16 {
  int32_t lane[16];
};
struct Mask16 {
  bool lane[16];
};

#define OCTAVO_LANES(Type, expression)                  \
  Type r;                                               \
  for (int i = 0; i < 16; i++) r.lane[i] = (expression); \
  return r

// Memory. At any address, as with the other sets: quantisers lend themselves rows of bytes for floats.
inline F32x16 load(const float* p) {
  F32x16 r;
  std::memcpy(r.lane, p, sizeof r.lane);
  return r;
}
inline void store(float* p, F32x16 v) { std::memcpy(p, v.lane, sizeof v.lane); }
inline F32x16 set1(float x) { OCTAVO_LANES(F32x16, x); }
inline F32x16 zero() { return set1(0.0f); }
inline F32x16 load_first(const float* p, int n, float fill) { OCTAVO_LANES(F32x16, i < n ? p[i] : fill); }
inline void store_first(float* p, F32x16 v, int n) { std::memcpy(p, v.lane, static_cast<size_t>(n) * sizeof(float)); }
inline I32x16 set1_i32(int32_t x) { OCTAVO_LANES(I32x16, x); }
inline I32x16 load_i32(const int32_t* p) { OCTAVO_LANES(I32x16, p[i]); }
inline void store_i32(int32_t* p, I32x16 v) { std::memcpy(p, v.lane, sizeof v.lane); }
// Saturates.
inline void store_i8(int8_t* p, I32x16 v) {
  for (int i = 0; i < 16; i++) {
    const int32_t x = v.lane[i];
    p[i] = static_cast<int8_t>(x > 127 ? 127 : x < -128 ? -128 : x);
  }
}
// The low halves.
inline void store_i16(int16_t* p, I32x16 v) {
  for (int i = 0; i < 16; i++) p[i] = static_cast<int16_t>(v.lane[i]);
}

// Floats.
inline F32x16 add(F32x16 a, F32x16 b) { OCTAVO_LANES(F32x16, a.lane[i] + b.lane[i]); }
inline F32x16 sub(F32x16 a, F32x16 b) { OCTAVO_LANES(F32x16, a.lane[i] - b.lane[i]); }
inline F32x16 mul(F32x16 a, F32x16 b) { OCTAVO_LANES(F32x16, a.lane[i] * b.lane[i]); }
inline F32x16 div(F32x16 a, F32x16 b) { OCTAVO_LANES(F32x16, a.lane[i] / b.lane[i]); }
inline F32x16 sqrt(F32x16 a) { OCTAVO_LANES(F32x16, std::sqrt(a.lane[i])); }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { OCTAVO_LANES(F32x16, std::fma(a.lane[i], b.lane[i], c.lane[i])); }
inline F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) { OCTAVO_LANES(F32x16, std::fma(-a.lane[i], b.lane[i], c.lane[i])); }
inline F32x16 min(F32x16 a, F32x16 b) { OCTAVO_LANES(F32x16, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
inline F32x16 max(F32x16 a, F32x16 b) { OCTAVO_LANES(F32x16, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
inline F32x16 abs(F32x16 a) { OCTAVO_LANES(F32x16, std::fabs(a.lane[i])); }
inline F32x16 neg(F32x16 a) { OCTAVO_LANES(F32x16, -a.lane[i]); }
// To the nearest integer, ties to even.
inline F32x16 round(F32x16 a) { OCTAVO_LANES(F32x16, std::nearbyint(a.lane[i])); }

// Conversions.
// What int32 does not hold, and NaN, is as on x86.
inline int32_t to_i32(float x) { return std::fabs(x) < 0x1p31f ? static_cast<int32_t>(std::nearbyint(x)) : INT32_MIN; }
inline I32x16 to_i32(F32x16 a) { OCTAVO_LANES(I32x16, to_i32(a.lane[i])); }
inline F32x16 to_f32(I32x16 a) { OCTAVO_LANES(F32x16, static_cast<float>(a.lane[i])); }
inline I32x16 bits(F32x16 a) { OCTAVO_LANES(I32x16, static_cast<int32_t>(bits_of_float(a.lane[i]))); }
inline F32x16 as_f32(I32x16 a) { OCTAVO_LANES(F32x16, float_of_bits(static_cast<uint32_t>(a.lane[i]))); }
inline F32x16 load_f16(const uint16_t* p) { OCTAVO_LANES(F32x16, float_of_f16(p[i])); }
inline F32x16 load_bf16(const uint16_t* p) { OCTAVO_LANES(F32x16, float_of_bf16(p[i])); }
inline F32x16 load_f16_first(const uint16_t* p, int n) { OCTAVO_LANES(F32x16, i < n ? float_of_f16(p[i]) : 0.0f); }
inline F32x16 load_bf16_first(const uint16_t* p, int n) { OCTAVO_LANES(F32x16, i < n ? float_of_bf16(p[i]) : 0.0f); }
inline void store_f16_first(uint16_t* p, F32x16 v, int n) {
  for (int i = 0; i < n; i++) p[i] = f16_of_float(v.lane[i]);
}
inline void store_bf16_first(uint16_t* p, F32x16 v, int n) {
  for (int i = 0; i < n; i++) p[i] = bf16_of_float(v.lane[i]);
}
inline void store_f16(uint16_t* p, F32x16 v) { store_f16_first(p, v, 16); }
inline void store_bf16(uint16_t* p, F32x16 v) { store_bf16_first(p, v, 16); }

// Integers. Sums wrap.
inline I32x16 add(I32x16 a, I32x16 b) {
  OCTAVO_LANES(I32x16, static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) + static_cast<uint32_t>(b.lane[i])));
}
inline I32x16 sub(I32x16 a, I32x16 b) { OCTAVO_LANES(I32x16, a.lane[i] - b.lane[i]); }
inline I32x16 mul(I32x16 a, I32x16 b) { OCTAVO_LANES(I32x16, a.lane[i] * b.lane[i]); }
inline I32x16 bit_and(I32x16 a, I32x16 b) { OCTAVO_LANES(I32x16, a.lane[i] & b.lane[i]); }
inline I32x16 bit_or(I32x16 a, I32x16 b) { OCTAVO_LANES(I32x16, a.lane[i] | b.lane[i]); }
inline I32x16 min_i32(I32x16 a, I32x16 b) { OCTAVO_LANES(I32x16, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
inline I32x16 max_i32(I32x16 a, I32x16 b) { OCTAVO_LANES(I32x16, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
template <int n>
inline I32x16 shift_left(I32x16 a) {
  OCTAVO_LANES(I32x16, static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) << n));
}
template <int n>
inline I32x16 shift_right(I32x16 a) {
  OCTAVO_LANES(I32x16, a.lane[i] >> n);
}

// Comparisons; false with a NaN.
inline Mask16 ge(F32x16 a, F32x16 b) { OCTAVO_LANES(Mask16, a.lane[i] >= b.lane[i]); }
inline Mask16 gt(F32x16 a, F32x16 b) { OCTAVO_LANES(Mask16, a.lane[i] > b.lane[i]); }
inline Mask16 lt(F32x16 a, F32x16 b) { OCTAVO_LANES(Mask16, a.lane[i] < b.lane[i]); }
inline Mask16 le(F32x16 a, F32x16 b) { OCTAVO_LANES(Mask16, a.lane[i] <= b.lane[i]); }
inline Mask16 eq(F32x16 a, F32x16 b) { OCTAVO_LANES(Mask16, a.lane[i] == b.lane[i]); }
inline Mask16 eq_i32(I32x16 a, I32x16 b) { OCTAVO_LANES(Mask16, a.lane[i] == b.lane[i]); }
inline Mask16 gt_i32(I32x16 a, I32x16 b) { OCTAVO_LANES(Mask16, a.lane[i] > b.lane[i]); }
inline F32x16 select(Mask16 m, F32x16 a, F32x16 b) { OCTAVO_LANES(F32x16, m.lane[i] ? a.lane[i] : b.lane[i]); }
inline I32x16 select(Mask16 m, I32x16 a, I32x16 b) { OCTAVO_LANES(I32x16, m.lane[i] ? a.lane[i] : b.lane[i]); }
inline uint16_t mask_bits(Mask16 m) {
  uint32_t r = 0;
  for (int i = 0; i < 16; i++) r |= static_cast<uint32_t>(m.lane[i]) << i;
  return static_cast<uint16_t>(r);
}
inline bool any(Mask16 m) { return mask_bits(m) != 0; }

// Across lanes. The tree of docs/numerics.md ("16 lanes"): halves, then quarters, then pairs.
inline float reduce_add(F32x16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) a.lane[i] += a.lane[i + width];
  }
  return a.lane[0];
}
inline float reduce_max(F32x16 a) {
  for (int i = 1; i < 16; i++) a.lane[0] = a.lane[i] > a.lane[0] ? a.lane[i] : a.lane[0];
  return a.lane[0];
}
inline void prefetch(const void* p) { __builtin_prefetch(p); }
// Into the second-level cache.
inline void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }

#undef OCTAVO_LANES

// Dot products of int8: one group of a packed weight, 16 columns x 4 k, with 4 digits of a row.
constexpr int dot_offset = 0;
struct Int8x64 {
  const int8_t* byte;
};
struct Digits {
  int32_t byte[4];
};
inline Int8x64 load_group(const int8_t* p) { return {p}; }
inline Digits load_digits(const int8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
inline I32x16 dot(I32x16 acc, const Int8x64& weights, const Digits& digits) {
  for (int i = 0; i < 16; i++) {
    const int8_t* w = weights.byte + 4 * i;
    acc.lane[i] += w[0] * digits.byte[0] + w[1] * digits.byte[1] + w[2] * digits.byte[2] + w[3] * digits.byte[3];
  }
  return acc;
}

// Dot products of 16 pairs of 16-bit integers, pair by pair, with one pair; sums wrap. `load_pairs` of bytes widens
// them; `load_pairs_first` takes n pairs and zeros.
struct Pairs {
  int16_t element[32];
};
struct Pair {
  int32_t first, second;
};
template <class T>
inline Pairs load_pairs_first(const T* p, int n) {
  Pairs r;
  for (int i = 0; i < 32; i++) r.element[i] = i < 2 * n ? p[i] : 0;
  return r;
}
template <class T>
inline Pairs load_pairs(const T* p) {
  return load_pairs_first(p, 16);
}
// The same pair for every lane.
inline Pair load_pair(const int16_t* p) { return {p[0], p[1]}; }
inline I32x16 dot(I32x16 acc, const Pairs& pairs, const Pair& pair) {
  for (int i = 0; i < 16; i++) {
    const uint32_t first = static_cast<uint32_t>(pairs.element[2 * i] * pair.first);
    const uint32_t second = static_cast<uint32_t>(pairs.element[2 * i + 1] * pair.second);
    acc.lane[i] = static_cast<int32_t>(static_cast<uint32_t>(acc.lane[i]) + first + second);
  }
  return acc;
}

}  // namespace octavo::OCTAVO_ISA
