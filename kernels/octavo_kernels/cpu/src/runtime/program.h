// A program made ready: its ops with their operands resolved, run by the team one after the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "abi.h"
#include "chain.h"
#include "group.h"
#include "isa.h"
#include "op.h"
#include "team.h"

namespace octavo {

class Program {
 public:
  // `group`: null for a program of one rank.
  Program(Team& team, const InstructionSet& isa, const octavo_program_spec& spec, int64_t thread_bytes, Group* group);

  // See abi.h. False when the group is broken.
  bool step(uint8_t* workspace, const int64_t* sizes, const uint8_t* payload, uint8_t* reply,
            octavo_counters* counters, int64_t* profile, int64_t* nonfinite);

 private:
  // An operand in the payload of each step, or columns of one.
  struct Brought {
    Operand* operand;
    int32_t value;
  };
  struct alignas(64) Cursor {
    std::atomic<int64_t> next;
  };

  // What a thread has done in a step with other ranks.
  struct Exchanges {
    Turns turns;
    int64_t gathers = 0, sends = 0, receives = 0;
  };

  void resolve(const int64_t* sizes);
  void place_inputs(const uint8_t* payload);
  int64_t bytes_of(int32_t value) const;
  Operand operand_of(int32_t value) const;
  uint8_t* data_of(int32_t value) const;
  bool is_brought(int32_t value) const;
  void run(int thread);
  bool exchange(const OpCall& call, Exchanges* done, int thread);
  void run_op(size_t op, Worker& worker);
  void run_chain(const Chain& chain, Worker& worker);
  // Whether chains run as such in this step.
  bool chained() const;

  Team& team_;
  const InstructionSet& isa_;
  std::vector<octavo_value> values_;
  std::vector<octavo_operation> operations_;
  std::vector<int32_t> inputs_, outputs_;

  // At the sizes of the last step.
  std::vector<int64_t> sizes_;
  std::vector<Operand> operands_;
  std::vector<OpCall> calls_;
  std::vector<Brought> brought_;

  std::vector<Chain> chains_;
  std::vector<Cursor> cursors_;
  std::vector<StepCounters> counters_;
  const int64_t thread_bytes_;
  Group* const group_;
  // Of the group, before the step.
  Turns turns_{};
  uint8_t* workspace_ = nullptr;
  int64_t* profile_ = nullptr;
  int64_t* nonfinite_ = nullptr;
};

}  // namespace octavo
