// 16 lanes on AVX-512 (F, BW, VL, DQ): one register.
#pragma once

// For kernels with code of their own for this set; the compiler's macros say what the whole unit may use.
#define OCTAVO_AVX512 1

#include <immintrin.h>

#include <cstdint>

namespace octavo::OCTAVO_ISA {

using F32x16 = __m512;
// A type of its own, so that `add` of integers and of floats are different functions.
struct I32x16 {
  __m512i all;
};
struct Mask16 {
  __mmask16 all;
};

inline __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

// Memory.
inline F32x16 load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F32x16 v) { _mm512_storeu_ps(p, v); }
inline F32x16 set1(float x) { return _mm512_set1_ps(x); }
inline F32x16 zero() { return _mm512_setzero_ps(); }
inline F32x16 load_first(const float* p, int n, float fill) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(n), p);
}
inline void store_first(float* p, F32x16 v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
inline I32x16 set1_i32(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline I32x16 load_i32(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store_i32(int32_t* p, I32x16 v) { _mm512_storeu_si512(p, v.all); }
// Saturates.
inline void store_i8(int8_t* p, I32x16 v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(v.all));
}
// 64 of them.
inline void store_i8(int8_t* p, I32x16 a, I32x16 b, I32x16 c, I32x16 d) {
  // Packing takes 4 from each in turn.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(a.all, b.all), _mm512_packs_epi32(c.all, d.all));
  _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, packed));
}
// The low halves.
inline void store_i16(int16_t* p, I32x16 v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v.all));
}

// Floats.
inline F32x16 add(F32x16 a, F32x16 b) { return _mm512_add_ps(a, b); }
inline F32x16 sub(F32x16 a, F32x16 b) { return _mm512_sub_ps(a, b); }
inline F32x16 mul(F32x16 a, F32x16 b) { return _mm512_mul_ps(a, b); }
inline F32x16 div(F32x16 a, F32x16 b) { return _mm512_div_ps(a, b); }
inline F32x16 sqrt(F32x16 a) { return _mm512_sqrt_ps(a); }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fmadd_ps(a, b, c); }
inline F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fnmadd_ps(a, b, c); }
inline F32x16 min(F32x16 a, F32x16 b) { return _mm512_min_ps(a, b); }
inline F32x16 max(F32x16 a, F32x16 b) { return _mm512_max_ps(a, b); }
inline F32x16 abs(F32x16 a) { return _mm512_abs_ps(a); }
inline F32x16 neg(F32x16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
// To the nearest integer, ties to even.
inline F32x16 round(F32x16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// For `exp`: of two operands one of which is NaN, minima and maxima are the second.
inline F32x16 clamp_keeping_nan(F32x16 a, float low, float high) { return min(set1(high), max(set1(low), a)); }
inline Mask16 not_below(F32x16 a, float limit) { return {_mm512_cmp_ps_mask(a, set1(limit), _CMP_NLT_UQ)}; }
// a * 2^n, rounded once, where `some`; 0 elsewhere. n: integers.
inline F32x16 times_power_of_two(F32x16 a, F32x16 n, Mask16 some) { return _mm512_maskz_scalef_ps(some.all, a, n); }

// Conversions.
inline I32x16 to_i32(F32x16 a) { return {_mm512_cvtps_epi32(a)}; }
inline F32x16 to_f32(I32x16 a) { return _mm512_cvtepi32_ps(a.all); }
inline I32x16 bits(F32x16 a) { return {_mm512_castps_si512(a)}; }
inline F32x16 as_f32(I32x16 a) { return _mm512_castsi512_ps(a.all); }
inline F32x16 load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F32x16 load_f16_first(const uint16_t* p, int n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
inline void store_f16(uint16_t* p, F32x16 v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_f16_first(uint16_t* p, F32x16 v, int n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline F32x16 f32_of_bf16(__m256i v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}
inline F32x16 load_bf16(const uint16_t* p) {
  return f32_of_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F32x16 load_bf16_first(const uint16_t* p, int n) {
  return f32_of_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
// To nearest, ties to even; NaN is kept apart, for the addition could carry it into infinity.
inline __m256i bf16_of_f32(F32x16 v) {
  const __m512i x = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(x, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const __m512i result = _mm512_mask_or_epi32(rounded, nan, x, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16));
}
inline void store_bf16(uint16_t* p, F32x16 v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bf16_of_f32(v)); }
inline void store_bf16_first(uint16_t* p, F32x16 v, int n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n), bf16_of_f32(v));
}

// Integers.
inline I32x16 add(I32x16 a, I32x16 b) { return {_mm512_add_epi32(a.all, b.all)}; }
inline I32x16 sub(I32x16 a, I32x16 b) { return {_mm512_sub_epi32(a.all, b.all)}; }
inline I32x16 mul(I32x16 a, I32x16 b) { return {_mm512_mullo_epi32(a.all, b.all)}; }
inline I32x16 bit_and(I32x16 a, I32x16 b) { return {_mm512_and_si512(a.all, b.all)}; }
inline I32x16 bit_or(I32x16 a, I32x16 b) { return {_mm512_or_si512(a.all, b.all)}; }
inline I32x16 min_i32(I32x16 a, I32x16 b) { return {_mm512_min_epi32(a.all, b.all)}; }
inline I32x16 max_i32(I32x16 a, I32x16 b) { return {_mm512_max_epi32(a.all, b.all)}; }
template <int n>
inline I32x16 shift_left(I32x16 a) {
  return {_mm512_slli_epi32(a.all, n)};
}
template <int n>
inline I32x16 shift_right(I32x16 a) {
  return {_mm512_srai_epi32(a.all, n)};
}

// Comparisons; false with a NaN.
inline Mask16 ge(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ)}; }
inline Mask16 gt(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)}; }
inline Mask16 lt(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)}; }
inline Mask16 le(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)}; }
inline Mask16 eq(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)}; }
inline Mask16 eq_i32(I32x16 a, I32x16 b) { return {_mm512_cmpeq_epi32_mask(a.all, b.all)}; }
inline Mask16 gt_i32(I32x16 a, I32x16 b) { return {_mm512_cmpgt_epi32_mask(a.all, b.all)}; }
inline F32x16 select(Mask16 m, F32x16 a, F32x16 b) { return _mm512_mask_blend_ps(m.all, b, a); }
inline I32x16 select(Mask16 m, I32x16 a, I32x16 b) { return {_mm512_mask_blend_epi32(m.all, b.all, a.all)}; }
inline bool any(Mask16 m) { return m.all != 0; }
inline uint16_t mask_bits(Mask16 m) { return m.all; }

