"""Compiles the kernels for GPUs that are not here, and reads what the compiler made.

`plans.py` plans ops on tensors without memory, at the shapes of real models (`cases.py`); `specialize.py` gives each
launch the types that Triton's JIT would give it; `build.py` compiles it to PTX and machine code, which `ptx.py` and
`sass.py` take apart. `python -m proofs.compile` does it all and keeps the answers (`store.py`).
"""
