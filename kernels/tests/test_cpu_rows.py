"""The ops on rows equal their definitions to the bit. A user would lose: the same answer on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from octavo_kernels import KernelError
from octavo_kernels.program.shapes import carry_words, pad64
from one_op import cpu, every_cpu, reference, run
from proofs.conformance.floats import narrow
from proofs.conformance.rows import edges

# Around the 4 columns of a group, the 16 of a vector and the 64 of a block, and the hidden size of the demo model.
COLUMNS = [1, 3, 15, 16, 17, 63, 64, 65, 576]
ACTIVATIONS = ["silu", "gelu", "gelu_tanh", "relu"]
DECOMPOSE = ["off", "threshold", "adaptive", "all"]
ATTRIBUTES: dict[str, Any] = {"absolute": 6.0, "relative": 6.0}


def rows_of(columns: int, seed: int = 0) -> np.ndarray:
    """Every edge of quantisation as a row."""
    return edges(np.random.default_rng(columns + seed), columns)


def digits(rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what quantize writes."""
    padded = pad64(columns)
    return {
        "low": (rows, padded),
        "high": (rows, padded),
        "carries": (rows, carry_words(columns)),
        "step": (rows,),
    }


def listed(result: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without what stands behind the listed groups, which is anything."""
    if "carries" not in result:
        return result
    carries = result["carries"]
    return {**result, "carries": np.where(np.arange(carries.shape[1]) < 4 + carries[:, :1], carries, 0)}


def differing(result: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> list[str]:
    """Names of outputs that are not equal; a NaN equals a NaN."""
    result, expected = listed(result), listed(expected)
    return [
        name for name in expected if not np.array_equal(result[name], expected[name], equal_nan=name in ("y", "step"))
    ]


def check(op: str, inputs: dict, outputs: dict, places: tuple[str, ...] = ("step", "columns"), **attributes) -> None:
    """Every instruction set with 1, 2 and 4 threads, dense rows and columns of wider values."""
    expected = run(reference(), op, inputs, outputs, **attributes)
    for backend in every_cpu():
        for place in places:
            found = differing(run(backend, op, inputs, outputs, place, **attributes), expected)
            assert not found, (op, backend.isa, backend.threads, place, found)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("decompose", DECOMPOSE)
def test_quantize(columns: int, decompose: str):
    x = rows_of(columns)
    check("quantize", {"x": x}, digits(*x.shape), decompose=decompose, **ATTRIBUTES)


@pytest.mark.parametrize("absolute,relative", [(0.0, 6.0), (6.0, 0.0), (1e30, 1.0), (3.5, 1e-3)])
def test_quantize_at_other_thresholds(absolute: float, relative: float):
    x = rows_of(200)
    for decompose in ("threshold", "adaptive"):
        check("quantize", {"x": x}, digits(*x.shape), decompose=decompose, absolute=absolute, relative=relative)


def test_digits_make_up_the_row():
    """An independent look: 255 high + low, times the step, is the row to half a step."""
    x = rows_of(576)
    x = x[np.isfinite(np.abs(x.astype(np.float64)).sum(1)) & (np.abs(x).max(1) < 1e30)]
    for decompose in DECOMPOSE:
        made = run(cpu(2), "quantize", {"x": x}, digits(*x.shape), decompose=decompose, **ATTRIBUTES)
        v = 255 * made["high"].astype(np.int64) + made["low"]
        assert np.abs(made["low"]).max() <= 127 and np.abs(made["high"]).max() <= 127
        step = made["step"].astype(np.float64)[:, None]
        # x * inverse is rounded once before rint, and the inverse is not quite 1 / step: 3 EPS of at most 32512.
        assert (np.abs(v[:, :576] * step - x) <= (0.5 + 32512 * 3 * 2**-24) * step).all()
        assert (made["carries"][:, 3] == (made["high"] != 0).sum(1)).all()
        assert (made["carries"][:, 1] == made["low"].sum(1)).all()
        assert (made["carries"][:, 2] == made["high"].sum(1)).all()


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_norm(columns: int, kind: str):
    x, w, b = rows_of(columns), *np.random.default_rng(columns).standard_normal((2, columns)).astype(np.float32)
    for weight, bias, offset in ((w, None, False), (w, b, True), (narrow(w, "float16"), narrow(b, "bfloat16"), True)):
        inputs = {"x": x, "weight": weight, "bias": bias}
        check("norm", inputs, {"y": x.shape}, kind=kind, eps=1e-5, unitOffset=offset)


@pytest.mark.parametrize("columns", [17, 64, 576])
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_fused_norms(columns: int, kind: str):
    a, b = rows_of(columns), rows_of(columns, 1)
    w = narrow(np.random.default_rng(columns).standard_normal(columns).astype(np.float32), "float16")
    shared = {"kind": kind, "eps": 1e-6, "unitOffset": True, "decompose": "adaptive", **ATTRIBUTES}
    check("norm_quantize", {"x": a, "weight": w}, digits(*a.shape), **shared)
    both = {"y": a.shape, **digits(*a.shape)}
    check("add_norm_quantize", {"a": a, "b": b, "weight": w}, both, **shared)


@pytest.mark.parametrize("columns", [1, 17, 576])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(columns: int, activation: str):
    gate, up = rows_of(columns), rows_of(columns, 1)
    gate[-1] = np.linspace(-100, 100, columns)
    check("activate", {"x": gate}, {"y": gate.shape}, activation=activation)
    check("glu", {"gate": gate, "up": up}, {"y": gate.shape}, activation=activation)
    attributes = {"activation": activation, "decompose": "adaptive", **ATTRIBUTES}
    check("glu_quantize", {"gate": gate, "up": up}, digits(*gate.shape), **attributes)


@pytest.mark.parametrize("columns", [1, 17, 576])
def test_add_and_rows(columns: int):
    a, b = rows_of(columns), rows_of(columns, 1)
    check("add", {"a": a, "b": b}, {"y": a.shape})
    index = np.array([3, 3, 0, a.shape[0] - 1, 1], np.int32)
    check("rows", {"x": a, "index": index}, {"y": (5, columns)})


@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
def test_embed(source: str):
    table = narrow(np.random.default_rng(1).standard_normal((40, 77)).astype(np.float32), source)
    tokens = np.array([0, 39, -1, 16, 7, -3, 39], np.int32)
    inputs = {"tokens": tokens, "table": table, "sampled": np.array([11, 0, 38], np.int32)}
    check("embed", inputs, {"y": (7, 77)}, scale=1.7)


@pytest.mark.parametrize("rows,columns", [(1, 1), (15, 3), (16, 64), (33, 65), (40, 576)])
@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
def test_quantize_weight(rows: int, columns: int, source: str):
    weight = np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)
    weight[-1] = 0
    weight[0] *= np.float32(2.0**-140)
    outputs = {"codes": weight.shape, "scale": (rows,)}
    check("quantize_weight", {"weight": narrow(weight, source)}, outputs, ("step",))


@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
def test_a_weight_that_is_no_number_is_refused(source: str):
    weight = np.ones((20, 30), np.float32)
    weight[17, 3] = np.inf
    for backend in (reference(), cpu(2)):
        with pytest.raises(KernelError, match="row 17") as refused:
            run(backend, "quantize_weight", {"weight": narrow(weight, source)}, {"codes": (20, 30), "scale": (20,)})
        assert refused.value.code == "OCTAVO_BAD_ARGUMENT"


def test_no_rows():
    none = np.zeros((0, 70), np.float32)
    weight = np.ones(70, np.float32)
    for backend in every_cpu():
        assert run(backend, "add", {"a": none, "b": none}, {"y": none.shape})["y"].shape == (0, 70)
        made = run(backend, "norm_quantize", {"x": none, "weight": weight}, digits(0, 70), eps=1e-5)
        assert made["low"].shape == (0, 128) and made["step"].shape == (0,)
