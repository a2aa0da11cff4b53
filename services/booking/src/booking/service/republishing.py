"""Use cases of repair by an operator: publish snapshots again, resync a property, bump versions; called by commands.

`deps` is the system role's. None of them writes an event: the compacted topic carries the state to every consumer.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from booking.clients import TopicLog, TopicUnavailable
from booking.domain.errors import NotFound
from booking.repository import republishing
from booking.repository.reads import select_now
from booking.repository.republishing import GivenUp
from booking.repository.writes import lock_properties
from booking.service.snapshots import Send
from booking.service.writing import Deps
from runtime.kafka import Record
from runtime.postgres import retrying_deadlocks, transaction

BATCH = 200
"""Properties a transaction: `bump_versions` keeps their writers waiting."""
TOPIC_LIMIT = 1_000
"""Records of the topic at a stretch; nothing else of it is kept in memory."""
QUIET_S = 15.0
"""How long a topic that is not read to its end may give nothing, before it is said that Kafka does not serve it."""


class EmptyLedger(Exception):
    """This ledger has no property at all: every key of the topic would be forgotten."""


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


async def forget_unknown(deps: Deps, topic_log: TopicLog, send: Send) -> AsyncIterator[int]:
    """After a restore: a null for every key of the compacted topic that is no property of this ledger; counts.

    A snapshot is published after its property was committed, and a property's row is never deleted. So a key whose
    record was read before the ledger was asked, and which the ledger does not have, can only be from before the
    restore: one that is created meanwhile is safe. A null for a key that has one already is harmless, and so is
    running this twice. Raises `EmptyLedger`, `TopicUnavailable`; what was written until then stays.
    """
    if not await count_properties(deps):
        raise EmptyLedger(EmptyLedger.__doc__)
    async for records in _records(topic_log):
        places = {key: record for record in records if (key := _property_of(record)) is not None}
        # A null at the end of its stretch was forgotten before.
        alive = {key: record for key, record in places.items() if record.value is not None}
        async with transaction(deps.pool, None) as connection:
            unknown = await republishing.select_unknown(connection, alive)
        for key in sorted(unknown):
            await send(alive[key].partition, str(key).encode(), None)
        yield len(unknown)


async def _records(topic_log: TopicLog) -> AsyncIterator[list[Record]]:
    """The records up to the topic's end of now, a stretch at a time."""
    ends = {partition: end for partition, end in (await topic_log.ends()).items() if end}
    offsets: dict[int, int] = {}
    heard_at = asyncio.get_running_loop().time()
    while any(offsets.get(partition, 0) < end for partition, end in ends.items()):
        batch = await topic_log.read(offsets, TOPIC_LIMIT)
        offsets, now = batch.offsets, asyncio.get_running_loop().time()
        if batch.records:
            heard_at = now
            yield batch.records
        elif now - heard_at > QUIET_S:
            raise TopicUnavailable(f"it gave nothing for {QUIET_S:.0f} s before its end")


def _property_of(record: Record) -> UUID | None:
    """The property a record is about; None for the markers of delta offsets and for what is not ours."""
    try:
        return UUID((record.key or b"").decode())
    except ValueError:
        return None


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
                await lock_properties(connection, batch)
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
