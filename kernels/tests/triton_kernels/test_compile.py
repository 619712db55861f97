"""Every kernel, compiled for every architecture at the shapes of real models, is the machine code that was designed.

There is no GPU here: a kernel that spills, asks for more shared memory than there is, falls back to slower instructions
or rounds otherwise than the definition would be noticed by users only. The compilations are kept in an ignored folder;
the first run takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from proofs.compile.context import PROCESSORS
from proofs.compile.entries import Entry
from proofs.compile.exceptions import APPROXIMATE, SPILLING, UNPLANNED
from proofs.compile.facts import Facts
from proofs.compile.store import load

#: Shared memory that a program may have, bytes: CUDA C++ Programming Guide, table of technical specifications.
SHARED = {80: 163 * 1024, 86: 99 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}
#: Ops in whose definition there is no fused multiply-add (docs/numerics.md).
WITHOUT_FMA = ("add", "rows", "cast", "append", "rope", "rope_append")

architectures = pytest.mark.parametrize("architecture", PROCESSORS, ids=lambda number: f"sm_{number}")


def kernels(architecture: int) -> dict[str, tuple[Entry, Facts]]:
    """Each compilation for an architecture by its key, with the first launch that needs it."""
    compiled = load()
    found: dict[str, tuple[Entry, Facts]] = {}
    for entry in compiled.entries:
        if entry.architecture == architecture and entry.key in compiled.facts:
            found.setdefault(entry.key, (entry, compiled.facts[entry.key]))
    return found


def where(architecture: int, wrong: Callable[[Entry, Facts], object]) -> list[str]:
    """The launches of which `wrong` says something, with what it says."""
    told = [(entry, wrong(entry, facts)) for entry, facts in kernels(architecture).values()]
    return [f"{describe(entry)}: {text}" for entry, text in told if text]


def describe(entry: Entry) -> str:
    return f"{entry.kernel} ({entry.model}, {entry.label}, {entry.rows} rows, {entry.constants}, {entry.warps} warps)"


def test_every_op_of_every_model_compiles_for_every_architecture():
    """A kernel that does not compile for a GPU stops a model at its first step there."""
    failed = {
        f"sm_{one.architecture} {one.model} {one.label}: {one.error[-300:]}" for one in load().entries if one.error
    }
    assert not failed - set(UNPLANNED), "\n".join(sorted(failed))


def test_every_planned_op_has_a_case():
    """An op that no case names would pass every other test here unseen."""
    planned = {entry.op for entry in load().entries}
    assert planned == set(load().ops)


@architectures
def test_no_register_spills(architecture: int):
    """Registers that spill go through memory: a kernel that was fast is slow, and nothing says so."""

    def spills(entry: Entry, facts: Facts) -> str | None:
        allowed = SPILLING.get((entry.kernel, architecture), 0)
        if facts.spills_in_loops or facts.spill_stores > allowed:
            return f"{facts.spill_stores} bytes stored, {facts.spill_loads} loaded, {facts.spills_in_loops} in loops"
        return None

    assert not where(architecture, spills)


@architectures
def test_shared_memory_fits(architecture: int):
    """A kernel that wants more does not start."""
    limit = SHARED[architecture]
    assert not where(architecture, lambda _, facts: facts.shared > limit and f"{facts.shared} of {limit} bytes")


@architectures
def test_division_roots_and_functions_are_correctly_rounded(architecture: int):
    """The GPU's approximations differ from the CPU backend in the last bits, and subnormals would be zeros."""

    def approximate(entry: Entry, facts: Facts) -> str | None:
        if entry.kernel in APPROXIMATE:
            return None
        found = {name: facts.ptx[name] for name in ("approximate", "flush_subnormals") if facts.ptx[name]}
        return str(found) if found else None

    assert not where(architecture, approximate)


