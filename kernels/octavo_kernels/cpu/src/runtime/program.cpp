#include "program.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "clock.h"
#include "finite.h"

namespace octavo {

namespace {

bool is_exchange(OpCode code) {
  return code == OpCode::gather || code == OpCode::send || code == OpCode::receive;
}

int64_t size_of(int64_t dimension, const int64_t* sizes) {
  if (dimension >= 0) return dimension;
  const int64_t index = -1 - dimension;
  return index < size_count ? sizes[index] : sizes[index - size_count] + 1;
}

}  // namespace

Program::Program(Team& team, const InstructionSet& isa, const octavo_program_spec& spec, int64_t thread_bytes,
                 Group* group)
    : team_(team),
      isa_(isa),
      values_(spec.values, spec.values + spec.value_count),
      operations_(spec.operations, spec.operations + spec.operation_count),
      inputs_(spec.inputs, spec.inputs + spec.input_count),
      outputs_(spec.outputs, spec.outputs + spec.output_count),
      operands_(values_.size()),
      calls_(operations_.size()),
      cursors_(operations_.size() * max_phases),
      counters_(static_cast<size_t>(team.size())),
      thread_bytes_(thread_bytes),
      group_(group) {
  resolve(spec.limits);  // Every vector then has room, so that a step allocates nothing.
  chains_ = find_chains({values_, operations_, outputs_, operands_, isa_.kernels}, team_.size());
}

// Shapes, strides and addresses at these sizes.
void Program::resolve(const int64_t* sizes) {
  sizes_.assign(sizes, sizes + size_count);
  brought_.clear();
  for (size_t i = 0; i < values_.size(); i++) {
    const octavo_value& value = values_[i];
    Operand& operand = operands_[i];
    operand.rank = value.rank;
    operand.dtype = static_cast<DType>(value.dtype);
    operand.layout = static_cast<Layout>(value.layout);
    for (int axis = 0; axis < 4; axis++)
      operand.shape[axis] = axis < value.rank ? size_of(value.shape[axis], sizes) : 1;
    operand.stride = operand.shape[1] * operand.shape[2] * operand.shape[3];
    // What a step brings is not here yet, but present: kernels tell absent operands by null.
    operand.data = value.place == OCTAVO_PLACE_INPUT ? static_cast<void*>(&operand) : value.memory;
    if (value.place == OCTAVO_PLACE_COLUMNS) {
      operand.stride = operands_[static_cast<size_t>(value.of)].stride;
      operand.data = data_of(static_cast<int32_t>(i));
    }
  }
  for (size_t i = 0; i < operations_.size(); i++) {
    const octavo_operation& operation = operations_[i];
    OpCall& call = calls_[i];
    call.code = static_cast<OpCode>(operation.code);
    for (int j = 0; j < max_inputs; j++) {
      const int32_t value = operation.inputs[j];
      call.in[j] = operand_of(value);
      if (value >= 0 && is_brought(value)) brought_.push_back({&call.in[j], value});
    }
    for (int j = 0; j < max_outputs; j++) call.out[j] = operand_of(operation.outputs[j]);
    std::copy(operation.attributes, operation.attributes + max_attributes, call.attribute);
  }
}

Operand Program::operand_of(int32_t value) const {
  return value < 0 ? Operand{} : operands_[static_cast<size_t>(value)];
}

uint8_t* Program::data_of(int32_t value) const {
  const octavo_value& declared = values_[static_cast<size_t>(value)];
  if (declared.place != OCTAVO_PLACE_COLUMNS) return static_cast<uint8_t*>(operands_[static_cast<size_t>(value)].data);
  return data_of(static_cast<int32_t>(declared.of)) + declared.column * bytes_per_element[declared.dtype];
}

bool Program::is_brought(int32_t value) const {
  while (values_[static_cast<size_t>(value)].place == OCTAVO_PLACE_COLUMNS)
    value = static_cast<int32_t>(values_[static_cast<size_t>(value)].of);
  return values_[static_cast<size_t>(value)].place == OCTAVO_PLACE_INPUT;
}

int64_t Program::bytes_of(int32_t value) const {
  const Operand& operand = operands_[static_cast<size_t>(value)];
  int64_t bytes = bytes_per_element[static_cast<int>(operand.dtype)];
  for (int axis = 0; axis < operand.rank; axis++) bytes *= operand.shape[axis];
  return bytes;
}

void Program::place_inputs(const uint8_t* payload) {
  int64_t offset = 0;
  for (const int32_t value : inputs_) {
    offset = round_up_64(offset);
    operands_[static_cast<size_t>(value)].data = const_cast<uint8_t*>(payload) + offset;
    offset += bytes_of(value);
  }
  for (const Brought& brought : brought_) brought.operand->data = data_of(brought.value);
}

bool Program::step(uint8_t* workspace, const int64_t* sizes, const uint8_t* payload, uint8_t* reply,
                   octavo_counters* counters, int64_t* profile, int64_t* nonfinite) {
  if (group_ && group_->broken()) return false;
  const int64_t began = now();
  if (!std::equal(sizes_.begin(), sizes_.end(), sizes)) resolve(sizes);
  place_inputs(payload);
  for (Cursor& cursor : cursors_) cursor.next.store(0, std::memory_order_relaxed);
  std::fill(counters_.begin(), counters_.end(), StepCounters{});
  workspace_ = workspace;
  profile_ = profile;
  nonfinite_ = nonfinite;
  if (group_) turns_ = group_->turns();
  team_.run([](void* program, int thread) { static_cast<Program*>(program)->run(thread); }, this);
  if (group_ && group_->failed()) return false;

  int64_t offset = 0;
  for (const int32_t value : outputs_) {
    const Operand& operand = operands_[static_cast<size_t>(value)];
    const int64_t bytes = bytes_of(value), start = round_up_64(offset);
    std::fill(reply + offset, reply + start, uint8_t{0});
    const int64_t rows = operand.rank > 1 ? operand.shape[0] : 1, row_bytes = rows > 0 ? bytes / rows : 0;
    const int64_t stride = operand.stride * bytes_per_element[static_cast<int>(operand.dtype)];
    if (row_bytes == stride || rows == 1) {
      if (bytes > 0) std::memcpy(reply + start, data_of(value), static_cast<size_t>(bytes));
    } else {
      for (int64_t row = 0; row < rows; row++) {
        const uint8_t* source = data_of(value) + row * stride;
        std::memcpy(reply + start + row * row_bytes, source, static_cast<size_t>(row_bytes));
      }
    }
    offset = start + bytes;
  }
  *counters = {};
  for (const StepCounters& counted : counters_) {
    counters->quantized += counted.quantized;
    counters->carries += counted.carries;
    counters->nonfinite += counted.nonfinite;
  }
  counters->nanoseconds = now() - began;
  return true;
}

void Program::run(int thread) {
  Worker worker{};
  worker.thread = thread;
  worker.threads = team_.active();
  worker.scratch = workspace_ + thread * thread_bytes_;
  worker.shared = workspace_ + team_.size() * thread_bytes_;
  worker.counters = &counters_[static_cast<size_t>(thread)];
  const bool chained = this->chained();
  auto chain = chains_.begin();
  int64_t last = profile_ && thread == 0 ? now() : 0;
  Exchanges exchanges{turns_};
  for (size_t i = 0; i < calls_.size(); i++) {
    if (group_ && is_exchange(calls_[i].code)) {
      if (!exchange(calls_[i], &exchanges, thread)) return;
    } else if (chained && chain != chains_.end() && static_cast<size_t>(chain->first) == i) {
      run_chain(*chain, worker);
      i = static_cast<size_t>(chain->last) - 1;
      last = profile_ && thread == 0 ? now() : 0;
      chain++;
      continue;
    } else {
      run_op(i, worker);
    }
    if (nonfinite_) {
      if (thread == 0) nonfinite_[i] = !results_finite(calls_[i]);
      team_.barrier(thread);  // the next op may write where these results lie
    }
    if (profile_ && thread == 0) {
      const int64_t time = now();
      profile_[i] = time - last;
      last = time;
    }
  }
}

// With the other ranks; false on every thread when it failed.
bool Program::exchange(const OpCall& call, Exchanges* done, int thread) {
  const Caller caller = {thread, team_.active(), &team_};
  const auto rows_of = [](const Operand& operand, int64_t index) {
    return Rows{operand.as<float>(), operand.stride, operand.shape[0], operand.shape[1], index};
  };
  switch (call.code) {
    case OpCode::send:
      return group_->send(rows_of(call.in[op_send::x], done->sends++), &done->turns, caller);
    case OpCode::receive:
      return group_->receive(rows_of(call.out[op_receive::out_y], done->receives++), &done->turns, caller);
    default: {
      namespace op = op_gather;
      const Operand &x = call.in[op::x], &y = call.out[op::out_y];
      const Gather mine = {x.as<float>(), x.stride,   y.as<float>(), y.stride, x.shape[0],
                           x.shape[1],    y.shape[1], call.integer(op::attr_first), done->gathers++};
      return group_->gather(mine, &done->turns, caller);
    }
  }
}

void Program::run_op(size_t op, Worker& worker) {
  const KernelEntry& kernel = isa_.kernels[static_cast<int>(calls_[op].code)];
  for (int phase = 0; phase < kernel.phases; phase++) {
    worker.phase = phase;
    worker.cursor = &cursors_[op * max_phases + static_cast<size_t>(phase)].next;
    kernel.run(calls_[op], worker);
    team_.barrier(worker.thread);
  }
}

// Not where results are looked at op by op: what lies between the ops of a chain is never there as a whole.
bool Program::chained() const {
  return nonfinite_ == nullptr && sizes_[0] >= chain_rows_per_thread * team_.active();
}

// The time of an op is thread 0's for it; the last one's has the wait for other threads in it.
void Program::run_chain(const Chain& chain, Worker& worker) {
  const bool timed = profile_ != nullptr && worker.thread == 0;
  int64_t last = timed ? now() : 0;
  const auto lap = [&](int32_t op) {
    const int64_t time = now();
    profile_[op] += time - last;
    last = time;
  };
  for (int32_t op = chain.first; timed && op < chain.last; op++) profile_[op] = 0;
  Worker alone = worker;
  std::atomic<int64_t> cursor;
  alone.thread = 0, alone.threads = 1, alone.phase = 0, alone.cursor = &cursor;
  std::atomic<int64_t>& next = cursors_[static_cast<size_t>(chain.first) * max_phases].next;
  const int64_t rows = sizes_[0], blocks = chain.blocks(rows, worker.threads);
  for (int64_t block = 0; (block = next.fetch_add(1, std::memory_order_relaxed)) < blocks;) {
    const int64_t begin = Chain::begin(block, blocks, rows), end = Chain::begin(block + 1, blocks, rows);
    for (int32_t op = chain.first; op < chain.last; op++) {
      cursor.store(0, std::memory_order_relaxed);
      const OpCall call = chain.rows_of(calls_[static_cast<size_t>(op)], op, worker.thread, begin, end);
      isa_.kernels[static_cast<int>(call.code)].run(call, alone);
      if (timed) lap(op);
    }
  }
  team_.barrier(worker.thread);
  if (timed) lap(chain.last - 1);
}

}  // namespace octavo
