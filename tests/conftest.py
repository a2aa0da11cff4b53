"""Owns what all tests share: a real PostgreSQL and Kafka, started once per session in a folder of its own."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil
import pytest
import pytest_asyncio

from deploy.local.places import CACHE_DIR, remove_run_dir
from deploy.local.process_state import AlreadyRunning, kill_all, start_identity
from deploy.local.provision import Databases, provision
from deploy.local.secrets_file import Secrets, load_secrets
from deploy.local.stack import Stack, choose_stack
from deploy.local.supervisor import Supervisor

pytest_plugins = ["tests.skip_rules", "tests.fault_report"]

SESSIONS = CACHE_DIR / "tests"
REPEAT = int(os.environ.get("PMS_REPEAT", "1"))
LEFT_RUNNING = pytest.StashKey[list[str]]()


@dataclass(frozen=True)
class Provisioned:
    """The stack with the suite's databases and roles (no tables yet) and the secrets that go with them."""

    stack: Stack
    databases: Databases
    secrets: Secrets


def pytest_configure() -> None:
    """Let SIGTERM end a session as Ctrl-C does, so that fixtures still stop what they started."""

    def end(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each end-to-end test PMS_REPEAT times (`make prove`)."""
    if REPEAT > 1 and metafunc.definition.get_closest_marker("e2e") is not None:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(REPEAT))


@pytest.hookimpl(trylast=True)  # after pytest's own, which ends the fixtures of an interrupted session
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that leaves a process running, and end that process."""
    if session.config.getoption("numprocesses", None):  # the workers answer for themselves, see pytest_testnodedown
        left = session.config.stash.get(LEFT_RUNNING, [])
    else:
        processes = _left_running()
        left = [f"{process.pid} {' '.join(process.cmdline())[:200]}" for process in processes]
        kill_all(processes)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_running"] = left
    session.config.stash[LEFT_RUNNING] = left
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist left running."""
    left = getattr(node, "workeroutput", {}).get("left_running", [])
    node.config.stash[LEFT_RUNNING] = [*node.config.stash.get(LEFT_RUNNING, []), *left]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was left running."""
    if left := config.stash.get(LEFT_RUNNING, []):
        terminalreporter.section("left running by the tests, which is a failure", red=True)
        for line in left:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervisor]:
    """The session's supervisor, in a run folder of its own that is deleted at the end; leftovers are stopped first."""
    session = Supervisor(new_run_dir())
    session.open()
    yield session
    session.close()
    remove_run_dir(session.run_dir)


@pytest.fixture(scope="session")
def stack(supervisor: Supervisor) -> Iterator[Stack]:
    """A real PostgreSQL and Kafka; the embedded ones are the processes `postgres` and `kafka` of `supervisor`."""
    secrets = load_secrets(supervisor.run_dir)
    chosen = choose_stack(supervisor, secrets.postgres_password, os.environ)
    chosen.start()
    yield chosen
    chosen.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provisioned(stack: Stack, supervisor: Supervisor) -> Provisioned:
    """The stack with the suite's empty databases, their roles and the secrets."""
    secrets = load_secrets(supervisor.run_dir)
    databases = await provision(stack.postgres_admin_dsn, secrets, exclusive=stack.exclusive)
    return Provisioned(stack, databases, secrets)


def new_run_dir() -> Path:
    """A run folder of this session that does not exist yet; what killed sessions left is stopped and deleted first."""
    _sweep()
    return SESSIONS / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _left_running() -> list[psutil.Process]:
    """The processes this session started, by descent or by the folder they run in, that have not ended."""
    ours = {process.pid: process for process in psutil.Process().children(recursive=True)}
    folder = f"{SESSIONS}/{os.getpid()}-"
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(folder):
                ours[process.pid] = process
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return [process for process in ours.values() if start_identity(process.pid) is not None]


def _sweep() -> None:
    """Stop and delete what sessions left that were killed; a session that still runs is left alone."""
    for folder in SESSIONS.glob("*-*"):
        if psutil.pid_exists(int(folder.name.partition("-")[0])):
            continue
        killed = Supervisor(folder)
        try:
            killed.open()
        except AlreadyRunning:
            continue
        killed.close()
        remove_run_dir(folder)
