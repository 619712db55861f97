// Ids of a row in order: larger logits first, the lower id on ties. NaN counts as minus infinity.
#pragma once

#include <cstring>

#include "partial.h"

namespace octavo::OCTAVO_ISA {

struct Candidate {
  float logit;
  int32_t id;
};

// What one pass over a row tells.
struct RowPeak {
  float largest;  // but NaN; minus infinity when there is nothing else
  int32_t id;     // the lowest of the largest; 0 when there is none above minus infinity
  bool finite;    // whether no element is NaN or infinite
};

inline RowPeak peak_of(const float* row, int64_t count) {
  constexpr int chains = 4;  // the comparison's latency is longer than a load
  const I32x16 magnitude = set1_i32(INT32_MAX);
  F32x16 most[chains];
  // Bits of magnitudes are ordered as the magnitudes are, infinity and NaN last.
  I32x16 at[chains], bits_of_largest[chains];
  for (int j = 0; j < chains; j++)
    most[j] = set1(-__builtin_inff()), at[j] = set1_i32(0), bits_of_largest[j] = set1_i32(0);
  const auto look = [&](int j, F32x16 x, F32x16 counted, int64_t first) {
    const Mask16 above = gt(x, most[j]);
    most[j] = select(above, x, most[j]);
    at[j] = select(above, set1_i32(static_cast<int32_t>(first)), at[j]);
    bits_of_largest[j] = max_i32(bits_of_largest[j], bit_and(bits(counted), magnitude));
  };
  int64_t i = 0;
  for (; i + 16 * chains <= count; i += 16 * chains) {
    for (int j = 0; j < chains; j++) {
      const F32x16 x = load(row + i + 16 * j);
      look(j, x, x, i + 16 * j);
    }
  }
  for (; i < count; i += 16)
    look(0, load_part(row + i, count - i, -__builtin_inff()), load_part(row + i, count - i, 0), i);
  const float largest = reduce_max(max(max(most[0], most[1]), max(most[2], most[3])));
  int32_t id = INT32_MAX;
  for (int j = 0; j < chains; j++) {
    alignas(64) int32_t first[16];
    store_i32(first, at[j]);
    for (unsigned equal = mask_bits(eq(most[j], set1(largest))); equal; equal &= equal - 1) {
      const int lane = __builtin_ctz(equal);
      id = first[lane] + lane < id ? first[lane] + lane : id;
    }
  }
  const I32x16 pairs[] = {max_i32(bits_of_largest[0], bits_of_largest[1]),
                          max_i32(bits_of_largest[2], bits_of_largest[3])};
  return {largest, id, !any(gt_i32(max_i32(pairs[0], pairs[1]), set1_i32(0x7f7fffff)))};
}

// How many logits of a row are at least `least`.
inline int64_t count_from(const float* row, int64_t count, float least) {
  const F32x16 low = set1(least);
  const I32x16 one = set1_i32(1), none = set1_i32(0);
  I32x16 found[4] = {none, none, none, none};
  int64_t i = 0;
  for (; i + 64 <= count; i += 64)
    for (int j = 0; j < 4; j++) found[j] = add(found[j], select(ge(load(row + i + 16 * j), low), one, none));
  for (; i < count; i += 16)
    found[0] = add(found[0], select(ge(load_part(row + i, count - i, __builtin_nanf("")), low), one, none));
  alignas(64) int32_t lanes[16];
  store_i32(lanes, add(add(found[0], found[1]), add(found[2], found[3])));
  int64_t sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

// A logit from which on a row has at least `wanted`, and no more than twice as many unless they are equal or nearly;
// `low` where it has no more than that from there on. `largest` is the row's.
inline float cut_of(const float* row, int64_t count, int64_t wanted, float low, float largest) {
  if (count_from(row, count, low) <= 2 * wanted) return low;
  float high = largest;
  // Halves the distance of 88 temperatures; below a hundredth of one nearly all that is left are ties.
  for (int halving = 0; halving < 14; halving++) {
    const float middle = low + (high - low) * 0.5f;
    const int64_t found = count_from(row, count, middle);
    if (found < wanted) {
      high = middle;
    } else {
      low = middle;
      if (found <= 2 * wanted) break;
    }
  }
  return low;
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
