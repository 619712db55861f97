"""`python -m proofs.costs`: everything into kernels/proofs/build, the page for readers into docs."""

from __future__ import annotations

from pathlib import Path

from ..compile.store import FOLDER, load
from .page import page
from .tables import everything

PAGE = Path(__file__).parents[3] / "docs/gpu-costs.md"

if __name__ == "__main__":
    for path, text in ((FOLDER / "gpu-costs.md", everything(load())), (PAGE, page(load()))):
        path.write_text(text, encoding="utf-8")
        print(f"written to {path}")
