// Rows of floats as integers times a step (docs/numerics.md, "append"), and the KV pages that hold such rows.
#pragma once

#include <cstring>

#include "partial.h"

namespace octavo::OCTAVO_ISA {

// Longest head of KV pages.
inline constexpr int most_kv_head = 256;

constexpr int64_t round_up_16(int64_t n) { return (n + 15) / 16 * 16; }

// n numbers to integers of at most `most`, and zeros up to the next multiple of 16; the step, which is NaN where the
// row has NaN or is too large.
inline float quantize_row(const float* x, int64_t n, int most, int16_t* integers) {
  const I32x16 magnitude = set1_i32(INT32_MAX);
  I32x16 bits_of_largest = set1_i32(0);
  for (int64_t i = 0; i < n; i += 16)
    bits_of_largest = max_i32(bits_of_largest, bit_and(bits(load_part(x + i, n - i, 0)), magnitude));
  // As integers NaN is above infinity, which stands for both from here.
  const float given = reduce_max(as_f32(min_i32(bits_of_largest, set1_i32(0x7f800000))));
  if (!(given < 0x1p50f)) {
    std::memset(integers, 0, sizeof(int16_t) * round_up_16(n));
    return __builtin_nanf("");
  }
  const float largest = given < 0x1p-60f ? 0x1p-60f : given;
  const F32x16 inverse = set1(static_cast<float>(most) / largest);
  for (int64_t i = 0; i < n; i += 16) store_i16(integers + i, to_i32(mul(load_part(x + i, n - i, 0), inverse)));
  return largest / static_cast<float>(most);
}

// The pages of one layer: keys [G, kv_heads, head_dim / 2, 16 positions, 2] and values [G, kv_heads, 8 pairs of
// positions, head_dim, 2], both int16 or both int8, and steps [G, kv_heads, 32], those of 16 keys and of 16 values.
struct KvPages {
  const Operand& keys;
  const Operand& values;
  const Operand& steps;
  int head_dim;

  void write(int32_t slot, int64_t kv_head, const float* k, const float* v) const {
    const bool wide = keys.dtype == DType::int16;
    float* step = steps.row<float>(slot / page_size) + kv_head * 2 * page_size + slot % page_size;
    alignas(64) int16_t integers[most_kv_head];
    step[0] = quantize_row(k, head_dim, wide ? int16_keys : int8_keys, integers);
    wide ? put_key<int16_t>(slot, kv_head, integers) : put_key<int8_t>(slot, kv_head, integers);
    step[page_size] = quantize_row(v, head_dim, wide ? int16_values : int8_values, integers);
    wide ? put_value<int16_t>(slot, kv_head, integers) : put_value<int8_t>(slot, kv_head, integers);
  }

 private:
  template <class T>
  void put_key(int32_t slot, int64_t kv_head, const int16_t* integers) const {
    T* target = keys.row<T>(slot / page_size) + kv_head * head_dim * page_size + slot % page_size * 2;
    for (int d = 0; d < head_dim; d += 2, target += 2 * page_size) {
      target[0] = static_cast<T>(integers[d]);
      target[1] = static_cast<T>(integers[d + 1]);
    }
  }
  // Its own elements only: another thread may be writing the pair's other position.
  template <class T>
  void put_value(int32_t slot, int64_t kv_head, const int16_t* integers) const {
    const int64_t offset = slot % page_size, place = offset / 2 * 2 * head_dim + offset % 2;
    T* target = values.row<T>(slot / page_size) + kv_head * head_dim * page_size + place;
    for (int d = 0; d < head_dim; d++) target[2 * d] = static_cast<T>(integers[d]);
  }
};

}  // namespace octavo::OCTAVO_ISA
