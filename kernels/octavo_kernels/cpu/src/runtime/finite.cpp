#include "finite.h"

#include <cstring>

namespace octavo {

namespace {

bool finite(const Operand& operand, int64_t row, int64_t column) {
  if (operand.dtype == DType::float32) {
    uint32_t bits;
    std::memcpy(&bits, operand.row<float>(row) + column, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
  }
  const uint16_t exponent = operand.dtype == DType::float16 ? 0x7c00 : 0x7f80;
  return (operand.row<uint16_t>(row)[column] & exponent) != exponent;
}

bool rows_finite(const Operand& operand) {
  if (operand.dtype != DType::float32 && operand.dtype != DType::float16 && operand.dtype != DType::bfloat16) return true;
  const int64_t columns = operand.shape[1] * operand.shape[2] * operand.shape[3];
  for (int64_t row = 0; row < operand.shape[0]; row++)
    for (int64_t column = 0; column < columns; column++)
      if (!finite(operand, row, column)) return false;
  return true;
}

// Of each row that `slots` name, the step of its key and that of its value; steps [G, kv_heads, 32].
bool slots_finite(const Operand& slots, const Operand& steps) {
  for (int64_t t = 0; t < slots.shape[0]; t++) {
    const int32_t slot = *slots.row<int32_t>(t);
    const int64_t page = slot / page_size, offset = slot % page_size;
    for (int64_t head = 0; head < steps.shape[1]; head++) {
      const int64_t column = head * 2 * page_size + offset;
      if (!finite(steps, page, column) || !finite(steps, page, column + page_size)) return false;
    }
  }
  return true;
}

bool ids_drawn(const Operand& ids) {
  for (int64_t s = 0; s < ids.shape[0]; s++)
    if (*ids.row<int32_t>(s) < 0) return false;
  return true;
}

}  // namespace

bool results_finite(const OpCall& call) {
  switch (call.code) {
    case OpCode::sample: return ids_drawn(call.out[op_sample::out_ids]);  // its logprobs are NaN where nobody wants them
    case OpCode::append: return slots_finite(call.in[op_append::slots], call.in[op_append::steps]);
    case OpCode::rope_append:
      if (!slots_finite(call.in[op_rope_append::slots], call.in[op_rope_append::steps])) return false;
      break;
    default: break;
  }
  for (const Operand& operand : call.out)
    if (operand && !rows_finite(operand)) return false;
  return true;
}

}  // namespace octavo
