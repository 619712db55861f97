// linear_float: a 16- or 32-bit weight, one fma chain per output in ascending k, whatever the tile.
// Packed weights lie [panel of 16 columns][k][16]; a plain weight [N, K] is walked column by column.
#pragma once

#include <cstdint>

#include "../runtime/op.h"

namespace octavo::OCTAVO_ISA {

template <DType dtype>
struct FloatElement {
  using type = uint16_t;
};
template <>
struct FloatElement<DType::float32> {
  using type = float;
};

template <DType dtype>
inline F32x16 load_element(const typename FloatElement<dtype>::type* p) {
  if constexpr (dtype == DType::float32) {
    return load(p);
  } else if constexpr (dtype == DType::float16) {
    return load_f16(p);
  } else {
    return load_bf16(p);
  }
}

template <DType dtype, int rows, int panels>
inline void float_tile(const OpCall& call, int64_t row, int64_t first_panel) {
  using Element = typename FloatElement<dtype>::type;
  const Operand& x = call.in[op_linear_float::x];
  const Operand& bias = call.in[op_linear_float::bias];
  const Operand& y = call.out[op_linear_float::out_y];
  const int64_t depth = x.shape[1], columns = y.shape[1];
  const Element* weights = call.in[op_linear_float::weight].as<const Element>() + first_panel * depth * 16;
  const float* input[rows];
  F32x16 sums[rows][panels];
  for (int p = 0; p < panels; p++) {
    const int64_t column = (first_panel + p) * 16, left = columns - column;
    const F32x16 start = bias ? load_first(bias.as<const float>() + column, left < 16 ? static_cast<int>(left) : 16, 0.0f) : zero();
    for (int r = 0; r < rows; r++) sums[r][p] = start;
  }
  for (int r = 0; r < rows; r++) input[r] = x.row<const float>(row + r);
  for (int64_t k = 0; k < depth; k++) {
    F32x16 w[panels];
    for (int p = 0; p < panels; p++) w[p] = load_element<dtype>(weights + (p * depth + k) * 16);
    for (int r = 0; r < rows; r++) {
      const F32x16 value = set1(input[r][k]);
      for (int p = 0; p < panels; p++) sums[r][p] = fma(value, w[p], sums[r][p]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int p = 0; p < panels; p++) {
      const int64_t column = (first_panel + p) * 16, left = columns - column;
      store_first(y.row<float>(row + r) + column, sums[r][p], left < 16 ? static_cast<int>(left) : 16);
    }
  }
}

// One row has few chains per panel, so it takes many panels at once; many rows share each weight.
template <DType dtype, int panels>
inline void float_rows(const OpCall& call, int64_t panel) {
  const int64_t rows = call.in[op_linear_float::x].shape[0];
  constexpr int64_t most = 24 / panels < 6 ? 24 / panels : 6;
  int64_t row = 0;
  for (int64_t tiles = (rows + most - 1) / most; tiles > 0; tiles--) {
    const int64_t count = (rows - row + tiles - 1) / tiles;
    switch (count) {
      case 1: float_tile<dtype, 1, panels>(call, row, panel); break;
      case 2: float_tile<dtype, 2, panels>(call, row, panel); break;
      case 3: float_tile<dtype, 3, panels>(call, row, panel); break;
      case 4: float_tile<dtype, 4, panels>(call, row, panel); break;
      case 5: float_tile<dtype, 5, panels>(call, row, panel); break;
      default: float_tile<dtype, 6, panels>(call, row, panel); break;
    }
    row += count;
  }
}

template <DType dtype>
inline void packed_panels(const OpCall& call, const Worker& worker) {
  const int64_t panels = (call.out[op_linear_float::out_y].shape[1] + 15) / 16;
  const int64_t rows = call.in[op_linear_float::x].shape[0];
  const int64_t width = rows <= 3 ? 8 : 4;
  int64_t panel, end;
  while (worker.next(panels, width, &panel, &end)) {
    if (end - panel == 8) {
      float_rows<dtype, 8>(call, panel);
      continue;
    }
    for (; panel + 4 <= end; panel += 4) float_rows<dtype, 4>(call, panel);
    for (; panel < end; panel++) float_rows<dtype, 1>(call, panel);
  }
}

// A plain weight, as handles of users have it: the chain of one output at a time.
template <DType dtype>
inline void plain_columns(const OpCall& call, const Worker& worker) {
  using Element = typename FloatElement<dtype>::type;
  const Operand& x = call.in[op_linear_float::x];
  const Operand& weight = call.in[op_linear_float::weight];
  const Operand& bias = call.in[op_linear_float::bias];
  const Operand& y = call.out[op_linear_float::out_y];
  const int64_t depth = x.shape[1], columns = y.shape[1];
  int64_t first, end;
  while (worker.next(columns, 16, &first, &end)) {
    const int lanes = static_cast<int>(end - first);
    for (int64_t row = 0; row < x.shape[0]; row++) {
      F32x16 sum = bias ? load_first(bias.as<const float>() + first, lanes, 0.0f) : zero();
      for (int64_t k = 0; k < depth; k++) {
        Element gathered[16] = {};
        for (int i = 0; i < lanes; i++) gathered[i] = weight.row<const Element>(first + i)[k];
        sum = fma(set1(x.row<const float>(row)[k]), load_element<dtype>(gathered), sum);
      }
      store_first(y.row<float>(row) + first, sum, lanes);
    }
  }
}

template <DType dtype>
inline void linear_float_of(const OpCall& call, const Worker& worker) {
  if (call.in[op_linear_float::weight].layout == Layout::packed) {
    packed_panels<dtype>(call, worker);
  } else {
    plain_columns<dtype>(call, worker);
  }
}

inline void run_linear_float(const OpCall& call, const Worker& worker) {
  if (call.in[op_linear_float::x].shape[0] == 0) return;
  switch (call.in[op_linear_float::weight].dtype) {
    case DType::float16: linear_float_of<DType::float16>(call, worker); break;
    case DType::bfloat16: linear_float_of<DType::bfloat16>(call, worker); break;
    default: linear_float_of<DType::float32>(call, worker); break;
  }
}

}  // namespace octavo::OCTAVO_ISA
