// linear_scheme: a linear by one of the int8 schemes of the LLM.int8() paper. Made for evaluations: weights are
// quantised at each call, a panel at a time, and the panel's codes serve all rows while they are in the cache.
#pragma once

#include <cstdint>

#include "../runtime/op.h"
#include "dot_tile.h"
#include "linear_float.h"
#include "scheme_scale.h"

namespace octavo::OCTAVO_ISA {

// What the team shares: which columns are inliers, the outlier columns ascending, ranges of rows and of outputs, the
// scale and the sum of codes of each row, its codes [T, pad64(K)], and its outliers as 16-bit floats, widened [T, K].
struct SchemeProduct {
  const OpCall& call;
  int64_t rows, depth, columns, panels, padded;
  bool zeropoint, tensor_rows, tensor_weight;
  int32_t* inlier;  // [padded]: -1 for inlier columns, 0 for outlier columns and beyond K
  int32_t* count;
  int32_t* listed;
  Range* row_range;
  float* low;  // [panels * 16], and high
  float* high;
  SchemeScale* row_scale;
  int32_t* row_sum;
  int8_t* codes;
  float* outliers;
  size_t bytes = 0;

  SchemeProduct(const OpCall& c, uint8_t* shared)
      : call(c),
        rows(c.in[op_linear_scheme::x].shape[0]),
        depth(c.in[op_linear_scheme::x].shape[1]),
        columns(c.out[op_linear_scheme::out_y].shape[1]),
        panels((columns + 15) / 16),
        padded((depth + 63) / 64 * 64),
        zeropoint(c.integer(op_linear_scheme::attr_codes) == op_linear_scheme::codes_zeropoint),
        tensor_rows(c.integer(op_linear_scheme::attr_scope) == op_linear_scheme::scope_tensor),
        tensor_weight(c.integer(op_linear_scheme::attr_scope) != op_linear_scheme::scope_vector) {
    take(&inlier, shared, padded);
    take(&count, shared, 1);
    take(&listed, shared, depth);
    take(&row_range, shared, rows);
    take(&low, shared, panels * 16);
    take(&high, shared, panels * 16);
    take(&row_scale, shared, rows);
    take(&row_sum, shared, rows);
    take(&codes, shared, rows * padded);
    take(&outliers, shared, rows * depth);
  }
  template <class T>
  void take(T** part, uint8_t* shared, int64_t elements) {
    *part = reinterpret_cast<T*>(shared + bytes);
    bytes += (static_cast<size_t>(elements) * sizeof(T) + 63) / 64 * 64;
  }
  const float* x(int64_t row) const { return call.in[op_linear_scheme::x].row<const float>(row); }
  int lanes(int64_t first) const { return columns - first < 16 ? static_cast<int>(columns - first) : 16; }
  // 16 columns of a row, 0 beyond K.
  F32x16 numbers(const float* x, int64_t k) const {
    return depth - k >= 16 ? load(x + k) : load_first(x + k, static_cast<int>(depth - k), 0.0f);
  }
};

// Element k of 16 outputs, 0 for those that are not there.
template <DType dtype>
inline F32x16 scheme_weights(const SchemeProduct& product, int64_t panel, int64_t k) {
  using Element = typename FloatElement<dtype>::type;
  const Operand& weight = product.call.in[op_linear_scheme::weight];
  if (weight.layout == Layout::packed) {
    return load_element<dtype>(weight.as<const Element>() + (panel * product.depth + k) * 16);
  }
  Element gathered[16] = {};
  for (int i = 0; i < product.lanes(panel * 16); i++) gathered[i] = weight.row<const Element>(panel * 16 + i)[k];
  return load_element<dtype>(gathered);
}

// Phase 0: which columns are outliers, and the range of each output's weights.
inline void mark_inlier_columns(const SchemeProduct& product, const Worker& worker) {
  const float threshold = product.call.number(op_linear_scheme::attr_threshold);
  int64_t begin, end;
  worker.share(product.padded, 64, &begin, &end);
  for (int64_t k = begin; k < end; k++) product.inlier[k] = k < product.depth ? -1 : 0;
  if (threshold <= 0.0f) return;
  if (end > product.depth) end = product.depth;
  for (int64_t row = 0; row < product.rows; row++) {
    const float* x = product.x(row);
    for (int64_t k = begin; k < end; k++) product.inlier[k] &= __builtin_fabsf(x[k]) >= threshold ? 0 : -1;
  }
}

template <DType dtype>
inline void weight_ranges(const SchemeProduct& product, const Worker& worker) {
  int64_t panel, end;
  while (worker.next(product.panels, 1, &panel, &end)) {
    LaneRanges ranges;
    for (int64_t k = 0; k < product.depth; k++) ranges.add_numbers(scheme_weights<dtype>(product, panel, k));
    ranges.write(product.low + panel * 16, product.high + panel * 16);
  }
}

// Phase 1: thread 0 lists the outlier columns; the range of each row's inliers, also of those whose column another row
// takes out: bitsandbytes' rule.
inline void row_ranges(const SchemeProduct& product, const Worker& worker) {
  if (worker.thread == 0) {
    int32_t count = 0;
    for (int64_t k = 0; k < product.depth; k++)
      if (product.inlier[k] == 0) product.listed[count++] = static_cast<int32_t>(k);
    *product.count = count;
  }
  const float threshold = product.call.number(op_linear_scheme::attr_threshold);
  const F32x16 limit = set1(threshold > 0.0f ? threshold : __builtin_nanf(""));  // nothing is >= NaN
  int64_t begin, end;
  worker.share(product.rows, 1, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    const float* x = product.x(row);
    LaneRanges ranges;
    for (int64_t k = 0; k < product.depth; k += 16) {
      const F32x16 numbers = product.numbers(x, k);
      ranges.add_numbers(select(ge(abs(numbers), limit), zero(), numbers));
    }
    float lows[16], highs[16];
    ranges.write(lows, highs);
    Range range;
    for (int i = 0; i < 16; i++) range.include(lows[i], highs[i]);
    product.row_range[row] = range;
  }
}

// Phase 2: codes of the rows, and their outliers.
inline void quantize_rows(const SchemeProduct& product, const Worker& worker) {
  Range all;
  for (int64_t row = 0; row < product.rows; row++) all.include(product.row_range[row].low, product.row_range[row].high);
  int64_t begin, end;
  worker.share(product.rows, 1, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    const SchemeScale scale = scheme_scale(product.zeropoint, product.tensor_rows ? all : product.row_range[row]);
    const float* x = product.x(row);
    int8_t* codes = product.codes + row * product.padded;
    const F32x16 factor = set1(scale.factor);
    const I32x16 zeros = set1_i32(scale.zero);
    for (int64_t k = 0; k < product.depth; k += 16) {
      const F32x16 inliers = as_f32(bit_and(bits(product.numbers(x, k)), load_i32(product.inlier + k)));
      store_i8(codes + k, scheme_codes(inliers, factor, zeros));
    }
    for (int64_t k = product.depth; k < product.padded; k++) codes[k] = 0;
    int32_t sum = 0;
    for (int64_t k = 0; k < product.depth; k++) sum += codes[k];
    product.row_scale[row] = scale;
    product.row_sum[row] = sum;
    float* outliers = product.outliers + row * product.depth;
    for (int32_t j = 0; j < *product.count; j += 16) {
      const int lanes = *product.count - j < 16 ? *product.count - j : 16;
      float gathered[16] = {};
      for (int i = 0; i < lanes; i++) gathered[i] = x[product.listed[j + i]];
      uint16_t half[16];
      store_f16(half, load(gathered));
      store_first(outliers + j, load_f16(half), lanes);
    }
  }
}

// Phase 3 works on 16 outputs at a time.
struct SchemePanel {
  int64_t first;
  int lanes;
  const int8_t* codes;    // [pad64(K) / 4][16][4]
  const float* outliers;  // [count][16]
  alignas(64) int32_t zero[16];
  alignas(64) int32_t sum[16];
  alignas(64) float unit[16];  // unit / levels^2
};

// `scratch`: the panel's codes as packed int8 weights have them, and the dequantised weights of the outlier columns
// [count][16].
template <DType dtype>
inline void quantize_panel(const SchemeProduct& product, int64_t index, Range all, uint8_t* scratch,
                           SchemePanel* panel) {
  int8_t* const codes = reinterpret_cast<int8_t*>(scratch);
  float* const outliers = reinterpret_cast<float*>(scratch + product.padded * 16);
  panel->first = index * 16, panel->lanes = product.lanes(index * 16);
  panel->codes = codes, panel->outliers = outliers;
  float factors[16], units[16];
  for (int i = 0; i < 16; i++) {
    const Range own = {product.low[index * 16 + i], product.high[index * 16 + i]};
    const SchemeScale scale = scheme_scale(product.zeropoint, product.tensor_weight ? all : own);
    factors[i] = scale.factor, units[i] = scale.unit, panel->zero[i] = scale.zero;
  }
  const F32x16 factor = load(factors);
  const I32x16 zeros = load_i32(panel->zero), byte = set1_i32(255);
  I32x16 sum = set1_i32(0);
  const auto codes_at = [&](int64_t k) {
    if (k >= product.depth) return set1_i32(0);
    const I32x16 found = scheme_codes(scheme_weights<dtype>(product, index, k), factor, zeros);
    sum = add(sum, found);
    return found;
  };
  for (int64_t k = 0; k < product.padded; k += 4) {
    const I32x16 a = codes_at(k), b = codes_at(k + 1), c = codes_at(k + 2), d = codes_at(k + 3);
    const I32x16 low = bit_or(bit_and(a, byte), shift_left<8>(bit_and(b, byte)));
    const I32x16 high = bit_or(shift_left<16>(bit_and(c, byte)), shift_left<24>(d));
    store_i32(reinterpret_cast<int32_t*>(codes + k * 16), bit_or(low, high));
  }
  store_i32(panel->sum, sum);
  const float levels = scheme_levels(product.zeropoint);
  const F32x16 weight_unit = div(load(units), set1(levels));
  store(panel->unit, div(load(units), set1(levels * levels)));
  for (int32_t j = 0; j < *product.count; j++) {
    const I32x16 code = scheme_codes(scheme_weights<dtype>(product, index, product.listed[j]), factor, zeros);
    uint16_t half[16];
    store_f16(half, mul(to_f32(add(code, zeros)), weight_unit));
    store(outliers + 16 * j, load_f16(half));
  }
}

// sum (q + zx)(c + zw) in 64 bits, rounded once, times the units; `parts` are what the outlier columns add.
inline void finish_row(const SchemeProduct& product, const SchemePanel& panel, int64_t row, const int32_t* sums,
                       F32x16 part) {
  const Operand& bias = product.call.in[op_linear_scheme::bias];
  const SchemeScale& scale = product.row_scale[row];
  const int64_t zero = scale.zero, sum = product.row_sum[row];
  alignas(64) float totals[16];
  for (int i = 0; i < 16; i++) {
    const int64_t zeros = panel.zero[i] * (sum + product.depth * zero) + panel.sum[i] * zero;
    totals[i] = static_cast<float>(sums[i] + zeros);
  }
  F32x16 y = add(mul(mul(load(totals), set1(scale.unit)), load(panel.unit)), part);
  if (bias) y = add(y, load_first(bias.as<const float>() + panel.first, panel.lanes, 0.0f));
  store_first(product.call.out[op_linear_scheme::out_y].row<float>(row) + panel.first, y, panel.lanes);
}

template <int rows>
inline void scheme_tile(const SchemeProduct& product, const SchemePanel& panel, int64_t row) {
  alignas(64) int32_t sums[rows * 16];
  F32x16 parts[rows];
  for (int r = 0; r < rows; r++) {
    store_i32(sums + r * 16, set1_i32(-dot_offset * product.row_sum[row + r]));
    parts[r] = zero();
  }
  dot_tile<rows, 1>(sums, product.codes + row * product.padded, product.padded, panel.codes, 0, product.padded / 4,
                    panel.codes, 0);
  for (int32_t j = 0; j < *product.count; j++) {
    const F32x16 weights = load(panel.outliers + 16 * j);
    for (int r = 0; r < rows; r++) {
      parts[r] = fma(set1(product.outliers[(row + r) * product.depth + j]), weights, parts[r]);
    }
  }
  for (int r = 0; r < rows; r++) finish_row(product, panel, row + r, sums + r * 16, parts[r]);
}

template <DType dtype>
inline void scheme_panels(const SchemeProduct& product, const Worker& worker) {
  Range all;
  for (int64_t n = 0; n < product.columns; n++) all.include(product.low[n], product.high[n]);
  int64_t index, end;
  while (worker.next(product.panels, 1, &index, &end)) {
    SchemePanel panel;
    quantize_panel<dtype>(product, index, all, worker.scratch, &panel);
    int64_t row = 0;
    for (; row + dot_tile_rows <= product.rows; row += dot_tile_rows) scheme_tile<dot_tile_rows>(product, panel, row);
    for (; row < product.rows; row++) scheme_tile<1>(product, panel, row);
  }
}


template <DType dtype>
inline void linear_scheme_of(const OpCall& call, const Worker& worker) {
  const SchemeProduct product(call, worker.shared);
  switch (worker.phase) {
    case 0: mark_inlier_columns(product, worker), weight_ranges<dtype>(product, worker); break;
    case 1: row_ranges(product, worker); break;
    case 2: quantize_rows(product, worker); break;
    default: scheme_panels<dtype>(product, worker); break;
  }
}

inline void run_linear_scheme(const OpCall& call, const Worker& worker) {
  if (call.in[op_linear_scheme::x].shape[0] == 0) return;
  switch (call.in[op_linear_scheme::weight].dtype) {
    case DType::float16: linear_scheme_of<DType::float16>(call, worker); break;
    case DType::bfloat16: linear_scheme_of<DType::bfloat16>(call, worker); break;
    default: linear_scheme_of<DType::float32>(call, worker); break;
  }
}

}  // namespace octavo::OCTAVO_ISA
