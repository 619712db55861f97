// The end of a row that is no multiple of 16: whole vectors where there are 16 left, else the first few lanes.
#pragma once

namespace octavo::OCTAVO_ISA {

inline F32x16 load_part(const float* p, int64_t left, float fill) {
  return left >= 16 ? load(p) : load_first(p, static_cast<int>(left), fill);
}

inline void store_part(float* p, F32x16 v, int64_t left) {
  if (left >= 16) {
    store(p, v);
  } else {
    store_first(p, v, static_cast<int>(left));
  }
}

}  // namespace octavo::OCTAVO_ISA
