// All kernels for AVX-512 (F, BW, VL, DQ, VNNI). build.py gives this file its compiler flags.
#define OCTAVO_ISA avx512

#include "runtime/isa.h"
// Order matters from here: each header is written with what the ones before define.
#include "vector/avx512.h"
#include "vector/math.h"
#include "kernels/peak.h"
#include "kernels/table.h"
#include "load/rows.h"

namespace octavo {

const InstructionSet isa_avx512 = {"avx512", avx512::kernel_table, &avx512::row_functions, avx512::int8_peak,
                                   avx512::float32_peak};

}  // namespace octavo
