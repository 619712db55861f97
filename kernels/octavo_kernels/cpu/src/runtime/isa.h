// The instruction sets of this build, and which of them this machine has.
#pragma once

#include "../load/row_functions.h"
#include "op.h"

namespace octavo {

// What one translation unit, compiled for one instruction set, offers.
struct InstructionSet {
  const char* name;
  // One entry per OpCode.
  const KernelEntry* kernels;
  const RowFunctions* rows;
  // Loops that do nothing but multiply and add in registers; they return the operations done (two per product).
  int64_t (*int8_peak)(int64_t rounds);
  int64_t (*float32_peak)(int64_t rounds);
};

extern const InstructionSet isa_scalar;
#if defined(__x86_64__)
extern const InstructionSet isa_avx2;
extern const InstructionSet isa_avx512;
#if defined(HAS_AMX)
extern const InstructionSet isa_amx;
#endif
#elif defined(__aarch64__)
extern const InstructionSet isa_neon;
extern const InstructionSet isa_dotprod;
#endif

constexpr int max_isas = 4;
// Those that this machine can run, slowest first; returns how many.
int available_isas(const InstructionSet* found[max_isas]);
// Null when this machine cannot run it.
const InstructionSet* find_isa(const char* name);

}  // namespace octavo
