"""What an op asks of its operands beyond the op table's shapes."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ErrorCode, KernelError
from ..program.spec import Operation, Value

# Products of codes are at most 127 * 128 (the dot product of some processors offsets one side by 128).
_MOST_DEPTH = (2**31 - 1) // (127 * 128)


def check_rules(where: str, operation: Operation, values: Sequence[Value]) -> None:
    """Raise KernelError for operands that fit the table but not the op. Shapes were checked before."""
    inputs = {name: values[value] for name, value in operation.inputs.items()}
    outputs = {name: values[value] for name, value in operation.outputs.items()}
    attributes = operation.attributes
    if operation.op == "cast" and outputs["y"].dtype != attributes["dtype"]:
        text = f"{where}: y is {outputs['y'].dtype}, but the attribute dtype says {attributes['dtype']}"
        raise KernelError(ErrorCode.DTYPE_MISMATCH, text)
    if operation.op in ("rope", "rope_append"):
        head, turned = int(attributes["headDim"]), 2 * int(inputs["cos"].shape[1])
        width = int(inputs["x" if operation.op == "rope" else "q"].shape[1])
        if width % head:
            raise _shape(f"{where}: rows of {width} are not whole heads of {head}")
        if turned > head:
            raise _shape(f"{where}: the tables turn {turned} elements of heads of {head}")
    if operation.op == "attention" and int(attributes["heads"]) % int(attributes["kvHeads"]):
        text = f"{where}: {attributes['heads']} heads cannot share {attributes['kvHeads']} kv heads evenly"
        raise KernelError(ErrorCode.BAD_ARGUMENT, text)
    if "keys" in inputs and inputs["keys"].dtype != inputs["values"].dtype:
        text = f"{where}: keys are {inputs['keys'].dtype}, values {inputs['values'].dtype}; they must be alike"
        raise KernelError(ErrorCode.DTYPE_MISMATCH, text)
    if operation.op == "sample":
        vocabulary, words = inputs["logits"].shape[1], int(attributes["maskWords"])
        if isinstance(vocabulary, int) and words * 32 < vocabulary:
            raise _shape(f"{where}: masks of {words} words cannot hold {vocabulary} ids")
    if operation.op in ("sample", "score", "embed"):
        size = inputs["table"].shape[0] if operation.op == "embed" else inputs["logits"].shape[1]
        if isinstance(size, str) or not 1 <= size < 2**31:
            raise _shape(f"{where}: a vocabulary of {size}; it must be fixed, at least 1 and below 2^31: ids are int32")
    if operation.op in ("linear_published", "linear_scheme"):
        depth = int(inputs["x"].shape[1])
        if depth > _MOST_DEPTH:
            raise _shape(f"{where}: rows of {depth}; int32 sums of products of codes hold {_MOST_DEPTH}")


def _shape(text: str) -> KernelError:
    return KernelError(ErrorCode.SHAPE_MISMATCH, text)
