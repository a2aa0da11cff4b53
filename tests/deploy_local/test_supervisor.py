"""Proves how single processes are started, watched, stopped and killed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from deploy.local.ports import PortTaken, RememberedPorts, free_port, is_free
from deploy.local.process_state import start_identity
from deploy.local.supervisor import ProcessFailed, Supervisor
from tests.deploy_local.programs import SLEEP, program, wait_for_file

CRASH = "import sys; print(f'starting {sys.argv[1]}'); sys.exit('no such table: nights')"
STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "60"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""
LAST_WORD = """
import pathlib, signal, sys
def end(*_):
    with open(sys.argv[1], "a") as said: said.write(sys.argv[2] + " ")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[3]).touch()
while True: signal.pause()
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    own = Supervisor(tmp_path / "run")
    own.open()
    yield own
    own.close()


def test_a_crash_is_reported_by_name_with_its_exit_code_and_last_lines(supervisor: Supervisor) -> None:
    with pytest.raises(ProcessFailed) as failure:
        supervisor.start(program("booking", CRASH, 1, ready=lambda: False))
    text = str(failure.value)
    assert "booking ended by itself (exit code 1)" in text
    assert "no such table: nights" in text
    assert str(supervisor.log_path("booking")) in text


def test_a_crash_report_shows_no_lines_of_an_earlier_start(supervisor: Supervisor) -> None:
    for number in (1, 2):
        with pytest.raises(ProcessFailed) as failure:
            supervisor.start(program("booking", CRASH, number, ready=lambda: False))
        supervisor.stop("booking")
    assert "starting 2" in str(failure.value)
    assert "starting 1" not in str(failure.value)
    assert "starting 1" in supervisor.log_path("booking").read_text()


def test_a_process_that_dies_while_serving_is_noticed(supervisor: Supervisor) -> None:
    supervisor.start(program("relay", SLEEP))
    supervisor.check()
    relay = psutil.Process(supervisor.pid("relay"))
    identity = start_identity(relay.pid)
    relay.kill()
    while start_identity(relay.pid) == identity:
        time.sleep(0.01)
    with pytest.raises(ProcessFailed, match=r"relay ended by itself \(signal SIGKILL\)"):
        supervisor.check()


def test_a_process_that_is_not_ready_in_time_is_reported(supervisor: Supervisor) -> None:
    with pytest.raises(ProcessFailed, match="slow was not ready within 0 s"):
        supervisor.start(program("slow", SLEEP, ready=lambda: False, ready_timeout_s=0.2))


def test_stop_kills_a_process_that_ignores_the_signal_and_its_children(supervisor: Supervisor, tmp_path: Path) -> None:
    file = tmp_path / "child"
    supervisor.start(program("stubborn", STUBBORN, file, ready=partial(wait_for_file, file), stop_timeout_s=0.3))
    pids = [supervisor.pid("stubborn"), int(file.read_text())]
    assert all(start_identity(pid) for pid in pids)
    supervisor.stop("stubborn")
    assert [start_identity(pid) for pid in pids] == [None, None]
    assert supervisor.names() == []


def test_close_stops_the_last_started_first(tmp_path: Path) -> None:
    own = Supervisor(tmp_path / "run")
    own.open()
    said = tmp_path / "said"
    for name in ("postgres", "kafka", "booking"):
        file = tmp_path / name
        own.start(program(name, LAST_WORD, said, name, file, ready=partial(wait_for_file, file)))
    own.close()
    assert said.read_text().split() == ["booking", "kafka", "postgres"]


def test_a_killed_process_restarts_as_it_was_specified_under_a_new_id(supervisor: Supervisor) -> None:
    supervisor.start(program("relay", SLEEP))
    first = supervisor.pid("relay")
    supervisor.kill("relay")
    assert start_identity(first) is None
    supervisor.restart("relay")
    assert supervisor.pid("relay") != first
    assert supervisor.folder.records()[0].pid == supervisor.pid("relay")


def test_a_failing_command_is_reported_and_its_siblings_are_stopped(supervisor: Supervisor) -> None:
    with pytest.raises(ProcessFailed, match=r"booking-migrate failed \(exit code 1\)"):
        supervisor.run_all([program("booking-migrate", CRASH, 1), program("other", SLEEP)])
    assert supervisor.names() == []


def test_a_variable_of_the_shell_does_not_reach_a_process(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    supervisor.run_all([program("show", "import os; print(sorted(os.environ))", env={"PORT": "1"})])
    shown = supervisor.last_lines("show")[0]
    assert "'PORT'" in shown
    assert "DATABASE_URL" not in shown


def test_a_taken_port_is_refused_naming_the_port_and_the_variable_that_moves_it(supervisor: Supervisor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} .* BOOKING_PORT=\d+ make run"):
            supervisor.start(program("booking", SLEEP, ports={"BOOKING_PORT": port}))
    assert supervisor.names() == []


def test_a_port_is_remembered_and_replaced_only_when_another_program_took_it(tmp_path: Path) -> None:
    port = RememberedPorts(tmp_path).choose("postgres")
    assert RememberedPorts(tmp_path).choose("postgres") == port
    with socket.create_server(("127.0.0.1", port)):
        assert RememberedPorts(tmp_path).choose("postgres") != port
    assert RememberedPorts(tmp_path).choose("postgres", configured=port) == port


def test_free_ports_lie_below_the_range_of_outgoing_connections() -> None:
    ports = [free_port() for _ in range(20)]
    assert max(ports) < 32_768
    assert all(is_free(port) for port in ports)
