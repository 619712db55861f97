// Products of int8 and attention by AMX tiles; all other kernels are those of AVX-512. build.py gives this file its
// compiler flags, and leaves it out where the compiler does not know them.
#define OCTAVO_ISA amx

#include "runtime/isa.h"
// Order matters from here: each header is written with what the ones before define.
#include "vector/amx.h"
#include "vector/math.h"
#include "kernels/peak.h"
#include "kernels/linear_int8.h"
#include "kernels/attention.h"

namespace octavo {

namespace {

struct Kernels {
  KernelEntry entries[op_count];

  Kernels() {
    for (int op = 0; op < op_count; op++) entries[op] = isa_avx512.kernels[op];
    entries[static_cast<int>(OpCode::linear_int8)].run = amx::run_linear_int8;
    entries[static_cast<int>(OpCode::multiply_int8)].run = amx::run_multiply_int8;
    entries[static_cast<int>(OpCode::attention)].run = amx::run_attention;
  }
};
// After isa_avx512, which is constant.
const Kernels kernels;

}  // namespace

const InstructionSet isa_amx = {"amx", kernels.entries, isa_avx512.rows, amx::int8_peak, isa_avx512.float32_peak};

}  // namespace octavo
