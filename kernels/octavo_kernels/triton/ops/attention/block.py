"""What tiles of queries do with a block of keys: scores, visibility, exponentials, weighted values; and how both forms
of attention find sequences and pages, and add lanes.

A block has M rows, each one query head at one query; all are heads of one kv head. Keys are numbered in their sequence.
Every sum is a chain in ascending order for each row by itself, so that neither M nor N matters to a row's bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ...numbers import exp, tanh

# The kernels of this folder are written for pages of 16 keys and chunks of 256: a vector has the lanes of a page, a
# program's block the keys of a chunk, and the order in which a row is added up follows from both, and with it the bits
# that every backend gives. So they are numbers here, in the layout of pages as in shapes of tensors, and not names of
# the op table; should the table have other numbers, `plan.py` refuses to plan these kernels.


@triton.jit
def last_not_above(starts, count, index, TILE: tl.constexpr, EXTRA: tl.constexpr):
    """The last b < count with starts[b] // TILE + b * EXTRA <= index."""
    low = 0
    high = count
    while high - low > 1:
        middle = (low + high) // 2
        if tl.load(starts + middle) // TILE + middle * EXTRA <= index:
            low = middle
        else:
            high = middle
    return low


@triton.jit
def page_offsets(pages, key, inside, page_stride, PAGE: tl.constexpr):
    """Of each key's page in the cache, in elements, as int64."""
    return tl.load(pages + key // PAGE, mask=inside, other=0).to(tl.int64) * page_stride


@triton.jit
def visible_keys(key, query, WINDOW: tl.constexpr):
    """[M, N]: keys that a row's query sees."""
    visible = key[None, :] <= query[:, None]
    if WINDOW > 0:
        visible = visible & (key[None, :] > query[:, None] - WINDOW)
    return visible


@triton.jit
def scores(
    q,
    real,
    keys,
    offset,
    inside,
    key,
    query,
    slope,
    scale,
    softcap,
    D: tl.constexpr,
    SOFTCAP: tl.constexpr,
    ALIBI: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    STEP: tl.constexpr,
):
    """[M, N]. `q` [M]: pointers to rows, of which those in `real` are read; `offset` [N]: of each key's first element
    in `keys`, of which those `inside` are read."""
    chain = tl.zeros((M, N), tl.float32)
    for first in tl.range(0, D, STEP):
        d = first + tl.arange(0, STEP)
        a = tl.load(q[:, None] + d[None, :], mask=real[:, None] & (d < D)[None, :], other=0.0)
        # Beyond D: fma(0, -0, chain) is the chain whatever its sign.
        b = tl.load(keys + (offset[None, :] + d[:, None] * 16), mask=inside[None, :] & (d < D)[:, None], other=-0.0)
        chain = tl.dot(a, b.to(tl.float32), chain, input_precision="ieee")
    score = scale * chain
    if SOFTCAP:
        # score - score: an infinite score would be the cap, which passes for a number.
        score = softcap * tanh(tl.div_rn(score, softcap)) + (score - score)
    if ALIBI:
        score = score + slope[:, None] * (key[None, :] - query[:, None]).to(tl.float32)
    return score


@triton.jit
def largest(score, visible):
    """[M]: of the visible scores but NaN, which comes back through exp."""
    return tl.max(tl.where(visible & (score == score), score, -float("inf")), axis=1)


@triton.jit
def weights(score, visible, maximum):
    """[M, N]: exp(score - maximum), 0 where not visible."""
    return tl.where(visible, exp_of_finite(score - maximum[:, None]), 0.0)


@triton.jit
def exp_of_finite(x):
    """exp, but NaN of minus infinity: a score that overflowed is no key without weight."""
    return exp(x) + (x - x)


@triton.jit
def add_lanes(lanes, p, M: tl.constexpr, N: tl.constexpr):
    """[M, 16]: lane sums with a block's vectors of 16 keys added in ascending order."""
    if N == 16:
        lanes = lanes + p
    else:
        first, second = tl.split(tl.permute(tl.reshape(p, (M, 2, N // 2)), (0, 2, 1)))
        lanes = add_lanes(add_lanes(lanes, first, M, N // 2), second, M, N // 2)
    return lanes


@triton.jit
def add_values(output, p, values, offset, inside, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """[M, BLOCK_D]: fma(p, v, output), keys ascending. For rows that see the same keys, those `inside`: the others have
    the weight 0 and get the value -0, and fma(0, -0, output) is the output whatever its sign."""
    d = tl.arange(0, BLOCK_D)
    v = tl.load(values + (offset[:, None] + d[None, :]), mask=inside[:, None] & (d < D)[None, :], other=-0.0)
    return tl.dot(p, v.to(tl.float32), output, input_precision="ieee")


@triton.jit
def add_seen_values(
    output,
    p,
    values,
    pages,
    first,
    end,
    query,
    page_stride,
    head_offset,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    N: tl.constexpr,
    WINDOW: tl.constexpr,
):
    """As `add_values`, for rows that see different keys of [first, end): one key after the other, for a value that a
    row does not see may be NaN."""
    n = tl.arange(0, N)
    d = tl.arange(0, BLOCK_D)
    bits = p.to(tl.int32, bitcast=True)
    for i in tl.range(0, tl.minimum(end - first, N)):
        key = first + i
        offset = tl.load(pages + key // 16).to(tl.int64) * page_stride + head_offset + key % 16 * D
        v = tl.load(values + offset + d, mask=d < D, other=0.0).to(tl.float32)
        # Column i of p, as integers: the others are 0.
        weight = tl.sum(tl.where(n[None, :] == i, bits, 0), axis=1).to(tl.float32, bitcast=True)
        seen = key <= query
        if WINDOW > 0:
            seen = seen & (key > query - WINDOW)
        output = tl.where(seen[:, None], tl.fma(weight[:, None], v[None, :], output), output)
    return output
