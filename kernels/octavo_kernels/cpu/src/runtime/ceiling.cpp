#include "ceiling.h"

#include <atomic>
#include <chrono>
#include <vector>

namespace octavo {

namespace {

constexpr int64_t kBytes = int64_t{256} << 20;  // More than any last-level cache a worker has for itself.
constexpr int kRounds = 5;

struct Reading {
  Team& team;
  const std::vector<uint64_t>& memory;
  std::atomic<uint64_t> sink{0};
};

void read_share(void* context, int thread) {
  Reading& reading = *static_cast<Reading*>(context);
  const size_t count = reading.memory.size() / static_cast<size_t>(reading.team.size());
  const uint64_t* words = reading.memory.data() + count * static_cast<size_t>(thread);
  uint64_t sums[16] = {};
  for (size_t i = 0; i + 16 <= count; i += 16) {
    for (size_t j = 0; j < 16; j++) sums[j] += words[i + j];
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum += s;
  reading.sink += sum;
}

struct Computing {
  int64_t (*peak)(int64_t rounds);
  std::atomic<int64_t> operations{0};
};

void compute_share(void* context, int) {
  Computing& computing = *static_cast<Computing*>(context);
  computing.operations += computing.peak(int64_t{1} << 22);
}

// The best of a few rounds: the ceiling is what the machine can do, not what it does on average.
template <class Run>
double shortest_seconds(Run run) {
  double best = 1e30;
  for (int round = 0; round < kRounds; round++) {
    const auto began = std::chrono::steady_clock::now();
    run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    best = seconds < best ? seconds : best;
  }
  return best;
}

int64_t operations_per_second(Team& team, int64_t (*peak)(int64_t)) {
  int64_t operations = 0;
  const double seconds = shortest_seconds([&] {
    Computing computing{peak};
    team.run(compute_share, &computing);
    operations = computing.operations;
  });
  return static_cast<int64_t>(static_cast<double>(operations) / seconds);
}

}  // namespace

octavo_ceiling measure_ceiling(Team& team, const InstructionSet& isa) {
  const std::vector<uint64_t> memory(static_cast<size_t>(kBytes) / sizeof(uint64_t), 1);
  Reading reading{team, memory};
  const double seconds = shortest_seconds([&] { team.run(read_share, &reading); });
  octavo_ceiling ceiling;
  ceiling.read_bytes = static_cast<int64_t>(static_cast<double>(kBytes) / seconds);
  ceiling.int8_operations = operations_per_second(team, isa.int8_peak);
  ceiling.float32_operations = operations_per_second(team, isa.float32_peak);
  return ceiling;
}

}  // namespace octavo
