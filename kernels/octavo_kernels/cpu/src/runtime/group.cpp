#include "group.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "futex.h"
#include "team.h"

namespace octavo {

namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kPage = 4096;
// Before it sleeps. Longer is worse as soon as ranks are more than free cores: the one waited for needs this core.
constexpr int kSpins = 200;
// An abort is seen after this long.
constexpr int64_t kSliceNanoseconds = 50 * 1000000;
// Up to this many floats one thread writes alone: it takes less time than a barrier.
constexpr int64_t kAlone = 16384;
// Threads share the copying in pieces of this many floats.
constexpr int64_t kPiece = 1024;
constexpr uint64_t kFailed = uint64_t{1} << 32;
// The abort word of a rank that gave up, with its number; any other word is the orchestrator's.
constexpr uint32_t kByRank = uint32_t{1} << 31;

uint32_t load(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

// Numbers wrap around.
bool reached(uint32_t number, uint32_t wanted) { return static_cast<int32_t>(number - wanted) >= 0; }

int64_t slots_start(int32_t ranks) { return (kLine + ranks * kLine + kPage - 1) / kPage * kPage; }

int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec;
}

// Elements `begin` to `end` of rows of `columns`, which lie one after the other in `dense` from element `begin` on.
template <class Copy>
void by_rows(int64_t begin, int64_t end, int64_t columns, Copy copy) {
  for (int64_t at = begin; at < end;) {
    const int64_t row = at / columns, column = at % columns;
    const int64_t count = std::min(columns - column, end - at);
    copy(row, column, at - begin, count);
    at += count;
  }
}

void copy_floats(float* target, const float* source, int64_t count) {
  std::memcpy(target, source, static_cast<size_t>(count) * sizeof(float));
}

// A thread's part of `count` elements.
void share(int64_t count, int thread, int threads, int64_t* begin, int64_t* end) {
  const int64_t pieces = (count + kPiece - 1) / kPiece;
  *begin = std::min(count, pieces * thread / threads * kPiece);
  *end = std::min(count, pieces * (thread + 1) / threads * kPiece);
}

std::string text(int64_t number) { return std::to_string(number); }

}  // namespace

int64_t Group::least_bytes(int32_t ranks) { return slots_start(ranks) + 2 * ranks * 2 * kLine; }

Group::Group(void* memory, int64_t bytes, int32_t rank, int32_t ranks, int64_t deadline_ms)
    : memory_(static_cast<uint8_t*>(memory)), rank_(rank), ranks_(ranks), deadline_ms_(deadline_ms) {
  static_assert(sizeof(Header) <= kLine);
  slot_bytes_ = (bytes - slots_start(ranks)) / (2 * ranks) / kLine * kLine;
  slot_elements_ = (slot_bytes_ - kLine) / static_cast<int64_t>(sizeof(float));
}

uint32_t* Group::word_of(int32_t rank) const { return reinterpret_cast<uint32_t*>(memory_ + kLine + rank * kLine); }

uint8_t* Group::slot_of(int32_t rank, uint32_t number) const {
  return memory_ + slots_start(ranks_) + (2 * rank + static_cast<int64_t>(number & 1)) * slot_bytes_;
}

uint32_t Group::number() const { return load(word_of(rank_)); }

uint32_t Group::abort_word() const { return load(reinterpret_cast<const uint32_t*>(memory_)); }

bool Group::broken() {
  if (!failed() && abort_word() != 0) aborted(-1, number());
  return failed();
}

// `waited_for`: the rank, or -1. False, for `wait`.
bool Group::aborted(int32_t waited_for, uint32_t number) {
  const uint32_t word = abort_word();
  std::string why = "the group was aborted";
  if (word & kByRank) why = "rank " + text(word & ~kByRank) + " gave up";
  if (waited_for >= 0) why += " while rank " + text(rank_) + " waited for rank " + text(waited_for);
  fail(number, why);
  return false;
}

void Group::fail(uint32_t number, const std::string& reason) {
  if (failing_.exchange(true)) return;
  reason_ = reason;
  failed_.store(kFailed | number, std::memory_order_release);
  // The others then need not wait for their deadlines.
  uint32_t* word = reinterpret_cast<uint32_t*>(memory_);
  uint32_t fine = 0;
  __atomic_compare_exchange_n(word, &fine, kByRank | static_cast<uint32_t>(rank_), false, __ATOMIC_RELEASE,
                              __ATOMIC_RELAXED);
  for (int32_t rank = 0; rank < ranks_; rank++) wake(word_of(rank));
}

// Not whether it has failed by now: another thread may be a meeting ahead.
bool Group::failed_by(uint32_t number) const {
  const uint64_t failed = failed_.load(std::memory_order_acquire);
  return failed != 0 && reached(number, static_cast<uint32_t>(failed));
}

