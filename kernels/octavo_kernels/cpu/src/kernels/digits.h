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

// Writes one row's digits while it goes over the columns, 16 at a time.
struct DigitWriter {
  int8_t* low;
  int8_t* high;     // zeros: only carries are written
  int32_t* groups;  // of the carries row
  F32x16 inverse;
  I32x16 low_sum = set1_i32(0), high_sum = set1_i32(0);
  int32_t group_count = 0, carry_count = 0;

  // 64 columns from k on, all of them inside the row.
  OCTAVO_ALWAYS_INLINE void block(const float* x, int64_t k) {
    const F32x16 a = mul(load(x), inverse), b = mul(load(x + 16), inverse);
    const F32x16 c = mul(load(x + 32), inverse), d = mul(load(x + 48), inverse);
    if (__builtin_expect(any(carries(max(max(abs(a), abs(b)), max(abs(c), abs(d))))), 0)) {
      digits(a, k), digits(b, k + 16), digits(c, k + 32), digits(d, k + 48);
      return;
    }
    inliers(a, k), inliers(b, k + 16), inliers(c, k + 32), inliers(d, k + 48);
  }

  // 16 scaled columns.
  inline void digits(F32x16 scaled, int64_t k) {
    const uint32_t carried = mask_bits(carries(abs(scaled)));
    if (carried != 0) {
      carry(round(scaled), carried, k);
    } else {
      inliers(scaled, k);
    }
  }

  // A digit needs a carry from 128 on: rint(128 / 255) = 1. 127.5 rounds to 128.
  static Mask16 carries(F32x16 magnitude) { return ge(magnitude, set1(127.5f)); }

  OCTAVO_ALWAYS_INLINE void inliers(F32x16 scaled, int64_t k) {
    const I32x16 v = to_i32(scaled);
    low_sum = add(low_sum, v);
    store_i8(low + k, v);
  }

  // v / 255 is at least 1/510 from a tie: the roundings of 1/255 and of the product cannot change the nearest integer.
  inline void carry(F32x16 v, uint32_t carried, int64_t k) {
    const F32x16 h = round(mul(v, set1(1.0f / 255.0f)));
    const I32x16 high_digit = to_i32(h), low_digit = to_i32(fnma(h, set1(255.0f), v));
    low_sum = add(low_sum, low_digit);
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
