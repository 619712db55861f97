// rope: rotary position embedding of the heads of each row.
#pragma once

#include <cstring>

#include "partial.h"

namespace octavo::OCTAVO_ISA {

// The first 2 * `turned` elements of a head: pairs (i, i + turned). y may be x.
inline void turn_half(float* y, const float* x, const float* cos, const float* sin, int64_t turned) {
  for (int64_t i = 0; i < turned; i += 16) {
    const int64_t left = turned - i;
    const F32x16 c = load_part(cos + i, left, 0), s = load_part(sin + i, left, 0);
    const F32x16 a = load_part(x + i, left, 0), b = load_part(x + turned + i, left, 0);
    store_part(y + i, sub(mul(a, c), mul(b, s)), left);
    store_part(y + turned + i, add(mul(b, c), mul(a, s)), left);
  }
}

// Pairs (2i, 2i + 1).
inline void turn_interleaved(float* y, const float* x, const float* cos, const float* sin, int64_t turned) {
  for (int64_t i = 0; i < turned; i++) {
    const float a = x[2 * i], b = x[2 * i + 1];
    const float ac = a * cos[i], bs = b * sin[i], bc = b * cos[i], as = a * sin[i];
    y[2 * i] = ac - bs;
    y[2 * i + 1] = bc + as;
  }
}

struct Rotation {
  int64_t head_dim, turned;
  bool interleaved;

  // One head at the position whose table rows are `cos` and `sin`.
  void turn(float* y, const float* x, const float* cos, const float* sin) const {
    if (interleaved) {
      turn_interleaved(y, x, cos, sin, turned);
    } else {
      turn_half(y, x, cos, sin, turned);
    }
    const int64_t rest = 2 * turned;
    if (y != x && rest < head_dim) std::memcpy(y + rest, x + rest, sizeof(float) * (head_dim - rest));
  }
  // All heads of a row of `width` elements.
  void turn_row(float* y, const float* x, int64_t width, const float* cos, const float* sin) const {
    for (int64_t head = 0; head < width; head += head_dim) turn(y + head, x + head, cos, sin);
  }
};

inline void run_rope(const OpCall& call, const Worker& worker) {
  namespace op = op_rope;
  const Operand& x = call.in[op::x];
  const Operand& cos = call.in[op::cos];
  const Operand& sin = call.in[op::sin];
  const Operand& y = call.out[op::out_y];
  const Rotation rotation = {call.integer(op::attr_headDim), cos.shape[1],
                             call.integer(op::attr_pairing) == op::pairing_interleaved};
  int64_t begin, end;
  worker.share(x.shape[0], 1, &begin, &end);
  for (int64_t t = begin; t < end; t++) {
    const int32_t position = call.in[op::positions].row<int32_t>(t)[0];
    rotation.turn_row(y.row<float>(t), x.row<float>(t), x.shape[1], cos.row<float>(position),
                      sin.row<float>(position));
  }
}

}  // namespace octavo::OCTAVO_ISA
