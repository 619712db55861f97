"""A user would lose: answers drawn as he asked, that come again with the same seed, whoever else is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from one_op import cpu, every_cpu, reference, run, same_bits

LOGPROBS = 20


@dataclass
class Rows:
    """Rows to sample, with neutral settings unless given."""

    logits: np.ndarray
    temperature: float = 0
    top_p: float = 1
    min_p: float = 0
    penalties: tuple[float, float, float] = (1, 0, 0)
    top_k: int = 0
    seed: int = 7
    wanted: int = -1
    history: Sequence[Sequence[int]] = ()
    before: Sequence[int] | int = 0
    bias: Sequence[dict[int, float]] = ()
    allowed: Sequence[Sequence[int] | None] = ()
    sampled: Sequence[int] = ()
    positions: np.ndarray | None = None
    words: int = field(init=False)

    def __post_init__(self) -> None:
        self.words = -(-self.logits.shape[1] // 32)

    def inputs(self) -> dict[str, np.ndarray]:
        rows = self.logits.shape[0]
        history = list(self.history) or [()] * rows
        bias = list(self.bias) or [{}] * rows
        allowed = list(self.allowed) or [None] * rows
        masks = np.zeros((rows, self.words), np.int32)
        for s, ids in enumerate(allowed):
            bits = np.zeros(self.words * 32, bool)
            bits[list(ids or ())] = True
            masks[s] = np.packbits(bits, bitorder="little").view(np.int32)
        counters = np.zeros((rows, 7), np.int32)
        counters[:, 0], counters[:, 1], counters[:, 2], counters[:, 4] = self.top_k, self.seed, -3, self.wanted
        counters[:, 3] = np.arange(rows) if self.positions is None else self.positions
        counters[:, 5] = [-1 if ids is None else s for s, ids in enumerate(allowed)]
        counters[:, 6] = self.before
        sampled = np.zeros(rows + len(self.sampled), np.int32)
        sampled[: len(self.sampled)] = self.sampled
        return {
            "logits": self.logits.astype(np.float32),
            "settings": np.tile(
                np.array([self.temperature, self.top_p, self.min_p, *self.penalties], np.float32), (rows, 1)
            ),
            "counters": counters,
            "historyStarts": np.cumsum([0, *map(len, history)]).astype(np.int32),
            "history": np.array([i for ids in history for i in ids], np.int32),
            "biasStarts": np.cumsum([0, *map(len, bias)]).astype(np.int32),
            "biasIds": np.array([i for row in bias for i in row], np.int32),
            "biasValues": np.array([v for row in bias for v in row.values()], np.float32),
            "masks": masks,
            "sampled": sampled,
        }

    def sample(self, backend=None) -> dict[str, np.ndarray]:
        rows = self.logits.shape[0]
        outputs = {"ids": (rows,), "logprob": (rows,), "topIds": (rows, LOGPROBS), "topLogprobs": (rows, LOGPROBS)}
        return run(backend or cpu(2), "sample", self.inputs(), outputs, maskWords=self.words)

    def ids(self) -> list[int]:
        return self.sample()["ids"].tolist()


def logits_like_a_model(rows: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    """Few likely ids, a long tail."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, vocabulary)) * 2.5 + rng.exponential(1.5, (rows, vocabulary))).astype(np.float32)


