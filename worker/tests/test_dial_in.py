"""Workers that somebody else starts. If these fail, one takes another's place, or a secret is read by others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from octavo_worker import arguments, connection_file, ranks
from octavo_worker.start import _device

CONTENT = {
    "octavo": 1,
    "url": "tcp://10.0.0.1:5555",
    "serverKey": "s" * 40,
    "publicKey": "p" * 40,
    "secretKey": "k" * 40,
    "token": "secret word",
    "device": "cuda:9",
    "backend": "cuda",
    "rank": 9,
    "ranks": 16,
    "heartbeatMs": 10000,
    "maxFrame": 1 << 30,
}
# As measured in worker processes; srun's and LeaderWorkerSet's as their documents say.
TORCHRUN = {"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "OMP_NUM_THREADS": "1"}
SRUN = {"SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_NTASKS": "16", "SLURM_JOB_ID": "77"}
MPIRUN = {"OMPI_COMM_WORLD_RANK": "9", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "8"}
LWS = {"LWS_WORKER_INDEX": "9", "LWS_GROUP_SIZE": "16", "LWS_LEADER_ADDRESS": "octavo-0.octavo.default"}
LAUNCHERS = {"torchrun": TORCHRUN, "srun": SRUN, "mpirun": MPIRUN, "LeaderWorkerSet": LWS}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*ranks.RANK, *ranks.LOCAL_RANK, *ranks.LOCAL_SIZE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def write(folder: Path, mode: int = 0o600, **change: Any) -> Path:
    path = folder / "worker-9.json"
    path.write_text(json.dumps({**CONTENT, **change}))
    path.chmod(mode)
    return path


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_each_launcher_tells_a_worker_its_file_and_its_device(
    launcher: str, tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    for name, value in LAUNCHERS[launcher].items():
        clean.setenv(name, value)
    assert connection_file.locate(tmp_path, None) == tmp_path / "worker-9.json"
    assert connection_file.locate(tmp_path, 3) == tmp_path / "worker-3.json"  # --rank
    assert _device(None, "cuda") == ("cuda:0" if launcher == "LeaderWorkerSet" else "cuda:1")


def test_the_first_launcher_counts_where_one_runs_inside_another(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    clean.setenv("SLURM_PROCID", "2")  # srun starts one torchrun per machine.
    clean.setenv("RANK", "17")
    assert connection_file.locate(tmp_path, None).name == "worker-17.json"
    clean.setenv("RANK", "")
    assert connection_file.locate(tmp_path, None).name == "worker-2.json"


def test_a_rank_that_is_no_number_or_is_not_there_is_named(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    with pytest.raises(connection_file.Unusable, match=r"RANK.*SLURM_PROCID.*LWS_WORKER_INDEX.*--rank"):
        connection_file.locate(tmp_path, None)
    for text in ("-1", "1.5", "../../etc", "\u0661"):
        clean.setenv("RANK", text)
        with pytest.raises(connection_file.Unusable, match="RANK is"):
            connection_file.locate(tmp_path, None)


def test_workers_of_one_machine_share_its_cpus(clean: pytest.MonkeyPatch) -> None:
    alone = ranks.threads_here(1)
    assert 1 <= alone <= (os.cpu_count() or 1)
    assert ranks.threads_here(2) == max(1, alone // 2)
    assert ranks.threads_here(1000) == 1


def test_a_device_of_another_kind_than_is_waited_for_is_refused() -> None:
    assert _device("cuda:3", "cuda") == "cuda:3"
    with pytest.raises(ValueError, match=r"cpu:0 is not of the kind.*cuda"):
        _device("cpu:0", "cuda")


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = connection_file.read(write(tmp_path))
    assert (found.url, found.token, found.device, found.rank) == ("tcp://10.0.0.1:5555", "secret word", "cuda:9", 9)
    assert connection_file.read(write(tmp_path), "tcp://host:1").url == "tcp://host:1"
    assert "secret" not in repr(found) and "k" * 40 not in repr(found)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o622, 0o666):
        with pytest.raises(connection_file.Unusable, match=f"mode 0{mode:o}"):
            connection_file.read(write(tmp_path, mode))
    connection_file.read(write(tmp_path, 0o400))


def test_what_is_no_connection_file_is_refused_and_one_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    for change in ({"octavo": 2}, {"surprise": 1}, {"serverKey": 1}, {"url": "ipc:///x"}, {"url": "tcp://0.0.0.0:1"}):
        with pytest.raises(connection_file.Unusable):
            connection_file.read(write(tmp_path, 0o600, **change))
    broken = write(tmp_path)
    broken.write_text("{")
    with pytest.raises(connection_file.Unusable):
        connection_file.read(broken)
    with pytest.raises(connection_file.Unusable, match="not a regular file"):
        connection_file.read(tmp_path)
    with pytest.raises(connection_file.NotThere):
        connection_file.read(tmp_path / "worker-1.json")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "--keys FILE is missing"),
        ("--keys x --endpoint ipc://y", "--endpoint has no meaning beside --keys"),
        ("--keys x --epoch 1", "--epoch has no meaning beside --keys"),
        ("--keys x --wait soon", "not a number of seconds"),
        ("--keys x --rank -1", "rank"),
        ("--endpoint ipc://y --device cpu:0 --backend cpu --threads 1", "--epoch is missing"),
        ("--endpoint ipc://y --device cpu:0 --backend cpu --threads 1 --epoch 1 --connect z", "no meaning"),
        # Plain tcp is for this machine.
        ("--endpoint tcp://10.0.0.1:5 --device cpu:0 --backend cpu --threads 1 --epoch 1", "plain tcp is refused"),
        ("--endpoint tcp://host:5 --device cpu:0 --backend cpu --threads 1 --epoch 1", "plain tcp is refused"),
    ],
)
def test_a_command_line_that_means_nothing_is_refused(line: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        arguments.parse(None, [str(word) for word in line.split()])
    assert end.value.code == 2
    assert why in capsys.readouterr().err


def test_command_lines_of_both_kinds_are_read() -> None:
    dials = arguments.parse(None, ["--keys", "folder", "--connect", "tcp://host:1", "--wait", "2.5"])
    assert (dials.keys, dials.connect, dials.wait, dials.rank) == (Path("folder"), "tcp://host:1", 2.5, None)
    line = "--endpoint tcp://127.0.0.1:5 --device cpu:0 --backend cpu --threads 1 --epoch 1 --shared-memory 3"
    assert arguments.parse(None, [str(word) for word in line.split()]).shared_memory == 3
