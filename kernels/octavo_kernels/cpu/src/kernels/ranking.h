// Ids of a row in order: larger logits first, the lower id on ties. NaN counts as minus infinity.
#pragma once

#include <cstring>

#include "partial.h"

namespace octavo::OCTAVO_ISA {

struct Candidate {
  float logit;
  int32_t id;
};

// The largest of a row but NaN; minus infinity when there is nothing else.
inline float largest_of(const float* row, int64_t count) {
  const float lowest = -__builtin_inff();
  // Four at a time: the comparison's latency is longer than a load.
  F32x16 most[4] = {set1(lowest), set1(lowest), set1(lowest), set1(lowest)};
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    for (int j = 0; j < 4; j++) {
      const F32x16 x = load(row + i + 16 * j);
      most[j] = select(gt(x, most[j]), x, most[j]);
    }
  }
  for (; i < count; i += 16) {
    const F32x16 x = load_part(row + i, count - i, lowest);
    most[0] = select(gt(x, most[0]), x, most[0]);
  }
  return reduce_max(max(max(most[0], most[1]), max(most[2], most[3])));
}

// Whether no element is NaN or infinite.
inline bool all_finite(const float* row, int64_t count) {
  const I32x16 magnitude = set1_i32(INT32_MAX);
  // Bits of magnitudes are ordered as the magnitudes are, infinity and NaN last.
  I32x16 most[4] = {set1_i32(0), set1_i32(0), set1_i32(0), set1_i32(0)};
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    for (int j = 0; j < 4; j++) most[j] = max_i32(most[j], bit_and(bits(load(row + i + 16 * j)), magnitude));
  }
  for (; i < count; i += 16) most[0] = max_i32(most[0], bit_and(bits(load_part(row + i, count - i, 0)), magnitude));
  const I32x16 largest = max_i32(max_i32(most[0], most[1]), max_i32(most[2], most[3]));
  return !any(gt_i32(largest, set1_i32(0x7f7fffff)));
}

// The lowest id of the largest logit; 0 when there is none above minus infinity.
inline int32_t argmax(const float* row, int64_t count) {
  const F32x16 most = set1(largest_of(row, count));
  for (int64_t i = 0; i < count; i += 16) {
    const unsigned equal = mask_bits(eq(load_part(row + i, count - i, __builtin_nanf("")), most));
    if (equal) return static_cast<int32_t>(i) + __builtin_ctz(equal);
  }
  return 0;
}

// The first `wanted` ids in order; returns how many there are. `best` has room for `wanted`, which must be small.
inline int first_candidates(const float* row, int64_t count, int wanted, Candidate* best) {
  int found = 0;
  const auto insert = [&](float logit, int32_t id) {
    int low = 0, high = found;
    while (low < high) {  // after those that are as large: their ids are lower
      const int middle = (low + high) / 2;
      if (best[middle].logit >= logit) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (found < wanted) found++;
    std::memmove(best + low + 1, best + low, sizeof(Candidate) * (found - 1 - low));
    best[low] = {logit, id};
  };
  int64_t i = 0;
  for (; i < count && found < wanted; i++)
    insert(row[i] == row[i] ? row[i] : -__builtin_inff(), static_cast<int32_t>(i));
  if (wanted == 0) return 0;
  F32x16 last = set1(best[found - 1].logit);
  for (; i < count; i += 16) {
    unsigned above = mask_bits(gt(load_part(row + i, count - i, -__builtin_inff()), last));
    if (!above) continue;
    for (; above; above &= above - 1) {
      const int64_t id = i + __builtin_ctz(above);
      if (row[id] > best[found - 1].logit) insert(row[id], static_cast<int32_t>(id));
    }
    last = set1(best[found - 1].logit);
  }
  return found;
}

// An integer that grows as the float falls.
inline uint32_t descending_key(float x) {
  x += 0.0f;  // minus zero is zero
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

// Puts candidates of ascending ids in order. `spare` has room for `count`; the result is in `candidates`.
inline void sort_candidates(Candidate* candidates, int64_t count, Candidate* spare) {
  if (count <= 64) {
    for (int64_t i = 1; i < count; i++) {
      const Candidate x = candidates[i];
      int64_t j = i;
      for (; j > 0 && candidates[j - 1].logit < x.logit; j--) candidates[j] = candidates[j - 1];
      candidates[j] = x;
    }
    return;
  }
  // By radix from the lowest byte: stable, linear, four passes of which those with one value are left out.
  Candidate *from = candidates, *to = spare;
  for (int shift = 0; shift < 32; shift += 8) {
    int64_t place[256] = {};
    for (int64_t i = 0; i < count; i++) place[descending_key(from[i].logit) >> shift & 255]++;
    if (place[descending_key(from[0].logit) >> shift & 255] == count) continue;
    int64_t sum = 0;
    for (int64_t& p : place) {
      const int64_t size = p;
      p = sum;
      sum += size;
    }
    for (int64_t i = 0; i < count; i++) to[place[descending_key(from[i].logit) >> shift & 255]++] = from[i];
    Candidate* swap = from;
    from = to;
    to = swap;
  }
  if (from != candidates) std::memcpy(candidates, from, sizeof(Candidate) * count);
}

}  // namespace octavo::OCTAVO_ISA