@architectures
def test_nothing_is_fused_that_the_definition_rounds_twice(architecture: int):
    """A multiply-add with one rounding gives other bits than a product and a sum."""

    def fused(entry: Entry, facts: Facts) -> str | None:
        # The compiler makes one of two equal ones in different branches: a few less are right, none may be added.
        if not 0.99 * facts.ptx["fma_written"] <= facts.ptx["fma"] <= facts.ptx["fma_written"]:
            return f"{facts.ptx['fma']} in PTX, {facts.ptx['fma_written']} written"
        allowed = facts.ptx["fma"] + facts.ptx["division"] + facts.ptx["square_root"]
        if not allowed and facts.sass.get("fused"):
            return f"{facts.sass['fused']} in machine code, none in PTX"
        if entry.op in WITHOUT_FMA and facts.ptx["fma"]:
            return f"{facts.ptx['fma']}, but {entry.op} has none"
        return None

    assert not where(architecture, fused)


@architectures
def test_machine_code_has_no_fused_instructions_but_those_of_divisions(architecture: int):
    """ptxas fuses pairs of products and sums on sm_100, whatever it is told: nothing in PTX shows it.

    A division is eight fused multiply-adds, and ops without any of their own show what is added to that.
    """

    def fused(entry: Entry, facts: Facts) -> str | None:
        found, written = facts.sass.get("fused", 0), 8 * facts.ptx["division"]
        return f"{found} fused, {written} of divisions" if entry.op in WITHOUT_FMA and found > written else None

    assert not where(architecture, fused)


@architectures
def test_floats_stay_away_from_tensor_cores(architecture: int):
    """Tensor cores add floats in an order nobody promises, and round float32 factors to TF32.

    Triton 3.6 takes them on sm_100 even where a dot says "ieee".
    """

    def floating(entry: Entry, facts: Facts) -> str | None:
        inexact = [name for name in facts.products if "s8.s8" not in name and "kind::i8" not in name]
        return str(inexact) if inexact else None

    assert not where(architecture, floating)


@architectures
def test_int8_products_run_on_tensor_cores(architecture: int):
    """Anything else is many times slower than int8 tensor cores."""

    def scalar(entry: Entry, facts: Facts) -> str | None:
        linear = entry.op in ("linear_int8", "multiply_int8") and "BLOCK_K" in entry.constants
        if not linear and (entry.op != "attention" or "M" not in entry.constants):
            return None
        if not facts.products:
            return "no tensor-core instruction"
        if any("s8.s8" not in name for name in facts.products):
            return f"not int8: {list(facts.products)}"
        if linear and architecture == 90 and entry.rows >= 512 and not any("wgmma" in name for name in facts.products):
            return f"prefill without wgmma: {list(facts.products)}"
        return None

    assert not where(architecture, scalar)


def test_the_gluon_kernel_has_a_product_in_flight():
    """Triton waits for every int8 wgmma; the kernel in Gluon is there to not do that."""
    found = [facts for entry, facts in kernels(90).values() if entry.kernel == "prefill_async"]
    assert found
    assert all(facts.ptx["wait_some"] for facts in found)


def test_prefill_on_hopper_loads_tiles_by_tma():
    """Threads that compute addresses have fewer issue slots for products, and two programs no longer fit."""
    found = {entry.kernel: facts for entry, facts in kernels(90).values() if entry.kernel.startswith("prefill")}
    assert set(found) == {"prefill", "prefill_async"}
    assert not where(90, lambda entry, facts: entry.kernel in found and not facts.ptx["copy_bulk"] and "no bulk copies")


@architectures
def test_weights_are_copied_16_bytes_at_a_time(architecture: int):
    """Narrower copies cannot keep enough bytes in flight to reach the memory's bandwidth."""

    def narrow(entry: Entry, facts: Facts) -> str | None:
        if entry.op not in ("linear_int8", "linear_float") or "weight" not in entry.tensors or facts.ptx["copy_bulk"]:
            return None
        tile = entry.constants["BLOCK_N"] * entry.constants["BLOCK_K"] * (2 if entry.op == "linear_float" else 1)
        # Every stage of the pipeline is asked for somewhere in the code; a thread copies 16 bytes at a time.
        needed = entry.stages * tile // (16 * 32 * entry.warps)
        if facts.ptx["copy_async_16"] < needed:
            return f"{facts.ptx['copy_async_16']} copies of 16 bytes, {needed} needed"
        return None

    assert not where(architecture, narrow)
