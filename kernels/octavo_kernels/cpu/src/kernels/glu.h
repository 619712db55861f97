// glu: activation(gate) * up.
#pragma once

#include <cstdint>

#include "activate.h"

namespace octavo::OCTAVO_ISA {

// y may be gate or up.
template <class Activation>
inline void glu_row(const float* gate, const float* up, float* y, int64_t columns, Activation activation) {
  int64_t k = 0;
  for (; k + 16 <= columns; k += 16) store(y + k, mul(activation(load(gate + k)), load(up + k)));
  const int rest = static_cast<int>(columns - k);
  if (rest == 0) return;
  const F32x16 g = load_first(gate + k, rest, 0.0f), u = load_first(up + k, rest, 0.0f);
  store_first(y + k, mul(activation(g), u), rest);
}

inline void run_glu(const OpCall& call, const Worker& worker) {
  namespace op = op_glu;
  const Operand& gate = call.in[op::gate];
  const Operand& up = call.in[op::up];
  const Operand& y = call.out[op::out_y];
  int64_t begin, end;
  worker.share(gate.shape[0], 1, &begin, &end);
  with_activation(call.integer(op::attr_activation), [&](auto activation) {
    for (int64_t t = begin; t < end; t++) {
      glu_row(gate.row<float>(t), up.row<float>(t), y.row<float>(t), gate.shape[1], activation);
    }
  });
}

}  // namespace octavo::OCTAVO_ISA
