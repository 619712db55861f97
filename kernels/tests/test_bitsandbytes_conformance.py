"""The cases of bitsandbytes' own int8 tests, by number, with their tolerances, against our kernels (file:line are in
its repository at 0.50; shapes are smaller where the shape is not the point). Ours are mostly equal where its are close.

What its suite lacks is in test_bitsandbytes_lacks.py; the package itself runs beside ours in test_bitsandbytes_peer.py.
"""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
from octavo_kernels import KernelError
from octavo_kernels.nn import Int8Linear, int8_linear, linear_int8, quantize, quantize_weight
from octavo_kernels.program.shapes import carry_words, pad64
from torch import nn

MODES = ["exact", "published"]
DTYPES = [torch.float16, torch.bfloat16, torch.float32]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """int8 [M, K] times int8 [N, K] as linear_int8 has it with the step 1 and the scale 1: float32 of the int32 sum."""
    rows, columns = a.shape
    low = nn.functional.pad(a, (0, pad64(columns) - columns))
    carries = torch.zeros(rows, carry_words(columns), dtype=torch.int32)
    carries[:, 1] = a.int().sum(1)
    scale = torch.full((b.shape[0],), 127.0)
    return linear_int8(low, torch.zeros_like(low), carries, torch.ones(rows), b, scale)


def codes(*shape: int) -> torch.Tensor:
    return torch.randint(-127, 128, shape).to(torch.int8)


def share_outside(got: torch.Tensor, expected: torch.Tensor, atol: float, rtol: float) -> float:
    """Of the elements."""
    return (~torch.isclose(got.float(), expected.float(), rtol=rtol, atol=atol)).float().mean().item()


@pytest.mark.parametrize("columns", [499, 512])
def test_case_1_products_of_codes_are_exact(columns: int):
    """test_functional.py:375, of integers against float32."""
    a, b = codes(128, columns), codes(512, columns)
    assert torch.equal(product(a, b), (a.long() @ b.long().T).float())


def test_case_2_the_product_has_its_shape_and_dtype_and_memory_of_its_own():
    """test_ops.py:14-37. There is no out=: results are new."""
    a, b = codes(10, 20), codes(30, 20)
    y = product(a, b)
    assert (y.shape, y.dtype, y.device) == ((10, 30), torch.float32, a.device)
    with pytest.raises((TypeError, RuntimeError)):
        int8_linear(torch.ones(1, 20), b, torch.ones(30), out=torch.empty(1, 30))  # type: ignore[call-arg]


@pytest.mark.parametrize("shape", [(1, 4), (8, 256), (256, 512)])
def test_case_3_rows_have_the_codes_of_the_formula(shape: tuple[int, int]):
    """test_functional.py:496-526, which lets codes be off by one; these are equal."""
    x = torch.randn(shape).half()
    low, high, _, step = quantize(x, "off", 0.0, 0.0)
    largest = x.float().abs().amax(1)
    assert torch.equal(step, largest / torch.tensor(127.0))
    assert torch.equal(low[:, : shape[1]].float(), torch.round(x.float() * (torch.tensor(127.0) / largest)[:, None]))
    assert not high.any() and not low[:, shape[1] :].any()


@pytest.mark.parametrize("mode", MODES)
def test_case_4_quantise_multiply_dequantise_is_the_product(mode: str):
    """test_functional.py:394."""
    x, weight = torch.randn(32, 32) * 0.5, nn.init.xavier_uniform_(torch.empty(32, 32))
    layer = Int8Linear.from_weight(weight, threshold=0, mode=mode)
    assert torch.allclose(layer(x), x @ weight.T, atol=0.025, rtol=0.05)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows, outputs", [(64, 64), (256, 1024)])
def test_case_5_dequantisation_with_and_without_a_bias(rows: int, outputs: int, bias: bool):
    """test_functional.py:418."""
    x, weight = torch.randn(rows, 128), torch.randn(outputs, 128)
    added = torch.randn(outputs) if bias else None
    y = Int8Linear.from_weight(weight, added, threshold=0)(x)
    expected = nn.functional.linear(x, weight, added)
    unit = expected.std()
    assert share_outside(y / unit, expected / unit, 0.015, 0.1) <= 0.01


