// ggml's formats of 32 elements per block. A block of "_0" holds a float16 scale d; "_1" adds a float16 minimum m.
// Included inside one translation unit per instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "half.h"

namespace octavo::OCTAVO_ISA {

// float16 at any byte address.
inline float read_f16(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, 2);
  return float_of_f16(half);
}

// d, 32 signed bytes: y = q d.
inline void dequantize_q8_0(const uint8_t* block, float* y) {
  const float d = read_f16(block);
  const int8_t* q = reinterpret_cast<const int8_t*>(block + 2);
  for (int j = 0; j < 32; j++) y[j] = static_cast<float>(q[j]) * d;
}

// d, 16 bytes: element j is the low nibble of byte j, element 16 + j the high one; y = (q - 8) d.
inline void dequantize_q4_0(const uint8_t* block, float* y) {
  const float d = read_f16(block);
  const uint8_t* q = block + 2;
  for (int j = 0; j < 16; j++) y[j] = static_cast<float>((q[j] & 15) - 8) * d;
  for (int j = 0; j < 16; j++) y[16 + j] = static_cast<float>((q[j] >> 4) - 8) * d;
}

// d, m, nibbles as above: y = q d + m, rounded twice.
inline void dequantize_q4_1(const uint8_t* block, float* y) {
  const float d = read_f16(block), m = read_f16(block + 2);
  const uint8_t* q = block + 4;
  for (int j = 0; j < 16; j++) y[j] = static_cast<float>(q[j] & 15) * d + m;
  for (int j = 0; j < 16; j++) y[16 + j] = static_cast<float>(q[j] >> 4) * d + m;
}

// The fifth bits of a Q5 block: bit j of the word belongs to element j.
inline int32_t fifth_bit(uint32_t word, int j) { return static_cast<int32_t>((word >> j) & 1u) << 4; }

// d, 32 fifth bits, nibbles: y = (q - 16) d.
inline void dequantize_q5_0(const uint8_t* block, float* y) {
  const float d = read_f16(block);
  uint32_t high;
  std::memcpy(&high, block + 2, 4);
  const uint8_t* q = block + 6;
  for (int j = 0; j < 16; j++) y[j] = static_cast<float>(((q[j] & 15) | fifth_bit(high, j)) - 16) * d;
  for (int j = 0; j < 16; j++) y[16 + j] = static_cast<float>(((q[j] >> 4) | fifth_bit(high, 16 + j)) - 16) * d;
}

// d, m, 32 fifth bits, nibbles: y = q d + m.
inline void dequantize_q5_1(const uint8_t* block, float* y) {
  const float d = read_f16(block), m = read_f16(block + 2);
  uint32_t high;
  std::memcpy(&high, block + 4, 4);
  const uint8_t* q = block + 8;
  for (int j = 0; j < 16; j++) y[j] = static_cast<float>((q[j] & 15) | fifth_bit(high, j)) * d + m;
  for (int j = 0; j < 16; j++) y[16 + j] = static_cast<float>((q[j] >> 4) | fifth_bit(high, 16 + j)) * d + m;
}

}  // namespace octavo::OCTAVO_ISA
