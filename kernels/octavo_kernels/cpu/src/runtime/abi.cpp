#include "abi.h"

#include <memory>
#include <new>
#include <string>

#include "ceiling.h"
#include "group.h"
#include "isa.h"
#include "program.h"
#include "team.h"

struct octavo_context {
  const octavo::InstructionSet& isa;
  octavo::Team team;
};

struct octavo_group {
  octavo::Group group;
};

struct octavo_program {
  octavo::Program program;
};

static_assert(sizeof(octavo_operation::inputs) / sizeof(int32_t) == octavo::max_inputs);
static_assert(sizeof(octavo_operation::outputs) / sizeof(int32_t) == octavo::max_outputs);
static_assert(sizeof(octavo_operation::attributes) / sizeof(double) == octavo::max_attributes);

extern "C" {

int32_t octavo_abi_version(void) { return OCTAVO_ABI_VERSION; }

const char* octavo_isas(void) {
  static const std::string names = [] {
    const octavo::InstructionSet* found[octavo::max_isas];
    const int count = octavo::available_isas(found);
    std::string text;
    for (int i = 0; i < count; i++) text += std::string(i ? " " : "") + found[i]->name;
    return text;
  }();
  return names.c_str();
}

octavo_context* octavo_open(const char* isa, int32_t threads) try {
  const octavo::InstructionSet* found = octavo::find_isa(isa);
  return found ? new octavo_context{*found, octavo::Team(threads)} : nullptr;
} catch (...) {
  return nullptr;
}

void octavo_close(octavo_context* context) { delete context; }

void octavo_borrow_threads(octavo_context* context, void (*parallel)(void (*)(void*), void*, unsigned, unsigned),
                           int (*thread_count)(void)) {
  context->team.borrow({parallel, thread_count});
}

int64_t octavo_group_least_bytes(int32_t ranks, int32_t stages) { return octavo::Group::least_bytes(ranks, stages); }

octavo_group* octavo_group_open(void* memory, int64_t bytes, int32_t rank, int32_t ranks, int32_t stages,
                                int64_t deadline_ms) {
  if (bytes < octavo::Group::least_bytes(ranks, stages)) return nullptr;
  return new (std::nothrow) octavo_group{{memory, bytes, rank, ranks, stages, deadline_ms}};
}

void octavo_group_close(octavo_group* group) { delete group; }

const char* octavo_group_error(octavo_group* group) {
  return group->group.broken() ? group->group.reason().c_str() : nullptr;
}

int32_t octavo_group_gather(octavo_group* group, const float* x, float* y, int64_t rows, int64_t own, int64_t columns,
                            int64_t first, int64_t index) {
  if (group->group.broken()) return OCTAVO_GROUP_BROKEN;
  octavo::Turns turns = group->group.turns();
  const octavo::Gather mine = {x, own, y, columns, rows, own, columns, first, index};
  return group->group.gather(mine, &turns, {}) ? 0 : OCTAVO_GROUP_BROKEN;
}

int32_t octavo_group_send(octavo_group* group, const float* x, int64_t rows, int64_t columns, int64_t index) {
  if (group->group.broken()) return OCTAVO_GROUP_BROKEN;
  octavo::Turns turns = group->group.turns();
  const octavo::Rows mine = {const_cast<float*>(x), columns, rows, columns, index};
  return group->group.send(mine, &turns, {}) ? 0 : OCTAVO_GROUP_BROKEN;
}

int32_t octavo_group_receive(octavo_group* group, float* y, int64_t rows, int64_t columns, int64_t index) {
  if (group->group.broken()) return OCTAVO_GROUP_BROKEN;
  octavo::Turns turns = group->group.turns();
  return group->group.receive({y, columns, rows, columns, index}, &turns, {}) ? 0 : OCTAVO_GROUP_BROKEN;
}

octavo_program* octavo_define(octavo_context* context, const octavo_program_spec* spec, int64_t thread_bytes,
                              octavo_group* group) try {
  octavo::Group* const ranks = group ? &group->group : nullptr;
  return new octavo_program{octavo::Program(context->team, context->isa, *spec, thread_bytes, ranks)};
} catch (const std::bad_alloc&) {
  return nullptr;
}

void octavo_release(octavo_program* program) { delete program; }

int32_t octavo_step(octavo_program* program, void* workspace, const int64_t* sizes, const void* payload, void* reply,
                    octavo_counters* counters, int64_t* profile, int64_t* nonfinite) {
  const bool done =
      program->program.step(static_cast<uint8_t*>(workspace), sizes, static_cast<const uint8_t*>(payload),
                            static_cast<uint8_t*>(reply), counters, profile, nonfinite);
  return done ? 0 : OCTAVO_GROUP_BROKEN;
}

void octavo_measure(octavo_context* context, octavo_ceiling* ceiling) try {
  *ceiling = octavo::measure_ceiling(context->team, context->isa);
} catch (const std::bad_alloc&) {
  *ceiling = {};
}

}  // extern "C"
