// The kernels of one instruction set by OpCode. Included once, by isa_<name>.cpp, after vector/<name>.h and math.h.
#pragma once

#include "../runtime/op.h"
#include "append.h"
#include "attention.h"
#include "linear_float.h"
#include "linear_int8.h"
#include "linear_published.h"
#include "pool.h"
#include "rope.h"
#include "rope_append.h"
#include "sample.h"
#include "score.h"

namespace octavo::OCTAVO_ISA {

// Run, phases, scratch bytes per thread, shared bytes. In the order of OpCode.
inline const KernelEntry kernel_table[op_count] = {
    /* embed */ {nullptr, nullptr, nullptr, nullptr},
    /* cast */ {nullptr, nullptr, nullptr, nullptr},
    /* norm */ {nullptr, nullptr, nullptr, nullptr},
    /* quantize */ {nullptr, nullptr, nullptr, nullptr},
    /* quantize_weight */ {nullptr, nullptr, nullptr, nullptr},
    /* linear_int8 */ {run_linear_int8, nullptr, linear_int8_scratch, nullptr},
    /* linear_published */ {run_linear_published, linear_published_phases, nullptr, linear_published_shared},
    /* linear_float */ {run_linear_float, nullptr, nullptr, nullptr},
    /* rope */ {run_rope, nullptr, nullptr, nullptr},
    /* append */ {run_append, nullptr, nullptr, nullptr},
    /* attention */ {run_attention, nullptr, attention_scratch, attention_shared},
    /* glu */ {nullptr, nullptr, nullptr, nullptr},
    /* activate */ {nullptr, nullptr, nullptr, nullptr},
    /* add */ {nullptr, nullptr, nullptr, nullptr},
    /* rows */ {nullptr, nullptr, nullptr, nullptr},
    /* sample */ {run_sample, sample_phases, sample_scratch, nullptr},
    /* pool */ {run_pool, nullptr, nullptr, nullptr},
    /* score */ {run_score, nullptr, nullptr, nullptr},
    /* norm_quantize */ {nullptr, nullptr, nullptr, nullptr},
    /* add_norm_quantize */ {nullptr, nullptr, nullptr, nullptr},
    /* glu_quantize */ {nullptr, nullptr, nullptr, nullptr},
    /* rope_append */ {run_rope_append, nullptr, nullptr, nullptr},
};

}  // namespace octavo::OCTAVO_ISA
