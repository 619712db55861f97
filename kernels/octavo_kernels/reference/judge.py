"""score, pool and observe_outliers: what evaluation, embeddings and inspection need."""

from __future__ import annotations

import torch

from .numbers import f32, row_sum_of_squares, sqrt


def score(
    *, logits: torch.Tensor, targets: torch.Tensor, reference: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """nll of the target [S]; KL(reference || logits) [S], 0 without a reference; top1 [S].

    top1 is 1 where the first choice is the reference's; without a reference, where it is the target. A row with NaN or
    infinity (or whose reference has them) is not judged: nll and kl NaN, top1 -1.
    """
    logs = torch.log_softmax(logits.double(), -1)
    nll = -logs.gather(1, targets.long()[:, None])[:, 0]
    first = logits.argmax(-1)
    kl = torch.zeros(logits.shape[0])
    expected = targets.long()
    if reference is not None:
        reference_logs = torch.log_softmax(reference.double(), -1)
        kl = (reference_logs.exp() * (reference_logs - logs)).sum(-1).float()
        expected = reference.argmax(-1)
    known = logits.isfinite().all(-1)
    if reference is not None:
        known &= reference.isfinite().all(-1)
    return {
        "nll": torch.where(known, nll.float(), f32(torch.nan)),
        "kl": torch.where(known, kl, f32(torch.nan)),
        "top1": torch.where(known, (first == expected).int(), -1).int(),
    }


def pool(*, x: torch.Tensor, starts: torch.Tensor, kind: str, normalize: bool) -> dict[str, torch.Tensor]:
    """x [T, K] -> y [B, K]: mean (rows added in order) or last row of each sequence; zeros for an empty one."""
    y = torch.zeros(starts.shape[0] - 1, x.shape[1])
    for b in range(y.shape[0]):
        rows = x[int(starts[b]) : int(starts[b + 1])]
        if not rows.shape[0]:
            continue
        if kind == "last":
            y[b] = rows[-1]
            continue
        for row in rows:
            y[b] = y[b] + row
        y[b] = y[b] / f32(rows.shape[0])
    if normalize:
        length = sqrt(row_sum_of_squares(y))[:, None]
        length = torch.where(length < torch.inf, length, f32(torch.nan))  # by infinity, numbers would become zeros
        y = torch.where(length == 0, f32(0), y / length)
    return {"y": y}


def observe_outliers(
    *, x: torch.Tensor, counts: torch.Tensor, largest: torch.Tensor, threshold: float
) -> dict[str, torch.Tensor]:
    """Adds to counts [K] the rows of x [T, K] with |x| >= threshold, and raises largest [K]; NaN does neither."""
    magnitude = torch.where(x.isnan(), f32(-1), x.abs())
    counts += magnitude.ge(f32(threshold)).sum(0).int()
    if x.shape[0]:
        torch.maximum(largest, magnitude.amax(0), out=largest)
    return {}