@pytest.mark.parametrize("rows, columns", [(512, 1024), (64, 4096)])
def test_case_6_outliers_do_not_stretch_the_step_and_are_kept(rows: int, columns: int):
    """test_functional.py:558, t = 3, where outlier columns are zero in the codes: here outliers have a second digit."""
    x = torch.randn(rows, columns)
    low, high, _, step = quantize(x, "threshold", 3.0, 0.0)
    outlier = x.abs() >= 3
    value = (255 * high[:, :columns].int() + low[:, :columns].int()) * step[:, None]
    assert torch.equal(step, torch.where(outlier, 0, x.abs()).amax(1) / torch.tensor(127.0))
    # Half a step, and float32's rounding of x times the inverse.
    assert ((value - x).abs() <= step[:, None] * 0.5001 + x.abs() * 2.0**-22).all()
    assert not high[:, :columns][~outlier].any()


def test_case_7_the_list_of_outliers_is_none_at_0_and_the_group_of_the_column_at_6():
    """test_ops.py:39: one 1000.0."""
    x = torch.randn(10, 20).clamp(-4, 4)
    x[2, 13] = 1000.0
    for decompose, count in (("off", 0), ("threshold", 1)):
        _, _, carries, _ = quantize(x, decompose, 6.0, 0.0)
        assert carries.dtype == torch.int32
        assert carries[:, 0].tolist() == [count if row == 2 else 0 for row in range(10)]
        assert carries[2, 3] == count and carries[2, 4] == (13 // 4 if count else 0)


def test_case_8_a_float16_row_has_a_float16_result():
    """test_ops.py:65, int32 [256, 256] to float16."""
    layer = Int8Linear.from_weight(torch.randn(256, 256), threshold=0)
    y = layer(torch.randn(256, 256).half())
    assert (y.dtype, y.shape) == (torch.float16, (256, 256))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_case_9_the_dtype_is_kept(dtype: torch.dtype, bias: bool, mode: str):
    """test_ops.py:78; and the result is float32's, rounded once."""
    layer = Int8Linear.from_linear(nn.Linear(20, 30, bias=bias, dtype=dtype), threshold=6.0, mode=mode)
    x = torch.randn(10, 20, dtype=dtype)
    y = layer(x)
    assert (y.dtype, y.shape) == (dtype, (10, 30))
    assert torch.equal(y, layer(x.float()).to(dtype))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threshold", [0.0, 6.0])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_case_10_end_to_end_with_planted_outliers(dtype: torch.dtype, bias: bool, threshold: float, mode: str):
    """test_autograd.py:20: 6.0 in an eighth of the columns."""
    x = torch.randn(64, 32, dtype=dtype)
    x[:, torch.randperm(32)[:4]] = 6.0
    linear = nn.Linear(32, 48, bias=bias, dtype=dtype)
    y, expected = Int8Linear.from_linear(linear, threshold=threshold, mode=mode)(x), linear(x)
    assert share_outside(y, expected, 0.01, 0.1) <= (0.021 if dtype == torch.bfloat16 else 0.0175)
    assert share_outside(y, expected, 0.035, 0.2) <= 0.001


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_case_11_an_empty_batch_has_an_empty_result(dtype: torch.dtype, mode: str):
    """test_autograd.py:20 with no row; backward too."""
    layer = Int8Linear.from_linear(nn.Linear(32, 48, dtype=dtype), threshold=6.0, mode=mode)
    for shape in ((0, 32), (2, 0, 32)):
        x = torch.empty(shape, dtype=dtype, requires_grad=True)
        y = layer(x)
        assert (y.shape, y.dtype) == ((*shape[:-1], 48), dtype)
        y.sum().backward()
        assert x.grad is not None and x.grad.shape == shape


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_case_12_gradients_of_input_and_bias(dtype: torch.dtype, mode: str):
    """test_autograd.py:20: through the dequantised weight."""
    linear = nn.Linear(32, 48, dtype=dtype)
    layer = Int8Linear.from_linear(linear, threshold=6.0, mode=mode)
    x = torch.randn(64, 32, dtype=dtype, requires_grad=True)
    given = x.detach().clone().requires_grad_()
    target = torch.randn(64, 48, dtype=dtype)
    nn.functional.mse_loss(linear(x), target).backward()
    nn.functional.mse_loss(layer(given), target).backward()
    assert layer.bias is not None and layer.bias.grad is not None and given.grad is not None
    assert layer.bias.grad.dtype == dtype
    assert torch.allclose(given.grad, x.grad, atol=0.015, rtol=0.1)
    assert torch.allclose(layer.bias.grad, linear.bias.grad, atol=0.015, rtol=0.1)
    assert layer.weight.grad is None and not layer.weight.requires_grad


@pytest.mark.parametrize("mode", MODES)
def test_case_13_a_layer_beside_the_float16_layer(mode: str):
    """test_linear8bitlt.py:28, t = 6."""
    linear = nn.Linear(1024, 3072).half()
    layer = Int8Linear.from_linear(linear, threshold=6.0, mode=mode)
    x = torch.randn(3, 1024).half().requires_grad_()
    given = x.detach().clone().requires_grad_()
    y, expected = layer(given), linear(x)
    off = (y.float() - expected.float()).abs()
    assert (off > 0.02).float().mean() <= 0.00025 and off.max() <= 0.03
    direction = torch.randn_like(y)
    (y * direction).mean().backward()
    (expected * direction).mean().backward()
    assert given.grad is not None and torch.allclose(given.grad, x.grad, atol=0.01)


@pytest.mark.parametrize("threshold", [0.0, 6.0])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", ["torch.save", "safetensors", "module"])
def test_case_14_saved_and_loaded_it_is_the_same_layer(how: str, when: str, threshold: float, tmp_path: Path):
    """test_linear8bitlt.py:77: before and after a forward pass; the file is less than half of float32's."""
    linear = nn.Linear(32, 96)
    layer = Int8Linear.from_linear(linear, threshold=threshold)
    x = torch.randn(4, 32)
    expected = layer(x) if when == "after" else None
    file = tmp_path / "layer"
    if how == "safetensors":
        from safetensors.torch import load_file, save_file

        save_file(layer.state_dict(), file)
        again = Int8Linear(32, 96, threshold=threshold)
        again.load_state_dict(load_file(file))
    elif how == "torch.save":
        torch.save(layer.state_dict(), file)
        again = Int8Linear(32, 96, threshold=threshold)
        again.load_state_dict(torch.load(file))
    else:
        torch.save(layer, file)
        again = torch.load(file, weights_only=False)
    assert torch.equal(again.weight, layer.weight) and torch.equal(again.SCB, layer.SCB)
    assert torch.equal(again(x), layer(x) if expected is None else expected)
    sizes = []
    for module in (Int8Linear.from_linear(nn.Linear(512, 96)), nn.Linear(512, 96)):
        torch.save(module.state_dict(), buffer := io.BytesIO())
        sizes.append(len(buffer.getvalue()))
    assert sizes[0] < 0.5 * sizes[1]


def test_case_15_quantised_and_other_checkpoints_are_not_mixed_up():
    """test_linear8bitlt.py:144 and :242: both ways, and a scale that is missing; nothing is changed."""
    linear = nn.Linear(32, 96)
    layer = Int8Linear.from_linear(linear)
    with pytest.raises(RuntimeError, match="SCB"):
        linear.load_state_dict(layer.state_dict())
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(KernelError, match=r"weight is torch.float32, not int8 codes") as caught:
        layer.load_state_dict(linear.state_dict())
    assert caught.value.code == "OCTAVO_DTYPE_MISMATCH"
    without = {name: value for name, value in before.items() if name != "SCB"}
    with pytest.raises(KernelError, match="SCB is missing"):
        layer.load_state_dict(without, strict=False)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("how", ["copy", "deepcopy", "pickle"])
def test_case_16_copies_keep_codes_and_scale(how: str):
    """test_linear8bitlt.py:196-229."""
    layer = Int8Linear.from_linear(nn.Linear(32, 96))
    x = torch.randn(4, 32)
    expected = layer(x)
    copies = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda it: pickle.loads(pickle.dumps(it))}
    again = copies[how](layer)
    assert torch.equal(again.weight, layer.weight) and torch.equal(again.SCB, layer.SCB)
    assert torch.equal(again(x), expected)


