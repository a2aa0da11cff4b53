"""Proves that what a killed supervisor left is found by process id and start time, and that nothing else is touched."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.process_state import AlreadyRunning, ProcessRecord, RunFolder, start_identity
from deploy.local.supervisor import GATE, Supervisor

SUPERVISOR = """
import sys, time
from pathlib import Path
from deploy.local.supervisor import Supervisor
from tests.deploy_local.programs import SLEEP, program
supervisor = Supervisor(Path(sys.argv[1]))
supervisor.open()
for name in ("first", "second"):
    supervisor.start(program(name, SLEEP))
    print(supervisor.pid(name), flush=True)
time.sleep(60)
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def record_of(process: subprocess.Popen[bytes]) -> ProcessRecord:
    identity = start_identity(process.pid)
    assert identity is not None
    return ProcessRecord("sleeper", process.pid, identity, signal.SIGTERM)


def test_leftovers_of_a_supervisor_killed_with_sigkill_are_stopped_by_the_next_start(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, tmp_path], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        pids = [int(killed.stdout.readline()) for _ in range(2)]
        killed.kill()
    assert all(start_identity(pid) for pid in pids), "the processes must have outlived their supervisor"
    following = Supervisor(tmp_path)
    assert following.open() == ["second", "first"]
    assert [start_identity(pid) for pid in pids] == [None, None]
    following.close()


def test_a_recycled_process_id_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    folder = RunFolder(tmp_path)
    earlier = dataclasses.replace(record_of(sleeper), identity="another-boot:12345")
    folder.write_records([earlier])
    assert folder.stop_leftovers() == []
    assert sleeper.poll() is None
    assert folder.records() == []


def test_a_recorded_process_is_stopped(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    folder = RunFolder(tmp_path)
    folder.write_records([record_of(sleeper)])
    assert folder.stop_leftovers() == ["sleeper"]
    assert sleeper.wait(1) == -signal.SIGTERM


def test_two_processes_started_one_after_the_other_have_different_identities(
    sleeper: subprocess.Popen[bytes],
) -> None:
    assert start_identity(sleeper.pid) == start_identity(sleeper.pid)
    assert start_identity(sleeper.pid) != start_identity(psutil.Process().pid)
    sleeper.kill()
    sleeper.wait()
    assert start_identity(sleeper.pid) is None


def test_a_second_supervisor_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = Supervisor(tmp_path)
    first.open()
    with pytest.raises(AlreadyRunning, match="make stop"):
        Supervisor(tmp_path).open()
    assert RunFolder(tmp_path).supervisor_pid() == psutil.Process().pid
    first.close()
    second = Supervisor(tmp_path)
    assert second.open() == []
    second.close()


def test_a_child_whose_supervisor_died_before_recording_it_never_becomes_the_program(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    ended = subprocess.run([*GATE, "touch", str(proof)], stdin=subprocess.DEVNULL, check=False)
    assert ended.returncode == 125
    assert not proof.exists()
