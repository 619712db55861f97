// attention: the work of a step cut into blocks of queries, and the chunks of each row joined in ascending order.
//
// With too few blocks for the team (decode of few sequences) the chunks of a block are separate work, and the thread
// that finishes the last one joins them all. How work is cut never changes a row's arithmetic.
#pragma once

#include "attention_chunk.h"

namespace octavo::OCTAVO_ISA {

// Rows of a block: several queries share each conversion of a page to floats.
inline constexpr int attention_block_rows = 48;
// Partial outputs that wait to be joined, unless a single query needs more.
inline constexpr int64_t attention_partial_bytes = 4 << 20;

inline int64_t attention_chunks(int64_t pages) { return (pages + chunk_pages - 1) / chunk_pages; }

// Bytes that a row's chunks take until they are joined.
inline int64_t attention_row_bytes(const AttentionShape& shape, int64_t pages) {
  const int64_t chunks = attention_chunks(pages);
  return static_cast<int64_t>(sizeof(float)) * (chunks * shape.padded + 2 * round_up_16(chunks));
}

// Queries of a block when the page table has `pages` columns.
inline int attention_queries(const AttentionShape& shape, int64_t pages) {
  const int64_t query_bytes = attention_row_bytes(shape, pages) * shape.group;
  int64_t queries = attention_block_rows / shape.group;
  if (queries * query_bytes > attention_partial_bytes) queries = attention_partial_bytes / query_bytes;
  return queries < 1 ? 1 : static_cast<int>(queries);
}

// Where the chunks of a block's rows wait: output [chunk][row][padded], largest and total [row][chunk].
struct RowParts {
  float* output;
  float* largest;
  float* total;
  int64_t stride;
  int rows, padded;

  static int64_t floats(int64_t rows, int64_t chunks, int padded) {
    return rows * (chunks * padded + 2 * round_up_16(chunks));
  }
  RowParts(float* memory, int block_rows, int64_t chunks, int padded_elements) {
    stride = round_up_16(chunks);
    rows = block_rows;
    padded = padded_elements;
    largest = memory;
    total = largest + rows * stride;
    output = total + rows * stride;
  }
  ChunkPart chunk(int64_t index) const {
    return {output + index * rows * padded, largest + index, total + index, stride};
  }
};

// y = sum_c exp(m_c - m) o_c / sum_c exp(m_c - m) l_c over the chunks in ascending order.
inline void join_chunks(const AttentionShape& shape, const AttentionBlock& block, const RowParts& parts,
                        int64_t chunks, const Operand& y) {
  const F32x16 low = set1(-__builtin_inff());
  for (int row = 0; row < block.rows; row++) {
    float* largest = parts.largest + row * parts.stride;
    const float* total = parts.total + row * parts.stride;
    F32x16 most = low;
    for (int64_t c = 0; c < chunks; c += 16)
      most = max(most, load_part(largest + c, chunks - c, -__builtin_inff()));
    const F32x16 maximum = set1(reduce_max(most));
    for (int64_t c = 0; c < chunks; c += 16) store(largest + c, exp(sub(load(largest + c), maximum)));
    float sum = 0;
    for (int64_t c = 0; c < chunks; c++)
      if (total[c] != 0) sum = __builtin_fmaf(largest[c], total[c], sum);
    float* out = y.row<float>(block.query_row + row / shape.group) +
                 static_cast<int64_t>(block.kv_head * shape.group + row % shape.group) * shape.head_dim;
    const F32x16 divisor = set1(sum);
    for (int d = 0; d < shape.head_dim; d += 16) {
      F32x16 o = zero();
      for (int64_t c = 0; c < chunks; c++) {
        if (total[c] == 0) continue;
        o = fma(set1(largest[c]), load(parts.output + (c * parts.rows + row) * parts.padded + d), o);
      }
      store_part(out + d, div(o, divisor), shape.head_dim - d);
    }
  }
}

// How a step's queries are cut into blocks, and blocks into work.
struct AttentionWork {
  const OpCall& call;
  const AttentionShape shape;
  int block_queries;
  int64_t blocks = 0;
  // Chunks are separate work.
  bool split = false;
  // Most chunks of a block.
  int64_t chunks;

