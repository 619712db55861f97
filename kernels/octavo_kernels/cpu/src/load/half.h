// 16-bit floats by integer arithmetic, which every compiler turns into vector code for every instruction set.
// Included inside namespace octavo::OCTAVO_ISA.
#pragma once

#include <cstdint>
#include <cstring>

namespace octavo::OCTAVO_ISA {

inline float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// Exact. The exponent is rebiased by a multiplication, which also normalises subnormals.
inline float float_of_f16(uint16_t half) {
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  const uint32_t finite = bits_of_float(float_of_bits(magnitude) * 0x1p112f);
  const uint32_t nonfinite = magnitude | 0x7f800000u;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  return float_of_bits(sign | (magnitude >= 0x0f800000u ? nonfinite : finite));
}

inline float float_of_bf16(uint16_t half) { return float_of_bits(static_cast<uint32_t>(half) << 16); }

// To nearest, ties to even; NaN stays NaN (quiet).
inline uint16_t f16_of_float(float value) {
  const uint32_t bits = bits_of_float(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  // Below 2^-14 the addition of 0.5 rounds at the last bit of a subnormal, 2^-24.
  const uint32_t subnormal = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
  // Round at bit 13: add just under half, plus the bit that decides a tie, then rebias the exponent by 127 - 15.
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  const uint32_t overflow = magnitude > 0x7f800000u ? 0x7e00u | ((magnitude >> 13) & 0x3ffu) : 0x7c00u;
  const uint32_t half = magnitude < 0x38800000u ? subnormal : magnitude >= 0x47800000u ? overflow : normal;
  return static_cast<uint16_t>(sign | half);
}

inline uint16_t bf16_of_float(float value) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, quiet = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

}  // namespace octavo::OCTAVO_ISA
