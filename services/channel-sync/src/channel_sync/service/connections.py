"""Owns the use cases on connections, listings and their history; called by api."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

from channel_sync.adapters import CALENDARS
from channel_sync.clients.channels import ChannelSilent, ChannelUnreachable
from channel_sync.domain.addresses import AddressRefused
from channel_sync.domain.ari import ChannelTarget
from channel_sync.domain.channels import Connection as ChannelConnection
from channel_sync.domain.channels import ConnectionChange, ConnectionTest, Listing, NewConnection, NewListing
from channel_sync.domain.errors import (
    AdapterUnknown,
    CalendarMapped,
    ConnectionUnknown,
    ListingTaken,
    ListingUnknown,
    PropertyUnknown,
)
from channel_sync.domain.night_values import ListingOverrides
from channel_sync.domain.paging import Page, Position, Slice
from channel_sync.repository import connections as connection_rows
from channel_sync.repository import feeds as feed_rows
from channel_sync.repository import listings as listing_rows
from channel_sync.repository import revisions as revision_rows
from channel_sync.service.accepting import hand_over
from channel_sync.service.deps import Cipher, Deps
from channel_sync.service.idempotent import create_once, stored_answer
from channel_sync.service.paging import page_of
from runtime.idempotency import IdempotencyKey, StoredAnswer, select_idempotent_answer
from runtime.postgres import Connection, Pool, transaction
from runtime.telemetry import carrier_of

CREATED = 201
SECRET_BYTES = 32
SECRETS_AT_ONCE = 100


async def create_connection(
    deps: Deps,
    agency_id: UUID,
    new: NewConnection,
    key: IdempotencyKey | None,
    body: Callable[[ChannelConnection, str | None], str],
) -> StoredAnswer:
    """Make a connection; `body` turns it, and the secret when the suite made one, into the answer.

    Raises `AdapterUnknown` and `AddressRefused`.
    """
    _require_usable(deps, new.adapter, new.endpoint_url)
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
        return await require_connection(conn, agency_id, connection_id)


async def change_connection(
    deps: Deps, agency_id: UUID, connection_id: UUID, change: ConnectionChange
) -> ChannelConnection:
    """Change a connection; what it could not be told is tried again at once.

    Raises `ConnectionUnknown` and `AddressRefused`.
    """
    if change.endpoint_url is not None:
        _require_address(deps, change.endpoint_url)
    sealed = None if change.secret is None else deps.cipher.seal(change.secret)
    async with transaction(deps.pool, agency_id) as conn:
        changed = await connection_rows.update_connection(conn, agency_id, connection_id, change, sealed)
        if changed is None:
            raise ConnectionUnknown(ConnectionUnknown.__doc__)
        await listing_rows.make_all_due(conn, agency_id, connection_id)
    deps.wake_pusher()
    return changed


async def delete_connection(deps: Deps, agency_id: UUID, connection_id: UUID) -> ChannelConnection:
    """Forget a connection and its listings; the channel keeps what it was told. Raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        deleted = await connection_rows.delete_connection(conn, agency_id, connection_id)
    if deleted is None:
        raise ConnectionUnknown(ConnectionUnknown.__doc__)
    return deleted