DRAWS = {
    "greedy": {},
    "temperature": {"temperature": 0.8},
    "hot": {"temperature": 50.0},
    "cold": {"temperature": 0.01},
    "top-k": {"temperature": 1.0, "top_k": 7},
    "large top-k": {"temperature": 2.0, "top_k": 900},
    "as the model": {"temperature": 1.0},
    "top-p of the model's own": {"temperature": 1.0, "top_p": 0.95},
    "top-p": {"temperature": 0.9, "top_p": 0.8},
    "min-p": {"temperature": 1.2, "min_p": 0.05},
    "all of them": {"temperature": 1.5, "top_k": 100, "top_p": 0.9, "min_p": 0.01},
    "top-p and min-p": {"temperature": 1.5, "top_p": 0.97, "min_p": 0.001},
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("vocabulary", [1, 40, 1000, 30011])
def test_draws_what_the_definition_draws_on_every_instruction_set_and_team(name, vocabulary):
    rows = Rows(logits_like_a_model(20, vocabulary), wanted=5, **DRAWS[name])
    expected = rows.sample(reference())
    results = [rows.sample(backend) for backend in every_cpu()]
    assert all(same_bits(result, results[0]) for result in results)
    # A draw differs where u falls within a rounding of a boundary: for none of these fixed numbers.
    for output in ("ids", "topIds", "sampled"):
        assert np.array_equal(results[0][output], expected[output])
    for output in ("logprob", "topLogprobs"):
        assert np.array_equal(np.isnan(results[0][output]), np.isnan(expected[output]))
        # As the nll of `score`: (4 + 32) 2^-24 of the sum, and the result, below 64, rounded.
        assert np.nanmax(np.abs(results[0][output] - expected[output])) <= 36 * 2**-24 + 64 * 2**-24


def test_a_row_does_not_depend_on_the_other_rows():
    logits = logits_like_a_model(9, 5000)
    together = Rows(logits, temperature=1.0, positions=np.arange(9)).sample()
    for s in range(9):
        alone = Rows(logits[s : s + 1], temperature=1.0, positions=np.array([s])).sample()
        assert alone["ids"][0] == together["ids"][s]


def chi_square_bound(degrees: int) -> float:
    """Passed by chance with a probability below 1e-9: Laurent and Massart (2000), lemma 1, x = ln 1e9."""
    x = np.log(1e9)
    return degrees + 2 * np.sqrt(degrees * x) + 2 * x


@pytest.mark.parametrize(
    ("name", "kept"),
    [("temperature", 12), ("hot", 12), ("top-k", 7), ("top-p", None), ("min-p", None), ("all of them", None)],
)
def test_frequencies_are_the_probabilities(name, kept):
    count, settings = 20000, DRAWS[name]
    row = np.random.default_rng(3).standard_normal(12).astype(np.float32) * 1.5
    weights = np.exp(row.astype(np.float64) / settings["temperature"])
    order = np.argsort(-row)
    limit = min(settings.get("top_k") or 12, 12)
    p = weights[order][:limit] / weights[order][:limit].sum()
    before = np.cumsum(p) - p
    keep = (before < settings.get("top_p", 1)) & (p >= settings.get("min_p", 0) * p[0])
    assert kept is None or keep.sum() == kept
    p = p[keep] / p[keep].sum()
    drawn = Rows(np.tile(row, (count, 1)), **settings).sample()["ids"]
    seen = np.bincount(drawn, minlength=12)[order]
    assert seen[len(p) :].sum() == 0
    statistic = ((seen[: len(p)] - count * p) ** 2 / (count * p)).sum()
    assert statistic < chi_square_bound(len(p) - 1)


def test_draws_of_a_large_vocabulary_follow_the_distribution_into_the_tail():
    # 4 ids with half of the mass, 65532 with the other half: most draws go beyond the first candidates.
    vocabulary, count = 65536, 400
    row = np.zeros(vocabulary, np.float32)
    row[100:104] = np.log((vocabulary - 4) / 4)
    drawn = Rows(np.tile(row, (count, 1)), temperature=1.0).sample()["ids"]
    likely = ((drawn >= 100) & (drawn < 104)).sum()
    # Six deviations of a binomial of 400 at one half, which is 10.
    assert abs(likely - count / 2) <= 60
    assert len(set(drawn.tolist())) > count / 2 - 60


def test_the_same_seed_and_position_draw_the_same_again_and_others_do_not():
    logits = np.zeros((1, 50000), np.float32)
    draw = {
        (seed, position): Rows(logits, 1.0, seed=seed, positions=np.array([position])).ids()[0]
        for seed in (1, 2)
        for position in (0, 1)
    }
    assert len(set(draw.values())) == 4
    assert Rows(logits, 1.0, seed=2, positions=np.array([1])).ids()[0] == draw[2, 1]


def test_greedy_takes_the_lowest_id_on_ties():
    logits = np.full((1, 100), -1, np.float32)
    logits[0, [30, 70, 99]] = 5
    assert Rows(logits).ids() == [30]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nothing_is_drawn_from_numbers_that_are_none(temperature: float):
    logits = np.full((5, 100), -1, np.float32)
    logits[0, :99] = np.nan
    logits[1, 17] = np.inf
    logits[2, 99] = -np.inf
    logits[3] = np.nan
    logits[4, 40] = 90
    assert Rows(logits, temperature).ids() == [-1, -1, -1, -1, 40]


@pytest.mark.parametrize("temperature", [1e-5, 1e-3, 1.0])
def test_logits_that_a_temperature_makes_infinite_leave_the_largest(temperature: float):
    logits = np.zeros((1, 100), np.float32)
    logits[0, [30, 31]] = 3e38, 2e38
    assert Rows(logits, temperature).ids() == [30]


def test_top_k_takes_the_lowest_ids_on_ties():
    logits = np.zeros((300, 64), np.float32)
    assert set(Rows(logits, 1.0, top_k=3).ids()) == {0, 1, 2}
    assert set(Rows(np.zeros((2000, 600), np.float32), 1.0, top_k=300).ids()) <= set(range(300))


def test_a_large_top_k_is_cut_where_the_definition_cuts_it_whatever_the_logits_are():
    rng = np.random.default_rng(5)
    shapes = {
        "few values, each of many ids": rng.integers(-4, 4, (6, 20000)).astype(np.float32),
        "one far above the others": np.where(np.arange(20000) == 777, 30, rng.standard_normal((6, 20000)) * 1e-3),
        "less than top-k with any weight": np.where(np.arange(20000) < 290, rng.standard_normal((6, 20000)), -200),
        "all equal": np.full((6, 20000), -3.0),
        "very large": rng.standard_normal((6, 20000)) * 1e30,
    }
    for name, logits in shapes.items():
        for top_k in (257, 300, 5000, 19999):
            rows = Rows(logits.astype(np.float32), temperature=1.5, top_k=top_k, positions=np.arange(6))
            expected = rows.sample(reference())["ids"]
            assert all(np.array_equal(rows.sample(cpu(2, isa))["ids"], expected) for isa in cpu().isas), (name, top_k)


def test_greedy_finds_the_largest_wherever_it_is():
    for vocabulary in (1, 15, 16, 17, 63, 64, 65, 127, 200):
        logits = np.full((vocabulary, vocabulary), -1.0, np.float32)
        np.fill_diagonal(logits, 2.0)
        for isa in cpu().isas:
            assert Rows(logits).sample(cpu(1, isa))["ids"].tolist() == list(range(vocabulary))


def test_top_p_keeps_the_smallest_set_that_reaches_it_and_at_least_one():
    row = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    logits = np.tile(row, (400, 1))
    assert set(Rows(logits, 1.0, top_p=0.0).ids()) == {0}
    assert set(Rows(logits, 1.0, top_p=0.45).ids()) == {0}
    assert set(Rows(logits, 1.0, top_p=0.6).ids()) == {0, 1}
    assert set(Rows(logits, 1.0, top_p=0.85).ids()) == {0, 1, 2}
    # Of the two that top-k leaves the first has two thirds.
    assert set(Rows(logits, 1.0, top_k=2, top_p=0.6).ids()) == {0}


def test_min_p_is_relative_to_the_likeliest():
    logits = np.tile(np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32)), (400, 1))
    assert set(Rows(logits, 1.0, min_p=0.4).ids()) == {0, 1}
    assert set(Rows(logits, 1.0, min_p=1.0).ids()) == {0}


