// A group of ranks: processes that run a program together, each with some columns of its linears. They meet in memory that
// all of them have mapped, and copy each other's numbers; nothing is added, so no result depends on who comes first.
//
// The memory: a cache line whose first word is 0 until somebody breaks the group; a line for each rank with the number of
// the last meeting that it has come to; from the next multiple of 4,096 on two slots for each rank. Meeting number n is in
// the slots n & 1: a rank writes its slot, tells its number, waits for the others' numbers and copies from their slots.
// Slot n & 1 is written again for meeting n + 2, which is safe: whoever has come to n + 1 has read all of n.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace octavo {

class Team;

// One rank's part in a gather: rows of floats, `stride` elements from one to the next.
struct Gather {
  const float* x;
  int64_t x_stride;
  float* y;
  int64_t y_stride;
  int64_t rows;
  // Columns of x; of y; and those of the ranks before this one.
  int64_t own;
  int64_t columns;
  int64_t first;
  // Which of its program's gathers this is.
  int64_t index;
};

class Group {
 public:
  // The least memory that `ranks` need; more makes gathers of many rows fewer meetings.
  static int64_t least_bytes(int32_t ranks);

  // Another rank that has not come after `deadline_ms` (of CLOCK_MONOTONIC) breaks the group.
  Group(void* memory, int64_t bytes, int32_t rank, int32_t ranks, int64_t deadline_ms);

  // Whether it is of no further use: a gather has failed, or the word in the memory says so.
  bool broken();
  // Whether a gather has failed here.
  bool failed() const { return failed_.load(std::memory_order_acquire) != 0; }
  // Why, once broken.
  const std::string& reason() const { return reason_; }
  // Of the last meeting.
  uint32_t number() const;

  // Called by all threads of a team (or one, without a team); all x were written before. Returns, after a barrier of the
  // team, the same on all of them: false when the group is broken; y then has anything in it. `number`: of the last meeting,
  // one for each thread, which this moves on.
  bool gather(const Gather& mine, uint32_t* number, int thread, int threads, Team* team);

 private:
  // What a rank says of what is in its slot.
  struct Header {
    int64_t rows, own, columns, first, index;
    uint32_t number;
  };

  uint32_t* word_of(int32_t rank) const;
  uint8_t* slot_of(int32_t rank, uint32_t number) const;
  void send(const Gather& mine, int64_t begin, uint32_t number, int thread, int threads, Team* team);
  bool wait(uint32_t number, const Gather& mine);
  uint32_t abort_word() const;
  bool aborted(int32_t waited_for, uint32_t number);
  bool receive(const Gather& mine, int64_t begin, uint32_t number, int thread, int threads, int64_t* meetings);
  static std::string brings(int32_t rank, const Header& header);
  void fail(uint32_t number, const std::string& reason);
  bool failed_by(uint32_t number) const;

  uint8_t* const memory_;
  const int32_t rank_;
  const int32_t ranks_;
  const int64_t deadline_ms_;
  int64_t slot_bytes_;
  // Of a slot, behind its header.
  int64_t slot_elements_;
  // Who fails first says why. Then the meeting at which it was, with a bit above it that says that there is one.
  std::atomic<bool> failing_{false};
  std::atomic<uint64_t> failed_{0};
  std::string reason_;
};

}  // namespace octavo
