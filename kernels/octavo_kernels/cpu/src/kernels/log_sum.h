// log(sum(exp(row))): what makes logits log-probabilities.
#pragma once

#include "ranking.h"

namespace octavo::OCTAVO_ISA {

// Vectors added up in float32 before a sum goes on in float64: keeps the relative error of a sum near 1e-7.
inline constexpr int float_sum_vectors = 32;

// In float64, of a row whose largest element is known. NaN if an element is NaN or plus infinity, or all are minus
// infinity.
inline double log_sum_exp(const float* row, int64_t count, float largest) {
  const F32x16 maximum = set1(largest);
  double total = 0;
  for (int64_t block = 0; block < count; block += 16 * float_sum_vectors) {
    const int64_t end = block + 16 * float_sum_vectors < count ? block + 16 * float_sum_vectors : count;
    F32x16 sum = zero();
    for (int64_t i = block; i < end; i += 16)
      sum = add(sum, exp(sub(load_part(row + i, end - i, -__builtin_inff()), maximum)));
    total += reduce_add(sum);
  }
  return largest + __builtin_log(total);
}

}  // namespace octavo::OCTAVO_ISA
