"""Writes the report: `python -m proofs.report [FILE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from ..compile.store import load
from .text import report

if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/gpu-costs.md").write_text(report(load()), encoding="utf-8")
