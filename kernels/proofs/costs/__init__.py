"""What the kernels would cost on GPUs: `python -m proofs.costs` writes all of it, and the page docs/gpu-costs.md.

Nothing here is measured. Numbers are counted (in machine code and operands), computed (by the model in `model.py` from
what was counted and from data sheets) or published by others (`published.py`), and the tables say which is which.
"""
