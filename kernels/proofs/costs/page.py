"""The few tables that a reader wants: docs/gpu-costs.md."""

from __future__ import annotations

from ..compile.models import LLAMA_8B, LLAMA_70B, SMOLLM2
from ..compile.store import Compiled
from . import published
from .devices import H100
from .markdown import amount
from .step_tables import beside_published, farthest, totals
from .tables import target_table
from .targets import heads
from .traffic import DECODE_CONTEXT

#: Ops shown of those that lose most.
_FARTHEST = 4


def page(compiled: Compiled, farthest_shown: int = _FARTHEST) -> str:
    """The whole page."""
    return f"""# What the Triton kernels cost on a GPU

Written by `make kernels-report`; do not edit. **Nothing here was measured: no GPU was there.** Instructions, registers
and bytes are *counted*, in the machine code that the compiler makes and in the operands; times are *computed* from them
and from data sheets by a small model (`kernels/proofs/costs/model.py`), which ranks well: 30 % off is nothing to
wonder at. What others published has its source. Every linear, op and compilation is in the tables that the command
writes to `kernels/proofs/build/gpu-costs.md`.

## A step

Milliseconds in a CUDA graph (computed); in parentheses how many times the floor. Up to 32 rows a row is a sequence of
{DECODE_CONTEXT} tokens; 2048 rows are one prompt. The floor: each byte of weights, scales and KV cache once at the data
sheet's bandwidth; in prefill one dense int8 product of each linear at the data sheet's rate, without attention.
Llama-3-70B is computed as if one card could hold it.

{totals(compiled, (SMOLLM2, LLAMA_8B, LLAMA_70B), (1, 8, 32, 2048))}
Decode steps of {published.BITSANDBYTES}; it launches each kernel from Python, and that is most of its time.

{beside_published(compiled)}
## What the kernels are held to

{target_table(compiled)}
{_about_the_head(compiled)}
## What is far from its floor

The ops of a step of Llama-3-8B on an H100 that lose most: one sequence, and a prompt of 2048 tokens.

{farthest(compiled, LLAMA_8B, (1, 2048), H100, farthest_shown)}"""


def _about_the_head(compiled: Compiled) -> str:
    """Why a step that got faster may be farther from its floor."""
    ours, other = heads(compiled)
    faster, lower = other.total - ours.total, other.floor - ours.floor
    farther = ours.total / ours.floor > other.total / other.floor
    return (
        f"A head of 8 bits, the default, makes that step {amount(faster)} us faster than one of 16 bits, and its floor "
        f"{amount(lower)} us lower: the step is faster, and {'farther from' if farther else 'nearer to'} its floor. "
        f"Above the floor are {amount(ours.total - ours.floor)} us, with a head of 16 bits "
        f"{amount(other.total - other.floor)} us.\n"
    )
