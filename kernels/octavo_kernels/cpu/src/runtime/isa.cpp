#include "isa.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace octavo {

namespace {

#if defined(__x86_64__)
// Not __builtin_cpu_supports: with zig it compiles and always says no.
struct Features {
  bool avx2 = false, avx512 = false, amx = false;

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
    // 17 and 18: the shape of tiles, and tiles.
    constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
    amx = avx512 && all(saved, 0x60000) && all(d, tile | int8) && may_use_tiles();
  }
  // Linux gives tiles to a process that asks, all of its threads, for good. It refuses where a thread's stack for signals
  // is too small to save them, and a container may forbid the call.
  static bool may_use_tiles() {
#if defined(HAS_AMX) && defined(__linux__)
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
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
  static const Features features;
  if (features.avx2) found[count++] = &isa_avx2;
  if (features.avx512) found[count++] = &isa_avx512;
#if defined(HAS_AMX)
  if (features.amx) found[count++] = &isa_amx;
#endif
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
