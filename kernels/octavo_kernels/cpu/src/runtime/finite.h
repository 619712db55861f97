// Whether what an op has written is finite: for steps that look for the first op that made NaN or infinity.
#pragma once

#include "op.h"

namespace octavo {

// Floating results; the step of rows of digits, the ids of `sample`, and the slots that this step's K and V went to.
bool results_finite(const OpCall& call);

}  // namespace octavo
