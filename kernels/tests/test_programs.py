"""Programs that the families wrote, on the CPU against the definitions; and what reads them. If these fail, what the
proofs prove is another program than the one that users run."""

from __future__ import annotations

from pathlib import Path

import pytest
from octavo_kernels import Arena, Backend, Columns, Handle, Input, Operation, Value
from proofs.gpu_check import programs
from proofs.programs import file, folder

#: Two rows halves of which are added, as `exportProgram` writes it.
SAMPLE = {
    "format": "octavo-program",
    "version": 2,
    "model": {"path": "sample", "family": "none", "architecture": "None"},
    "options": {"threshold": 0},
    "limits": {"T": 4, "S": 0, "B": 0, "J": 0, "H": 0, "D": 0, "Q": 0},
    "arenaBytes": 64,
    "values": [
        {
            "label": "x",
            "dtype": "float32",
            "layout": "plain",
            "shape": ["T", 4],
            "place": {"type": "input", "name": "x"},
        },
        {
            **{"label": "half", "dtype": "float32", "layout": "plain", "shape": ["T", 2]},
            "place": {"type": "columns", "of": 0, "column": 2},
        },
        {
            **{"label": "w", "dtype": "float32", "layout": "plain", "shape": [2, 2]},
            "place": {"type": "parameter", "name": "w"},
        },
        {
            **{"label": "y", "dtype": "float32", "layout": "plain", "shape": ["T", 2]},
            "place": {"type": "intermediate", "offset": 0},
        },
    ],
    "ops": [
        {
            **{"op": "add", "label": "model.layers.0.residual", "attributes": {}},
            **{"inputs": {"a": 1, "b": 1}, "outputs": {"y": 3}},
        }
    ],
    "inputs": [0],
    "outputs": [{"name": "sum", "value": 3}],
    "parameters": [
        {"name": "w", "dtype": "float32", "layout": "plain", "shape": [2, 2], "source": {"type": "state", "kind": "io"}}
    ],
}


def test_a_file_is_the_program_that_a_worker_would_be_sent():
    read = file.program(SAMPLE, "sample")
    assert read.spec.values == (
        Value("float32", "plain", ("T", 4), Input()),
        Value("float32", "plain", ("T", 2), Columns(0, 2)),
        Value("float32", "plain", (2, 2), Handle(1)),
        Value("float32", "plain", ("T", 2), Arena(0)),
    )
    assert read.spec.ops == (Operation("add", {"a": 1, "b": 1}, {"y": 3}, {}),)
    assert (read.spec.inputs, read.spec.outputs, read.spec.limits["T"]) == ((0,), (3,), 4)
    assert (read.inputs, read.outputs, read.labels) == ({"x": 0}, {"sum": 3}, ["model.layers.0.residual"])
    assert read.handle("w") == 1


def test_another_version_is_refused_by_name():
    with pytest.raises(ValueError, match=r"sample is \('octavo-program', 1\)"):
        file.program({**SAMPLE, "version": 1}, "sample")


def test_without_node_and_folder_the_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "FOLDER", tmp_path)
    monkeypatch.setattr(folder, "_NODE", tmp_path / "none")
    folder._folder.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match=r"no exported program tiny-llama, .*proofs\.programs\.folder"):
            folder.path("tiny-llama")
    finally:
        folder._folder.cache_clear()


@pytest.mark.parametrize("name", programs.programs())
def test_what_a_family_wrote_answers_on_the_cpu_as_the_reference(name: str, cpu: Backend, reference: Backend):
    assert programs.differs_from_reference(cpu, reference, folder.exported(name), programs.STEPS) == []
