"""Log-probabilities of what was drawn and of the likeliest ids; and the drawn ids for the next step."""

from __future__ import annotations

import triton
import triton.language as tl

from .ranking import LAST, first_place, gather, id_at, logit_at, nth_of_blocks
from .sums import log_of_sum, sum_in_order
from .weights import search


@triton.jit
def write_logprobs(
    logits,
    counters,
    raw_bests,
    exp_sums,
    places,
    ids,
    logprob,
    top_ids,
    top_logprobs,
    sampled,
    rows,
    held,
    logits_stride,
    counters_stride,
    top_ids_stride,
    top_logprobs_stride,
    vocabulary,
    blocks,
    MOST: tl.constexpr,
    WIDTH: tl.constexpr,
    ROOM: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Program (row): after all rows were drawn, for their histories may mean what `sampled` held. WIDTH >= MOST."""
    s = tl.program_id(0)
    if s < tl.load(rows):
        id = tl.load(ids + s)
        if s < tl.load(held):
            tl.store(sampled + s, id)
        wanted = tl.load(counters + s * counters_stride + 4)
        column = tl.arange(0, WIDTH)
        top_id = tl.full((WIDTH,), -1, tl.int32)
        top_logprob = tl.full((WIDTH,), float("nan"), tl.float32)
        own = float("nan")
        if (wanted >= 0) & (id >= 0):
            row = logits + s.to(tl.int64) * logits_stride
            first = first_place(raw_bests + s * blocks, blocks, BLOCKS)
            log_sum = log_of_sum(logit_at(first), sum_in_order(exp_sums + s * blocks, blocks))
            own = (tl.load(row + id).to(tl.float64) - log_sum).to(tl.float32)
            wanted = tl.minimum(wanted, vocabulary)
            if wanted > 0:
                until = nth_of_blocks(raw_bests + s * blocks, blocks, wanted, BLOCKS)
                place, found = gather(row, vocabulary, until, places + s.to(tl.int64) * ROOM, ROOM, BLOCK)
                if found > ROOM:
                    until = search(row, vocabulary, (wanted - 1).to(tl.int64), first, 1.0, 0.0, True, 0, BLOCK)
                    place, found = gather(row, vocabulary, until, places + s.to(tl.int64) * ROOM, ROOM, BLOCK)
                # The first WIDTH of ROOM, by way of the memory.
                tl.debug_barrier()
                tl.store(places + s.to(tl.int64) * ROOM + tl.arange(0, ROOM), place)
                tl.debug_barrier()
                listed = column < wanted
                place_here = tl.load(places + s.to(tl.int64) * ROOM + column, mask=listed, other=LAST)
                top_id = tl.where(listed, id_at(place_here), -1)
                x = tl.load(row + top_id, mask=listed, other=0.0)
                top_logprob = tl.where(listed, (x.to(tl.float64) - log_sum).to(tl.float32), float("nan"))
        tl.store(logprob + s, own)
        tl.store(top_ids + s * top_ids_stride + column, top_id, mask=column < MOST)
        tl.store(top_logprobs + s * top_logprobs_stride + column, top_logprob, mask=column < MOST)
