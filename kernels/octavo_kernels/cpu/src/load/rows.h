// The row functions of one instruction set: plain loops that the compiler vectorises. Integer and correctly rounded
// operations only, so every set gives equal bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "dequantize_k.h"
#include "dequantize_legacy.h"
#include "half.h"
#include "row_functions.h"

namespace octavo::OCTAVO_ISA {

template <void (*Block)(const uint8_t*, float*)>
inline void dequantize_blocks(const uint8_t* source, int64_t columns, const SourceFormat& format, float* y) {
  for (int64_t k = 0; k < columns; k += format.block_elements, source += format.block_bytes) Block(source, y + k);
}

// Rows in a file begin at any byte, so elements are copied out before they are read.
template <class T, float (*Convert)(T)>
inline void convert_elements(const uint8_t* source, int64_t columns, float* y) {
  for (int64_t k = 0; k < columns; k++) {
    T element;
    std::memcpy(&element, source + k * static_cast<int64_t>(sizeof(T)), sizeof(T));
    y[k] = Convert(element);
  }
}
inline float float_of_f64(double value) { return static_cast<float>(value); }
inline float float_of_i8(int8_t value) { return static_cast<float>(value); }

inline void dequantize_row(SourceType type, const uint8_t* source, int64_t columns, float* y) {
  const SourceFormat& format = source_formats[static_cast<int32_t>(type)];
  switch (type) {
    case SourceType::F32: std::memcpy(y, source, static_cast<size_t>(columns) * 4); return;
    case SourceType::F16: convert_elements<uint16_t, float_of_f16>(source, columns, y); return;
    case SourceType::BF16: convert_elements<uint16_t, float_of_bf16>(source, columns, y); return;
    case SourceType::F64: convert_elements<double, float_of_f64>(source, columns, y); return;
    case SourceType::I8: convert_elements<int8_t, float_of_i8>(source, columns, y); return;
    case SourceType::Q8_0: dequantize_blocks<dequantize_q8_0>(source, columns, format, y); return;
    case SourceType::Q4_0: dequantize_blocks<dequantize_q4_0>(source, columns, format, y); return;
    case SourceType::Q4_1: dequantize_blocks<dequantize_q4_1>(source, columns, format, y); return;
    case SourceType::Q5_0: dequantize_blocks<dequantize_q5_0>(source, columns, format, y); return;
    case SourceType::Q5_1: dequantize_blocks<dequantize_q5_1>(source, columns, format, y); return;
    case SourceType::Q4_K: dequantize_blocks<dequantize_q4_k>(source, columns, format, y); return;
    case SourceType::Q5_K: dequantize_blocks<dequantize_q5_k>(source, columns, format, y); return;
    case SourceType::Q6_K: dequantize_blocks<dequantize_q6_k>(source, columns, format, y); return;
  }
}

// The bits of non-negative floats order as integers do, NaN above Inf, and integer maxima vectorise.
inline uint32_t row_absmax_bits(const float* x, int64_t n) {
  int32_t largest = 0;
  for (int64_t k = 0; k < n; k++) {
    const int32_t bits = static_cast<int32_t>(bits_of_float(x[k]) & 0x7fffffffu);
    largest = bits > largest ? bits : largest;
  }
  return static_cast<uint32_t>(largest);
}

// Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
inline void row_codes(const float* x, int64_t n, float factor, int8_t* y) {
  for (int64_t k = 0; k < n; k++) {
    int32_t code = static_cast<int32_t>(bits_of_float(x[k] * factor + 0x1.8p23f)) - 0x4b400000;
    code = code > 127 ? 127 : code;
    y[k] = static_cast<int8_t>(code < -127 ? -127 : code);
  }
}

inline void row_to_f16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t k = 0; k < n; k++) y[k] = f16_of_float(x[k]);
}

inline void row_to_bf16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t k = 0; k < n; k++) y[k] = bf16_of_float(x[k]);
}

inline constexpr RowFunctions row_functions = {dequantize_row, row_absmax_bits, row_codes, row_to_f16, row_to_bf16};

}  // namespace octavo::OCTAVO_ISA