def test_case_17_moving_there_and_back_changes_no_bit():
    """test_linear8bitlt.py:333, GPU to CPU and back after a forward pass; without a GPU dtypes, and meta for shapes."""
    layer = Int8Linear.from_linear(nn.Linear(32, 128, bias=False), threshold=6.0)
    x = torch.randn(4, 32)
    expected, held = layer(x), copy.deepcopy(layer.state_dict())
    moves = ["cuda", "cpu", "cuda", "cpu"] if torch.cuda.is_available() else [torch.float16, "cpu", torch.float32]
    for move in moves:
        layer = layer.to(move)
        assert torch.equal(layer.weight.cpu(), held["weight"]) and torch.equal(layer.SCB.cpu(), held["SCB"])
        assert torch.equal(layer(x.to(layer.weight.device)).cpu(), expected)
    somewhere = copy.deepcopy(layer).to("meta")
    assert (somewhere.weight.dtype, somewhere.SCB.dtype) == (torch.int8, torch.float32)
    assert somewhere(x.to("meta")).shape == (4, 128)


def test_case_18_compiled_as_one_graph_it_gives_the_same_bits():
    """test_linear8bitlt.py:252: four layers of 256, a batch of 16, fullgraph, t = 6, where bitsandbytes breaks."""
    layers = [Int8Linear.from_linear(nn.Linear(256, 256, bias=False), threshold=6.0) for _ in range(4)]
    model = nn.Sequential(*layers)
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(16, 256)
    x[:, 3] = 20
    with torch.no_grad():
        assert torch.equal(compiled(x), model(x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU; what they ask is tested in nn/")
def test_case_18_replayed_from_a_cuda_graph_it_gives_the_same_bits():
    layer = Int8Linear.from_linear(nn.Linear(256, 256), threshold=6.0).cuda()
    compiled = torch.compile(layer, fullgraph=True, mode="reduce-overhead")
    x = torch.randn(16, 256, device="cuda")
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(compiled(x), layer(x))


@pytest.mark.parametrize("mode", MODES)
def test_case_19_an_mlp_on_three_dimensions_with_backward(mode: str):
    """test_modules.py:80-193, t = 2: gradients at most 5 % of the largest off, 0.5 % of them by over 1 % + 10 %."""
    linears = nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 32))
    layers = nn.Sequential(*(Int8Linear.from_linear(linear, threshold=2.0, mode=mode) for linear in linears))
    x = torch.randn(16, 8, 32, requires_grad=True)
    given = x.detach().clone().requires_grad_()
    expected, y = linears(x), layers(given)
    assert y.shape == (16, 8, 32)
    direction = torch.randn_like(y)
    (expected * direction).sum().backward()
    (y * direction).sum().backward()
    pairs = [(given.grad, x.grad), (layers[0].bias.grad, linears[0].bias.grad)]
    for got, wanted in pairs:
        scale = wanted.abs().max()
        assert (got - wanted).abs().max() <= 0.05 * scale
        assert share_outside(got / scale, wanted / scale, 0.01, 0.1) <= 0.005


