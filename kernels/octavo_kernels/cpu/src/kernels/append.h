// append: each token's K and V into its slot of the KV pages.
#pragma once

#include "partial.h"

namespace octavo::OCTAVO_ISA {

// The pages of one layer: keys [G, kv_heads, head_dim, 16], values [G, kv_heads, 16, head_dim], both float16 or both
// bfloat16.
struct KvPages {
  const Operand& keys;
  const Operand& values;
  int64_t head_dim;

  void write_key(int32_t slot, int64_t kv_head, const float* k) const {
    uint16_t* target = keys.row<uint16_t>(slot / page_size) + kv_head * head_dim * page_size + slot % page_size;
    for (int64_t d = 0; d < head_dim; d += 16) {
      const int n = head_dim - d < 16 ? static_cast<int>(head_dim - d) : 16;
      uint16_t rounded[16];
      round_to(keys.dtype, rounded, k + d, n);
      for (int i = 0; i < n; i++) target[(d + i) * page_size] = rounded[i];
    }
  }
  void write_value(int32_t slot, int64_t kv_head, const float* v) const {
    uint16_t* target = values.row<uint16_t>(slot / page_size) + (kv_head * page_size + slot % page_size) * head_dim;
    for (int64_t d = 0; d < head_dim; d += 16) {
      const int n = head_dim - d < 16 ? static_cast<int>(head_dim - d) : 16;
      round_to(values.dtype, target + d, v + d, n);
    }
  }

 private:
  // What the type cannot hold becomes NaN: attention could not tell an infinite key from one without weight.
  static void round_to(DType dtype, uint16_t* target, const float* x, int n) {
    const F32x16 given = load_part(x, n, 0);
    const float beyond = dtype == DType::float16 ? 65520.0f : 0x1.ffp127f;  // from here on rounded to infinity
    const F32x16 lanes = select(lt(abs(given), set1(beyond)), given, set1(__builtin_nanf("")));
    if (dtype == DType::float16) {
      n == 16 ? store_f16(target, lanes) : store_f16_first(target, lanes, n);
    } else {
      n == 16 ? store_bf16(target, lanes) : store_bf16_first(target, lanes, n);
    }
  }
};

inline void run_append(const OpCall& call, const Worker& worker) {
  namespace op = op_append;
  const Operand& k = call.in[op::k];
  const Operand& v = call.in[op::v];
  const int64_t head_dim = call.integer(op::attr_headDim), kv_heads = call.integer(op::attr_kvHeads);
  const KvPages pages = {call.in[op::keys], call.in[op::values], head_dim};
  int64_t begin, end;
  worker.share(k.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    const int32_t slot = call.in[op::slots].row<int32_t>(t)[0];
    for (int64_t head = 0; head < kv_heads; head++) {
      pages.write_key(slot, head, k.row<float>(t) + head * head_dim);
      pages.write_value(slot, head, v.row<float>(t) + head * head_dim);
    }
  }
}

}  // namespace octavo::OCTAVO_ISA
