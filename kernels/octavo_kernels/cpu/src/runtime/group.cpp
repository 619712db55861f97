#include "group.h"

#include <algorithm>
#include <cstring>

#include "clock.h"
#include "futex.h"
#include "op.h"
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

std::string text(int64_t number) { return std::to_string(number); }

// Copies that threads share have to be done before the first of them tells of it.
bool shares(const Caller& caller, int64_t count) { return caller.threads > 1 && count > kAlone; }

// A thread's part of `count` elements.
void part_of(const Caller& caller, int64_t count, int64_t* begin, int64_t* end) {
  Worker worker{};
  worker.thread = caller.thread, worker.threads = caller.threads;
  worker.share(count, kPiece, begin, end);
}

void tell(uint32_t* word, uint32_t number) {
  __atomic_store_n(word, number, __ATOMIC_RELEASE);
  wake(word);
}

void barrier(const Caller& caller) {
  if (caller.team) caller.team->barrier(caller.thread);
}

}  // namespace

int64_t Group::least_bytes(int32_t ranks, int32_t stages) {
  return slots_start(ranks) + 2 * (ranks + stages - 1) * 2 * kLine;
}

Group::Group(void* memory, int64_t bytes, int32_t rank, int32_t ranks, int32_t stages, int64_t deadline_ms)
    : memory_(static_cast<uint8_t*>(memory)),
      rank_(rank),
      ranks_(ranks),
      stages_(stages),
      size_(ranks / stages),
      deadline_ms_(deadline_ms) {
  static_assert(sizeof(Header) <= kLine);
  slot_bytes_ = (bytes - slots_start(ranks)) / (2 * (ranks + stages - 1)) / kLine * kLine;
  slot_elements_ = (slot_bytes_ - kLine) / static_cast<int64_t>(sizeof(float));
}

uint32_t* Group::word_of(int32_t rank, Word word) const {
  return reinterpret_cast<uint32_t*>(memory_ + kLine + rank * kLine) + word;
}

uint8_t* Group::slot(int64_t pair, uint32_t number) const {
  return memory_ + slots_start(ranks_) + (2 * pair + static_cast<int64_t>(number & 1)) * slot_bytes_;
}

Turns Group::turns() const {
  return {load(word_of(rank_, kMet)), load(word_of(rank_, kSent)), load(word_of(rank_, kRead))};
}

uint32_t Group::abort_word() const { return load(reinterpret_cast<const uint32_t*>(memory_)); }

bool Group::broken() {
  if (!failed() && abort_word() != 0) aborted(-1, turns().all());
  return failed();
}

// `waited_for`: the rank, or -1. False, for `wait`.
bool Group::aborted(int32_t waited_for, uint32_t turn) {
  const uint32_t word = abort_word();
  std::string why = "the group was aborted";
  if (word & kByRank) why = "rank " + text(word & ~kByRank) + " gave up";
  if (waited_for >= 0) why += " while rank " + text(rank_) + " waited for rank " + text(waited_for);
  fail(turn, why);
  return false;
}

void Group::fail(uint32_t turn, const std::string& reason) {
  if (failing_.exchange(true)) return;
  reason_ = reason;
  failed_.store(kFailed | turn, std::memory_order_release);
  // The others then need not wait for their deadlines.
  uint32_t* word = reinterpret_cast<uint32_t*>(memory_);
  uint32_t fine = 0;
  __atomic_compare_exchange_n(word, &fine, kByRank | static_cast<uint32_t>(rank_), false, __ATOMIC_RELEASE,
                              __ATOMIC_RELAXED);
  for (int32_t rank = 0; rank < ranks_; rank++)
    for (const Word waited : {kMet, kSent, kRead}) wake(word_of(rank, waited));
}

// Not whether it has failed by now: another thread may be a turn ahead.
bool Group::failed_by(uint32_t turn) const {
  const uint64_t failed = failed_.load(std::memory_order_acquire);
  return failed != 0 && reached(turn, static_cast<uint32_t>(failed));
}

