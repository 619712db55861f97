// All kernels for aarch64 NEON. build.py gives this file its compiler flags.
#define OCTAVO_ISA neon

#include "runtime/isa.h"
// Order matters from here: each header is written with what the ones before define.
#include "vector/neon.h"
#include "vector/math.h"
#include "kernels/peak.h"
#include "kernels/table.h"
#include "load/rows.h"

namespace octavo {

const InstructionSet isa_neon = {"neon", neon::kernel_table, &neon::row_functions, neon::int8_peak,
                                 neon::float32_peak};

}  // namespace octavo
