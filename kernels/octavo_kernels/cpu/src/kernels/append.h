// append: each token's K and V into its slot of the KV pages.
#pragma once

#include "kv_rows.h"

namespace octavo::OCTAVO_ISA {

inline void run_append(const OpCall& call, const Worker& worker) {
  namespace op = op_append;
  const Operand& k = call.in[op::k];
  const Operand& v = call.in[op::v];
  const int head_dim = call.integer(op::attr_headDim), kv_heads = call.integer(op::attr_kvHeads);
  const KvPages pages = {call.in[op::keys], call.in[op::values], call.in[op::steps], head_dim};
  int64_t begin, end;
  worker.share(k.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    const int32_t slot = call.in[op::slots].row<int32_t>(t)[0];
    for (int64_t head = 0; head < kv_heads; head++)
      pages.write(slot, head, k.row<float>(t) + head * head_dim, v.row<float>(t) + head * head_dim);
  }
}

}  // namespace octavo::OCTAVO_ISA
