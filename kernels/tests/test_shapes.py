"""Dimension expressions: what they mean, and that no program's sizes get past them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octavo_kernels.generated.ops import OPS, SIZES
from octavo_kernels.program.shapes import ShapeError, bind, carry_words, digit_columns, evaluate, pad64
from octavo_kernels.program.spec import resolve

_SIZE = st.integers(0, 1 << 20)


@given(_SIZE)
def test_pad64_is_the_next_multiple_of_64(size: int):
    padded = pad64(size)
    assert padded % 64 == 0 and size <= padded < size + 64 and evaluate("pad64(K)", {"K": size}, {}) == padded


@given(_SIZE)
def test_carry_words_hold_four_counts_and_every_group_of_four(columns: int):
    assert carry_words(columns) == evaluate("carryWords(K)", {"K": columns}, {})
    assert carry_words(columns) >= 4 + -(-columns // 4)


@given(_SIZE, _SIZE)
def test_digits_of_one_width_never_have_the_shapes_of_another(columns: int, other: int):
    assert digit_columns(pad64(columns), carry_words(columns)) == columns
    if other != columns:
        assert (pad64(other), carry_words(other)) != (pad64(columns), carry_words(columns))


@given(st.integers(0, 400), st.integers(0, 400))
def test_shapes_that_no_digits_have_give_no_width(padded: int, words: int):
    columns = digit_columns(padded, words)
    assert columns is None or (pad64(columns), carry_words(columns)) == (padded, words)


def test_the_width_of_digits_follows_from_their_shapes():
    symbols: dict = {}
    for expressions, shape in ((["T", "pad64(K)"], ["T", 64]), (["T", "carryWords(K)"], ["T", carry_words(3)])):
        bind(symbols, {}, expressions, shape)
    assert symbols["K"] == 3


@given(_SIZE, _SIZE, _SIZE)
def test_products_multiply_symbols_attributes_and_numbers(a: int, b: int, c: int):
    assert evaluate("A*heads*3", {"A": a}, {"heads": b}) == 3 * a * b
    assert evaluate("A*B*C", {"A": a, "B": b, "C": c}, {}) == a * b * c
    assert evaluate("pad64(A*B)", {"A": a, "B": b}, {}) == pad64(a * b)


@given(_SIZE)
def test_one_more_than_a_size(size: int):
    symbols: dict = {}
    bind(symbols, {}, ["B+1"], [size + 1])
    assert symbols == {"B": size} and evaluate("B+1", symbols, {}) == size + 1


def test_sizes_of_a_step_stay_symbols():
    symbols: dict = {}
    bind(symbols, {}, ["T", "B+1", "K"], ["T", "S+1", 5])
    assert symbols == {"T": "T", "B": "S", "K": 5}
    assert evaluate("T", symbols, {}) == "T" and evaluate("B+1", symbols, {}) == "S+1"


def test_the_first_size_of_a_symbol_stays():
    symbols: dict = {"K": 5}
    bind(symbols, {}, ["K"], [6])
    assert symbols == {"K": 5}


@pytest.mark.parametrize(
    ("expression", "symbols"),
    [
        ("pad64(K)", {"K": "T"}),
        ("T*2", {"T": "T"}),
        ("K", {}),
        ("T+1", {"T": "T"}),
        ("B+1", {"B": "B+1"}),
    ],
)
def test_no_arithmetic_with_sizes_of_a_step(expression: str, symbols: dict):
    with pytest.raises(ShapeError):
        evaluate(expression, symbols, {})


@pytest.mark.parametrize("size", [0, "T"])
def test_starts_have_one_element_more_than_sequences(size: int | str):
    with pytest.raises(ShapeError):
        bind({}, {}, ["B+1"], [size])


@given(st.fixed_dictionaries({name: _SIZE for name in SIZES}))
def test_shapes_resolve_to_the_sizes_of_the_step(sizes: dict[str, int]):
    shape = ("T", 7, "B+1", "S+1", "J")
    assert resolve(shape, sizes) == (sizes["T"], 7, sizes["B"] + 1, sizes["S"] + 1, sizes["J"])


@pytest.mark.parametrize("op", OPS)
def test_every_shape_of_the_table_can_be_evaluated(op: str):
    table = OPS[op]
    attributes = {name: 4 for name, attribute in table.attributes.items() if attribute.type == "integer"}
    symbols: dict = {}
    for operand in table.inputs.values():
        bind(symbols, attributes, operand.shape, [9] * len(operand.shape))
    for operand in (*table.inputs.values(), *table.outputs.values()):
        assert all(isinstance(evaluate(size, symbols, attributes), int) for size in operand.shape)
