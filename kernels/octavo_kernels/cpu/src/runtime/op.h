// What a kernel sees of a step: its operands with the sizes of this step, and what the team shares.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "../generated/ops.h"

namespace octavo {

// On every function here: each instruction set compiles them for itself, and a linker would keep one copy for all.
#define OCTAVO_ALWAYS_INLINE __attribute__((always_inline)) inline

OCTAVO_ALWAYS_INLINE constexpr int64_t round_up_64(int64_t n) { return (n + 63) / 64 * 64; }

// An operand at this step's sizes. `data` is null for an optional operand that is absent.
struct Operand {
  void* data;
  int64_t shape[4];
  // Elements from one row (first dimension) to the next: more than a row's elements for columns of a wider value.
  int64_t stride;
  int32_t rank;
  DType dtype;
  Layout layout;

  template <class T>
  OCTAVO_ALWAYS_INLINE T* as() const {
    return static_cast<T*>(data);
  }
  template <class T>
  OCTAVO_ALWAYS_INLINE T* row(int64_t index) const {
    return static_cast<T*>(data) + index * stride;
  }
  OCTAVO_ALWAYS_INLINE explicit operator bool() const { return data != nullptr; }
};

// One op. Operands and attributes by the indices of generated/ops.h; enum attributes hold the value's index, booleans 0
// or 1.
struct OpCall {
  OpCode code;
  Operand in[max_inputs];
  Operand out[max_outputs];
  double attribute[max_attributes];

  OCTAVO_ALWAYS_INLINE bool flag(int index) const { return attribute[index] != 0; }
  OCTAVO_ALWAYS_INLINE int32_t integer(int index) const { return static_cast<int32_t>(attribute[index]); }
  OCTAVO_ALWAYS_INLINE float number(int index) const { return static_cast<float>(attribute[index]); }
};

// Counted by each thread on its own, summed after the step. A cache line each.
struct alignas(64) StepCounters {
  int64_t quantized;
  int64_t carries;
  int64_t nonfinite;
};

// One thread's view of a phase of an op. Which thread does which item must never influence bits.
struct Worker {
  int thread;
  int threads;
  // Which phase of the op this is, 0 first; a team barrier lies between two phases.
  int phase;
  // Of this thread, and one for the whole team: as many bytes as protocol/workspace.ts says for the op, 64-byte aligned,
  // kept from phase to phase. Not zeroed.
  uint8_t* scratch;
  uint8_t* shared;
  StepCounters* counters;
  // Zero when the phase begins.
  std::atomic<int64_t>* cursor;

  // The next `chunk` items of `count` that no thread has taken; false when none are left.
  OCTAVO_ALWAYS_INLINE bool next(int64_t count, int64_t chunk, int64_t* begin, int64_t* end) const {
    const int64_t first = cursor->fetch_add(chunk, std::memory_order_relaxed);
    if (first >= count) return false;
    *begin = first;
    *end = first + chunk < count ? first + chunk : count;
    return true;
  }
  // The same with a part of the work of its own for each thread: piece `*piece` of the `pieces` that `*owner` has. A thread
  // takes its own in order, so that it finds near what it has written before, and then those that others are the last to
  // come to. For at most 64 pieces in all.
  OCTAVO_ALWAYS_INLINE bool next_near(int pieces, int* owner, int* piece) const {
    for (int other = 0; other < threads; other++) {
      *owner = thread + other < threads ? thread + other : thread + other - threads;
      for (int i = 0; i < pieces; i++) {
        *piece = other == 0 ? i : pieces - 1 - i;
        const auto bit = static_cast<int64_t>(uint64_t{1} << (*owner * pieces + *piece));
        if (cursor->load(std::memory_order_relaxed) & bit) continue;
        if (!(cursor->fetch_or(bit, std::memory_order_relaxed) & bit)) return true;
      }
    }
    return false;
  }
  // This thread's share of `count` items in `threads` even pieces, whole multiples of `multiple`.
  OCTAVO_ALWAYS_INLINE void share(int64_t count, int64_t multiple, int64_t* begin, int64_t* end) const {
    share_of(thread, count, multiple, begin, end);
  }
  OCTAVO_ALWAYS_INLINE void share_of(int owner, int64_t count, int64_t multiple, int64_t* begin, int64_t* end) const {
    const int64_t units = (count + multiple - 1) / multiple;
    *begin = units * owner / threads * multiple;
    *end = units * (owner + 1) / threads * multiple;
    if (*begin > count) *begin = count;
    if (*end > count) *end = count;
  }
};

// Runs on every thread of the team, once for each phase.
using Kernel = void (*)(const OpCall& call, const Worker& worker);

// A program has this many cursors for each of its ops.
inline constexpr int max_phases = 4;

// A kernel as the executor knows it.
struct KernelEntry {
  Kernel run;
  int phases;
  // Row t of its results is made of row t of those operands that have the results' rows, and it needs no memory that the
  // team shares: one thread can do it for some rows.
  bool row_wise;
};

}  // namespace octavo
