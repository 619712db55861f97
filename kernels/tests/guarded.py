"""`python kernels/tests/guarded.py`: every conformance case with every tensor between pages that are not mapped.

An op that reads or writes beyond an operand ends the process at that instruction, on every instruction set of this
machine, without a sanitizer's help: it settles whose fault a sanitizer's finding is. Results must be the usual ones.
Then ranks of a group, as threads of this process, gather in such memory.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import mmap
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from octavo_kernels import Counters, ErrorCode, Executable, KernelError, open_group
from octavo_kernels.cpu.backend import CpuBackend
from octavo_kernels.cpu.library import available_isas
from octavo_kernels.tensor import ALIGNMENT, Tensor, nbytes, round_up
from octavo_kernels.workspace import Workspace
from proofs.conformance import cases, identical, run_case
from proofs.conformance.domains import DOMAINS
from ranks.programs import GatherProgram, parts_of
from ranks.stages import Stage, StageProgram

_PROT_NONE = 0
_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def guarded_bytes(size: int) -> np.ndarray:
    """`size` zeroed bytes that end where a page without access begins; another one lies before their first page."""
    room = round_up(max(size, 1), mmap.PAGESIZE)
    pages = np.frombuffer(mmap.mmap(-1, room + 2 * mmap.PAGESIZE), np.uint8)
    for start in (0, room + mmap.PAGESIZE):
        if _mprotect(pages.ctypes.data + start, mmap.PAGESIZE, _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    end = room + mmap.PAGESIZE
    return pages[end - size : end]


class GuardedProgram:
    """What a step brings lies in guarded bytes; the last of it ends less than 64 bytes before the page."""

    def __init__(self, program: Executable) -> None:
        self._program, self.close = program, program.close

    def step(self, sizes: Mapping[str, int], payload: memoryview, *more: Any) -> tuple[np.ndarray, Counters]:
        block = guarded_bytes(round_up(payload.nbytes, ALIGNMENT))[: payload.nbytes]
        block[:] = np.frombuffer(payload, np.uint8)
        return self._program.step(sizes, memoryview(block), *more)


class GuardedBackend(CpuBackend):
    """Tensors, the arena among them, the workspace and what steps bring as guarded bytes."""

    def __init__(self, threads: int, isa: str) -> None:
        super().__init__(threads, isa)
        self.workspace = Workspace(guarded_bytes)

    def define(self, *arguments: Any, **named: Any) -> Any:
        return GuardedProgram(super().define(*arguments, **named))

    def allocate(self, dtype: str, layout: str, shape: Sequence[int]) -> Tensor:
        return Tensor(dtype, layout, tuple(shape), guarded_bytes(nbytes(dtype, layout, tuple(shape))))


_WIDTHS = (300, 21, 5)


def gathers(threads: int, open_backend: Callable[[], CpuBackend]) -> None:
    """Ranks that gather, in one meeting and in many; then one of them aborts the group instead, and the others end."""
    parts = parts_of(_WIDTHS)
    whole = np.random.default_rng(0).standard_normal((40, sum(_WIDTHS))).astype(np.float32)
    backends = [open_backend() for _ in parts]
    for slot in (128, 1 << 16):
        memory = guarded_bytes(4096 + 2 * len(parts) * slot)

        def rank(index: int, memory: np.ndarray = memory) -> Exception | None:
            backend, part = backends[index], parts[index]
            group = open_group(memory, index, len(parts), 600_000)
            program = GatherProgram([part, part], len(whole))
            arena = backend.allocate("int8", "plain", (program.arena_bytes,))
            executable = backend.define(program.spec, {}, arena, group=group)
            try:
                for rows in (40, 1, 0, 7):
                    x = np.ascontiguousarray(whole[:rows, part.first : part.first + part.own])
                    assert all((y == whole[:rows]).all() for y in program.step(executable, [x, x]))
                if index == 1:
                    memory[0] = 1
                else:
                    program.step(executable, [x, x])
            except KernelError as error:
                return error
            finally:
                executable.close()
                group.close()
            return None

        with ThreadPoolExecutor(len(parts)) as pool:
            ends = list(pool.map(rank, range(len(parts))))
        codes = [end.code if isinstance(end, KernelError) else end for end in ends]
        assert codes == [ErrorCode.GROUP_BROKEN, None, ErrorCode.GROUP_BROKEN], f"{threads} threads: {ends}"


def stages(threads: int, open_backend: Callable[[], CpuBackend]) -> None:
    """Two stages of two ranks, whose rows come in one message and in many."""
    parts, columns = parts_of(_WIDTHS[:2]), sum(_WIDTHS[:2])
    whole = np.random.default_rng(0).standard_normal((40, columns)).astype(np.float32)
    ranks = [Stage(part.own, False, part, True) for part in parts] + [
        Stage(columns, True, part, False) for part in parts
    ]
    backends = [open_backend() for _ in ranks]
    for slot in (128, 1 << 17):
        memory = guarded_bytes(4096 + 2 * (len(ranks) + 1) * slot)

        def run(index: int, memory: np.ndarray = memory) -> None:
            backend, part, first = backends[index], parts[index % 2], index < 2
            group = open_group(memory, index, len(ranks), 600_000, 2)
            program = StageProgram(ranks[index], len(whole))
            arena = backend.allocate("int8", "plain", (program.arena_bytes,))
            executable = backend.define(program.spec, {}, arena, group=group)
            for rows in (40, 1, 0, 7):
                x = whole[:rows, part.first : part.first + part.own] if first else np.zeros_like(whole[:rows])
                assert all((y == whole[:rows]).all() for y in program.step(executable, [np.ascontiguousarray(x)]))
            executable.close()
            group.close()

        with ThreadPoolExecutor(len(ranks)) as pool:
            list(pool.map(run, range(len(ranks))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="take one case of so many")
    parser.add_argument("--plain", action="store_true", help="without the pages: for a sanitizer's own guards")
    options = parser.parse_args()
    faulthandler.enable()
    expected = CpuBackend(1, "scalar")
    kind = CpuBackend if options.plain else GuardedBackend
    for isa in available_isas():
        backend = kind(options.threads, isa)
        for op in DOMAINS:
            for case in cases(op)[:: options.every]:
                print(isa, case.name, file=sys.stderr, flush=True)
                found = run_case(backend, case)
                wrong = identical(case, found, run_case(expected, case))
                assert not wrong, f"{isa}: {case.name}: {wrong}"
    for threads in (1, options.threads):
        print("ranks", threads, file=sys.stderr, flush=True)
        gathers(threads, partial(kind, threads, available_isas()[0]))
        stages(threads, partial(kind, threads, available_isas()[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
