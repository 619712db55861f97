// 16 lanes on aarch64 NEON: four registers of four.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace octavo::OCTAVO_ISA {

struct F32x16 {
  float32x4_t part[4];
};
struct I32x16 {
  int32x4_t part[4];
};
// All bits of a true lane are set.
struct Mask16 {
  uint32x4_t part[4];
};

#define OCTAVO_EACH(expression)       \
  for (int i = 0; i < 4; i++) r.part[i] = expression; \
  return r

// Memory.
inline F32x16 load(const float* p) { F32x16 r; OCTAVO_EACH(vld1q_f32(p + 4 * i)); }
inline void store(float* p, F32x16 v) {
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, v.part[i]);
}
inline F32x16 set1(float x) { F32x16 r; OCTAVO_EACH(vdupq_n_f32(x)); }
inline F32x16 zero() { return set1(0.0f); }
inline I32x16 set1_i32(int32_t x) { I32x16 r; OCTAVO_EACH(vdupq_n_s32(x)); }
inline I32x16 load_i32(const int32_t* p) { I32x16 r; OCTAVO_EACH(vld1q_s32(p + 4 * i)); }
inline void store_i32(int32_t* p, I32x16 v) {
  for (int i = 0; i < 4; i++) vst1q_s32(p + 4 * i, v.part[i]);
}
// Saturates.
inline void store_i8(int8_t* p, I32x16 v) {
  const int16x8_t low = vcombine_s16(vqmovn_s32(v.part[0]), vqmovn_s32(v.part[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(v.part[2]), vqmovn_s32(v.part[3]));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}
// The low halves.
inline void store_i16(int16_t* p, I32x16 v) {
  for (int i = 0; i < 4; i++) vst1_s16(p + 4 * i, vmovn_s32(v.part[i]));
}

// Floats. The approximate and the fused forms are not used: each of these rounds once, as IEEE 754 says.
inline F32x16 add(F32x16 a, F32x16 b) { F32x16 r; OCTAVO_EACH(vaddq_f32(a.part[i], b.part[i])); }
inline F32x16 sub(F32x16 a, F32x16 b) { F32x16 r; OCTAVO_EACH(vsubq_f32(a.part[i], b.part[i])); }
inline F32x16 mul(F32x16 a, F32x16 b) { F32x16 r; OCTAVO_EACH(vmulq_f32(a.part[i], b.part[i])); }
inline F32x16 div(F32x16 a, F32x16 b) { F32x16 r; OCTAVO_EACH(vdivq_f32(a.part[i], b.part[i])); }
inline F32x16 sqrt(F32x16 a) { F32x16 r; OCTAVO_EACH(vsqrtq_f32(a.part[i])); }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { F32x16 r; OCTAVO_EACH(vfmaq_f32(c.part[i], a.part[i], b.part[i])); }
inline F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) { F32x16 r; OCTAVO_EACH(vfmsq_f32(c.part[i], a.part[i], b.part[i])); }
inline F32x16 min(F32x16 a, F32x16 b) { F32x16 r; OCTAVO_EACH(vminq_f32(a.part[i], b.part[i])); }
inline F32x16 max(F32x16 a, F32x16 b) { F32x16 r; OCTAVO_EACH(vmaxq_f32(a.part[i], b.part[i])); }
inline F32x16 abs(F32x16 a) { F32x16 r; OCTAVO_EACH(vabsq_f32(a.part[i])); }
inline F32x16 neg(F32x16 a) { F32x16 r; OCTAVO_EACH(vnegq_f32(a.part[i])); }
// To the nearest integer, ties to even.
inline F32x16 round(F32x16 a) { F32x16 r; OCTAVO_EACH(vrndnq_f32(a.part[i])); }

// Conversions.
inline I32x16 to_i32(F32x16 a) { I32x16 r; OCTAVO_EACH(vcvtnq_s32_f32(a.part[i])); }
inline F32x16 to_f32(I32x16 a) { F32x16 r; OCTAVO_EACH(vcvtq_f32_s32(a.part[i])); }
inline I32x16 bits(F32x16 a) { I32x16 r; OCTAVO_EACH(vreinterpretq_s32_f32(a.part[i])); }
inline F32x16 as_f32(I32x16 a) { F32x16 r; OCTAVO_EACH(vreinterpretq_f32_s32(a.part[i])); }
inline F32x16 load_f16(const uint16_t* p) { F32x16 r; OCTAVO_EACH(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)))); }
inline void store_f16(uint16_t* p, F32x16 v) {
  for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(v.part[i])));
}
inline F32x16 load_bf16(const uint16_t* p) { F32x16 r; OCTAVO_EACH(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16))); }
inline void store_bf16(uint16_t* p, F32x16 v) {
  for (int i = 0; i < 4; i++) {
    const uint32x4_t x = vreinterpretq_u32_f32(v.part[i]);
    // To nearest, ties to even; NaN is kept apart, for the addition could carry it into infinity.
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(x, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(x, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t number = vceqq_f32(v.part[i], v.part[i]);
    const uint32x4_t result = vbslq_u32(number, rounded, vorrq_u32(x, vdupq_n_u32(0x400000)));
    vst1_u16(p + 4 * i, vshrn_n_u32(result, 16));
  }
}

// Integers.
inline I32x16 add(I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vaddq_s32(a.part[i], b.part[i])); }
inline I32x16 sub(I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vsubq_s32(a.part[i], b.part[i])); }
inline I32x16 mul(I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vmulq_s32(a.part[i], b.part[i])); }
inline I32x16 bit_and(I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vandq_s32(a.part[i], b.part[i])); }
inline I32x16 bit_or(I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vorrq_s32(a.part[i], b.part[i])); }
inline I32x16 min_i32(I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vminq_s32(a.part[i], b.part[i])); }
inline I32x16 max_i32(I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vmaxq_s32(a.part[i], b.part[i])); }
template <int n>
inline I32x16 shift_left(I32x16 a) { I32x16 r; OCTAVO_EACH(vshlq_n_s32(a.part[i], n)); }
template <int n>
inline I32x16 shift_right(I32x16 a) { I32x16 r; OCTAVO_EACH(vshrq_n_s32(a.part[i], n)); }

