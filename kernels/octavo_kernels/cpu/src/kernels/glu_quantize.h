// glu_quantize: glu and quantize of a row while it is in the cache.
#pragma once

#include "glu.h"
#include "quantize.h"

namespace octavo::OCTAVO_ISA {

inline void run_glu_quantize(const OpCall& call, const Worker& worker) {
  namespace op = op_glu_quantize;
  const Operand& gate = call.in[op::gate];
  const Operand& up = call.in[op::up];
  const int64_t columns = gate.shape[1];
  const QuantizeAttributes attributes = {call.integer(op::attr_decompose), call.number(op::attr_absolute),
                                         call.number(op::attr_relative)};
  const DigitOutputs digits = {call.out[op::out_low], call.out[op::out_high], call.out[op::out_carries],
                               call.out[op::out_step]};
  float* y = reinterpret_cast<float*>(worker.scratch);
  int64_t begin, end;
  worker.share(gate.shape[0], 1, &begin, &end);
  with_activation(call.integer(op::attr_activation), [&](auto activation) {
    for (int64_t t = begin; t < end; t++) {
      const float *const g = gate.row<float>(t), *const u = up.row<float>(t);
      quantize_made(y, columns, [&](At at) { return mul(activation(at(g)), at(u)); }, attributes, digits, t,
                    worker.counters);
    }
  });
}

}  // namespace octavo::OCTAVO_ISA
