// rope_append: rope(q), and append(rope(k), v), in one pass; the same bits as the three ops.
#pragma once

#include "append.h"
#include "rope.h"

namespace octavo::OCTAVO_ISA {

inline void run_rope_append(const OpCall& call, const Worker& worker) {
  namespace op = op_rope_append;
  const Operand& q = call.in[op::q];
  const Operand& k = call.in[op::k];
  const Operand& v = call.in[op::v];
  const Operand& cos = call.in[op::cos];
  const Operand& sin = call.in[op::sin];
  const int head_dim = call.integer(op::attr_headDim);
  const int64_t kv_heads = call.integer(op::attr_kvHeads);
  const int64_t heads = q.shape[1] / head_dim;
  const Rotation rotation = {head_dim, cos.shape[1], call.integer(op::attr_pairing) == op::pairing_interleaved};
  const KvPages pages = {call.in[op::keys], call.in[op::values], call.in[op::steps], head_dim};
  // Heads of q and of K and V are even work, so that one token's are shared by the team too.
  const int64_t items = heads + kv_heads;
  int64_t begin, end;
  worker.share(q.shape[0] * items, 1, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    const int64_t t = i / items, item = i % items;
    const int32_t position = call.in[op::positions].row<int32_t>(t)[0];
    const float* c = cos.row<float>(position);
    const float* s = sin.row<float>(position);
    if (item < heads) {
      rotation.turn(call.out[op::out_y].row<float>(t) + item * head_dim, q.row<float>(t) + item * head_dim, c, s);
      continue;
    }
    const int32_t slot = call.in[op::slots].row<int32_t>(t)[0];
    const int64_t head = item - heads;
    alignas(64) float turned[most_kv_head];
    rotation.turn(turned, k.row<float>(t) + head * head_dim, c, s);
    pages.write(slot, head, turned, v.row<float>(t) + head * head_dim);
  }
}

}  // namespace octavo::OCTAVO_ISA
