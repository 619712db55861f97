"""One result from every implementation, and what the C++ one keeps between calls."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch
from octavo_kernels.cpu.load import read
from octavo_kernels.nn import Int8Linear, ops
from octavo_kernels.nn.definition import DefinitionEngine
from octavo_kernels.nn.engine import Engine
from octavo_kernels.nn.launched import TritonEngine
from octavo_kernels.nn.library import LibraryEngine
from octavo_kernels.nn.packing import pack
from octavo_kernels.nn.threshold import dial
from torch import nn


def layer_of(inputs: int, outputs: int, **options) -> Int8Linear:
    torch.manual_seed(inputs)
    return Int8Linear.from_linear(nn.Linear(inputs, outputs), **options)


def rows(count: int, columns: int) -> torch.Tensor:
    x = torch.randn(count, columns)
    x[:, columns // 2] *= 25
    x[count // 2] = 0
    return x


def held(layer: Int8Linear) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    return layer.weight, layer.SCB, None if layer.bias is None else layer.bias.detach()


def exact(engine: Engine, layer: Int8Linear, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """In one call, and in two."""
    setting = dial(layer.threshold)
    together = engine.int8_linear(x, *held(layer), setting)
    return together, engine.linear_int8(engine.quantize(x, setting), *held(layer))


SIZES = [(1, 64, 16), (4, 130, 33), (17, 100, 5)]


@pytest.mark.parametrize("engine", [LibraryEngine, TritonEngine])
@pytest.mark.parametrize("threshold", [0, 6.0, "adaptive", "all", (6, 4)], ids=str)
@pytest.mark.parametrize("count, inputs, outputs", SIZES)
def test_every_engine_gives_the_bits_of_the_definition(count: int, inputs: int, outputs: int, threshold, engine):
    """A model moved from a CPU to a GPU, or to a machine without a compiler, says what it said."""
    layer, x = layer_of(inputs, outputs, threshold=threshold), rows(count, inputs)
    for got, wanted in zip(exact(engine(), layer, x), exact(DefinitionEngine(), layer, x), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("engine", [LibraryEngine, TritonEngine])
@pytest.mark.parametrize("count, inputs, outputs", SIZES)
def test_every_engine_gives_the_bits_of_the_definition_as_published(count: int, inputs: int, outputs: int, engine):
    layer, x = layer_of(inputs, outputs), rows(count, inputs)
    for threshold in (0.0, 6.0):
        expected = DefinitionEngine().linear_published(x, *held(layer), threshold)
        assert torch.equal(engine().linear_published(x, *held(layer), threshold), expected)


def test_more_rows_than_a_step_takes_are_the_same_rows():
    layer, x = layer_of(96, 40), rows(700, 96)
    library, definition = LibraryEngine(), DefinitionEngine()
    for got, wanted in zip(exact(library, layer, x), exact(definition, layer, x), strict=True):
        assert torch.equal(got, wanted)
    published = [engine.linear_published(x, *held(layer), 6.0) for engine in (library, definition)]
    assert torch.equal(*published)
    for got, wanted in zip(library.quantize(x, dial(6)), definition.quantize(x, dial(6)), strict=True):
        assert torch.equal(got, wanted)


def test_packed_codes_are_the_codes():
    for shape in ((16, 64), (1, 1), (33, 130), (48, 192)):
        codes = torch.randint(-127, 128, shape).to(torch.int8)
        assert torch.equal(torch.from_numpy(read(pack(codes))).view(torch.int8).reshape(shape), codes)


def test_a_weight_that_is_written_to_is_noticed():
    """The library's form of a weight is made once; a stale one would give the outputs of the old weight."""
    layer, other, x = layer_of(64, 16), layer_of(64, 16), rows(3, 64)
    with torch.no_grad():
        other.weight.copy_(layer.weight.roll(1, 0))
        other.SCB.copy_(layer.SCB.roll(1, 0))
        other.bias.copy_(layer.bias.roll(1, 0))
    layer(x)
    layer.load_state_dict(other.state_dict())
    assert torch.equal(layer(x), other(x))
    with torch.inference_mode():
        layer.weight.copy_(layer.weight.flip(0))
        assert torch.equal(
            layer(x), DefinitionEngine().int8_linear(x, layer.weight, layer.SCB, layer.bias, dial("adaptive"))
        )
    layer.weight.data = other.weight.data.clone()
    assert torch.equal(layer(x), other(x))


def test_layers_made_in_inference_mode_load_checkpoints():
    """Their tensors count no writes."""
    with torch.inference_mode():
        layer, other, x = layer_of(64, 16), layer_of(64, 17), rows(3, 64)
        layer(x)
        layer.load_state_dict(
            {name: value[:16] if value.dim() else value for name, value in other.state_dict().items()}
        )
        assert torch.equal(layer(x), other(x)[:, :16])


def test_a_bias_that_learns_counts_at_once():
    layer, x = layer_of(64, 16), rows(3, 64)
    before = layer(x)
    with torch.no_grad():
        layer.bias.add_(1)
    assert torch.allclose(layer(x), before + 1, atol=1e-5)


def test_the_memory_of_a_layer_goes_with_it():
    """Nothing outlives the module: not the packed weight, not its programs."""
    layer = layer_of(64, 16)
    layer(rows(3, 64))
    engine = ops.engine_for(torch.device("cpu"))
    assert isinstance(engine, LibraryEngine)
    kept = len(engine._layers.forms())
    gone = weakref.ref(engine._layers.of(layer.weight))
    del layer
    gc.collect()
    assert gone() is None and len(engine._layers.forms()) == kept - 1


def test_the_number_of_threads_may_change_between_calls():
    layer, x = layer_of(256, 64), rows(40, 256)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 1):
            torch.set_num_threads(threads)
            found.append(layer(x))
        assert all(torch.equal(y, found[0]) for y in found)
    finally:
        torch.set_num_threads(before)


def test_threads_of_a_server_may_call_at_once():
    """Calls wait for each other; each gets its own rows' result."""
    layer = layer_of(128, 32)
    inputs = [rows(5, 128) for _ in range(8)]
    expected = [layer(x) for x in inputs]
    wrong: list[int] = []

    def call(index: int) -> None:
        for _ in range(20):
            if not torch.equal(layer(inputs[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_rows_that_are_not_contiguous_or_aligned_are_rows():
    layer, wide = layer_of(64, 16), torch.randn(6, 3 * 64 + 1)
    for x in (wide[:, 1:65], wide[::2, 64:128], wide[:, : 3 * 64].reshape(6, 64, 3)[..., 1]):
        assert torch.equal(layer(x), layer(x.contiguous().clone()))
