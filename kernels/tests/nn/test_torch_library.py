"""The ops as torch sees them: schemas, shapes without data, gradients, compilation."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

from __future__ import annotations

import pytest
import torch
from octavo_kernels import KernelError
from octavo_kernels.nn import Int8Linear, int8_linear, linear_int8, linear_published, quantize, quantize_weight
from torch import nn

LINEARS = [int8_linear, linear_published]


def operands(dtype: torch.dtype = torch.float32, columns: int = 37) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    x = torch.randn(3, 2, columns, dtype=dtype)
    x[0, 0, 1] = 9
    codes, scale = quantize_weight(torch.randn(5, columns))
    return x, codes, scale, torch.randn(5)


@pytest.mark.parametrize("op", [quantize_weight, quantize, linear_int8, int8_linear, linear_published], ids=str)
def test_torch_finds_nothing_wrong_with_the_ops(op):
    """opcheck: schema, aliasing, fake kernels, gradients under AOT autograd, dynamic shapes; else compiling breaks."""
    x, codes, scale, bias = operands()
    for given in (x, x[:0], x[0, 0]):
        if op is quantize_weight:
            samples = [(given.reshape(-1, 37),)]
        elif op is quantize:
            samples = [(given,), (given.half(), "threshold", 6.0, 0.0)]
        elif op is linear_int8:
            samples = [(*quantize(given), codes, scale, bias)]
        else:
            learns = (given.clone().requires_grad_(), codes, scale, bias.clone().requires_grad_())
            samples = [learns, (given.bfloat16().requires_grad_(), codes, scale)]
        for sample in samples:
            torch.library.opcheck(op, sample)


@pytest.mark.parametrize("mode, threshold", [("exact", 6.0), ("exact", "adaptive"), ("published", 6.0)])
def test_one_compiled_graph_serves_every_batch_size(mode: str, threshold):
    """No graph break (fullgraph) and no shape that depends on data: after the second size nothing is compiled again."""
    torch._dynamo.reset()
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32))
    for index in (0, 2):
        linear = model[index]
        assert isinstance(linear, nn.Linear)
        model[index] = Int8Linear.from_linear(linear, threshold=threshold, mode=mode)
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for rows in (1, 5, 8, 300):
        x = torch.randn(rows, 64)
        x[:, 3] = 8 * rows
        with torch.no_grad():
            assert torch.equal(compiled(x), model(x))
    assert len(graphs) <= 3  # one row, the second size, and any size
    ops = [node.target for node in graphs[-1].graph.nodes if node.op == "call_function"]
    assert sum("octavo" in str(op) for op in ops) == 2


def test_gradients_come_through_a_compiled_layer():
    torch._dynamo.reset()
    layer = Int8Linear.from_linear(nn.Linear(32, 16), threshold=6.0)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert layer.bias is not None
    found = []
    for module in (layer, compiled):
        x = torch.ones(4, 32, requires_grad=True)
        layer.bias.grad = None
        (module(x) ** 2).sum().backward()
        assert x.grad is not None and layer.bias.grad is not None
        found.append((x.grad, layer.bias.grad))
    assert all(torch.allclose(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("op", LINEARS, ids=str)
def test_shapes_are_known_without_data(op):
    """Models are planned on the meta device, before there is memory."""
    x, codes, scale, bias = (operand.to("meta") for operand in operands(torch.bfloat16))
    y = op(x, codes, scale, bias)
    assert (y.device.type, y.shape, y.dtype) == ("meta", (3, 2, 5), torch.bfloat16)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("op", LINEARS, ids=str)
def test_wrong_operands_are_refused_in_words(op, device: str):
    """Traced or run, before anything is read out of bounds."""
    x, codes, scale, bias = (operand.to(device) for operand in operands())
    wrong = {
        "rows of 36, the weight takes 37": (x[..., :36], codes, scale, bias),
        "x is torch.float64": (x.double(), codes, scale, bias),
        "the weight is torch.float32": (x, codes.float(), scale, bias),
        "its scale torch.float16": (x, codes, scale.half(), bias),
        r"its scale \[4\]": (x, codes, scale[:4], bias),
        r"the bias has the shape \[4\] for 5": (x, codes, scale, bias[:4]),
        "the bias is torch.int32": (x, codes, scale, bias.int()),
        r"the shape \[\]": (x[0, 0, 0], codes, scale, bias),
    }
    for text, given in wrong.items():
        with pytest.raises(KernelError, match=text):
            op(*given)
    with pytest.raises(KernelError, match="low has the shape"):
        linear_int8(*(part[..., :1] for part in quantize(x)[:3]), quantize(x)[3], codes, scale)
