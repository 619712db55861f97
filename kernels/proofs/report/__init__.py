"""What the kernels would cost on GPUs: written to docs/gpu-costs.md by `python -m proofs.report`.

Nothing here is measured. Numbers are counted (in machine code and operands), computed (by the model in `model.py` from
what was counted and from data sheets) or published by others (`published.py`), and the report says which is which.
"""
