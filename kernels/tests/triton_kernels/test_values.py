"""Every op that Triton computes equals its definition, bit for bit; otherwise a model answers otherwise on a GPU.

The kernels run in Triton's interpreter (`octavo_kernels/triton/interpreter.py`), so this needs no GPU.
"""

from __future__ import annotations

import pytest
from conftest import opened
from proofs.conformance import cases, differences, run_case
from proofs.conformance.domains import DOMAINS


@pytest.mark.parametrize("op", DOMAINS)
def test_triton_answers_as_the_reference(op: str):
    backend, reference = opened("triton-interpreter"), opened("reference")
    found = {case.name: differences(case, run_case(backend, case), run_case(reference, case)) for case in cases(op)}
    wrong = [f"{name}: {'; '.join(texts)}" for name, texts in found.items() if texts]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(found)} cases differ", *wrong[:20]])
