// quantize: rows of float32 to base-255 digits and their step. Design section 4.1.
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

// max |x|, sum |x| and, where `squares`, sum x^2, of at least one block, in one pass.
template <bool squares>
inline RowSums row_sums(const float* x, int64_t columns) {
  PairwiseSum magnitude, square;
  F32x16 largest = zero();
  const auto block = [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
    if (squares) square.push(reduce_add(fma(d, d, fma(c, c, fma(b, b, mul(a, a))))));
    a = abs(a), b = abs(b), c = abs(c), d = abs(d);
    magnitude.push(reduce_add(add(add(add(a, b), c), d)));
    largest = max(largest, max(max(a, b), max(c, d)));
  };
  int64_t k = 0;
  for (; k + 64 <= columns; k += 64) block(load(x + k), load(x + k + 16), load(x + k + 32), load(x + k + 48));
  if (k < columns || columns == 0) {
    alignas(64) float rest[64] = {};
    std::memcpy(rest, x + k, static_cast<size_t>(columns - k) * sizeof(float));
    block(load(rest), load(rest + 16), load(rest + 32), load(rest + 48));
  }
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

inline float threshold_of(const QuantizeAttributes& attributes, const RowSums& sums, int64_t columns) {
  switch (attributes.decompose) {
    case op_quantize::decompose_off: return __builtin_inff();
    case op_quantize::decompose_all: return 0.0f;
    case op_quantize::decompose_threshold: return attributes.absolute;
    default: break;
  }
  const float relative = attributes.relative * __builtin_sqrtf(sums.square / static_cast<float>(columns));
  return attributes.absolute < relative ? attributes.absolute : relative;
}

inline float larger(float a, float b) { return a > b ? a : b; }
inline float smaller(float a, float b) { return a < b ? a : b; }

// x: `columns` floats. low, high: pad64(columns) digits, all written. carries: as `digitOutputs`; its tail keeps what
// it had. Rows with NaN, Inf or an infinite sum of magnitudes get the step NaN and no digits.
inline void quantize_row(const float* x, int64_t columns, const QuantizeAttributes& attributes, int8_t* low,
                         int8_t* high, int32_t* carries, float* step, StepCounters* counters) {
  const int64_t padded = (columns + 63) / 64 * 64;
  const RowSums sums = attributes.decompose == op_quantize::decompose_adaptive ? row_sums<true>(x, columns)
                                                                               : row_sums<false>(x, columns);
  const float a = sums.largest, n = sums.magnitude;
  // A NaN or Inf anywhere is one in the sum too.
  if (!(n < __builtin_inff())) {
    counters->nonfinite++;
    return write_empty_row(padded, __builtin_nanf(""), low, high, carries, step);
  }
  counters->quantized += columns;
  if (a == 0.0f) return write_empty_row(padded, 0.0f, low, high, carries, step);

  const float threshold = threshold_of(attributes, sums, columns);
  const float s = a < threshold ? a : largest_inlier(x, columns, threshold);
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
  quantize_row(x, columns, attributes, digits.low.row<int8_t>(t), digits.high.row<int8_t>(t),
               digits.carries.row<int32_t>(t), digits.step.row<float>(t), counters);
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
