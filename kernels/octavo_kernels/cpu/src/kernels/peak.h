// The most an instruction set can multiply and add: independent chains in registers, for `octavo bench --ops`.
#pragma once

#include <cstdint>

#if defined(OCTAVO_AMX)
#include "int8_tiles.h"
#endif

namespace octavo::OCTAVO_ISA {

constexpr int peak_chains = 12;

// Operations done: two per product. The result is kept alive by a volatile store.
inline int64_t float32_peak(int64_t rounds) {
  F32x16 sums[peak_chains];
  for (int i = 0; i < peak_chains; i++) sums[i] = set1(static_cast<float>(i));
  const F32x16 a = set1(0.5f), b = set1(0.25f);
  for (int64_t round = 0; round < rounds; round++) {
    for (int i = 0; i < peak_chains; i++) sums[i] = fma(sums[i], a, b);
  }
  volatile float sink = 0;
  for (int i = 0; i < peak_chains; i++) sink = sink + reduce_max(sums[i]);
  return rounds * peak_chains * 16 * 2;
}

#if defined(OCTAVO_AMX)
inline int64_t int8_peak(int64_t rounds) {
  alignas(64) int8_t bytes[2048];
  for (int i = 0; i < 2048; i++) bytes[i] = static_cast<int8_t>(i);
  asm volatile("" : : "r"(bytes) : "memory");
  Tiles tiles;
  tiles.set_rows(tile_block_rows);
  _tile_loadd(4, bytes, 64);
  _tile_loadd(5, bytes + 1024, 64);
  _tile_loadd(6, bytes, 64);
  _tile_loadd(7, bytes + 1024, 64);
  rounds /= 16;  // each is more work than one of vectors
  for (int64_t round = 0; round < rounds; round++) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  return rounds * 4 * 16 * 16 * 64 * 2;
}
#elif defined(OCTAVO_AVX512)
inline int64_t int8_peak(int64_t rounds) {
  __m512i sums[peak_chains];
  for (int i = 0; i < peak_chains; i++) sums[i] = _mm512_set1_epi32(i);  // equal chains would be computed once
  const __m512i a = _mm512_set1_epi8(3);
  __m512i b = _mm512_set1_epi8(1);
  for (int64_t round = 0; round < rounds; round++) {
    asm volatile("" : "+v"(b));  // else the compiler multiplies the rounds out
    for (int i = 0; i < peak_chains; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  }
  volatile int32_t sink = 0;
  for (int i = 0; i < peak_chains; i++) sink = sink + _mm512_reduce_max_epi32(sums[i]);
  return rounds * peak_chains * 64 * 2;
}
#elif defined(OCTAVO_AVX2)
inline int64_t int8_peak(int64_t rounds) {
  __m256i sums[peak_chains];
  for (int i = 0; i < peak_chains; i++) sums[i] = _mm256_set1_epi32(i);  // equal chains would be computed once
  const __m256i a = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  __m256i b = _mm256_set1_epi8(1);
  for (int64_t round = 0; round < rounds; round++) {
    for (int i = 0; i < peak_chains; i++) {
      asm volatile("" : "+x"(b));
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  }
  volatile int32_t sink = 0;
  for (int i = 0; i < peak_chains; i++) sink = sink + _mm256_extract_epi32(sums[i], 0);
  return rounds * peak_chains * 32 * 2;
}
#else
// Without byte products the compiler's vectors of 16-bit products are the ceiling.
inline int64_t int8_peak(int64_t rounds) {
  int8_t a[64], b[64];
  for (int i = 0; i < 64; i++) a[i] = static_cast<int8_t>(i), b[i] = static_cast<int8_t>(64 - i);
  int32_t sums[16] = {};
  for (int64_t round = 0; round < rounds; round++) {
    asm volatile("" : : "r"(a), "r"(b) : "memory");
    for (int i = 0; i < 16; i++) {
      for (int j = 0; j < 4; j++) sums[i] += a[4 * i + j] * b[4 * i + j];
    }
  }
  volatile int32_t sink = sums[0];
  (void)sink;
  return rounds * 64 * 2;
}
#endif

}  // namespace octavo::OCTAVO_ISA
