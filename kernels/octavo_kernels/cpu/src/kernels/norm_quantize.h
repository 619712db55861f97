// norm_quantize and add_norm_quantize: the sum of the residual, norm and quantize of a row while it is in the cache.
#pragma once

#include "norm.h"
#include "quantize.h"

namespace octavo::OCTAVO_ISA {

// What norm_quantize and add_norm_quantize share: where their operands and attributes are.
struct NormQuantizeOp {
  int weight, bias, kind, kind_layer, eps, unit_offset, decompose, absolute, relative, low, high, carries, step;
};
#define OCTAVO_NORM_QUANTIZE(op)                                                                               \
  NormQuantizeOp {                                                                                             \
    op::weight, op::bias, op::attr_kind, op::kind_layer, op::attr_eps, op::attr_unitOffset, op::attr_decompose, \
        op::attr_absolute, op::attr_relative, op::out_low, op::out_high, op::out_carries, op::out_step         \
  }

// A row that is to be normalised, and blocksum x^2 of it, which layer norm does not look at.
struct NormedRow {
  const float* x;
  float square;
};

// Rows 0 to `rows` of what `row_of(t)` gives.
template <class RowOf>
inline void norm_quantize_rows(const OpCall& call, const Worker& worker, const NormQuantizeOp& op, int64_t rows,
                               RowOf row_of) {
  int64_t begin, end;
  worker.share(rows, 1, &begin, &end);
  if (begin == end) return;
  float* scratch = reinterpret_cast<float*>(worker.scratch);  // Weights and biases of the norm, then one normalised row.
  const NormRows norm = norm_rows(call.in[op.weight], call.in[op.bias], call.integer(op.kind) == op.kind_layer,
                                  call.number(op.eps), call.flag(op.unit_offset), scratch);
  const QuantizeAttributes attributes = {call.integer(op.decompose), call.number(op.absolute), call.number(op.relative)};
  const DigitOutputs digits = {call.out[op.low], call.out[op.high], call.out[op.carries], call.out[op.step]};
  float* y = scratch + norm_scratch_floats(norm.columns);
  for (int64_t t = begin; t < end; t++) {
    const NormedRow row = row_of(t);
    with_norm(norm, row.x, row.square, y, [&](auto value) {
      quantize_made(y, norm.columns, value, attributes, digits, t, worker.counters);
    });
  }
}

inline void run_norm_quantize(const OpCall& call, const Worker& worker) {
  const Operand& x = call.in[op_norm_quantize::x];
  norm_quantize_rows(call, worker, OCTAVO_NORM_QUANTIZE(op_norm_quantize), x.shape[0],
                     [&](int64_t t) {
                       const float* row = x.row<const float>(t);
                       return NormedRow{row, blocksum_square(row, x.shape[1])};
                     });
}

inline void run_add_norm_quantize(const OpCall& call, const Worker& worker) {
  const Operand& a = call.in[op_add_norm_quantize::a];
  const Operand& b = call.in[op_add_norm_quantize::b];
  const Operand& sum = call.out[op_add_norm_quantize::out_y];
  norm_quantize_rows(call, worker, OCTAVO_NORM_QUANTIZE(op_add_norm_quantize), a.shape[0], [&](int64_t t) {
    const float *const p = a.row<float>(t), *const q = b.row<float>(t);
    float* const y = sum.row<float>(t);
    PairwiseSum square;
    make_row(y, a.shape[1], [&](At at) { return add(at(p), at(q)); },
             [&](F32x16 c, F32x16 d, F32x16 e, F32x16 f) { square.push(reduce_add(block_squares(c, d, e, f))); });
    return NormedRow{y, square.finish()};
  });
}

#undef OCTAVO_NORM_QUANTIZE

}  // namespace octavo::OCTAVO_ISA
