#include "chain.h"

#include <algorithm>

namespace octavo {

namespace {

// Rows of a block: the most that there is memory for.
constexpr int64_t block_sizes[] = {128, 96, 64};
// Bounds of blocks are multiples of it: whole tiles, and whole cache lines of the smallest rows.
constexpr int64_t row_multiple = 16;
// A dimension of T.
constexpr int64_t by_rows = -1;

struct Bytes {
  uint8_t *begin, *end;
  bool meets(const Bytes& other) const { return begin < other.end && other.begin < end; }
};

// What an op of a chain reads or writes at its place.
struct Access {
  Bytes bytes;
  int64_t row_bytes;  // 0: not by the chain's rows
  bool written;

  // Whether two ops of which one writes may come to it in another order than without a chain.
  bool conflicts(const Access& other) const {
    if (!bytes.meets(other.bytes) || !(written || other.written)) return false;
    return row_bytes == 0 || row_bytes != other.row_bytes || bytes.begin != other.bytes.begin;
  }
};

class Finder {
 public:
  Finder(const ChainSource& source, int threads) : source_(source), threads_(threads) {
    const int32_t count = static_cast<int32_t>(source.values.size());
    first_.assign(count, -1), last_.assign(count, -1);
    for (int32_t op = 0; op < static_cast<int32_t>(source.operations.size()); op++) {
      each_operand(op, [&](int, int32_t value) {
        if (first_[root(value)] < 0) first_[root(value)] = op;
        last_[root(value)] = op;
      });
    }
    for (const int32_t value : source.outputs) last_[root(value)] = static_cast<int32_t>(source.operations.size());
  }

  std::vector<Chain> find() {
    std::vector<Chain> chains;
    const int32_t count = static_cast<int32_t>(source_.operations.size());
    for (int32_t op = 0; op < count;) {
      Chain chain;
      chain.first = chain.last = op;
      while (chain.last < count && row_wise(chain.last)) chain.last++;
      while (chain.last - chain.first > 1) {
        const int32_t wrong = first_conflict(chain);
        if (wrong == chain.last) break;
        chain.last = wrong;
      }
      op = std::max(chain.last, op + 1);
      if (chain.last - chain.first > 1 && place(&chain)) chains.push_back(std::move(chain));
    }
    return chains;
  }

 private:
  // body(index of the call's operands, value)
  template <class Body>
  void each_operand(int32_t op, Body body) const {
    const octavo_operation& operation = source_.operations[op];
    for (int i = 0; i < max_inputs; i++)
      if (operation.inputs[i] >= 0) body(i, operation.inputs[i]);
    for (int i = 0; i < max_outputs; i++)
      if (operation.outputs[i] >= 0) body(max_inputs + i, operation.outputs[i]);
  }

  int32_t root(int32_t value) const {
    while (source_.values[value].place == OCTAVO_PLACE_COLUMNS) value = static_cast<int32_t>(source_.values[value].of);
    return value;
  }
  bool has_rows(int32_t value) const {
    return source_.values[value].rank > 0 && source_.values[value].shape[0] == by_rows;
  }
  int64_t row_bytes(int32_t value) const {
    const Operand& operand = source_.operands[root(value)];
    return operand.stride * bytes_per_element[static_cast<int>(operand.dtype)];
  }
  Bytes bytes(int32_t value) const {
    const Operand& operand = source_.operands[root(value)];
    uint8_t* begin = operand.as<uint8_t>();
    return {begin, begin + operand.shape[0] * row_bytes(value)};
  }

  // Whether each row of the op's results is made of that row of its operands.
  bool row_wise(int32_t op) const {
    const KernelEntry& kernel = source_.kernels[source_.operations[op].code];
    bool rows = kernel.row_wise && kernel.phases == 1;
    each_operand(op, [&](int index, int32_t value) {
      const octavo_value& declared = source_.values[value];
      const bool fixed = declared.rank == 0 || declared.shape[0] >= 0;
      if (index >= max_inputs || !fixed) rows = rows && has_rows(value) && declared.layout == 0;
      for (int axis = 1; axis < declared.rank; axis++) rows = rows && declared.shape[axis] >= 0;
    });
    return rows;
  }

  // Written and needed by the chain's ops only.
  bool own(const Chain& chain, int32_t value) const {
    const int32_t of = root(value);
    return source_.values[of].place == OCTAVO_PLACE_ARENA && has_rows(of) && first_[of] >= chain.first &&
           last_[of] < chain.last && is_output(first_[of], of);
  }
  bool is_output(int32_t op, int32_t value) const {
    const octavo_operation& operation = source_.operations[op];
    return std::any_of(operation.outputs, operation.outputs + max_outputs,
                       [&](int32_t output) { return output >= 0 && root(output) == value; });
  }

  // The first op that may not be in a chain with the ones before it; the end without any.
  int32_t first_conflict(const Chain& chain) const {
    std::vector<Access> before;
    for (int32_t op = chain.first; op < chain.last; op++) {
      std::vector<Access> here;
      const auto code = static_cast<OpCode>(source_.operations[op].code);
      const bool pages = code == OpCode::append || code == OpCode::rope_append;
      each_operand(op, [&](int index, int32_t value) {
        // What a step brings is written by nobody.
        if (own(chain, value) || source_.values[root(value)].place == OCTAVO_PLACE_INPUT) return;
        const bool rows = has_rows(value);
        here.push_back({bytes(value), rows ? row_bytes(value) : 0, index >= max_inputs || (pages && !rows)});
      });
      for (const Access& access : here) {
        for (const Access& other : before)
          if (access.conflicts(other)) return op;
      }
      before.insert(before.end(), here.begin(), here.end());
    }
    return chain.last;
  }

