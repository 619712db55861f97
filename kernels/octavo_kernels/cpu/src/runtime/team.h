// The threads of a backend. They spin between ops, for an op takes microseconds, and sleep between steps when idle.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace octavo {

class Team {
 public:
  // The caller of `run` is thread 0; `threads - 1` more are started. Throws std::system_error without them.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // Calls `body(context, thread)` on every thread and returns when all have returned. One caller at a time.
  void run(void (*body)(void* context, int thread), void* context);
  // Waits, inside a body of `thread`, until every thread is here.
  void barrier(int thread);

 private:
  void work(int thread);
  void end();
  bool wait_for_work(int64_t seen);

  const int size_;
  alignas(64) std::atomic<int64_t> generation_{0};
  // How many barriers each thread has reached; and how many all have, for large teams.
  struct alignas(64) Reached {
    std::atomic<int64_t> count{0};
  };
  const std::unique_ptr<Reached[]> reached_;
  alignas(64) std::atomic<int64_t> passed_{0};
  alignas(64) std::atomic<int> asleep_{0};
  void (*body_)(void*, int) = nullptr;
  void* context_ = nullptr;
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

}  // namespace octavo
