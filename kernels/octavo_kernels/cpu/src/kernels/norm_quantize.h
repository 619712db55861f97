// norm_quantize and add_norm_quantize: the sum of the residual, norm and quantize of a row while it is in the cache.
#pragma once

#include "add.h"
#include "norm.h"
#include "quantize.h"

namespace octavo::OCTAVO_ISA {

// Weights and biases of the norm, then one normalised row.
inline size_t norm_quantize_floats(int64_t columns) {
  return norm_scratch_floats(columns) + norm_scratch_floats(columns) / 2;
}
inline size_t norm_quantize_scratch(const OpCall& call) {
  return norm_quantize_floats(call.in[op_norm_quantize::x].shape[1]) * sizeof(float);
}
inline size_t add_norm_quantize_scratch(const OpCall& call) {
  return norm_quantize_floats(call.in[op_add_norm_quantize::a].shape[1]) * sizeof(float);
}

inline void run_norm_quantize(const OpCall& call, const Worker& worker) {
  namespace op = op_norm_quantize;
  const Operand& x = call.in[op::x];
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  if (begin == end) return;
  float* scratch = reinterpret_cast<float*>(worker.scratch);
  const NormRows norm = norm_rows(call.in[op::weight], call.in[op::bias], call.integer(op::attr_kind) == op::kind_layer,
                                  call.number(op::attr_eps), call.flag(op::attr_unitOffset), scratch);
  const QuantizeAttributes attributes = {call.integer(op::attr_decompose), call.number(op::attr_absolute),
                                         call.number(op::attr_relative)};
  const DigitOutputs digits = {call.out[op::out_low], call.out[op::out_high], call.out[op::out_carries],
                               call.out[op::out_step]};
  float* y = scratch + norm_scratch_floats(norm.columns);
  for (int64_t t = begin; t < end; t++) {
    norm_row(norm, x.row<float>(t), y);
    quantize_row(y, norm.columns, attributes, digits, t, worker.counters);
  }
}

inline void run_add_norm_quantize(const OpCall& call, const Worker& worker) {
  namespace op = op_add_norm_quantize;
  const Operand& a = call.in[op::a];
  const Operand& b = call.in[op::b];
  const Operand& sum = call.out[op::out_y];
  int64_t begin, end;
  worker.share(a.shape[0], 1, &begin, &end);
  if (begin == end) return;
  float* scratch = reinterpret_cast<float*>(worker.scratch);
  const NormRows norm = norm_rows(call.in[op::weight], call.in[op::bias], call.integer(op::attr_kind) == op::kind_layer,
                                  call.number(op::attr_eps), call.flag(op::attr_unitOffset), scratch);
  const QuantizeAttributes attributes = {call.integer(op::attr_decompose), call.number(op::attr_absolute),
                                         call.number(op::attr_relative)};
  const DigitOutputs digits = {call.out[op::out_low], call.out[op::out_high], call.out[op::out_carries],
                               call.out[op::out_step]};
  float* y = scratch + norm_scratch_floats(norm.columns);
  for (int64_t t = begin; t < end; t++) {
    add_row(a.row<float>(t), b.row<float>(t), sum.row<float>(t), norm.columns);
    norm_row(norm, sum.row<float>(t), y);
    quantize_row(y, norm.columns, attributes, digits, t, worker.counters);
  }
}

}  // namespace octavo::OCTAVO_ISA
