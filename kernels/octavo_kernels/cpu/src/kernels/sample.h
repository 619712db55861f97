// sample: one id per row of logits, each row on its own.
#pragma once

#include "draw.h"
#include "embed.h"
#include "philox.h"

namespace octavo::OCTAVO_ISA {

// One row's settings, as the columns of `settings` and `counters` say.
struct SampleRow {
  DrawSettings draw;
  float repetition, presence, frequency;
  int32_t wanted, mask, before_answer;

  SampleRow(const float* settings, const int32_t* counters) {
    draw = {settings[0], settings[1], settings[2], counters[0], 0};
    if (draw.temperature != 0)
      draw.u = uniform(static_cast<uint32_t>(counters[1]), static_cast<uint32_t>(counters[2]),
                       static_cast<uint32_t>(counters[3]));
    repetition = settings[3];
    presence = settings[4];
    frequency = settings[5];
    wanted = counters[4];
    mask = counters[5];
    before_answer = counters[6];
  }
  bool penalises() const { return repetition != 1 || presence != 0 || frequency != 0; }
};

// Each distinct id of the history once, and what means no id for none; presence and frequency count the answer alone.
// `counts` has room for the vocabulary; what it holds does not matter.
inline void penalise(const OpCall& call, int64_t s, const SampleRow& settings, float* row, int32_t* counts) {
  namespace op = op_sample;
  const Operand& history = call.in[op::history];
  const Operand& sampled = call.in[op::sampled];
  const int32_t begin = call.in[op::historyStarts].row<int32_t>(s)[0];
  const int32_t end = call.in[op::historyStarts].row<int32_t>(s + 1)[0];
  const int64_t vocabulary = call.in[op::logits].shape[1];
  const auto each = [&](int32_t first, auto body) {
    for (int32_t i = first; i < end; i++)
      if (const int64_t id = token_id(history.row<int32_t>(i)[0], sampled, vocabulary); id >= 0) body(id);
  };
  each(begin, [&](int64_t id) { counts[id] = 0; });
  each(begin + settings.before_answer, [&](int64_t id) { counts[id]++; });
  each(begin, [&](int64_t id) {
    if (counts[id] < 0) return;  // done
    const float x = row[id] > 0 ? row[id] / settings.repetition : row[id] * settings.repetition;
    const float fewer = settings.frequency * static_cast<float>(counts[id]);
    row[id] = counts[id] == 0 ? x : (x - settings.presence) - fewer;
    counts[id] = -1;
  });
}

// Ids whose bit is not set become minus infinity, as do ids beyond the mask.
inline void apply_mask(const uint32_t* words, int64_t word_count, float* row, int64_t count) {
  for (int64_t first = 0; first < count; first += 32) {
    const int64_t end = first + 32 < count ? first + 32 : count;
    const uint32_t word = first / 32 < word_count ? words[first / 32] : 0;
    if (word == 0xffffffffu) continue;
    for (int64_t i = first; i < end; i++)
      if (!(word >> (i - first) & 1)) row[i] = -__builtin_inff();
  }
}

// The logits that count: the given ones, or a copy in `changed` with bias, penalties and mask applied.
inline const float* adjust(const OpCall& call, int64_t s, const SampleRow& settings, float* changed, int32_t* counts) {
  namespace op = op_sample;
  const Operand& logits = call.in[op::logits];
  const int32_t bias = call.in[op::biasStarts].row<int32_t>(s)[0];
  const int32_t bias_end = call.in[op::biasStarts].row<int32_t>(s + 1)[0];
  const int64_t history =
      call.in[op::historyStarts].row<int32_t>(s + 1)[0] - call.in[op::historyStarts].row<int32_t>(s)[0];
  const bool penalises = settings.penalises() && history > 0;
  if (bias == bias_end && !penalises && settings.mask < 0) return logits.row<float>(s);
  std::memcpy(changed, logits.row<float>(s), sizeof(float) * logits.shape[1]);
  for (int32_t i = bias; i < bias_end; i++)
    changed[call.in[op::biasIds].row<int32_t>(i)[0]] += call.in[op::biasValues].row<float>(i)[0];
  if (penalises) penalise(call, s, settings, changed, counts);
  if (settings.mask >= 0)
    apply_mask(call.in[op::masks].row<uint32_t>(settings.mask), call.in[op::masks].shape[1], changed, logits.shape[1]);
  return changed;
}

// Log-probabilities of the drawn id and of the likeliest ones, from the unmodified logits; none of an id below 0.
// `largest`: of those.
inline void report(const OpCall& call, int64_t s, int32_t id, int wanted, float largest) {
  namespace op = op_sample;
  const float* row = call.in[op::logits].row<float>(s);
  const int64_t count = call.in[op::logits].shape[1];
  float* logprob = call.out[op::out_logprob].row<float>(s);
  int32_t* ids = call.out[op::out_topIds].row<int32_t>(s);
  float* logprobs = call.out[op::out_topLogprobs].row<float>(s);
  *logprob = __builtin_nanf("");
  int found = 0;
  if (wanted >= 0 && id >= 0) {
    const double log_sum = log_sum_exp(row, count, largest);
    *logprob = static_cast<float>(row[id] - log_sum);
    Candidate best[max_logprobs];
    found = first_candidates(row, count, wanted < max_logprobs ? wanted : max_logprobs, best);
    for (int i = 0; i < found; i++) {
      ids[i] = best[i].id;
      logprobs[i] = static_cast<float>(row[best[i].id] - log_sum);
    }
  }
  for (int i = found; i < max_logprobs; i++) {
    ids[i] = -1;
    logprobs[i] = __builtin_nanf("");
  }
}

inline void run_sample(const OpCall& call, const Worker& worker) {
  namespace op = op_sample;
  const Operand& logits = call.in[op::logits];
  const Operand& ids = call.out[op::out_ids];
  const int64_t rows = logits.shape[0], count = logits.shape[1];
  if (worker.phase == 1) {
    // After all rows: their histories may mean what was drawn before.
    if (worker.thread != 0) return;
    for (int64_t s = 0; s < rows; s++) call.in[op::sampled].row<int32_t>(s)[0] = ids.row<int32_t>(s)[0];
    return;
  }
  Candidate* candidates = reinterpret_cast<Candidate*>(worker.scratch);
  Candidate* spare = candidates + count;
  float* changed = reinterpret_cast<float*>(spare + count);
  int64_t s, end;
  while (worker.next(rows, 1, &s, &end)) {
    const SampleRow settings(call.in[op::settings].row<float>(s), call.in[op::counters].row<int32_t>(s));
    const float* given = logits.row<float>(s);
    const RowPeak peak = peak_of(given, count);
    if (!peak.finite) {
      worker.counters->nonfinite++;
      ids.row<int32_t>(s)[0] = -1;
      report(call, s, -1, settings.wanted, 0);
      continue;
    }
    const float* row = adjust(call, s, settings, changed, reinterpret_cast<int32_t*>(candidates));
    const RowPeak of_row = row == given ? peak : peak_of(row, count);
    const int32_t id =
        settings.draw.temperature == 0 ? of_row.id : draw(row, count, of_row, settings.draw, candidates, spare);
    ids.row<int32_t>(s)[0] = id;
    report(call, s, id, settings.wanted, peak.largest);
  }
}


}  // namespace octavo::OCTAVO_ISA
