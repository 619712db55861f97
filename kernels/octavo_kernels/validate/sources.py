"""What ops read: memory that was written before, and indices only from where they are right.

What comes with a step or lies in a handle is looked at before the step (step.py). What the step itself writes cannot
be, wherever it lies: it may be an index only where the op that makes it, or the kernel that uses it, keeps it in range.
"""

from __future__ import annotations

from ..errors import ErrorCode, KernelError
from ..generated.ops import OPS
from ..program.spec import Arena, Columns, Handle, Input, Operation, ProgramSpec
from .places import written_root

# (What writes integers, what reads them). `quantize` lists groups that exist; `embed` and `sample` take an id that no
# row has for none; counts are only added to, sums only multiplied.
_RIGHT = {
    ("carries", "carries"),
    ("ids", "tokens"),
    ("sampled", "tokens"),
    ("sampled", "sampled"),
    ("ids", "sampled"),
    ("counts", "counts"),
    ("sums", "sums"),
}

#: Memory of a program: a tensor, or the value whose intermediate it is.
Memory = Handle | int


def memory_of(spec: ProgramSpec, value: int) -> Memory:
    root = written_root(value, spec.values)
    place = spec.values[root].place
    return place if isinstance(place, Handle) else root


def check_sources(spec: ProgramSpec) -> None:
    """Raise KernelError where an op reads what nobody wrote, writes what a step brings, or takes an index from where
    it may be anything. Operands were checked before."""
    written = Written(spec)
    for index, operation in enumerate(spec.ops):
        where, table = f"op {index} ({operation.op})", OPS[operation.op]
        for name, value in operation.inputs.items():
            written.check(f"{where}: {name} (value {value})", value)
            if spec.values[value].dtype != "int32":
                continue
            wrong = [made for made in written.by(value) if (made, name) not in _RIGHT]
            intermediate = isinstance(spec.values[written_root(value, spec.values)].place, Arena)
            if wrong or (intermediate and (table.inputs[name].mutated or name == "sampled")):
                text = f"{name} (value {value}) cannot be computed by the step" + (f", as {wrong[0]}" if wrong else "")
                raise KernelError(ErrorCode.BAD_ARGUMENT, f"{where}: {text}")
        for name, value in written_by(operation).items():
            if isinstance(spec.values[written_root(value, spec.values)].place, Input):
                text = f"{where}: {name} (value {value}) would be written, but it is an input of the step"
                raise KernelError(ErrorCode.BAD_ARGUMENT, text)
            written.add(name, value)
    for value in spec.outputs:
        written.check(f"program output: value {value}", value)


#: What of an op's operands belongs to the same rows, and must come from one quantisation.
_OF_ONE = {
    "linear_int8": ("low", "high", "carries", "step"),
    "multiply_int8": ("low", "high", "carries"),
    "dequantize": ("sums", "step"),
}


def check_digits(spec: ProgramSpec) -> None:
    """Raise KernelError where a product takes digits that belong to different rows: each is computed by another op, or
    some are and some are not. What a user brings is looked at before each step (step.py)."""
    makers: dict[Memory, int | None] = {}
    for index, operation in enumerate(spec.ops):
        maker: int | None = index
        if parts := _OF_ONE.get(operation.op):
            found = [makers.get(memory_of(spec, operation.inputs[name])) for name in parts]
            if len(set(found)) > 1:
                text = f"op {index} ({operation.op}): {', '.join(parts)} must be the results of one op"
                raise KernelError(ErrorCode.BAD_ARGUMENT, text)
            if operation.op == "multiply_int8":
                maker = found[0]  # its sums still have to meet the step of their digits
        for value in written_by(operation).values():
            makers[memory_of(spec, value)] = maker


def written_by(operation: Operation) -> dict[str, int]:
    """What an op writes, by operand: its outputs, and the inputs that it changes."""
    table = OPS[operation.op]
    mutated = {name: value for name, value in operation.inputs.items() if table.inputs[name].mutated}
    return {**mutated, **operation.outputs}


class Written:
    """What the ops so far have written: by which of their operands, and which columns of an intermediate."""

    def __init__(self, spec: ProgramSpec) -> None:
        self._spec = spec
        self._makers: dict[Memory, set[str]] = {}
        #: Columns [begin, end) of intermediates, ascending and apart.
        self._columns: dict[int, list[tuple[int, int]]] = {}

    def by(self, value: int) -> set[str]:
        return self._makers.get(memory_of(self._spec, value), set())

    def add(self, name: str, value: int) -> None:
        self._makers.setdefault(memory_of(self._spec, value), set()).add(name)
        root = written_root(value, self._spec.values)
        begin, end = self._range(value)
        parts = []
        for first, last in self._columns.get(root, ()):
            if last < begin or end < first:
                parts.append((first, last))
            else:
                begin, end = min(begin, first), max(end, last)
        self._columns[root] = sorted([*parts, (begin, end)])

    def check(self, what: str, value: int) -> None:
        root = written_root(value, self._spec.values)
        if not isinstance(self._spec.values[root].place, Arena):
            return
        begin, end = self._range(value)
        parts = self._columns.get(root, [])
        if any(first <= begin and end <= last for first, last in parts):
            return
        text = "is read before any op wrote it"
        if parts:
            of = ", ".join(f"{first}..{last}" for first, last in parts[:8])
            text = f"is columns {begin}..{end} of value {root}, of which ops wrote only {of}"
        raise KernelError(ErrorCode.BAD_ARGUMENT, f"{what} {text}")

    def _range(self, value: int) -> tuple[int, int]:
        """Columns of the root that a value is. What is no matrix is one column."""
        values, begin = self._spec.values, 0
        shape = values[value].shape
        width = shape[1] if len(shape) == 2 and isinstance(shape[1], int) else 1
        place = values[value].place
        while isinstance(place, Columns):
            begin, place = begin + place.column, values[place.of].place
        return begin, begin + width
