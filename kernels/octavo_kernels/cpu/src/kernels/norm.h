// norm: RMS or layer normalisation of rows.
#pragma once

#include <cstdint>

#include "float_rows.h"
#include "partial.h"

namespace octavo::OCTAVO_ISA {

// What a norm does to every row: made once per thread and op. Weights of 16 bits are widened and the unit offset is
// added once, not once per row.
struct NormRows {
  const float* weight;
  const float* bias;  // null: none
  int64_t columns;
  float eps;
  bool layer;
};

// Floats of scratch that norm_rows needs: two rows.
inline size_t norm_scratch_floats(int64_t columns) { return static_cast<size_t>((columns + 15) / 16 * 16) * 2; }

inline NormRows norm_rows(const Operand& weight, const Operand& bias, bool layer, float eps, bool unit_offset,
                          float* scratch) {
  const int64_t columns = weight.shape[0];
  const float* w = weight.as<float>();
  if (weight.dtype != DType::float32 || unit_offset) {
    const F32x16 offset = set1(1.0f);
    with_float_dtype(weight.dtype, [&](auto elements) {
      using From = decltype(elements);
      map_elements<From, F32Elements>(weight.as<typename From::Type>(), scratch, columns,
                                      [&](F32x16 v) { return unit_offset ? add(offset, v) : v; });
    });
    w = scratch;
  }
  const float* b = bias.as<float>();
  float* second = scratch + norm_scratch_floats(columns) / 2;
  if (bias && bias.dtype != DType::float32) {
    widen(bias.data, bias.dtype, second, columns);
    b = second;
  }
  return {w, b, columns, eps, layer};
}

// Calls body(value), value(At) being 16 columns of the normalised row. `square`: blocksum x^2. y: a row of memory, which may be
// x and what the values are written to.
template <class Body>
OCTAVO_ALWAYS_INLINE void with_norm(const NormRows& norm, const float* x, float square, float* y, Body body) {
  const float columns = static_cast<float>(norm.columns);
  const float* centred = x;
  if (norm.layer) {
    const F32x16 mean = set1(blocksum(x, norm.columns) / columns);
    map_elements<F32Elements, F32Elements>(x, y, norm.columns, [&](F32x16 v) { return sub(v, mean); });
    centred = y;
    square = blocksum_square(y, norm.columns);
  }
  const float mean_square = square / columns;
  // 1 / infinity would make zeros of the row.
  const float deviation = mean_square < __builtin_inff() ? __builtin_sqrtf(mean_square + norm.eps) : __builtin_nanf("");
  const F32x16 inverse = set1(1.0f / deviation);
  const float *const weight = norm.weight, *const bias = norm.bias;
  if (bias) return body([=](At at) { return fma(mul(at(centred), inverse), at(weight), at(bias)); });
  if (norm.layer) return body([=](At at) { return fma(mul(at(centred), inverse), at(weight), zero()); });
  body([=](At at) { return mul(mul(at(centred), inverse), at(weight)); });
}

// y may be x.
inline void norm_row(const NormRows& norm, const float* x, float* y) {
  with_norm(norm, x, norm.layer ? 0.0f : blocksum_square(x, norm.columns), y, [&](auto value) {
    make_row(y, norm.columns, value, [](F32x16, F32x16, F32x16, F32x16) {});
  });
}

inline void run_norm(const OpCall& call, const Worker& worker) {
  namespace op = op_norm;
  const Operand& x = call.in[op::x];
  const Operand& y = call.out[op::out_y];
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  if (begin == end) return;
  const NormRows norm =
      norm_rows(call.in[op::weight], call.in[op::bias], call.integer(op::attr_kind) == op::kind_layer,
                call.number(op::attr_eps), call.flag(op::attr_unitOffset), reinterpret_cast<float*>(worker.scratch));
  for (int64_t t = begin; t < end; t++) norm_row(norm, x.row<float>(t), y.row<float>(t));
}

}  // namespace octavo::OCTAVO_ISA
