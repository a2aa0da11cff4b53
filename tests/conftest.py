"""Owns what all tests share: a real PostgreSQL and Kafka, started once per session in a folder of its own."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import pytest
import pytest_asyncio

from deploy.local.places import CACHE_DIR, remove_run_dir
from deploy.local.process_state import AlreadyRunning
from deploy.local.provision import Databases, provision
from deploy.local.secrets_file import Secrets, load_secrets
from deploy.local.stack import Stack, choose_stack
from deploy.local.supervisor import Supervisor

pytest_plugins = ["tests.skip_rules"]

SESSIONS = CACHE_DIR / "tests"
REPEAT = int(os.environ.get("PMS_REPEAT", "1"))


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


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervisor]:
    """The session's supervisor, in a run folder of its own that is deleted at the end; leftovers are stopped first."""
    _sweep()
    session = Supervisor(SESSIONS / f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
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


def _sweep() -> None:
    """Stop and delete what sessions left that were killed; a session that still runs holds its folder and is left."""
    for folder in SESSIONS.glob("*-*"):
        killed = Supervisor(folder)
        try:
            killed.open()
        except AlreadyRunning:
            continue
        killed.close()
        remove_run_dir(folder)
