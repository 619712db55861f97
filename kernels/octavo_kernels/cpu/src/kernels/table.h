// The kernels of one instruction set by OpCode. Included once, by isa_<name>.cpp, after vector/<name>.h and math.h.
#pragma once

#include "../runtime/op.h"
#include "activate.h"
#include "add.h"
#include "append.h"
#include "attention.h"
#include "cast.h"
#include "dequantize.h"
#include "embed.h"
#include "glu.h"
#include "glu_quantize.h"
#include "linear_float.h"
#include "linear_int8.h"
#include "linear_published.h"
#include "linear_scheme.h"
#include "norm.h"
#include "norm_quantize.h"
#include "observe_outliers.h"
#include "pool.h"
#include "quantize.h"
#include "quantize_weight.h"
#include "rope.h"
#include "rope_append.h"
#include "row_statistics.h"
#include "rows.h"
#include "sample.h"
#include "score.h"

namespace octavo::OCTAVO_ISA {

// Run, phases. In the order of OpCode.
inline const KernelEntry kernel_table[op_count] = {
    /* embed */ {run_embed, nullptr},
    /* cast */ {run_cast, nullptr},
    /* norm */ {run_norm, nullptr},
    /* row_statistics */ {run_row_statistics, nullptr},
    /* row_inliers */ {run_row_inliers, nullptr},
    /* quantize_digits */ {run_quantize_digits, nullptr},
    /* quantize_weight */ {run_quantize_weight, nullptr},
    /* multiply_int8 */ {run_multiply_int8, nullptr},
    /* dequantize */ {run_dequantize, nullptr},
    /* linear_published */ {run_linear_published, linear_published_phases},
    /* linear_float */ {run_linear_float, nullptr},
    /* linear_scheme */ {run_linear_scheme, linear_scheme_phases},
    /* rope */ {run_rope, nullptr},
    /* append */ {run_append, nullptr},
    /* attention */ {run_attention, nullptr},
    /* glu */ {run_glu, nullptr},
    /* activate */ {run_activate, nullptr},
    /* add */ {run_add, nullptr},
    /* rows */ {run_rows, nullptr},
    /* sample */ {run_sample, sample_phases},
    /* pool */ {run_pool, nullptr},
    /* score */ {run_score, nullptr},
    /* observe_outliers */ {run_observe_outliers, nullptr},
    /* quantize */ {run_quantize, nullptr},
    /* linear_int8 */ {run_linear_int8, nullptr},
    /* norm_quantize */ {run_norm_quantize, nullptr},
    /* add_norm_quantize */ {run_add_norm_quantize, nullptr},
    /* glu_quantize */ {run_glu_quantize, nullptr},
    /* rope_append */ {run_rope_append, nullptr},
};

}  // namespace octavo::OCTAVO_ISA
