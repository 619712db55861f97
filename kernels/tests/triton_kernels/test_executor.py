"""Whole programs by the executor of the CUDA backend, in Triton's interpreter: what a model on a GPU would answer."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import opened
from octavo_kernels import Arena, Input, KernelError, Operation, ProgramSpec, Value, open_group
from octavo_kernels.generated.ops import SIZES
from octavo_kernels.tensor import aligned_bytes
from octavo_kernels.triton.backend import TritonBackend
from proofs.gpu_check import programs
from proofs.gpu_check.programs import SHORT_STEPS, STEPS, llama
from proofs.programs.folder import exported
from proofs.programs.runner import Runner
from proofs.programs.steps import Row

from .replaying import ReplayingDevice

#: Rows of `sampled`, and tokens of the tiny models.
SEQUENCES, VOCABULARY = 6, 300


def interpreted() -> Runner:
    return Runner(opened("triton-interpreter"), llama())


@pytest.mark.parametrize("name", programs.programs())
def test_what_a_family_wrote_answers_as_the_reference(name: str):
    backend, reference = opened("triton-interpreter"), opened("reference")
    assert programs.differs_from_reference(backend, reference, exported(name), SHORT_STEPS) == []


def test_a_captured_step_answers_as_the_definition_says():
    device = ReplayingDevice()
    assert programs.differs_from_reference(TritonBackend(device, 1), opened("reference"), llama(), STEPS) == []
    assert device.replays == 3  # Steps of two rows, then of one: each size was met once before.


def test_a_captured_step_has_the_bits_of_the_eager_one():
    assert programs.differs_when_captured(TritonBackend(ReplayingDevice(), 1)) == []


def test_what_lies_between_gathers_is_captured():
    """Ranks meet on the host, between graphs; rows beyond the step's stay at home."""
    device = ReplayingDevice()
    backend, group = TritonBackend(device, 1), open_group(aligned_bytes(1 << 16), 0, 1, 1000)

    def value(number: int) -> Value:
        return Value("float32", "plain", ("T", 4), Arena(64 * number) if number else Input())

    ops = []
    for x in (0, 2):
        ops.append(Operation("gather", {"x": x}, {"y": x + 1}, {"columns": 4}))
        ops.append(Operation("add", {"a": x + 1, "b": 0}, {"y": x + 2}))
    limits = {**dict.fromkeys(SIZES, 0), "T": 4}
    spec = ProgramSpec(tuple(map(value, range(5))), tuple(ops), (0,), (4,), limits)
    program = backend.define(spec, {}, backend.allocate("int8", "plain", (64 * 5,)), group=group)
    assert list(program.launches) == [0, 1, 0, 1]
    for step, rows in enumerate((3, 3, 4, 3)):  # of a capacity of four
        x = np.random.default_rng(step).standard_normal((rows, 4)).astype(np.float32)
        reply, _ = program.step({**limits, "T": rows}, memoryview(x.tobytes()))
        assert (reply.view(np.float32).reshape(rows, 4) == x + x + x).all()
        assert device.replays == 3 * step
    program.close()
    group.close()


def test_a_row_has_the_same_bits_alone_in_any_batch_and_in_chunks():
    assert programs.differs_in_a_batch(opened("triton-interpreter")) == []


def test_an_id_that_means_a_drawn_one_is_checked_against_what_was_drawn():
    runner = interpreted()
    backend, sampled = opened("triton-interpreter"), runner.tensors[llama().handle("sampled")]
    runner.step(Row((1, 2), 0, (1,)))
    with pytest.raises(KernelError, match=f"accepted: {-SEQUENCES}"):
        runner.step(Row((-SEQUENCES - 1,), 2, (1,)))
    wrong = np.full(SEQUENCES, VOCABULARY, np.int32).view(np.uint8)
    backend.write(sampled, 0, wrong.size, lambda memory: np.copyto(memory, wrong))
    with pytest.raises(KernelError, match=f"means the sampled id {VOCABULARY} of {VOCABULARY}"):
        runner.step(Row((-1,), 2, (1,)))
    exposed = backend.expose(sampled)
    exposed[:] = 0  # as a user's PyTorch function may
    runner.step(Row((-1,), 2, (1,)))


def test_a_profile_has_a_time_for_every_op():
    profile = np.full(len(llama().spec.ops), -1, np.int64)
    interpreted().step(Row((1, 2), 0, (1,)), profile=profile)
    assert (profile > 0).all()


def test_a_closed_program_is_refused():
    runner = interpreted()
    runner.executable.close()
    runner.executable.close()
    with pytest.raises(KernelError) as refused:
        runner.step(Row((1,), 0, (1,)))
    assert refused.value.code == "OCTAVO_DISPOSED"
