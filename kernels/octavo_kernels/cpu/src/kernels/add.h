// add: the sum of rows.
#pragma once

#include <cstdint>

namespace octavo::OCTAVO_ISA {

// y may be a or b.
inline void add_row(const float* a, const float* b, float* y, int64_t columns) {
  int64_t k = 0;
  for (; k + 16 <= columns; k += 16) store(y + k, add(load(a + k), load(b + k)));
  for (; k < columns; k++) y[k] = a[k] + b[k];
}

inline void run_add(const OpCall& call, const Worker& worker) {
  namespace op = op_add;
  const Operand& a = call.in[op::a];
  int64_t begin, end;
  worker.share(a.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    add_row(a.row<float>(t), call.in[op::b].row<float>(t), call.out[op::out_y].row<float>(t), a.shape[1]);
  }
}

}  // namespace octavo::OCTAVO_ISA
