"""Owns the use cases on what channels send: receive, settle, read again, list; called by api, consumers and workers."""

from uuid import UUID

from channel_sync.domain.channels import Door
from channel_sync.domain.errors import (
    ConnectionUnknown,
    NothingToReprocess,
    RevisionTooLarge,
    RevisionUnknown,
    SignatureInvalid,
    UnparseableRevision,
)
from channel_sync.domain.paging import Page, Position, Slice
from channel_sync.domain.revisions import (
    EPOCH,
    MAX_REVISION_BYTES,
    UNPARSEABLE,
    Received,
    RevisionResult,
    StoredRevision,
)
from channel_sync.domain.signature import is_genuine
from channel_sync.repository import connections as connection_rows
from channel_sync.repository import erasures
from channel_sync.repository import revisions as revision_rows
from channel_sync.service.accepting import accept, accept_within, hand_over, read, store_unparseable
from channel_sync.service.deps import Deps
from channel_sync.service.paging import page_of
from runtime.logs import get_logger
from runtime.postgres import transaction

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
        revision = read(deps.adapters[door.adapter], body)
    except UnparseableRevision as error:
        log_id = await store_unparseable(deps, door, body, error, "webhook")
        raise error.stored_as(log_id) from None
    return await accept(deps, door, revision, body, "webhook")


async def receive_record(deps: Deps, connection_id: str, body: bytes) -> Received:
    """Store a revision that came through the open topic, which only trusted connectors write.

    Raises `ConnectionUnknown` and `RevisionTooLarge`, then nothing is stored; and `UnparseableRevision` once the bytes
    are stored, naming them, so that the connection's agency sees them whichever door they came through.
    """
    if len(body) > MAX_REVISION_BYTES:
        raise RevisionTooLarge(RevisionTooLarge.__doc__)
    door = await _find_door(deps, connection_id)
    if door is None:
        raise ConnectionUnknown(ConnectionUnknown.__doc__)
    try:
        revision = read(deps.adapters[door.adapter], body)
    except UnparseableRevision as error:
        raise error.stored_as(await store_unparseable(deps, door, body, error, "kafka")) from None
    return await accept(deps, door, revision, body, "kafka")


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
        for pending in waiting:
            await hand_over(deps, conn, pending)
    if waiting:
        log.warning("revisions without an outcome handed over again", count=len(waiting))
        deps.wake_relay()
    return len(waiting)


async def reprocess(deps: Deps, agency_id: UUID, log_id: UUID) -> UUID:
    """Read a stored revision with today's adapter, or hand it over to booking again; the log id it is found under.

    An unreadable one becomes a row of its own once it can be read. Raises `RevisionUnknown`, `NothingToReprocess` when
    its listing is still not mapped, and `UnparseableRevision` when it still cannot be read.
    """
    async with transaction(deps.pool, agency_id) as conn:
        kept = await revision_rows.lock_revision(conn, agency_id, log_id)
        if kept is None:
            raise RevisionUnknown(RevisionUnknown.__doc__)
        if kept.state == UNPARSEABLE:
            door = await _find_door(deps, str(kept.connection_id))
            if door is None:
                raise NothingToReprocess(NothingToReprocess.__doc__)
            try:
                revision = read(deps.adapters[door.adapter], kept.raw)
            except UnparseableRevision as error:
                raise error.stored_as(log_id) from None
            await revision_rows.retire_revision(conn, agency_id, log_id)
            received = await accept_within(deps, conn, door, revision, kept.raw, kept.source)
            await revision_rows.note_read_again(conn, agency_id, log_id, received.log_id)
            found = received.log_id
        else:
            pending = await revision_rows.republish_revision(conn, agency_id, log_id)
            if pending is None:
                raise NothingToReprocess(NothingToReprocess.__doc__)
            await hand_over(deps, conn, pending)
            found = log_id
    deps.wake_relay()
    return found


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
