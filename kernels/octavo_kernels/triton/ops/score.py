"""score: how logits judge a target, and how far they are from reference logits."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ..launch import Context, Launch, Operand, cdiv, strides, tensors
from ..numbers import exp, lane_tree
from .sample.ranking import LAST, NOT_FINITE, first_place, id_at, logit_at, place_of_finite
from .sample.sums import BLOCK, log_of_sum, sum_in_order

#: Blocks of 512 ids in a program of the launches over (part of a row, row).
_COUNT = 8


@triton.jit
def first_of_blocks(logits, bests, rows, stride, vocabulary, blocks, COUNT: tl.constexpr):
    """Program (COUNT blocks, row): the first place of each block (see sample/ranking.py), bests [S, blocks],
    NOT_FINITE if there is NaN or infinity."""
    s = tl.program_id(1)
    if s < tl.load(rows):
        block = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
        id = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
        x = tl.load(logits + s.to(tl.int64) * stride + id, mask=id < vocabulary, other=-float("inf"))
        place = tl.where(id < vocabulary, place_of_finite(x, id), LAST)
        tl.store(bests + s * blocks + block, tl.min(place, axis=1), mask=block < blocks)


@triton.jit
def exp_sums_of_blocks(
    logits, bests, sums, rows, stride, vocabulary, blocks, COUNT: tl.constexpr, BLOCKS: tl.constexpr
):
    """Program (COUNT blocks, row): sums [S, blocks] of exp(logit - largest)."""
    s = tl.program_id(1)
    if s < tl.load(rows):
        block = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
        id = block[:, None] * BLOCK + tl.arange(0, 16)[None, :]
        row = logits + s.to(tl.int64) * stride
        largest = logit_at(first_place(bests + s * blocks, blocks, BLOCKS))
        total = tl.zeros((COUNT, 16), tl.float32)
        for i in tl.range(0, tl.minimum(BLOCK, vocabulary), 16):
            x = tl.load(row + (id + i), mask=id + i < vocabulary, other=-float("inf"))
            total = total + exp(x - largest)
        tl.store(sums + s * blocks + block, lane_tree(total, COUNT), mask=block < blocks)


@triton.jit
def log_sums(bests, sums, logs, rows, blocks, BLOCKS: tl.constexpr):
    """Program (row): logs float64 [S], log(sum(exp(row)))."""
    s = tl.program_id(0)
    if s < tl.load(rows):
        largest = logit_at(first_place(bests + s * blocks, blocks, BLOCKS))
        tl.store(logs + s, log_of_sum(largest, sum_in_order(sums + s * blocks, blocks)))


@triton.jit
def divergence_of_blocks(
    logits, reference, logs, reference_logs, sums, rows, stride, reference_stride, vocabulary, blocks,
    COUNT: tl.constexpr,
):  # fmt: skip
    """Program (COUNT blocks, row): sums [S, blocks] of p (log p - log q), p = softmax(reference), q = softmax(row)."""
    s = tl.program_id(1)
    if s < tl.load(rows):
        block = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
        id = block[:, None] * BLOCK + tl.arange(0, 16)[None, :]
        log_sum = tl.load(reference_logs + s)
        shift = (log_sum - tl.load(logs + s)).to(tl.float32)
        total = tl.zeros((COUNT, 16), tl.float32)
        for i in tl.range(0, tl.minimum(BLOCK, vocabulary), 16):
            inside = id + i < vocabulary
            x = tl.load(logits + s.to(tl.int64) * stride + (id + i), mask=inside, other=0.0)
            r = tl.load(reference + s.to(tl.int64) * reference_stride + (id + i), mask=inside, other=0.0)
            p = tl.where(inside, exp(r - log_sum.to(tl.float32)), 0.0)
            total = tl.fma(p, (r - x) - shift, total)
        tl.store(sums + s * blocks + block, lane_tree(total, COUNT), mask=block < blocks)


@triton.jit
def judge_rows(
    logits, targets, bests, logs, reference_bests, divergences, nll, kl, top1, counters, rows, stride, blocks,
    BLOCKS: tl.constexpr,
):  # fmt: skip
    """Program (row). Rows that are not finite, or whose reference is not, are not judged but counted."""
    s = tl.program_id(0)
    if s < tl.load(rows):
        target = tl.load(targets + s)
        expected = target
        divergence = 0.0
        first = first_place(bests + s * blocks, blocks, BLOCKS)
        known = first != NOT_FINITE
        if reference_bests is not None:
            of_reference = first_place(reference_bests + s * blocks, blocks, BLOCKS)
            known = known & (of_reference != NOT_FINITE)
            expected = id_at(of_reference)
            divergence = sum_in_order(divergences + s * blocks, blocks).to(tl.float32)
        x = tl.load(logits + s.to(tl.int64) * stride + target).to(tl.float64)
        tl.store(nll + s, tl.where(known, (tl.load(logs + s) - x).to(tl.float32), float("nan")))
        tl.store(kl + s, tl.where(known, divergence, float("nan")))
        tl.store(top1 + s, tl.where(known, (id_at(first) == expected).to(tl.int32), -1))
        if ~known:
            tl.atomic_add(counters + 1, tl.full((), 1, tl.int64), sem="relaxed")


def score(
    context: Context,
    *,
    logits: Operand,
    targets: Operand,
    nll: Operand,
    kl: Operand,
    top1: Operand,
    reference: Operand | None = None,
) -> list[Launch]:
    """logits [S, V], targets [S] -> nll [S]; kl [S], KL(reference || logits), 0 without a reference; top1 [S], 1 where
    the first id is the reference's, without a reference the target. Rows with NaN or infinity: NaN, NaN, -1."""
    rows, vocabulary = logits.shape
    if rows == 0:
        return []
    blocks = cdiv(vocabulary, BLOCK.value)
    padded = {"BLOCKS": 1 << (blocks - 1).bit_length()}
    parts = (cdiv(blocks, _COUNT), rows)
    common = {"rows": logits.rows, "blocks": blocks}

    def logarithms(of: Operand) -> tuple[list[Launch], torch.Tensor, torch.Tensor]:
        bests, logs = context.scratch(torch.int64, rows, blocks), context.scratch(torch.float64, rows)
        sums = {"bests": bests, "sums": context.scratch(torch.float32, rows, blocks), **common}
        row = {"logits": of.tensor, "stride": of.stride, "vocabulary": vocabulary}
        launches = [
            Launch(first_of_blocks, parts, {**row, **common, "bests": bests}, {"COUNT": _COUNT}),
            Launch(exp_sums_of_blocks, parts, {**row, **sums}, {"COUNT": _COUNT, **padded}),
            Launch(log_sums, (rows,), {**sums, "logs": logs}, padded, warps=1),
        ]
        return launches, bests, logs

    launches, bests, logs = logarithms(logits)
    judged = tensors(logits=logits, targets=targets, nll=nll, kl=kl, top1=top1)
    judged |= {"stride": logits.stride, "bests": bests, "logs": logs, "counters": context.counters}
    judged |= {"reference_bests": None, "divergences": None}
    if reference:
        more, judged["reference_bests"], reference_logs = logarithms(reference)
        judged["divergences"] = context.scratch(torch.float32, rows, blocks)
        compared = {**tensors(logits=logits, reference=reference), **strides(reference=reference)}
        compared |= {"stride": logits.stride, "logs": logs, "sums": judged["divergences"]}
        compared |= {"reference_logs": reference_logs, "vocabulary": vocabulary, **common}
        launches += [*more, Launch(divergence_of_blocks, parts, compared, {"COUNT": _COUNT})]
    return [*launches, Launch(judge_rows, (rows,), {**judged, **common}, padded, warps=1)]
