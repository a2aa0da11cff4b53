"""Owns the stage that the cache proofs share, started once for this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from deploy.local.journey_client import Agency
from tests.availability.proofs.stage import Stage, started_stage


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """Booking, its Kafka and two replicas."""
    async with started_stage() as started:
        yield started


@pytest_asyncio.fixture
async def agency(stage: Stage) -> AsyncIterator[Agency]:
    """A new agency, at booking itself."""
    async with stage.agency(stage.booking_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _everything_runs_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """A proof that killed or added a process has restored it; one that crashed is named by the proof it crashed in."""
    stage: Stage | None = request.getfixturevalue("stage") if "stage" in request.fixturenames else None
    before = set(stage.supervisor.names()) if stage else set()
    yield
    if stage:
        stage.supervisor.check()
        assert set(stage.supervisor.names()) == before
