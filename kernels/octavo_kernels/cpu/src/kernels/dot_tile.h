// The inner loop of linear_int8: a few rows of digits times a few panels of 16 weight columns, sums in registers.
//
// dot_tile<rows, panels>: sums[r][p][i] += sum over groups g and j of digits[r * stride + 4g + j] * weight(p, g, i, j).
// Weights lie [group][16][4] in each panel. `ahead` is where the next panels lie: `ahead_step` bytes of each are
// fetched per group meanwhile, for the hardware's prefetchers start anew with every panel.
//
// x86 inner loops are a few lines of assembly per row: gcc 12 moves the sums of the same loop with intrinsics to the
// stack and back (measured on Zen 5, 8 rows: 280 against 490 GOPS a thread, the fetching included).
#pragma once

#include <cstdint>

namespace octavo::OCTAVO_ISA {

#if defined(OCTAVO_AVX512)

// 24 sums, 3 weights, 1 broadcast and the offset of the 32 registers.
inline constexpr int dot_tile_rows = 8, dot_tile_panels = 3;

template <int panels>
struct DotRow {
  __m512i a, b, c;

  void load(const int32_t* sums) {
    a = _mm512_loadu_si512(sums);
    if constexpr (panels > 1) b = _mm512_loadu_si512(sums + 16);
    if constexpr (panels > 2) c = _mm512_loadu_si512(sums + 32);
  }
  void store(int32_t* sums) const {
    _mm512_storeu_si512(sums, a);
    if constexpr (panels > 1) _mm512_storeu_si512(sums + 16, b);
    if constexpr (panels > 2) _mm512_storeu_si512(sums + 32, c);
  }
};

#define OCTAVO_ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define OCTAVO_LOAD(r) \
  DotRow<panels> row##r; \
  if constexpr (rows > r) row##r.load(sums + r * panels * 16);
#define OCTAVO_STORE(r) \
  if constexpr (rows > r) row##r.store(sums + r * panels * 16);
// Rows are at most two strides from one of three pointers: addresses that an instruction can hold.
#define OCTAVO_DOT(r)                                                                                           \
  if constexpr (rows > r) {                                                                                     \
    const int8_t* const at = (r < 3 ? x0 : r < 6 ? x3 : x6) + r % 3 * stride;                                   \
    const auto& four = *reinterpret_cast<const int8_t(*)[4]>(at);                                               \
    __m512i x;                                                                                                  \
    if constexpr (panels == 1) {                                                                                \
      asm("vpbroadcastd %[four], %[x]\n\tvpdpbusd %[x], %[u], %[a]"                                             \
          : [a] "+v"(row##r.a), [x] "=&v"(x) : [u] "v"(u), [four] "m"(four));                                   \
    } else if constexpr (panels == 2) {                                                                         \
      asm("vpbroadcastd %[four], %[x]\n\tvpdpbusd %[x], %[u], %[a]\n\tvpdpbusd %[x], %[v], %[b]"                \
          : [a] "+v"(row##r.a), [b] "+v"(row##r.b), [x] "=&v"(x) : [u] "v"(u), [v] "v"(v), [four] "m"(four));   \
    } else {                                                                                                    \
      asm("vpbroadcastd %[four], %[x]\n\tvpdpbusd %[x], %[u], %[a]\n\tvpdpbusd %[x], %[v], %[b]\n\t"            \
          "vpdpbusd %[x], %[w], %[c]"                                                                           \
          : [a] "+v"(row##r.a), [b] "+v"(row##r.b), [c] "+v"(row##r.c), [x] "=&v"(x)                            \
          : [u] "v"(u), [v] "v"(v), [w] "v"(w), [four] "m"(four));                                              \
    }                                                                                                           \
  }

// vpdpbusd multiplies unsigned with signed bytes: weights get 128 more, and the caller takes 128 * sum(digits) away.
template <int rows, int panels>
inline void dot_tile(int32_t* sums, const int8_t* digits, int64_t stride, const int8_t* weights, int64_t panel_bytes,
                     int64_t groups, const int8_t* ahead, int64_t ahead_step) {
  const int8_t *x0 = digits, *x3 = digits + 3 * stride, *x6 = digits + 6 * stride;
  const __m512i offset = _mm512_set1_epi8(-128);
  OCTAVO_ROWS(OCTAVO_LOAD)
  for (const int8_t* const end = weights + 64 * groups; weights != end; weights += 64, ahead += ahead_step) {
    for (int p = 0; p < panels; p++) prefetch_far(ahead + p * panel_bytes);
    const __m512i u = _mm512_xor_si512(_mm512_loadu_si512(weights), offset);
    const __m512i v = panels > 1 ? _mm512_xor_si512(_mm512_loadu_si512(weights + panel_bytes), offset) : u;
    const __m512i w = panels > 2 ? _mm512_xor_si512(_mm512_loadu_si512(weights + 2 * panel_bytes), offset) : u;
    (void)v, (void)w;
    OCTAVO_ROWS(OCTAVO_DOT)
    x0 += 4, x3 += 4, x6 += 4;
  }
  OCTAVO_ROWS(OCTAVO_STORE)
}

#undef OCTAVO_ROWS
#undef OCTAVO_LOAD
#undef OCTAVO_STORE
#undef OCTAVO_DOT

#elif defined(OCTAVO_AVX2)

// 12 sums of 8 columns, a weight, its magnitude, ones, and the product: all 16 registers.
inline constexpr int dot_tile_rows = 6, dot_tile_panels = 1;

#define OCTAVO_ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5)
#define OCTAVO_LOAD(r)                          \
  __m256i low##r = zero, high##r = zero;        \
  if constexpr (rows > r) {                     \
    low##r = load_eight(sums + r * 16);         \
    high##r = load_eight(sums + r * 16 + 8);    \
  }
#define OCTAVO_STORE(r)                       \
  if constexpr (rows > r) {                   \
    store_eight(sums + r * 16, low##r);       \
    store_eight(sums + r * 16 + 8, high##r);  \
  }
// maddubs wants one side unsigned, so the weight's sign moves to the digit; 2 * 127 * 128 fits its 16 bits.
#define OCTAVO_DOT(r, sum)                                                                                       \
  if constexpr (rows > r) {                                                                                      \
    const int8_t* const at = (r < 3 ? x0 : x3) + r % 3 * stride;                                                 \
    __m256i t;                                                                                                   \
    asm("vpbroadcastd %[four], %[t]\n\tvpsignb %[w], %[t], %[t]\n\tvpmaddubsw %[t], %[magnitude], %[t]\n\t"      \
        "vpmaddwd %[ones], %[t], %[t]\n\tvpaddd %[t], %[s], %[s]"                                                \
        : [s] "+x"(sum), [t] "=&x"(t)                                                                            \
        : [w] "x"(w), [magnitude] "x"(magnitude), [ones] "x"(ones),                                              \
          [four] "m"(*reinterpret_cast<const int8_t(*)[4]>(at)));                                                \
  }
#define OCTAVO_DOT_LOW(r) OCTAVO_DOT(r, low##r)
#define OCTAVO_DOT_HIGH(r) OCTAVO_DOT(r, high##r)

inline __m256i load_bytes(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m256i load_eight(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void store_eight(int32_t* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

template <int rows, int panels>
inline void dot_tile(int32_t* sums, const int8_t* digits, int64_t stride, const int8_t* weights, int64_t,
                     int64_t groups, const int8_t* ahead, int64_t ahead_step) {
  static_assert(panels == 1);
  const int8_t *x0 = digits, *x3 = digits + 3 * stride;
  const __m256i ones = _mm256_set1_epi16(1), zero = _mm256_setzero_si256();
  OCTAVO_ROWS(OCTAVO_LOAD)
  for (const int8_t* const end = weights + 64 * groups; weights != end; weights += 64, ahead += ahead_step) {
    prefetch_far(ahead);
    {
      const __m256i w = load_bytes(weights), magnitude = _mm256_abs_epi8(w);
      OCTAVO_ROWS(OCTAVO_DOT_LOW)
    }
    {
      const __m256i w = load_bytes(weights + 32), magnitude = _mm256_abs_epi8(w);
      OCTAVO_ROWS(OCTAVO_DOT_HIGH)
    }
    x0 += 4, x3 += 4;
  }
  OCTAVO_ROWS(OCTAVO_STORE)
}

#undef OCTAVO_ROWS
#undef OCTAVO_LOAD
#undef OCTAVO_STORE
#undef OCTAVO_DOT
#undef OCTAVO_DOT_LOW
#undef OCTAVO_DOT_HIGH

#else

#if defined(OCTAVO_DOTPROD)
inline constexpr int dot_tile_rows = 6, dot_tile_panels = 1;
#else
inline constexpr int dot_tile_rows = 4, dot_tile_panels = 1;
#endif

template <int rows, int panels>
inline void dot_tile(int32_t* sums, const int8_t* digits, int64_t stride, const int8_t* weights, int64_t,
                     int64_t groups, const int8_t* ahead, int64_t ahead_step) {
  static_assert(panels == 1);
  I32x16 sum[rows];
  for (int r = 0; r < rows; r++) sum[r] = load_i32(sums + r * 16);
  for (int64_t group = 0; group < groups; group++) {
    prefetch_far(ahead + ahead_step * group);
    const Int8x64 w = load_group(weights + 64 * group);
    for (int r = 0; r < rows; r++) sum[r] = dot(sum[r], w, load_digits(digits + r * stride + 4 * group));
  }
  for (int r = 0; r < rows; r++) store_i32(sums + r * 16, sum[r]);
}

#endif

}  // namespace octavo::OCTAVO_ISA
