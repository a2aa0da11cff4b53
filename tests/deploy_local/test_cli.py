"""Proves what the commands say when something is in the way: a plain sentence, no stack trace."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from deploy.local.process_state import start_identity
from tests.deploy_local.test_leftovers import SUPERVISOR


def local(run_dir: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.local", "--run-dir", run_dir, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_run_names_the_taken_port_and_its_variable_without_a_stack_trace(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = local(tmp_path, "run", CHANNEL_SYNC_PORT=str(port), GATEWAY_PORT="0", BOOKING_PORT="0")
    assert run.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken" in run.stderr
    assert "CHANNEL_SYNC_PORT=" in run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_half_a_stack_in_the_environment_is_refused(tmp_path: Path) -> None:
    run = local(tmp_path, "migrate", DATABASE_URL="postgresql://127.0.0.1/postgres")
    assert run.returncode == 1
    assert "Set both DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS, or neither." in run.stderr


def test_stop_ends_a_living_run_and_what_it_left(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, tmp_path], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pids = [int(run.stdout.readline()) for _ in range(2)]
        stopped = local(tmp_path, "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert f"the run (process {run.pid})" in stopped.stdout
    assert [start_identity(pid) for pid in pids] == [None, None]
    assert not psutil.pid_exists(run.pid)
    assert "nothing was running" in local(tmp_path, "stop").stdout


def test_clean_removes_the_run_folder(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "logs").mkdir(parents=True)
    assert local(run_dir, "clean").returncode == 0
    assert not run_dir.exists()
