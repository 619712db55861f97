// Runs programs that come on stdin, one after the other, and answers on stdout: the CPU library in a process of its own, for
// processors that are only emulated. `backend.py` writes the requests; both sides are little-endian.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "runtime/abi.h"

namespace {

// Where a value's memory lies is sent as 1 + region in the upper bits and the offset in the region in the lower 48.
constexpr int region_shift = 48;

void fail(const char* what) {
  std::fprintf(stderr, "driver: %s\n", what);
  std::exit(1);
}

template <class T>
std::vector<T> read_all(int64_t count) {
  std::vector<T> data(static_cast<size_t>(count));
  if (std::fread(data.data(), sizeof(T), data.size(), stdin) != data.size()) fail("the request ends early");
  return data;
}

template <class T>
void write_all(const T* data, int64_t count) {
  if (std::fwrite(data, sizeof(T), static_cast<size_t>(count), stdout) != static_cast<size_t>(count)) fail("no reader");
}

// Kernels may assume what tensors promise: multiples of 64 bytes.
struct Region {
  int64_t bytes;
  uint8_t* data;

  explicit Region(int64_t size) : bytes(size), data(static_cast<uint8_t*>(std::aligned_alloc(64, (size + 127) / 64 * 64))) {
    if (size > 0 && std::fread(data, 1, static_cast<size_t>(size), stdin) != static_cast<size_t>(size)) fail("no memory's contents");
  }
  ~Region() { std::free(data); }
  Region(const Region&) = delete;
  Region(Region&& other) noexcept : bytes(other.bytes), data(other.data) { other.data = nullptr; }
};

struct Header {
  int64_t values, operations, inputs, outputs, regions, thread_bytes, workspace_bytes, payload_bytes, reply_bytes;
  int64_t sizes[octavo::size_count], limits[octavo::size_count];
};

void serve(octavo_context* context, const Header& header) {
  auto values = read_all<octavo_value>(header.values);
  const auto operations = read_all<octavo_operation>(header.operations);
  const auto inputs = read_all<int32_t>(header.inputs), outputs = read_all<int32_t>(header.outputs);
  const auto region_bytes = read_all<int64_t>(header.regions);
  std::vector<Region> regions;
  regions.reserve(region_bytes.size());
  for (const int64_t bytes : region_bytes) regions.emplace_back(bytes);
  const Region payload(header.payload_bytes);
  for (octavo_value& value : values) {
    const uint64_t place = reinterpret_cast<uintptr_t>(value.memory);
    if (place == 0) continue;
    value.memory = regions[(place >> region_shift) - 1].data + (place & ((uint64_t{1} << region_shift) - 1));
  }

  octavo_program_spec spec = {};
  spec.values = values.data(), spec.value_count = static_cast<int32_t>(values.size());
  spec.operations = operations.data(), spec.operation_count = static_cast<int32_t>(operations.size());
  spec.inputs = inputs.data(), spec.input_count = static_cast<int32_t>(inputs.size());
  spec.outputs = outputs.data(), spec.output_count = static_cast<int32_t>(outputs.size());
  for (int i = 0; i < octavo::size_count; i++) spec.limits[i] = header.limits[i];
  octavo_program* program = octavo_define(context, &spec, header.thread_bytes, nullptr);
  if (program == nullptr) fail("the program was refused");
  void* workspace = std::aligned_alloc(64, static_cast<size_t>(header.workspace_bytes + 64));
  std::vector<uint8_t> reply(static_cast<size_t>(header.reply_bytes));
  octavo_counters counters;
  octavo_step(program, workspace, header.sizes, payload.data, reply.data(), &counters, nullptr, nullptr);
  octavo_release(program);
  std::free(workspace);

  write_all(&counters, 1);
  write_all(reply.data(), header.reply_bytes);
  for (const Region& region : regions) write_all(region.data, region.bytes);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) fail("usage: driver INSTRUCTION_SET THREADS");
  octavo_context* context = octavo_open(argv[1], std::atoi(argv[2]));
  if (context == nullptr) fail("no such instruction set");
  Header header;
  while (std::fread(&header, sizeof(header), 1, stdin) == 1) serve(context, header);
  octavo_close(context);
}
