"""The rules of the op table: what an op asks of its operands beyond their dtypes and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..errors import KernelError
from ..generated.ops import OPS
from ..program.shapes import ShapeError, evaluate
from ..program.spec import Dimension, Operation, Value


def check_rules(where: str, operation: Operation, values: Sequence[Value], symbols: Mapping[str, Dimension]) -> None:
    """Raise KernelError for operands that fit the shapes of the table, which gave `symbols`, but not its rules."""
    dtypes = {name: values[value].dtype for name, value in (operation.inputs | operation.outputs).items()}

    def said(name: str) -> object:
        return dtypes.get(name) or operation.attributes[name]

    def size(expression: str) -> Dimension:
        try:
            return evaluate(expression, symbols, operation.attributes)
        except ShapeError:
            return expression

    for rule in OPS[operation.op].rules:
        read = said if rule.relation == "dtype" else size
        if not _holds(rule.relation, read(rule.left), read(rule.right)):
            text = re.sub(r"\{(.+?)\}", lambda found, read=read: str(read(found[1])), rule.text)
            raise KernelError(rule.code, f"{where}: {text}")


def _holds(relation: str, left: object, right: object) -> bool:
    if relation == "dtype":
        return left == right
    if not isinstance(left, int) or not isinstance(right, int):
        return False
    return left % right == 0 if relation == "multiple" else left <= right
