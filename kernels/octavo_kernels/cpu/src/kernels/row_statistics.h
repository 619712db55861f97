// row_statistics, row_inliers, quantize_digits: quantize in three, between which ranks can exchange what they know of a row.
#pragma once

#include "quantize.h"

namespace octavo::OCTAVO_ISA {

// Per block of 64 columns: max |x|, sum |x|, sum x^2.
constexpr int64_t block_statistics = 3;

inline void run_row_statistics(const OpCall& call, const Worker& worker) {
  namespace op = op_row_statistics;
  const Operand& x = call.in[op::x];
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    float* target = call.out[op::out_statistics].row<float>(t);
    each_block(x.row<float>(t), x.shape[1], [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
      const float sum = reduce_add(block_magnitudes(a, b, c, d));
      // A vector's maximum may pass over NaN; the sum does not.
      target[0] = sum != sum ? sum : reduce_max(block_largest(a, b, c, d));
      target[1] = sum;
      target[2] = reduce_add(block_squares(a, b, c, d));
      target += block_statistics;
    });
  }
}

inline void run_row_inliers(const OpCall& call, const Worker& worker) {
  namespace op = op_row_inliers;
  const Operand& x = call.in[op::x];
  const Operand& statistics = call.in[op::statistics];
  const QuantizeAttributes attributes = {call.integer(op::attr_decompose), call.number(op::attr_absolute),
                                         call.number(op::attr_relative)};
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    const float* of_row = statistics.row<const float>(t);
    PairwiseSum square;
    for (int64_t i = 0; i < statistics.shape[1]; i++) square.push(of_row[i * block_statistics + 2]);
    const float threshold = threshold_of(attributes, square.finish(), call.integer(op::attr_columns));
    const F32x16 limit = set1(threshold);
    F32x16 found = zero();
    each_block(x.row<float>(t), x.shape[1], [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
      found = max(found, max(max(inliers_of(a, limit), inliers_of(b, limit)),
                             max(inliers_of(c, limit), inliers_of(d, limit))));
    });
    *call.out[op::out_inliers].row<float>(t) = reduce_max(found);
  }
}

// Whether all |x| are at most `limit`; no NaN is. `largest_of_blocks`: as RowScan's.
inline bool all_within(const float* x, int64_t columns, float limit, float* largest_of_blocks) {
  uint32_t within = 0xFFFF;
  for (int64_t k = 0; k < columns; k += 64) {
    with_block(x, k, columns, [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
      const auto bits = [limit](F32x16 v) -> uint32_t { return mask_bits(ge(set1(limit), abs(v))); };
      within &= bits(a) & bits(b) & bits(c) & bits(d);
      store(largest_of_blocks + k / 4, block_largest(a, b, c, d));
    });
  }
  return within == 0xFFFF;
}

inline void run_quantize_digits(const OpCall& call, const Worker& worker) {
  namespace op = op_quantize_digits;
  const Operand& x = call.in[op::x];
  const Operand& statistics = call.in[op::statistics];
  const DigitOutputs digits = {call.out[op::out_low], call.out[op::out_high], call.out[op::out_carries],
                               call.out[op::out_step]};
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    const float* of_row = statistics.row<const float>(t);
    PairwiseSum magnitude;
    float largest = 0.0f;
    for (int64_t i = 0; i < statistics.shape[1]; i++) {
      largest = larger(of_row[i * block_statistics], largest);
      magnitude.push(of_row[i * block_statistics + 1]);
    }
    const float s = *call.in[op::inliers].row<const float>(t), sum = magnitude.finish();
    // Digits of a row that they are not of would not be digits.
    float* const largest_of_blocks = reinterpret_cast<float*>(digits.high.row<int8_t>(t));
    const bool fits = s >= 0.0f && s <= largest && largest <= sum &&
                      all_within(x.row<float>(t), x.shape[1], largest, largest_of_blocks);
    digits_row(x.row<float>(t), x.shape[1], largest, fits ? sum : __builtin_nanf(""), [&] { return s; }, digits, t,
               worker.counters);
  }
}

}  // namespace octavo::OCTAVO_ISA
