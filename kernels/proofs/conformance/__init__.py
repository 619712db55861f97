"""The conformance suite: cases generated from the op table, which every backend must answer as `reference` does.

`cases(op)` -> Case; `run_case(backend, case)` -> Result; `differences(case, result, expected)` -> what is wrong.
"""

from __future__ import annotations

from .case import Case, Prepared, Result, run_case, run_program, single_op
from .compare import differences, identical
from .generate import cases
from .unfused import unfused

__all__ = [
    "Case",
    "Prepared",
    "Result",
    "cases",
    "differences",
    "identical",
    "run_case",
    "run_program",
    "single_op",
    "unfused",
]