// Comparisons; false with a NaN.
inline Mask16 ge(F32x16 a, F32x16 b) { Mask16 r; OCTAVO_EACH(vcgeq_f32(a.part[i], b.part[i])); }
inline Mask16 gt(F32x16 a, F32x16 b) { Mask16 r; OCTAVO_EACH(vcgtq_f32(a.part[i], b.part[i])); }
inline Mask16 lt(F32x16 a, F32x16 b) { Mask16 r; OCTAVO_EACH(vcltq_f32(a.part[i], b.part[i])); }
inline Mask16 le(F32x16 a, F32x16 b) { Mask16 r; OCTAVO_EACH(vcleq_f32(a.part[i], b.part[i])); }
inline Mask16 eq(F32x16 a, F32x16 b) { Mask16 r; OCTAVO_EACH(vceqq_f32(a.part[i], b.part[i])); }
inline Mask16 eq_i32(I32x16 a, I32x16 b) { Mask16 r; OCTAVO_EACH(vceqq_s32(a.part[i], b.part[i])); }
inline Mask16 gt_i32(I32x16 a, I32x16 b) { Mask16 r; OCTAVO_EACH(vcgtq_s32(a.part[i], b.part[i])); }
inline F32x16 select(Mask16 m, F32x16 a, F32x16 b) { F32x16 r; OCTAVO_EACH(vbslq_f32(m.part[i], a.part[i], b.part[i])); }
inline I32x16 select(Mask16 m, I32x16 a, I32x16 b) { I32x16 r; OCTAVO_EACH(vbslq_s32(m.part[i], a.part[i], b.part[i])); }
inline bool any(Mask16 m) {
  return vmaxvq_u32(vorrq_u32(vorrq_u32(m.part[0], m.part[1]), vorrq_u32(m.part[2], m.part[3]))) != 0;
}
inline uint16_t mask_bits(Mask16 m) {
  static const uint32_t weight[4] = {1, 2, 4, 8};
  uint32_t r = 0;
  for (int i = 0; i < 4; i++) r |= vaddvq_u32(vandq_u32(m.part[i], vld1q_u32(weight))) << (4 * i);
  return static_cast<uint16_t>(r);
}

