// gather: columns of all ranks side by side; here those of one. send, receive: only ever with others (runtime/group.h), and
// what has no group to do them in is refused before.
#pragma once

#include <cstring>

namespace octavo::OCTAVO_ISA {

inline void run_gather(const OpCall& call, const Worker& worker) {
  namespace op = op_gather;
  const Operand& x = call.in[op::x];
  const int64_t first = static_cast<int64_t>(call.attribute[op::attr_first]);
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    std::memcpy(call.out[op::out_y].row<float>(t) + first, x.row<float>(t),
                static_cast<size_t>(x.shape[1]) * sizeof(float));
  }
}

inline void run_send(const OpCall&, const Worker&) {}
inline void run_receive(const OpCall&, const Worker&) {}

}  // namespace octavo::OCTAVO_ISA
