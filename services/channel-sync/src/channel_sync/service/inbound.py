"""Owns the use cases on what channels send: receive, hand over, settle, list; called by api, consumers and workers.

The webhook and the topic are two doors to one room: `_accept` stores a revision and its event in one transaction.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

from channel_sync import events
from channel_sync.adapters import Adapter
from channel_sync.domain.channels import Door
from channel_sync.domain.errors import ConnectionUnknown, RevisionTooLarge, SignatureInvalid, UnparseableRevision
from channel_sync.domain.paging import Page, Position, Slice
from channel_sync.domain.revisions import (
    EPOCH,
    MAX_REVISION_BYTES,
    ParsedRevision,
    PendingRevision,
    Received,
    RevisionResult,
    Source,
    StoredRevision,
    next_revision_no,
)
from channel_sync.domain.signature import is_genuine
from channel_sync.repository import connections as connection_rows
from channel_sync.repository import erasures
from channel_sync.repository import listings as listing_rows
from channel_sync.repository import revisions as revision_rows
from channel_sync.service.deps import Deps
from channel_sync.service.paging import page_of
from runtime.logs import get_logger
from runtime.outbox import insert_outbox_rows
from runtime.postgres import Connection, transaction
from runtime.telemetry import current_trace_id

log = get_logger(__name__)

WITHOUT_OUTCOME_MIN = 10
REPUBLISH_AT_ONCE = 200
NOBODYS_SECRET = "the secret of no connection"  # noqa: S105 - signs nothing


async def receive_webhook(deps: Deps, connection_id: str, timestamp: str, signature: str, body: bytes) -> Received:
    """Store a signed revision; durable when this returns.

    Raises `SignatureInvalid` (also for an unknown connection, so that ids cannot be probed), and `UnparseableRevision`
    once the bytes are stored, naming them.
    """
    door = await _find_door(deps, connection_id)
    secret = deps.cipher.open(door.sealed_secret) if door is not None else NOBODYS_SECRET
    now = door.now if door is not None else EPOCH
    if not is_genuine(secret, timestamp, signature, body, now) or door is None:
        raise SignatureInvalid(SignatureInvalid.__doc__)
    try:
        revision = _read(deps.adapters[door.adapter], body)
    except UnparseableRevision as error:
        log_id = await _store_unparseable(deps, door, body, error)
        raise error.stored_as(log_id) from None
    return await _accept(deps, door, revision, body, "webhook")


async def receive_record(deps: Deps, connection_id: str, body: bytes) -> Received:
    """Store a revision that came through the open topic, which only trusted connectors write.

    Raises `ConnectionUnknown`, `RevisionTooLarge` and `UnparseableRevision`; then nothing is stored.
    """
    if len(body) > MAX_REVISION_BYTES:
        raise RevisionTooLarge(RevisionTooLarge.__doc__)
    door = await _find_door(deps, connection_id)
    if door is None:
        raise ConnectionUnknown(ConnectionUnknown.__doc__)
    return await _accept(deps, door, _read(deps.adapters[door.adapter], body), body, "kafka")


async def hand_over(deps: Deps, conn: Connection, waiting: Sequence[PendingRevision]) -> None:
    """Write stored revisions to the outbox for booking, in the transaction that made them `published`.

    One that today's adapter cannot read any more stays without an outcome and is tried again; it must not keep the
    others back.
    """
    for pending in waiting:
        try:
            revision = _read(deps.adapters[pending.adapter], pending.raw)
        except UnparseableRevision as error:
            log.error("stored revision cannot be read", log_id=pending.log_id, field=error.field, code=error.code)
            continue
        event = events.channel_reservation_received(uuid4(), pending, revision, deps.partitions)
        await insert_outbox_rows(conn, [event])


async def settle(deps: Deps, agency_id: UUID, result: RevisionResult) -> None:
    """Note what booking decided about a revision; noted once."""
    async with transaction(deps.system_pool, None) as conn:
        await revision_rows.settle_revision(conn, agency_id, result)


async def erase_guest(deps: Deps, agency_id: UUID, connection_id: UUID, code: str) -> None:
    """Forget who the guest of a channel's reservation is: in its revisions, their events, and all that comes later.

    The reservation's code is kept, so that what the channel sends again is applied without personal data.
    """
    async with transaction(deps.system_pool, None) as conn:
        await revision_rows.lock_reservation_code(conn, connection_id, code)
        await erasures.insert_erased_reservation(conn, agency_id, connection_id, code)
        for log_id, adapter, raw in await erasures.select_raw_revisions(conn, agency_id, connection_id, code):
            await erasures.update_raw_revision(conn, log_id, deps.adapters[adapter].without_guest(raw))
        await erasures.update_outbox_guests(conn, agency_id, connection_id, code)


async def hand_over_again(deps: Deps) -> int:
    """Give booking the revisions again that it has not decided for ten minutes; their number."""
    async with transaction(deps.system_pool, None) as conn:
        waiting = await revision_rows.claim_revisions_without_outcome(conn, WITHOUT_OUTCOME_MIN, REPUBLISH_AT_ONCE)
        await hand_over(deps, conn, waiting)
    if waiting:
        log.warning("revisions without an outcome handed over again", count=len(waiting))
        deps.wake_relay()
    return len(waiting)


async def list_revisions(
    deps: Deps, agency_id: UUID, connection_id: UUID | None, state: str | None, part: Slice
) -> Page[StoredRevision]:
    """The agency's revisions, newest first; of one connection or in one state when given."""
    async with transaction(deps.pool, agency_id) as conn:
        found = await revision_rows.select_revisions(conn, agency_id, connection_id, state, part.after, part.limit + 1)
    return page_of(found, part.limit, lambda item: Position(item.received_at, item.log_id))


