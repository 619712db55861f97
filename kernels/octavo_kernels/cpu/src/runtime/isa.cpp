#include "isa.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace octavo {

namespace {

#if defined(__x86_64__)
// Not __builtin_cpu_supports: with zig it compiles and always says no.
struct Features {
  bool avx2 = false, avx512 = false;

  Features() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    constexpr unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    if (!all(c, fma | osxsave | avx | f16c)) return;
    // The operating system must save the registers: bits 1 and 2 are xmm and ymm, 5 to 7 what AVX-512 adds.
    unsigned saved, unused;
    asm volatile("xgetbv" : "=a"(saved), "=d"(unused) : "c"(0));
    if (!all(saved, 0x6) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = all(b, 1u << 5);
    constexpr unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31, vnni = 1u << 11;
    avx512 = avx2 && all(saved, 0xe6) && all(b, f | dq | bw | vl) && all(c, vnni);
  }
  static bool all(unsigned word, unsigned bits) { return (word & bits) == bits; }
};
#elif defined(__aarch64__) && defined(__linux__)
bool has_dot_products() { return (getauxval(AT_HWCAP) & (1ul << 20)) != 0; }  // HWCAP_ASIMDDP
#elif defined(__aarch64__)
bool has_dot_products() { return true; }  // every Apple processor that runs macOS
#endif

}  // namespace

int available_isas(const InstructionSet* found[max_isas]) {
  int count = 0;
  found[count++] = &isa_scalar;
#if defined(__x86_64__)
  const Features features;
  if (features.avx2) found[count++] = &isa_avx2;
  if (features.avx512) found[count++] = &isa_avx512;
#elif defined(__aarch64__)
  found[count++] = &isa_neon;
  if (has_dot_products()) found[count++] = &isa_dotprod;
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
