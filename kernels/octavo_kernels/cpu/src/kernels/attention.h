// attention: the work of a step cut into tasks, each some queries of a sequence with one kv head, and the blocks of
// keys of each row joined in ascending order.
//
// With too few tasks for the team (decode of few sequences) their blocks of keys are separate work, and the thread that
// finishes the last one joins them all. How work is cut never changes a row's arithmetic.
#pragma once

#include "attention_block.h"
#if defined(OCTAVO_AMX)
#include "attention_digits.h"
#endif

namespace octavo::OCTAVO_ISA {

// Blocks that wait to be joined, unless a single query needs more.
inline constexpr int64_t attention_waiting_bytes = 4 << 20;

inline int64_t attention_blocks(int64_t pages) { return (pages + block_pages - 1) / block_pages; }

// Where the blocks of keys of some rows wait: output [block][row][padded], the others [row][block].
struct RowParts {
  float* output;
  float* exponent;
  float* total;
  float* unit;
  int64_t stride;
  int rows, padded;

  static int64_t floats(int64_t rows, int64_t blocks, int padded) {
    return rows * (blocks * padded + 3 * round_up_16(blocks));
  }
  RowParts(float* memory, int block_rows, int64_t blocks, int padded_elements) {
    stride = round_up_16(blocks);
    rows = block_rows;
    padded = padded_elements;
    exponent = memory;
    total = exponent + rows * stride;
    unit = total + rows * stride;
    output = unit + rows * stride;
  }
  BlockPart block(int64_t index) const {
    return {output + index * rows * padded, exponent + index, total + index, unit + index, stride};
  }
};

// o / l of one row: `total` is l, or NaN of a row that is lost.
inline void finish_row(const AttentionShape& shape, const AttentionRows& block, int row, float total,
                       const float* output, const Operand& y) {
  float* out = y.row<float>(block.query_row + row / shape.group) +
               static_cast<int64_t>(block.kv_head * shape.group + row % shape.group) * shape.head_dim;
  const F32x16 divisor = set1(total);
  for (int d = 0; d < shape.head_dim; d += 16)
    store_part(out + d, div(load(output + d), divisor), shape.head_dim - d);
}

// The steps across `blocks` blocks that have waited, ascending: the same operations as if they had not.
inline void join_blocks(const AttentionShape& shape, const AttentionRows& block, const RowParts& parts, int64_t blocks,
                        const Operand& y) {
  for (int row = 0; row < block.rows; row++) {
    float* old = parts.exponent + row * parts.stride;
    float* own = parts.unit + row * parts.stride;
    const float* total = parts.total + row * parts.stride;
    RowState state;
    bool lost = false;
    for (int64_t b = 0; b < blocks; b++) {
      lost |= total[b] != total[b];
      if (!(total[b] > 0)) continue;
      state.add({old[b], total[b], own[b]});
      old[b] = state.old;
      own[b] = state.own;
    }
    alignas(64) float output[most_kv_head];
    for (int d = 0; d < shape.head_dim; d += 16) {
      F32x16 o = zero();
      for (int64_t b = 0; b < blocks; b++) {
        if (!(total[b] > 0)) continue;
        const float* sums = parts.output + (b * parts.rows + row) * parts.padded + d;
        o = fma(load(sums), set1(own[b]), mul(o, set1(old[b])));
      }
      store(output + d, o);
    }
    finish_row(shape, block, row, lost ? __builtin_nanf("") : state.total, output, y);
  }
}

// How a step's queries are cut into tasks.
struct AttentionWork {
  const OpCall& call;
  const AttentionShape shape;
  int task_queries;
  int64_t tasks = 0;
  // Blocks of keys are separate work.
  bool split = false;
  // Most blocks of a sequence.
  int64_t blocks;

  AttentionWork(const OpCall& c, int threads) : call(c), shape(c) {
    const int64_t queries = c.in[op_attention::q].shape[0];
    const int64_t enough = threads == 1 ? 1 : static_cast<int64_t>(4) * threads;
    blocks = attention_blocks(c.in[op_attention::pages].shape[1]);
    task_queries = most_queries();
    tasks = count_tasks();
    while (tasks < enough && task_queries > 4 && queries > 1) {
      task_queries /= 2;
      tasks = count_tasks();
    }
    split = threads > 1 && tasks < enough && blocks > 1 && fits_shared(queries);
  }
  int most_queries() const {
    int queries = shape.group > attention_task_rows ? 1 : attention_task_rows / shape.group;
    // A power of two: tasks end where blocks of keys do, and prompts are often cut into such pieces.
    while (attention_digits && (queries & (queries - 1)) != 0) queries &= queries - 1;
    return queries;
  }
  // Whether the blocks of `queries` queries may wait in shared memory.
  bool fits_shared(int64_t queries) const {
    const int64_t bytes = static_cast<int64_t>(sizeof(float)) * RowParts::floats(shape.heads, blocks, shape.padded);
    return queries == 1 || queries <= attention_waiting_bytes / bytes;
  }
  int64_t count_tasks() const {
    const Operand& starts = call.in[op_attention::starts];
    int64_t count = 0;
    for (int64_t b = 0; b + 1 < starts.shape[0]; b++) {
      const int queries = starts.row<int32_t>(b + 1)[0] - starts.row<int32_t>(b)[0];
      count += (queries + task_queries - 1) / task_queries;
    }
    return count * shape.kv_heads;
  }
};

// Walks the work in order; later tasks of a sequence, which see more keys, come first.
class AttentionWalk {
 public:
  explicit AttentionWalk(const AttentionWork& work) : work_(work) { enter(0); }

