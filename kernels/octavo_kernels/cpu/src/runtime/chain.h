// Chains: ops one after the other of which each makes row t of its results from row t of its operands. A thread takes some
// rows through all of them, so that what lies between two ops stays in its cache (4,096 rows, 2 threads of a Sapphire
// Rapids: 730 to 460 ms for all ops of SmolLM2 but attention), and nobody waits for the others until the end.
#pragma once

#include <cstdint>
#include <vector>

#include "abi.h"
#include "isa.h"
#include "op.h"

namespace octavo {

// Fewest rows of a thread for which a chain is run as one. What fewer rows make stays near without it, and reading weights
// anew for each block of rows costs more: 512 rows, 2 threads, 53 ms op by op, 56 as chains.
inline constexpr int64_t chain_rows_per_thread = 512;

// An operand whose rows are those of the chain.
struct ChainOperand {
  int16_t index;  // of the call's inputs, or from max_inputs on of its outputs
  bool own;       // at `offset` of the thread's own memory, as nobody else needs it; else at its place
  int64_t row_bytes;
  int64_t offset;
};

struct Chain {
  // Ops [first, last).
  int32_t first = 0, last = 0;
  // Most rows of a block: as many as the threads' memory is for.
  int64_t block_rows = 0;
  // Each thread's memory for what lies between the ops: a part of the arena that nothing else needs meanwhile.
  std::vector<uint8_t*> memory;
  // By op, from `first` on.
  std::vector<std::vector<ChainOperand>> operands;

  // In how many blocks of even size `rows` are taken; block i is [begin(i), begin(i + 1)).
  int64_t blocks(int64_t rows, int threads) const;
  static int64_t begin(int64_t block, int64_t blocks, int64_t rows);
  // `call` with rows [begin, end) of the chain only.
  OpCall rows_of(const OpCall& call, int32_t op, int thread, int64_t begin, int64_t end) const;
};

// What a program's chains are found from: its values and ops, and their operands at its limits.
struct ChainSource {
  const std::vector<octavo_value>& values;
  const std::vector<octavo_operation>& operations;
  const std::vector<int32_t>& outputs;
  const std::vector<Operand>& operands;
  const KernelEntry* kernels;
};

// The chains of a program, in the order of its ops; those for whose threads the arena has no room are left out.
std::vector<Chain> find_chains(const ChainSource& source, int threads);

}  // namespace octavo
