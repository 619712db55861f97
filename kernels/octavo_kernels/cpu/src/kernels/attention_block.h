// One block of 128 keys of attention, for some rows: exact scores, weights, and exact sums of weighted values.
#pragma once

#include "attention_rows.h"

namespace octavo::OCTAVO_ISA {

// The steps of the pages [first, end) of a block.
inline void gather_steps(const float* const* pages, int first, int end, BlockSteps* steps) {
  const F32x16 infinite = set1(__builtin_inff());
  F32x16 largest = zero();
  uint32_t any_lost = 0, any_far = 0;
  for (int i = first; i < end; i++) {
    const F32x16 keys = load(pages[i]), values = load(pages[i] + page_size);
    store(steps->keys + page_size * i, keys);
    store(steps->values + page_size * i, values);
    largest = max(abs(keys), largest);
    const uint16_t good = mask_bits(lt(abs(keys), infinite)) & mask_bits(lt(abs(values), infinite));
    steps->lost[i] = static_cast<uint16_t>(~good);
    any_lost |= steps->lost[i];
    any_far |= 0xffffu & ~(mask_bits(ge(values, set1(0x1p-48f))) & mask_bits(le(values, set1(0x1p48f))));
  }
  steps->span = reduce_max(largest) * 0x1p32f;
  steps->any_lost = any_lost != 0;
  steps->plain = any_far == 0;
}

inline bool sees_lost(const BlockSteps& steps, KeyRange seen) {
  for (int key = seen.first; key < seen.end; key++)
    if (steps.lost[key / 16] >> key % 16 & 1) return true;
  return false;
}

// Rows that go through the steps of attention_weights.h together.
inline constexpr int weighed_together = 8;

// Calls body with a type whose `value` is the row's sight.
template <Sight s>
struct Sees {
  static constexpr Sight value = s;
};
template <class Body>
OCTAVO_INLINE void with_sight(Sight sight, const Body& body) {
  switch (sight) {
    case Sight::whole: return body(Sees<Sight::whole>());
    case Sight::part: return body(Sees<Sight::part>());
    default: return body(Sees<Sight::bent>());
  }
}

// Weights of the values for the rows [first_row, end_row), whose scores are held, and their steps across blocks.
inline void weigh_rows(const AttentionShape& shape, const AttentionRows& block, int first_row, int end_row,
                       const Operand& biases, int64_t block_key, const AttentionScratch& scratch,
                       const BlockPart* part) {
  const BlockSteps& steps = *scratch.steps;
  const RowStates& states = scratch.states;
  RowWeights weighed[weighed_together];
  int numbers[weighed_together];
  for (int first = first_row; first < end_row; first += weighed_together) {
    const int end = first + weighed_together < end_row ? first + weighed_together : end_row;
    int count = 0;
    for (int row = first; row < end; row++) {
      const KeyRange seen = block.seen(shape, block_key, row);
      int16_t* weights = scratch.weights + (row - first_row) * attention_block;
      const bool whole = seen.first == 0 && seen.end == attention_block;
      if (!whole) std::memset(weights, 0, sizeof(int16_t) * attention_block);
      if (steps.any_lost && sees_lost(steps, seen)) states.lose(row);
      states.sees[row] = seen.first < seen.end && !states.lost(row);
      if (!states.sees[row]) continue;
      RowWeights& next = weighed[count];
      int32_t* sums = scratch.sums + (row - first_row) * attention_block;
      next = {sums, weights, seen, Sight::part, states.scale[row], 0, 0, 0, {0, 0, 0}};
      next.sight = shape.bent() ? Sight::bent : whole ? Sight::whole : Sight::part;
      numbers[count++] = row;
    }
    for (int i = 0; i < count; i++) {
      const int head = block.kv_head * shape.group + numbers[i] % shape.group;
      const int64_t distance = block_key - (block.position + numbers[i] / shape.group);
      with_sight(weighed[i].sight, [&](auto sight) {
        find_largest<decltype(sight)::value>(weighed[i], steps, shape.bend(head, biases), distance);
      });
    }
    for (int i = 0; i < count; i++) {
      with_sight(weighed[i].sight, [&](auto sight) {
        if (!find_exponent<decltype(sight)::value>(weighed[i], steps)) states.lose(numbers[i]);
      });
    }
    for (int i = 0; i < count; i++)
      with_sight(weighed[i].sight, [&](auto sight) { find_weights<decltype(sight)::value>(weighed[i], steps); });
    for (int i = 0; i < count; i++) {
      with_sight(weighed[i].sight,
                 [&](auto sight) { round_weights<decltype(sight)::value>(weighed[i], shape.weight_bits); });
      if (!part && states.sees[numbers[i]]) states.add(numbers[i], weighed[i].result);
    }
    if (!part) continue;
    for (int row = first, i = 0; row < end; row++) {
      const bool taken = i < count && numbers[i] == row;
      const BlockSums sums = taken ? weighed[i++].result : BlockSums{0, 0, 0};
      part->exponent[row * part->stride] = sums.exponent;
      part->total[row * part->stride] = states.lost(row) ? __builtin_nanf("") : sums.total;
      part->unit[row * part->stride] = sums.unit;
    }
  }
}

// 16 sums of weighted values of a row, from element `at` on, into o, or to where they wait.
OCTAVO_INLINE void take_values(const AttentionShape& shape, int row, int at, const I32x16& sum,
                               const AttentionScratch& scratch, const BlockPart* part) {
  if (!scratch.states.sees[row]) return;
  const int64_t place = static_cast<int64_t>(row) * shape.padded + at;
  if (part) {
    store(part->output + place, to_f32(sum));
  } else {
    float* o = scratch.output + place;
    store(o, fma(to_f32(sum), set1(scratch.states.own[row]), mul(load(o), set1(scratch.states.old[row]))));
  }
}

// The sums of one tile of rows.
template <class T>
inline void weigh_values(const AttentionShape& shape, int first_row, int rows, const ValuePairs<T>& values, int element,
                         int end_element, const AttentionScratch& scratch, const BlockPart* part) {
  const int16_t* weights = scratch.weights + first_row * attention_block;
  const auto take = [&](int row, int at, const I32x16& sum) {
    take_values(shape, first_row + row, at, sum, scratch, part);
  };
  with_rows(rows, [&](auto count) {
    constexpr int R = decltype(count)::value, C = attention_tile_columns(R);
    const auto go = [&](auto columns) {
      constexpr int c_count = decltype(columns)::value;
      for (; element + 16 * c_count <= end_element; element += 16 * c_count) {
        const int at = element;
        value_tile<R, c_count>(weights, attention_block, values, at,
                               [&](int r, int c, const I32x16& sum) { take(r, at + 16 * c, sum); });
      }
    };
    go(Count<C>());
    if constexpr (C > 4) go(Count<4>());
    if constexpr (C > 1) go(Count<1>());
  });
  if (element < end_element)
    value_tail(rows, weights, attention_block, values, element,
               [&](int r, const I32x16& sum) { take(r, element, sum); });
}

// The pages of one block of keys with one kv head.
template <class T>
struct BlockPages {
  const T* keys[block_pages];
  const T* values[block_pages];
  const float* steps[block_pages];

