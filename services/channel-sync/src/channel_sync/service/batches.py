"""Owns the use cases on synchronisations somebody asks for, and on their history; called by api."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

from channel_sync import events
from channel_sync.adapters import CALENDARS, FEEDS
from channel_sync.domain.ari import ValueRun, clipped, differences
from channel_sync.domain.batches import (
    BOOKINGS_SYNC,
    OPERATIONS_OF,
    READS_BOOKINGS,
    Batch,
    Delays,
    ListingStaleness,
    Operation,
)
from channel_sync.domain.channels import Listing
from channel_sync.domain.claims import HeldListing
from channel_sync.domain.errors import BatchUnknown, CalendarNotTold, ChannelDisabled, NothingToRetry, OperationUnknown
from channel_sync.domain.night_values import listing_runs
from channel_sync.repository import batches as batch_rows
from channel_sync.repository import claims as claim_rows
from channel_sync.repository import feeds as feed_rows
from channel_sync.repository import listings as listing_rows
from channel_sync.repository import operations as operation_rows
from channel_sync.repository.feeds import FeedStaleness
from channel_sync.service.connections import require_connection
from channel_sync.service.deps import Deps
from channel_sync.service.push_records import settle_batch
from runtime.outbox import insert_outbox_rows
from runtime.postgres import Connection, transaction
from runtime.telemetry import carrier_of, current_trace_id

READS_AT_ONCE = 8
STATUSES = {
    "any": ("running", "failed", "success"),
    "running": ("running",),
    "failed": ("failed",),
    "success": ("success",),
}


@dataclass(frozen=True, slots=True)
class Started:
    """A synchronisation that was asked for: each task is one kind of work at one listing."""

    batch_id: UUID
    task_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Nights a channel would be told of one listing; `error` where that cannot be said."""

    listing: Listing
    runs: tuple[ValueRun, ...]
    error: str | None


async def start_sync(deps: Deps, agency_id: UUID, connection_id: UUID, sync_type: str) -> Started:
    """Have every listing of a connection told again, whatever the channel holds.

    Raises `ConnectionUnknown`, `ChannelDisabled` and `CalendarNotTold`.
    """
    batch_id, task_ids = uuid4(), []
    async with transaction(deps.pool, agency_id) as conn:
        connection = await require_connection(conn, agency_id, connection_id)
        if not connection.enabled:
            raise ChannelDisabled(ChannelDisabled.__doc__)
        is_calendar = connection.adapter in CALENDARS
        if is_calendar and sync_type not in READS_BOOKINGS:
            raise CalendarNotTold(CalendarNotTold.__doc__)
        batch = await batch_rows.insert_batch(conn, agency_id, connection_id, batch_id, sync_type)
        told = [] if is_calendar else await listing_rows.select_all_listings(conn, agency_id, connection_id)
        for listing in told:
            task_id = uuid4()
            await listing_rows.ask_for_push(
                conn,
                agency_id,
                listing.id,
                batch_id=batch_id,
                task_id=task_id,
                operation_types=OPERATIONS_OF[sync_type],
                traceparent=carrier_of().get("traceparent"),
            )
            for operation_type in OPERATIONS_OF[sync_type]:
                operation = _triggered(batch, listing.id, uuid5(task_id, operation_type), operation_type)
                await _announce(deps, conn, agency_id, operation)
                task_ids.append(operation.task_id)
        if sync_type in READS_BOOKINGS and (is_calendar or connection.adapter in FEEDS):
            operation = _triggered(batch, None, uuid4(), BOOKINGS_SYNC)
            await _announce(deps, conn, agency_id, operation)
            await feed_rows.ask_for_poll(conn, agency_id, connection_id, batch_id, operation.task_id)
            task_ids.append(operation.task_id)
        await settle_batch(deps, conn, agency_id, batch_id)
    deps.wake_pusher()
    deps.wake_relay()
    return Started(batch_id, tuple(task_ids))


