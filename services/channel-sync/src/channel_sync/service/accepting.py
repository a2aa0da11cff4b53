"""Owns how a channel's revision gets in: read, stored with an event for each of its stays; called by inbound, feeds.

Every door leads here: a webhook, a record of the open topic, a page of a feed.
"""

import hashlib
from dataclasses import replace
from uuid import UUID, uuid4

from channel_sync import events
from channel_sync.adapters import Adapter
from channel_sync.domain.channels import Door
from channel_sync.domain.errors import UnparseableRevision
from channel_sync.domain.revisions import (
    MAX_STAYS,
    ParsedRevision,
    PendingRevision,
    Received,
    Source,
    cancellation_of,
    next_revision_no,
    room_suffix,
    stays_of,
)
from channel_sync.repository import listings as listing_rows
from channel_sync.repository import revisions as revision_rows
from channel_sync.service.deps import Deps
from runtime.logs import get_logger
from runtime.outbox import insert_outbox_rows
from runtime.postgres import Connection, transaction
from runtime.telemetry import current_trace_id

log = get_logger(__name__)


def read(adapter: Adapter, body: bytes) -> ParsedRevision:
    """What the bytes say; raises `UnparseableRevision`, for a bug of the adapter too: it must not lose them."""
    try:
        return adapter.parse(body)
    except UnparseableRevision:
        raise
    except Exception as error:
        log.error("adapter failed", error=type(error).__name__)
        raise UnparseableRevision("body", "adapter_failed", f"{type(error).__name__} in the adapter") from None


async def accept(deps: Deps, door: Door, revision: ParsedRevision, body: bytes, source: Source) -> Received:
    """Store a revision and, where its listings are mapped, its events for booking; or find it stored already."""
    async with transaction(deps.pool, door.agency_id) as conn:
        received = await accept_within(deps, conn, door, revision, body, source)
    deps.wake_relay()
    if received.is_new:
        log.info("revision stored", log_id=received.log_id, connection_id=door.connection_id)
    return received


async def accept_within(
    deps: Deps, conn: Connection, door: Door, revision: ParsedRevision, body: bytes, source: Source
) -> Received:
    """The same within a transaction. A booking of several stays is a row for each, stored together or not at all.

    Stays of the booking that this revision does not name any more are cancelled by it.
    """
    stays = stays_of(revision)
    for listing_id in sorted({stay.ota_listing_id for stay in stays}):
        await listing_rows.lock_listing(conn, door.connection_id, listing_id, exclusive=False)
    # The first stay's code is the booking's: of two revisions of a booking the second waits here. The other codes are
    # locked because their guests may be erased meanwhile, each by itself.
    for stay in stays:
        await revision_rows.lock_reservation_code(conn, door.connection_id, stay.ota_reservation_code)
    first = await _accept_stay(deps, conn, door, stays[0], body, source)
    if not first.is_new:
        return first
    for stay in stays[1:]:
        await _accept_stay(deps, conn, door, stay, body, source)
    codes = {
        stays[0].ota_reservation_code + room_suffix(number): number for number in range(len(stays) + 1, MAX_STAYS + 1)
    }
    dropped = await revision_rows.select_other_stays(conn, door.agency_id, door.connection_id, list(codes))
    for code, ota_listing_id in dropped.items():
        await revision_rows.lock_reservation_code(conn, door.connection_id, code)
        cancelled = cancellation_of(revision, codes[code], ota_listing_id)
        await _accept_stay(deps, conn, door, cancelled, body, source)
    return first


async def store_unparseable(
    deps: Deps, door: Door, body: bytes, error: UnparseableRevision, source: Source, revision_id: str | None = None
) -> UUID:
    """Keep bytes that cannot be read; the log id they are found under.

    Without a name of the channel's they are kept under their digest: a revision_id in them must stay free for a
    corrected copy.
    """
    name = revision_id or f"sha256/{hashlib.sha256(body).hexdigest()}"
    async with transaction(deps.pool, door.agency_id) as conn:
        return (await store_unparseable_within(conn, door, body, error, source, name))[0]


async def store_unparseable_within(
    conn: Connection, door: Door, body: bytes, error: UnparseableRevision, source: Source, revision_id: str
) -> tuple[UUID, bool]:
    """The same within a transaction: the log id, and whether it is new."""
    log_id = uuid4()
    stored = await revision_rows.insert_unparseable_revision(
        conn,
        door,
        log_id,
        revision_id=revision_id,
        raw=body,
        source=source,
        trace_id=current_trace_id(),
        reason=str(error),
    )
    if stored:
        return log_id, True
    return await revision_rows.select_revision_log_id(conn, door.agency_id, door.connection_id, revision_id), False


async def hand_over(deps: Deps, conn: Connection, pending: PendingRevision) -> None:
    """Write a stored revision to the outbox for booking, in the transaction that made it `published`.

    One that today's adapter cannot read any more stays without an outcome and is tried again; it must not keep others
    back.
    """
    try:
        revision = read(deps.adapters[pending.adapter], pending.raw)
    except UnparseableRevision as error:
        log.error("stored revision cannot be read", log_id=pending.log_id, field=error.field, code=error.code)
        return
    event = events.channel_reservation_received(uuid4(), pending, _stay_of(revision, pending), deps.partitions)
    await insert_outbox_rows(conn, [event])


def _stay_of(revision: ParsedRevision, pending: PendingRevision) -> ParsedRevision:
    """Which of a booking's stays a row is for; one that the booking does not name is cancelled by it."""
    stays = stays_of(revision)
    found = next((stay for stay in stays if stay.ota_reservation_code == pending.ota_reservation_code), None)
    if found is not None:
        return found
    number = int(pending.ota_reservation_code.rpartition("#")[2])
    return cancellation_of(revision, number, pending.ota_listing_id)


async def _accept_stay(
    deps: Deps, conn: Connection, door: Door, stay: ParsedRevision, body: bytes, source: Source
) -> Received:
    log_id = uuid4()
    found = await revision_rows.select_inbound_context(conn, door.agency_id, door.connection_id, stay)
    if found.earlier is not None:
        return Received(stay.revision_id, found.earlier, is_new=False)
    if found.is_erased:
        stay, body = replace(stay, guest=None), deps.adapters[door.adapter].without_guest(body)
    number = next_revision_no(stay.published_at, found.now, found.taken)
    stored = await revision_rows.insert_revision(
        conn,
        door,
        log_id,
        stay,
        raw=body,
        source=source,
        trace_id=current_trace_id(),
        revision_no=number,
        property_id=found.property_id,
    )
    if not stored:  # the same revision_id under another reservation code, a moment ago
        earlier = await revision_rows.select_revision_log_id(conn, door.agency_id, door.connection_id, stay.revision_id)
        return Received(stay.revision_id, earlier, is_new=False)
    if found.property_id is not None:
        pending = PendingRevision(
            log_id=log_id,
            agency_id=door.agency_id,
            connection_id=door.connection_id,
            property_id=found.property_id,
            adapter=door.adapter,
            revision_id=stay.revision_id,
            ota_reservation_code=stay.ota_reservation_code,
            ota_listing_id=stay.ota_listing_id,
            revision_no=number,
            raw=body,
        )
        event = events.channel_reservation_received(uuid4(), pending, stay, deps.partitions)
        await insert_outbox_rows(conn, [event])
    return Received(stay.revision_id, log_id, is_new=True)
