// The most this machine does, measured the simplest way: a sum over memory, and products in registers.
#pragma once

#include "abi.h"
#include "isa.h"
#include "team.h"

namespace octavo {

octavo_ceiling measure_ceiling(Team& team, const InstructionSet& isa);

}  // namespace octavo