// Every thread of every rank waits for itself: none burns a core in its team's barrier for a rank that wants to run there.
bool Group::wait(int32_t rank, Word word, uint32_t number, const std::string& what, uint32_t turn,
                 Patience* patience) {
  const uint32_t* const at = word_of(rank, word);
  for (uint32_t seen = load(at); !reached(seen, number); seen = load(at)) {
    if (patience->spins++ < kSpins) {
      pause_briefly();
      continue;
    }
    const int64_t time = now();
    if (patience->deadline == 0) patience->deadline = time + deadline_ms_ * 1000000;
    // What has come counts: it may have, and then somebody have given up.
    if (abort_word() != 0 && !reached(load(at), number)) return aborted(rank, turn);
    if (time >= patience->deadline) {
      fail(turn, "rank " + text(rank) + " of " + text(ranks_) + " did not " + what + " within " + text(deadline_ms_) +
                     " ms");
      return false;
    }
    sleep_on(at, seen, std::min(kSliceNanoseconds, patience->deadline - time));
  }
  return true;
}

bool Group::gather(const Gather& mine, Turns* turns, const Caller& caller) {
  const std::string what = "come to gather " + text(mine.index);
  // As many meetings as the slots of the rank with the most columns need; the first one tells.
  for (int64_t meeting = 0, meetings = 1; meeting < meetings; meeting++) {
    const int64_t begin = meeting * slot_elements_;
    ++turns->met;
    bring(mine, begin, turns->met, caller);
    Patience patience;
    bool here = true;
    for (int32_t rank = first_rank(); here && rank < first_rank() + size_; rank++)
      here = wait(rank, kMet, turns->met, what, turns->all(), &patience);
    if (here) take(mine, begin, *turns, caller, &meetings);
    barrier(caller);
    if (failed_by(turns->all())) return false;
  }
  return true;
}

void Group::bring(const Gather& mine, int64_t begin, uint32_t number, const Caller& caller) {
  uint8_t* slot = meeting_slot(rank_, number);
  const int64_t count = std::min(slot_elements_, std::max<int64_t>(0, mine.rows * mine.own - begin));
  const bool shared = shares(caller, count);
  int64_t from = 0, to = count;
  if (shared) part_of(caller, count, &from, &to);
  if (shared || caller.thread == 0) {
    float* floats = reinterpret_cast<float*>(slot + kLine) + from;
    by_rows(begin + from, begin + to, mine.own, [&](int64_t row, int64_t column, int64_t at, int64_t elements) {
      copy_floats(floats + at, mine.x + row * mine.x_stride + column, elements);
    });
  }
  if (shared) barrier(caller);
  if (caller.thread != 0) return;
  const Header header = {mine.rows, mine.own, mine.columns, mine.first, mine.index, number};
  std::memcpy(slot, &header, sizeof header);
  tell(word_of(rank_, kMet), number);
}

std::string Group::brings(int32_t rank, const Header& header) {
  return "rank " + text(rank) + " brings columns " + text(header.first) + ".." + text(header.first + header.own - 1) +
         " of " + text(header.columns) + " with T " + text(header.rows) + " to gather " + text(header.index);
}

