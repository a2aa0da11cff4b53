"""Use case of the compacted topic: publish the whole state of properties whose snapshot is behind; called by workers.

Off the hot path and coalesced: ten changes of a property between two rounds are one snapshot. Safe to run twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import orjson

from booking import events
from booking.domain.errors import NotFound
from booking.repository import snapshots
from booking.repository.snapshots import PropertyWithRanges
from booking.service import properties
from booking.service.writing import Deps
from contracts.booking_properties_v1 import DeltaOffset, PropertySnapshot
from contracts.envelope import Envelope

AT_ONCE = 4
"""Properties read at once: the relay of the same process shares the pool."""
MARKER_EVERY = 1000
"""Records after which a shard without changes gets a marker too, so that it never points at expired deltas."""

GONE_FOR = timedelta(days=30)
"""How long a deleted property is published as gone; then a null lets the topic forget it."""

Send = Callable[[int, bytes, bytes | None], Awaitable[None]]
"""Writes one record to a partition of `booking.properties.v1` (partition, key, value), returns once acknowledged."""

EndOffset = Callable[[int], Awaitable[int]]
"""The offset after the last record of a partition of `booking.reservations.v1`."""


async def publish(deps: Deps, shard: int, end_offset: EndOffset, send: Send, last_marker: int) -> int:
    """Publish every property of a shard that is behind, then the delta offset they contain; the last marker written.

    The offset is read first: whatever lies below it on the topic was committed before, so the states read afterwards
    contain it.
    """
    offset = await end_offset(shard)
    is_due = offset - last_marker >= MARKER_EVERY
    last: UUID | None = None
    # One pass in property order: a property that changes all the time must not keep the pass from ending.
    while batch := await snapshots.select_unpublished(deps.pool, shard, last, AT_ONCE):
        await asyncio.gather(*(_publish_one(deps, shard, property_id, send) for property_id in batch))
        last = batch[-1]
        is_due = True
    if is_due:
        marker = events.delta_offset(shard, offset)
        await send(shard, f"delta_offset/{shard}".encode(), _envelope(marker, f"partition/{shard}", None))
    return offset if is_due else last_marker


async def _publish_one(deps: Deps, shard: int, property_id: UUID, send: Send) -> None:
    while True:
        seen = await snapshots.select_published(deps.pool, property_id)
        try:
            found = await properties.state(deps, property_id)
        except NotFound:
            return
        owner = found.owner
        is_forgotten = owner.deleted_at is not None and owner.deleted_at + GONE_FOR <= found.as_of
        mark = snapshots.mark_forgotten if is_forgotten else snapshots.mark_published
        await send(shard, str(property_id).encode(), None if is_forgotten else _whole(found))
        # Another snapshot was marked meanwhile and may lie before this older one, or a new one was asked for.
        if await mark(deps.pool, property_id, owner.inventory_version, seen):
            return


def _whole(found: PropertyWithRanges) -> bytes:
    whole = events.snapshot(found.owner, found.terms, found.ranges)
    return _envelope(whole, f"property/{whole.property_id}", whole.agency_id)


def _envelope(data: PropertySnapshot | DeltaOffset, subject: str, agency_id: UUID | None) -> bytes:
    envelope = Envelope(
        event_id=uuid4(),
        type=type(data).__name__,
        subject=subject,
        agency_id=agency_id,
        occurred_at=datetime.now(UTC),
        producer="booking",
        data=data.model_dump(mode="json"),
    )
    return orjson.dumps(envelope.model_dump(mode="json"))
