// ggml's K formats: 256 elements per block, sub-blocks with scales that are themselves quantised.
// Included inside one translation unit per instruction set.
#pragma once

#include <cstdint>

#include "dequantize_legacy.h"

namespace octavo::OCTAVO_ISA {

// Eight 6-bit scales and eight 6-bit minima in 12 bytes: of the first four, the low 6 bits of bytes 0..7; of the last
// four, nibbles of bytes 8..11 below the top 2 bits of bytes 0..7.
struct KScale {
  int32_t scale, minimum;
};
inline KScale k_scale(const uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4), (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4)};
}

// d, dmin, 12 bytes of scales, 128 bytes: 32 bytes hold the low nibbles of one sub-block of 32 and the high ones of the
// next. y = (d scale) q - (dmin minimum).
inline void dequantize_q4_k(const uint8_t* block, float* y) {
  const float d = read_f16(block), dmin = read_f16(block + 2);
  const uint8_t* scales = block + 4;
  for (int j = 0; j < 8; j++, y += 32) {
    const KScale s = k_scale(scales, j);
    const float step = d * static_cast<float>(s.scale), minimum = dmin * static_cast<float>(s.minimum);
    const uint8_t* q = block + 16 + 32 * (j / 2);
    const int shift = 4 * (j % 2);
    for (int i = 0; i < 32; i++) y[i] = step * static_cast<float>((q[i] >> shift) & 15) - minimum;
  }
}

// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit j of byte i belongs to element i of sub-block j.
inline void dequantize_q5_k(const uint8_t* block, float* y) {
  const float d = read_f16(block), dmin = read_f16(block + 2);
  const uint8_t *scales = block + 4, *high = block + 16;
  for (int j = 0; j < 8; j++, y += 32) {
    const KScale s = k_scale(scales, j);
    const float step = d * static_cast<float>(s.scale), minimum = dmin * static_cast<float>(s.minimum);
    const uint8_t* q = block + 48 + 32 * (j / 2);
    const int shift = 4 * (j % 2);
    for (int i = 0; i < 32; i++) {
      const int32_t value = ((q[i] >> shift) & 15) | (((high[i] >> j) & 1) << 4);
      y[i] = step * static_cast<float>(value) - minimum;
    }
  }
}

// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales (one per 16 elements), d.
// Each half of 128 elements is four runs of 32: runs 0 and 1 take the low nibbles of 64 bytes, runs 2 and 3 the high
// ones; run r takes bits 2r and 2r + 1 of 32 bytes. y = (d scale) (q - 32).
inline void dequantize_q6_k(const uint8_t* block, float* y) {
  const int8_t* scales = reinterpret_cast<const int8_t*>(block + 192);
  const float d = read_f16(block + 208);
  for (int half = 0; half < 2; half++) {
    const uint8_t* pairs = block + 128 + 32 * half;
    for (int run = 0; run < 4; run++, y += 32) {
      const uint8_t* q = block + 64 * half + 32 * (run % 2);
      const int nibble = 4 * (run / 2), pair = 2 * run;
      const int8_t* scale = scales + 8 * half + 2 * run;
      for (int i = 0; i < 32; i++) {
        const int32_t value = ((q[i] >> nibble) & 15) | (((pairs[i] >> pair) & 3) << 4);
        y[i] = (d * static_cast<float>(scale[i / 16])) * static_cast<float>(value - 32);
      }
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
