"""Owns the suite the e2e tests share: a stack of its own and four services on it, started once for this folder.

A stack of its own, because these tests stop Kafka and compare caches with the whole ledger: other tests' rows and
topics must neither disturb that nor be disturbed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from deploy.local.journey_client import Agency
from deploy.local.journey_scene import Scene, open_scene
from deploy.local.places import remove_run_dir
from deploy.local.provision import provision
from deploy.local.secrets_file import load_secrets
from deploy.local.services import Ports, Suite
from deploy.local.stack import EmbeddedStack, Stack, choose_stack
from deploy.local.supervisor import Supervisor
from tests.conftest import new_run_dir
from tests.e2e.infra.running import Running, started_suite


@pytest.fixture(scope="package")
def own_supervisor() -> Iterator[Supervisor]:
    """The supervisor of this folder's processes."""
    supervisor = Supervisor(new_run_dir())
    supervisor.open()
    yield supervisor
    supervisor.close()
    remove_run_dir(supervisor.run_dir)


@pytest.fixture(scope="package")
def own_stack(own_supervisor: Supervisor) -> Iterator[Stack]:
    """A PostgreSQL and a Kafka of this folder's own."""
    secrets = load_secrets(own_supervisor.run_dir)
    stack = choose_stack(own_supervisor, secrets.postgres_password, os.environ)
    stack.start()
    yield stack
    stack.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def running(own_supervisor: Supervisor, own_stack: Stack) -> AsyncIterator[Running]:
    """The four services, each an operating-system process, with an OTA and a receiver of their spans."""
    secrets = load_secrets(own_supervisor.run_dir)
    databases = await provision(own_stack.postgres_admin_dsn, secrets, exclusive=own_stack.exclusive)
    suite = Suite(own_stack.kafka_bootstrap, databases, secrets, Ports.free())
    async with started_suite(own_supervisor, own_stack, suite) as started:
        yield started


@pytest.fixture(autouse=True)
def _everything_runs_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that killed or added a process has restored it; one that crashed is named by the test it crashed in."""
    running: Running | None = request.getfixturevalue("running") if "running" in request.fixturenames else None
    before = set(running.supervisor.names()) if running else set()
    yield
    if running:
        running.supervisor.check()
        assert set(running.supervisor.names()) == before


@pytest.fixture
def embedded_kafka(own_stack: Stack) -> str:
    """The name of the process Kafka, for tests that stop it."""
    if not isinstance(own_stack, EmbeddedStack):
        pytest.skip(
            "stops Kafka: run it on the embedded stack (unset DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS, PMS_STACK)"
        )
    return "kafka"


@pytest_asyncio.fixture
async def agency(running: Running) -> AsyncIterator[Agency]:
    """A new agency."""
    async with running.agency() as client:
        yield client


@pytest_asyncio.fixture
async def scene(running: Running, agency: Agency) -> Scene:
    """A new property of the agency, listed at the OTA."""
    return await open_scene(agency, running.ota)
