"""Takes apart machine code as `cuobjdump -sass` prints it."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from .facts import Loop

_LINE = re.compile(r"^\s+/\*([0-9a-f]{4,6})\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);", re.MULTILINE)
_TARGET = re.compile(r"0x([0-9a-f]+)")

#: Kinds of instructions, the first that fits counting. What fits none is "other".
KINDS: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "tensor": r"[IHQD]MMA|[IHQ]GMMA|UTC\w*MMA",
        "copy": r"LDGSTS|UTMALDG|UBLKCP|LDGDEPBAR|DEPBAR",
        "spill": r"STL|LDL",
        "load": r"LDG|LD\b|LD\.",
        "store": r"STG|ST\b|ST\.|UTMASTG",
        "atomic": r"ATOM|RED\b|RED\.|MEMBAR|CCTL|ERRBAR",
        "shared": r"LDS|STS|LDSM|STSM|ATOMS",
        "barrier": r"BAR|WARPSYNC|SYNCS|WARPGROUP|FENCE|NANOSLEEP|ACQBULK|PREEXIT|ELECT",
        "shuffle": r"SHFL|VOTE|REDUX|MATCH",
        "special": r"MUFU",
        # Written as such, or a part of a correctly rounded division or square root.
        "fused": r"[FD]FMA",
        "float": r"F(MUL|ADD|SEL|SETP|SET|MNMX|CHK)|D(MUL|ADD|SETP|MNMX)|H(FMA2|ADD2|MUL2|SETP2|MNMX2)|FSWZ",
        "convert": r"I2F|F2F|F2I|I2I|I2IP|F2FP|I2FP|FRND",
        "branch": r"BRA|BSYNC|BSSY|EXIT|YIELD|CALL|RET|BREAK|BMOV|KILL|BRX|JMP|BPT",
        "integer": r"U?(I(ADD|MAD|SETP|MNMX|ABS|DP)|LEA|MOV|VIADD|SEL|LOP|SHF|PRMT|SGXT|BREV|FLO|POPC|BMSK|PLOP)"
        r"|VI|VABSDIFF|R2UR|R2P|P2R|CS2R|S2R|S2UR|UF2F|USHL|ULDC|LDC|LDCU|UCGABAR|UISETP|UP2UR|UPOPC|UR2UP|VOTEU",
    }.items()
}


class Instruction(NamedTuple):
    address: int
    name: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """Every instruction but NOP in order of its address; predicates are left out."""
    return [Instruction(int(at, 16), name, rest) for at, name, rest in _LINE.findall(text) if name != "NOP"]


def kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if pattern.match(name)), "other")


def mix(body: list[Instruction]) -> dict[str, int]:
    """How many instructions there are of each kind."""
    return dict(sorted(Counter(kind(one.name) for one in body).items()))


def loops(code: list[Instruction]) -> list[Loop]:
    """Every loop: the instructions from a backward branch's target to the branch. `code` is a whole kernel."""
    spans = set()
    for one in code:
        target = _TARGET.search(one.rest) if one.name.startswith("BRA") else None
        # The branch to itself at the end of every kernel is no loop.
        if target and int(target[1], 16) < one.address:
            spans.add((int(target[1], 16), one.address))
    found = []
    for start, end in sorted(spans):
        body = [one for one in code if start <= one.address <= end]
        products = Counter(one.name for one in body if kind(one.name) == "tensor")
        within = any((start, end) != other and start <= other[0] and other[1] <= end for other in spans)
        found.append(Loop(start, end, mix(body), dict(sorted(products.items())), not within))
    return found