  // Moves on to work `index`, not before the present one. Sets `task` and, for split work, `block`.
  bool seek(int64_t index) {
    while (sequence_ < sequences()) {
      while (left_ > 0) {
        set_task();
        const int64_t size = work_.split ? end_block - first_block : 1;
        if (index < base_ + size) {
          block = first_block + (index - base_);
          return true;
        }
        base_ += size;
        next_task();
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

  AttentionRows task = {};
  int64_t first_block = 0, end_block = 0, block = 0;
  // Rows of this step before the task's.
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
    left_ = (queries_ + work_.task_queries - 1) / work_.task_queries;
  }
  void next_task() {
    if (++kv_head_ < work_.shape.kv_heads) return;
    kv_head_ = 0;
    left_--;
  }
  void set_task() {
    const int first = (left_ - 1) * work_.task_queries;
    const int end = first + work_.task_queries < queries_ ? first + work_.task_queries : queries_;
    task.queries = end - first;
    task.rows = task.queries * work_.shape.group;
    task.length = work_.call.in[op_attention::lengths].row<int32_t>(sequence_)[0];
    task.position = task.length - queries_ + first;
    task.kv_head = kv_head_;
    task.query_row = start_ + first;
    task.pages = work_.call.in[op_attention::pages].row<int32_t>(sequence_);
    first_block = task.first_key(work_.shape, 0) / attention_block;
    end_block = (task.end_key(work_.shape, task.queries - 1) + attention_block - 1) / attention_block;
    row_base = static_cast<int64_t>(task.query_row) * work_.shape.heads + static_cast<int64_t>(kv_head_) * task.rows;
  }

  const AttentionWork& work_;
  int64_t base_ = 0, sequence_ = 0;
  int start_ = 0, queries_ = 0, left_ = 0, kv_head_ = 0;
};

inline void begin_task(const AttentionWork& work, const AttentionRows& task, const AttentionScratch& scratch) {
  begin_rows(work.shape, task, work.call.in[op_attention::q], scratch);
#if defined(OCTAVO_AMX)
  if (!worth_digits(work.shape, task.rows)) return;
  const int64_t depth = work.shape.depth;
  for (int row = 0; row < task.rows; row++) split_row(scratch.q + row * depth, static_cast<int>(depth / 64));
#endif
}

template <class T>
inline void attend(const AttentionWork& work, const AttentionRows& task, int64_t block, bool after, bool more,
                   const AttentionScratch& scratch, const BlockPart* part) {
#if defined(OCTAVO_AMX)
  if (worth_digits(work.shape, task.rows)) return attend_digits<T>(work.call, work.shape, task, block, scratch, part);
#endif
  attend_block<T>(work.call, work.shape, task, block, after, more, scratch, part);
}
inline void attend(const AttentionWork& work, const AttentionRows& task, int64_t block, bool after, bool more,
                   const AttentionScratch& scratch, const BlockPart* part) {
  if (work.shape.wide) return attend<int16_t>(work, task, block, after, more, scratch, part);
  attend<int8_t>(work, task, block, after, more, scratch, part);
}

inline void attend_tasks(const AttentionWork& work, const Worker& worker) {
  const AttentionShape& shape = work.shape;
  const AttentionScratch scratch(worker.scratch, shape, static_cast<int64_t>(work.task_queries) * shape.group);
  AttentionWalk walk(work);
  int64_t index, end;
  while (worker.next(work.tasks, 1, &index, &end) && walk.seek(index)) {
    begin_task(work, walk.task, scratch);
    for (int64_t b = walk.first_block; b < walk.end_block; b++)
      attend(work, walk.task, b, b > walk.first_block, b + 1 < walk.end_block, scratch, nullptr);
    for (int row = 0; row < walk.task.rows; row++)
      finish_row(shape, walk.task, row, scratch.states.known_total(row), scratch.output + row * shape.padded,
                 work.call.out[op_attention::out_y]);
  }
}

inline void attend_split(const AttentionWork& work, const Worker& worker) {
  const AttentionShape& shape = work.shape;
  const AttentionScratch scratch(worker.scratch, shape, static_cast<int64_t>(work.task_queries) * shape.group);
  float* shared = reinterpret_cast<float*>(worker.shared);
  const int64_t row_floats = RowParts::floats(1, work.blocks, shape.padded);
  const auto parts = [&](const AttentionWalk& walk) {
    return RowParts(shared + walk.row_base * row_floats, walk.task.rows, walk.end_block - walk.first_block,
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
    const BlockPart part = parts(walk).block(walk.block - walk.first_block);
    begin_task(work, walk.task, scratch);
    attend(work, walk.task, walk.block, false, false, scratch, &part);
    done = (worker.cursor->fetch_add(one_done, std::memory_order_acq_rel) >> 32) + 1;
  } while (done < count);
  AttentionWalk tasks(work);
  for (int64_t index = 0; tasks.seek(index); index += tasks.end_block - tasks.first_block)
    join_blocks(shape, tasks.task, parts(tasks), tasks.end_block - tasks.first_block,
                work.call.out[op_attention::out_y]);
}

inline void run_attention(const OpCall& call, const Worker& worker) {
  if (call.in[op_attention::q].shape[0] == 0) return;
  const AttentionWork work(call, worker.threads);
  if (work.split) {
    attend_split(work, worker);
  } else {
    attend_tasks(work, worker);
  }
}

}  // namespace octavo::OCTAVO_ISA
