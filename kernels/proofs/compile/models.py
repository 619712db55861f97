"""The models at whose shapes kernels are compiled and counted, from their published configurations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A decoder of equal layers; sizes in elements."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    #: "llama": rms norm, gated silu, rope. "bloom": layer norm, gelu_tanh, ALiBi, biases.
    family: str = "llama"

    @property
    def qkv(self) -> int:
        """Columns of the stacked projections of q, k and v."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


LLAMA_8B = Model("Llama-3-8B", 32, 4096, 14336, 32, 8, 128, 128256)
LLAMA_70B = Model("Llama-3-70B", 80, 8192, 28672, 64, 8, 128, 128256)
BLOOM = Model("BLOOM-176B", 70, 14336, 57344, 112, 112, 128, 250880, "bloom")
SMOLLM2 = Model("SmolLM2-135M", 30, 576, 1536, 9, 3, 64, 49152)

MODELS = (LLAMA_8B, LLAMA_70B, BLOOM, SMOLLM2)