  BlockPages(const OpCall& call, const AttentionShape& shape, const AttentionRows& block, int64_t index, int first,
             int end) {
    namespace op = op_attention;
    const int64_t offset = static_cast<int64_t>(block.kv_head) * page_size * shape.head_dim;
    for (int i = first; i < end; i++) {
      const int64_t page = block.pages[index * block_pages + i];
      keys[i] = call.in[op::keys].row<T>(page) + offset;
      values[i] = call.in[op::values].row<T>(page) + offset;
      steps[i] = call.in[op::steps].row<float>(page) + block.kv_head * 2 * page_size;
    }
  }
};

// What the rows [first, first + count) see of a block, as one range.
inline KeyRange seen_by(const AttentionShape& shape, const AttentionRows& block, int64_t block_key, int first,
                        int count) {
  return {block.seen(shape, block_key, first).first, block.seen(shape, block_key, first + count - 1).end};
}
inline int end_page(KeyRange seen) { return (seen.end + page_size - 1) / page_size; }

template <class T>
inline void prefetch_pages(const T* const* pages, int first, int end, int head_dim) {
  for (int page = first; page < end; page++)
    for (int i = 0; i < head_dim * page_size; i += 64 / static_cast<int>(sizeof(T))) prefetch(pages[page] + i);
}

// Block `index` of keys for rows that begin_rows has begun. `after`: right after the one before; `more`: the next one
// follows.
template <class T>
inline void attend_block(const OpCall& call, const AttentionShape& shape, const AttentionRows& block, int64_t index,
                         bool after, bool more, const AttentionScratch& scratch, const BlockPart* part) {
  const int64_t block_key = index * attention_block;
  const KeyRange all = seen_by(shape, block, block_key, 0, block.rows);
  const int first_page = all.first / page_size, last_page = end_page(all);
  const BlockPages<T> pages(call, shape, block, index, first_page, last_page);
  gather_steps(pages.steps, first_page, last_page, scratch.steps);
  // Pages and elements that stay in the first-level cache for all tiles of rows. A single tile needs them once, from
  // memory: it asks for what comes next while it multiplies (whole pages one after the other, up to 1.2 times as fast
  // as line by line beside the products).
  const bool once = block.rows <= attention_tile_rows;
  const int some_pages = block.rows > 2 ? 4 : block_pages, some_elements = once ? shape.head_dim : 64;
  for (int page = first_page; page < last_page; page += some_pages) {
    const int stop = page + some_pages < last_page ? page + some_pages : last_page;
    if (once) {
      prefetch_pages(pages.values, page, stop, shape.head_dim);
      if (!after) prefetch_pages(pages.keys, stop, stop < last_page ? last_page : stop, shape.head_dim);
    }
    each_tile(block.rows, [&](int row, int rows) {
      const KeyRange seen = seen_by(shape, block, block_key, row, rows);
      const int first = page > seen.first / page_size ? page : seen.first / page_size;
      const int end = stop < end_page(seen) ? stop : end_page(seen);
      with_rows(rows, [&](auto count) {
        score_rows<decltype(count)::value>(scratch.sums + row * attention_block, attention_block,
                                           scratch.q + row * shape.depth, shape.depth, pages.keys, first, end,
                                           shape.head_dim / 2);
      });
    });
  }
  const int64_t next_key = block_key + attention_block;
  const int next_end = once && more ? end_page(seen_by(shape, block, next_key, 0, block.rows)) : 0;
  const BlockPages<T> next(call, shape, block, index + 1, 0, next_end);
  prefetch_pages(next.keys, 0, next_end / 2, shape.head_dim);
  weigh_rows(shape, block, 0, block.rows, call.in[op_attention::bias], block_key, scratch, part);
  prefetch_pages(next.keys, next_end / 2, next_end, shape.head_dim);
  for (int i = 0; i < next_end; i++) {
    prefetch(next.steps[i]);
    prefetch(next.steps[i] + page_size);
  }
  for (int element = 0; element < shape.head_dim; element += some_elements) {
    const int end = element + some_elements < shape.head_dim ? element + some_elements : shape.head_dim;
    each_tile(block.rows, [&](int row, int rows) {
      const KeyRange seen = seen_by(shape, block, block_key, row, rows);
      const ValuePairs<T> pairs = {pages.values, shape.head_dim, seen.first / 2, (seen.end + 1) / 2};
      weigh_values<T>(shape, row, rows, pairs, element, end, scratch, part);
    });
  }
}

}  // namespace octavo::OCTAVO_ISA
