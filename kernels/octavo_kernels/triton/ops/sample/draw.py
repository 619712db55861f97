"""One id per row: the first place, or drawn by the inverse of the cumulated weights."""

from __future__ import annotations

import triton
import triton.language as tl

from .philox import uniform
from .ranking import LAST, NOT_FINITE, first_place, gather, id_at, logit_at, place_of
from .sums import sum_in_order
from .weights import search, sum_until, units, weight_of


@triton.jit
def draw_ids(
    adjusted,
    settings,
    counters,
    bests,
    raw_bests,
    weight_sums,
    kept_sums,
    places,
    ids,
    step_counters,
    rows,
    settings_stride,
    counters_stride,
    vocabulary,
    blocks,
    SHIFT: tl.constexpr,
    ROOM: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Program (row). places: scratch [S, ROOM]. Nothing is drawn from a row that is not finite: its id is -1, and
    `step_counters` count it."""
    s = tl.program_id(0)
    if s < tl.load(rows):
        first = first_place(bests + s * blocks, blocks, BLOCKS)
        largest = logit_at(first)
        temperature = tl.load(settings + s * settings_stride)
        drawn = first
        known = first_place(raw_bests + s * blocks, blocks, BLOCKS) != NOT_FINITE
        # An infinite logit (after a bias or a penalty), or one that is so by the temperature, leaves no choice; minus
        # infinity as the largest means that nothing is allowed.
        scaled = tl.div_rn(largest, temperature)
        if known & (temperature != 0) & (scaled - scaled == 0):
            of_settings = settings + s * settings_stride
            of_counters = counters + s * counters_stride
            drawn = _draw(
                adjusted + s.to(tl.int64) * vocabulary, vocabulary, first, largest, temperature,
                tl.load(of_settings + 1), tl.load(of_settings + 2), tl.load(of_counters),
                uniform(tl.load(of_counters + 1), tl.load(of_counters + 2), tl.load(of_counters + 3)),
                weight_sums + s * blocks, kept_sums + s * blocks, blocks, places + s.to(tl.int64) * ROOM,
                SHIFT, ROOM, BLOCK,
            )  # fmt: skip
        tl.store(ids + s, tl.where(known, id_at(drawn), -1))
        if ~known:
            tl.atomic_add(step_counters + 1, tl.full((), 1, tl.int64), sem="relaxed")


@triton.jit
def _draw(
    row, vocabulary, first, largest, temperature, top_p, min_p, top_k, u, weight_sums, kept_sums, blocks, places,
    SHIFT: tl.constexpr, ROOM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The place drawn. Sums and limits are in units of 2^-SHIFT."""
    limited = (top_k > 0) & (top_k < vocabulary)
    counted = limited | (top_p < 1.0)
    # Most mass lies in the places until here.
    near = place_of(largest - 8.5 * temperature, vocabulary)
    place, found = gather(row, vocabulary, near, places, ROOM, BLOCK)
    index = tl.arange(0, ROOM)
    listed = index < found
    weight = tl.where(listed, weight_of(logit_at(place), temperature, largest), 0.0)
    unit = units(weight, SHIFT)
    until = tl.cumsum(unit, axis=0)
    before = until - unit
    fits = (found <= ROOM) & (~limited | (top_k <= found) | (found == vocabulary))
    mass = sum_in_order(weight_sums, blocks) * (1 << SHIFT)
    if limited & fits:
        mass = tl.sum(tl.where(index < top_k, unit, 0), axis=0).to(tl.float64)
    if limited & ~fits:
        behind = search(row, vocabulary, (top_k - 1).to(tl.int64), first, temperature, largest, True, SHIFT, BLOCK)
        mass = sum_until(row, vocabulary, behind, 0.0, first, temperature, largest, False, SHIFT, BLOCK).to(tl.float64)
    else:
        behind = LAST + first * 0
    # top-p keeps those before which less than this lies.
    limit = _units_above(tl.where(top_p < 1.0, top_p.to(tl.float64) * mass, 9.2e18))
    in_order = (before < limit) & (weight >= min_p) & (~limited | (index < top_k))
    kept_here = listed & ((index == 0) | in_order)
    kept_units = tl.sum(tl.where(kept_here, unit, 0), axis=0)
    ends_here = (tl.sum(kept_here.to(tl.int32), axis=0) < found) | (found == vocabulary)
    ends_here = ends_here | (limited & (top_k <= found))
    kept = sum_in_order(kept_sums, blocks) * (1 << SHIFT)
    if counted & fits & ends_here:
        kept = kept_units.to(tl.float64)
    target = (u.to(tl.float64) * kept).to(tl.int64)
    drawn = tl.min(tl.where(kept_here & (until > target), place, LAST), axis=0)
    decided = fits & (ends_here | ~counted) & (drawn != LAST)
    if ~decided:
        last = behind
        if top_p < 1.0:
            last = tl.minimum(
                last, search(row, vocabulary, limit - 1, first, temperature, largest, False, SHIFT, BLOCK)
            )
        kept_units = sum_until(
            row, vocabulary, tl.maximum(last, first), min_p, first, temperature, largest, False, SHIFT, BLOCK
        )
        if counted:
            kept = kept_units.to(tl.float64)
        target = tl.minimum((u.to(tl.float64) * kept).to(tl.int64), kept_units - 1)
        drawn = search(row, vocabulary, target, first, temperature, largest, False, SHIFT, BLOCK)
    # Nothing has a weight: not with finite settings.
    return tl.where(drawn == LAST, first, drawn)


@triton.jit
def _units_above(x):
    """float64 -> int64, rounded up."""
    below = x.to(tl.int64)
    return below + (below.to(tl.float64) < x).to(tl.int64)