bool Group::take(const Gather& mine, int64_t begin, const Turns& turns, const Caller& caller, int64_t* meetings) {
  const uint32_t number = turns.met, turn = turns.all();
  const Header ours = {mine.rows, mine.own, mine.columns, mine.first, mine.index, number};
  const int32_t first_one = first_rank(), last_one = first_one + size_ - 1;
  Header before = {};
  int64_t first = 0;
  for (int32_t rank = first_one; rank <= last_one; rank++) {
    const uint8_t* slot = meeting_slot(rank, number);
    Header theirs;
    std::memcpy(&theirs, slot, sizeof theirs);  // once: what is checked is what is used
    if (theirs.number != number) {  // their slots lie elsewhere: their memory has another size
      fail(turn, "the ranks disagree: rank " + text(rank) + " is at meeting " + text(theirs.number) + ", rank " +
                     text(rank_) + " at " + text(number));
      return false;
    }
    if (theirs.index != mine.index || theirs.rows != mine.rows || theirs.columns != mine.columns) {
      fail(turn, "the ranks disagree: " + brings(rank_, ours) + ", " + brings(rank, theirs));
      return false;
    }
    const int64_t room = mine.columns - first;
    if (theirs.first != first || theirs.own < 1 || theirs.own > room || (rank == last_one && theirs.own != room)) {
      const std::string other = rank > first_one ? brings(rank - 1, before) + ", " : "";
      fail(turn, "the columns of the ranks do not lie side by side: " + other + brings(rank, theirs));
      return false;
    }
    const int64_t total = theirs.rows * theirs.own;
    *meetings = std::max(*meetings, (total + slot_elements_ - 1) / slot_elements_);
    int64_t from, to;
    part_of(caller, std::min(slot_elements_, std::max<int64_t>(0, total - begin)), &from, &to);
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

bool Group::send(const Rows& x, Turns* turns, const Caller& caller) {
  if (rank_ != first_rank()) return true;
  const int64_t total = x.rows * x.columns;
  const int32_t next = first_rank() + size_;
  // One message at least: rows of none are rows that the others wait for.
  for (int64_t begin = 0; begin == 0 || begin < total; begin += slot_elements_) {
    ++turns->sent;
    Patience patience;
    bool read = true;
    for (int32_t rank = next; read && rank < next + size_; rank++)
      read = wait(rank, kRead, turns->sent - 2, "read what rank " + text(rank_) + " has sent", turns->all(), &patience);
    uint8_t* const slot = message_slot(stage(), turns->sent);
    const int64_t count = std::min(slot_elements_, total - begin);
    const bool shared = shares(caller, count);
    int64_t from = 0, to = count;
    if (shared) part_of(caller, count, &from, &to);
    if (read && (shared || caller.thread == 0)) {
      float* floats = reinterpret_cast<float*>(slot + kLine) + from;
      by_rows(begin + from, begin + to, x.columns, [&](int64_t row, int64_t column, int64_t at, int64_t elements) {
        copy_floats(floats + at, x.data + row * x.stride + column, elements);
      });
    }
    barrier(caller);
    if (failed_by(turns->all())) return false;
    if (caller.thread != 0) continue;
    const Header header = {x.rows, x.columns, x.columns, 0, x.index, turns->sent};
    std::memcpy(slot, &header, sizeof header);
    tell(word_of(rank_, kSent), turns->sent);
  }
  return true;
}

bool Group::receive(const Rows& y, Turns* turns, const Caller& caller) {
  const int64_t total = y.rows * y.columns;
  const int32_t sender = first_rank() - size_;
  const std::string what = "send to rank " + text(rank_);
  for (int64_t begin = 0; begin == 0 || begin < total; begin += slot_elements_) {
    ++turns->read;
    Patience patience;
    if (wait(sender, kSent, turns->read, what, turns->all(), &patience)) take_message(y, begin, *turns, caller);
    barrier(caller);
    if (failed_by(turns->all())) return false;
    if (caller.thread == 0) tell(word_of(rank_, kRead), turns->read);
  }
  return true;
}

bool Group::take_message(const Rows& y, int64_t begin, const Turns& turns, const Caller& caller) {
  const int32_t sender = first_rank() - size_;
  const uint8_t* const slot = message_slot(stage() - 1, turns.read);
  Header theirs;
  std::memcpy(&theirs, slot, sizeof theirs);
  if (theirs.number != turns.read) {
    fail(turns.all(), "the ranks disagree: rank " + text(sender) + " sends message " + text(theirs.number) + ", rank " +
                          text(rank_) + " reads " + text(turns.read));
    return false;
  }
  if (theirs.rows != y.rows || theirs.columns != y.columns || theirs.index != y.index) {
    const auto has = [](int32_t rank, const char* does, int64_t columns, int64_t rows, int64_t index) {
      return "rank " + text(rank) + does + text(columns) + " columns with T " + text(rows) + " as its number " +
             text(index);
    };
    fail(turns.all(), "the ranks disagree: " + has(sender, " sends ", theirs.columns, theirs.rows, theirs.index) +
                          ", " + has(rank_, " receives ", y.columns, y.rows, y.index));
    return false;
  }
  int64_t from, to;
  part_of(caller, std::min(slot_elements_, y.rows * y.columns - begin), &from, &to);
  const float* floats = reinterpret_cast<const float*>(slot + kLine) + from;
  by_rows(begin + from, begin + to, y.columns, [&](int64_t row, int64_t column, int64_t at, int64_t elements) {
    copy_floats(y.data + row * y.stride + column, floats + at, elements);
  });
  return true;
}

}  // namespace octavo
