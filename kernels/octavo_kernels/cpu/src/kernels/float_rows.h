// Contiguous floats of any float dtype to and from float32.
#pragma once

#include <cstdint>
#include <cstring>

namespace octavo::OCTAVO_ISA {

struct F32Elements {
  using Type = float;
  static F32x16 read(const float* p) { return load(p); }
  static F32x16 read_first(const float* p, int n) { return load_first(p, n, 0.0f); }
  static void write(float* p, F32x16 v) { store(p, v); }
  static void write_first(float* p, F32x16 v, int n) { store_first(p, v, n); }
};
struct F16Elements {
  using Type = uint16_t;
  static F32x16 read(const uint16_t* p) { return load_f16(p); }
  static F32x16 read_first(const uint16_t* p, int n) { return load_f16_first(p, n); }
  static void write(uint16_t* p, F32x16 v) { store_f16(p, v); }
  static void write_first(uint16_t* p, F32x16 v, int n) { store_f16_first(p, v, n); }
};
struct BF16Elements {
  using Type = uint16_t;
  static F32x16 read(const uint16_t* p) { return load_bf16(p); }
  static F32x16 read_first(const uint16_t* p, int n) { return load_bf16_first(p, n); }
  static void write(uint16_t* p, F32x16 v) { store_bf16(p, v); }
  static void write_first(uint16_t* p, F32x16 v, int n) { store_bf16_first(p, v, n); }
};

// y[k] = change(x[k]) for the element types From and To, 16 at a time. y may be x when the types are equal.
template <class From, class To, class Change>
inline void map_elements(const typename From::Type* x, typename To::Type* y, int64_t count, Change change) {
  int64_t k = 0;
  for (; k + 16 <= count; k += 16) To::write(y + k, change(From::read(x + k)));
  const int rest = static_cast<int>(count - k);
  if (rest > 0) To::write_first(y + k, change(From::read_first(x + k, rest)), rest);
}

// Calls body(F32Elements{}) or that of another float dtype.
template <class Body>
inline void with_float_dtype(DType dtype, Body body) {
  switch (dtype) {
    case DType::float16: body(F16Elements{}); return;
    case DType::bfloat16: body(BF16Elements{}); return;
    default: body(F32Elements{}); return;
  }
}

// The address of element `index` of an operand of any float dtype.
inline const void* element(const Operand& operand, int64_t index) {
  return operand.as<uint8_t>() + index * bytes_per_element[static_cast<int>(operand.dtype)];
}

// `count` floats of `dtype` as float32.
inline void widen(const void* x, DType dtype, float* y, int64_t count) {
  with_float_dtype(dtype, [&](auto elements) {
    using From = decltype(elements);
    map_elements<From, F32Elements>(static_cast<const typename From::Type*>(x), y, count, [](F32x16 v) { return v; });
  });
}

}  // namespace octavo::OCTAVO_ISA