async def preview_sync(deps: Deps, agency_id: UUID, connection_id: UUID) -> list[Difference]:
    """What each listing's channel would be told now, without telling it; raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        connection = await require_connection(conn, agency_id, connection_id)
        listings = await claim_rows.select_accepted(conn, agency_id, connection_id)
    max_days = deps.adapters[connection.adapter].limits.max_days
    gate = asyncio.Semaphore(READS_AT_ONCE)

    async def differ(held: HeldListing) -> Difference:
        async with gate:
            try:
                state = await deps.reads.read(held.listing.property_id, 0)
            except Exception as error:  # one property must not hide the others
                return Difference(held.listing, (), type(error).__name__)
        if state is None:
            return Difference(held.listing, (), "booking does not know the property")
        wanted = listing_runs(clipped(state.runs, max_days), held.overrides)
        return Difference(held.listing, differences(held.accepted or (), wanted), None)

    return list(await asyncio.gather(*(differ(held) for held in listings)))


async def list_batches(
    deps: Deps, agency_id: UUID, connection_id: UUID, status: str, limit: int, offset: int
) -> tuple[list[Batch], int]:
    """The batches of a connection that stand like this, newest first, and how many there are; `ConnectionUnknown`."""
    statuses = STATUSES[status]
    async with transaction(deps.pool, agency_id) as conn:
        await require_connection(conn, agency_id, connection_id)
        found = await batch_rows.select_batches(conn, agency_id, connection_id, statuses, limit, offset)
        return found, await batch_rows.count_batches(conn, agency_id, connection_id, statuses)


async def get_batch(deps: Deps, agency_id: UUID, connection_id: UUID, batch_id: UUID) -> tuple[Batch, list[Operation]]:
    """One batch with all its attempts; raises `BatchUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        batch = await batch_rows.select_batch(conn, agency_id, connection_id, batch_id)
        if batch is None:
            raise BatchUnknown(BatchUnknown.__doc__)
        return batch, await operation_rows.select_operations_of_batch(conn, agency_id, batch_id)


async def retry_operation(deps: Deps, agency_id: UUID, log_id: UUID) -> Operation:
    """Try a failed task again at once; its last attempt. Raises `OperationUnknown` and `NothingToRetry`."""
    async with transaction(deps.pool, agency_id) as conn:
        latest = await operation_rows.select_latest_attempt(conn, agency_id, log_id)
        if latest is None:
            raise OperationUnknown(OperationUnknown.__doc__)
        if latest.status != "failed":
            raise NothingToRetry(NothingToRetry.__doc__)
        if latest.listing_id is None:
            await feed_rows.ask_for_poll(conn, agency_id, latest.connection_id, latest.batch_id, latest.task_id)
        elif not await listing_rows.make_due(conn, agency_id, latest.listing_id):
            raise NothingToRetry(NothingToRetry.__doc__)
    deps.wake_pusher()
    return latest


async def purge_batches(
    deps: Deps, agency_id: UUID, connection_id: UUID, days: int, *, is_preview: bool
) -> tuple[int, int]:
    """Delete ended batches older than so many days; how many, with how many operations. A preview deletes nothing.

    Raises `ConnectionUnknown`.
    """
    async with transaction(deps.pool, agency_id) as conn:
        await require_connection(conn, agency_id, connection_id)
        purge = batch_rows.count_old if is_preview else batch_rows.delete_old
        return await purge(conn, agency_id, connection_id, days)


async def list_operations(
    deps: Deps, agency_id: UUID, connection_id: UUID, limit: int, offset: int
) -> tuple[list[Operation], int]:
    """The operations of a connection, newest first, and how many there are; raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        await require_connection(conn, agency_id, connection_id)
        found = await operation_rows.select_operations(conn, agency_id, connection_id, limit, offset)
        return found, await operation_rows.count_operations(conn, agency_id, connection_id)


async def staleness(
    deps: Deps, agency_id: UUID, connection_id: UUID
) -> tuple[Sequence[ListingStaleness], Delays, FeedStaleness | None]:
    """How far behind a channel is with each listing, how long changes took lately, and how old its feed is.

    Raises `ConnectionUnknown`.
    """
    async with transaction(deps.pool, agency_id) as conn:
        await require_connection(conn, agency_id, connection_id)
        return (
            await listing_rows.select_staleness(conn, agency_id, connection_id),
            await operation_rows.select_delays(conn, agency_id, connection_id),
            await feed_rows.select_feed_staleness(conn, agency_id, connection_id),
        )


async def _announce(deps: Deps, conn: Connection, agency_id: UUID, operation: Operation) -> None:
    """Keep an attempt that is to come, and tell it."""
    await operation_rows.insert_triggered(conn, agency_id, operation)
    event = events.sync_operation_changed(uuid4(), agency_id, operation, deps.partitions)
    await insert_outbox_rows(conn, [event])


def _triggered(batch: Batch, listing_id: UUID | None, task_id: UUID, operation_type: str) -> Operation:
    return Operation(
        log_id=uuid4(),
        connection_id=batch.connection_id,
        listing_id=listing_id,
        batch_id=batch.batch_id,
        task_id=task_id,
        operation_type=operation_type,
        direction="inbound" if operation_type == BOOKINGS_SYNC else "outbound",
        status="triggered",
        inventory_version=None,
        error=None,
        error_class=None,
        attempt=1,
        payload_digest=None,
        staleness_ms=None,
        duration_ms=None,
        trace_id=current_trace_id(),
        created_at=batch.created_at,
        updated_at=batch.created_at,
    )
