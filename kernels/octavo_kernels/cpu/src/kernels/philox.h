// Random numbers by counter: Philox4x32-10 (Salmon et al. 2011), so that a draw depends on its seed and position only.
#pragma once

namespace octavo::OCTAVO_ISA {

// In [0, 1), a multiple of 2^-24: from the first word of the counter (position, 0, 0, 0) under the key (seed_low,
// seed_high).
inline float uniform(uint32_t seed_low, uint32_t seed_high, uint32_t position) {
  uint32_t key[2] = {seed_low, seed_high};
  uint32_t x[4] = {position, 0, 0, 0};
  for (int round = 0; round < 10; round++) {
    const uint64_t first = static_cast<uint64_t>(0xD2511F53u) * x[0];
    const uint64_t second = static_cast<uint64_t>(0xCD9E8D57u) * x[2];
    const uint32_t x0 = static_cast<uint32_t>(second >> 32) ^ x[1] ^ key[0];
    const uint32_t x2 = static_cast<uint32_t>(first >> 32) ^ x[3] ^ key[1];
    x[0] = x0;
    x[1] = static_cast<uint32_t>(second);
    x[2] = x2;
    x[3] = static_cast<uint32_t>(first);
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return static_cast<float>(x[0] >> 8) * 0x1p-24f;
}

}  // namespace octavo::OCTAVO_ISA
