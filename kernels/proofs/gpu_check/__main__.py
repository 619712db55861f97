"""`python -m proofs.gpu_check [--json FILE] [--skip-speed]`: is Octavo right, and how fast, on this GPU.

Exit codes: 0 all right, 1 something differs, 2 wrong arguments, 3 there is no GPU to check (or no torch, no triton).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from octavo_kernels import open_backend
from octavo_kernels.backend import Backend
from octavo_kernels.errors import KernelError


def main() -> int:
    options = _arguments()
    try:
        backend = open_backend("cuda", 1, index=options.index)
    except KernelError as error:
        print(f"gpu-check: nothing was checked: {error.message} ({error.code})", file=sys.stderr)
        return 3
    report = check(backend, options)
    if options.json:
        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
        print(f"written to {options.json}")
    print("all right" if report["right"] else "gpu-check: something differs", file=sys.stdout)
    return 0 if report["right"] else 1


def check(backend: Backend, options: argparse.Namespace) -> dict[str, Any]:
    """Everything in order: values, programs, speed. Prints as it goes."""
    from ..conformance.domains import DOMAINS
    from ..programs.folder import exported
    from . import programs
    from .values import check_ops

    reference = open_backend("reference", 1)
    device = {"name": backend.model, "architecture": backend.isa, **_versions()}
    print(f"{device['name']} ({device['architecture']}), torch {device['torch']}, triton {device['triton']}\n")
    ops = []
    for result in check_ops(backend, reference, DOMAINS):
        ops.append(asdict(result))
        print(f"  {result.op:<20} {result.cases:>4} cases  {_verdict(result.wrong)}", flush=True)
    whole = {
        **{
            f"{name} equals its definition": programs.differs_from_reference(
                backend, reference, exported(name), programs.STEPS
            )
            for name in programs.programs()
        },
        "a captured step equals the eager one": programs.differs_when_captured(backend),
        "a row is the same in any batch": programs.differs_in_a_batch(backend),
    }
    for name, wrong in whole.items():
        print(f"  {name:<40} {_verdict(wrong)}", flush=True)
    right = not any(result["wrong"] for result in ops) and not any(whole.values())
    speed = [] if options.skip_speed else _speed(options.index)
    return {"right": right, "device": device, "ops": ops, "programs": whole, "speed": speed}


def _speed(index: int) -> list[dict[str, Any]]:
    import torch

    from ..programs.folder import exported
    from .speed import ROWS, layers, linears
    from .timing import CudaTimer

    device = torch.device("cuda", index)
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    print("\n  microseconds                  rows    octavo  bfloat16            bitsandbytes")
    found = []
    program, timer = exported("Llama-3-8B"), CudaTimer()
    for speeds in (linears(program, ROWS, device, timer, cache), layers(program, device, timer)):
        for speed in speeds:
            found.append(asdict(speed))
            peers = "  ".join(_peer(time, speed.octavo) for time in (speed.bfloat16, speed.bitsandbytes))
            print(f"  {speed.name:<28} {speed.rows:>5} {speed.octavo:>9.1f}  {peers}", flush=True)
    return found


def _peer(time: float | None, octavo: float) -> str:
    return f"{'not installed':>18}" if time is None else f"{time:>9.1f} ({time / octavo:>4.2f}x)"


def _verdict(wrong: list[str]) -> str:
    return "right" if not wrong else f"WRONG in {len(wrong)}: {'; '.join(wrong[:3])}"


def _versions() -> dict[str, str]:
    import torch
    import triton

    return {"torch": torch.__version__, "triton": triton.__version__, "cuda": torch.version.cuda or ""}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="proofs.gpu_check", description=__doc__)
    parser.add_argument("--json", help="also write everything found to this file")
    parser.add_argument("--index", type=int, default=0, help="which GPU (default 0)")
    parser.add_argument("--skip-speed", action="store_true", help="only whether everything is right")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