@pytest.mark.parametrize("mode", MODES)
def test_case_20_a_float32_bias_with_a_float16_input_and_no_bias(mode: str):
    """test_modules.py:205. bitsandbytes converts the bias for good; here the module stays as it was."""
    linear = nn.Linear(32, 64)
    layer = Int8Linear.from_linear(linear, threshold=2.0, mode=mode)
    y = layer(torch.randn(16, 8, 32).half())
    assert (y.dtype, y.shape) == (torch.float16, (16, 8, 64))
    assert layer.bias is not None and layer.bias.dtype == torch.float32 and torch.equal(layer.bias, linear.bias)
    without = Int8Linear.from_linear(nn.Linear(32, 64, bias=False), threshold=2.0, mode=mode)
    assert without.bias is None and without(torch.randn(16, 8, 32).half()).dtype == torch.float16


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_case_21_backward_through_odd_dimensions(dtype: torch.dtype, mode: str):
    """test_modules.py:244: 36 -> 84 -> 128; one element outside at most."""
    first, second = nn.Linear(36, 84, dtype=dtype), nn.Linear(84, 128, dtype=dtype)
    x = torch.randn(16, 36, dtype=dtype, requires_grad=True)
    given = x.detach().clone().requires_grad_()
    second(first(x)).mean().backward()
    layers = [Int8Linear.from_linear(linear, threshold=6.0, mode=mode) for linear in (first, second)]
    layers[1](layers[0](given)).mean().backward()
    assert given.grad is not None and x.grad is not None and given.grad.dtype == dtype
    assert (~torch.isclose(given.grad, x.grad, atol=0.015, rtol=0.05)).sum() <= 1


def test_weights_are_quantised_without_a_detour_over_float16():
    """nn/modules.py:745 rounds every weight to float16 first; a float32 or bfloat16 weight has other codes then."""
    weight = torch.randn(64, 256)
    codes_, scale = quantize_weight(weight)
    assert torch.equal(scale, weight.abs().amax(1))
    assert torch.equal(codes_.float(), torch.round(weight * (torch.tensor(127.0) / scale)[:, None]))
