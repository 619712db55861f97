// Sleeping on a word that other processes write to, and offering the core for a moment.
#pragma once

#include <climits>
#include <cstdint>
#include <ctime>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace octavo {

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns when the word was changed and `wake` called, after `nanoseconds`, or for no reason. Not where the word is not
// `seen` any more. Systems without such a call sleep for a moment.
inline void sleep_on(const uint32_t* word, uint32_t seen, int64_t nanoseconds) {
  constexpr int64_t second = 1000000000;
#if defined(__linux__)
  const timespec most = {static_cast<time_t>(nanoseconds / second), static_cast<long>(nanoseconds % second)};
  syscall(SYS_futex, word, FUTEX_WAIT, seen, &most, nullptr, 0);  // not private: the word is in several processes
#else
  constexpr int64_t moment = 50000;
  (void)word, (void)seen;
  const timespec most = {0, static_cast<long>(nanoseconds < moment ? nanoseconds : moment)};
  static_cast<void>(second), nanosleep(&most, nullptr);
#endif
}

// Wakes all that sleep on the word.
inline void wake(const uint32_t* word) {
#if defined(__linux__)
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
#else
  (void)word;
#endif
}

}  // namespace octavo
