"""linear_int8 for many rows on sm_90, with wgmma that overlap: Triton 3.6 waits for each int8 product at once.

The same product as prefill.py's, which is this kernel's oracle: Gluon has no interpreter. Lists are of 32-column blocks
here, which TMA copies; one stage of the ring holds 128 columns of the dense product, or four blocks.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_init,
    warpgroup_mma_wait,
)


@gluon.jit
def copy_dense(low_tiles, weight_tiles, ready, d, w, stage, first, output, k, wanted):
    mbarrier.expect(ready.index(stage), low_tiles.block_type.nbytes + weight_tiles.block_type.nbytes, pred=wanted)
    tma.async_copy_global_to_shared(low_tiles, [first, k], ready.index(stage), d.index(stage), pred=wanted)
    tma.async_copy_global_to_shared(weight_tiles, [output, k], ready.index(stage), w.index(stage), pred=wanted)


@gluon.jit
def copy_blocks(
    high_blocks, weight_blocks, ready, d, w, stage, first, output, blocks, index, carrying, columns, wanted
):
    mbarrier.expect(
        ready.index(stage), 4 * (high_blocks.block_type.nbytes + weight_blocks.block_type.nbytes), pred=wanted
    )
    for j in gl.static_range(4):
        entry = 4 * index + j
        listed = entry < carrying
        block = gl.load(blocks + entry, mask=listed, other=0)
        # Beyond the list: outside of the tensors, which TMA reads as zeros.
        k = gl.where(listed, block * 32, columns)
        tma.async_copy_global_to_shared(
            high_blocks, [first, k], ready.index(stage), d.index(4 * stage + j), pred=wanted
        )
        tma.async_copy_global_to_shared(
            weight_blocks, [output, k], ready.index(stage), w.index(4 * stage + j), pred=wanted
        )


@gluon.jit(do_not_specialize=["capacity", "group_count"])
def prefill_async(
    low_tiles,
    weight_tiles,
    high_blocks,
    weight_blocks,
    step,
    scale,
    bias,
    y,
    rows,
    counts,
    groups,
    y_stride,
    capacity,
    outputs,
    columns,
    group_count,
    BLOCK_M: gl.constexpr,
    BLOCK_N: gl.constexpr,
    BLOCK_K: gl.constexpr,
    STAGES: gl.constexpr,
):
    """y[BLOCK_M rows, BLOCK_N outputs] of each program. low_tiles, ...: TMA descriptors, see plan.py.

    A product may be under way while the next one is issued; STAGES - 2 stages are on their way meanwhile.
    """
    row_tiles, column_tiles = (capacity + BLOCK_M - 1) // BLOCK_M, (outputs + BLOCK_N - 1) // BLOCK_N
    # As tile_of in prefill.py.
    HEIGHT: gl.constexpr = 8
    program = gl.program_id(0)
    band = program // (HEIGHT * column_tiles)
    height = gl.minimum(row_tiles - band * HEIGHT, HEIGHT)
    within = program % (HEIGHT * column_tiles)
    row_tile, tile = band * HEIGHT + within % height, within // height
    first, output = row_tile * BLOCK_M, tile * BLOCK_N
    count = gl.load(rows)
    if first < count:
        d = gl.allocate_shared_memory(gl.int8, [STAGES, BLOCK_M, BLOCK_K], low_tiles.layout)
        w = gl.allocate_shared_memory(gl.int8, [STAGES, BLOCK_N, BLOCK_K], weight_tiles.layout)
        high = d._reinterpret(gl.int8, [4 * STAGES, BLOCK_M, 32], high_blocks.layout)
        beside = w._reinterpret(gl.int8, [4 * STAGES, BLOCK_N, 32], weight_blocks.layout)
        ready = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
        for i in gl.static_range(STAGES):
            mbarrier.init(ready.index(i), count=1)
        layout: gl.constexpr = gl.NVMMADistributedLayout(
            version=[3, 0], warps_per_cta=[gl.num_warps(), 1], instr_shape=[16, 128, 32]
        )
        AHEAD: gl.constexpr = STAGES - 2

        carrying = gl.load(counts + row_tile)
        blocks = groups + row_tile.to(gl.int64) * group_count
        turns = (carrying + 3) // 4
        for i in gl.static_range(AHEAD):
            copy_blocks(
                high_blocks,
                weight_blocks,
                ready,
                high,
                beside,
                i,
                first,
                output,
                blocks,
                i,
                carrying,
                columns,
                i < turns,
            )
        sums = warpgroup_mma_init(gl.full((BLOCK_M, BLOCK_N), 0, gl.int32, layout))
        for i in range(turns):
            stage = i % STAGES
            mbarrier.wait(ready.index(stage), (i // STAGES) & 1)
            for j in gl.static_range(4):
                sums = warpgroup_mma(
                    high.index(4 * stage + j), beside.index(4 * stage + j).permute((1, 0)), sums, is_async=True
                )
            sums = warpgroup_mma_init(warpgroup_mma_wait(num_outstanding=4, deps=(sums,)))
            ahead = i + AHEAD
            copy_blocks(
                high_blocks,
                weight_blocks,
                ready,
                high,
                beside,
                ahead % STAGES,
                first,
                output,
                blocks,
                ahead,
                carrying,
                columns,
                ahead < turns,
            )
        sums = warpgroup_mma_wait(num_outstanding=0, deps=(sums,)) * 255

        steps = (columns + BLOCK_K - 1) // BLOCK_K
        for i in gl.static_range(AHEAD):
            copy_dense(
                low_tiles,
                weight_tiles,
                ready,
                d,
                w,
                (turns + i) % STAGES,
                first,
                output,
                i * BLOCK_K,
                i < steps,
            )
        sums = warpgroup_mma_init(sums)
        for i in range(steps):
            stage = (turns + i) % STAGES
            mbarrier.wait(ready.index(stage), ((turns + i) // STAGES) & 1)
            sums = warpgroup_mma(d.index(stage), w.index(stage).permute((1, 0)), sums, is_async=True)
            # The product before is done: what it read may be written.
            sums = warpgroup_mma_init(warpgroup_mma_wait(num_outstanding=1, deps=(sums,)))
            ahead = i + AHEAD
            copy_dense(
                low_tiles,
                weight_tiles,
                ready,
                d,
                w,
                (turns + ahead) % STAGES,
                first,
                output,
                ahead * BLOCK_K,
                ahead < steps,
            )
        total = warpgroup_mma_wait(num_outstanding=0, deps=(sums,))

        m = first + gl.arange(0, BLOCK_M, layout=gl.SliceLayout(1, layout))
        n = output + gl.arange(0, BLOCK_N, layout=gl.SliceLayout(0, layout))
        if step is None:
            result = total
        else:
            # Each thread divides for one column, or for few.
            spread: gl.constexpr = gl.BlockedLayout([1], [32], [gl.num_warps()], [0])
            own = output + gl.arange(0, BLOCK_N, layout=spread)
            s = gl.load(scale + own, mask=own < outputs, other=0.0)
            factor = gl.convert_layout(gl.div_rn(s, gl.full((BLOCK_N,), 127.0, gl.float32, spread)), n.type.layout)
            result = total.to(gl.float32) * gl.load(step + m, mask=m < count, other=0.0)[:, None]
            if bias is None:
                result = result * factor[None, :]
            else:
                addend = gl.load(bias + n, mask=n < outputs, other=0.0)[None, :]
                zero = gl.full((BLOCK_M, BLOCK_N), 0.0, gl.float32, layout)
                result = gl.fma(result, factor[None, :] + zero, addend + zero)
        place = y + m.to(gl.int64)[:, None] * y_stride + n[None, :]
        gl.store(place, result, mask=(m < count)[:, None] & (n < outputs)[None, :])
