"""Cases of LLM.int8() that bitsandbytes' suite does not have: what goes wrong there, or could unnoticed."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

from __future__ import annotations

import pytest
import torch
from octavo_kernels.nn import Int8Linear, linear_int8, quantize
from octavo_kernels.nn.launched import TritonEngine
from octavo_kernels.nn.threshold import dial
from octavo_kernels.program.shapes import carry_words
from torch import nn

MODES = ["exact", "published"]
#: decompose, absolute, relative
SIX = ("threshold", 6.0, 0.0)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def layer_of(inputs: int, outputs: int, mode: str = "exact", bias: bool = True, threshold=6.0) -> Int8Linear:
    return Int8Linear.from_linear(nn.Linear(inputs, outputs, bias=bias), threshold=threshold, mode=mode)


def ideal(layer: Int8Linear, x: torch.Tensor) -> torch.Tensor:
    """What the codes stand for, times x as it is; float64."""
    y = x.double() @ layer.dequantize().double().T
    return y if layer.bias is None else y + layer.bias.double()


def half_steps(layer: Int8Linear, x: torch.Tensor) -> torch.Tensor:
    """Every element at most half a step off, times its weight; and float32's roundings of x times the inverse."""
    step = quantize(x, *SIX)[3].double()[:, None]
    return (step * 0.5001 + 2.0**-22 * x.double().abs()) @ layer.dequantize().double().abs().T + 1e-6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [1, 6, 100])
def test_planted_outlier_columns_cost_nothing(count: int, mode: str):
    """Columns at +-6 to 60, as models from 6.7B on have them: the error stays that of the inliers."""
    layer = layer_of(4096, 32, mode)
    plain = torch.randn(4, 4096).clamp(-5, 5)
    x = plain.clone()
    columns = torch.randperm(4096)[:count]
    x[:, columns] = torch.linspace(60, 6, count) * torch.where(torch.randn(4, count) > 0, 1.0, -1.0)
    off = (layer(x).double() - ideal(layer, x)).abs()
    # published has outliers in float16: x is exact to 2^-11, so is the weight.
    sixteen = 2 * 2.0**-11 * (x[:, columns].double().abs() @ layer.dequantize()[:, columns].double().abs().T)
    assert (off <= half_steps(layer, x) + (sixteen if mode == "published" else 0)).all()
    assert torch.equal(quantize(x, *SIX)[3], quantize(plain.index_fill(1, columns, 0), *SIX)[3])
    without = Int8Linear.from_weight(layer.dequantize(), layer.bias, threshold=0)
    assert off.mean() < 0.5 * (without(x).double() - ideal(layer, x)).abs().mean()


def test_an_element_of_exactly_the_threshold_is_an_outlier_and_the_float_below_is_not():
    x = torch.full((2, 8), 0.5)
    x[0, 3], x[1, 3] = 6.0, torch.nextafter(torch.tensor(6.0), torch.tensor(0.0))
    _, _, carries, step = quantize(x, *SIX)
    assert carries[:, 3].tolist() == [1, 0]
    assert torch.equal(step, torch.stack([torch.tensor(0.5), x[1, 3]]) / torch.tensor(127.0))