def test_bias_penalties_and_masks_come_in_this_order():
    logits = np.zeros((1, 40), np.float32)
    logits[0, [3, 4, 5]] = 4, 3.9, -1
    assert Rows(logits, bias=[{4: 0.2}]).ids() == [4]
    assert Rows(logits, bias=[{9: 100}], allowed=[[3, 4]]).ids() == [3]
    # 4 / 1.1 is less than 3.9; a bias that comes first is divided with the logit.
    assert Rows(logits, history=[[3]], penalties=(1.1, 0, 0)).ids() == [4]
    assert Rows(logits, history=[[3]], penalties=(1.1, 0, 0), bias=[{3: 0.4}]).ids() == [3]
    assert Rows(logits, history=[[3]], penalties=(1, 0.2, 0)).ids() == [4]
    # Presence counts an id once, frequency each time.
    assert Rows(logits, history=[[3, 3, 3]], penalties=(1, 0.05, 0)).ids() == [3]
    assert Rows(logits, history=[[3, 3, 3]], penalties=(1, 0, 0.05)).ids() == [4]
    # Neither counts what comes before the answer; repetition does.
    assert Rows(logits, history=[[3]], before=1, penalties=(1, 0.2, 0)).ids() == [3]
    assert Rows(logits, history=[[3, 3, 3]], before=2, penalties=(1, 0, 0.05)).ids() == [3]
    assert Rows(logits, history=[[3, 3, 3]], before=1, penalties=(1, 0, 0.06)).ids() == [4]
    assert Rows(logits, history=[[3]], before=1, penalties=(1.1, 0, 0)).ids() == [4]
    # What is negative is multiplied: it falls too.
    low = np.full((1, 3), -1, np.float32)
    assert Rows(low, history=[[0, 1]], penalties=(1.5, 0, 0)).ids() == [2]


