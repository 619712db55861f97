"""The op table in Triton: kernels for NVIDIA GPUs, and the executor of the backends `cuda` and `triton-interpreter`.

An op is a function that plans launches (`launch.py`); the executor runs them. The same plans are run on a GPU, run in
Triton's interpreter on CPU tensors, and compiled without a GPU from tensors that have no memory.
"""
