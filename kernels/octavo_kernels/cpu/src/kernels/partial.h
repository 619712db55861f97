// The end of a row that is no multiple of 16: whole vectors where there are 16 left, else the first few lanes.
#pragma once

#include <cstdint>
#include <cstring>

#include "../runtime/op.h"

namespace octavo::OCTAVO_ISA {

inline F32x16 load_part(const float* p, int64_t left, float fill) {
  return left >= 16 ? load(p) : load_first(p, static_cast<int>(left), fill);
}

inline void store_part(float* p, F32x16 v, int64_t left) {
  if (left >= 16) {
    store(p, v);
  } else {
    store_first(p, v, static_cast<int>(left));
  }
}

// Columns k ... k + 15 of rows, or as many as are left; zeros beyond.
struct At {
  int64_t k, left;
  OCTAVO_ALWAYS_INLINE F32x16 operator()(const float* row) const { return load_part(row + k, left, 0.0f); }
};

// 64 columns of a row from k on, as body(a, b, c, d), with zeros beyond the row.
template <class Body>
OCTAVO_ALWAYS_INLINE void with_block(const float* x, int64_t k, int64_t columns, Body body) {
  if (k + 64 <= columns) return body(load(x + k), load(x + k + 16), load(x + k + 32), load(x + k + 48));
  alignas(64) float rest[64] = {};
  std::memcpy(rest, x + k, static_cast<size_t>(columns - k) * sizeof(float));
  body(load(rest), load(rest + 16), load(rest + 32), load(rest + 48));
}

// body(a, b, c, d) for each 64 columns; at least once.
template <class Body>
OCTAVO_ALWAYS_INLINE void each_block(const float* x, int64_t columns, Body body) {
  int64_t k = 0;
  do {
    with_block(x, k, columns, body);
    k += 64;
  } while (k < columns);
}

// y = value(At), 16 columns at a time, and body(a, b, c, d) for each 64 of them. y may be what value reads.
template <class Value, class Body>
OCTAVO_ALWAYS_INLINE void make_row(float* y, int64_t columns, Value value, Body body) {
  int64_t k = 0;
  for (; k + 64 <= columns; k += 64) {
    const F32x16 a = value(At{k, 16}), b = value(At{k + 16, 16}), c = value(At{k + 32, 16}), d = value(At{k + 48, 16});
    store(y + k, a), store(y + k + 16, b), store(y + k + 32, c), store(y + k + 48, d);
    body(a, b, c, d);
  }
  if (k == columns) return;
  for (int64_t i = k; i < columns; i += 16) store_part(y + i, value(At{i, columns - i}), columns - i);
  with_block(y, k, columns, body);
}

}  // namespace octavo::OCTAVO_ISA
