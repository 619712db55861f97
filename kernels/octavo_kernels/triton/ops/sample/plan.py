"""The four launches of sample."""

from __future__ import annotations

import torch

from ....generated.ops import MAX_LOGPROBS
from ...launch import Context, Launch, Operand, cdiv, strides, tensors
from .adjust import adjust_rows
from .draw import draw_ids
from .logprobs import write_logprobs
from .sums import sum_blocks

#: Ids of a block, whose sums and first places are kept.
_BLOCK = 512
#: Ids of a program of the launches over (segments of a row, rows).
_SEGMENT = 4096
#: Likely ids that are put in order; a row that needs more is searched by halving.
_ROOM = 1024


def sample(
    context: Context,
    *,
    logits: Operand,
    settings: Operand,
    counters: Operand,
    historyStarts: Operand,
    history: Operand,
    biasStarts: Operand,
    biasIds: Operand,
    biasValues: Operand,
    masks: Operand,
    sampled: Operand,
    ids: Operand,
    logprob: Operand,
    topIds: Operand,
    topLogprobs: Operand,
    maskWords: int,
) -> list[Launch]:
    """logits [S, V] float32 -> ids [S], logprob [S], topIds and topLogprobs [S, 20] (filled up with -1 and NaN).

    settings [S, 6]: temperature, top-p, min-p, repetition, presence, frequency. counters [S, 7]: top-k, seed low, seed
    high, position, logprobs (-1: none), mask (-1: none), ids of the history before the answer. sampled [R] gets the ids
    when all rows are drawn. A row with NaN or infinity has the id -1.
    """
    rows, vocabulary = logits.shape
    if rows == 0:
        return []
    blocks = cdiv(vocabulary, _BLOCK)
    blocks_padded = 1 << (blocks - 1).bit_length()
    segment = min(_SEGMENT, blocks_padded * _BLOCK)
    segments = cdiv(vocabulary, segment)
    scanned = {"BLOCK": segment, "BLOCKS": blocks_padded, "ROOM": _ROOM}
    given = tensors(logits=logits, settings=settings, counters=counters, ids=ids, sampled=sampled, history=history)
    given |= tensors(history_starts=historyStarts, bias_starts=biasStarts, bias_ids=biasIds, bias_values=biasValues)
    given |= tensors(masks=masks, logprob=logprob, top_ids=topIds, top_logprobs=topLogprobs)
    given |= strides(logits=logits, settings=settings, counters=counters, masks=masks)
    given |= strides(top_ids=topIds, top_logprobs=topLogprobs)
    given |= {"adjusted": context.scratch(torch.float32, rows, vocabulary)}
    given |= {name: context.scratch(torch.int64, rows, blocks) for name in ("bests", "raw_bests")}
    given |= {name: context.scratch(torch.float32, rows, blocks) for name in ("weight_sums", "kept_sums", "exp_sums")}
    given |= {"places": context.scratch(torch.int64, rows, _ROOM), "step_counters": context.counters}
    given |= {"held": sampled.rows, "mask_rows": masks.rows, "mask_words": maskWords}
    given |= {"rows": logits.rows, "vocabulary": vocabulary, "blocks": blocks}

    def launch(kernel, grid: tuple[int, ...], constants: dict[str, int], warps: int) -> Launch:
        arguments = {name: given[name] for name in kernel.arg_names if name in given}
        return Launch(kernel, grid, arguments, constants, warps)

    # The sum of all weights, each at most 1, stays below 2^62.
    shift = 62 - vocabulary.bit_length()
    return [
        launch(adjust_rows, (segments, rows), {"SEGMENT": segment, "BLOCK": _BLOCK, "TOKENS": 256}, 8),
        launch(sum_blocks, (segments, rows), {"COUNT": segment // _BLOCK, "BLOCKS": blocks_padded}, 4),
        launch(draw_ids, (rows,), {"SHIFT": shift, **scanned}, 8),
        launch(write_logprobs, (rows,), {"MOST": MAX_LOGPROBS, "WIDTH": 32, **scanned}, 8),
    ]