async def _find_door(deps: Deps, connection_id: str) -> Door | None:
    try:
        return await connection_rows.select_door(deps.system_pool, UUID(connection_id))
    except ValueError:
        return None


def _read(adapter: Adapter, body: bytes) -> ParsedRevision:
    try:
        return adapter.parse(body)
    except UnparseableRevision:
        raise
    except Exception as error:  # a bug of an adapter must not lose the bytes
        log.error("adapter failed", error=type(error).__name__)
        raise UnparseableRevision("body", "adapter_failed", f"{type(error).__name__} in the adapter") from None


async def _accept(deps: Deps, door: Door, revision: ParsedRevision, body: bytes, source: Source) -> Received:
    """Store a revision and, when its listing is mapped, its event for booking; or find it stored already."""
    log_id = uuid4()
    async with transaction(deps.pool, door.agency_id) as conn:
        await listing_rows.lock_listing(conn, door.connection_id, revision.ota_listing_id, exclusive=False)
        await revision_rows.lock_reservation_code(conn, door.connection_id, revision.ota_reservation_code)
        found = await revision_rows.select_inbound_context(conn, door.agency_id, door.connection_id, revision)
        if found.earlier is not None:
            return Received(revision.revision_id, found.earlier, is_new=False)
        if found.is_erased:
            revision, body = replace(revision, guest=None), deps.adapters[door.adapter].without_guest(body)
        number = next_revision_no(revision.published_at, found.now, found.taken)
        stored = await revision_rows.insert_revision(
            conn,
            door,
            log_id,
            revision,
            raw=body,
            source=source,
            trace_id=current_trace_id(),
            revision_no=number,
            property_id=found.property_id,
        )
        if not stored:  # the same revision_id under another reservation code, a moment ago
            earlier = await revision_rows.select_revision_log_id(
                conn, door.agency_id, door.connection_id, revision.revision_id
            )
            return Received(revision.revision_id, earlier, is_new=False)
        if found.property_id is not None:
            pending = PendingRevision(
                log_id, door.agency_id, door.connection_id, found.property_id, door.adapter, number, body
            )
            event = events.channel_reservation_received(uuid4(), pending, revision, deps.partitions)
            await insert_outbox_rows(conn, [event])
    deps.wake_relay()
    log.info("revision stored", log_id=log_id, connection_id=door.connection_id, mapped=found.property_id is not None)
    return Received(revision.revision_id, log_id, is_new=True)


async def _store_unparseable(deps: Deps, door: Door, body: bytes, error: UnparseableRevision) -> UUID:
    """Keep the bytes under their digest: a revision_id in them must stay free for a corrected copy."""
    log_id = uuid4()
    revision_id = f"sha256/{hashlib.sha256(body).hexdigest()}"
    async with transaction(deps.pool, door.agency_id) as conn:
        stored = await revision_rows.insert_unparseable_revision(
            conn,
            door,
            log_id,
            revision_id=revision_id,
            raw=body,
            trace_id=current_trace_id(),
            reason=str(error),
        )
        if stored:
            return log_id
        return await revision_rows.select_revision_log_id(conn, door.agency_id, door.connection_id, revision_id)
