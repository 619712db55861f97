"""GPUs, from their data sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """One card. Boost clock; rates per streaming multiprocessor (SM) and clock; sizes of an SM in bytes."""

    name: str
    architecture: int
    processors: int
    gigahertz: float
    #: GB/s by the data sheet.
    memory: float
    #: GB/s from L2, assumed.
    cache: float
    #: int8 multiply-adds of dense tensor cores: by wgmma on sm_90, else by mma.sync.
    int8: int
    #: The same by mma.sync.
    int8_warp: int
    #: float32 fused multiply-adds.
    float32: int
    shared: int
    threads: int
    programs: int

    @property
    def issue_budget(self) -> float:
        """Instructions that the SM's 4 schedulers issue in the time in which memory brings the SM 512 bytes."""
        return 4 * 512 * self.processors * self.gigahertz / self.memory


A100 = Device("A100", 80, 108, 1.410, 2039, 4000, 2048, 2048, 64, 164 << 10, 2048, 32)
RTX_3090 = Device("RTX 3090", 86, 82, 1.695, 936, 1800, 1024, 1024, 128, 100 << 10, 1536, 16)
RTX_4090 = Device("RTX 4090", 89, 128, 2.520, 1008, 4000, 1024, 1024, 128, 100 << 10, 1536, 24)
H100 = Device("H100", 90, 132, 1.755, 3350, 5500, 4096, 2048, 128, 228 << 10, 2048, 32)
H200 = Device("H200", 90, 132, 1.755, 4800, 5500, 4096, 2048, 128, 228 << 10, 2048, 32)

DEVICES = (A100, H100, H200, RTX_3090, RTX_4090)

#: Registers of an SM on all of them.
REGISTERS = 65536
