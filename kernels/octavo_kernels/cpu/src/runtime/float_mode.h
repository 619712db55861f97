// The floating-point environment that the definitions assume: round to nearest, subnormals kept.
#pragma once

#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace octavo {

// Some libraries (anything linked with -ffast-math) make the thread that loads them flush subnormals to zero. Kernels
// run inside one of these, which puts the caller's mode back at the end.
class DefaultFloatMode {
 public:
  DefaultFloatMode() : saved_(get()) { set(initial); }
  ~DefaultFloatMode() { set(saved_); }
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint64_t initial = 0x1f80;  // all exceptions masked
  static uint64_t get() { return _mm_getcsr(); }
  static void set(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr uint64_t initial = 0;
  static uint64_t get() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
  static constexpr uint64_t initial = 0;
  static uint64_t get() { return 0; }
  static void set(uint64_t) {}
#endif
  uint64_t saved_;
};

}  // namespace octavo
