// The inner loops of attention: a few rows times columns of 16, exact sums of products of pairs of 16-bit integers.
#pragma once

#include <cstdint>

namespace octavo::OCTAVO_ISA {

#define OCTAVO_INLINE inline __attribute__((always_inline))

// Sums of 16 integers that the registers hold beside the operands.
#if defined(OCTAVO_AVX512)
inline constexpr int attention_sums = 24;
#else
inline constexpr int attention_sums = 6;
#endif
// Most rows of a tile.
inline constexpr int attention_tile_rows = 6;
// Columns (of 16) that a tile of `rows` rows takes at once.
constexpr int attention_tile_columns(int rows) {
  return 12 * rows <= attention_sums ? 8 : 4 * rows <= attention_sums ? 4 : 2 * rows <= attention_sums ? 2 : 1;
}

// sum[r][c] += pair k of row r of `a` times the 16 pairs at b[c] + k * b_stride, for k < count. T: int16_t or int8_t.
template <int R, int C, class T>
OCTAVO_INLINE void multiply_pairs(I32x16 (&sum)[R][C], const int16_t* a, int64_t a_stride, const T* const (&b)[C],
                                  int64_t b_stride, int count) {
  for (int k = 0; k < count; k++) {
    Pairs column[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) column[c] = load_pairs(b[c] + k * b_stride);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      const auto pair = load_pair(a + r * a_stride + 2 * k);
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) sum[r][c] = dot(sum[r][c], column[c], pair);
    }
  }
}

template <int R, int C>
OCTAVO_INLINE void clear(I32x16 (&sum)[R][C]) {
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c] = set1_i32(0);
  }
}

// Sums of R rows of q with the 16 keys of each of C pages: a page is [pairs][16][2].
template <int R, int C, class T>
inline void score_tile(int32_t* sums, int64_t sum_stride, const int16_t* q, int64_t q_stride, const T* const* pages,
                       int first, int pairs) {
  I32x16 sum[R][C];
  const T* page[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; c++) page[c] = pages[first + c];
  clear(sum);
  multiply_pairs<R, C>(sum, q, q_stride, page, 2 * page_size, pairs);
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) store_i32(sums + r * sum_stride + page_size * (first + c), sum[r][c]);
  }
}

// As score_tile for the pages [page, end), several at once where the registers allow it.
template <int R, class T>
inline void score_rows(int32_t* sums, int64_t sum_stride, const int16_t* q, int64_t q_stride, const T* const* pages,
                       int page, int end, int pairs) {
  constexpr int C = attention_tile_columns(R);
  for (; page + C <= end; page += C) score_tile<R, C>(sums, sum_stride, q, q_stride, pages, page, pairs);
  if constexpr (C > 4) {
    for (; page + 4 <= end; page += 4) score_tile<R, 4>(sums, sum_stride, q, q_stride, pages, page, pairs);
  }
  if constexpr (C > 2) {
    for (; page + 2 <= end; page += 2) score_tile<R, 2>(sums, sum_stride, q, q_stride, pages, page, pairs);
  }
  if constexpr (C > 1) {
    for (; page < end; page++) score_tile<R, 1>(sums, sum_stride, q, q_stride, pages, page, pairs);
  }
}

// Pages of values, each [8 pairs of positions][head_dim][2], and pairs [first, end) of their positions.
template <class T>
struct ValuePairs {
  const T* const* pages;
  int head_dim;
  int first, end;
};

// What the weights of R rows give of 16 C elements from `element` on; `body(r, c, sum)` takes it.
template <int R, int C, class T, class Body>
OCTAVO_INLINE void value_tile(const int16_t* weights, int64_t weight_stride, const ValuePairs<T>& values, int element,
                              const Body& body) {
  constexpr int page_pairs = page_size / 2;
  I32x16 sum[R][C];
  clear(sum);
  for (int pair = values.first; pair < values.end;) {
    const int page = pair / page_pairs;
    const int stop = (page + 1) * page_pairs < values.end ? (page + 1) * page_pairs : values.end;
    const int64_t stride = 2 * static_cast<int64_t>(values.head_dim);
    const int64_t place = pair % page_pairs * stride + 2 * element;
    const T* column[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) column[c] = values.pages[page] + place + 32 * c;
    multiply_pairs<R, C>(sum, weights + 2 * pair, weight_stride, column, stride, stop - pair);
    pair = stop;
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) body(r, c, sum[r][c]);
  }
}

// The last elements of a head that is no multiple of 16.
template <class T, class Body>
inline void value_tail(int rows, const int16_t* weights, int64_t weight_stride, const ValuePairs<T>& values,
                       int element, const Body& body) {
  constexpr int page_pairs = page_size / 2;
  I32x16 sum[attention_tile_rows];
  for (int r = 0; r < rows; r++) sum[r] = set1_i32(0);
  for (int pair = values.first; pair < values.end; pair++) {
    const int64_t place = pair % page_pairs * 2 * static_cast<int64_t>(values.head_dim) + 2 * element;
    const Pairs column = load_pairs_first(values.pages[pair / page_pairs] + place, values.head_dim - element);
    for (int r = 0; r < rows; r++) sum[r] = dot(sum[r], column, load_pair(weights + r * weight_stride + 2 * pair));
  }
  for (int r = 0; r < rows; r++) body(r, sum[r]);
}

// Calls body with a type whose `value` is `rows`, 1 to attention_tile_rows.
template <int n>
struct Count {
  static constexpr int value = n;
};
template <class Body>
OCTAVO_INLINE void with_rows(int rows, const Body& body) {
  switch (rows) {
    case 1: return body(Count<1>());
    case 2: return body(Count<2>());
    case 3: return body(Count<3>());
    case 4: return body(Count<4>());
    case 5: return body(Count<5>());
    default: return body(Count<6>());
  }
}

// Tiles of at most attention_tile_rows rows, even in size.
template <class Body>
OCTAVO_INLINE void each_tile(int rows, const Body& body) {
  const int tiles = (rows + attention_tile_rows - 1) / attention_tile_rows;
  for (int t = 0, first = 0; t < tiles; t++) {
    const int end = rows * (t + 1) / tiles;
    body(first, end - first);
    first = end;
  }
}

}  // namespace octavo::OCTAVO_ISA
