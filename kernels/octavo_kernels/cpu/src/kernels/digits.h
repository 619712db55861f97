// The digits of a row that is quantised: the dense low one, the sparse high one (carries), and the list of its groups.
#pragma once

#include <cstdint>
#include <cstring>

namespace octavo::OCTAVO_ISA {

// A carries row: this many numbers before the group indices.
constexpr int carry_header = 4;
constexpr int carry_group = 4;

inline void write_empty_row(int64_t padded, float row_step, int8_t* low, int8_t* high, int32_t* carries, float* step) {
  std::memset(low, 0, static_cast<size_t>(padded));
  std::memset(high, 0, static_cast<size_t>(padded));
  std::memset(carries, 0, carry_header * sizeof(int32_t));
  *step = row_step;
}

inline int32_t sum_of_lanes(I32x16 v) {
  alignas(64) int32_t lanes[16];
  store_i32(lanes, v);
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) sum += lanes[i];
  return sum;
}

// Writes one row's digits: each 64 columns as if none had a carry, and what does have one once more.
struct DigitWriter {
  int8_t* low;
  int8_t* high;     // zeros: only carries are written
  int32_t* groups;  // of the carries row
  F32x16 inverse;
  I32x16 low_sum = set1_i32(0), high_sum = set1_i32(0);
  int32_t group_count = 0, carry_count = 0;

  // Whether any of these magnitudes, which are not scaled yet, has a carry. A digit needs one from 128 on:
  // rint(128 / 255) = 1. 127.5 rounds to 128.
  bool any_carry(F32x16 magnitudes) const { return any(carries(mul(magnitudes, inverse))); }
  static Mask16 carries(F32x16 scaled) { return ge(scaled, set1(127.5f)); }

  OCTAVO_ALWAYS_INLINE void inliers(F32x16 a, F32x16 b, F32x16 c, F32x16 d, int64_t k) {
    const I32x16 i = to_i32(mul(a, inverse)), j = to_i32(mul(b, inverse));
    const I32x16 m = to_i32(mul(c, inverse)), n = to_i32(mul(d, inverse));
    low_sum = add(low_sum, add(add(i, j), add(m, n)));
    store_i8(low + k, i, j, m, n);
  }

  // 16 columns that `inliers` has written.
  // v / 255 is at least 1/510 from a tie: the roundings of 1/255 and of the product cannot change the nearest integer.
  inline void carry(F32x16 x, int64_t k) {
    const F32x16 scaled = mul(x, inverse);
    const uint32_t carried = mask_bits(carries(abs(scaled)));
    if (carried == 0) return;
    const F32x16 v = round(scaled), h = round(mul(v, set1(1.0f / 255.0f)));
    const I32x16 high_digit = to_i32(h), low_digit = to_i32(fnma(h, set1(255.0f), v));
    low_sum = add(low_sum, sub(low_digit, to_i32(v)));
    high_sum = add(high_sum, high_digit);
    store_i8(low + k, low_digit);
    store_i8(high + k, high_digit);
    carry_count += __builtin_popcount(carried);
    for (int i = 0; i < 16 / carry_group; i++) {
      if (carried >> (carry_group * i) & 15) groups[group_count++] = static_cast<int32_t>(k / carry_group) + i;
    }
  }
};

}  // namespace octavo::OCTAVO_ISA
