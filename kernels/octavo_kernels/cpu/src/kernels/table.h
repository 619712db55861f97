// The kernels of one instruction set by OpCode. Included once, by isa_<name>.cpp, after vector/<name>.h and math.h.
#pragma once

#include "../runtime/op.h"
#include "activate.h"
#include "add.h"
#include "append.h"
#include "attention.h"
#include "cast.h"
#include "dequantize.h"
#include "embed.h"
#include "gather.h"
#include "glu.h"
#include "glu_quantize.h"
#include "linear_float.h"
#include "linear_int8.h"
#include "linear_published.h"
#include "linear_scheme.h"
#include "norm.h"
#include "norm_quantize.h"
#include "observe_outliers.h"
#include "pool.h"
#include "quantize.h"
#include "quantize_weight.h"
#include "rope.h"
#include "rope_append.h"
#include "row_statistics.h"
#include "rows.h"
#include "sample.h"
#include "score.h"

namespace octavo::OCTAVO_ISA {

// What lies between two phases is a barrier of the team. One, unless it is said here.
template <OpCode>
inline constexpr int phases = 1;
template <>
inline constexpr int phases<OpCode::linear_published> = 3;
template <>
inline constexpr int phases<OpCode::linear_scheme> = 4;
template <>
inline constexpr int phases<OpCode::sample> = 2;

// See KernelEntry. Which of these stand one after the other run as one (runtime/chain.h).
constexpr bool row_wise(OpCode op) {
  switch (op) {
    case OpCode::embed:
    case OpCode::cast:
    case OpCode::norm:
    case OpCode::row_statistics:
    case OpCode::row_inliers:
    case OpCode::quantize_digits:
    case OpCode::multiply_int8:
    case OpCode::dequantize:
    case OpCode::linear_float:
    case OpCode::rope:
    case OpCode::append:
    case OpCode::glu:
    case OpCode::activate:
    case OpCode::add:
    case OpCode::quantize:
    case OpCode::linear_int8:
    case OpCode::norm_quantize:
    case OpCode::add_norm_quantize:
    case OpCode::glu_quantize:
    case OpCode::rope_append: return true;
    default: return false;
  }
}

template <OpCode op>
constexpr KernelEntry row(Kernel run) {
  static_assert(phases<op> >= 1 && phases<op> <= max_phases, "see max_phases");
  return {run, phases<op>, row_wise(op)};
}

// In the order of OpCode. An op of the table without run_<op> does not compile.
#define OCTAVO_ROW(op) row<OpCode::op>(run_##op),
inline constexpr KernelEntry kernel_table[op_count] = {OCTAVO_OPS(OCTAVO_ROW)};
#undef OCTAVO_ROW

}  // namespace octavo::OCTAVO_ISA
