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

// Rows and panels of a tile: as many sums as the registers hold beside the weights. One row is bound by memory, which
// is read fastest in few streams; with one chain the latency of fma would be the bound.
#if defined(OCTAVO_AVX512)
inline constexpr int float_tile_rows = 8, float_tile_panels = 3, float_row_panels = 2;
#else
inline constexpr int float_tile_rows = 6, float_tile_panels = 1, float_row_panels = 4;
#endif

struct FloatProduct {
  const OpCall& call;
  int64_t rows, depth, columns, panels;

  explicit FloatProduct(const OpCall& c)
      : call(c),
        rows(c.in[op_linear_float::x].shape[0]),
        depth(c.in[op_linear_float::x].shape[1]),
        columns(c.out[op_linear_float::out_y].shape[1]),
        panels((columns + 15) / 16) {}
  template <class Element>
  const Element* panel(int64_t index) const {
    return call.in[op_linear_float::weight].as<const Element>() + index * depth * 16;
  }
  int lanes(int64_t panel) const {
    return columns - panel * 16 < 16 ? static_cast<int>(columns - panel * 16) : 16;
  }
  F32x16 start(int64_t panel) const {
    const Operand& bias = call.in[op_linear_float::bias];
    return bias ? load_first(bias.as<const float>() + panel * 16, lanes(panel), 0.0f) : zero();
  }
};

// `ahead`: where the weights of the next tile lie; they are fetched meanwhile.
template <DType dtype, int rows, int panels>
inline void float_tile(const FloatProduct& product, int64_t row, int64_t first_panel,
                       const typename FloatElement<dtype>::type* ahead) {
  using Element = typename FloatElement<dtype>::type;
  const int64_t depth = product.depth, stride = product.call.in[op_linear_float::x].stride;
  const Element* weights = product.panel<Element>(first_panel);
  F32x16 sums[rows][panels];
#pragma GCC unroll 8
  for (int p = 0; p < panels; p++) {
    const F32x16 start = product.start(first_panel + p);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) sums[r][p] = start;
  }
  // Rows are at most two strides from one of three pointers: addresses that an instruction can hold.
  const float* x0 = product.call.in[op_linear_float::x].row<const float>(row);
  const float *x3 = x0 + 3 * stride, *x6 = x0 + 6 * stride;
  for (int64_t k = 0; k < depth; k++) {
    F32x16 w[panels];
#pragma GCC unroll 8
    for (int p = 0; p < panels; p++) {
      w[p] = load_element<dtype>(weights + p * depth * 16);
      if constexpr (rows == 1) {
        prefetch(ahead + p * depth * 16);
      } else {
        prefetch_far(ahead + p * depth * 16);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      // With a name of its own: GCC 12 makes (a ? p : q)[i] into a ? p[i] : q[i], and under UBSan calculates i in the
      // first branch only, so that the second reads anywhere.
      const float* const near = r < 3 ? x0 : r < 6 ? x3 : x6;
      const F32x16 value = set1(near[r % 3 * stride]);
#pragma GCC unroll 8
      for (int p = 0; p < panels; p++) sums[r][p] = fma(value, w[p], sums[r][p]);
    }
    weights += 16, ahead += 16, x0++, x3++, x6++;
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
    for (int p = 0; p < panels; p++) {
      float* const y = product.call.out[op_linear_float::out_y].row<float>(row + r) + (first_panel + p) * 16;
      store_first(y, sums[r][p], product.lanes(first_panel + p));
    }
  }
}

template <DType dtype, int panels, int most = float_tile_rows>
inline void float_tile_of(int64_t rows, const FloatProduct& product, int64_t row, int64_t first_panel,
                          const typename FloatElement<dtype>::type* ahead) {
  if constexpr (most > 1) {
    if (rows < most) return float_tile_of<dtype, panels, most - 1>(rows, product, row, first_panel, ahead);
  }
  float_tile<dtype, most, panels>(product, row, first_panel, ahead);
}

// All rows with the panels [panel, panel + panels), in even pieces: 9 rows by tiles of 8 are 5 and 4.
template <DType dtype, int panels>
inline void float_rows(const FloatProduct& product, int64_t panel, const typename FloatElement<dtype>::type* ahead) {
  if (product.rows == 1) return float_tile<dtype, 1, panels>(product, 0, panel, ahead);
  if constexpr (panels <= float_tile_panels) {
    int64_t row = 0;
    for (int64_t tiles = (product.rows + float_tile_rows - 1) / float_tile_rows; tiles > 0; tiles--) {
      const int64_t count = (product.rows - row + tiles - 1) / tiles;
      float_tile_of<dtype, panels>(count, product, row, panel, ahead);
      row += count;
      ahead = product.panel<typename FloatElement<dtype>::type>(panel);  // near already
    }
  }
}

template <DType dtype, int most>
inline void float_panels(int64_t panels, const FloatProduct& product, int64_t panel,
                         const typename FloatElement<dtype>::type* ahead) {
  if constexpr (most > 1) {
    if (panels < most) return float_panels<dtype, most - 1>(panels, product, panel, ahead);
  }
  float_rows<dtype, most>(product, panel, ahead);
}

template <DType dtype>
inline void packed_panels(const OpCall& call, const Worker& worker) {
  const FloatProduct product(call);
  constexpr int most = float_row_panels > float_tile_panels ? float_row_panels : float_tile_panels;
  const int64_t width = product.rows == 1 ? float_row_panels : float_tile_panels;
  const int64_t strips = (product.panels + width - 1) / width;
  const int64_t fair = strips / (8 * worker.threads), chunk = fair < 1 ? 1 : fair > 8 ? 8 : fair;
  int64_t strip, end;
  while (worker.next(strips, chunk, &strip, &end)) {
    for (; strip < end; strip++) {
      const int64_t panel = strip * width, left = product.panels - panel;
      // The other threads are likely to take the pieces between this one and the next.
      const int64_t next = strip + 1 < end ? strip + 1 : end + chunk * (worker.threads - 1);
      const auto* ahead = product.panel<typename FloatElement<dtype>::type>((next < strips ? next : strip) * width);
      float_panels<dtype, most>(left < width ? left : width, product, panel, ahead);
    }
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
