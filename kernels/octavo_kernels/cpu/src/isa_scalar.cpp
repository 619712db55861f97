// All kernels for no instruction set beyond the compiler's default: the oracle of the others.
#define OCTAVO_ISA scalar

#include "runtime/isa.h"
// Order matters from here: each header is written with what the ones before define.
#include "vector/scalar.h"
#include "vector/math.h"
#include "kernels/peak.h"
#include "kernels/table.h"
#include "load/rows.h"

namespace octavo {

const InstructionSet isa_scalar = {"scalar", scalar::kernel_table, &scalar::row_functions, scalar::int8_peak,
                                   scalar::float32_peak};

}  // namespace octavo
