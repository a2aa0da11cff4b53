"""Use cases of repair by an operator: publish snapshots again, resync a property, bump versions; called by commands.

`deps` is the system role's. None of them writes an event: the compacted topic carries the state to every consumer.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from booking.domain.errors import NotFound
from booking.repository import republishing
from booking.repository.reads import select_now
from booking.repository.republishing import GivenUp
from booking.service.writing import Deps
from runtime.postgres import retrying_deadlocks, transaction

BATCH = 200
"""Properties a transaction: `bump_versions` keeps their writers waiting."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One property, one agency's, or all."""

    property_id: UUID | None = None
    agency_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Requested:
    """A batch whose snapshots will be published again; `at` is the database's time then."""

    count: int
    at: datetime


async def republish(deps: Deps, scope: Scope) -> AsyncIterator[Requested]:
    """Have every snapshot of the scope published again, batch by batch; the snapshot worker does it, with its marks.

    Works for an empty topic too: the worker does not look at the topic, only at what counts as published.
    """
    async for batch in _batches(deps, scope):

        async def attempt(batch: list[UUID] = batch) -> datetime:
            async with transaction(deps.pool, None) as connection:
                await republishing.reset_published(connection, batch)
                return await select_now(connection)

        yield Requested(len(batch), await retrying_deadlocks(attempt))


async def count_waiting(deps: Deps, scope: Scope, requested_at: datetime) -> int:
    """How many snapshots of the scope the worker has not published yet."""
    async with transaction(deps.pool, None) as connection:
        return await republishing.count_unpublished(connection, scope.property_id, scope.agency_id, requested_at)


async def count_properties(deps: Deps) -> int:
    """How many properties there are, of every agency."""
    async with transaction(deps.pool, None) as connection:
        return await republishing.count_properties(connection)


async def resync(deps: Deps, property_id: UUID) -> list[GivenUp]:
    """Let a quarantined property's events flow again: what cannot be sent is given up, a snapshot carries the state.

    Consumers see the gap and fetch the state themselves; those that do not get it from the snapshot. Raises `NotFound`.
    """
    async with transaction(deps.pool, None) as connection:
        if not await republishing.select_property_ids(connection, property_id, None, None, 1):
            raise NotFound("property")
        given_up = await republishing.give_up_quarantined(connection, property_id)
        await republishing.reset_published(connection, [property_id])
    deps.wake()
    return given_up


async def bump_versions(deps: Deps) -> AsyncIterator[int]:
    """After a restore: every version jumps beyond all that were ever given out; counts per batch.

    The snapshots follow by themselves, because every version is ahead of what counts as published.
    """
    async for batch in _batches(deps, Scope()):

        async def attempt(batch: list[UUID] = batch) -> int:
            async with transaction(deps.pool, None) as connection:
                await republishing.lock_properties(connection, batch)
                return await republishing.bump_versions(connection, batch)

        yield await retrying_deadlocks(attempt)


async def _batches(deps: Deps, scope: Scope) -> AsyncIterator[list[UUID]]:
    last: UUID | None = None
    while True:
        async with transaction(deps.pool, None) as connection:
            batch = await republishing.select_property_ids(connection, scope.property_id, scope.agency_id, last, BATCH)
        if not batch:
            return
        yield batch
        last = batch[-1]
