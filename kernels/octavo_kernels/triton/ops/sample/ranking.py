"""The order of a row's ids: larger logits first, the lower id on ties, NaN as minus infinity.

An id's place is one int64 that grows along this order: 32 bits that fall as the logit grows, then the id. So ranking is
a matter of integers, which have no order of summation. `NOT_FINITE` stands for NaN and infinity, before every place: so
the first place of a row tells whether all of it is finite.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ...numbers import is_finite

_ID_BITS = tl.constexpr(31)
_ID_MASK = tl.constexpr(0x7FFFFFFF)
#: Behind every place.
LAST = tl.constexpr(0x7FFFFFFFFFFFFFFF)
#: Before every place.
NOT_FINITE = tl.constexpr(-1)


@triton.jit
def place_of(x, id):
    """The place of an id with the logit x."""
    x = tl.where(x == x, x, -float("inf")) + 0.0  # minus zero is zero
    bits = x.to(tl.int32, bitcast=True)
    key = tl.where(bits < 0, bits, ~bits & _ID_MASK).to(tl.int64) & 0xFFFFFFFF
    return (key << _ID_BITS) | id


@triton.jit
def place_of_finite(x, id):
    """As `place_of`; NOT_FINITE of NaN and infinity."""
    return tl.where(is_finite(x), place_of(x, id), NOT_FINITE)


@triton.jit
def id_at(place):
    return (place & _ID_MASK).to(tl.int32)


@triton.jit
def logit_at(place):
    """The logit of a place; zero for minus zero, minus infinity for NaN."""
    key = (place >> _ID_BITS).to(tl.uint32).to(tl.int32, bitcast=True)
    return tl.where(key < 0, key, ~key & _ID_MASK).to(tl.float32, bitcast=True)


@triton.jit
def first_place(bests, blocks, BLOCKS: tl.constexpr):
    """The first place of a row, whose blocks have these first places."""
    block = tl.arange(0, BLOCKS)
    return tl.min(tl.load(bests + block, mask=block < blocks, other=LAST), axis=0)


@triton.jit
def nth_of_blocks(bests, blocks, n, BLOCKS: tl.constexpr):
    """The n-th of the blocks' first places, n from 1; LAST if there are fewer. At least n ids are not behind it."""
    block = tl.arange(0, BLOCKS)
    place = tl.sort(tl.load(bests + block, mask=block < blocks, other=LAST))
    return tl.min(tl.where(block == n - 1, place, LAST), axis=0)


@triton.jit
def gather(row, vocabulary, until, places, ROOM: tl.constexpr, BLOCK: tl.constexpr):
    """The places that are not behind `until`: in order [ROOM], filled up with LAST, and their number.

    If there are more than ROOM only the number is right. `places`: scratch memory [ROOM].
    """
    found = 0
    for start in tl.range(0, vocabulary, BLOCK):
        id = start + tl.arange(0, BLOCK)
        place = place_of(tl.load(row + id, mask=id < vocabulary, other=-float("inf")), id)
        wanted = ((place <= until) & (id < vocabulary)).to(tl.int32)
        at = found + tl.cumsum(wanted, axis=0) - wanted
        tl.store(places + at, place, mask=(wanted > 0) & (at < ROOM))
        found += tl.sum(wanted, axis=0)
    tl.debug_barrier()
    index = tl.arange(0, ROOM)
    ordered = tl.sort(tl.load(places + index, mask=index < found, other=LAST))
    return ordered, found
