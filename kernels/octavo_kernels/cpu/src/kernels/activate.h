// activate: an activation of every element.
#pragma once

#include <cstdint>

#include "float_rows.h"

namespace octavo::OCTAVO_ISA {

// Calls body with the function of an `activation` attribute, F32x16 to F32x16.
template <class Body>
inline void with_activation(int activation, Body body) {
  switch (activation) {
    case op_activate::activation_silu: return body([](F32x16 x) { return silu(x); });
    case op_activate::activation_gelu: return body([](F32x16 x) { return gelu(x); });
    case op_activate::activation_gelu_tanh: return body([](F32x16 x) { return gelu_tanh(x); });
    default: return body([](F32x16 x) { return relu(x); });
  }
}

inline void run_activate(const OpCall& call, const Worker& worker) {
  namespace op = op_activate;
  const Operand& x = call.in[op::x];
  const Operand& y = call.out[op::out_y];
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  with_activation(call.integer(op::attr_activation), [&](auto activation) {
    for (int64_t t = begin; t < end; t++) {
      map_elements<F32Elements, F32Elements>(x.row<float>(t), y.row<float>(t), x.shape[1], activation);
    }
  });
}

}  // namespace octavo::OCTAVO_ISA
