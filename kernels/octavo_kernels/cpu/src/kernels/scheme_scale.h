// How a scheme of the LLM.int8() paper turns numbers into codes: ranges, and the scale of what shares one.
#pragma once

#include <cstdint>

namespace octavo::OCTAVO_ISA {

// Smallest and largest number of each of 16 lanes, 0 included; low is NaN where one was NaN or Inf.
struct LaneRanges {
  F32x16 low = zero(), high = zero(), bad = zero();

  OCTAVO_ALWAYS_INLINE void add_numbers(F32x16 v) {
    low = min(low, v), high = max(high, v);
    bad = select(le(abs(v), set1(__FLT_MAX__)), bad, set1(1.0f));
  }
  inline void write(float* lows, float* highs) const {
    store(lows, select(gt(bad, zero()), set1(__builtin_nanf("")), low));
    store(highs, high);
  }
};

// As above, of one row, output or tensor.
struct Range {
  float low = 0.0f, high = 0.0f;

  inline void include(float other_low, float other_high) {
    if (other_low < low || other_low != other_low) low = other_low;
    if (other_high > high) high = other_high;
  }
};

// A number is (code + zero) * unit / levels.
struct SchemeScale {
  float unit, factor;
  int32_t zero;
};

inline float scheme_levels(bool zeropoint) { return zeropoint ? 254.0f : 127.0f; }

inline SchemeScale scheme_scale(bool zeropoint, Range range) {
  const float low = range.low < 0.0f ? -range.low : 0.0f, high = range.high > 0.0f ? range.high : 0.0f;
  const float unit = zeropoint ? low + high : low > high ? low : high;
  if (range.low != range.low || !(unit <= __FLT_MAX__)) return {__builtin_nanf(""), 0.0f, 0};
  const float inverse = scheme_levels(zeropoint) / unit, limit = 0x1p126f;
  const float factor = inverse < limit ? inverse : limit;
  // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even.
  const float rounded = (0.0f - low) * factor + 0x1.8p23f - 0x1.8p23f;
  return {unit, factor, zeropoint ? static_cast<int32_t>(rounded) + 127 : 0};
}

// Codes of 16 numbers; a factor of 0 (nothing finite) gives 0.
OCTAVO_ALWAYS_INLINE I32x16 scheme_codes(F32x16 numbers, F32x16 factor, I32x16 zeros) {
  const F32x16 finite = select(gt(factor, zero()), numbers, zero());
  return max_i32(min_i32(sub(to_i32(mul(finite, factor)), zeros), set1_i32(127)), set1_i32(-127));
}

}  // namespace octavo::OCTAVO_ISA
