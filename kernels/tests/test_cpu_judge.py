"""score and pool on the CPU. A user would lose: evaluations and embeddings that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from one_op import cpu, every_cpu, reference, run, same_bits


def score(backend, logits, targets, other=None):
    rows = {"nll": targets.shape, "kl": targets.shape, "top1": targets.shape}
    return run(backend, "score", {"logits": logits, "targets": targets, "reference": other}, rows)


@pytest.mark.parametrize("vocabulary", [1, 50, 1000, 20011])
def test_score_is_near_the_definition_and_equal_on_every_instruction_set(vocabulary):
    rng = np.random.default_rng(vocabulary)
    logits = (rng.standard_normal((5, vocabulary)) * 4).astype(np.float32)
    other = (logits + rng.standard_normal(logits.shape) * 0.05).astype(np.float32)
    targets = rng.integers(0, vocabulary, 5, dtype=np.int32)
    for compared in (None, other):
        expected = score(reference(), logits, targets, compared)
        results = [score(backend, logits, targets, compared) for backend in every_cpu()]
        assert all(same_bits(result, results[0]) for result in results)
        assert np.array_equal(results[0]["top1"], expected["top1"])
        # An exponential is within 2 ulp, a float32 sum of 32 of them within 32 half ulp: (4 + 32) 2^-24 of the
        # argument of the logarithm, which, below 32, is rounded to float32.
        assert np.abs(results[0]["nll"] - expected["nll"]).max() <= 36 * 2**-24 + 32 * 2**-24
        # Differences of logits below 64 have half an ulp of 2^-19, and p sums to 1.
        assert np.abs(results[0]["kl"] - expected["kl"]).max() <= 2**-18


def test_no_divergence_from_itself():
    logits = (np.random.default_rng(1).standard_normal((3, 5000)) * 4).astype(np.float32)
    targets = np.zeros(3, np.int32)
    result = score(cpu(2), logits, targets, logits)
    assert np.array_equal(result["kl"], np.zeros(3, np.float32))
    assert np.array_equal(result["top1"], np.ones(3, np.int32))


@pytest.mark.parametrize("kind", ["mean", "last"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("columns", [1, 64, 100, 576])
def test_pool_equals_the_definition(kind, normalize, columns):
    starts = np.array([0, 1, 1, 8, 20], np.int32)
    x = np.random.default_rng(columns).standard_normal((20, columns)).astype(np.float32)
    x[0] = 0  # an embedding of length 0
    inputs = {"x": x, "starts": starts}
    expected = run(reference(), "pool", inputs, {"y": (4, columns)}, kind=kind, normalize=normalize)
    for backend in every_cpu():
        for places in ("step", "columns"):
            assert same_bits(
                run(backend, "pool", inputs, {"y": (4, columns)}, places, kind=kind, normalize=normalize), expected
            )


def test_no_rows():
    empty = score(cpu(2), np.zeros((0, 7), np.float32), np.zeros(0, np.int32))
    assert empty["nll"].shape == (0,)
    inputs = {"x": np.zeros((0, 5), np.float32), "starts": np.zeros(1, np.int32)}
    assert run(cpu(2), "pool", inputs, {"y": (0, 5)}, kind="mean", normalize=True)["y"].shape == (0, 5)
