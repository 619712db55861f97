// Functions of 16 lanes that are made of the operations of the vector headers only, so that every instruction set gives
// equal bits. Coefficients: Cephes 2.8 single precision (S. L. Moshier), public domain.
#pragma once

#include <cstdint>

namespace octavo::OCTAVO_ISA {

// c[0] x^(n-1) + ... + c[n-1], by fma.
template <int n>
inline F32x16 polynomial(F32x16 x, const float (&c)[n]) {
  F32x16 y = set1(c[0]);
  for (int i = 1; i < n; i++) y = fma(y, x, set1(c[i]));
  return y;
}

inline constexpr float exp_coefficients[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                             4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
inline constexpr float exp_log2_e = 1.44269504088896341f, exp_ln2_high = 0.693359375f, exp_ln2_low = -2.12194440e-4f;
inline constexpr float exp_underflow = -87.3f;

// e^x within 2 ulp: 2^n e^r, n = rint(x / ln 2), r by a two-part ln 2. Below -87.3 it is 0, at 0 exactly 1; above 88.73
// infinity; NaN stays.
inline F32x16 exp_of_rest(F32x16 x, F32x16 n) {
  F32x16 r = fnma(n, set1(exp_ln2_high), x);
  r = fnma(n, set1(exp_ln2_low), r);
  return add(fma(polynomial(r, exp_coefficients), mul(r, r), r), set1(1.0f));
}
#if defined(OCTAVO_AVX512)
inline F32x16 exp(F32x16 x) {
  const F32x16 clamped = clamp_keeping_nan(x, -87.5f, 89.0f), n = round(mul(clamped, set1(exp_log2_e)));
  return times_power_of_two(exp_of_rest(clamped, n), n, not_below(x, exp_underflow));
}
#else
inline F32x16 exp(F32x16 x) {
  const Mask16 number = eq(x, x);
  const F32x16 clamped = min(max(select(number, x, zero()), set1(-87.5f)), set1(89.0f));
  const F32x16 n = round(mul(clamped, set1(exp_log2_e))), y = exp_of_rest(clamped, n);
  // In two factors, for 2^128 is not a float.
  const I32x16 whole = to_i32(n), half = shift_right<1>(whole), bias = set1_i32(127);
  const F32x16 first = as_f32(shift_left<23>(add(half, bias)));
  const F32x16 second = as_f32(shift_left<23>(add(sub(whole, half), bias)));
  const F32x16 scaled = mul(mul(y, first), second);
  return select(number, select(lt(x, set1(exp_underflow)), zero(), scaled), x);
}

// What AVX-512 has instructions for.
inline void store_i8(int8_t* p, I32x16 a, I32x16 b, I32x16 c, I32x16 d) {
  store_i8(p, a), store_i8(p + 16, b), store_i8(p + 32, c), store_i8(p + 48, d);
}
inline void reduce_add(F32x16 a, F32x16 b, float* sum_of_a, float* sum_of_b) {
  *sum_of_a = reduce_add(a), *sum_of_b = reduce_add(b);
}
#endif

inline F32x16 copy_sign(F32x16 magnitude, F32x16 sign) {
  return as_f32(bit_or(bits(magnitude), bit_and(bits(sign), set1_i32(INT32_MIN))));
}

// Within 2 ulp: a polynomial below 0.625, above it 1 - 2 / (e^2|x| + 1).
inline F32x16 tanh(F32x16 x) {
  constexpr float coefficients[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                                    -3.33332819422e-1f};
  const F32x16 a = abs(x), square = mul(x, x);
  const F32x16 small = fma(mul(polynomial(square, coefficients), square), x, x);
  const F32x16 large = sub(set1(1.0f), div(set1(2.0f), add(exp(add(a, a)), set1(1.0f))));
  return select(lt(a, set1(0.625f)), small, copy_sign(large, x));
}

// 1 - erf(a) for a >= 0: a polynomial below 1, above it e^-a^2 / a times one in 1 / a^2.
inline F32x16 erfc_of_positive(F32x16 a) {
  constexpr float inner[] = {7.853861353153693e-5f, -8.010193625184903e-4f, 5.188327685732524e-3f, -2.685381193529856e-2f,
                             1.128358514861418e-1f, -3.761262582423300e-1f, 1.128379165726710e+0f};
  constexpr float middle[] = {2.326819970068386e-2f, -1.387039388740657e-1f, 3.687424674597105e-1f,
                              -5.824733027278666e-1f, 6.210004621745983e-1f, -4.944515323274145e-1f,
                              3.404879937665872e-1f, -2.741127028184656e-1f, 5.638259427386472e-1f};
  constexpr float outer[] = {-1.047766399936249e+1f, 1.297719955372516e+1f, -7.495518717768503e+0f,
                             2.921019019210786e+0f,  -1.015265279202700e+0f, 4.218463358204948e-1f,
                             -2.820767439740514e-1f, 5.641895067754075e-1f};
  const F32x16 square = mul(a, a);
  const F32x16 near = fnma(a, polynomial(square, inner), set1(1.0f));
  const F32x16 safe = max(a, set1(1.0f)), inverse = div(set1(1.0f), safe), inverse_square = mul(inverse, inverse);
  const F32x16 tail = select(lt(a, set1(2.0f)), polynomial(inverse_square, middle), polynomial(inverse_square, outer));
  const F32x16 far = mul(mul(exp(neg(mul(safe, safe))), inverse), tail);
  return select(lt(a, set1(1.0f)), near, select(eq(a, a), far, a));
}

inline F32x16 silu(F32x16 x) { return div(x, add(set1(1.0f), exp(neg(x)))); }

// x times the normal distribution up to x; the tail on the left keeps its relative accuracy.
inline F32x16 gelu(F32x16 x) {
  const F32x16 tail = mul(set1(0.5f), erfc_of_positive(mul(abs(x), set1(0.70710678118654752f))));
  return mul(x, select(lt(x, zero()), tail, sub(set1(1.0f), tail)));
}

inline F32x16 gelu_tanh(F32x16 x) {
  const F32x16 inner = mul(set1(0.79788456080286536f), fma(mul(mul(x, x), x), set1(0.044715f), x));
  return mul(mul(set1(0.5f), x), add(set1(1.0f), tanh(inner)));
}

// Minus infinity becomes NaN (x - x), for as 0 it would pass for a number.
inline F32x16 relu(F32x16 x) { return select(lt(x, zero()), sub(x, x), x); }

// Adds numbers in adjacent pairs, then pairs of pairs, as if padded with zeros to a power of two, while they come in.
class PairwiseSum {
 public:
  void push(float value) {
    int level = 0;
    for (int64_t bits = count_; bits & 1; bits >>= 1) value = level_[level++] + value;
    level_[level] = value;
    count_++;
  }
  float finish() const {
    int top = 0;
    while ((int64_t{1} << top) < count_) top++;
    if (count_ == (int64_t{1} << top)) return level_[top];
    bool some = false;
    float value = 0.0f;
    for (int level = 0; level < top; level++) {
      if (count_ >> level & 1) {
        value = level_[level] + value;
        some = true;
      } else if (some) {
        value += 0.0f;
      }
    }
    return value;
  }

 private:
  // level_[l] is the sum of 2^l numbers, valid where bit l of the count is set.
  float level_[40];
  int64_t count_ = 0;
};

// Sums of a row by blocks of 64 columns (docs/numerics.md, "Block sums"): four vectors, the tree over lanes, then pairs of blocks.
template <class Accumulate>
inline float sum_by_blocks(const float* x, int64_t columns, Accumulate accumulate) {
  PairwiseSum sum;
  int64_t k = 0;
  for (; k + 64 <= columns; k += 64) {
    F32x16 acc = zero();
    for (int i = 0; i < 4; i++) acc = accumulate(acc, load(x + k + 16 * i));
    sum.push(reduce_add(acc));
  }
  if (k < columns || columns == 0) {
    F32x16 acc = zero();
    for (int i = 0; i < 4; i++) {
      const int64_t left = columns - k - 16 * i;
      const int lanes = left >= 16 ? 16 : left > 0 ? static_cast<int>(left) : 0;
      acc = accumulate(acc, load_first(x + k + 16 * i, lanes, 0.0f));
    }
    sum.push(reduce_add(acc));
  }
  return sum.finish();
}
inline float blocksum(const float* x, int64_t columns) {
  return sum_by_blocks(x, columns, [](F32x16 acc, F32x16 v) { return add(acc, v); });
}
inline float blocksum_abs(const float* x, int64_t columns) {
  return sum_by_blocks(x, columns, [](F32x16 acc, F32x16 v) { return add(acc, abs(v)); });
}
inline float blocksum_square(const float* x, int64_t columns) {
  return sum_by_blocks(x, columns, [](F32x16 acc, F32x16 v) { return fma(v, v, acc); });
}

}  // namespace octavo::OCTAVO_ISA
