"""`python -m fuzz.run` (in worker/tests): programs and messages, right and wrong ones, against two workers.

Each reply is `ok` or an error with a code; both workers live, answer alike (instruction sets and threads do not change
bits), and have given everything back in the end. A failure prints the case's number: `--first N --cases 1` repeats it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
from octavo_kernels.cpu.library import available_isas
from octavo_kernels.generated.ops import BYTES_PER_ELEMENT, SIZES

from .mutations import NUMBERS, mutated
from .process import EPOCH, SHARED_BYTES, WorkerProcess
from .programs import Message, RandomProgram, Writer

Answer = tuple[dict[str, Any], bytes]
# What a bug in the worker is answered with, and a reply that says nothing: the fuzz finds these.
_BUGS = ("OCTAVO_WORKER_FAILED", "OCTAVO_WORKER_LOST")
_FLOATS = 1 << 16
LAYOUTS = ("plain", "packed")
# The scale of a packed int8 handle has the handle that is this much larger.
_SCALES = 1000


class Pair:
    """Two workers that are asked the same."""

    def __init__(self, workers: list[WorkerProcess]) -> None:
        self.workers = workers
        self.live: set[int] = set()
        self.codes: Counter[str] = Counter()

    def ask(self, message: Message, *payloads: bytes) -> Answer:
        answers = [worker.ask(message, *payloads) for worker in self.workers]
        return self._compared(message["kind"], answers)

    def _compared(self, kind: str, answers: list[Answer]) -> Answer:
        reply, content = answers[0]
        self.codes[f"{kind} {reply.get('code', 'ok')}"] += 1
        assert reply["kind"] in ("ok", "error"), reply
        assert reply.get("code") not in _BUGS, reply["message"]
        if reply["kind"] == "error":
            assert reply["code"].startswith("OCTAVO_") and len(reply["message"]) > 8, reply
        for other, other_content in answers[1:]:
            codes = reply.get("code"), other.get("code")
            # What the machine has at the moment may differ.
            if "OCTAVO_OUT_OF_MEMORY" not in codes:
                assert codes[0] == codes[1], (reply, other)
                assert same(content, other_content), f"{kind}: the workers' payloads differ"
        return reply, content

    def program(self, program: RandomProgram, define: Message, floats: str) -> None:
        """Allocate, fill, define, step and free."""
        made = [a for a in program.allocations if self.took({"kind": "allocate", "handles": [a]}, a["handle"])]
        for allocation in made:
            self._fill(allocation, program, floats)
        handle = max([a["handle"] for a in program.allocations], default=0) + 1
        if program.group:
            for worker in self.workers:
                worker.clear_shared()
            self.took(_group(handle + 1, program.group), handle + 1)
            define = {"group": handle + 1, **define}
        if self.took({**define, "program": handle}, handle):
            step = {"kind": "step", "program": handle, "sizes": program.sizes}
            self.ask(step, program.payload)
            self.ask(step, program.payload)
        self.free()

    def free(self) -> None:
        """Everything; then nothing is left."""
        if self.live:
            reply, _ = self.ask({"kind": "free", "handles": sorted(self.live)})
            assert reply["kind"] == "ok", reply
            self.live.clear()
        for worker in self.workers:
            statistics = worker.ask({"kind": "stats"})[0]["statistics"]
            assert (statistics["handles"], statistics["handleBytes"]) == (0, 0), statistics

    def took(self, message: Message, handle: int) -> bool:
        if self.ask(message)[0]["kind"] == "ok":
            self.live.add(handle)
            return True
        return False

    def _fill(self, allocation: Message, program: RandomProgram, floats: str) -> None:
        handle = allocation["handle"]
        if handle in program.contents:
            self.ask({"kind": "write", "handle": handle, "offset": 0}, program.contents[handle])
        elif handle in program.packed:
            dtype, rows, columns = program.packed[handle]
            part = {"file": floats, "offset": 0, "bytes": 4 * rows * columns, "type": "F32"}
            part |= {"rows": rows, "columns": columns}
            item: Message = {"form": "float", "handle": handle, "parts": [part]}
            if dtype == "int8":
                scale = {"handle": _SCALES + handle, "dtype": "float32", "layout": "plain", "shape": [rows]}
                self.took({"kind": "allocate", "handles": [scale]}, scale["handle"])
                item |= {"form": "int8", "scale": scale["handle"]}
            self.ask({"kind": "load", "items": [item]})


def _group(handle: int, ranks: int) -> Message:
    """As its first rank. A second one never comes."""
    shared = {"offset": 0, "bytes": SHARED_BYTES}
    return {"kind": "group", "group": handle, "rank": 0, "ranks": ranks, "shared": shared, "deadlineMs": 5}


def same(a: bytes, b: bytes) -> bool:
    """Equal, any NaN being equal to any other."""
    if a == b:
        return True
    if len(a) != len(b):
        return False
    whole = len(a) // 4 * 4
    x, y = np.frombuffer(a[:whole], np.float32), np.frombuffer(b[:whole], np.float32)
    bits = x.view(np.uint32) == y.view(np.uint32)
    return bool((bits | (np.isnan(x) & np.isnan(y))).all()) and a[whole:] == b[whole:]


def messages(rng: Random, floats: str) -> list[tuple[Message, bytes]]:
    """Of the other kinds, with sizes from everywhere: some handles that exist and many that do not."""

    def number() -> int:
        return rng.choice(NUMBERS)

    handles = [1, 2, 3, rng.choice(NUMBERS[1:])]
    shape = [rng.choice(NUMBERS[:9]) if rng.random() < 0.7 else number() for _ in range(rng.randrange(5))]
    allocation = {"handle": rng.choice(handles), "dtype": rng.choice(list(BYTES_PER_ELEMENT)), "shape": shape}
    allocation["layout"] = rng.choice(LAYOUTS)
    part = {"file": rng.choice((floats, "/dev/zero", "/nowhere")), "offset": number(), "bytes": number()}
    part |= {"type": rng.choice(("F32", "F16", "Q4_0", "Q6_K", "I8")), "rows": number(), "columns": number()}
    item = {"form": rng.choice(("int8", "float")), "handle": rng.choice(handles), "parts": [part]}
    item |= {"scale": rng.choice(handles)} if rng.random() < 0.5 else {}
    shared = {"offset": number(), "bytes": number()}
    found: list[tuple[Message, bytes]] = [
        ({"kind": "allocate", "handles": [allocation]}, b""),
        ({"kind": "write", "handle": rng.choice(handles), "offset": number()}, bytes(rng.choice(NUMBERS[:8]))),
        ({"kind": "write", "handle": rng.choice(handles), "offset": 0, "shared": shared}, b""),
        ({"kind": "read", "handle": rng.choice(handles), "offset": number(), "bytes": number()}, b""),
        ({"kind": "read", "handle": rng.choice(handles)}, b""),
        ({"kind": "read", "handle": rng.choice(handles), "shared": shared}, b""),
        ({"kind": "load", "items": [item]}, b""),
        (mutated(rng, _group(rng.choice(handles), 2)), b""),
        ({"kind": "step", "program": rng.choice(handles), "sizes": {name: number() for name in SIZES}}, b"\0" * 64),
        ({"kind": "call", "function": "os:abort", "handles": [], "options": [], "results": [9]}, b""),
        ({"kind": "describe"}, b""),
        ({"kind": "drain"}, b""),
    ]
    return [rng.choice(found) for _ in range(6)]


def case(number: int, pair: Pair, floats: str) -> None:
    """One case: a program, right or mutated, or messages of other kinds, or bytes of a header changed."""
    rng = Random(number)
    kind = rng.random()
    if kind < 0.8:
        program = Writer(rng, 1).write(rng.choice((1, 1, 2, 3, 6)))
        wrong = kind > 0.4
        pair.program(program, mutated(rng, program.define) if wrong else program.define, floats)
        return
    for handle in (1, 2, 3):
        there = {"handle": handle, "dtype": rng.choice(list(BYTES_PER_ELEMENT)), "layout": rng.choice(LAYOUTS)}
        pair.took({"kind": "allocate", "handles": [{**there, "shape": [rng.choice(NUMBERS[1:9]), 16]}]}, handle)
    for message, payload in messages(rng, floats):
        if kind < 0.9:
            reply, _ = pair.ask(message, *([payload] if payload else []))
            if reply["kind"] == "ok" and message["kind"] in ("allocate", "group"):
                pair.live.add(message["group"] if message["kind"] == "group" else message["handles"][0]["handle"])
            continue
        if message["kind"] in ("allocate", "group"):
            continue  # it may still be right, under a handle that nobody knows
        header = bytearray(msgspec.msgpack.encode({**message, "id": 1 << 40, "epoch": EPOCH}))
        for _ in range(rng.randrange(1, 4)):
            header[rng.randrange(len(header))] = rng.randrange(256)
        for worker in pair.workers:
            worker.send(bytes(header), payload)
        pair.ask({"kind": "drain"})
    pair.free()


def run(first: int, cases: int, workers: list[WorkerProcess]) -> Counter[str]:
    """Raises AssertionError that names the case. Returns how often each kind was answered with what."""
    pair = Pair(workers)
    with tempfile.TemporaryDirectory() as folder:
        floats = Path(folder) / "floats"
        floats.write_bytes(np.random.default_rng(0).standard_normal(_FLOATS).astype(np.float32).tobytes())
        for number in range(first, first + cases):
            try:
                case(number, pair, str(floats))
            except AssertionError as error:
                raise AssertionError(f"case {number}: {error}") from error
    return pair.codes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isas", default=",".join(dict.fromkeys(("scalar", available_isas()[-1]))))
    options = parser.parse_args()
    workers = [WorkerProcess(isa, options.threads) for isa in options.isas.split(",")]
    try:
        for answer, times in sorted(run(options.first, options.cases, workers).items()):
            print(f"{times:7} {answer}")
    finally:
        for worker in workers:
            text = worker.close()
            if text:
                print(text, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
