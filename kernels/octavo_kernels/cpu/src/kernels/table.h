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

// Run, phases, scratch bytes per thread, shared bytes. In the order of OpCode.
inline const KernelEntry kernel_table[op_count] = {
    /* embed */ {run_embed, nullptr, nullptr, nullptr},
    /* cast */ {run_cast, nullptr, nullptr, nullptr},
    /* norm */ {run_norm, nullptr, norm_scratch, nullptr},
    /* row_statistics */ {run_row_statistics, nullptr, nullptr, nullptr},
    /* row_inliers */ {run_row_inliers, nullptr, nullptr, nullptr},
    /* quantize_digits */ {run_quantize_digits, nullptr, nullptr, nullptr},
    /* quantize_weight */ {run_quantize_weight, nullptr, quantize_weight_scratch, nullptr},
    /* multiply_int8 */ {run_multiply_int8, nullptr, multiply_int8_scratch, nullptr},
    /* dequantize */ {run_dequantize, nullptr, nullptr, nullptr},
    /* linear_published */ {run_linear_published, linear_published_phases, nullptr, linear_published_shared},
    /* linear_float */ {run_linear_float, nullptr, nullptr, nullptr},
    /* linear_scheme */ {run_linear_scheme, linear_scheme_phases, linear_scheme_scratch, linear_scheme_shared},
    /* rope */ {run_rope, nullptr, nullptr, nullptr},
    /* append */ {run_append, nullptr, nullptr, nullptr},
    /* attention */ {run_attention, nullptr, attention_scratch, attention_shared},
    /* glu */ {run_glu, nullptr, nullptr, nullptr},
    /* activate */ {run_activate, nullptr, nullptr, nullptr},
    /* add */ {run_add, nullptr, nullptr, nullptr},
    /* rows */ {run_rows, nullptr, nullptr, nullptr},
    /* sample */ {run_sample, sample_phases, sample_scratch, nullptr},
    /* pool */ {run_pool, nullptr, nullptr, nullptr},
    /* score */ {run_score, nullptr, nullptr, nullptr},
    /* observe_outliers */ {run_observe_outliers, nullptr, nullptr, nullptr},
    /* quantize */ {run_quantize, nullptr, nullptr, nullptr},
    /* linear_int8 */ {run_linear_int8, nullptr, linear_int8_scratch, nullptr},
    /* norm_quantize */ {run_norm_quantize, nullptr, norm_quantize_scratch, nullptr},
    /* add_norm_quantize */ {run_add_norm_quantize, nullptr, add_norm_quantize_scratch, nullptr},
    /* glu_quantize */ {run_glu_quantize, nullptr, glu_quantize_scratch, nullptr},
    /* rope_append */ {run_rope_append, nullptr, nullptr, nullptr},
};

}  // namespace octavo::OCTAVO_ISA
