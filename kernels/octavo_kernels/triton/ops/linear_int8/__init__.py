"""linear_int8: digits times codes, exact integer sums, one dequantisation; and the two ops that it is made of. See
docs/numerics.md."""
