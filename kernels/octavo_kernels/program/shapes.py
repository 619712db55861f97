"""The dimension expressions of the op table: products of symbols, attributes and numbers, functions of one, `B+1`.

A size is a number, or a symbol of the step (program.SIZES, "S+1", "B+1") that stays symbolic until the step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .spec import AttributeValue, Dimension

_NAME = re.compile(r"[A-Za-z]\w*")
_CALL = re.compile(r"(pad64|carryWords|blocks)\((.+)\)")


class ShapeError(ValueError):
    """Sizes that do not fit an expression; the caller says where."""


def bind(
    symbols: dict[str, Dimension],
    attributes: Mapping[str, AttributeValue],
    expressions: Sequence[str],
    shape: Sequence[Dimension],
) -> None:
    """Give each bare symbol (`T`, `K`, also the B of `B+1`) that has no size yet the size at its place of `shape`.

    A K that only `pad64(K)` and `carryWords(K)` show follows from both; the first waits in `symbols` for the second.
    """
    for expression, size in zip(expressions, shape, strict=True):
        call = _CALL.fullmatch(expression)
        if call and call[2] not in symbols and isinstance(size, int):
            padded = symbols.get(f"pad64({call[2]})")
            if call[1] == "pad64":
                symbols.setdefault(expression, size)
            elif call[1] == "carryWords" and (columns := digit_columns(padded, size)) is not None:
                symbols[call[2]] = columns
        base = expression.removesuffix("+1")
        if _NAME.fullmatch(base) and base not in attributes and base not in symbols:
            symbols[base] = size if base == expression else _minus_one(size)


def evaluate(expression: str, symbols: Mapping[str, Dimension], attributes: Mapping[str, AttributeValue]) -> Dimension:
    """The size that an expression means. Raises ShapeError when it would calculate with a symbol of the step."""
    call = _CALL.fullmatch(expression)
    if call:
        size = _number(evaluate(call[2], symbols, attributes), expression)
        return _FUNCTIONS[call[1]](size)
    if "*" in expression:
        product = 1
        for factor in expression.split("*"):
            product *= _number(evaluate(factor, symbols, attributes), expression)
        return product
    if expression.endswith("+1"):
        return _plus_one(evaluate(expression.removesuffix("+1"), symbols, attributes))
    if expression.isdigit():
        return int(expression)
    if expression in attributes:
        return int(attributes[expression])
    if expression in symbols:
        return symbols[expression]
    raise ShapeError(f"nothing gives the size {expression}")


def pad64(size: int) -> int:
    """`size` rounded up to a multiple of 64: the columns of a row of digits."""
    return (size + 63) // 64 * 64


def blocks(columns: int) -> int:
    """Blocks of 64 columns of a row, at least one: see `row_statistics`."""
    return max(1, pad64(columns) // 64)


def carry_words(columns: int) -> int:
    """int32 words of a row of `carries`: four counts, one index per group of four of the padded columns, and one word
    more per padding column, so that no two K give digits of the same shapes: `digit_columns` has the way back."""
    return 4 + pad64(columns) // 4 + pad64(columns) - columns


_FUNCTIONS = {"pad64": pad64, "carryWords": carry_words, "blocks": blocks}


def digit_columns(padded: Dimension | None, words: int) -> int | None:
    """K of digits whose rows are `padded` columns and `words` of `carries`; None where no K has these."""
    if not isinstance(padded, int):
        return None
    columns = padded - (words - 4 - padded // 4)
    return columns if columns >= 0 and (pad64(columns), carry_words(columns)) == (padded, words) else None


def _number(size: Dimension, expression: str) -> int:
    if isinstance(size, int):
        return size
    raise ShapeError(f"{expression} needs a fixed size, but a step brings {size}")


def _minus_one(size: Dimension) -> Dimension:
    if isinstance(size, int):
        if size < 1:
            raise ShapeError("an array of starts has one element more than sequences, so at least one")
        return size - 1
    if not size.endswith("+1"):
        raise ShapeError(f"expected a size one larger than another, got {size}")
    return size.removesuffix("+1")


def _plus_one(size: Dimension) -> Dimension:
    if isinstance(size, int):
        return size + 1
    if size not in ("S", "B"):
        raise ShapeError(f"{size}+1 is not a size that a step brings")
    return f"{size}+1"
