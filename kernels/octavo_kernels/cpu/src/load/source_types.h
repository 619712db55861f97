// Element types of weight files: how many bytes how many elements take.
#pragma once

#include <cstdint>

namespace octavo {

// In the order of SOURCE_TYPES of protocol/messages.ts.
enum class SourceType : int32_t { F32, F16, BF16, F64, I8, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K };
constexpr int32_t kSourceTypes = 13;

struct SourceFormat {
  const char* name;
  int64_t block_elements;
  int64_t block_bytes;
};

// `static`: every translation unit its own, for each is compiled for another instruction set.
// Block layouts: ggml-common.h of ggml; `dequantize_*.h` spell them out.
static inline const SourceFormat& source_format(SourceType type) {
  static const SourceFormat formats[kSourceTypes] = {
      {"F32", 1, 4},    {"F16", 1, 2},    {"BF16", 1, 2},   {"F64", 1, 8},      {"I8", 1, 1},
      {"Q8_0", 32, 34}, {"Q4_0", 32, 18}, {"Q4_1", 32, 20}, {"Q5_0", 32, 22},   {"Q5_1", 32, 24},
      {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
  };
  return formats[static_cast<int32_t>(type)];
}

}  // namespace octavo
