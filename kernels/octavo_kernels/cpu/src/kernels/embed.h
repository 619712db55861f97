// embed: rows of a table by token id; NaN where a token means no row of it.
#pragma once

#include "float_rows.h"
#include "partial.h"

namespace octavo::OCTAVO_ISA {

// A packed table is cut into panels of 16 rows, in which the 16 elements of a column lie together.
constexpr int64_t panel_rows = packed_rows;

// Row `id` of a packed table, 16 columns at a time.
template <class From>
inline void unpack_row(const typename From::Type* table, int64_t id, int64_t columns, F32x16 scale, float* y) {
  using Type = typename From::Type;
  const Type* panel = table + id / panel_rows * columns * panel_rows + id % panel_rows;
  for (int64_t k = 0; k < columns; k += 16) {
    const int count = columns - k < 16 ? static_cast<int>(columns - k) : 16;
    Type elements[16] = {};
    for (int i = 0; i < count; i++) elements[i] = panel[(k + i) * panel_rows];
    const F32x16 v = mul(From::read(elements), scale);
    if (count == 16) {
      store(y + k, v);
    } else {
      store_first(y + k, v, count);
    }
  }
}

// The id in [0, vocabulary) that a token means, or -1 where there is none: the ids of a step's own `sample` are not
// checked before it, and a row whose logits were not finite has drawn none.
inline int64_t token_id(int32_t token, const Operand& sampled, int64_t vocabulary) {
  int64_t id = token;
  if (token < 0) {
    const int64_t place = -1 - static_cast<int64_t>(token);
    id = sampled && place < sampled.shape[0] ? *sampled.row<int32_t>(place) : -1;
  }
  return id < vocabulary ? id : -1;
}

inline void run_embed(const OpCall& call, const Worker& worker) {
  namespace op = op_embed;
  const Operand& tokens = call.in[op::tokens];
  const Operand& table = call.in[op::table];
  const Operand& sampled = call.in[op::sampled];
  const Operand& y = call.out[op::out_y];
  const int64_t columns = table.shape[1];
  const F32x16 scale = set1(call.number(op::attr_scale));
  int64_t begin, end;
  worker.share(tokens.shape[0], 1, &begin, &end);
  with_float_dtype(table.dtype, [&](auto elements) {
    using From = decltype(elements);
    using Type = typename From::Type;
    for (int64_t t = begin; t < end; t++) {
      const int32_t token = *tokens.row<int32_t>(t);
      const int64_t id = token_id(token, sampled, table.shape[0]);
      if (id < 0) {
        for (int64_t k = 0; k < columns; k += 16)
          store_part(y.row<float>(t) + k, set1(__builtin_nanf("")), columns - k);
      } else if (table.layout == Layout::packed) {
        unpack_row<From>(table.as<Type>(), id, columns, scale, y.row<float>(t));
      } else {
        map_elements<From, F32Elements>(table.row<Type>(id), y.row<float>(t), columns,
                                        [&](F32x16 v) { return mul(v, scale); });
      }
    }
  });
}

}  // namespace octavo::OCTAVO_ISA