def test_every_adjustment_together_is_as_defined():
    rng = np.random.default_rng(8)
    rows = Rows(
        logits_like_a_model(12, 3000),
        temperature=0.7,
        penalties=(1.3, 0.25, 0.125),
        wanted=20,
        history=[rng.integers(-3, 3000, 200).tolist() for _ in range(12)],
        before=rng.integers(0, 201, 12).tolist(),
        bias=[{int(i): float(i % 7) for i in rng.integers(0, 3000, 5)} for _ in range(12)],
        allowed=[None, *(rng.permutation(3000)[:1500].tolist() for _ in range(11))],
        sampled=[5, 6, 7],
    )
    expected = rows.sample(reference())
    for backend in every_cpu():
        result = rows.sample(backend)
        assert np.array_equal(result["ids"], expected["ids"])
        assert np.array_equal(result["topIds"], expected["topIds"])


def test_history_means_what_was_drawn_in_the_step_before():
    logits = np.zeros((3, 30), np.float32)
    logits[:, 11], logits[:, 12] = 2, 1
    rows = Rows(logits, penalties=(1, 5, 0), history=[[-2], [-2], [-2]], sampled=[0, 11, 0])
    result = rows.sample()
    assert result["ids"].tolist() == [12, 12, 12]
    assert result["sampled"].tolist()[:3] == [12, 12, 12]


def test_logprobs_are_of_the_unmodified_logits_and_filled_up():
    logits = np.log(np.array([[0.5, 0.25, 0.25]], np.float32))
    result = Rows(logits, bias=[{2: 9}], wanted=5).sample()
    assert result["ids"].tolist() == [2]
    assert np.allclose(result["logprob"], np.log(0.25), atol=1e-6)
    assert result["topIds"][0].tolist() == [0, 1, 2] + [-1] * 17
    assert np.isnan(result["topLogprobs"][0, 3:]).all()
    silent = Rows(logits).sample()
    assert np.isnan(silent["logprob"]).all()
    assert np.isnan(silent["topLogprobs"]).all()


def test_no_rows():
    assert Rows(np.zeros((0, 9), np.float32)).sample()["ids"].shape == (0,)
