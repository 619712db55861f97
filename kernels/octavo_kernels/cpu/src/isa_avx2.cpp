// All kernels for AVX2 with FMA and F16C. build.py gives this file its compiler flags.
#define OCTAVO_ISA avx2

#include "runtime/isa.h"
// Order matters from here: each header is written with what the ones before define.
#include "vector/avx2.h"
#include "vector/math.h"
#include "kernels/peak.h"
#include "kernels/table.h"
#include "load/rows.h"

namespace octavo {

const InstructionSet isa_avx2 = {"avx2", avx2::kernel_table, &avx2::row_functions, avx2::int8_peak,
                                 avx2::float32_peak};

}  // namespace octavo