async def test_connection(deps: Deps, agency_id: UUID, connection_id: UUID) -> ConnectionTest:
    """Make a real call to the channel that changes nothing; raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        connection = await require_connection(conn, agency_id, connection_id)
        sealed = await connection_rows.select_sealed_secret(conn, agency_id, connection_id)
    adapter = deps.adapters[connection.adapter]
    target = ChannelTarget(connection.endpoint_url, deps.cipher.open(sealed or b""), connection.settings)
    began = time.monotonic()
    try:
        answer = await deps.channels.send(adapter.test_request(target, datetime.now(UTC)))
        status, error = answer.status, adapter.test_error(answer)
    except (ChannelUnreachable, ChannelSilent) as failed:
        status, error = None, str(failed)
    return ConnectionTest(status, error, round((time.monotonic() - began) * 1000))


async def map_listing(
    deps: Deps,
    agency_id: UUID,
    connection_id: UUID,
    new: NewListing,
    key: IdempotencyKey | None,
    body: Callable[[Listing], str],
) -> StoredAnswer:
    """Map a listing to a property, push its nights at once, and hand over the revisions that waited for it.

    Raises `ConnectionUnknown`, `PropertyUnknown`, `ListingTaken`, `CalendarMapped`, and `UpstreamUnavailable` when
    booking, which knows the properties, does not answer.
    """
    if (stored := await stored_answer(deps.pool, key)) is not None:
        return stored
    calendar = await deps.booking.property_calendar(new.property_id)
    if calendar is None or calendar.agency_id != agency_id or calendar.gone:
        raise PropertyUnknown(PropertyUnknown.__doc__)
    version = calendar.inventory_version

    async def insert(conn: Connection) -> StoredAnswer:
        connection = await require_connection(conn, agency_id, connection_id)
        is_calendar = connection.adapter in CALENDARS
        if is_calendar:  # of two listings for one calendar the second waits here, whatever it is called
            await listing_rows.lock_listing(conn, connection_id, "", exclusive=True)
        await listing_rows.lock_listing(conn, connection_id, new.ota_listing_id, exclusive=True)
        if key is not None and (replay := await select_idempotent_answer(conn, key)) is not None:
            return replay
        if is_calendar and await listing_rows.count_listings(conn, agency_id, connection_id):
            raise CalendarMapped(CalendarMapped.__doc__)
        listing = await listing_rows.insert_listing(
            conn,
            agency_id,
            connection_id,
            new,
            ids=(uuid4(), uuid4()),
            version=version,
            traceparent=carrier_of().get("traceparent"),
            calendar_token=uuid4() if is_calendar else None,
        )
        if listing is None:
            raise ListingTaken(ListingTaken.__doc__)
        waiting = await revision_rows.publish_unmapped_revisions(
            conn, agency_id, connection_id, new.ota_listing_id, new.property_id
        )
        for pending in waiting:
            await hand_over(deps, conn, pending)
        if is_calendar:
            await feed_rows.ask_for_poll(conn, agency_id, connection_id, None, None)
        return StoredAnswer(CREATED, body(listing))

    answer = await create_once(deps.pool, agency_id, key, insert)
    deps.wake_pusher()
    deps.wake_relay()
    return answer


async def change_listing(
    deps: Deps,
    agency_id: UUID,
    connection_id: UUID,
    listing_id: UUID,
    changed: Callable[[ListingOverrides], ListingOverrides],
) -> Listing:
    """Change what a listing tells otherwise than its property; told at once. Raises `ListingUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        found = await listing_rows.select_listing(conn, agency_id, connection_id, listing_id)
        if found is None:
            raise ListingUnknown(ListingUnknown.__doc__)
        listing = await listing_rows.update_overrides(conn, agency_id, listing_id, changed(found.overrides))
    deps.wake_pusher()
    return listing


async def unmap_listing(deps: Deps, agency_id: UUID, connection_id: UUID, listing_id: UUID) -> Listing:
    """Forget a mapping; the channel keeps what it was told, later revisions are unmapped. Raises `ListingUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        found = await listing_rows.select_listing(conn, agency_id, connection_id, listing_id)
        if found is None:
            raise ListingUnknown(ListingUnknown.__doc__)
        await listing_rows.lock_listing(conn, connection_id, found.ota_listing_id, exclusive=True)
        await listing_rows.delete_listing(conn, agency_id, listing_id)
    return found


async def list_listings(deps: Deps, agency_id: UUID, connection_id: UUID, part: Slice) -> Page[Listing]:
    """The listings of a connection, newest first; raises `ConnectionUnknown`."""
    async with transaction(deps.pool, agency_id) as conn:
        await require_connection(conn, agency_id, connection_id)
        found = await listing_rows.select_listings(conn, agency_id, connection_id, part.after, part.limit + 1)
    return page_of(found, part.limit, lambda item: Position(item.created_at, item.id))


async def rotate_secrets(system_pool: Pool, cipher: Cipher) -> int:
    """Seal every secret with the cipher's first key; how many there are. Part by part: it may be begun again."""
    after, count = UUID(int=0), 0
    while True:
        async with transaction(system_pool, None) as conn:
            found = await connection_rows.lock_sealed_secrets(conn, after, SECRETS_AT_ONCE)
            for connection_id, sealed in found:
                await connection_rows.update_sealed_secret(conn, connection_id, cipher.rotate(sealed))
        if not found:
            return count
        after, count = found[-1][0], count + len(found)


def _require_usable(deps: Deps, adapter: str, endpoint_url: str) -> None:
    if adapter not in deps.adapters:
        raise AdapterUnknown(f"must be one of {', '.join(sorted(deps.adapters))}")
    _require_address(deps, endpoint_url)


def _require_address(deps: Deps, endpoint_url: str) -> None:
    try:
        deps.channels.check(endpoint_url)
    except ChannelUnreachable as error:
        raise AddressRefused(str(error)) from None


async def require_connection(conn: Connection, agency_id: UUID, connection_id: UUID) -> ChannelConnection:
    """The connection; raises `ConnectionUnknown`."""
    found = await connection_rows.select_connection(conn, agency_id, connection_id)
    if found is None:
        raise ConnectionUnknown(ConnectionUnknown.__doc__)
    return found