def test_a_large_inlier_in_an_outlier_column_still_sets_the_scale():
    """bitsandbytes' mask is per element, not per column (kernels.cu:1350): a 5.9 beside a neighbour's 60."""
    x = torch.full((2, 64), 0.5)
    x[0, 9], x[1, 9] = 5.9, 60.0
    for mode in MODES:
        layer = layer_of(64, 16, mode, bias=False)
        with torch.no_grad():
            y = layer(x)[0].double()
        codes = torch.round(x[0] * (torch.tensor(127.0) / 5.9)).double()
        step, w = 5.9 / 127, layer.dequantize().double()
        if mode == "published":  # where the 5.9 itself is multiplied in float16
            codes[9] = 0
            expected = (codes * step) @ w.T + float(torch.tensor(5.9).half()) * w[:, 9].half().double()
        else:
            expected = (codes * step) @ w.T
        assert torch.allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_a_row_alone_is_the_row_in_a_batch():
    """#28: in bitsandbytes, and as published, a neighbour's outlier changes a row. Never in `exact`, to the bit."""
    layer = layer_of(256, 64)
    x = torch.randn(300, 256)
    x[1, ::7] *= 40
    y = layer(x)
    for rows in (slice(0, 1), slice(2, 3), slice(5, 90), slice(250, 300)):
        assert torch.equal(layer(x[rows]), y[rows])
    layer.mode = "published"
    assert not torch.equal(layer(x[:1]), layer(x)[:1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inputs, outputs", [(37, 5), (1, 1), (3, 129), (65, 63), (577, 33)])
@pytest.mark.parametrize("rows", [1, 3])
def test_odd_widths_and_single_rows_have_no_slow_path_and_no_other_result(rows, inputs: int, outputs: int, mode: str):
    """K % 4 sends bitsandbytes to a float32 product of widened weights."""
    layer = layer_of(inputs, outputs, mode)
    x = torch.randn(rows, inputs)
    x[0, 0] = 8
    bound = half_steps(layer, x) + 2.0**-9 * x.double().abs() @ layer.dequantize().double().abs().T
    assert ((layer(x).double() - ideal(layer, x)).abs() <= bound).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_row_of_zeros_gives_the_bias(mode: str):
    """There, the result of casting NaN to int8."""
    layer = layer_of(64, 16, mode)
    x = torch.randn(3, 64)
    x[1] = 0
    assert torch.equal(layer(x)[1], layer.bias)


@pytest.mark.parametrize("mode", MODES)
def test_a_row_of_nothing_but_outliers_is_multiplied(mode: str):
    layer = layer_of(128, 16, mode)
    x = torch.randn(2, 128)
    x[1] = (torch.rand(128) + 0.5) * 40
    off = (layer(x).double() - ideal(layer, x)).abs()
    assert (off <= half_steps(layer, x) + 2.0**-9 * x.double().abs() @ layer.dequantize().double().abs().T).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_inf_show_in_their_row_and_in_no_other(bad: float):
    """bitsandbytes on CUDA turns NaN into 0, silently."""
    layer = layer_of(64, 16)
    x = torch.randn(3, 64)
    expected = layer(x)
    x[1, 5] = bad
    y = layer(x)
    assert y[1].isnan().all() and torch.equal(y[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("threshold", [0, 6.0, "adaptive", "all"])
def test_bfloat16_beyond_float16_stays_finite(threshold):
    """#1868: bitsandbytes casts to float16 within, where 65504 is the end."""
    layer = layer_of(64, 16, threshold=threshold)
    x = torch.randn(2, 64).bfloat16()
    x[0, 3] = 1e6
    y = layer(x)
    assert y.dtype == torch.bfloat16 and torch.isfinite(y).all()
    assert torch.allclose(y[0].double(), ideal(layer, x)[0], rtol=0.02, atol=1e6 * 0.02 * 0.125)


def test_sums_of_16384_products_are_exact():
    """Where a float32 product stops being exact at 1040 columns: all codes +-127, in the worst order."""
    columns = 16384
    signs = torch.where(torch.randn(4, columns) > 0, 1, -1).to(torch.int8)
    low = signs * 127
    weight = torch.cat([signs * 127, torch.randint(-127, 128, (12, columns)).to(torch.int8)])
    carries = torch.zeros(4, carry_words(columns), dtype=torch.int32)
    carries[:, 1] = low.int().sum(1)
    y = linear_int8(low, torch.zeros_like(low), carries, torch.ones(4), weight, torch.full((16,), 127.0))
    exact = low.long() @ weight.long().T
    assert exact.abs().max() == columns * 127 * 127
    assert torch.equal(y, exact.float())


@pytest.mark.parametrize("threshold", [0, 6.0, "adaptive", "all"])
def test_the_cpu_and_the_gpu_kernels_give_the_same_codes(threshold):
    """bitsandbytes has no such test, and two implementations that differ. The Triton kernels run interpreted here."""
    x = torch.randn(5, 130)
    x[:, 3] *= 20
    x[2] = 0
    setting = dial(threshold)
    ours = quantize(x, setting.decompose, setting.absolute, setting.relative)
    theirs = TritonEngine().quantize(x, setting)
    listed = torch.arange(ours[2].shape[1]) < 4 + ours[2][:, :1]
    for name, mine, other in zip(("low", "high", "carries", "step"), ours, theirs, strict=True):
        assert torch.equal(mine, torch.where(listed, other, 0) if name == "carries" else other), name


@pytest.mark.parametrize("mode", MODES)
def test_inputs_of_one_and_of_four_dimensions(mode: str):
    """#980."""
    layer = layer_of(32, 8, mode)
    x = torch.randn(2, 3, 4, 32)
    flat = layer(x.reshape(24, 32))
    assert torch.equal(layer(x), flat.reshape(2, 3, 4, 8))
    assert layer(x[0, 0, 0]).shape == (8,) and torch.equal(layer(x[0, 0, 0]), layer(x[0, 0, :1])[0])


def test_a_layer_split_over_devices_is_the_layer():
    """Tensor parallel: by outputs, a shard is a part of the layer; by inputs, integer sums add up to the same sum."""
    layer = layer_of(256, 64)
    x = torch.randn(5, 256)
    x[:, 70] *= 30
    whole = layer(x)
    parts = []
    for rows in (slice(0, 40), slice(40, 64)):
        part = Int8Linear(256, rows.stop - rows.start, threshold=6.0)
        with torch.no_grad():
            for name in ("weight", "SCB", "bias"):
                getattr(part, name).copy_(getattr(layer, name)[rows])
        parts.append(part(x))
    assert torch.equal(torch.cat(parts, -1), whole)

    low, high, _, step = quantize(x, *SIX)
    sums = [_sums(low[:, k], high[:, k], layer.weight[:, k]) for k in (slice(0, 64), slice(64, 256))]
    total = torch.stack(sums).sum(0).float()
    # y = fma(S step, s / 127, bias); float64 rounds the fma once more, which the nearest float32 hides but at ties.
    y = ((total * step[:, None]).double() * (layer.SCB / 127).double() + layer.bias.double()).float()
    assert torch.equal(y, whole)


def _sums(low: torch.Tensor, high: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """int64 [T, N] of a shard of columns, by linear_int8 with the step 1 and the scale 1; below 2^24, so exact."""
    rows, columns = low.shape
    carries = torch.zeros(rows, carry_words(columns), dtype=torch.int32)
    for row in range(rows):
        groups = high[row].reshape(-1, 4).any(1).nonzero()[:, 0]
        carries[row, 0], carries[row, 4 : 4 + len(groups)] = len(groups), groups.int()
    carries[:, 1], carries[:, 2], carries[:, 3] = low.int().sum(1), high.int().sum(1), high.ne(0).sum(1)
    y = linear_int8(low, high, carries, torch.ones(rows), weight, torch.full((weight.shape[0],), 127.0))
    assert y.abs().max() < 2**24
    return y.long()
