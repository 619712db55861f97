// A group of ranks: processes that run a program together. They stand in stages of equally many ranks, one after the other:
// a stage has some of the program's layers, and each of its ranks some columns of their linears. They meet in memory that
// all of them have mapped, and copy each other's numbers; nothing is added, so no result depends on who comes first.
//
// The memory: a cache line whose first word is 0 until somebody breaks the group; a line for each rank with the numbers of
// the last meeting that it has come to, of the last message that it has sent and of the last one that it has read; from the
// next multiple of 4,096 on two slots for each rank, and two for each stage but the last.
//
// gather: meeting number n of a stage is in its ranks' slots n & 1: a rank writes its slot, tells its number, waits for the
// others' numbers and copies from their slots. Slot n & 1 is written again for meeting n + 2, which is safe: whoever has
// come to n + 1 has read all of n.
//
// send, receive: all ranks of a stage have the same rows. Its first one writes message number n into its stage's slot n & 1,
// once all ranks of the next stage have read number n - 2, and tells n; they wait for it, copy, and tell that they have.
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

// Rows of floats that go from one stage to the next, `stride` elements from one to the next.
struct Rows {
  float* data;
  int64_t stride;
  int64_t rows;
  int64_t columns;
  // Which of its program's sends, or receives, this is.
  int64_t index;
};

// How far a rank has come: numbers of meetings and messages, chunks counted one by one.
struct Turns {
  uint32_t met, sent, read;
  uint32_t all() const { return met + sent + read; }
};

// Who calls: a thread of a team, or the only one.
struct Caller {
  int thread = 0;
  int threads = 1;
  Team* team = nullptr;
};

class Group {
 public:
  // The least memory that `ranks` need; more makes gathers of many rows fewer meetings.
  static int64_t least_bytes(int32_t ranks, int32_t stages);

  // `stages` divides `ranks`. Another rank that has not come after `deadline_ms` (of CLOCK_MONOTONIC) breaks the group.
  Group(void* memory, int64_t bytes, int32_t rank, int32_t ranks, int32_t stages, int64_t deadline_ms);

  // Whether it is of no further use: an exchange has failed, or the word in the memory says so.
  bool broken();
  // Whether an exchange has failed here.
  bool failed() const { return failed_.load(std::memory_order_acquire) != 0; }
  // Why, once broken.
  const std::string& reason() const { return reason_; }
  Turns turns() const;

  // Each is called by all threads of a team; all numbers that it copies were written before. Returns, after a barrier of the
  // team, the same on all of them: false when the group is broken; what it writes to then has anything in it. `turns`: one for
  // each thread, which this moves on.
  bool gather(const Gather& mine, Turns* turns, const Caller& caller);
  // Only in a stage that has one behind it. Its first rank sends, to all ranks of that one; the others have nothing to do.
  bool send(const Rows& x, Turns* turns, const Caller& caller);
  // Only in a stage that has one before it.
  bool receive(const Rows& y, Turns* turns, const Caller& caller);

 private:
  // What a rank says of what is in its slot.
  struct Header {
    int64_t rows, own, columns, first, index;
    uint32_t number;
  };
  // Of a thread: how often it has looked, and until when it may.
  struct Patience {
    int spins = 0;
    int64_t deadline = 0;
  };

  enum Word { kMet, kSent, kRead };
  uint32_t* word_of(int32_t rank, Word word) const;
  uint8_t* slot(int64_t pair, uint32_t number) const;
  uint8_t* meeting_slot(int32_t rank, uint32_t number) const { return slot(rank, number); }
  uint8_t* message_slot(int32_t stage, uint32_t number) const { return slot(ranks_ + stage, number); }
  int32_t stage() const { return rank_ / size_; }
  int32_t first_rank() const { return stage() * size_; }

  void bring(const Gather& mine, int64_t begin, uint32_t number, const Caller& caller);
  bool take(const Gather& mine, int64_t begin, const Turns& turns, const Caller& caller, int64_t* meetings);
  bool take_message(const Rows& y, int64_t begin, const Turns& turns, const Caller& caller);
  // Until the word has come to `number`; false when the group is broken. `what` it does not do, for errors.
  bool wait(int32_t rank, Word word, uint32_t number, const std::string& what, uint32_t turn, Patience* patience);
  uint32_t abort_word() const;
  bool aborted(int32_t waited_for, uint32_t turn);
  static std::string brings(int32_t rank, const Header& header);
  void fail(uint32_t turn, const std::string& reason);
  bool failed_by(uint32_t turn) const;

  uint8_t* const memory_;
  const int32_t rank_;
  const int32_t ranks_;
  const int32_t stages_;
  // Ranks of a stage.
  const int32_t size_;
  const int64_t deadline_ms_;
  int64_t slot_bytes_;
  // Of a slot, behind its header.
  int64_t slot_elements_;
  // Who fails first says why. Then the turn at which it was, with a bit above it that says that there is one.
  std::atomic<bool> failing_{false};
  std::atomic<uint64_t> failed_{0};
  std::string reason_;
};

}  // namespace octavo
