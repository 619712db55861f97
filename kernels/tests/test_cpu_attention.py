"""A user would lose: answers that are right, and that stay the same whoever else is served at the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from one_op import cpu, every_cpu, reference, run, same_bits
from proofs.conformance.paging import quantized


@dataclass
class Sequences:
    """`(keys, queries)` of each sequence, in scattered pages."""

    lengths: list[tuple[int, int]]
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    kv: str = "int16"
    alibi: bool = False
    #: Distances that a bias knows; 0 is none.
    distances: int = 0
    causal: bool = True
    seed: int = 0
    window: int = 0
    softcap: float = 0

    def inputs(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        used = [-(-keys // 16) for keys, _ in self.lengths]
        numbers = rng.permutation(sum(used) + 3)
        pages = np.full((len(used), max([1, *used])), -1, np.int32)
        for b, count in enumerate(used):
            pages[b, :count] = numbers[sum(used[:b]) :][:count]
        rows = sum(queries for _, queries in self.lengths)
        k, v = rng.standard_normal((2, numbers.size, self.kv_heads, 16, self.head_dim)).astype(np.float32)
        return {
            "q": rng.standard_normal((rows, self.heads * self.head_dim)).astype(np.float32),
            **quantized(k, v, self.kv),
            "pages": pages,
            "lengths": np.array([keys for keys, _ in self.lengths], np.int32),
            "starts": np.cumsum([0, *(queries for _, queries in self.lengths)]).astype(np.int32),
            **({"slopes": rng.random(self.heads).astype(np.float32)} if self.alibi else {}),
            **({"bias": self._bias(rng)} if self.distances else {}),
        }

    def _bias(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((self.heads, self.distances)).astype(np.float32)

    def attend(self, backend, inputs, places: str = "step") -> np.ndarray:
        return run(
            backend,
            "attention",
            inputs,
            {"y": inputs["q"].shape},
            places,
            heads=self.heads,
            kvHeads=self.kv_heads,
            headDim=self.head_dim,
            scale=self.head_dim**-0.5,
            causal=self.causal,
            window=self.window,
            softcap=self.softcap,
        )["y"]


CASES = {
    "one key": Sequences([(1, 1)]),
    "decode, long": Sequences([(700, 1)]),
    "decode, batch": Sequences([(300, 1), (1, 1), (256, 1), (257, 1), (127, 1), (128, 1), (129, 1)]),
    "prefill": Sequences([(290, 290)], heads=3, kv_heads=1, head_dim=16),
    "chunked prefill": Sequences([(530, 20)]),
    "mixed": Sequences([(5, 5), (40, 3), (300, 1), (0, 0), (17, 17)]),
    "every head its own keys": Sequences([(270, 9)], heads=4, kv_heads=4),
    "8-bit pages": Sequences([(300, 9)], heads=8, kv_heads=1, head_dim=80, kv="int8"),
    "8-bit pages, decode": Sequences([(700, 1), (20, 1)], kv="int8"),
    "both directions": Sequences([(300, 300), (20, 20)], heads=3, kv_heads=1, head_dim=16, causal=False),
    "both directions, window": Sequences([(300, 40)], causal=False, window=70),
    "bias by distance": Sequences([(300, 30), (5, 5)], distances=33),
    "bias by distance, both directions": Sequences([(140, 140)], heads=2, distances=64, causal=False, softcap=4.0),
    "odd head": Sequences([(33, 33)], heads=2, kv_heads=1, head_dim=50),
    "window": Sequences([(700, 50), (90, 7)], window=100),
    "narrow window": Sequences([(700, 1), (90, 7)], window=5),
    "alibi": Sequences([(300, 30)], alibi=True),
    "wide head": Sequences([(20, 3)], heads=2, kv_heads=1, head_dim=256),
    # More than 48 rows of a kv head: digits, where there are tiles.
    "many rows": Sequences([(300, 150), (70, 70), (257, 17)], heads=6, kv_heads=2, head_dim=64),
    "many rows, 8-bit pages": Sequences([(290, 90)], heads=4, kv_heads=1, head_dim=96, kv="int8"),
    "many rows, short head": Sequences([(300, 90)], heads=20, kv_heads=1, head_dim=16),
    "many rows, odd head": Sequences([(180, 100)], heads=2, kv_heads=1, head_dim=50),
    "many rows, wide head, 8-bit pages": Sequences([(150, 70)], heads=2, kv_heads=2, head_dim=256, kv="int8"),
    "many rows, window": Sequences([(500, 120)], heads=3, kv_heads=1, head_dim=80, window=100),
    "many rows, both directions": Sequences([(200, 200)], heads=2, kv_heads=1, head_dim=128, causal=False, window=150),
    "many rows, alibi and softcap": Sequences([(200, 60)], heads=3, kv_heads=1, head_dim=80, alibi=True, softcap=3.0),
    "many query heads": Sequences([(400, 2), (300, 1)], heads=71, kv_heads=1, head_dim=64),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_definition_on_every_instruction_set_and_team(name):
    case = CASES[name]
    inputs = case.inputs()
    expected = case.attend(reference(), inputs)
    for backend in every_cpu():
        assert same_bits({"y": case.attend(backend, inputs)}, {"y": expected}), (backend.isa, backend.threads)


def test_rows_may_be_columns_of_a_wider_value():
    case = CASES["mixed"]
    inputs = case.inputs()
    assert np.array_equal(case.attend(cpu(2), inputs, "columns"), case.attend(cpu(2), inputs))


def test_softcap_equals_the_definition_on_every_instruction_set():
    case = Sequences([(300, 5)], softcap=3.0)
    inputs = case.inputs()
    expected = case.attend(reference(), inputs)
    assert all(np.array_equal(case.attend(backend, inputs), expected) for backend in every_cpu())


def test_a_sequence_alone_and_in_a_batch_is_the_same():
    batch = Sequences([(300, 1), (520, 1), (64, 64), (3, 2)], head_dim=16)
    inputs = batch.inputs()
    together = batch.attend(cpu(2), inputs)
    starts = inputs["starts"]
    for b in range(len(batch.lengths)):
        own = {
            **inputs,
            "q": inputs["q"][starts[b] : starts[b + 1]],
            "pages": inputs["pages"][b : b + 1],
            "lengths": inputs["lengths"][b : b + 1],
            "starts": np.array([0, starts[b + 1] - starts[b]], np.int32),
        }
        assert np.array_equal(batch.attend(cpu(2), own), together[starts[b] : starts[b + 1]])


@pytest.mark.parametrize("cut", [1, 7, 100, 256])
@pytest.mark.parametrize("window", [0, 60])
def test_a_prompt_in_pieces_is_the_same(cut, window):
    whole = Sequences([(330, 330)], heads=3, kv_heads=1, head_dim=16, window=window)
    inputs = whole.inputs()
    expected = whole.attend(cpu(2), inputs)
    for first in range(0, 330, cut) if cut > 1 else (0, 1, 255, 256, 329):
        end = min(first + cut, 330)
        piece = {
            **inputs,
            "q": inputs["q"][first:end],
            "lengths": np.array([end], np.int32),
            "starts": np.array([0, end - first], np.int32),
        }
        assert np.array_equal(whole.attend(cpu(2), piece), expected[first:end])


def test_pages_may_lie_anywhere():
    case = Sequences([(300, 20), (40, 1)])
    inputs = case.inputs()
    expected = case.attend(cpu(2), inputs)
    order = np.random.default_rng(5).permutation(inputs["keys"].shape[0])
    moved = dict(inputs)
    for name in ("keys", "values", "steps"):
        moved[name] = np.empty_like(inputs[name])
        moved[name][order] = inputs[name]
    moved["pages"] = np.where(inputs["pages"] < 0, -1, order[inputs["pages"]]).astype(np.int32)
    assert np.array_equal(case.attend(cpu(2), moved), expected)


@pytest.mark.parametrize("queries", [1, 40])
def test_what_lies_behind_a_sequence_and_later_keys_do_not_matter(queries):
    case = Sequences([(300, queries)])
    inputs = case.inputs()
    expected = case.attend(cpu(2), inputs)
    last = inputs["pages"][0, 299 // 16]
    beyond = [place for offset in range(300 % 16, 16) for place in (offset, 16 + offset)]
    inputs["steps"][last][:, beyond] = np.nan
    assert np.array_equal(case.attend(cpu(2), inputs), expected)
    # The last key becomes unusable: only the last query, which sees it, loses its answer.
    inputs["steps"][last, :, 16 + 299 % 16] = np.nan
    spoilt = case.attend(cpu(2), inputs)
    assert np.isnan(spoilt[-1]).all()
    assert np.array_equal(spoilt[:-1], expected[:-1])


def test_keys_that_no_float_can_weigh_give_nan_for_their_row_only():
    case = Sequences([(20, 2), (20, 2)])
    inputs = case.inputs()
    expected = case.attend(reference(), inputs)
    inputs["q"][0] = np.inf
    for backend in every_cpu():
        y = case.attend(backend, inputs)
        assert np.isnan(y[0]).all()
        assert np.array_equal(y[1:], expected[1:])


@pytest.mark.parametrize("kv", ["int16", "int8"])
def test_integers_that_append_never_writes_harm_nobody_else(kv):
    """Their own sums may wrap, or lose what two digits of eight bits cannot hold."""
    case = Sequences([(300, 20), (700, 1)], head_dim=64, kv=kv)
    inputs = case.inputs()
    expected = case.attend(reference(), inputs)
    rng = np.random.default_rng(1)
    own = inputs["pages"][0, : -(-300 // 16)]
    for name in ("keys", "values"):
        raw = rng.integers(0, 256, inputs[name][own].nbytes, dtype=np.uint8)
        inputs[name][own] = raw.view(inputs[name].dtype).reshape(inputs[name][own].shape)
    for backend in every_cpu():
        y = case.attend(backend, inputs)
        assert np.isfinite(y).all()
        assert np.array_equal(y[20:], expected[20:])


@pytest.mark.parametrize("reach", [1e-3, 30.0, 1e6])
@pytest.mark.parametrize("spread", [0, 40, 70])
@pytest.mark.parametrize("queries", [3, 90])
def test_scores_and_values_far_apart_equal_the_definition(reach, spread, queries):
    """Logarithms below those that count for themselves, and values so large that the least weights still matter."""
    case = Sequences([(300, queries)], heads=3, kv_heads=1, head_dim=64)
    inputs = case.inputs()
    inputs["q"] *= reach
    far = np.random.default_rng(2).integers(-spread, spread + 1, (inputs["steps"].shape[0], 1, 16))
    inputs["steps"][..., 16:] *= np.exp2(far).astype(np.float32)
    expected = case.attend(reference(), inputs)
    for backend in every_cpu():
        assert np.array_equal(case.attend(backend, inputs), expected, equal_nan=True), (backend.isa, backend.threads)


def test_no_queries():
    case = Sequences([(0, 0), (40, 0)])
    assert case.attend(cpu(2), case.inputs()).shape == (0, case.heads * case.head_dim)
    assert case.attend(cpu(2), Sequences([]).inputs()).shape == (0, case.heads * case.head_dim)


def test_a_team_larger_than_the_machine_gives_the_same():
    case = CASES["mixed"]
    inputs = case.inputs()
    assert np.array_equal(case.attend(cpu(12), inputs), case.attend(cpu(1), inputs))
