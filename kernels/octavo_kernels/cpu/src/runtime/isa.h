// One instruction set as the executor sees it: what its translation unit (`isa_<name>.cpp`) exports.
#pragma once

#include "../load/row_functions.h"
#include "op.h"

namespace octavo {

struct InstructionSet {
  const char* name;
  // By OpCode.
  const KernelEntry* kernels;
  const RowFunctions* rows;
};

extern const InstructionSet isa_scalar;
#if defined(__x86_64__)
extern const InstructionSet isa_avx2;
extern const InstructionSet isa_avx512;
#elif defined(__aarch64__)
extern const InstructionSet isa_neon;
#endif

}  // namespace octavo
