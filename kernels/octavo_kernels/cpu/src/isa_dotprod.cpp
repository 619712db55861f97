// All kernels for aarch64 NEON with the dot products of ARMv8.2. build.py gives this file its compiler flags.
#define OCTAVO_ISA dotprod
#define OCTAVO_DOTPROD 1

#include "runtime/isa.h"
// Order matters from here: each header is written with what the ones before define.
#include "vector/neon.h"
#include "vector/math.h"
#include "kernels/peak.h"
#include "kernels/table.h"
#include "load/rows.h"

namespace octavo {

const InstructionSet isa_dotprod = {"dotprod", dotprod::kernel_table, &dotprod::row_functions, dotprod::int8_peak,
                                    dotprod::float32_peak};

}  // namespace octavo
