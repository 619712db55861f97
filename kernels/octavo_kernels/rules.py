"""What an op asks of its operands beyond the op table's shapes."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import KernelError
from .generated.ops import OPS
from .places import written_root
from .program import Arena, Operation, ProgramSpec, Value

# Integers that a step computes are trusted as indices only where they are such: (what makes them, where they go).
_COMPUTED_INDICES = {("ids", "tokens"), ("carries", "carries")}


def check_rules(where: str, operation: Operation, values: Sequence[Value]) -> None:
    """Raise KernelError for operands that fit the table but not the op. Shapes were checked before."""
    inputs = {name: values[value] for name, value in operation.inputs.items()}
    outputs = {name: values[value] for name, value in operation.outputs.items()}
    attributes = operation.attributes
    if operation.op == "cast" and outputs["y"].dtype != attributes["dtype"]:
        text = f"{where}: y is {outputs['y'].dtype}, but the attribute dtype says {attributes['dtype']}"
        raise KernelError("OCTAVO_DTYPE_MISMATCH", text)
    if operation.op in ("rope", "rope_append"):
        head, turned = int(attributes["headDim"]), 2 * int(inputs["cos"].shape[1])
        width = int(inputs["x" if operation.op == "rope" else "q"].shape[1])
        if width % head:
            raise _shape(f"{where}: rows of {width} are not whole heads of {head}")
        if turned > head:
            raise _shape(f"{where}: the tables turn {turned} elements of heads of {head}")
    if operation.op == "attention" and int(attributes["heads"]) % int(attributes["kvHeads"]):
        text = f"{where}: {attributes['heads']} heads cannot share {attributes['kvHeads']} kv heads evenly"
        raise KernelError("OCTAVO_BAD_ARGUMENT", text)
    if "keys" in inputs and inputs["keys"].dtype != inputs["values"].dtype:
        text = f"{where}: keys are {inputs['keys'].dtype}, values {inputs['values'].dtype}; they must be alike"
        raise KernelError("OCTAVO_DTYPE_MISMATCH", text)
    if operation.op == "sample":
        vocabulary, words = inputs["logits"].shape[1], int(attributes["maskWords"])
        if isinstance(vocabulary, int) and words * 32 < vocabulary:
            raise _shape(f"{where}: masks of {words} words cannot hold {vocabulary} ids")
    if operation.op in ("sample", "score", "embed"):
        size = inputs["table"].shape[0] if operation.op == "embed" else inputs["logits"].shape[1]
        if isinstance(size, str) or size < 1:
            raise _shape(f"{where}: a vocabulary of {size}; it must be fixed and at least 1")


def check_sources(spec: ProgramSpec) -> None:
    """Raise KernelError where an op would take an index from an intermediate that may hold anything.

    What comes with the step or lies in a handle is looked at before each step (checks.py); intermediates cannot be.
    """
    made_by: dict[int, set[str]] = {}
    for index, operation in enumerate(spec.ops):
        for name, value in operation.inputs.items():
            root = written_root(value, spec.values)
            if spec.values[value].dtype != "int32" or not isinstance(spec.values[root].place, Arena):
                continue
            wrong = [made for made in made_by.get(root, ()) if (made, name) not in _COMPUTED_INDICES]
            if wrong or OPS[operation.op].inputs[name].mutated:
                text = f"{name} (value {value}) cannot be computed by the step" + (f", as {wrong[0]}" if wrong else "")
                raise KernelError("OCTAVO_BAD_ARGUMENT", f"op {index} ({operation.op}): {text}")
        for name, value in operation.outputs.items():
            made_by.setdefault(written_root(value, spec.values), set()).add(name)


def _shape(text: str) -> KernelError:
    return KernelError("OCTAVO_SHAPE_MISMATCH", text)
