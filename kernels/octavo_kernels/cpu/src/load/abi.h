// C ABI of weight loading; `library.py` has the same structs for ctypes.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Return codes of the calls below; the text goes to `error`. After any but OK the target's contents are unspecified.
enum {
  OCTAVO_LOAD_OK = 0,
  OCTAVO_LOAD_BAD_ARGUMENT = 1,   // OCTAVO_BAD_ARGUMENT: the request contradicts itself
  OCTAVO_LOAD_NOT_READABLE = 2,   // OCTAVO_FILE_NOT_READABLE: open or read failed
  OCTAVO_LOAD_INVALID = 3,        // OCTAVO_MODEL_FILE_INVALID: too short, a wrong byte count, or a number that the target cannot hold
  OCTAVO_LOAD_OUT_OF_MEMORY = 4,  // OCTAVO_OUT_OF_MEMORY: no scratch memory
};

// `rows` x `columns` elements of `type` (a SourceType of generated/source_types.h) at a byte range of a file, and the rows and
// columns that are taken of them.
typedef struct octavo_source_part {
  const char* file;
  const char* name;  // of the tensor, for errors
  int64_t offset;
  int64_t bytes;
  int64_t rows;
  int64_t columns;
  int64_t first_row;
  int64_t row_count;
  int64_t first_column;
  int64_t column_count;
  int32_t type;
  int32_t reserved;
} octavo_source_part;

// What is taken of the parts, stacked by rows, to `target` [sum of row_count, column_count]. NaN, infinity and numbers that
// `dtype` rounds to infinity are refused: a step would make them the answer.
typedef struct octavo_load_request {
  const octavo_source_part* parts;
  int64_t part_count;
  void* target;
  // float32 [rows]: where to put the absmax of each whole row of the file. Its presence asks for int8 codes (form "int8"); else null.
  float* scale;
  // Index into DTYPES of protocol/ops.ts: float32, float16 or bfloat16 without `scale`, int8 with it.
  int32_t dtype;
  // Whether `target` has the packed layout; else it is row-major.
  int32_t packed;
  int32_t threads;
  // Whether `target` is one row of the elements of all parts: whole rows, or columns of one row. Float only.
  int32_t vector;
} octavo_load_request;

// `isa`: one of `octavo_isas` (runtime/abi.h). Bits do not depend on it.
int32_t octavo_load(const octavo_load_request* request, const char* isa, char* error, int64_t error_size);

// A packed tensor [rows, columns] back to row-major. `dtype` as above.
int32_t octavo_unpack(const void* packed, int32_t dtype, int64_t rows, int64_t columns, void* target, char* error,
                      int64_t error_size);

#ifdef __cplusplus
}
#endif
