// norm: RMS or layer normalisation of rows.
#pragma once

#include <cstdint>

#include "float_rows.h"

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

// y[k] = body(x[k], w[k], b[k]), b zero where there is none. y may be x.
template <bool biased, class Body>
inline void scale_row(const NormRows& norm, const float* x, float* y, Body body) {
  int64_t k = 0;
  for (; k + 16 <= norm.columns; k += 16) {
    store(y + k, body(load(x + k), load(norm.weight + k), biased ? load(norm.bias + k) : zero()));
  }
  const int rest = static_cast<int>(norm.columns - k);
  if (rest == 0) return;
  const F32x16 b = biased ? load_first(norm.bias + k, rest, 0.0f) : zero();
  store_first(y + k, body(load_first(x + k, rest, 0.0f), load_first(norm.weight + k, rest, 0.0f), b), rest);
}

// y may be x.
inline void norm_row(const NormRows& norm, const float* x, float* y) {
  const float columns = static_cast<float>(norm.columns);
  const float* centred = x;
  if (norm.layer) {
    const F32x16 mean = set1(blocksum(x, norm.columns) / columns);
    map_elements<F32Elements, F32Elements>(x, y, norm.columns, [&](F32x16 v) { return sub(v, mean); });
    centred = y;
  }
  const float mean_square = blocksum_square(centred, norm.columns) / columns;
  // 1 / infinity would make zeros of the row.
  const float deviation = mean_square < __builtin_inff() ? __builtin_sqrtf(mean_square + norm.eps) : __builtin_nanf("");
  const F32x16 inverse = set1(1.0f / deviation);
  const auto with_bias = [&](F32x16 v, F32x16 w, F32x16 b) { return fma(mul(v, inverse), w, b); };
  if (norm.bias) {
    scale_row<true>(norm, centred, y, with_bias);
  } else if (norm.layer) {
    scale_row<false>(norm, centred, y, with_bias);
  } else {
    scale_row<false>(norm, centred, y, [&](F32x16 v, F32x16 w, F32x16) { return mul(mul(v, inverse), w); });
  }
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
