// AVX-512, and tiles (AMX): eight registers of 16 rows of 64 bytes, and an instruction that multiplies two of them.
#pragma once

// For kernels with code of their own for this set.
#define OCTAVO_AMX 1

#include "avx512.h"

namespace octavo::OCTAVO_ISA {

// Digits of 16-bit integers, x = 256 * high + low with low from -128 to 127: those of lane i of `a` beside those of lane
// i of `b`.
inline Pairs no_pairs() { return {_mm512_setzero_si512()}; }
inline void store_pairs(void* p, const Pairs& v) { _mm512_storeu_si512(p, v.all); }
inline Pairs low_digits(const Pairs& a, const Pairs& b) {
  return {_mm512_ternarylogic_epi32(_mm512_set1_epi16(0xff), a.all, _mm512_slli_epi16(b.all, 8), 0xca)};
}
inline Pairs high_digits(const Pairs& a, const Pairs& b) {
  const __m512i half = _mm512_set1_epi16(128);
  const __m512i above = _mm512_srli_epi16(_mm512_add_epi16(a.all, half), 8);
  return {_mm512_ternarylogic_epi32(_mm512_set1_epi16(0xff), above, _mm512_add_epi16(b.all, half), 0xca)};
}

}  // namespace octavo::OCTAVO_ISA
