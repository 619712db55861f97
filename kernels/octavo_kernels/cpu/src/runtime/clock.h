// Time that only goes on.
#pragma once

#include <chrono>
#include <cstdint>

namespace octavo {

// Nanoseconds since some moment.
inline int64_t now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

}  // namespace octavo
