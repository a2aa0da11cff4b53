"""Use cases of properties: create, read, list, delete; and their whole state for other services."""

from dataclasses import replace
from datetime import date
from uuid import UUID

from booking import events
from booking.domain import deletion
from booking.domain.errors import NotFound
from booking.domain.inventory import refuse_deleted
from booking.domain.model import Change, LedgerState, Page, Property
from booking.events import bodies
from booking.repository import lists, reads, snapshots, writes
from booking.repository.snapshots import DigestPage, PropertyWithRanges
from booking.repository.writes import AnswerDraft, Written
from booking.service.writing import Decision, Deps, replaying, under_lock, write_request
from runtime.idempotency import IdempotencyKey, StoredAnswer
from runtime.kafka import partition_of
from runtime.postgres import Connection, retrying_deadlocks, transaction


async def create(deps: Deps, record: Property, key: IdempotencyKey | None) -> StoredAnswer:
    """Create a property at inventory version 1: 201 body."""
    change = Change(record.id, "PropertyCreated", property=record)
    request = write_request(
        deps,
        record.agency_id,
        [change],
        key=key,
        answer=AnswerDraft(record.id, 201, bodies.property_body(record)),
        shard=partition_of(str(record.id), deps.partitions),
    )

    async def attempt() -> StoredAnswer:
        return (await writes.write_changes(deps.pool, request)).created

    answer = await replaying(deps, key, lambda: retrying_deadlocks(attempt))
    deps.wake()
    return answer


async def get(deps: Deps, agency_id: UUID, property_id: UUID) -> Property:
    """One property of the agency, or `NotFound`."""
    async with transaction(deps.pool, agency_id) as connection:
        return await existing(connection, agency_id, property_id)


async def existing(connection: Connection, agency_id: UUID, property_id: UUID) -> Property:
    """`get` inside a transaction; a deleted property is not there."""
    record = await _stored(connection, agency_id, property_id)
    refuse_deleted(record)
    return record


async def delete(deps: Deps, agency_id: UUID, property_id: UUID) -> Property:
    """Take a property away for good; deleting twice answers the same. Raises `PropertyInUse`, `NotFound`.

    Its reservations stay readable, its guests erasable; what an OTA still sells of it waits as overbooked.
    """

    async def decide(connection: Connection, state: LedgerState) -> Decision:
        return Decision(deletion.delete(state, await reads.select_inquiries(connection, property_id)))

    async def finish(connection: Connection, _: Written) -> Property:
        return await _stored(connection, agency_id, property_id)

    shard = partition_of(str(property_id), deps.partitions)
    return await under_lock(deps, agency_id, property_id, decide, finish, shard=shard)


async def _stored(connection: Connection, agency_id: UUID, property_id: UUID) -> Property:
    record = await reads.select_property(connection, property_id)
    if record is None or record.agency_id != agency_id:
        raise NotFound("property")
    return record


async def list_page(deps: Deps, agency_id: UUID, page: Page) -> list[Property]:
    """A page of the agency's properties, newest first; deleted ones left out."""
    async with transaction(deps.pool, agency_id) as connection:
        return await lists.select_properties(connection, agency_id, page)


async def state(deps: Deps, property_id: UUID, since: date | None = None) -> PropertyWithRanges:
    """The whole state of a property whatever its agency, or `NotFound`; for other services, with the system role.

    Its ranges are those that end in the last days or later; with `since` those that end after that date, however long
    ago it was. A deleted property is answered as gone for ever: who never heard of the deletion must not take it for a
    mistake.
    """
    async with deps.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        found = await snapshots.select_property_with_ranges(connection, property_id)
        if found is None:
            raise NotFound("property")
        archived = await snapshots.select_archived_ranges(connection, property_id, since) if since is not None else []
    horizon = since or found.as_of.date() - events.PAST_DAYS_IN_SNAPSHOT
    kept = tuple(stored for stored in found.ranges if stored.occupied_end > horizon)
    return replace(found, ranges=(*archived, *kept))


async def digests(deps: Deps, ends_after: date, cursor: UUID | None, limit: int) -> DigestPage:
    """A page of the digests over stored ranges that end after a date; for other services, with the system role."""
    async with deps.pool.acquire() as connection:
        return await snapshots.select_digest_page(connection, ends_after, cursor, limit)
