"""Proofs of the kernels: cases for every backend, compilations, costs, the check on a GPU. Not part of the package."""
