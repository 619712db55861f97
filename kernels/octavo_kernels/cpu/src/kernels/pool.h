// pool: one embedding per sequence.
#pragma once

#include <cstring>

#include "ranking.h"

namespace octavo::OCTAVO_ISA {

// One embedding: rows [begin, end) of x added in order and divided by their number, or the last one.
inline void pool_rows(const Operand& x, int64_t begin, int64_t end, bool last, float* y) {
  const int64_t columns = x.shape[1];
  const F32x16 number = set1(static_cast<float>(end - begin));
  for (int64_t k = 0; k < columns; k += 16) {
    const int64_t left = columns - k;
    F32x16 sum = zero();
    if (last && begin < end) sum = load_part(x.row<float>(end - 1) + k, left, 0);
    if (!last && begin < end) {
      for (int64_t t = begin; t < end; t++) sum = add(sum, load_part(x.row<float>(t) + k, left, 0));
      sum = div(sum, number);
    }
    store_part(y + k, sum, left);
  }
}

inline void run_pool(const OpCall& call, const Worker& worker) {
  namespace op = op_pool;
  const Operand& x = call.in[op::x];
  const Operand& starts = call.in[op::starts];
  const Operand& y = call.out[op::out_y];
  const int64_t columns = x.shape[1];
  int64_t b, next;
  while (worker.next(y.shape[0], 1, &b, &next)) {
    float* row = y.row<float>(b);
    pool_rows(x, starts.row<int32_t>(b)[0], starts.row<int32_t>(b + 1)[0],
              call.integer(op::attr_kind) == op::kind_last, row);
    if (!call.flag(op::attr_normalize)) {
      worker.counters->nonfinite += !peak_of(row, columns).finite;
      continue;
    }
    float length = __builtin_sqrtf(blocksum_square(row, columns));
    if (!(length < __builtin_inff())) {  // by infinity, numbers would become zeros
      length = __builtin_nanf("");
      worker.counters->nonfinite++;
    }
    if (length == 0) {  // the embedding of nothing
      std::memset(row, 0, sizeof(float) * columns);
      continue;
    }
    for (int64_t k = 0; k < columns; k += 16)
      store_part(row + k, div(load_part(row + k, columns - k, 0), set1(length)), columns - k);
  }
}

}  // namespace octavo::OCTAVO_ISA
