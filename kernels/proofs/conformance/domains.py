"""What each op's cases range over, and inputs that are right for it.

An axis is a list of choices, the ordinary one first. `OPS` gives the axes of dtypes, optional operands, layouts, enums
and booleans (generate.py); here stand sizes, numbers, and how the operands of one op depend on each other. Floats are
made as float32 and converted to the case's dtype afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from octavo_kernels.program.shapes import carry_words, pad64
from octavo_kernels.reference.quantize import row_inliers, row_statistics

from .paging import KV_AXES, SPOILT, appended, attended, tables
from .rows import edges, ordinary
from .sampling import SAMPLE_AXES, sampling

Choice = Mapping[str, Any]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Domain:
    """`axes`: sizes and number attributes by name, and whatever `build` wants to range over."""

    axes: dict[str, tuple]
    build: Callable[[Choice, np.random.Generator], Arrays]


_T = (5, 0, 1, 2, 15, 16, 17, 65)
_K = (65, 1, 3, 15, 16, 17, 64, 128, 333)
_ROWS = {"T": _T, "K": _K, "rows": ("ordinary", "edges")}
_NORM = {**_ROWS, "eps": (1e-5, 0.0, 1e-2)}
_QUANTIZE = {"absolute": (6.0, 0.0, 0.5, 1e30), "relative": (6.0, 0.0, 2.5)}
# Columns of a row that another rank has: whole blocks.
_BEFORE = (0, 64, 640)
# Tiles of linears differ in rows and outputs, so more of them are looked at.
_LINEAR = {
    "T": (5, 0, 1, 2, 3, 4, 6, 7, 8, 9, 12, 16, 17, 33, 65, 130),
    "N": (17, 1, 15, 16, 31, 32, 48, 65, 200),
    "K": (*_K, 576, 1100),
}


def _x(o: Choice, rng: np.random.Generator) -> np.ndarray:
    return edges(rng, o["K"]) if o["rows"] == "edges" else ordinary(rng, o["T"], o["K"])


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _spoilt(x: np.ndarray) -> np.ndarray:
    """Rows 1, 2 and 3 with NaN, infinity and minus infinity somewhere."""
    for row, number in zip(x[1:4], (np.nan, np.inf, -np.inf)):
        row[row.size // 2] = number
    return x


def _rows(o: Choice, rng: np.random.Generator) -> Arrays:
    return {"x": _x(o, rng)}


def _part_of_rows(o: Choice, rng: np.random.Generator) -> Arrays:
    """The last K columns of rows, as a rank has them that shares rows with others: it knows the statistics of all."""
    x = _x(o, rng)
    before = ordinary(rng, x.shape[0], o["before"])
    before[:, :1] *= 0.5 if o["rows"] == "edges" else 4
    whole = torch.from_numpy(np.concatenate([before, x], 1))
    statistics = row_statistics(x=whole)["statistics"]
    rule = {"decompose": o["decompose"], "absolute": o.get("absolute", 6.0), "relative": o.get("relative", 6.0)}
    inliers = row_inliers(x=whole, statistics=statistics, columns=whole.shape[1], **rule)["inliers"]
    return {"x": x, "statistics": statistics.numpy(), "inliers": inliers.numpy()}


def _pair(first: str, second: str) -> Callable[[Choice, np.random.Generator], Arrays]:
    def build(o: Choice, rng: np.random.Generator) -> Arrays:
        a = _x(o, rng)
        # The second one is 1 or the like, so that edges pass through products and sums unharmed in some columns.
        return {first: a, second: np.where(rng.random(a.shape) < 0.5, _normal(rng, *a.shape), np.float32(1))}

    return build


def _norm(o: Choice, rng: np.random.Generator) -> Arrays:
    return {"x": _x(o, rng), "weight": 1 + _normal(rng, o["K"]) / 4, "bias": _normal(rng, o["K"])}


def _add_norm(o: Choice, rng: np.random.Generator) -> Arrays:
    arrays = _norm(o, rng)
    x = arrays.pop("x")
    return {"a": x, "b": _normal(rng, *x.shape) / 2, **arrays}


def _embed(o: Choice, rng: np.random.Generator) -> Arrays:
    sampled = rng.integers(0, o["V"], o["R"], dtype=np.int32)
    if o["lost"]:
        sampled[::2] = -1  # drawn from logits that were not finite
    lowest = -o["R"] if o["sampled"] else 0
    tokens = rng.integers(lowest, o["V"], o["T"], dtype=np.int32)
    return {"tokens": tokens, "table": _normal(rng, o["V"], o["K"]), "sampled": sampled}


def _codes(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Weight codes; in each row one is 127 or -127, as `quantize_weight` makes them."""
    codes = rng.integers(-127, 128, (rows, columns), dtype=np.int8)
    codes[np.arange(rows), rng.integers(0, columns, rows)] = rng.choice(np.array([-127, 127], np.int8), rows)
    return codes


