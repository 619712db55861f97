"""One process per device: owns tensors behind handles and runs programs over them.

Started by the `octavo` npm package."""

__version__ = "0.1.0"
