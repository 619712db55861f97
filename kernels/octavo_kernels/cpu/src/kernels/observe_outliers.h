// observe_outliers: how many rows have an outlier in each column, and the column's largest magnitude, over all steps.
#pragma once

#include <cstdint>

#include "../runtime/op.h"

namespace octavo::OCTAVO_ISA {

inline void run_observe_outliers(const OpCall& call, const Worker& worker) {
  namespace op = op_observe_outliers;
  const Operand& x = call.in[op::x];
  int32_t* counts = call.in[op::counts].as<int32_t>();
  float* largest = call.in[op::largest].as<float>();
  const float threshold = call.number(op::attr_threshold);
  int64_t begin, end;
  worker.share(x.shape[1], 64, &begin, &end);
  for (int64_t row = 0; row < x.shape[0]; row++) {
    const float* values = x.row<const float>(row);
    for (int64_t k = begin; k < end; k++) {
      const float magnitude = __builtin_fabsf(values[k]);
      counts[k] += magnitude >= threshold;
      largest[k] = magnitude > largest[k] ? magnitude : largest[k];
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
