"""quantize, and what is fused with it, for rows that fit into registers and for longer ones."""

from __future__ import annotations

import triton
import triton.language as tl

from ... import numbers
from ..dependent import follow
from ..norm import norm_chunk, norm_tile, row_moments
from ..row import load_tile, store_tile, tile_columns, with_root
from .digits import largest_inlier, row_scale, threshold, write_digits, write_header


@triton.jit
def input_tile(
    a, b, t, k, a_stride, b_stride,
    INPUT: tl.constexpr, ACTIVATION: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """`INPUT`: "plain" is a; "add" is a + b; "glu" is activation(a) * b."""
    x = load_tile(a + t * a_stride, k, COLUMNS, BLOCKS)
    if INPUT == "add":
        return x + load_tile(b + t * b_stride, k, COLUMNS, BLOCKS)
    elif INPUT == "glu":
        return numbers.activation_of(x, ACTIVATION) * load_tile(b + t * b_stride, k, COLUMNS, BLOCKS)
    else:
        return x


@triton.jit
def sums_of(x, DECOMPOSE: tl.constexpr, BLOCKS: tl.constexpr):
    """(sum of magnitudes, sum of squares); the latter is 0 where no threshold needs it."""
    if DECOMPOSE == "adaptive":
        return numbers.block_sums(x, BLOCKS)
    else:
        return numbers.block_sum(tl.abs(x), BLOCKS), 0.0


@triton.jit
def quantize_held(
    a, b, weight, bias, y, low, high, carries, step, counters, rows,
    a_stride, b_stride, y_stride, low_stride, high_stride, carries_stride, eps, absolute, relative,
    INPUT: tl.constexpr, ACTIVATION: tl.constexpr, NORM: tl.constexpr, UNIT_OFFSET: tl.constexpr,
    DECOMPOSE: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """One program per row, which it reads once and holds in registers."""
    follow(DEPENDENT)
    t = tl.program_id(0).to(tl.int64)
    if t < tl.load(rows):
        k = tile_columns(0, BLOCKS)
        x = input_tile(a, b, t, k, a_stride, b_stride, INPUT, ACTIVATION, COLUMNS, BLOCKS)
        if INPUT == "add":
            store_tile(y + t * y_stride, k, x, COLUMNS, BLOCKS)
        if NORM != "none":
            x = norm_tile(x, k, weight, bias, eps, NORM, UNIT_OFFSET, COLUMNS, BLOCKS)
        largest = tl.max(numbers.magnitude_bits(x), axis=None)
        total, squares = sums_of(x, DECOMPOSE, BLOCKS)
        inlier = largest
        if DECOMPOSE == "all":
            inlier = largest * 0
        elif DECOMPOSE != "off":
            inlier = largest_inlier(x, threshold(squares, absolute, relative, DECOMPOSE, COLUMNS))
        size, inverse, usable, finite = row_scale(largest, total, inlier)
        tl.store(step + t, size)
        table = carries + t * carries_stride
        header = write_digits(
            x, 0, inverse, usable, low + t * low_stride, high + t * high_stride, table, 0, COLUMNS, BLOCKS
        )
        write_header(table, counters, header, finite)


@triton.jit
def quantize_streamed(
    a, b, weight, bias, y, low, high, carries, step, counters, rows, scratch,
    a_stride, b_stride, y_stride, low_stride, high_stride, carries_stride, scratch_stride, chunks,
    eps, absolute, relative,
    INPUT: tl.constexpr, ACTIVATION: tl.constexpr, NORM: tl.constexpr, UNIT_OFFSET: tl.constexpr,
    DECOMPOSE: tl.constexpr, COLUMNS: tl.constexpr, BLOCKS: tl.constexpr, DEPENDENT: tl.constexpr, ROOTS: tl.constexpr,
):  # fmt: skip
    """Each program takes a row after the other, and goes over it chunk by chunk, again for every step.

    What is computed from the inputs is kept in a row of `scratch` [programs, K], which stays in the cache: a program
    that had a row of its own for every row of a prefill would need memory for all of them.
    """
    follow(DEPENDENT)
    program = tl.program_id(0).to(tl.int64)
    for t in range(program, tl.load(rows), tl.num_programs(0)):
        # Barriers: a chunk that is read again need not be read by the threads that wrote it.
        if INPUT == "plain" and NORM == "none":
            held = a + t * a_stride
        else:
            held = scratch + program * scratch_stride
            tl.debug_barrier()
        if NORM != "none":
            source = a + t * a_stride
            if INPUT == "add":
                source = y + t * y_stride
                for chunk in range(chunks):
                    k = tile_columns(chunk * BLOCKS, BLOCKS)
                    x = input_tile(a, b, t, k, a_stride, b_stride, INPUT, ACTIVATION, COLUMNS, BLOCKS)
                    store_tile(source, k, x, COLUMNS, BLOCKS)
                tl.debug_barrier()
            mean_total, deviation = row_moments(source, eps, chunks, NORM, COLUMNS, BLOCKS, ROOTS)
        largest = tl.full((), 0, tl.int32)
        sums = tl.zeros((ROOTS,), tl.float32)
        squares = tl.zeros((ROOTS,), tl.float32)
        for chunk in range(chunks):
            k = tile_columns(chunk * BLOCKS, BLOCKS)
            if NORM != "none":
                x = norm_chunk(source, k, mean_total, deviation, weight, bias, NORM, UNIT_OFFSET, COLUMNS, BLOCKS)
            else:
                x = input_tile(a, b, t, k, a_stride, b_stride, INPUT, ACTIVATION, COLUMNS, BLOCKS)
            if INPUT != "plain" or NORM != "none":
                store_tile(held, k, x, COLUMNS, BLOCKS)
            largest = tl.maximum(largest, tl.max(numbers.magnitude_bits(x), axis=None))
            total, square = sums_of(x, DECOMPOSE, BLOCKS)
            sums = with_root(sums, chunk, total, ROOTS)
            squares = with_root(squares, chunk, square, ROOTS)
        tl.debug_barrier()

        inlier = largest
        if DECOMPOSE == "all":
            inlier = largest * 0
        elif DECOMPOSE != "off":
            limit = threshold(numbers.pair_tree(squares, ROOTS), absolute, relative, DECOMPOSE, COLUMNS)
            inlier = tl.full((), 0, tl.int32)
            for chunk in range(chunks):
                x = load_tile(held, tile_columns(chunk * BLOCKS, BLOCKS), COLUMNS, BLOCKS)
                inlier = tl.maximum(inlier, largest_inlier(x, limit))
        size, inverse, usable, finite = row_scale(largest, numbers.pair_tree(sums, ROOTS), inlier)
        tl.store(step + t, size)

        table = carries + t * carries_stride
        header = tl.zeros((4,), tl.int32)
        for chunk in range(chunks):
            x = load_tile(held, tile_columns(chunk * BLOCKS, BLOCKS), COLUMNS, BLOCKS)
            listed = tl.sum(tl.where(tl.arange(0, 4) == 0, header, 0), axis=0)
            header += write_digits(
                x, chunk * BLOCKS, inverse, usable, low + t * low_stride, high + t * high_stride, table, listed,
                COLUMNS, BLOCKS,
            )  # fmt: skip
        write_header(table, counters, header, finite)
