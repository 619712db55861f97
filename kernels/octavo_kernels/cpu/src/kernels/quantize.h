// Rows of float32 to base-255 digits and their step: quantize, and the three ops that it is made of.
#pragma once

#include <cstdint>
#include <cstring>

#include "digits.h"

namespace octavo::OCTAVO_ISA {

struct QuantizeAttributes {
  int decompose;  // op_quantize::decompose_*
  float absolute, relative;
};

// Where the digits of the rows go, see `digitOutputs` of protocol/ops.ts.
struct DigitOutputs {
  const Operand &low, &high, &carries, &step;
};

struct RowSums {
  float largest, magnitude, square;
};

// body(a, b, c, d) for each 64 columns, with zeros beyond the row; at least once.
template <class Body>
OCTAVO_ALWAYS_INLINE void each_block(const float* x, int64_t columns, Body body) {
  int64_t k = 0;
  for (; k + 64 <= columns; k += 64) body(load(x + k), load(x + k + 16), load(x + k + 32), load(x + k + 48));
  if (k < columns || columns == 0) {
    alignas(64) float rest[64] = {};
    std::memcpy(rest, x + k, static_cast<size_t>(columns - k) * sizeof(float));
    body(load(rest), load(rest + 16), load(rest + 32), load(rest + 48));
  }
}

OCTAVO_ALWAYS_INLINE float block_square(F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
  return reduce_add(fma(d, d, fma(c, c, fma(b, b, mul(a, a)))));
}

// sum |x| of a block; `largest` becomes the larger of itself and max |x|, lane by lane.
OCTAVO_ALWAYS_INLINE float block_magnitude(F32x16 a, F32x16 b, F32x16 c, F32x16 d, F32x16* largest) {
  a = abs(a), b = abs(b), c = abs(c), d = abs(d);
  *largest = max(*largest, max(max(a, b), max(c, d)));
  return reduce_add(add(add(add(a, b), c), d));
}

// max |x|, sum |x| and, where `squares`, sum x^2, of at least one block, in one pass.
template <bool squares>
inline RowSums row_sums(const float* x, int64_t columns) {
  PairwiseSum magnitude, square;
  F32x16 largest = zero();
  each_block(x, columns, [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
    if (squares) square.push(block_square(a, b, c, d));
    magnitude.push(block_magnitude(a, b, c, d, &largest));
  });
  return {reduce_max(largest), magnitude.finish(), squares ? square.finish() : 0.0f};
}

// max |x| over |x| < threshold. Four maxima at a time, for each waits for the one before.
inline float largest_inlier(const float* x, int64_t columns, float threshold) {
  const F32x16 limit = set1(threshold);
  const auto inlier = [&](F32x16 v) {
    v = abs(v);
    return select(lt(v, limit), v, zero());
  };
  F32x16 a = zero(), b = a, c = a, d = a;
  int64_t k = 0;
  for (; k + 64 <= columns; k += 64) {
    a = max(a, inlier(load(x + k)));
    b = max(b, inlier(load(x + k + 16)));
    c = max(c, inlier(load(x + k + 32)));
    d = max(d, inlier(load(x + k + 48)));
  }
  for (; k + 16 <= columns; k += 16) a = max(a, inlier(load(x + k)));
  if (k < columns) b = max(b, inlier(load_first(x + k, static_cast<int>(columns - k), 0.0f)));
  return reduce_max(max(max(a, b), max(c, d)));
}

// `square`: sum x^2 of a row of `columns`; only the adaptive threshold looks at it.
inline float threshold_of(const QuantizeAttributes& attributes, float square, int64_t columns) {
  switch (attributes.decompose) {
    case op_quantize::decompose_off: return __builtin_inff();
    case op_quantize::decompose_all: return 0.0f;
    case op_quantize::decompose_threshold: return attributes.absolute;
    default: break;
  }
  const float relative = attributes.relative * __builtin_sqrtf(square / static_cast<float>(columns));
  return attributes.absolute < relative ? attributes.absolute : relative;
}

inline float larger(float a, float b) { return a > b ? a : b; }
inline float smaller(float a, float b) { return a < b ? a : b; }

// x: `columns` floats. low, high: pad64(columns) digits, all written. carries: as `digitOutputs`; its tail keeps what
// it had. a, n: max |x| and sum |x| of the whole row; s(): max |x| of its inliers, asked where a step needs it. Rows with
// NaN, Inf or an infinite sum of magnitudes get the step NaN and no digits.
template <class Inliers>
OCTAVO_ALWAYS_INLINE void digits_row(const float* x, int64_t columns, float a, float n, Inliers inliers,
                                     const DigitOutputs& digits, int64_t t, StepCounters* counters) {
  int8_t *low = digits.low.row<int8_t>(t), *high = digits.high.row<int8_t>(t);
  int32_t* carries = digits.carries.row<int32_t>(t);
  float* step = digits.step.row<float>(t);
  const int64_t padded = (columns + 63) / 64 * 64;
  // A NaN or Inf anywhere is one in the sum too.
  if (!(n < __builtin_inff())) {
    counters->nonfinite++;
    return write_empty_row(padded, __builtin_nanf(""), low, high, carries, step);
  }
  counters->quantized += columns;
  if (a == 0.0f) return write_empty_row(padded, 0.0f, low, high, carries, step);

  const float s = inliers();
  *step = larger(larger(s / 127.0f, a / 32512.0f), larger(n / 8e6f, 0x1p-126f));
  // Not 1 / step: each bound's own inverse keeps inliers within 127 and everything within 32512.
  const float inverse = smaller(smaller(127.0f / s, 32512.0f / a), smaller(8e6f / n, 0x1p126f));

  std::memset(high, 0, static_cast<size_t>(padded));
  DigitWriter writer = {low, high, carries + carry_header, set1(inverse)};
  int64_t k = 0;
  for (; k + 64 <= columns; k += 64) writer.block(x + k, k);
  for (; k < columns; k += 16) {
    const F32x16 v = k + 16 <= columns ? load(x + k) : load_first(x + k, static_cast<int>(columns - k), 0.0f);
    writer.digits(mul(v, writer.inverse), k);
  }
  std::memset(low + k, 0, static_cast<size_t>(padded - k));
  carries[0] = writer.group_count;
  carries[1] = sum_of_lanes(writer.low_sum);
  carries[2] = sum_of_lanes(writer.high_sum);
  carries[3] = writer.carry_count;
  counters->carries += writer.carry_count;
}

inline void quantize_row(const float* x, int64_t columns, const QuantizeAttributes& attributes,
                         const DigitOutputs& digits, int64_t t, StepCounters* counters) {
  const RowSums sums = attributes.decompose == op_quantize::decompose_adaptive ? row_sums<true>(x, columns)
                                                                               : row_sums<false>(x, columns);
  const auto inliers = [&] {
    const float threshold = threshold_of(attributes, sums.square, columns);
    return sums.largest < threshold ? sums.largest : largest_inlier(x, columns, threshold);
  };
  digits_row(x, columns, sums.largest, sums.magnitude, inliers, digits, t, counters);
}

inline void run_quantize(const OpCall& call, const Worker& worker) {
  namespace op = op_quantize;
  const Operand& x = call.in[op::x];
  const QuantizeAttributes attributes = {call.integer(op::attr_decompose), call.number(op::attr_absolute),
                                         call.number(op::attr_relative)};
  const DigitOutputs digits = {call.out[op::out_low], call.out[op::out_high], call.out[op::out_carries],
                               call.out[op::out_step]};
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    quantize_row(x.row<float>(t), x.shape[1], attributes, digits, t, worker.counters);
  }
}

}  // namespace octavo::OCTAVO_ISA
