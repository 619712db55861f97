// C ABI of the library; `library.py` has the same structs for ctypes. Loading has its own: load/abi.h.
#pragma once

#include <stdint.h>

#include "../generated/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

// Raised with every change below, so that a stale library is not taken for a fresh one.
#define OCTAVO_ABI_VERSION 6
int32_t octavo_abi_version(void);

// Names of the instruction sets that this machine can run, slowest first, separated by spaces.
const char* octavo_isas(void);

// A team of threads running the kernels of one instruction set. Null: unknown instruction set or no memory.
typedef struct octavo_context octavo_context;
octavo_context* octavo_open(const char* isa, int32_t threads);
void octavo_close(octavo_context* context);

// Steps run on OpenMP's threads from now on, as many as the team has: `parallel` is its GOMP_parallel, `thread_count` its
// omp_get_num_threads. For a process whose other work has such a pool; not while a step runs.
void octavo_borrow_threads(octavo_context* context,
                           void (*parallel)(void (*body)(void* data), void* data, unsigned threads, unsigned flags),
                           int (*thread_count)(void));

enum { OCTAVO_PLACE_MEMORY = 0, OCTAVO_PLACE_INPUT = 1, OCTAVO_PLACE_COLUMNS = 2, OCTAVO_PLACE_ARENA = 3 };

typedef struct octavo_value {
  int32_t dtype;
  int32_t layout;
  int32_t rank;
  // OCTAVO_PLACE_*: at `memory`; in the step's payload; columns `column ...` of the value `of`; or at `memory` of the
  // program's arena, all of which is its own while a step runs.
  int32_t place;
  // A size, or -1 - i for the step's size number i, or -1 - size_count - i for one more than that.
  int64_t shape[4];
  void* memory;
  int64_t of;
  int64_t column;
} octavo_value;

// Operands by the indices of generated/ops.h: ids of values, -1 for one that is absent.
typedef struct octavo_operation {
  int32_t code;
  int32_t inputs[octavo::max_inputs];
  int32_t outputs[octavo::max_outputs];
  double attributes[octavo::max_attributes];
} octavo_operation;

typedef struct octavo_program_spec {
  const octavo_value* values;
  const octavo_operation* operations;
  // Ids of the values that each step brings and returns.
  const int32_t* inputs;
  const int32_t* outputs;
  int32_t value_count;
  int32_t operation_count;
  int32_t input_count;
  int32_t output_count;
  int64_t limits[octavo::size_count];
} octavo_program_spec;

// This process as rank `rank` of a group (runtime/group.h) that meets in `memory`: 64-byte aligned, the same bytes for every
// rank, zeroed before the first one opens it, at least octavo_group_least_bytes(ranks, stages). `stages` divides `ranks`: 0 ..
// ranks / stages - 1 are the first stage. Null: no memory, or too few bytes.
// One caller at a time; the programs of a group are released before it.
typedef struct octavo_group octavo_group;
int64_t octavo_group_least_bytes(int32_t ranks, int32_t stages);
octavo_group* octavo_group_open(void* memory, int64_t bytes, int32_t rank, int32_t ranks, int32_t stages,
                                int64_t deadline_ms);
void octavo_group_close(octavo_group* group);
// Why the group is of no further use: an exchange has failed, or the memory's first word is not 0. Null while it is of use.
const char* octavo_group_error(octavo_group* group);

// For backends whose ops do not run here: gather number `index` of a program. x: [rows, own] floats, one row after the
// other; y: [rows, columns]; `first`: how many columns the ranks before have. 0, or OCTAVO_GROUP_BROKEN.
enum { OCTAVO_GROUP_BROKEN = 1 };
int32_t octavo_group_gather(octavo_group* group, const float* x, float* y, int64_t rows, int64_t own, int64_t columns,
                            int64_t first, int64_t index);
// Likewise send and receive number `index`: [rows, columns] floats. The first stage receives, and the last one sends, nothing.
int32_t octavo_group_send(octavo_group* group, const float* x, int64_t rows, int64_t columns, int64_t index);
int32_t octavo_group_receive(octavo_group* group, float* y, int64_t rows, int64_t columns, int64_t index);

// A validated program; memory and group that it names must outlive it. Null: no memory. `thread_bytes`: scratch memory of
// each thread, a multiple of 64. `group`: whose collectives it runs, or null.
typedef struct octavo_program octavo_program;
octavo_program* octavo_define(octavo_context* context, const octavo_program_spec* spec, int64_t thread_bytes,
                              octavo_group* group);
void octavo_release(octavo_program* program);

typedef struct octavo_counters {
  int64_t quantized;
  int64_t carries;
  int64_t nonfinite;
  int64_t nanoseconds;
} octavo_counters;

// Runs a program once. Payload and reply: arrays one after the other, each at the next multiple of 64 bytes.
// `workspace`: `thread_bytes` for each thread, then what the threads share; 64-byte aligned, with anything in it. How much
// each op takes of it: protocol/workspace.ts.
// `profile`: nanoseconds of each op as the caller's thread has seen them, or null. `nonfinite`: 1 for each op whose results
// hold NaN or infinity, or null.
// 0, or OCTAVO_GROUP_BROKEN: the ops behind the exchange that failed did not run, and what the others wrote is of no use.
int32_t octavo_step(octavo_program* program, void* workspace, const int64_t* sizes, const void* payload, void* reply,
                    octavo_counters* counters, int64_t* profile, int64_t* nonfinite);

typedef struct octavo_ceiling {
  int64_t read_bytes;
  int64_t int8_operations;
  int64_t float32_operations;
} octavo_ceiling;

// The most this machine does per second with the context's threads; zeros when there was no memory to measure with.
void octavo_measure(octavo_context* context, octavo_ceiling* ceiling);

#ifdef __cplusplus
}
#endif