  AttentionWork(const OpCall& c, int threads) : call(c), shape(c) {
    const int64_t pages = c.in[op_attention::pages].shape[1];
    const int64_t queries = c.in[op_attention::q].shape[0];
    const int64_t enough = static_cast<int64_t>(4) * threads;
    chunks = attention_chunks(pages);
    block_queries = attention_queries(shape, pages);
    blocks = count_blocks();
    while (blocks < enough && block_queries > 4 && queries > 1) {
      block_queries /= 2;
      blocks = count_blocks();
    }
    split = threads > 1 && blocks < enough && chunks > 1 && fits_shared(queries);
  }
  // Whether the chunks of `queries` queries may wait in shared memory.
  bool fits_shared(int64_t queries) const {
    return queries == 1 || queries <= attention_partial_bytes / (shape.heads * attention_row_bytes(shape, pages()));
  }
  int64_t pages() const { return call.in[op_attention::pages].shape[1]; }
  int64_t count_blocks() const {
    const Operand& starts = call.in[op_attention::starts];
    int64_t count = 0;
    for (int64_t b = 0; b + 1 < starts.shape[0]; b++) {
      const int queries = starts.row<int32_t>(b + 1)[0] - starts.row<int32_t>(b)[0];
      count += (queries + block_queries - 1) / block_queries;
    }
    return count * shape.kv_heads;
  }
};

// Walks the work in order; later blocks of a sequence, which see more keys, come first.
class AttentionWalk {
 public:
  explicit AttentionWalk(const AttentionWork& work) : work_(work) { enter(0); }

  // Moves on to work `index`, not before the present one. Sets `block` and, for split work, `chunk`.
  bool seek(int64_t index) {
    while (sequence_ < sequences()) {
      while (left_ > 0) {
        set_block();
        const int64_t size = work_.split ? end_chunk - first_chunk : 1;
        if (index < base_ + size) {
          chunk = first_chunk + (index - base_);
          return true;
        }
        base_ += size;
        next_block();
      }
      enter(sequence_ + 1);
    }
    return false;
  }

  // Goes to the end; how much work there is.
  int64_t count() {
    seek(INT64_MAX);
    return base_;
  }

  AttentionBlock block = {};
  int64_t first_chunk = 0, end_chunk = 0, chunk = 0;
  // Rows of this step before the block's.
  int64_t row_base = 0;

 private:
  int64_t sequences() const { return work_.call.in[op_attention::lengths].shape[0]; }
  void enter(int64_t sequence) {
    sequence_ = sequence;
    left_ = 0;
    kv_head_ = 0;
    if (sequence >= sequences()) return;
    const Operand& starts = work_.call.in[op_attention::starts];
    start_ = starts.row<int32_t>(sequence)[0];
    queries_ = starts.row<int32_t>(sequence + 1)[0] - start_;
    left_ = (queries_ + work_.block_queries - 1) / work_.block_queries;
  }
  void next_block() {
    if (++kv_head_ < work_.shape.kv_heads) return;
    kv_head_ = 0;
    left_--;
  }
  void set_block() {
    const int first = (left_ - 1) * work_.block_queries;
    const int end = first + work_.block_queries < queries_ ? first + work_.block_queries : queries_;
    const int32_t length = work_.call.in[op_attention::lengths].row<int32_t>(sequence_)[0];
    block.queries = end - first;
    block.rows = block.queries * work_.shape.group;
    block.position = static_cast<int64_t>(length) - queries_ + first;
    block.kv_head = kv_head_;
    block.query_row = start_ + first;
    block.pages = work_.call.in[op_attention::pages].row<int32_t>(sequence_);
    first_chunk = block.first_key(0, work_.shape.window) / attention_chunk;
    end_chunk = (block.end_key(block.queries - 1) + attention_chunk - 1) / attention_chunk;
    row_base = static_cast<int64_t>(block.query_row) * work_.shape.heads + static_cast<int64_t>(kv_head_) * block.rows;
  }

