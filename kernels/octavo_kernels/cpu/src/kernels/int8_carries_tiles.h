// The high digits of a block of rows, gathered for tiles: outliers keep to few columns, so the groups that any of 32 rows
// lists are few (SmolLM2: 6 of 144, 79 of 384), and rows of just those are one or a few steps of a product.
#pragma once

#include <cstdint>
#include <cstring>

#include "digits.h"
#include "int8_product.h"
#include "int8_tiles.h"

namespace octavo::OCTAVO_ISA {

// A step of a product is this many groups of 4 columns.
inline constexpr int step_groups = 16;
// Most groups of a block. More, and a product with all high digits does it. So many steps' weights are gathered at once.
inline constexpr int64_t gathered_groups = 1024, gathered_steps = 16;
// Of a thread, beside a plain weight's panel: GATHERED_BYTES of protocol/workspace.ts.
inline constexpr int64_t gathered_bytes = int64_t{256} << 10;

struct CarriedBlock {
  // 0: no row has carries. -1: they are not gathered.
  int64_t steps = 0;
  int32_t groups[gathered_groups];  // steps * 16 of them, filled up with the first
  int8_t* digits;                   // [rows][steps * 64], 0 where a row has no carry
};

// Gathers blocks one after the other into a thread's memory.
class CarryGatherer {
 public:
  // `scratch`: of linear_int8 (protocol/workspace.ts); null, and nothing is gathered. The part for a plain weight's panel
  // holds a number for each group.
  CarryGatherer(const Int8Product& product, uint8_t* scratch)
      : product_(product),
        places_(reinterpret_cast<int16_t*>(scratch)),
        digits_(scratch ? reinterpret_cast<int8_t*>(scratch) + product.groups * 64 : nullptr) {
    for (int64_t group = 0; scratch && group < product.groups; group++) places_[group] = -1;
  }

  void gather(int64_t row, int rows, CarriedBlock* block) {
    int64_t listed = 0;
    for (int64_t r = row; r < row + rows; r++) listed += product_.carries(r)[0];
    block->steps = listed == 0 ? 0 : -1;
    if (listed == 0 || places_ == nullptr) return;
    int64_t count = 0;
    const bool fits = number_groups(row, rows, block->groups, &count);
    const int64_t steps = (count + step_groups - 1) / step_groups, bytes = rows * steps * 64;
    // A gathered step takes as long as two plain ones.
    if (fits && 2 * steps <= product_.groups / step_groups + 1 && used_ + bytes <= gathered_bytes) {
      block->steps = steps;
      block->digits = digits_ + used_;
      used_ += bytes;
      copy_digits(row, rows, steps * 64, block->digits);
    }
    for (int64_t i = 0; i < count; i++) places_[block->groups[i]] = -1;
    for (int64_t i = count; i < steps * step_groups; i++) block->groups[i] = block->groups[0];
  }

 private:
  // Numbers the groups that the rows list, each once; false when they are more than a block may have.
  bool number_groups(int64_t row, int rows, int32_t* groups, int64_t* count) {
    for (int64_t r = row; r < row + rows; r++) {
      const int32_t* carries = product_.carries(r);
      for (int32_t i = 0; i < carries[0]; i++) {
        const int32_t group = carries[carry_header + i];
        if (places_[group] >= 0) continue;
        if (*count == gathered_groups) return false;
        places_[group] = static_cast<int16_t>(*count);
        groups[(*count)++] = group;
      }
    }
    return true;
  }
  void copy_digits(int64_t row, int rows, int64_t row_bytes, int8_t* digits) {
    std::memset(digits, 0, static_cast<size_t>(rows * row_bytes));
    for (int64_t r = row; r < row + rows; r++, digits += row_bytes) {
      const int32_t* carries = product_.carries(r);
      const int8_t* high = product_.high(r);
      for (int32_t i = 0; i < carries[0]; i++) {
        const int32_t group = carries[carry_header + i];
        std::memcpy(digits + 4 * places_[group], high + 4 * group, 4);
      }
    }
  }

  const Int8Product& product_;
  int16_t* const places_;  // of a group among the block's, or -1
  int8_t* const digits_;
  int64_t used_ = 0;
};

// The weights of up to gathered_steps steps of a block's groups, of each panel, as tiles want them.
struct GatheredWeights {
  static constexpr int64_t panel_bytes = gathered_steps * step_groups * 64;
  alignas(64) int8_t panel[2][panel_bytes];

  // Groups [begin, end), of which the first of all here is `first`, from `weights`, whose panels are `stride` bytes apart.
  template <int panels>
  OCTAVO_ALWAYS_INLINE void copy(const CarriedBlock& block, const int8_t* weights, int64_t stride, int64_t first,
                                 int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int8_t* group = weights + int64_t{64} * block.groups[i];
      for (int p = 0; p < panels; p++) std::memcpy(panel[p] + 64 * (i - first), group + p * stride, 64);
    }
  }
};

}  // namespace octavo::OCTAVO_ISA
