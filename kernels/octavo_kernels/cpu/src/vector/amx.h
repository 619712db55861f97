// AVX-512, and tiles (AMX): eight registers of 16 rows of 64 bytes, and an instruction that multiplies two of them.
#pragma once

// For kernels with code of their own for this set.
#define OCTAVO_AMX 1

#include "avx512.h"
