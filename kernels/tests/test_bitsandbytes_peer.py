"""Our layer beside the real bitsandbytes on a CPU: the same weights, the same rows, every difference accounted for.

bitsandbytes runs int8 on CPUs by torch._int_mm where there is AVX-512, and by a float32 product elsewhere, which is
exact while sums stay below 2^24: K up to 1040. Everything here is below that, so results are the same on any CPU.
"""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from octavo_kernels.nn import Int8Linear, quantize, quantize_weight

bnb = pytest.importorskip("bitsandbytes", reason="the peer: requirements/test.txt has it")

INPUTS, OUTPUTS = 512, 96
# Half a unit in the last place, relative to the number.
UNIT = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24}
# bitsandbytes 0.50 multiplies by 6.200124e-05 on CPUs; 1/16129 is 6.200012e-05 (backends/default/ops.py).
WRONG_CONSTANT = 6.200124e-05 * 16129 - 1


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """bitsandbytes logs a line for every call with another dtype than float16."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def peer_of(layer: Int8Linear) -> torch.nn.Module:
    """bitsandbytes' layer with the same codes, by way of a state dict."""
    peer = bnb.nn.Linear8bitLt(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        has_fp16_weights=False,
        threshold=float(layer.threshold),  # type: ignore[arg-type]
    )
    peer = peer.to("cpu").eval()  # quantises what it was born with, without which it takes no codes; eval: else no int8
    peer.load_state_dict(layer.state_dict())
    return peer


def layer_of(threshold: float, mode: str, dtype: torch.dtype = torch.float16, bias: bool = True) -> Int8Linear:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator) * 0.05
    added = torch.randn(OUTPUTS, generator=generator).to(dtype) if bias else None
    return Int8Linear.from_weight(weight, added, threshold=threshold, mode=mode).eval()


def rows(count: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    """Activations with two columns of outliers, and a third with an outlier here and there; float16 holds them all."""
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, INPUTS, generator=generator)
    x[:, [7, 200]] *= 15
    x[::3, 311] = 9.5
    return x.half().to(torch.bfloat16).to(dtype)  # few enough bits for every dtype


def gap(theirs: torch.Tensor, layer: Int8Linear, x: torch.Tensor, threshold: float) -> torch.Tensor:
    """How far `published` and bitsandbytes may be apart, [T, N], counting every rounding that they make differently.

    I is the int8 part, D that with the bias, O the sum of |x w| over outlier columns, u the unit of the layer's dtype.
    bitsandbytes rounds D and the result to its dtype (u |D| + u |y|) and the dequantised weights of outliers (u O;
    adding up once more u O), and its constant is wrong by 1.8e-5 I. We round x and w of outliers to float16
    (2 * 2^-11 O) and the result (u |y|). Where an inlier lies in the middle between two codes (bitsandbytes multiplies
    by 127 * (1/s), rounded twice, we by 127/s), the codes may differ by one step.
    """
    u, w = UNIT[theirs.dtype], layer.dequantize().double()
    x = x.double()
    large = x.abs() >= (threshold or torch.inf)
    column = large.any(0)
    products = x.abs()[:, column] @ w.abs()[:, column].T
    bias = 0 if layer.bias is None else layer.bias.detach().double()
    y = theirs.double().abs()
    dense = y + products
    integers = (theirs.double() - bias).abs() + products
    s = torch.where(large, 0, x.abs()).amax(1, keepdim=True)
    scaled = x * 127 / s
    tie = ((scaled - scaled.floor() - 0.5).abs() < 1e-4) & ~column
    steps = torch.where(tie, s / 127, 0) @ w.abs().T
    rounded = u * (dense + 2 * y + 2 * products) + 2 * 2.0**-11 * products
    return rounded + (WRONG_CONSTANT + 1e-6) * integers + steps + 1e-7


