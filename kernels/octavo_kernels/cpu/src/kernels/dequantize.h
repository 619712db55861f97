// dequantize: int32 sums of products of digits and codes to float32, as linear_int8 does it at its end.
#pragma once

#include "linear_int8.h"

namespace octavo::OCTAVO_ISA {

inline void run_dequantize(const OpCall& call, const Worker& worker) {
  namespace op = op_dequantize;
  const Operand& sums = call.in[op::sums];
  const float* scale = call.in[op::scale].as<const float>();
  const float* bias = call.in[op::bias].as<const float>();
  int64_t begin, end;
  worker.share(sums.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    const int32_t* row = sums.row<const int32_t>(t);
    float* y = call.out[op::out_y].row<float>(t);
    const F32x16 step = set1(call.in[op::step].as<const float>()[t]);
    for (int64_t n = 0; n < sums.shape[1]; n += 16) {
      const int lanes = sums.shape[1] - n < 16 ? static_cast<int>(sums.shape[1] - n) : 16;
      alignas(64) int32_t panel[16] = {};
      std::memcpy(panel, row + n, static_cast<size_t>(lanes) * sizeof *panel);
      const F32x16 unit = div(load_first(scale + n, lanes, 0.0f), set1(127.0f));
      dequantize_panel(to_f32(load_i32(panel)), step, unit, bias ? bias + n : nullptr, y + n, lanes);
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