// Across lanes. The tree of docs/numerics.md ("16 lanes"): halves, then quarters, then pairs.
inline float reduce_add(F32x16 a) {
  const float32x4_t low = vaddq_f32(a.part[0], a.part[2]), high = vaddq_f32(a.part[1], a.part[3]);
  const float32x4_t four = vaddq_f32(low, high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float reduce_max(F32x16 a) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.part[0], a.part[1]), vmaxq_f32(a.part[2], a.part[3])));
}
inline void prefetch(const void* p) { __builtin_prefetch(p); }
// Into the second-level cache.
inline void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }

#undef OCTAVO_EACH

// Dot products of int8: one group of a packed weight, 16 columns x 4 k, with 4 digits of a row. Of the base set only:
// products to 16 bits, then pairs, then pairs of pairs.
constexpr int dot_offset = 0;
struct Int8x64 {
  int8x16_t part[4];
};
inline Int8x64 load_group(const int8_t* p) { return {{vld1q_s8(p), vld1q_s8(p + 16), vld1q_s8(p + 32), vld1q_s8(p + 48)}}; }
// The same four digits for every column.
inline int8x16_t load_digits(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
#if defined(OCTAVO_DOTPROD)
inline I32x16 dot(I32x16 acc, const Int8x64& weights, int8x16_t digits) {
  for (int i = 0; i < 4; i++) acc.part[i] = vdotq_s32(acc.part[i], weights.part[i], digits);
  return acc;
}
#else
inline I32x16 dot(I32x16 acc, const Int8x64& weights, int8x16_t digits) {
  for (int i = 0; i < 4; i++) {
    const int16x8_t low = vmull_s8(vget_low_s8(weights.part[i]), vget_low_s8(digits));
    const int16x8_t high = vmull_high_s8(weights.part[i], digits);
    acc.part[i] = vaddq_s32(acc.part[i], vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
  }
  return acc;
}
#endif

// Dot products of 16 pairs of 16-bit integers, pair by pair, with one pair; sums wrap. `load_pairs` of bytes widens
// them; `load_pairs_first` takes n pairs and zeros (tails.h). First and second elements lie apart, 8 of each to a register.
struct Pairs {
  int16x8_t first[2], second[2];
};
inline Pairs load_pairs(const int16_t* p) {
  const int16x8x2_t low = vld2q_s16(p), high = vld2q_s16(p + 16);
  return {{low.val[0], high.val[0]}, {low.val[1], high.val[1]}};
}
inline Pairs load_pairs(const int8_t* p) {
  const int8x16x2_t all = vld2q_s8(p);
  return {{vmovl_s8(vget_low_s8(all.val[0])), vmovl_high_s8(all.val[0])},
          {vmovl_s8(vget_low_s8(all.val[1])), vmovl_high_s8(all.val[1])}};
}
// The same pair for every lane.
struct Pair {
  int16x8_t first, second;
};
inline Pair load_pair(const int16_t* p) { return {vdupq_n_s16(p[0]), vdupq_n_s16(p[1])}; }
inline I32x16 dot(I32x16 acc, const Pairs& pairs, const Pair& pair) {
  for (int i = 0; i < 2; i++) {
    int32x4_t low = vmlal_s16(acc.part[2 * i], vget_low_s16(pairs.first[i]), vget_low_s16(pair.first));
    int32x4_t high = vmlal_high_s16(acc.part[2 * i + 1], pairs.first[i], pair.first);
    acc.part[2 * i] = vmlal_s16(low, vget_low_s16(pairs.second[i]), vget_low_s16(pair.second));
    acc.part[2 * i + 1] = vmlal_high_s16(high, pairs.second[i], pair.second);
  }
  return acc;
}

}  // namespace octavo::OCTAVO_ISA

#include "tails.h"