@pytest.mark.parametrize("threshold", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("count", [1, 2, 33])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_published_is_what_bitsandbytes_gives_in_any_batch(count: int, threshold: float, dtype: torch.dtype):
    """Whoever moves from bitsandbytes gets the outputs he had."""
    layer = layer_of(threshold, "published", dtype)
    x = rows(count, dtype)
    with torch.no_grad():
        ours, theirs = layer(x), peer_of(layer)(x.clone())
    assert ours.dtype == theirs.dtype
    difference = (ours.double() - theirs.double()).abs()
    assert (difference <= gap(theirs, layer, x, threshold)).all()
    # The bound is for the worst case. What there is, is a rounding of the result, here and there two.
    assert difference.median() <= 2 * UNIT[torch.float16 if dtype == torch.float32 else dtype] * theirs.abs().median()


def test_published_without_a_bias_is_what_bitsandbytes_gives():
    layer = layer_of(6.0, "published", bias=False)
    x = rows(5)
    with torch.no_grad():
        theirs = peer_of(layer)(x.clone())
        assert ((layer(x).double() - theirs.double()).abs() <= gap(theirs, layer, x, 6.0)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_exact_alone_is_bitsandbytes_but_for_half_a_step_per_outlier(dtype: torch.dtype):
    """What `exact` changes for one row at t = 6, and no more.

    Both have the step s/127 (s the largest inlier; the other bounds of the step are smaller here) and the same codes
    for inliers, so their sums are the same integer. An outlier is exact in bitsandbytes and a multiple of the step in
    ours, so off by half a step at most, times its weight: sum over outliers k of step/2 |w[n,k]|; the rest are the
    roundings of `gap`. v = rint(x * inverse) may fall on the other side of a middle: 2^-22 |x| more.
    """
    layer = layer_of(6.0, "exact", dtype)
    peer = peer_of(layer)
    w = layer.dequantize().double().abs()
    for x in rows(24, dtype).split(1):
        step = quantize(x, "threshold", 6.0, 0.0)[3].double()
        outlier = x.double().abs() >= 6
        assert outlier.sum() in (0, 1, 2, 3)
        assert torch.equal(step.float(), torch.where(outlier, 0, x.double().abs()).amax(1).float() / 127)
        with torch.no_grad():
            ours, theirs = layer(x), peer(x.clone())
        half = torch.where(outlier, step / 2 + 2.0**-22 * x.double().abs(), 0) @ w.T
        assert ((ours.double() - theirs.double()).abs() <= half + gap(theirs, layer, x, 6.0)).all()


def test_exact_in_a_batch_differs_from_bitsandbytes_by_the_union_rule_alone():
    """A neighbour's outlier takes a column out of a row's int8 part: in bitsandbytes, and not in ours.

    For row m, bitsandbytes has the columns of the union in 16 bits, ours all as multiples of the row's step: apart by
    half a step times the weight for each column of the union, and nothing else.
    """
    layer = layer_of(6.0, "exact")
    peer = peer_of(layer)
    x = rows(9)
    own, union = x.abs() >= 6, (x.abs() >= 6).any(0)
    moved = union & ~own
    assert moved.any(1).any() and not moved.all()
    with torch.no_grad():
        together, ours = peer(x.clone()), layer(x)
        alone = torch.cat([peer(row.clone()) for row in x.split(1)])
        ours_alone = torch.cat([layer(row) for row in x.split(1)])
    assert torch.equal(ours, ours_alone)
    # bitsandbytes: the rows that lost a column to a neighbour changed, and only these.
    changed = (together != alone).any(1)
    assert changed.any() and not (changed & ~moved.any(1)).any()
    step = quantize(x, "threshold", 6.0, 0.0)[3].double()[:, None]
    w = layer.dequantize().double().abs()
    half = torch.where(union, step / 2 + 2.0**-22 * x.double().abs(), 0) @ w.T
    assert ((ours.double() - together.double()).abs() <= half + gap(together, layer, x, 6.0)).all()
    # With the union rule, ours is theirs again, without the half steps.
    layer.mode = "published"
    with torch.no_grad():
        assert ((layer(x).double() - together.double()).abs() <= gap(together, layer, x, 6.0)).all()


def test_weights_have_the_codes_of_bitsandbytes():
    """A checkpoint quantised here and one quantised there are one model; they differ by a code in 20,000, at ties."""
    weight = (torch.randn(1024, 1024, generator=torch.Generator().manual_seed(1)) * 0.02).half()
    codes, scale = quantize_weight(weight)
    theirs, their_scale, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(weight.clone())
    assert torch.equal(scale, their_scale)
    off = (codes.int() - theirs.int()).abs()
    assert off.max() <= 1
    scaled = weight.double() * 127 / scale.double()[:, None]
    tie = (scaled - scaled.floor() - 0.5).abs() < 1e-4
    assert not (off.bool() & ~tie).any()
    assert off.sum() <= 1024 * 1024 / 10_000


@pytest.mark.parametrize("threshold", [0.0, 6.0])
def test_activations_have_the_codes_of_bitsandbytes(threshold: float):
    x = rows(64)
    low, high, _, step = quantize(x, "threshold" if threshold else "off", threshold, 0.0)
    inlier = x.abs() < (threshold or torch.inf)
    for m, row in enumerate(x.split(1)):
        theirs, largest, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(row.clone(), threshold)
        assert torch.equal(step[m], largest[0] / torch.tensor(127.0))
        off = (low[m, :INPUTS].int() - theirs[0].int()) * inlier[m]
        scaled = row[0].double() * 127 / largest.double()
        tie = (scaled - scaled.floor() - 0.5).abs() < 1e-4
        assert off.abs().max() <= 1 and not (off.bool() & ~tie).any()
        assert not high[m, :INPUTS][inlier[m]].any()


def test_gradients_are_those_of_bitsandbytes():
    """Fine-tuning around a quantised layer goes the same way."""
    layer = layer_of(6.0, "published")
    peer = peer_of(layer)
    x = rows(6)
    found = {}
    for name, module in (("ours", layer), ("theirs", peer)):
        given = x.clone().requires_grad_()
        assert module.bias is not None
        module.bias.requires_grad_()
        (module(given).float() ** 2).sum().backward()
        found[name] = (given.grad.double(), module.bias.grad.double())
    for ours, theirs in zip(found["ours"], found["theirs"], strict=True):
        assert ((ours - theirs).abs() <= 0.01 * theirs.abs() + 0.01 * theirs.abs().median()).all()


def test_checkpoints_go_both_ways():
    """Models saved by bitsandbytes (transformers' 8-bit checkpoints) load here, and those saved here load there."""
    layer = layer_of(6.0, "exact")
    peer = peer_of(layer)
    saved = peer.state_dict()
    assert saved.keys() == layer.state_dict().keys()
    again = Int8Linear(INPUTS, OUTPUTS, threshold=6.0, dtype=torch.float16)
    again.load_state_dict(saved)
    x = rows(3)
    assert torch.equal(again(x), layer(x))


def test_calls_that_bitsandbytes_fails_on_are_answered():
    """Inputs of one and four dimensions (#980); bfloat16 beyond float16's 65504 without decomposition (#1868)."""
    layer = layer_of(0.0, "published", torch.bfloat16)
    peer = peer_of(layer)
    x = rows(4, torch.bfloat16)
    for shape in ((INPUTS,), (1, 2, 2, INPUTS)):
        with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
            peer(x.flatten()[: torch.Size(shape).numel()].reshape(shape))
        assert layer(x.flatten()[: torch.Size(shape).numel()].reshape(shape)).shape == (*shape[:-1], OUTPUTS)
    x[0, 3] = 1e5
    with torch.no_grad():
        assert not torch.isfinite(peer(x.clone())[0]).any()
        assert torch.isfinite(layer(x)).all()


def test_rows_are_scaled_by_127_squared_which_bitsandbytes_has_wrong_on_cpus():
    """Why the comparisons above allow 1.8e-5: outputs of bitsandbytes on CPUs are that much too large."""
    product = torch.full((1, 1), 16129, dtype=torch.int32)
    one = torch.ones(1)
    theirs = torch.ops.bitsandbytes.int8_mm_dequant(product, one, one, dtype=torch.float32).item()
    assert theirs - 1 == pytest.approx(WRONG_CONSTANT, rel=1e-2)
    layer = Int8Linear(1, 1, bias=False, threshold=0.0, mode="published")
    layer.weight.data.fill_(127)
    layer.SCB.fill_(1)
    assert layer(torch.ones(1, 1)).item() == pytest.approx(1, rel=1e-7)
