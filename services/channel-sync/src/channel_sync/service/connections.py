"""Owns the use cases on connections, listings and their history; called by api."""

import secrets
from collections.abc import Callable
from uuid import UUID, uuid4

from channel_sync.domain.channels import Connection as ChannelConnection
from channel_sync.domain.channels import Listing, NewConnection, NewListing, Operation
from channel_sync.domain.errors import ConnectionUnknown, ListingTaken, PropertyUnknown
from channel_sync.domain.paging import Page, Position, Slice
from channel_sync.repository import connections as connection_rows
from channel_sync.repository import listings as listing_rows
from channel_sync.repository import operations as operation_rows
from channel_sync.repository import revisions as revision_rows
from channel_sync.service.deps import Deps
from channel_sync.service.idempotent import create_once, stored_answer
from channel_sync.service.inbound import hand_over
from channel_sync.service.paging import page_of
from runtime.idempotency import IdempotencyKey, StoredAnswer, select_idempotent_answer
from runtime.postgres import Connection, transaction
from runtime.telemetry import carrier_of

CREATED = 201
SECRET_BYTES = 32


async def create_connection(
    deps: Deps,
    agency_id: UUID,
    new: NewConnection,
    key: IdempotencyKey | None,
    body: Callable[[ChannelConnection, str | None], str],
) -> StoredAnswer:
    """Make a connection; `body` turns it, and the secret when the suite made one, into the answer."""
    made = None if new.secret is not None else secrets.token_urlsafe(SECRET_BYTES)

    async def insert(conn: Connection) -> StoredAnswer:
        sealed = deps.cipher.seal(new.secret or made or "")
        created = await connection_rows.insert_connection(conn, agency_id, uuid4(), new, sealed)
        # The answer may hold the secret and is kept for replays: it is stored sealed too.
        return StoredAnswer(CREATED, deps.cipher.seal(body(created, made)).decode())

    answer = await create_once(deps.pool, agency_id, key, insert)
    return StoredAnswer(answer.status, deps.cipher.open(answer.body.encode()), answer.replayed)


async def list_connections(deps: Deps, agency_id: UUID, part: Slice) -> Page[ChannelConnection]:
    """The agency's connections, newest first."""
    async with transaction(deps.pool, agency_id) as conn:
        found = await connection_rows.select_connections(conn, agency_id, part.after, part.limit + 1)
    return page_of(found, part.limit, lambda item: Position(item.created_at, item.id))


async def get_connection(deps: Deps, agency_id: UUID, connection_id: UUID) -> ChannelConnection:
    """One connection; raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        return await _connection(conn, agency_id, connection_id)


async def map_listing(
    deps: Deps,
    agency_id: UUID,
    connection_id: UUID,
    new: NewListing,
    key: IdempotencyKey | None,
    body: Callable[[Listing], str],
) -> StoredAnswer:
    """Map a listing to a property, push its nights at once, and hand over the revisions that waited for it.

    Raises `ConnectionUnknown`, `PropertyUnknown`, `ListingTaken`, and `UpstreamUnavailable` when booking, which knows
    the properties, does not answer.
    """
    if (stored := await stored_answer(deps.pool, key)) is not None:
        return stored
    calendar = await deps.booking.property_calendar(new.property_id)
    if calendar is None or calendar.agency_id != agency_id or calendar.gone:
        raise PropertyUnknown(PropertyUnknown.__doc__)
    version = calendar.inventory_version

    async def insert(conn: Connection) -> StoredAnswer:
        await _connection(conn, agency_id, connection_id)
        await listing_rows.lock_listing(conn, connection_id, new.ota_listing_id, exclusive=True)
        if key is not None and (replay := await select_idempotent_answer(conn, key)) is not None:
            return replay
        listing = await listing_rows.insert_listing(
            conn,
            agency_id,
            connection_id,
            new,
            ids=(uuid4(), uuid4()),
            version=version,
            traceparent=carrier_of().get("traceparent"),
        )
        if listing is None:
            raise ListingTaken(ListingTaken.__doc__)
        waiting = await revision_rows.publish_unmapped_revisions(
            conn, agency_id, connection_id, new.ota_listing_id, new.property_id
        )
        await hand_over(deps, conn, waiting)
        return StoredAnswer(CREATED, body(listing))

    answer = await create_once(deps.pool, agency_id, key, insert)
    deps.wake_pusher()
    deps.wake_relay()
    return answer


async def list_listings(deps: Deps, agency_id: UUID, connection_id: UUID, part: Slice) -> Page[Listing]:
    """The listings of a connection, newest first; raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        await _connection(conn, agency_id, connection_id)
        found = await listing_rows.select_listings(conn, agency_id, connection_id, part.after, part.limit + 1)
    return page_of(found, part.limit, lambda item: Position(item.created_at, item.id))


async def list_operations(
    deps: Deps, agency_id: UUID, connection_id: UUID, limit: int, offset: int
) -> tuple[list[Operation], int]:
    """The operations of a connection, newest first, and how many there are; raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        await _connection(conn, agency_id, connection_id)
        found = await operation_rows.select_operations(conn, agency_id, connection_id, limit, offset)
        return found, await operation_rows.count_operations(conn, agency_id, connection_id)


async def _connection(conn: Connection, agency_id: UUID, connection_id: UUID) -> ChannelConnection:
    found = await connection_rows.select_connection(conn, agency_id, connection_id)
    if found is None:
        raise ConnectionUnknown(ConnectionUnknown.__doc__)
    return found
