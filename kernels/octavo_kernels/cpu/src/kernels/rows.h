// rows: picks rows.
#pragma once

#include <cstring>

namespace octavo::OCTAVO_ISA {

inline void run_rows(const OpCall& call, const Worker& worker) {
  namespace op = op_rows;
  const Operand& x = call.in[op::x];
  const Operand& index = call.in[op::index];
  int64_t begin, end;
  worker.share(index.shape[0], 1, &begin, &end);
  for (int64_t s = begin; s < end; s++) {
    std::memcpy(call.out[op::out_y].row<float>(s), x.row<float>(*index.row<int32_t>(s)),
                static_cast<size_t>(x.shape[1]) * sizeof(float));
  }
}

}  // namespace octavo::OCTAVO_ISA
