"""Which ops, at which sizes: what a step of each model runs, and the ops of the table that no step needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from octavo_kernels.generated.ops import PAGE_SIZE

from .models import LLAMA_8B, MODELS, SMOLLM2, Model

#: Rows of a step that the report shows: decode of 1, 8 and 32 sequences, prefill of one prompt of 512 and 2048.
SHOWN = (1, 8, 32, 512, 2048)
#: Where linears change their way of working, and the capture buckets between.
EDGES = (2, 4, 9, 15, 16, 17, 24, 31, 33, 48, 63, 64, 65, 72, 96, 128, 129, 256, 1024)
#: The ops whose kernels depend on the number of rows.
_BY_ROWS = ("linear_int8", "linear_float", "linear_published", "attention")
#: Up to this many rows a step is a decode step: each row belongs to a sequence of its own.
MOST_DECODE_ROWS = 128
#: Tokens that a sequence may have, hence the width of the page table.
CONTEXT = 4096


@dataclass(frozen=True)
class Case:
    """An op at given sizes. `sizes` binds the shape symbols of the op table; `dtypes` picks one of several."""

    op: str
    label: str
    sizes: Mapping[str, int]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    #: Optional inputs that are given.
    given: tuple[str, ...] = ()
    #: Operand -> (columns of the value it is a part of, its first column there).
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    #: How often a step runs it.
    times: int = 1


def step(model: Model, rows: int) -> list[Case]:
    """The ops of one step after fusion, in order: what `ts/program/fuse.ts` makes of the model."""
    decode = rows <= MOST_DECODE_ROWS
    sequences = rows if decode else 1
    hidden, heads = model.hidden, {"heads": model.heads, "kvHeads": model.kv_heads, "headDim": model.head_dim}
    bloom = model.family == "bloom"
    norm = {"kind": "layer" if bloom else "rms"}
    bias = ("bias",) if bloom else ()
    pages = {"G": sequences * CONTEXT // PAGE_SIZE, "B": sequences, "J": CONTEXT // PAGE_SIZE}
    cache = {"kvHeads": model.kv_heads, "headDim": model.head_dim}
    q, k = model.heads * model.head_dim, model.kv_heads * model.head_dim

    def int8(label: str, n: int, columns: int) -> Case:
        return Case("linear_int8", label, {"T": rows, "N": n, "K": columns}, {}, {}, bias, {}, model.layers)

    def layer(op: str, label: str, sizes: dict[str, int], attributes: dict[str, Any], **more: Any) -> Case:
        return Case(op, label, {"T": rows, **sizes}, attributes, times=model.layers, **more)

    parts = {"q": (model.qkv, 0), "k": (model.qkv, q), "v": (model.qkv, q + k)}
    wide = 2 * model.intermediate
    halves = {"gate": (wide, 0), "up": (wide, model.intermediate)}
    if bloom:
        append = layer("append", "append", pages, cache, parts={name: parts[name] for name in "kv"})
        middle = [
            int8("ffn up", model.intermediate, hidden),
            layer("activate", "activation", {"K": model.intermediate}, {"activation": "gelu_tanh"}),
            layer("quantize", "quantize down", {"K": model.intermediate}, {}),
        ]
    else:
        table = {"W": q, "P": CONTEXT, "R": model.head_dim // 2}
        rope = {"pairing": "half", **cache}
        append = layer("rope_append", "rope and append", {**table, **pages}, rope, parts=parts)
        middle = [
            int8("gate and up", wide, hidden),
            layer("glu_quantize", "glu and quantize", {"K": model.intermediate}, {"activation": "silu"}, parts=halves),
        ]
    return [
        Case(
            "embed", "embed", {"T": rows, "V": model.vocabulary, "K": hidden, "R": sequences}, {}, {"table": "bfloat16"}
        ),
        layer("add_norm_quantize", "add, norm and quantize", {"K": hidden}, norm, given=bias),
        int8("q, k and v", model.qkv, hidden),
        append,
        layer(
            "attention",
            "attention",
            pages,
            {**heads, "scale": model.head_dim**-0.5},
            given=("slopes",) if bloom else (),
        ),
        layer("quantize", "quantize attention", {"K": q}, {}),
        int8("attention output", hidden, q),
        layer("add_norm_quantize", "add, norm and quantize (ffn)", {"K": hidden}, norm, given=bias),
        *middle,
        int8("ffn down", hidden, model.intermediate),
        Case("rows", "rows", {"T": rows, "S": sequences, "K": hidden}),
        Case("norm", "last norm", {"T": sequences, "K": hidden}, norm, given=bias),
        Case("linear_float", "head", {"T": sequences, "N": model.vocabulary, "K": hidden}, {}, {"weight": "bfloat16"}),
        Case(
            "sample",
            "sample",
            {**{"S": sequences, "V": model.vocabulary, "R": sequences, "H": sequences * 64, "D": 1, "Q": 1}},
            {"maskWords": -(-model.vocabulary // 32)},
        ),
    ]


def others(model: Model, rows: int) -> list[Case]:
    """Ops that no fused step of a llama runs."""
    hidden, q = model.hidden, model.heads * model.head_dim
    of = {"T": rows, "K": hidden}
    table = {"W": q, "P": CONTEXT, "R": model.head_dim // 2}
    vocabulary = {"S": rows, "V": model.vocabulary}
    return [
        Case("norm_quantize", "norm and quantize", of, {"kind": "rms"}),
        Case("norm", "norm", of, {"kind": "rms"}),
        Case("add", "add", of),
        Case("cast", "cast", of, {"dtype": "bfloat16"}, {"y": "bfloat16"}),
        Case("glu", "glu", {"T": rows, "K": model.intermediate}, {"activation": "silu"}),
        Case("activate", "activation", {"T": rows, "K": model.intermediate}, {"activation": "gelu"}),
        Case("rope", "rope", {"T": rows, **table}, {"headDim": model.head_dim, "pairing": "interleaved"}),
        Case("pool", "pool", {**of, "B": 4}, {"kind": "mean", "normalize": True}),
        Case("score", "score", vocabulary, {}, {}, ("reference",)),
        Case("quantize_weight", "quantize a weight", {"N": hidden, "K": hidden}, {}, {"weight": "bfloat16"}),
        Case("linear_published", "linear as published", {**of, "N": model.qkv}, {"threshold": 6.0}),
        Case(
            "linear_scheme",
            "linear by a scheme",
            {**of, "N": model.qkv},
            {"codes": "zeropoint", "scope": "tensor", "threshold": 6.0},
            {"weight": "bfloat16"},
            ("bias",),
        ),
        Case("observe_outliers", "observe outliers", of, {"threshold": 6.0}),
        Case("linear_float", "linear of 16 bits", {**of, "N": model.qkv}, {}, {"weight": "float16"}),
        Case("observe_outliers", "observe outliers", of),
    ]


def cases() -> Iterator[tuple[Model, int, Case]]:
    """(model, rows, case): all that is compiled, each case once; of the ops that have kernels."""
    from octavo_kernels.triton.ops import PLANS

    seen = set()
    for model in MODELS:
        # Of other sizes there are only other numbers of splits.
        small = model in (LLAMA_8B, SMOLLM2)
        for rows in (*SHOWN, *(EDGES if small else ())):
            for case in (*step(model, rows), *(others(model, rows) if small else ())):
                if case.op not in PLANS or (rows in EDGES and case.op not in _BY_ROWS):
                    continue
                identity = repr((model.name, case))
                if identity not in seen:
                    seen.add(identity)
                    yield model, rows, case
