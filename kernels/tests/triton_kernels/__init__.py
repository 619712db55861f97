"""Tests of octavo_kernels.triton. (A folder named `triton` would hide the package.)"""
