// Loads and stores of fewer than 16 elements, for instruction sets without masks: by way of memory.
#pragma once

#include <cstdint>
#include <cstring>

namespace octavo::OCTAVO_ISA {

inline F32x16 load_first(const float* p, int n, float fill) {
  float lanes[16];
  for (int i = 0; i < 16; i++) lanes[i] = i < n ? p[i] : fill;
  return load(lanes);
}
inline void store_first(float* p, F32x16 v, int n) {
  float lanes[16];
  store(lanes, v);
  std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(float));
}
inline F32x16 load_f16_first(const uint16_t* p, int n) {
  uint16_t lanes[16] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(uint16_t));
  return load_f16(lanes);
}
inline F32x16 load_bf16_first(const uint16_t* p, int n) {
  uint16_t lanes[16] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(uint16_t));
  return load_bf16(lanes);
}
inline void store_f16_first(uint16_t* p, F32x16 v, int n) {
  uint16_t lanes[16];
  store_f16(lanes, v);
  std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(uint16_t));
}
inline void store_bf16_first(uint16_t* p, F32x16 v, int n) {
  uint16_t lanes[16];
  store_bf16(lanes, v);
  std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(uint16_t));
}
template <class T>
inline Pairs load_pairs_first(const T* p, int n) {
  T elements[32] = {};
  std::memcpy(elements, p, static_cast<size_t>(2 * n) * sizeof(T));
  return load_pairs(elements);
}

}  // namespace octavo::OCTAVO_ISA
