// AVX-512, and tiles (AMX): eight registers of 16 rows of 64 bytes, and an instruction that multiplies two of them.
#pragma once

// For kernels with code of their own for this set.
#define OCTAVO_AMX 1

#include "avx512.h"

namespace octavo::OCTAVO_ISA {

// The bytes of 16-bit integers, x = 256 * high + low with low from 0 to 255: those of lane i of `a` beside those of
// lane i of `b`.
inline Pairs no_pairs() { return {_mm512_setzero_si512()}; }
inline void store_pairs(void* p, const Pairs& v) { _mm512_storeu_si512(p, v.all); }
inline Pairs low_bytes(const Pairs& a, const Pairs& b) {
  return {_mm512_ternarylogic_epi32(_mm512_set1_epi16(0xff), a.all, _mm512_slli_epi16(b.all, 8), 0xca)};
}
inline Pairs high_bytes(const Pairs& a, const Pairs& b) {
  return {_mm512_ternarylogic_epi32(_mm512_set1_epi16(0xff), _mm512_srli_epi16(a.all, 8), b.all, 0xca)};
}
// The same for 16-bit halves of 32 bits.
inline Pairs low_halves(const Pairs& a, const Pairs& b) {
  return {_mm512_ternarylogic_epi32(_mm512_set1_epi32(0xffff), a.all, _mm512_slli_epi32(b.all, 16), 0xca)};
}
inline Pairs high_halves(const Pairs& a, const Pairs& b) {
  return {_mm512_ternarylogic_epi32(_mm512_set1_epi32(0xffff), _mm512_srli_epi32(a.all, 16), b.all, 0xca)};
}
inline Pairs pairs_of(const I32x16& v) { return {v.all}; }

inline Mask16 mask_of(uint16_t lanes) { return {lanes}; }
inline F32x16 ceil(F32x16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
// a * 2^n of whole numbers n.
inline F32x16 times_power_of_two(F32x16 a, F32x16 n) { return _mm512_scalef_ps(a, n); }

// Across the lanes of 16 vectors at once: lane i is join of all lanes of vector i, in no order that is promised.
template <class Join>
OCTAVO_ALWAYS_INLINE __m512i across_lanes(const __m512i (&v)[16], const Join& join) {
  __m512i a[8], b[4], c[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
    a[i] = join(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
    b[i] = join(_mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++)
    c[i] = join(_mm512_shuffle_i32x4(b[2 * i], b[2 * i + 1], 0x88), _mm512_shuffle_i32x4(b[2 * i], b[2 * i + 1], 0xdd));
  return join(_mm512_shuffle_i32x4(c[0], c[1], 0x88), _mm512_shuffle_i32x4(c[0], c[1], 0xdd));
}
OCTAVO_ALWAYS_INLINE F32x16 max_of_each(const F32x16 (&v)[16]) {
  __m512i x[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) x[i] = _mm512_castps_si512(v[i]);
  return _mm512_castsi512_ps(across_lanes(x, [](__m512i a, __m512i b) {
    return _mm512_castps_si512(_mm512_max_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
  }));
}
OCTAVO_ALWAYS_INLINE I32x16 sum_of_each(const I32x16 (&v)[16]) {
  __m512i x[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) x[i] = v[i].all;
  return {across_lanes(x, [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); })};
}

}  // namespace octavo::OCTAVO_ISA
