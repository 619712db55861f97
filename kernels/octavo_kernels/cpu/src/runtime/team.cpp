#include "team.h"

#include <sched.h>

#include <chrono>

#include "float_mode.h"
#include "futex.h"

namespace octavo {

namespace {

// Spins before a thread sleeps: some 45 us, longer than threads that all run wait for each other. With a busy process
// beside us the one waited for may not be running. We sleep and do not yield: a yield gives that process a slice of
// milliseconds, in which the one waited for comes, waits for us, and yields in turn. (Decode on two cores of Linux 6.18
// beside two busy processes and other work: yielding 2 tokens/s, sleeping 20.)
constexpr int kSpins = 1024;
// Between steps the core is offered at once: Node and the worker's Python have to run for the next one to come.
constexpr int kIdleSpins = 64;
// Up to this many threads everyone waits for everyone.
constexpr int kDirect = 8;
// A worker without work sleeps after this long: longer than the gap between two steps of a busy engine.
constexpr auto kAwake = std::chrono::milliseconds(2);

}  // namespace

Team::Team(int threads) : size_(threads), active_(threads), reached_(new Reached[static_cast<size_t>(threads)]) {
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
  threads_.clear();
}

void Team::borrow(const Pool& pool) {
  end();
  pool_ = pool;
}

void Team::run_on_pool(void (*body)(void*, int), void* context) {
  struct Run {
    Team& team;
    void (*body)(void*, int);
    void* context;
    std::atomic<int> next{0};
  } run{*this, body, context};
  // Threads that were not given last time are behind.
  for (int thread = 0; thread < size_; thread++) reached_[thread].count.store(0, std::memory_order_relaxed);
  passed_.store(0, std::memory_order_relaxed);
  const auto enter = [](void* data) {
    Run& run = *static_cast<Run*>(data);
    const DefaultFloatMode mode;
    // All see and write the same number.
    run.team.active_.store(run.team.pool_.thread_count(), std::memory_order_relaxed);
    run.body(run.context, run.next.fetch_add(1));
  };
  pool_.parallel(enter, &run, static_cast<unsigned>(size_), 0);
}

void Team::run(void (*body)(void*, int), void* context) {
  if (pool_.parallel) return run_on_pool(body, context);
  const DefaultFloatMode mode;
  if (size_ > 1) {
    body_ = body;
    context_ = context;
    // Sequentially consistent with `asleep_` in `wait_for_work`: either the sleeper sees the new generation or we see
    // it asleep.
    generation_.fetch_add(1);
    if (asleep_.load() > 0) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
  }
  body(context, 0);
  barrier(0);
}

void Team::barrier(int thread) {
  const int threads = active();
  if (threads == 1) return;
  // Each thread tells in a cache line of its own and looks at the others': one line travels between two cores, where a
  // counter that all increase would travel three times (270 against 60 ns). Many threads go through thread 0.
  const int64_t mine = reached_[thread].count.load(std::memory_order_relaxed) + 1;
  tell(reached_[thread].count, mine);
  if (thread == 0 || threads <= kDirect) {
    for (int other = 0; other < threads; other++) wait(reached_[other].count, mine);
  }
  if (threads <= kDirect) return;
  if (thread == 0) {
    tell(passed_, mine);
  } else {
    wait(passed_, mine);
  }
}

void Team::wait(const std::atomic<int64_t>& count, int64_t wanted) {
  for (int spin = 0; spin < kSpins; spin++) {
    if (count.load(std::memory_order_acquire) >= wanted) return;
    pause_briefly();
  }
  std::unique_lock<std::mutex> lock(arrived_mutex_);
  waiting_.fetch_add(1);
  arrived_.wait(lock, [&] { return count.load() >= wanted; });
  waiting_.fetch_sub(1);
}

void Team::tell(std::atomic<int64_t>& count, int64_t value) {
  // Sequentially consistent with `waiting_` in `wait`: either the sleeper sees the new count or we see it asleep.
  count.store(value);
  if (waiting_.load() == 0) return;
  { std::lock_guard<std::mutex> lock(arrived_mutex_); }
  arrived_.notify_all();
}

void Team::work(int thread) {
  const DefaultFloatMode mode;
  for (int64_t seen = 0; wait_for_work(seen); seen++) {
    body_(context_, thread);
    barrier(thread);
  }
}

// False at the end of the team.
bool Team::wait_for_work(int64_t seen) {
  const auto sleep_at = std::chrono::steady_clock::now() + kAwake;
  for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; spin++) {
    if (spin < kIdleSpins) {
      pause_briefly();
      continue;
    }
    sched_yield();
    if (spin % kIdleSpins == 0 && std::chrono::steady_clock::now() > sleep_at) {
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      asleep_.fetch_sub(1);
    }
  }
  return !ended_.load();
}

}  // namespace octavo
