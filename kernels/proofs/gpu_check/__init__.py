"""`make gpu-check`: everything that only a real GPU can show, `python -m proofs.gpu_check`."""
