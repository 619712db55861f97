"""Norms, activations, pools and scores against float64 by their textbook formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from octavo_kernels.reference.activation import activate, glu
from octavo_kernels.reference.fused import add_norm_quantize, glu_quantize, norm_quantize
from octavo_kernels.reference.judge import pool, score
from octavo_kernels.reference.norm import norm
from proofs.conformance.rows import ordinary

EPS = 2.0**-24


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("columns", [1, 17, 64, 576, 1000])
@pytest.mark.parametrize("unit_offset", [False, True])
def test_rms_norm(columns: int, unit_offset: bool):
    x, w = torch.from_numpy(ordinary(np.random.default_rng(columns), 6, columns)), _normal(1, columns)
    got = norm(x=x, weight=w, kind="rms", eps=1e-5, unitOffset=unit_offset)["y"].double()
    wide = x.double()
    gain = w.double() + 1 if unit_offset else w.double()
    expected = wide / (wide.square().mean(1, keepdim=True) + 1e-5).sqrt() * gain
    # About 13 roundings in the sum of squares, halved by the root, and six more.
    offset_rounding = 2 * EPS * (wide / wide.square().mean(1, keepdim=True).sqrt()).abs() if unit_offset else 0
    assert ((got - expected).abs() <= 16 * EPS * expected.abs() + offset_rounding).all()


@pytest.mark.parametrize("columns", [2, 17, 64, 576])
@pytest.mark.parametrize("biased", [False, True])
def test_layer_norm(columns: int, biased: bool):
    x, w, b = (
        torch.from_numpy(ordinary(np.random.default_rng(columns), 6, columns)) + 3,
        _normal(1, columns),
        _normal(2, columns),
    )
    got = norm(x=x, weight=w, bias=b if biased else None, kind="layer", eps=1e-5, unitOffset=False)["y"].double()
    expected = torch.nn.functional.layer_norm(
        x.double(), (columns,), w.double(), b.double() if biased else None, eps=float(np.float32(1e-5))
    )
    # The mean is off by 16 EPS of the largest number, against the deviation of the row; then as in rms.
    deviation = (x.double().var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    shift = 16 * EPS * x.double().abs().amax(1, keepdim=True) / deviation * w.double().abs()
    assert ((got - expected).abs() <= 24 * EPS * (expected.abs() + b.double().abs()) + 2 * shift).all()


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
def test_activations(activation: str):
    x = torch.linspace(-30, 30, 4001)[None]
    wide = x.double()
    expected = {
        "silu": torch.nn.functional.silu(wide),
        "gelu": torch.nn.functional.gelu(wide),
        "gelu_tanh": torch.nn.functional.gelu(wide, approximate="tanh"),
        "relu": torch.relu(wide),
    }[activation]
    got = activate(x=x, activation=activation)["y"].double()
    # exp within 2 ulp, a sum, a quotient; gelu's e^-a^2 multiplies the roundings of a^2 = x^2 / 2 by a^2; 1 + tanh
    # cancels below 0 to 2 ulp of 1; torch's own gelu cancels there too, to 2^-53 of what it subtracts.
    relative = 8 * EPS + (8 * EPS + 2 * EPS * wide**2 if activation == "gelu" else 0)
    cancelled = (4 * EPS if activation == "gelu_tanh" else 2.0**-51) * wide.abs()
    bound = relative * expected.abs() + cancelled
    assert ((got - expected).abs() <= bound).all()
    up = _normal(3, 1, 4001)
    gated = glu(gate=x, up=up, activation=activation)["y"].double()
    assert ((gated - expected * up.double()).abs() <= (bound + EPS * expected.abs()) * up.double().abs()).all()


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
def test_activations_at_the_ends(activation: str):
    x = torch.tensor([[-3e38, -200.0, 0.0, 200.0, 3e38, float("nan")]])
    y = activate(x=x, activation=activation)["y"][0]
    assert y[:3].abs().max() == 0 and y[3] == 200 and y[4] == x[0, 4] and y[5].isnan()


def test_fused_ops_are_their_parts():
    x, y, w = _normal(4, 5, 100), _normal(5, 5, 100), _normal(6, 100)
    how = {"kind": "rms", "eps": 1e-5, "unitOffset": False, "decompose": "adaptive", "absolute": 6.0, "relative": 6.0}
    summed = add_norm_quantize(a=x, b=y, weight=w, **how)
    assert torch.equal(summed["y"], x + y)
    parts = norm_quantize(x=x + y, weight=w, **how)
    assert all(torch.equal(summed[name], parts[name]) for name in parts)
    gated = glu_quantize(gate=x, up=y, activation="silu", decompose="off", absolute=6.0, relative=6.0)
    largest = glu(gate=x, up=y, activation="silu")["y"].abs().amax(1)
    assert torch.equal(gated["step"], largest / torch.tensor(127.0))


def test_pools_are_means_or_last_rows_of_unit_length():
    x, starts = _normal(7, 12, 40), torch.tensor([0, 5, 5, 12], dtype=torch.int32)
    mean = pool(x=x, starts=starts, kind="mean", normalize=False)["y"].double()
    expected = torch.stack([x[:5].double().mean(0), torch.zeros(40).double(), x[5:].double().mean(0)])
    assert ((mean - expected).abs() <= 8 * EPS * x.double().abs().amax()).all()
    last = pool(x=x, starts=starts, kind="last", normalize=False)["y"]
    assert torch.equal(last, torch.stack([x[4], torch.zeros(40), x[11]]))
    lengths = pool(x=x, starts=starts, kind="mean", normalize=True)["y"].double().norm(dim=1)
    assert ((lengths - torch.tensor([1.0, 0.0, 1.0])).abs() <= 16 * EPS).all()


def test_scores_are_surprise_divergence_and_agreement():
    logits, reference = _normal(8, 6, 50) * 4, _normal(9, 6, 50) * 4
    targets = torch.tensor([0, 49, 7, 7, 1, 2], dtype=torch.int32)
    found = score(logits=logits, targets=targets, reference=reference)
    nll = torch.nn.functional.cross_entropy(logits.double(), targets.long(), reduction="none")
    kl = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=reference.double()),
        torch.distributions.Categorical(logits=logits.double()),
    )
    assert torch.equal(found["nll"], nll.float())
    assert torch.allclose(found["kl"].double(), kl, rtol=2 * EPS, atol=0)
    assert torch.equal(found["top1"], (logits.argmax(1) == reference.argmax(1)).int())
    alone = score(logits=logits, targets=targets)
    assert not alone["kl"].any() and torch.equal(alone["top1"], (logits.argmax(1) == targets).int())
