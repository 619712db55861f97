"""Times that others have published, with their sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecodeStep:
    """Milliseconds per step of `rows` sequences. `mixed` is LLM.int8() with threshold 6; `plain` is threshold 0."""

    model: str
    hardware: str
    rows: int
    sixteen_bit: float | None
    plain: float | None
    mixed: float


BITSANDBYTES = "bitsandbytes 0.45, benchmarking/README.md: Hugging Face generate, no CUDA graph"

#: By bitsandbytes, one GPU. The models have the shapes of Llama 3.
STEPS = (
    DecodeStep("Llama-3-8B", "H100", 1, 24.4, 52.2, 81.7),
    DecodeStep("Llama-3-8B", "H100", 8, 25.5, 51.5, 85.3),
    DecodeStep("Llama-3-8B", "H100", 32, 26.1, 54.5, 86.4),
    DecodeStep("Llama-3-8B", "RTX 4090", 1, 21.1, 22.0, 44.9),
    DecodeStep("Llama-3-8B", "RTX 4090", 8, 23.9, 22.1, 47.8),
    DecodeStep("Llama-3-8B", "RTX 4090", 32, 30.4, 23.0, 51.2),
    DecodeStep("Llama-3-70B", "H100", 1, None, 129.4, 198.5),
    DecodeStep("Llama-3-70B", "H100", 8, None, 131.3, 205.2),
    DecodeStep("Llama-3-70B", "H100", 32, None, 131.4, 218.9),
)

#: bitsandbytes' linear of a 7B model on an A100 at 2048 rows, TFLOP/s: a figure of Qcompiler/MIXQ (bench/).
A100_LINEAR_2048 = {"fp16": 208, "bitsandbytes": 201, "SmoothQuant": 306, "MixQ, with outliers": 373}