bool Group::gather(const Gather& mine, uint32_t* number, int thread, int threads, Team* team) {
  // As many meetings as the slots of the rank with the most columns need; the first one tells.
  for (int64_t meeting = 0, meetings = 1; meeting < meetings; meeting++) {
    const int64_t begin = meeting * slot_elements_;
    ++*number;
    send(mine, begin, *number, thread, threads, team);
    if (wait(*number, mine)) receive(mine, begin, *number, thread, threads, &meetings);
    if (team) team->barrier(thread);
    if (failed_by(*number)) return false;
  }
  return true;
}

void Group::send(const Gather& mine, int64_t begin, uint32_t number, int thread, int threads, Team* team) {
  uint8_t* slot = slot_of(rank_, number);
  const int64_t count = std::min(slot_elements_, std::max<int64_t>(0, mine.rows * mine.own - begin));
  const bool shared = threads > 1 && count > kAlone;
  int64_t from = 0, to = count;
  if (shared) share(count, thread, threads, &from, &to);
  if (shared || thread == 0) {
    float* floats = reinterpret_cast<float*>(slot + kLine) + from;
    by_rows(begin + from, begin + to, mine.own, [&](int64_t row, int64_t column, int64_t at, int64_t elements) {
      copy_floats(floats + at, mine.x + row * mine.x_stride + column, elements);
    });
  }
  if (shared) team->barrier(thread);
  if (thread != 0) return;
  const Header header = {mine.rows, mine.own, mine.columns, mine.first, mine.index, number};
  std::memcpy(slot, &header, sizeof header);
  __atomic_store_n(word_of(rank_), number, __ATOMIC_RELEASE);
  wake(word_of(rank_));
}

// Every thread of every rank waits for itself: none burns a core in its team's barrier for a rank that wants to run there.
bool Group::wait(uint32_t number, const Gather& mine) {
  int64_t deadline = 0;
  int spins = 0;
  for (int32_t rank = 0; rank < ranks_; rank++) {
    const uint32_t* word = word_of(rank);
    for (uint32_t seen = load(word); !reached(seen, number); seen = load(word)) {
      if (spins++ < kSpins) {
        pause_briefly();
        continue;
      }
      const int64_t time = now();
      if (deadline == 0) deadline = time + deadline_ms_ * 1000000;
      // What has come counts: it may have, and then somebody have given up.
      if (abort_word() != 0 && !reached(load(word), number)) return aborted(rank, number);
      if (time >= deadline) {
        fail(number, "rank " + text(rank) + " of " + text(ranks_) + " did not come to gather " + text(mine.index) +
                         " within " + text(deadline_ms_) + " ms");
        return false;
      }
      sleep_on(word, seen, std::min(kSliceNanoseconds, deadline - time));
    }
  }
  return true;
}

std::string Group::brings(int32_t rank, const Header& header) {
  return "rank " + text(rank) + " brings columns " + text(header.first) + ".." + text(header.first + header.own - 1) +
         " of " + text(header.columns) + " with T " + text(header.rows) + " to gather " + text(header.index);
}

bool Group::receive(const Gather& mine, int64_t begin, uint32_t number, int thread, int threads, int64_t* meetings) {
  const Header ours = {mine.rows, mine.own, mine.columns, mine.first, mine.index, number};
  Header before = {};
  int64_t first = 0;
  for (int32_t rank = 0; rank < ranks_; rank++) {
    const uint8_t* slot = slot_of(rank, number);
    Header theirs;
    std::memcpy(&theirs, slot, sizeof theirs);  // once: what is checked is what is used
    if (theirs.number != number) {  // their slots lie elsewhere: their memory has another size
      fail(number, "the ranks disagree: rank " + text(rank) + " is at meeting " + text(theirs.number) + ", rank " +
                       text(rank_) + " at " + text(number));
      return false;
    }
    if (theirs.index != mine.index || theirs.rows != mine.rows || theirs.columns != mine.columns) {
      fail(number, "the ranks disagree: " + brings(rank_, ours) + ", " + brings(rank, theirs));
      return false;
    }
    const int64_t room = mine.columns - first;
    if (theirs.first != first || theirs.own < 1 || theirs.own > room || (rank + 1 == ranks_ && theirs.own != room)) {
      const std::string other = rank > 0 ? brings(rank - 1, before) + ", " : "";
      fail(number, "the columns of the ranks do not lie side by side: " + other + brings(rank, theirs));
      return false;
    }
    const int64_t total = theirs.rows * theirs.own;
    *meetings = std::max(*meetings, (total + slot_elements_ - 1) / slot_elements_);
    int64_t from, to;
    share(std::min(slot_elements_, std::max<int64_t>(0, total - begin)), thread, threads, &from, &to);
    const float* floats = reinterpret_cast<const float*>(slot + kLine) + from;
    by_rows(begin + from, begin + to, theirs.own, [&](int64_t row, int64_t column, int64_t at, int64_t elements) {
      float* target = mine.y + row * mine.y_stride + first + column;
      copy_floats(target, rank == rank_ ? mine.x + row * mine.x_stride + column : floats + at, elements);
    });
    first += theirs.own;
    before = theirs;
  }
  return true;
}

}  // namespace octavo