  const AttentionWork& work_;
  int64_t base_ = 0, sequence_ = 0;
  int start_ = 0, queries_ = 0, left_ = 0, kv_head_ = 0;
};

inline void gather_queries(const AttentionShape& shape, const AttentionBlock& block, const Operand& q, float* target) {
  const int64_t elements = static_cast<int64_t>(shape.group) * shape.head_dim;
  for (int i = 0; i < block.queries; i++)
    std::memcpy(target + i * elements, q.row<float>(block.query_row + i) + block.kv_head * elements,
                sizeof(float) * elements);
}

inline void attend(const AttentionWork& work, const AttentionBlock& block, int64_t chunk, const ChunkScratch& scratch,
                   const ChunkPart& part) {
  if (work.call.in[op_attention::keys].dtype == DType::float16) {
    attend_chunk<Float16>(work.call, work.shape, block, chunk, scratch, part);
  } else {
    attend_chunk<BFloat16>(work.call, work.shape, block, chunk, scratch, part);
  }
}

inline void attend_blocks(const AttentionWork& work, const Worker& worker) {
  const AttentionShape& shape = work.shape;
  const Operand& y = work.call.out[op_attention::out_y];
  const int most_rows = work.block_queries * shape.group;
  float* memory = reinterpret_cast<float*>(worker.scratch);
  const ChunkScratch scratch(memory, shape, most_rows);
  float* waiting = memory + round_up_16(static_cast<int64_t>(ChunkScratch::floats(shape, most_rows)));
  AttentionWalk walk(work);
  int64_t index, end;
  while (worker.next(work.blocks, 1, &index, &end) && walk.seek(index)) {
    const RowParts parts(waiting, walk.block.rows, walk.end_chunk - walk.first_chunk, shape.padded);
    gather_queries(shape, walk.block, work.call.in[op_attention::q], scratch.q);
    for (int64_t c = walk.first_chunk; c < walk.end_chunk; c++)
      attend(work, walk.block, c, scratch, parts.chunk(c - walk.first_chunk));
    join_chunks(shape, walk.block, parts, walk.end_chunk - walk.first_chunk, y);
  }
}

inline void attend_split(const AttentionWork& work, const Worker& worker) {
  const AttentionShape& shape = work.shape;
  const ChunkScratch scratch(reinterpret_cast<float*>(worker.scratch), shape, work.block_queries * shape.group);
  float* shared = reinterpret_cast<float*>(worker.shared);
  const int64_t row_floats = RowParts::floats(1, work.chunks, shape.padded);
  const auto parts = [&](const AttentionWalk& walk) {
    return RowParts(shared + walk.row_base * row_floats, walk.block.rows, walk.end_chunk - walk.first_chunk,
                    shape.padded);
  };
  // The cursor's low half counts work taken, its high half work done.
  constexpr int64_t one_done = static_cast<int64_t>(1) << 32;
  AttentionWalk all(work);
  const int64_t count = all.count();
  AttentionWalk walk(work);
  int64_t done = 0;
  do {
    const int64_t index = worker.cursor->fetch_add(1, std::memory_order_relaxed) & (one_done - 1);
    if (!walk.seek(index)) return;
    gather_queries(shape, walk.block, work.call.in[op_attention::q], scratch.q);
    attend(work, walk.block, walk.chunk, scratch, parts(walk).chunk(walk.chunk - walk.first_chunk));
    done = (worker.cursor->fetch_add(one_done, std::memory_order_acq_rel) >> 32) + 1;
  } while (done < count);
  AttentionWalk blocks(work);
  for (int64_t index = 0; blocks.seek(index); index += blocks.end_chunk - blocks.first_chunk)
    join_chunks(shape, blocks.block, parts(blocks), blocks.end_chunk - blocks.first_chunk,
                work.call.out[op_attention::out_y]);
}

inline void run_attention(const OpCall& call, const Worker& worker) {
  if (call.in[op_attention::q].shape[0] == 0) return;
  const AttentionWork work(call, worker.threads);
  if (work.split) {
    attend_split(work, worker);
  } else {
    attend_blocks(work, worker);
  }
}

}  // namespace octavo::OCTAVO_ISA