// Across lanes. The tree of docs/numerics.md ("16 lanes"): halves, then quarters, then pairs.
inline float reduce_add(F32x16 a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
// Of two at once, by the same tree.
inline void reduce_add(F32x16 a, F32x16 b, float* sum_of_a, float* sum_of_b) {
  const __m512 eights = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  const __m512 fours = _mm512_add_ps(eights, _mm512_shuffle_f32x4(eights, eights, 0xb1));
  const __m512 twos = _mm512_add_ps(fours, _mm512_permute_ps(fours, 0x4e));
  const __m512 ones = _mm512_add_ps(twos, _mm512_permute_ps(twos, 0xb1));
  *sum_of_a = _mm512_cvtss_f32(ones);
  *sum_of_b = _mm_cvtss_f32(_mm512_extractf32x4_ps(ones, 2));
}
inline float reduce_max(F32x16 a) { return _mm512_reduce_max_ps(a); }
inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
// Into the second-level cache.
inline void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

// Dot products of int8: one group of a packed weight, 16 columns x 4 k, with 4 digits of a row.
// vpdpbusd multiplies unsigned with signed bytes, so weights are offset by 128 and the caller adds -128 * sum(digits).
constexpr int dot_offset = 128;
struct Int8x64 {
  __m512i all;
};
inline Int8x64 load_group(const int8_t* p) { return {_mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(-128))}; }
// The same four digits for every column.
inline I32x16 load_digits(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return set1_i32(four);
}
inline I32x16 dot(I32x16 acc, const Int8x64& weights, I32x16 digits) {
  return {_mm512_dpbusd_epi32(acc.all, weights.all, digits.all)};
}

// Dot products of 16 pairs of 16-bit integers, pair by pair, with one pair; sums wrap. `load_pairs` of bytes widens
// them; `load_pairs_first` takes n pairs and zeros.
struct Pairs {
  __m512i all;
};
inline Pairs load_pairs(const int16_t* p) { return {_mm512_loadu_si512(p)}; }
inline Pairs load_pairs(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Pairs load_pairs_first(const int16_t* p, int n) { return {_mm512_maskz_loadu_epi32(first_lanes(n), p)}; }
inline Pairs load_pairs_first(const int8_t* p, int n) {
  return {_mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi16(first_lanes(n), p))};
}
// The same pair for every lane.
inline I32x16 load_pair(const int16_t* p) {
  int32_t both;
  __builtin_memcpy(&both, p, 4);
  return set1_i32(both);
}
inline I32x16 dot(I32x16 acc, const Pairs& pairs, I32x16 pair) {
  return {_mm512_dpwssd_epi32(acc.all, pairs.all, pair.all)};
}

}  // namespace octavo::OCTAVO_ISA
