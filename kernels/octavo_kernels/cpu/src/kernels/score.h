// score: how logits judge a target and how far they are from reference logits.
#pragma once

#include "log_sum.h"

namespace octavo::OCTAVO_ISA {

// sum p (log p - log q), p = softmax(reference), q = softmax(row).
inline double divergence(const float* row, double row_log_sum, const float* reference, double reference_log_sum,
                         int64_t count) {
  const F32x16 log_sum = set1(static_cast<float>(reference_log_sum));
  const F32x16 shift = set1(static_cast<float>(reference_log_sum - row_log_sum));
  double total = 0;
  for (int64_t block = 0; block < count; block += 16 * float_sum_vectors) {
    const int64_t end = block + 16 * float_sum_vectors < count ? block + 16 * float_sum_vectors : count;
    F32x16 sum = zero();
    for (int64_t i = block; i < end; i += 16) {
      const F32x16 r = load_part(reference + i, end - i, 0), x = load_part(row + i, end - i, 0);
      F32x16 p = exp(sub(r, log_sum));
      if (end - i < 16) {
        alignas(64) float lanes[16] = {};
        store_first(lanes, p, static_cast<int>(end - i));
        p = load(lanes);
      }
      sum = fma(p, sub(sub(r, x), shift), sum);
    }
    total += reduce_add(sum);
  }
  return total;
}

inline void run_score(const OpCall& call, const Worker& worker) {
  namespace op = op_score;
  const Operand& logits = call.in[op::logits];
  const Operand& reference = call.in[op::reference];
  const int64_t rows = logits.shape[0], count = logits.shape[1];
  int64_t s, end;
  while (worker.next(rows, 1, &s, &end)) {
    const float* row = logits.row<float>(s);
    const int32_t target = call.in[op::targets].row<int32_t>(s)[0];
    const float* other = reference ? reference.row<float>(s) : row;
    const RowPeak peak = peak_of(row, count), other_peak = reference ? peak_of(other, count) : peak;
    if (!peak.finite || !other_peak.finite) {
      worker.counters->nonfinite++;
      call.out[op::out_nll].row<float>(s)[0] = call.out[op::out_kl].row<float>(s)[0] = __builtin_nanf("");
      call.out[op::out_top1].row<int32_t>(s)[0] = -1;
      continue;
    }
    const double log_sum = log_sum_exp(row, count, peak.largest);
    int32_t expected = target;
    double kl = 0;
    if (reference) {
      kl = divergence(row, log_sum, other, log_sum_exp(other, count, other_peak.largest), count);
      expected = other_peak.id;
    }
    call.out[op::out_nll].row<float>(s)[0] = static_cast<float>(log_sum - row[target]);
    call.out[op::out_kl].row<float>(s)[0] = static_cast<float>(kl);
    call.out[op::out_top1].row<int32_t>(s)[0] = peak.id == expected;
  }
}

}  // namespace octavo::OCTAVO_ISA
