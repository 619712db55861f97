// linear_published: LLM.int8() as the paper and bitsandbytes run it (arXiv 2208.07339). Columns with an outlier in any
// row of the call leave the int8 product and are multiplied in 16-bit floats with the dequantised weight. Kept for
// comparison and for bitsandbytes-compatible results; not made for speed.
#pragma once

#include <cstdint>

#include "../runtime/op.h"
#include "dot_tile.h"

namespace octavo::OCTAVO_ISA {

// What the team shares: [K] bytes that mark outlier columns, [K] their indices ascending, [T] row maxima and sums of
// codes, [T, pad64(K)] codes.
struct PublishedProduct {
  const OpCall& call;
  int64_t rows, depth, columns, padded;
  uint8_t* outlier;
  int32_t* count;
  int32_t* listed;
  float* maximum;
  int32_t* sum;
  int8_t* codes;

  PublishedProduct(const OpCall& c, uint8_t* shared)
      : call(c),
        rows(c.in[op_linear_published::x].shape[0]),
        depth(c.in[op_linear_published::x].shape[1]),
        columns(c.out[op_linear_published::out_y].shape[1]),
        padded((depth + 63) / 64 * 64) {
    const auto take = [&](int64_t bytes) {
      uint8_t* const part = shared;
      shared += (bytes + 63) / 64 * 64;
      return part;
    };
    outlier = take(depth);
    count = reinterpret_cast<int32_t*>(take(sizeof(int32_t)));
    listed = reinterpret_cast<int32_t*>(take(depth * static_cast<int64_t>(sizeof(int32_t))));
    maximum = reinterpret_cast<float*>(take(rows * static_cast<int64_t>(sizeof(float))));
    sum = reinterpret_cast<int32_t*>(take(rows * static_cast<int64_t>(sizeof(int32_t))));
    codes = reinterpret_cast<int8_t*>(take(rows * padded));
  }
  const float* x(int64_t row) const { return call.in[op_linear_published::x].row<const float>(row); }
  // Code [column, k] in either layout.
  int32_t weight(int64_t column, int64_t k) const {
    const Operand& w = call.in[op_linear_published::weight];
    if (w.layout == Layout::plain) return w.row<const int8_t>(column)[k];
    return panel(column / 16)[k / 4 * 64 + column % 16 * 4 + k % 4];
  }
  const int8_t* panel(int64_t index) const {
    return call.in[op_linear_published::weight].as<const int8_t>() + index * padded * 16;
  }
};

inline float magnitude_of(float x) { return x < 0.0f ? -x : x; }

// Phase 0: which columns have an outlier in some row.
inline void mark_outliers(const PublishedProduct& product, const Worker& worker) {
  const float threshold = product.call.number(op_linear_published::attr_threshold);
  int64_t begin, end;
  worker.share(product.depth, 64, &begin, &end);
  for (int64_t k = begin; k < end; k++) product.outlier[k] = 0;
  if (threshold <= 0.0f) return;
  for (int64_t row = 0; row < product.rows; row++) {
    const float* x = product.x(row);
    for (int64_t k = begin; k < end; k++) product.outlier[k] |= magnitude_of(x[k]) >= threshold;
  }
}

// Phase 1: the rows' codes, outlier columns zero; thread 0 lists these columns.
inline void quantize_inliers(const PublishedProduct& product, const Worker& worker) {
  if (worker.thread == 0) {
    int32_t count = 0;
    for (int64_t k = 0; k < product.depth; k++)
      if (product.outlier[k]) product.listed[count++] = static_cast<int32_t>(k);
    *product.count = count;
  }
  // A row's scale is its largest inlier, also where another row takes the column out: bitsandbytes' rule.
  const float threshold = product.call.number(op_linear_published::attr_threshold);
  const float limit = threshold > 0.0f ? threshold : __builtin_nanf("");
  int64_t begin, end;
  worker.share(product.rows, 1, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    const float* x = product.x(row);
    float largest = 0.0f;
    bool finite = true;
    for (int64_t k = 0; k < product.depth; k++) {
      const float magnitude = magnitude_of(x[k]);
      if (magnitude >= limit) continue;
      finite = finite && magnitude < __builtin_inff();
      largest = magnitude > largest ? magnitude : largest;
    }
    product.maximum[row] = finite ? largest : __builtin_nanf("");  // which then is every output of the row
    int8_t* codes = product.codes + row * product.padded;
    const bool any = finite && largest > 0.0f;
    const F32x16 factor = set1(any ? 127.0f / largest : 0.0f);
    int32_t sum = 0;
    for (int64_t k = 0; k < product.padded; k += 16) {
      const int64_t left = product.depth - k;
      const int lanes = left >= 16 ? 16 : left > 0 ? static_cast<int>(left) : 0;
      int32_t rounded[16];
      store_i32(rounded, to_i32(mul(load_first(x + k, lanes, 0.0f), factor)));
      for (int i = 0; i < 16; i++) {
        codes[k + i] = i < lanes && any && !product.outlier[k + i] ? static_cast<int8_t>(rounded[i]) : 0;
        sum += codes[k + i];
      }
    }
    product.sum[row] = sum;
  }
}

inline float rounded_to_half(float x) {
  uint16_t lanes[16];
  store_f16(lanes, set1(x));
  float wide[16];
  store(wide, load_f16(lanes));
  return wide[0];
}

// Integer sums of a row with 16 columns.
inline I32x16 inlier_sums(const PublishedProduct& product, int64_t row, int64_t panel, int lanes) {
  const int8_t* codes = product.codes + row * product.padded;
  alignas(64) int32_t sums[16] = {};
  if (product.call.in[op_linear_published::weight].layout == Layout::packed) {
    store_i32(sums, set1_i32(-dot_offset * product.sum[row]));
    const int8_t* weights = product.panel(panel);
    dot_tile<1, 1>(sums, codes, product.padded, weights, 0, product.padded / 4, weights, 0);
  } else {
    for (int i = 0; i < lanes; i++) {
      for (int64_t k = 0; k < product.depth; k++) sums[i] += codes[k] * product.weight(panel * 16 + i, k);
    }
  }
  return load_i32(sums);
}

// Phase 2.
inline void multiply_panel(const PublishedProduct& product, int64_t panel) {
  const Operand& bias = product.call.in[op_linear_published::bias];
  const float* scale = product.call.in[op_linear_published::scale].as<const float>();
  const int64_t first = panel * 16, left = product.columns - first;
  const int lanes = left < 16 ? static_cast<int>(left) : 16;
  const F32x16 scales = load_first(scale + first, lanes, 0.0f);
  const F32x16 unit = div(scales, set1(127.0f * 127.0f)), weight_unit = div(scales, set1(127.0f));
  for (int64_t row = 0; row < product.rows; row++) {
    F32x16 outliers = zero();
    for (int32_t j = 0; j < *product.count; j++) {
      const int32_t k = product.listed[j];
      int32_t column[16] = {};
      for (int i = 0; i < lanes; i++) column[i] = product.weight(first + i, k);
      uint16_t half[16];
      store_f16(half, mul(to_f32(load_i32(column)), weight_unit));
      outliers = fma(set1(rounded_to_half(product.x(row)[k])), load_f16(half), outliers);
    }
    const F32x16 inliers = mul(mul(to_f32(inlier_sums(product, row, panel, lanes)), set1(product.maximum[row])), unit);
    F32x16 y = add(inliers, outliers);
    if (bias) y = add(y, load_first(bias.as<const float>() + first, lanes, 0.0f));
    store_first(product.call.out[op_linear_published::out_y].row<float>(row) + first, y, lanes);
  }
}


inline void run_linear_published(const OpCall& call, const Worker& worker) {
  const PublishedProduct product(call, worker.shared);
  if (product.rows == 0) return;
  if (worker.phase == 0) return mark_outliers(product, worker);
  if (worker.phase == 1) return quantize_inliers(product, worker);
  int64_t panel, end;
  while (worker.next((product.columns + 15) / 16, 1, &panel, &end)) multiply_panel(product, panel);
}

}  // namespace octavo::OCTAVO_ISA
