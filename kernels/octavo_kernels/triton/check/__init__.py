"""`make gpu-check`: everything that only a real GPU can show, `python -m octavo_kernels.triton.check`."""
