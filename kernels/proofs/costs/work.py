"""What a launch does, for any GPU of its architecture: from its sizes, and from its machine code."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..compile.entries import Entry
from ..compile.facts import Facts, Loop
from . import attention, carries, traffic


@dataclass(frozen=True)
class Work:
    """Of one launch. Counted, unless it says otherwise."""

    programs: int
    warps: int
    #: Instructions that a warp issues; passes of loops are computed from the sizes.
    instructions: float
    #: int8 multiply-adds of the tensor cores in all, and whether wgmma does them.
    products: float
    warpgroup: bool
    #: float32 multiply-adds, where they are most of the work.
    multiply_adds: float
    #: Bytes to and from memory, each once.
    bytes: float
    #: Bytes that a program has on the way at a time, while it runs.
    ahead: float
    #: Bytes that may be on their way before the launch before has ended.
    prefetched: float
    #: Started before the launch before has ended.
    dependent: bool
    #: Splits of K that are added up at the end.
    splits: int
    #: Lets the next launch start before this one has ended.
    lets_start: bool = False
    #: Waits for a product before the next is started, though they could overlap: Triton's int8 wgmma.
    waits: int = 0


def work(entry: Entry, facts: Facts) -> Work:
    """Of a launch whose compilation is known."""
    programs = prod(entry.grid)
    moved = traffic.launch_bytes(entry)
    common = {
        **{"warps": entry.warps, "bytes": moved, "dependent": entry.dependent, "splits": 1, "prefetched": 0},
        **{"products": 0, "warpgroup": False, "multiply_adds": 0, "lets_start": facts.ptx["dependent_start"] > 0},
    }
    if facts.products and "BLOCK_K" in entry.constants:
        return _product(entry, facts, programs, common)
    if entry.op == "attention":
        return _attention(entry, facts, common)
    instructions = _by_multiply_adds(entry, facts, programs)
    # Straight code asks for nearly all it needs at once: no limit by what is on its way.
    own = {"programs": programs, "instructions": instructions, "multiply_adds": multiply_adds(entry)}
    return Work(**{**common, **own, "ahead": 1e9})


def _attention(entry: Entry, facts: Facts, common: dict[str, object]) -> Work:
    visits = attention.attending(entry)
    macs = attention.products(entry) * visits.blocks * visits.programs
    warpgroup = any("wgmma" in name for name in facts.products)
    # Each product of digits is waited for; without a loop a program asks for all it needs at once.
    waits = int(visits.blocks * 2 * (4 if entry.constants.get("WIDE") else 2))
    own = {
        **{"programs": visits.programs, "instructions": attention.instructions(entry, facts, visits)},
        **{"products": macs, "warpgroup": warpgroup, "waits": waits if warpgroup else 0},
        "ahead": attention.key_bytes(entry) if facts.product_loops() else 1e9,
    }
    return Work(**{**common, **own})  # type: ignore[arg-type]


def _product(entry: Entry, facts: Facts, programs: int, common: dict[str, object]) -> Work:
    constants, sizes = entry.constants, entry.sizes
    tile_m, tile_n, tile_k = (int(constants[f"BLOCK_{name}"]) for name in "MNK")
    splits = int(constants.get("SPLITS", 1))
    stages = int(constants.get("STAGES", entry.stages))
    passes = -(-entry.integers["chunk"] // tile_k) if "chunk" in entry.integers else -(-sizes["K"] // tile_k)
    dense = facts.product_loop()
    assert dense is not None, entry.kernel
    loops = facts.product_loops()
    carry = [loop for loop in loops if loop is not dense]
    depth = int(constants.get("CARRY_K", tile_k))
    carry_columns = carries.share(entry.label, int(constants.get("GROUP", carries.GROUP))) * sizes["K"]
    carry_passes = carry_columns / splits / depth if carry else 0
    # ptxas may have unrolled a loop.
    passes /= max(1, sum(dense.products.values()) // sum(facts.products.values()))
    straight = sum(facts.sass.values()) - sum(loop.instructions for loop in loops)
    digits = 2 * tile_m if entry.kernel == "decode" else tile_m
    macs = tile_n * digits * (-(-sizes["K"] // splits) + carry_passes * depth)
    warpgroup = any("wgmma" in name for name in facts.products)
    return Work(
        **{
            **common,
            **{"programs": programs, "splits": splits, "products": macs * programs, "warpgroup": warpgroup},
            "instructions": straight
            + passes * dense.instructions
            + sum(carry_passes * one.instructions for one in carry),
            "ahead": max(1, stages - 1) * (digits + tile_n) * tile_k,
            "prefetched": min(int(constants.get("PREFETCH", 0)) * sizes["N"] * splits, sizes["N"] * sizes["K"]),
            "waits": int(passes + carry_passes) if warpgroup and not facts.ptx["wait_some"] else 0,
        }  # type: ignore[arg-type]
    )


def weight_loop(entry: Entry, facts: Facts) -> tuple[Loop, float] | None:
    """The loop over the weights of an int8 product, and its instructions per warp and 512 bytes of weights."""
    loop = facts.product_loop()
    if entry.op != "linear_int8" or loop is None or "BLOCK_K" not in entry.constants:
        return None
    bytes_per_warp = int(entry.constants["BLOCK_N"]) * int(entry.constants["BLOCK_K"]) / entry.warps
    return loop, loop.instructions * 512 / bytes_per_warp


def multiply_adds(entry: Entry) -> float:
    """float32 multiply-adds of products of floats: what the definition says, times what tiles add."""
    if entry.op != "linear_float":
        return 0
    rows = -(-entry.sizes["T"] // int(entry.constants["BLOCK_M"])) * int(entry.constants["BLOCK_M"])
    return rows * entry.sizes["N"] * entry.sizes["K"]


def _by_multiply_adds(entry: Entry, facts: Facts, programs: int) -> float:
    """Instructions of a warp.

    Where multiply-adds rule, their share of the loops' instructions says how many instructions there are; other code
    is counted once, with each loop in it run as often as its chunks say.
    """
    needed = multiply_adds(entry)
    every = sum(facts.sass.values())
    if needed:
        loops = [loop for loop in facts.loops if loop.mix.get("fused", 0) >= 16] or facts.loops
        fused = sum(loop.mix.get("fused", 0) for loop in loops if loop.innermost)
        within = sum(loop.instructions for loop in loops if loop.innermost)
        if fused:
            return needed / 32 / (programs * entry.warps) * within / fused
    passes = int(entry.constants.get("CHUNKS", 1))
    if "BLOCK_K" in entry.constants and "columns" in entry.integers:
        passes = -(-entry.integers["columns"] // int(entry.constants["BLOCK_K"]))
    looped = sum(loop.instructions for loop in facts.loops if loop.innermost)
    return every + (passes - 1) * looped
