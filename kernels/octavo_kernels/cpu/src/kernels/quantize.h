// Rows of float32 to base-255 digits and their step: quantize, and the three ops that it is made of.
#pragma once

#include <cstdint>
#include <cstring>

#include "digits.h"
#include "partial.h"

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

// Of 64 columns, lane by lane: the sum of squares and the sum of magnitudes, in the order of block sums.
OCTAVO_ALWAYS_INLINE F32x16 block_squares(F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
  return fma(d, d, fma(c, c, fma(b, b, mul(a, a))));
}
OCTAVO_ALWAYS_INLINE F32x16 block_magnitudes(F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
  return add(add(add(abs(a), abs(b)), abs(c)), abs(d));
}
OCTAVO_ALWAYS_INLINE F32x16 block_largest(F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
  return max(max(abs(a), abs(b)), max(abs(c), abs(d)));
}

// max |x|, sum |x| and, where `squares`, sum x^2 of a row, 64 columns after the other.
template <bool squares>
struct RowScan {
  // Of each 64 columns the largest magnitudes, lane by lane, so that what comes later need not look at all of them.
  float* largest_of_blocks;
  PairwiseSum magnitude = {}, square = {};
  F32x16 largest = zero();

  OCTAVO_ALWAYS_INLINE void push(F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
    const F32x16 of_block = block_largest(a, b, c, d);
    store(largest_of_blocks, of_block);
    largest_of_blocks += 16;
    largest = max(largest, of_block);
    if constexpr (squares) {
      float magnitudes, all_squares;
      reduce_add(block_magnitudes(a, b, c, d), block_squares(a, b, c, d), &magnitudes, &all_squares);
      magnitude.push(magnitudes), square.push(all_squares);
    } else {
      magnitude.push(reduce_add(block_magnitudes(a, b, c, d)));
    }
  }
  RowSums sums() const { return {reduce_max(largest), magnitude.finish(), squares ? square.finish() : 0.0f}; }
};

// body(k) for each 64 columns of which `chosen(k)`; those that are not cost no branch.
template <class Chosen, class Body>
OCTAVO_ALWAYS_INLINE void each_chosen_block(int64_t columns, Chosen chosen, Body body) {
  constexpr int64_t at_once = 64 * 64;
  for (int64_t begin = 0; begin < columns; begin += at_once) {
    const int64_t end = begin + at_once < columns ? begin + at_once : columns;
    uint64_t blocks = 0;
    for (int64_t k = begin; k < end; k += 64) blocks |= static_cast<uint64_t>(chosen(k)) << ((k - begin) / 64);
    for (; blocks != 0; blocks &= blocks - 1) body(begin + 64 * __builtin_ctzll(blocks));
  }
}

OCTAVO_ALWAYS_INLINE F32x16 inliers_of(F32x16 x, F32x16 limit) {
  const F32x16 magnitude = abs(x);
  return select(lt(magnitude, limit), magnitude, zero());
}

// max |x| over |x| < threshold. `largest_of_blocks`: of RowScan.
inline float largest_inlier(const float* x, int64_t columns, float threshold, const float* largest_of_blocks) {
  const F32x16 limit = set1(threshold);
  F32x16 found = zero();
  const auto has_outlier = [&](int64_t k) {
    const F32x16 largest = load(largest_of_blocks + k / 4);
    const Mask16 within = lt(largest, limit);
    found = max(found, select(within, largest, zero()));
    return mask_bits(within) != 0xFFFF;
  };
  each_chosen_block(columns, has_outlier, [&](int64_t k) {
    with_block(x, k, columns, [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
      found = max(found, max(max(inliers_of(a, limit), inliers_of(b, limit)),
                             max(inliers_of(c, limit), inliers_of(d, limit))));
    });
  });
  return reduce_max(found);
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
// NaN, Inf or an infinite sum of magnitudes get the step NaN and no digits. Until its digits are written the row `high` holds
// the largest of each 64 columns (RowScan), as many bytes.
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

  DigitWriter writer = {low, high, carries + carry_header, set1(inverse)};
  const float* largest_of_blocks = reinterpret_cast<const float*>(high);
  const auto carried = [&](int64_t k) {
    const bool found = writer.any_carry(load(largest_of_blocks + k / 4));
    std::memset(high + k, 0, 64);
    with_block(x, k, columns, [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) { writer.inliers(a, b, c, d, k); });
    return found;
  };
  each_chosen_block(columns, carried, [&](int64_t k) {
    with_block(x, k, columns, [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
      writer.carry(a, k), writer.carry(b, k + 16), writer.carry(c, k + 32), writer.carry(d, k + 48);
    });
  });
  carries[0] = writer.group_count;
  carries[1] = sum_of_lanes(writer.low_sum);
  carries[2] = sum_of_lanes(writer.high_sum);
  carries[3] = writer.carry_count;
  counters->carries += writer.carry_count;
}

// The digits of a row whose blocks `scan(largest_of_blocks)` has looked at, which gives its RowSums.
template <class Scan>
OCTAVO_ALWAYS_INLINE void quantize_scanned(const float* x, int64_t columns, const QuantizeAttributes& attributes,
                                           const DigitOutputs& digits, int64_t t, StepCounters* counters, Scan scan) {
  if (columns == 0) {
    return write_empty_row(0, 0.0f, digits.low.row<int8_t>(t), digits.high.row<int8_t>(t), digits.carries.row<int32_t>(t),
                           digits.step.row<float>(t));
  }
  float* const largest_of_blocks = reinterpret_cast<float*>(digits.high.row<int8_t>(t));
  const RowSums sums = scan(largest_of_blocks);
  const auto inliers = [&] {
    const float threshold = threshold_of(attributes, sums.square, columns);
    return sums.largest < threshold ? sums.largest : largest_inlier(x, columns, threshold, largest_of_blocks);
  };
  digits_row(x, columns, sums.largest, sums.magnitude, inliers, digits, t, counters);
}

// The digits of a row that is made here: y = value(At) (see make_row).
template <class Value>
inline void quantize_made(float* y, int64_t columns, Value value, const QuantizeAttributes& attributes,
                          const DigitOutputs& digits, int64_t t, StepCounters* counters) {
  quantize_scanned(y, columns, attributes, digits, t, counters, [&](float* largest_of_blocks) {
    const auto scan = [&](auto scan) {
      make_row(y, columns, value, [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) { scan.push(a, b, c, d); });
      return scan.sums();
    };
    return attributes.decompose == op_quantize::decompose_adaptive ? scan(RowScan<true>{largest_of_blocks})
                                                                   : scan(RowScan<false>{largest_of_blocks});
  });
}

inline void quantize_row(const float* x, int64_t columns, const QuantizeAttributes& attributes,
                         const DigitOutputs& digits, int64_t t, StepCounters* counters) {
  quantize_scanned(x, columns, attributes, digits, t, counters, [&](float* largest_of_blocks) {
    const auto scan = [&](auto scan) {
      each_block(x, columns, [&](F32x16 a, F32x16 b, F32x16 c, F32x16 d) { scan.push(a, b, c, d); });
      return scan.sums();
    };
    return attributes.decompose == op_quantize::decompose_adaptive ? scan(RowScan<true>{largest_of_blocks})
                                                                   : scan(RowScan<false>{largest_of_blocks});
  });
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
