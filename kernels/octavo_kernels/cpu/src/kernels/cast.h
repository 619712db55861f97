// cast: rows to another float dtype, to nearest even.
#pragma once

#include "float_rows.h"

namespace octavo::OCTAVO_ISA {

inline void run_cast(const OpCall& call, const Worker& worker) {
  const Operand& x = call.in[op_cast::x];
  const Operand& y = call.out[op_cast::out_y];
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  with_float_dtype(x.dtype, [&](auto from) {
    with_float_dtype(y.dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      for (int64_t t = begin; t < end; t++) {
        map_elements<From, To>(x.row<typename From::Type>(t), y.row<typename To::Type>(t), x.shape[1],
                               [](F32x16 v) { return v; });
      }
    });
  });
}

}  // namespace octavo::OCTAVO_ISA
