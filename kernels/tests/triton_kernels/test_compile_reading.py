"""PTX and machine code are read rightly; otherwise the proofs prove nothing."""

from __future__ import annotations

from proofs.compile import ptx, sass
from proofs.compile.facts import Facts

#: Two nested loops and the branch to itself that ends every kernel.
CODE = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;                        /* 0x00000a00ff017b82 */
        /*0010*/                   LDGSTS.E.BYPASS.128 [R7], desc[UR8][R4.64] ;  /* 0x0000000004077fae */
        /*0020*/                   IMMA.16832.S8.S8.SAT R8, R4.ROW, R6.COL, R8 ; /* 0x0000000604087237 */
        /*0030*/              @!P0 STL [R1+0x10], R9 ;                           /* 0x0000100901007387 */
        /*0040*/               @P1 BRA 0x20 ;                                    /* 0xfffffff000f41947 */
        /*0050*/                   FFMA R2, R2, R3, R4 ;                         /* 0x0000000302027223 */
        /*0060*/               @P2 BRA 0x10 ;                                    /* 0xffffffe000f41947 */
        /*0070*/                   NOP;                                          /* 0x0000000000007918 */
        /*0080*/                   BRA 0x80;                                     /* 0xfffffffc00fc7947 */
"""


def test_machine_code_is_counted_by_kind():
    """The issue budget would be compared with wrong numbers."""
    counted = sass.mix(sass.instructions(CODE))
    assert counted == {"branch": 3, "copy": 1, "fused": 1, "integer": 1, "spill": 1, "tensor": 1}


def test_loops_and_what_lies_in_them_are_found():
    """A spill in the inner loop would pass as one of the epilogue."""
    inner, outer = sorted(sass.loops(sass.instructions(CODE)), key=lambda loop: loop.instructions)
    assert (inner.start, inner.end, inner.innermost) == (0x20, 0x40, True)
    assert inner.mix == {"branch": 1, "spill": 1, "tensor": 1}
    assert inner.products == {"IMMA.16832.S8.S8.SAT": 1}
    assert (outer.start, outer.end, outer.innermost) == (0x10, 0x60, False)
    facts = Facts("k", 80, 4, 1, 0, 0, 0, 0, {}, {}, {}, [outer, inner])
    assert facts.product_loop() == inner
    assert facts.spills_in_loops == 1


def test_what_ptx_approximates_fuses_and_copies_is_counted():
    """A GPU's last bits would differ, and nothing would say so."""
    text = """
        div.full.f32 %r1, %r2, %r3;
        rsqrt.approx.ftz.f32 %r1, %r2;
        div.rn.f32 %r4, %r5, %r6;
        fma.rn.f32 %r7, %r8, %r9, %r10;
        cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10, %r2;
        cp.async.ca.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x4, %r2;
        ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];
        ld.global.b32 { %r1 }, [ %rd1 + 0 ];
        wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {%r1}, %rd1, %rd2, 1;
        wgmma.wait_group.sync.aligned 0;
    """
    counted = {name: number for name, number in ptx.count(text).items() if number}
    assert counted == {
        **{"approximate": 2, "flush_subnormals": 1, "division": 1, "fma": 1, "copy_async_16": 1, "copy_async_small": 1},
        **{"load_16": 1, "load_small": 1, "wait_none": 1},
    }
    assert ptx.products(text) == {"wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8": 1}
    assert ptx.fma_written("call <2 x float> @llvm.fma.v2f32(<2 x float> %1, <2 x float> %2, <2 x float> %3)") == 2
    assert ptx.fma_written("  %4 = tail call float @llvm.fma.f32(float %1, float %2, float %3)") == 1
