"""Bias, penalties and mask; and the first place of each block of a row, before and after."""

from __future__ import annotations

import triton
import triton.language as tl

from .ranking import LAST, place_of, place_of_finite


@triton.jit
def adjust_rows(
    logits,
    settings,
    counters,
    history_starts,
    history,
    bias_starts,
    bias_ids,
    bias_values,
    masks,
    sampled,
    adjusted,
    bests,
    raw_bests,
    rows,
    mask_rows,
    held,
    logits_stride,
    settings_stride,
    counters_stride,
    masks_stride,
    vocabulary,
    mask_words,
    blocks,
    SEGMENT: tl.constexpr,
    BLOCK: tl.constexpr,
    TOKENS: tl.constexpr,
):
    """Program (segment of ids, row). adjusted [S, V]: written for rows that are drawn from; bests, raw_bests
    [S, blocks]: the first place in each block of BLOCK ids with and without the adjustments, the latter NOT_FINITE if
    there is NaN or infinity."""
    segment = tl.program_id(0)
    s = tl.program_id(1)
    if s < tl.load(rows):
        low = segment * SEGMENT
        id = low + tl.arange(0, SEGMENT)
        inside = id < vocabulary
        raw = tl.load(logits + s.to(tl.int64) * logits_stride + id, mask=inside, other=-float("inf"))
        block = segment * (SEGMENT // BLOCK) + tl.arange(0, SEGMENT // BLOCK)
        place = tl.where(inside, place_of_finite(raw, id), LAST)
        tl.store(raw_bests + s * blocks + block, _first_of_blocks(place, SEGMENT, BLOCK), mask=block < blocks)
        x = raw
        begin = tl.load(bias_starts + s)
        for i in tl.range(begin, tl.load(bias_starts + s + 1)):
            token = tl.load(bias_ids + i)
            if (token >= low) & (token < low + SEGMENT):
                x = tl.where(id == token, x + tl.load(bias_values + i), x)
        of_row = settings + s * settings_stride
        temperature = tl.load(of_row)
        repetition = tl.load(of_row + 3)
        presence = tl.load(of_row + 4)
        frequency = tl.load(of_row + 5)
        begin = tl.load(history_starts + s)
        end = tl.load(history_starts + s + 1)
        if (begin < end) & ((repetition != 1.0) | (presence != 0.0) | (frequency != 0.0)):
            answer = begin + tl.load(counters + s * counters_stride + 6)
            count = tl.full((SEGMENT,), 0, tl.int32)
            answered = tl.full((SEGMENT,), 0, tl.int32)
            room = tl.load(held)
            for start in tl.range(begin, end, TOKENS):
                entry = start + tl.arange(0, TOKENS)
                token = tl.load(history + entry, mask=entry < end, other=-1)
                drawn = (entry < end) & (token < 0) & (token >= -room)
                known = (entry < end) & (token >= 0)
                token = tl.where(known, token, tl.load(sampled + (-1 - token), mask=drawn, other=-1)) - low
                counted = (known | drawn) & (token >= 0) & (token < SEGMENT)
                token = tl.where(counted, token, 0)
                count += tl.histogram(token, SEGMENT, mask=counted)
                answered += tl.histogram(token, SEGMENT, mask=counted & (entry >= answer))
            divisor = tl.zeros_like(x) + repetition
            y = tl.where(x > 0, tl.div_rn(x, divisor), x * repetition)
            x = tl.where(count > 0, y, x)
            x = tl.where(answered > 0, (x - presence) - frequency * answered.to(tl.float32), x)
        x = tl.where(x == x, x, -float("inf"))
        mask = tl.load(counters + s * counters_stride + 5)
        if (mask >= 0) & (mask < tl.load(mask_rows)):
            word = tl.load(masks + mask.to(tl.int64) * masks_stride + id // 32, mask=id // 32 < mask_words, other=0)
            x = tl.where(((word >> (id % 32)) & 1) != 0, x, -float("inf"))
        place = tl.where(inside, place_of(x, id), LAST)
        tl.store(bests + s * blocks + block, _first_of_blocks(place, SEGMENT, BLOCK), mask=block < blocks)
        if temperature != 0:
            tl.store(adjusted + s.to(tl.int64) * vocabulary + id, x, mask=inside)


@triton.jit
def _first_of_blocks(place, SEGMENT: tl.constexpr, BLOCK: tl.constexpr):
    return tl.min(tl.reshape(place, (SEGMENT // BLOCK, BLOCK)), axis=1)