  // Gives each thread memory for the chain's own values; false where there is no room.
  bool place(Chain* chain) const {
    std::vector<int32_t> values;
    for (int32_t value = 0; value < static_cast<int32_t>(source_.values.size()); value++)
      if (root(value) == value && first_[value] >= 0 && own(*chain, value)) values.push_back(value);
    // Largest first, each where it fits first beside those that live when it does.
    std::sort(values.begin(), values.end(), [&](int32_t a, int32_t b) {
      return row_bytes(a) != row_bytes(b) ? row_bytes(a) > row_bytes(b) : a < b;
    });
    const std::vector<Bytes> free = free_bytes(*chain);
    for (const int64_t rows : block_sizes) {
      std::vector<int64_t> offsets(source_.values.size(), -1);
      const int64_t size = lay_out(values, rows, &offsets);
      chain->memory.clear();
      for (const Bytes& gap : free) {
        for (uint8_t* at = gap.begin; gap.end - at >= size && static_cast<int>(chain->memory.size()) < threads_; at += size)
          chain->memory.push_back(at);
      }
      if (static_cast<int>(chain->memory.size()) < threads_) continue;
      chain->block_rows = rows;
      for (int32_t op = chain->first; op < chain->last; op++) chain->operands.push_back(operands_of(*chain, op, offsets));
      return true;
    }
    return false;
  }

  // Offsets of `values` of so many rows; the bytes of all.
  int64_t lay_out(const std::vector<int32_t>& values, int64_t rows, std::vector<int64_t>* offsets) const {
    int64_t size = 64;
    std::vector<int32_t> placed;  // by offset
    for (const int32_t value : values) {
      const int64_t needed = round_up_64(rows * row_bytes(value));
      int64_t at = 0;
      for (const int32_t other : placed) {
        if (last_[other] < first_[value] || last_[value] < first_[other]) continue;
        const int64_t begin = (*offsets)[other], end = begin + round_up_64(rows * row_bytes(other));
        if (at + needed <= begin) break;
        at = std::max(at, end);
      }
      (*offsets)[value] = at;
      placed.insert(std::find_if(placed.begin(), placed.end(), [&](int32_t other) { return (*offsets)[other] > at; }), value);
      size = std::max(size, at + needed);
    }
    return size;
  }

  // The arena without what is needed at its place while the chain runs.
  std::vector<Bytes> free_bytes(const Chain& chain) const {
    std::vector<Bytes> taken;
    Bytes arena = {nullptr, nullptr};
    for (int32_t value = 0; value < static_cast<int32_t>(source_.values.size()); value++) {
      if (source_.values[value].place != OCTAVO_PLACE_ARENA) continue;
      const Bytes all = bytes(value);
      arena = arena.begin == nullptr ? all : Bytes{std::min(arena.begin, all.begin), std::max(arena.end, all.end)};
      const bool needed = first_[value] < chain.last && last_[value] >= chain.first;
      if (needed && !own(chain, value)) taken.push_back(all);
    }
    std::sort(taken.begin(), taken.end(), [](const Bytes& a, const Bytes& b) { return a.begin < b.begin; });
    std::vector<Bytes> free;
    uint8_t* at = arena.begin;
    const auto add = [&](uint8_t* end) {
      uint8_t* const begin = arena.begin + round_up_64(at - arena.begin);
      if (begin < end) free.push_back({begin, end});
    };
    for (const Bytes& one : taken) {
      add(one.begin);
      at = std::max(at, one.end);
    }
    add(arena.end);
    return free;
  }

  std::vector<ChainOperand> operands_of(const Chain& chain, int32_t op, const std::vector<int64_t>& offsets) const {
    std::vector<ChainOperand> found;
    each_operand(op, [&](int index, int32_t value) {
      if (!has_rows(value)) return;
      const bool apart = own(chain, value);
      int64_t offset = apart ? offsets[root(value)] : 0;
      for (int32_t view = value; apart && view != root(value); view = static_cast<int32_t>(source_.values[view].of))
        offset += source_.values[view].column * bytes_per_element[source_.values[view].dtype];
      found.push_back({static_cast<int16_t>(index), apart, row_bytes(value), offset});
    });
    return found;
  }

  const ChainSource& source_;
  const int threads_;
  // By root value: the first and the last op that needs it.
  std::vector<int32_t> first_, last_;
};

}  // namespace

int64_t Chain::blocks(int64_t rows, int threads) const {
  const auto even = [&](int64_t most) { return ((rows + most - 1) / most + threads - 1) / threads * threads; };
  const int64_t whole = even(block_rows);
  // Bounds that are rounded make a block larger than its even share.
  return rows % (whole * row_multiple) == 0 ? whole : even(block_rows - row_multiple);
}

int64_t Chain::begin(int64_t block, int64_t blocks, int64_t rows) {
  return block == blocks ? rows : rows * block / blocks / row_multiple * row_multiple;
}

OpCall Chain::rows_of(const OpCall& call, int32_t op, int thread, int64_t begin, int64_t end) const {
  OpCall part = call;
  for (const ChainOperand& operand : operands[static_cast<size_t>(op - first)]) {
    Operand& of = operand.index < max_inputs ? part.in[operand.index] : part.out[operand.index - max_inputs];
    of.shape[0] = end - begin;
    of.data = operand.own ? memory[static_cast<size_t>(thread)] + operand.offset
                          : of.as<uint8_t>() + begin * operand.row_bytes;
  }
  return part;
}

std::vector<Chain> find_chains(const ChainSource& source, int threads) { return Finder(source, threads).find(); }

}  // namespace octavo
