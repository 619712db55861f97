// The inner loops of attention: a few rows times columns of 16, chains of fma over keys or head elements in order.
#pragma once

#include <cstdint>

namespace octavo::OCTAVO_ISA {

#define OCTAVO_INLINE inline __attribute__((always_inline))

// Sums of 16 floats that the registers hold beside the operands.
#if defined(OCTAVO_AVX512)
inline constexpr int attention_sums = 24;
#else
inline constexpr int attention_sums = 6;
#endif
// Most rows of a tile.
inline constexpr int attention_tile_rows = 6;
// Columns (of 16) that a tile of `rows` rows takes at once.
constexpr int attention_tile_columns(int rows) {
  return 4 * rows <= attention_sums ? 4 : 2 * rows <= attention_sums ? 2 : 1;
}

// Elements of K and V: the pages' 16 bits, or floats converted before for many rows.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
OCTAVO_INLINE F32x16 load_lanes(const float* p) { return load(p); }
OCTAVO_INLINE F32x16 load_lanes(const Float16* p) { return load_f16(&p->bits); }
OCTAVO_INLINE F32x16 load_lanes(const BFloat16* p) { return load_bf16(&p->bits); }
OCTAVO_INLINE F32x16 load_lanes_first(const Float16* p, int n) { return load_f16_first(&p->bits, n); }
OCTAVO_INLINE F32x16 load_lanes_first(const BFloat16* p, int n) { return load_bf16_first(&p->bits, n); }

// sum[r][c] = fma(a[r * a_stride + k], b[c][k * b_stride ..], sum[r][c]) for ascending k < count.
template <int R, int C, class T>
OCTAVO_INLINE void multiply_tile(F32x16 (&sum)[R][C], const float* a, int64_t a_stride, const T* const (&b)[C],
                                 int64_t b_stride, int count) {
  for (int k = 0; k < count; k++) {
    F32x16 column[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) column[c] = load_lanes(b[c] + k * b_stride);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      const F32x16 x = set1(a[r * a_stride + k]);
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) sum[r][c] = fma(x, column[c], sum[r][c]);
    }
  }
}

// Scores of R query rows with the 16 keys of each of C pages, times `scale`: a page is [elements][16].
template <int R, int C, class T>
inline void score_tile(float* scores, int64_t score_stride, const float* q, int64_t q_stride, const T* const* pages,
                       int elements, float scale) {
  F32x16 sum[R][C];
  const T* page[C];
#pragma GCC unroll 4
  for (int c = 0; c < C; c++) page[c] = pages[c];
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) sum[r][c] = zero();
  }
  multiply_tile<R, C>(sum, q, q_stride, page, 16, elements);
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) store(scores + r * score_stride + 16 * c, mul(set1(scale), sum[r][c]));
  }
}

// As score_tile for `count` pages, several at once where the registers allow it.
template <int R, class T>
inline void score_rows(float* scores, int64_t score_stride, const float* q, int64_t q_stride, const T* const* pages,
                       int count, int elements, float scale) {
  constexpr int C = attention_tile_columns(R);
  int page = 0;
  for (; page + C <= count; page += C)
    score_tile<R, C>(scores + page_size * page, score_stride, q, q_stride, pages + page, elements, scale);
  if constexpr (C > 2) {
    for (; page + 2 <= count; page += 2)
      score_tile<R, 2>(scores + page_size * page, score_stride, q, q_stride, pages + page, elements, scale);
  }
  if constexpr (C > 1) {
    for (; page < count; page++)
      score_tile<R, 1>(scores + page_size * page, score_stride, q, q_stride, pages + page, elements, scale);
  }
}

// Adds the values of the keys [first, end) of a chunk, weighted by p, to 16 C elements of R output rows.
// `pages[i]` holds the keys 16i.. as [16][value_stride].
template <int R, int C, class T>
inline void value_tile(float* o, int64_t o_stride, const float* p, int64_t p_stride, const T* const* pages,
                       int64_t value_stride, int element, int first, int end) {
  F32x16 sum[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) sum[r][c] = load(o + r * o_stride + element + 16 * c);
  }
  while (first < end) {
    const int page = first / page_size;
    const int stop = (page + 1) * page_size < end ? (page + 1) * page_size : end;
    const T* row = pages[page] + (first % page_size) * value_stride + element;
    const T* column[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) column[c] = row + 16 * c;
    multiply_tile<R, C>(sum, p + first, p_stride, column, value_stride, stop - first);
    first = stop;
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) store(o + r * o_stride + element + 16 * c, sum[r][c]);
  }
}

// All `padded` elements (a multiple of 16) of R rows.
template <int R, class T>
inline void value_rows(float* o, int64_t o_stride, const float* p, int64_t p_stride, const T* const* pages,
                       int64_t value_stride, int padded, int first, int end) {
  constexpr int C = attention_tile_columns(R);
  int element = 0;
  for (; element + 16 * C <= padded; element += 16 * C)
    value_tile<R, C>(o, o_stride, p, p_stride, pages, value_stride, element, first, end);
  if constexpr (C > 1) {
    for (; element < padded; element += 16)
      value_tile<R, 1>(o, o_stride, p, p_stride, pages, value_stride, element, first, end);
  }
}

// Calls body with a type whose `value` is `rows`, 1 to attention_tile_rows.
template <int n>
struct Rows {
  static constexpr int value = n;
};
template <class Body>
OCTAVO_INLINE void with_rows(int rows, const Body& body) {
  switch (rows) {
    case 1: return body(Rows<1>());
    case 2: return body(Rows<2>());
    case 3: return body(Rows<3>());
    case 4: return body(Rows<4>());
    case 5: return body(Rows<5>());
    default: return body(Rows<6>());
  }
}

}  // namespace octavo::OCTAVO_ISA
