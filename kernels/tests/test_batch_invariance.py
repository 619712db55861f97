"""A row's bits alone, in a batch and anywhere in it: what lets Octavo promise the same text whoever else is served."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from octavo_kernels import Backend
from octavo_kernels.generated.ops import OPS
from proofs.conformance import Case, Result, cases, run_case

# Whose rows are independent by their definition; `linear_published` is not, attention and pool have sequences.
_BY_ROWS = {
    **dict.fromkeys(
        ("embed", "cast", "norm", "quantize", "linear_int8", "linear_float", "rope", "glu", "activate"), "T"
    ),
    **dict.fromkeys(("add", "norm_quantize", "add_norm_quantize", "glu_quantize"), "T"),
    **dict.fromkeys(("rows", "score"), "S"),
}


def _some(case: Case, symbol: str, rows: slice) -> Case:
    """The case with some of its rows."""
    table = OPS[case.op]
    inputs = {
        name: array[rows] if table.inputs[name].shape[0] == symbol else array for name, array in case.inputs.items()
    }
    outputs = {}
    for name, (dtype, shape) in case.outputs.items():
        outputs[name] = (dtype, (len(range(*rows.indices(shape[0]))), *shape[1:]))
    return replace(case, inputs=inputs, outputs=outputs)


def _assert_rows(part: Result, whole: Result, rows: slice, case: Case) -> None:
    for name, array in part.arrays.items():
        got, expected = array, whole.arrays[name][rows]
        if name == "carries":
            listed = np.arange(got.shape[1]) < 4 + expected[:, :1]
            got, expected = np.where(listed, got, 0), np.where(listed, expected, 0)
        equal = got == expected
        if got.dtype.kind == "f":
            equal |= np.isnan(got) & np.isnan(expected)
        assert equal.all(), f"{case.name}: {name} of rows {rows.start}..{rows.stop} depends on the batch"


@pytest.mark.parametrize("op", _BY_ROWS)
def test_rows_do_not_depend_on_the_batch(op: str, backend: Backend):
    symbol = _BY_ROWS[op]
    for case in cases(op):
        rows = next(a.shape[0] for name, a in case.inputs.items() if OPS[op].inputs[name].shape[0] == symbol)
        if rows < 2:
            continue
        whole = run_case(backend, case)
        # Alone, and in groups that begin elsewhere: tiles of rows must not show.
        for part in (slice(0, 1), slice(rows - 1, rows), slice(1, min(rows, 8))):
            _assert_rows(run_case(backend, _some(case, symbol, part)), whole, part, case)
