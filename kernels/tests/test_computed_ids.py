"""Ids that a step itself computes are seen by no check. A user would lose: that no op reads outside of its operands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from octavo_kernels import Backend
from proofs.conformance import Case, cases, run_program
from proofs.conformance.case import ProgramWriter

from .conftest import opened

TABLE = np.arange(25 * 4, dtype=np.float32).reshape(25, 4)


def _sample(penalties: bool) -> Case:
    name = "sample[penalties=True]" if penalties else "sample[ordinary]"
    return next(case for case in cases("sample") if case.name == name)


def _write(writer: ProgramWriter, case: Case, inputs: dict[str, int]) -> dict[str, int]:
    outputs = writer.outputs(case)
    writer.operation(case.op, inputs, outputs, case.attributes)
    return outputs


def test_a_sampled_id_beyond_the_table_is_embedded_as_nan(backend: Backend):
    """The rows of others are as ever; a model's logits then are not finite, which is told."""
    writer, case = ProgramWriter("step"), _sample(penalties=False)
    ids = _write(writer, case, writer.inputs(case))["ids"]
    table = writer.inputs(Case("table", "embed", {"table": TABLE}, {"table": "float32"}, {}))
    y = writer.output("float32", "plain", ("S", 4))
    writer.operation("embed", {"tokens": ids, **table}, {"y": y}, {})
    arrays = run_program(backend, writer.finish({"ids": ids, "y": y})).arrays
    inside = arrays["ids"] < len(TABLE)
    assert inside.any() and not inside.all()
    np.testing.assert_array_equal(arrays["y"][inside], TABLE[arrays["ids"][inside]])
    assert np.isnan(arrays["y"][~inside]).all()


def test_a_history_of_ids_beyond_the_vocabulary_counts_for_none(backend: Backend):
    """What one `sample` drew is history of a second one in the same step, over fewer ids."""
    writer, case = ProgramWriter("step"), _sample(penalties=True)
    inputs = writer.inputs(case)
    _write(writer, case, inputs)
    few = replace(case, inputs={"logits": case.inputs["logits"][:, :8].copy()}, dtypes={"logits": "float32"})
    ids = _write(writer, few, {**inputs, **writer.inputs(few)})["ids"]
    program = writer.finish({"ids": ids, "sampled": inputs["sampled"]})
    assert (program.brought[3] >= 8).any() or (program.brought[4] >= 8).any()
    arrays = run_program(backend, program).arrays
    expected = run_program(opened("reference"), program).arrays
    assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)
    assert (arrays["ids"] < 8).all()