def _quantize_weight(o: Choice, rng: np.random.Generator) -> Arrays:
    w = _normal(rng, o["N"], o["K"])
    if o["weights"] == "edges":
        w[0] = 0
        w[1 % o["N"]] *= np.float32(2.0**-140)
        w[2 % o["N"]] *= np.float32(2.0**-20)
        w[3 % o["N"], 0] = 60000
        w[4 % o["N"]] = np.float32(-0.25)
    return {"weight": w}


def _linear_int8(o: Choice, rng: np.random.Generator) -> Arrays:
    rows, columns = o["T"], o["K"]
    # The largest sum of magnitudes that a step may leave: 254 * sum |v| < 2^31.
    most = min(32512, int(8e6 // columns))
    v = rng.integers(-127, 128, (rows, columns))
    share = {"none": 0.0, "few": 0.02, "all": 1.0}[o["carried"]]
    carried = rng.random((rows, columns)) < share
    v = np.where(carried, rng.integers(-most, most + 1, (rows, columns)), v)
    if rows > 1:
        v[1] = 0
    if rows > 2:
        v[2, :] = np.where(np.arange(columns) == columns - 1, most, v[2].clip(-127, 127))
    high = np.rint(v / 255).astype(np.int32)
    low = v - 255 * high
    step = (rng.random(rows) + 0.5).astype(np.float32)
    if rows > 3:
        step[3], high[3], low[3] = np.nan, 0, 0
    return {
        "low": _pad(low, columns),
        "high": _pad(high, columns),
        "carries": _carries(low, high),
        "step": step,
        "weight": _codes(rng, o["N"], columns),
        "scale": rng.random(o["N"]).astype(np.float32),
        "bias": _normal(rng, o["N"]),
    }


def _dequantize(o: Choice, rng: np.random.Generator) -> Arrays:
    arrays = _linear_int8({**o, "K": 1, "carried": "none"}, rng)
    # Of all sizes: from 2^24 on a float32 does not hold each integer.
    sums = rng.integers(-(2**31), 2**31, (o["T"], o["N"])) >> rng.integers(0, 31, (o["T"], o["N"]))
    return {"sums": sums.astype(np.int32), **{name: arrays[name] for name in ("step", "scale", "bias")}}


def _pad(digits: np.ndarray, columns: int) -> np.ndarray:
    return np.pad(digits, ((0, 0), (0, pad64(columns) - columns))).astype(np.int8)


def _carries(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """As `quantize` writes them; what follows the listed groups is not specified, so it is something wild here."""
    rows, columns = high.shape
    table = np.full((rows, carry_words(columns)), -(2**31), np.int32)
    grouped = np.pad(high, ((0, 0), (0, -columns % 4))).reshape(rows, (columns + 3) // 4, 4)
    for t in range(rows):
        groups = np.flatnonzero(grouped[t].any(1))
        table[t, :4] = groups.size, low[t].sum(), high[t].sum(), np.count_nonzero(high[t])
        table[t, 4 : 4 + groups.size] = groups
    return table


def _linear_published(o: Choice, rng: np.random.Generator) -> Arrays:
    x = ordinary(rng, o["T"], o["K"])
    if o["T"] > 1:
        x[1] = 0
    if o["numbers"] != "ordinary":
        x[2:3, -1], x[4:5, 0] = np.nan, -np.inf
    scale = rng.random(o["N"]).astype(np.float32)
    return {"x": x, "weight": _codes(rng, o["N"], o["K"]), "scale": scale, "bias": _normal(rng, o["N"])}


def _linear_float(o: Choice, rng: np.random.Generator) -> Arrays:
    weight = _normal(rng, o["N"], o["K"])
    x = ordinary(rng, o["T"], o["K"])
    return {"x": _spoilt(x) if o["numbers"] != "ordinary" else x, "weight": weight, "bias": _normal(rng, o["N"])}


def _linear_scheme(o: Choice, rng: np.random.Generator) -> Arrays:
    arrays = _linear_float({**o, "numbers": "ordinary"}, rng)
    x, weight = arrays["x"], arrays["weight"]
    if o["ranges"] == "uneven":  # only positive, only negative, none at all, larger than a half, tiny
        x[:] = np.abs(x)
        weight[:] = -np.abs(weight)
        x[1:2], weight[1:2] = 0, 0
        x[2:3], weight[2:3] = 1e5, 2.0**-20
    if o["ranges"] == "NaN":
        x[1:2, 0], x[3:4, -1] = np.nan, np.inf
    return arrays


def _observe_outliers(o: Choice, rng: np.random.Generator) -> Arrays:
    counts = rng.integers(0, 1000, o["K"], dtype=np.int32)
    return {"x": _x(o, rng), "counts": counts, "largest": np.abs(_normal(rng, o["K"])) * 4}


def _rope(o: Choice, rng: np.random.Generator) -> Arrays:
    return {"x": _spoilt(_normal(rng, o["T"], o["heads"] * o["headDim"])), **tables(o, rng)}


def _pick(o: Choice, rng: np.random.Generator) -> Arrays:
    rows = o["T"] if o["S"] == 0 else max(1, o["T"])
    return {"x": _spoilt(_normal(rng, rows, o["K"])), "index": rng.integers(0, max(1, rows), o["S"], dtype=np.int32)}


def _pool(o: Choice, rng: np.random.Generator) -> Arrays:
    rows = np.array(o["sequences"], np.int32)
    x = _normal(rng, int(rows.sum()), o["K"])
    if o["numbers"] == "zeros":
        x[:] = 0
    elif o["numbers"] != "ordinary":  # in every second row: the last of some sequences, and of the mean of others
        x[::2, -1] = {"NaN": np.nan, "Inf": np.inf, "square overflows": 1e25}[o["numbers"]]
    return {"x": x, "starts": np.concatenate([[0], np.cumsum(rows)]).astype(np.int32)}


def _score(o: Choice, rng: np.random.Generator) -> Arrays:
    logits = _normal(rng, o["S"], o["V"]) * 5
    reference = logits + _normal(rng, o["S"], o["V"]) / 2
    wrong = {"NaN": np.nan, "Inf": np.inf, "minus Inf": -np.inf}.get(o["numbers"])
    if wrong is not None:
        logits[::2, -1] = wrong
    elif o["numbers"] != "ordinary":
        reference[::2, 0] = np.nan
    return {"logits": logits, "targets": rng.integers(0, o["V"], o["S"], dtype=np.int32), "reference": reference}


_POOLED = ("ordinary", "zeros", "NaN", "Inf", "square overflows")
_SCORED = ("ordinary", "NaN", "Inf", "minus Inf", "NaN in the reference")
_ROPE_AXES = {"heads": (3, 1), "headDim": (16, 2, 10, 64, 96), "part": (1.0, 0.5), "T": _T}

DOMAINS: dict[str, Domain] = {
    "embed": Domain({"T": _T, "V": (50, 1), "K": _K, "R": (4, 1), "scale": (1.0, 24.0), "lost": (False, True)}, _embed),
    "cast": Domain(_ROWS, _rows),
    "norm": Domain(_NORM, _norm),
    "row_statistics": Domain(_ROWS, _rows),
    "row_inliers": Domain({**_ROWS, **_QUANTIZE, "before": _BEFORE}, _part_of_rows),
    "quantize_digits": Domain(
        {**_ROWS, "before": _BEFORE, "decompose": ("adaptive", "off", "threshold", "all")}, _part_of_rows
    ),
    "quantize_weight": Domain({"N": (17, 1, 16, 33), "K": _K, "weights": ("ordinary", "edges")}, _quantize_weight),
    "multiply_int8": Domain({**_LINEAR, "carried": ("few", "none", "all")}, _linear_int8),
    "dequantize": Domain({"T": _T, "N": _LINEAR["N"]}, _dequantize),
    "linear_published": Domain(
        {**_LINEAR, "threshold": (6.0, 0.0, 0.1, 1e30), "numbers": ("ordinary", "NaN")}, _linear_published
    ),
    "linear_float": Domain({**_LINEAR, "numbers": ("ordinary", "NaN")}, _linear_float),
    "linear_scheme": Domain(
        {**_LINEAR, "threshold": (6.0, 0.0, 0.1, 1e30), "ranges": ("ordinary", "uneven", "NaN")}, _linear_scheme
    ),
    "rope": Domain(_ROPE_AXES, _rope),
    "append": Domain({**KV_AXES, "T": _T}, appended),
    "attention": Domain(
        {
            **KV_AXES,
            "group": (3, 1, 4),
            "scale": (0.25, 0.0, 3e38),
            "causal": (True, False),
            "slopes": (False, True),
            "bias": (False, True),
            "distances": (9, 1, 300),
            "window": (0, 1, 7, 128, 300),
            "softcap": (0.0, 5.0),
            "sequences": (
                ((1, 20), (5, 5), (1, 1), (3, 40)),
                (),
                ((0, 0),),
                ((1, 1),),
                ((1, 16), (1, 17), (0, 9), (1, 15)),
                ((1, 127), (1, 128), (1, 129), (1, 600)),
                ((18, 18), (9, 290)),
                ((24, 270),),
            ),
            "beyond": ("zeros", "NaN"),
            "spoilt": SPOILT,
        },
        attended,
    ),
    "glu": Domain(_ROWS, _pair("gate", "up")),
    "activate": Domain(_ROWS, _rows),
    "add": Domain(_ROWS, _pair("a", "b")),
    "gather": Domain(_ROWS, _rows),
    "rows": Domain({"T": _T, "S": (3, 0, 1, 17), "K": _K}, _pick),
    "sample": Domain(SAMPLE_AXES, sampling),
    "pool": Domain({"sequences": ((3, 1, 7), (), (0,), (0, 2, 0), (40,)), "K": _K, "numbers": _POOLED}, _pool),
    "score": Domain({"S": (3, 0, 1, 17), "V": (50, 1, 16, 1000), "numbers": _SCORED}, _score),
    "observe_outliers": Domain({**_ROWS, "threshold": (6.0, 0.0, 1e30)}, _observe_outliers),
    "quantize": Domain({**_ROWS, **_QUANTIZE}, _rows),
    "linear_int8": Domain({**_LINEAR, "carried": ("few", "none", "all")}, _linear_int8),
    "norm_quantize": Domain({**_NORM, **_QUANTIZE}, _norm),
    "add_norm_quantize": Domain({**_NORM, **_QUANTIZE}, _add_norm),
    "glu_quantize": Domain({**_ROWS, **_QUANTIZE}, _pair("gate", "up")),
    "rope_append": Domain({**KV_AXES, **_ROPE_AXES}, lambda o, rng: {**appended(o, rng), **tables(o, rng, query=True)}),
}
