// The threads of a backend: its own, or those of a pool that the process has anyway. Its own spin between ops, for an op
// takes microseconds, and sleep between steps when idle.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace octavo {

// OpenMP's threads through the C interface of its compilers: GOMP_parallel and omp_get_num_threads.
struct Pool {
  void (*parallel)(void (*body)(void* data), void* data, unsigned threads, unsigned flags);
  int (*thread_count)();
};

class Team {
 public:
  // The caller of `run` is thread 0; `threads - 1` more are started. Throws std::system_error without them.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Bodies run on the pool's threads from now on, and the team's own end. Two pools of threads that both spin for work
  // take each other's cores: between products of torch a layer took 2.8 ms in place of 0.16 (2 cores). Between runs only.
  void borrow(const Pool& pool);

  int size() const { return size_; }
  // How many threads this run has: fewer than `size` when a pool has no more to give. Within a body.
  int active() const { return active_.load(std::memory_order_relaxed); }
  // Calls `body(context, thread)` on every thread and returns when all have returned. One caller at a time.
  void run(void (*body)(void* context, int thread), void* context);
  // Waits, inside a body of `thread`, until every thread is here.
  void barrier(int thread);

 private:
  void work(int thread);
  void end();
  bool wait_for_work(int64_t seen);
  void wait(const std::atomic<int64_t>& count, int64_t wanted);
  void tell(std::atomic<int64_t>& count, int64_t value);
  void run_on_pool(void (*body)(void*, int), void* context);

  const int size_;
  std::atomic<int> active_;
  Pool pool_{};
  alignas(64) std::atomic<int64_t> generation_{0};
  // How many barriers each thread has reached; and how many all have, for large teams.
  struct alignas(64) Reached {
    std::atomic<int64_t> count{0};
  };
  const std::unique_ptr<Reached[]> reached_;
  alignas(64) std::atomic<int64_t> passed_{0};
  // Threads that sleep in a barrier.
  alignas(64) std::atomic<int> waiting_{0};
  std::mutex arrived_mutex_;
  std::condition_variable arrived_;
  alignas(64) std::atomic<int> asleep_{0};
  void (*body_)(void*, int) = nullptr;
  void* context_ = nullptr;
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

}  // namespace octavo
