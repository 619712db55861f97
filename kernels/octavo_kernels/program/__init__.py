"""A program as every backend reads it, and the sizes of its values."""
