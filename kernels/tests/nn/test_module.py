"""Int8Linear as a module: its state is its parameters and buffers, and survives what modules go through."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

from __future__ import annotations

import copy

import pytest
import torch
from octavo_kernels import KernelError
from octavo_kernels.nn import Int8Linear
from torch import nn


def layer_of(**options) -> Int8Linear:
    torch.manual_seed(0)
    return Int8Linear.from_linear(nn.Linear(48, 24), **options)


def test_the_state_of_a_layer_is_that_of_bitsandbytes():
    """The names and dtypes that readers of 8-bit checkpoints look for."""
    state = layer_of().state_dict()
    assert {name: (value.dtype, tuple(value.shape)) for name, value in state.items()} == {
        "weight": (torch.int8, (24, 48)),
        "bias": (torch.float32, (24,)),
        "SCB": (torch.float32, (24,)),
        "weight_format": (torch.uint8, ()),
    }
    assert state["weight_format"] == 0


@pytest.mark.parametrize("tag", [None, 0, "row"])
def test_checkpoints_of_every_age_load(tag):
    """Without the tag (old ones), with 0, and with the text of before 0.45."""
    layer, again = layer_of(), Int8Linear(48, 24)
    state = layer.state_dict()
    del state["weight_format"]
    if tag is not None:
        state["weight_format"] = torch.tensor(tag, dtype=torch.uint8) if tag == 0 else tag
    again.load_state_dict(state)
    x = torch.randn(3, 48)
    assert torch.equal(again(x), layer(x))


@pytest.mark.parametrize("tag, name", [(1, "col32"), (2, "col_turing"), (3, "col_ampere")])
def test_codes_in_the_order_of_old_gpus_are_refused(tag: int, name: str):
    """Read as rows they would be noise. Nothing is changed, and the message says which layer and what to do."""
    model = nn.Sequential(layer_of())
    before = copy.deepcopy(model.state_dict())
    state = {**before, "0.weight": before["0.weight"].roll(1, 0), "0.weight_format": torch.tensor(tag).byte()}
    with pytest.raises(KernelError, match=rf"0\.weight: .* {name}.* save the model again with bitsandbytes") as caught:
        model.load_state_dict(state)
    assert caught.value.code == "OCTAVO_MODEL_FILE_INVALID"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_codes_that_no_quantiser_writes_are_refused():
    """-128 would leave the range that the sums are proven for."""
    state = layer_of().state_dict()
    state["weight"][3, 5] = -128
    with pytest.raises(KernelError, match="the code -128"):
        Int8Linear(48, 24).load_state_dict(state)


def test_a_checkpoint_goes_into_a_model_without_memory():
    """The usual way to load a large model: built on the meta device, filled by assignment, never in float."""
    layer = layer_of()
    with torch.device("meta"):
        empty = Int8Linear(48, 24)
        quantised = Int8Linear.from_linear(nn.Linear(48, 24))
    x = torch.randn(3, 48)
    for module in (empty, quantised):
        assert module.weight.is_meta and module.SCB.is_meta
        module.load_state_dict(layer.state_dict(), assign=True)
        assert torch.equal(module(x), layer(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_converting_a_model_leaves_codes_and_scales_alone(dtype: torch.dtype):
    """model.half() would otherwise round the scales, and model.to(bfloat16) the whole layer."""
    layer, x = layer_of(), torch.randn(3, 48)
    expected, held = layer(x), copy.deepcopy(layer.state_dict())
    nn.Sequential(layer).to(dtype)
    assert layer.weight.dtype == torch.int8 and torch.equal(layer.weight, held["weight"])
    assert layer.SCB.dtype == torch.float32 and torch.equal(layer.SCB, held["SCB"])
    assert layer.bias is not None and layer.bias.dtype == dtype
    if dtype != torch.float64:
        assert torch.allclose(layer(x), expected, atol=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_results_have_the_dtype_of_the_input_whatever_the_bias_has(dtype: torch.dtype):
    layer = layer_of()
    for bias in (torch.float16, torch.bfloat16, torch.float32):
        layer.bias = nn.Parameter(layer.bias.detach().to(bias))
        x = torch.randn(2, 48, dtype=dtype)
        y = layer(x)
        assert y.dtype == dtype
        assert torch.equal(y, layer(x.float()).to(dtype))


def test_the_threshold_is_a_dial_that_turns():
    """From no decomposition to 16-bit activations, on the same weights, at any time."""
    layer, x = layer_of(), torch.randn(64, 48)
    x[:, 3] *= 30
    ideal = x.double() @ layer.dequantize().double().T + layer.bias.double()
    errors = []
    for threshold in (0, 6.0, "adaptive", (6, 2), "all"):
        layer.threshold = threshold
        errors.append((layer(x).double() - ideal).square().mean().item())
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 100


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "some", None, (6,), (6, 0), "6"])
def test_what_is_no_threshold_is_refused(wrong):
    with pytest.raises(KernelError, match="threshold is"):
        Int8Linear(8, 8, threshold=wrong)


@pytest.mark.parametrize("wrong", ["adaptive", "all", (6, 6)])
def test_published_takes_a_number(wrong):
    with pytest.raises(KernelError, match="published"):
        layer_of(mode="published", threshold=wrong)
    layer = layer_of(mode="published", threshold=6.0)
    layer.threshold = wrong
    with pytest.raises(KernelError, match="published"):
        layer(torch.randn(1, 48))
    with pytest.raises(KernelError, match="exact, published"):
        Int8Linear(8, 8, mode="fast")


def test_a_weight_with_nan_is_not_quantised():
    """It would become a row of NaN that nobody finds."""
    linear = nn.Linear(48, 24)
    with torch.no_grad():
        linear.weight[5, 7] = float("nan")
    with pytest.raises(KernelError, match="row 5"):
        Int8Linear.from_linear(linear)


def test_layers_without_inputs_or_outputs_do_what_linear_does():
    for inputs, outputs in ((0, 8), (8, 0)):
        layer = Int8Linear(inputs, outputs)
        assert layer(torch.randn(3, inputs)).shape == (3, outputs)


def test_the_text_of_a_layer_names_its_sizes_threshold_and_mode():
    assert repr(layer_of(threshold=6.0)) == (
        "Int8Linear(in_features=48, out_features=24, bias=True, threshold=6.0, mode='exact')"
    )
