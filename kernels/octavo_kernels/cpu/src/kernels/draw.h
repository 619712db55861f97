// Drawing an id from a row of logits at a temperature: top-k, top-p, min-p, inverse CDF, likeliest first.
//
// The kept ids are the beginning of one order (ranking.h). The row is never sorted whole when a few candidates have
// the mass that the draw needs, which is nearly always: their number follows from the sums of one pass.
#pragma once

#include "log_sum.h"

namespace octavo::OCTAVO_ISA {

struct DrawSettings {
  float temperature, top_p, min_p;
  int32_t top_k;  // 0 is all
  float u;        // in [0, 1)
};

// Up to here top-k candidates are kept in order by insertion.
inline constexpr int small_top_k = 256;
// Weights, relative to the likeliest, down to which candidates are gathered in turn until their mass suffices.
// Each has several times as many candidates as the one before, and those are sorted.
inline constexpr float weight_levels[] = {0x1p-12f, 0x1p-17f, 0x1p-22f, 0x1p-126f};
inline constexpr int level_count = 4;

// Weight of a logit, relative to the likeliest.
struct Weights {
  F32x16 temperature, offset;
  double largest_logit, degree;
  bool scaled;

  Weights(float temperature_of_draw, float largest)
      : temperature(set1(temperature_of_draw)),
        offset(div(set1(largest), temperature)),
        largest_logit(largest),
        degree(temperature_of_draw),
        scaled(temperature_of_draw != 1) {}
  F32x16 of(F32x16 logits) const {
    const F32x16 x = scaled ? div(logits, temperature) : logits;  // a division costs as much as half of exp
    // NaN compares false and gets nothing.
    return select(eq(logits, logits), exp(sub(x, offset)), zero());
  }
  // A logit below which no weight reaches `least`: with a margin that covers all roundings of a weight.
  float logit_below(float least) const {
    const double depth = __builtin_log(static_cast<double>(least)) * degree;
    return static_cast<float>(largest_logit + depth - 0.01 * degree - 1e-6 * __builtin_fabs(largest_logit));
  }
};

struct Masses {
  double all = 0;
  double level[level_count] = {};  // of weights from weight_levels[i] on
  double kept = 0;                 // of weights from min-p on
};

// `bounded`: whether min_p is above 0, and `kept` something else than `all`. `leveled`: whether a level is looked at.
template <bool bounded, bool leveled>
inline Masses sum_weights(const float* row, int64_t count, const Weights& weights, float min_p) {
  Masses masses;
  const F32x16 least = set1(min_p);
  for (int64_t block = 0; block < count; block += 16 * float_sum_vectors) {
    const int64_t end = block + 16 * float_sum_vectors < count ? block + 16 * float_sum_vectors : count;
    F32x16 all = zero(), kept = zero(), level[level_count - 1];
    for (F32x16& sum : level) sum = zero();
    for (int64_t i = block; i < end; i += 16) {
      const F32x16 w = weights.of(load_part(row + i, end - i, -__builtin_inff()));
      all = add(all, w);
      for (int j = 0; leveled && j < level_count - 1; j++)
        level[j] = add(level[j], select(ge(w, set1(weight_levels[j])), w, zero()));
      if (bounded) kept = add(kept, select(ge(w, least), w, zero()));
    }
    masses.all += reduce_add(all);
    for (int j = 0; j < level_count - 1; j++) masses.level[j] += reduce_add(level[j]);
    masses.kept += reduce_add(kept);
  }
  masses.level[level_count - 1] = masses.all;
  if (!bounded) masses.kept = masses.all;
  return masses;
}

// Ids with at least this weight, in ascending order of ids.
inline int64_t gather(const float* row, int64_t count, const Weights& weights, float least, Candidate* candidates) {
  int64_t found = 0;
  const F32x16 low = set1(least), near = set1(weights.logit_below(least));
  for (int64_t i = 0; i < count; i += 16) {
    const F32x16 x = load_part(row + i, count - i, -__builtin_inff());
    if (!any(ge(x, near))) continue;  // most of a row: no exponentials
    unsigned mask = mask_bits(ge(weights.of(x), low));
    for (; mask; mask &= mask - 1) {
      const int64_t id = i + __builtin_ctz(mask);
      candidates[found++] = {row[id], static_cast<int32_t>(id)};
    }
  }
  return found;
}

// Calls body(index, weight) for candidates in order until it returns false.
template <class Body>
inline void each_weight(const Candidate* candidates, int64_t count, const Weights& weights, const Body& body) {
  for (int64_t i = 0; i < count; i += 16) {
    const int n = count - i < 16 ? static_cast<int>(count - i) : 16;
    alignas(64) float lanes[16];
    for (int j = 0; j < 16; j++) lanes[j] = j < n ? candidates[i + j].logit : -__builtin_inff();
    store(lanes, weights.of(load(lanes)));
    for (int j = 0; j < n; j++)
      if (!body(i + j, lanes[j])) return;
  }
}

// Draws from candidates in order: those before which less than top_p * mass lies and that have min-p's weight;
// `kept` is their mass where it is known without counting (no top-p), else negative.
inline int32_t draw_in_order(const Candidate* candidates, int64_t count, const Weights& weights,
                             const DrawSettings& settings, double mass, double kept) {
  if (kept < 0) {
    const double limit = settings.top_p < 1 ? settings.top_p * mass : __builtin_inf();
    double sum = 0;
    int64_t last = 0;
    each_weight(candidates, count, weights, [&](int64_t i, float weight) {
      if (i > 0 && !(sum < limit && weight >= settings.min_p)) return false;
      sum += weight;
      last = i;
      return true;
    });
    kept = sum;
    count = last + 1;
  }
  const double target = settings.u * kept;
  double sum = 0;
  int64_t drawn = 0;
  each_weight(candidates, count, weights, [&](int64_t i, float weight) {
    if (weight == 0) return false;
    sum += weight;
    drawn = i;
    return !(sum > target);
  });
  return candidates[drawn].id;
}

inline double mass_of(const Candidate* candidates, int64_t count, const Weights& weights) {
  double sum = 0;
  each_weight(candidates, count, weights, [&](int64_t, float weight) {
    sum += weight;
    return true;
  });
  return sum;
}

// Ids whose logit is at least this, in ascending order of ids.
inline int64_t gather_from(const float* row, int64_t count, float least, Candidate* candidates) {
  int64_t found = 0;
  const F32x16 low = set1(least);
  for (int64_t i = 0; i < count; i += 16) {
    unsigned mask = mask_bits(ge(load_part(row + i, count - i, __builtin_nanf("")), low));
    for (; mask; mask &= mask - 1) {
      const int64_t id = i + __builtin_ctz(mask);
      candidates[found++] = {row[id], static_cast<int32_t>(id)};
    }
  }
  return found;
}

// `peak`: of the row. `candidates` and `spare` have room for `count` each.
inline int32_t draw(const float* row, int64_t count, const RowPeak& peak, const DrawSettings& settings,
                    Candidate* candidates, Candidate* spare) {
  // Nothing is allowed, or a logit that is infinite (after a bias or a penalty) or is so by the temperature leaves no choice.
  const float scaled = peak.largest / settings.temperature;
  if (scaled - scaled != 0) return peak.id;
  const Weights weights(settings.temperature, peak.largest);
  if (settings.top_k > 0 && settings.top_k < count) {
    int64_t found = 0;
    if (settings.top_k <= small_top_k) {
      found = first_candidates(row, count, settings.top_k, candidates);
    } else {
      // Ids without weight are never drawn, so fewer than top-k may be enough.
      const float lowest = weights.logit_below(weight_levels[level_count - 1]);
      found = gather_from(row, count, cut_of(row, count, settings.top_k, lowest, peak.largest), candidates);
      sort_candidates(candidates, found, spare);
      if (found > settings.top_k) found = settings.top_k;
    }
    return draw_in_order(candidates, found, weights, settings, mass_of(candidates, found, weights), -1);
  }
  const auto sum = settings.min_p == 0                 ? sum_weights<false, true>
                   : settings.min_p < weight_levels[0] ? sum_weights<true, true>
                                                       : sum_weights<true, false>;
  const Masses masses = sum(row, count, weights, settings.min_p);
  const bool cut = settings.top_p < 1;
  // With a margin: in order the weights are added up in another way, which differs in the seventh digit.
  const double needed = (cut ? settings.top_p * masses.all : settings.u * masses.kept) * (1 + 1e-5);
  int level = 0;
  // From min-p's weight on nothing is missing.
  while (level + 1 < level_count && settings.min_p < weight_levels[level] && !(masses.level[level] > needed)) level++;
  const float least = settings.min_p > weight_levels[level] ? settings.min_p : weight_levels[level];
  const int64_t found = gather(row, count, weights, least, candidates);
  sort_candidates(candidates, found, spare);
  return draw_in_order(candidates, found, weights, settings, masses.all, cut ? -1 : masses.kept);
}

}  // namespace octavo::OCTAVO_ISA
