#include "team.h"

#include <sched.h>

#include <chrono>

#include "float_mode.h"

namespace octavo {

namespace {

// Spins that cost nothing to others before the core is offered: a barrier among running threads takes well under these.
// With a busy process beside us the thread waited for may not be running, and yielding gives it our core.
constexpr int kSpins = 64;
// A worker without work sleeps after this long: longer than the gap between two steps of a busy engine.
constexpr auto kAwake = std::chrono::milliseconds(2);

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Team::Team(int threads) : size_(threads) {
  try {
    for (int thread = 1; thread < threads; thread++) threads_.emplace_back([this, thread] { work(thread); });
  } catch (...) {
    end();  // those that did start wait for work
    throw;
  }
}

Team::~Team() { end(); }

void Team::end() {
  ended_.store(true);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Team::run(void (*body)(void*, int), void* context) {
  const DefaultFloatMode mode;
  if (size_ > 1) {
    body_ = body;
    context_ = context;
    // Sequentially consistent with `asleep_` in `wait_for_work`: either the sleeper sees the new generation or we see it asleep.
    generation_.fetch_add(1);
    if (asleep_.load() > 0) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
  }
  body(context, 0);
  barrier();
}

void Team::barrier() {
  if (size_ == 1) return;
  const int64_t ticket = passed_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    passed_.store(ticket + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; passed_.load(std::memory_order_acquire) == ticket; spin++) {
    if (spin < kSpins) {
      pause_briefly();
    } else {
      sched_yield();
    }
  }
}

void Team::work(int thread) {
  const DefaultFloatMode mode;
  for (int64_t seen = 0; wait_for_work(seen); seen++) {
    body_(context_, thread);
    barrier();
  }
}

// False at the end of the team.
bool Team::wait_for_work(int64_t seen) {
  const auto sleep_at = std::chrono::steady_clock::now() + kAwake;
  for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; spin++) {
    if (spin < kSpins) {
      pause_briefly();
      continue;
    }
    sched_yield();
    if (spin % kSpins == 0 && std::chrono::steady_clock::now() > sleep_at) {
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      asleep_.fetch_sub(1);
    }
  }
  return !ended_.load();
}

}  // namespace octavo
