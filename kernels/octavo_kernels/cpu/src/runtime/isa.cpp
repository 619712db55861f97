#include "isa.h"

#include <cstring>

namespace octavo {

int available_isas(const InstructionSet* found[max_isas]) {
  int count = 0;
  found[count++] = &isa_scalar;
#if defined(__x86_64__)
  // The compiler's builtins also ask whether the system saves the registers.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2) found[count++] = &isa_avx2;
  if (avx512) found[count++] = &isa_avx512;
#elif defined(__aarch64__)
  found[count++] = &isa_neon;
#endif
  return count;
}

const InstructionSet* find_isa(const char* name) {
  const InstructionSet* found[max_isas];
  const int count = available_isas(found);
  for (int i = 0; i < count; i++) {
    if (std::strcmp(found[i]->name, name) == 0) return found[i];
  }
  return nullptr;
}

}  // namespace octavo
