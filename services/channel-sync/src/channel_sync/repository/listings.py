"""The statements on `listings`: mapping, marks, leases and what channels accepted; called by service."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from channel_sync.domain.channels import Listing, NewListing
from channel_sync.domain.paging import Position
from channel_sync.domain.pushes import ClaimedListing
from channel_sync.repository.rows import affected, position_parameters
from runtime.postgres import Connection

_LISTING = "id, connection_id, property_id, ota_listing_id, ota_rate_plan_id, stale_since, pushed_version, created_at"


async def lock_listing(conn: Connection, connection_id: UUID, ota_listing_id: str, *, exclusive: bool) -> None:
    """Keep the mapping of a listing of the channel from changing (shared), or change it (exclusive).

    The row need not exist: a revision that finds no mapping and a mapping that looks for revisions must not overlap.
    """
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    await conn.execute(
        f"SELECT {function}(hashtextextended('listing/' || $1::text || '/' || $2::text, 0))",
        str(connection_id),
        ota_listing_id,
    )


async def insert_listing(
    conn: Connection,
    agency_id: UUID,
    connection_id: UUID,
    new: NewListing,
    *,
    ids: tuple[UUID, UUID],
    version: int,
    traceparent: str | None,
) -> Listing | None:
    """Map a listing and make it stale; `ids` are its own and its first task's. None when it is mapped already."""
    row = await conn.fetchrow(
        f"""INSERT INTO listings (id, agency_id, connection_id, property_id, ota_listing_id, ota_rate_plan_id,
                created_at, dirty_version, stale_since, task_id, traceparent, next_attempt_at)
            VALUES ($1, $2, $3, $4, $5, $6, suite_now(), $7, suite_now(), $8, $9, suite_now())
            ON CONFLICT ON CONSTRAINT listings_mapped_once DO NOTHING RETURNING {_LISTING}""",  # noqa: S608
        ids[0],
        agency_id,
        connection_id,
        new.property_id,
        new.ota_listing_id,
        new.ota_rate_plan_id,
        version,
        ids[1],
        traceparent,
    )
    return Listing(**row) if row is not None else None


async def select_listings(
    conn: Connection, agency_id: UUID, connection_id: UUID, after: Position | None, limit: int
) -> list[Listing]:
    """The listings of a connection, newest first."""
    rows = await conn.fetch(
        f"""SELECT {_LISTING} FROM listings
            WHERE agency_id = $1 AND connection_id = $2
              AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $5""",  # noqa: S608
        agency_id,
        connection_id,
        *position_parameters(after),
        limit,
    )
    return [Listing(**row) for row in rows]


_MARK = """
UPDATE listings SET
    dirty_version = $3,
    next_attempt_at = CASE WHEN stale_since IS NULL THEN suite_now() ELSE next_attempt_at END,
    task_id = CASE WHEN stale_since IS NULL THEN gen_random_uuid() ELSE task_id END,
    stale_since = coalesce(stale_since, suite_now()),
    traceparent = coalesce($4, traceparent)
WHERE id IN (
    SELECT id FROM listings
    WHERE agency_id = $1 AND property_id = $2 AND dirty_version < $3 AND coalesce(pushed_version, -1) < $3
    ORDER BY id FOR UPDATE
)"""


async def mark_listings_stale(
    conn: Connection, agency_id: UUID, property_id: UUID, version: int, traceparent: str | None
) -> int:
    """Make the property's listings stale at a version; the number marked.

    A version we heard of, or one the channel accepted already (pushes send the ledger's state of their own moment),
    marks nothing. A pause before the next attempt is kept.
    """
    return affected(await conn.execute(_MARK, agency_id, property_id, version, traceparent))


_MARK_OLD = """
UPDATE listings SET next_attempt_at = suite_now(), task_id = gen_random_uuid(), stale_since = suite_now(),
    traceparent = NULL
WHERE id IN (
    SELECT id FROM listings WHERE stale_since IS NULL AND accepted_at < suite_now() - make_interval(hours => $1)
    ORDER BY accepted_at LIMIT $2 FOR UPDATE SKIP LOCKED
)"""


async def mark_old_listings_stale(conn: Connection, hours: int, limit: int) -> int:
    """Make listings stale whose last push is `hours` old; the number marked."""
    return affected(await conn.execute(_MARK_OLD, hours, limit))


# A lease that ran out says that a push may have been sent and nobody recorded it: what the channel holds is unknown.
_CLAIM = """
WITH due AS (
    SELECT listings.id FROM listings JOIN connections ON connections.id = listings.connection_id
    WHERE listings.stale_since IS NOT NULL AND listings.next_attempt_at <= suite_now()
      AND (listings.lease_expires_at IS NULL OR listings.lease_expires_at <= suite_now()) AND connections.enabled
    ORDER BY listings.next_attempt_at LIMIT $1
    FOR UPDATE OF listings SKIP LOCKED
)
UPDATE listings SET
    lease_owner = $2,
    lease_epoch = lease_epoch + 1,
    lease_expires_at = suite_now() + make_interval(secs => $3),
    pushed_version = CASE WHEN lease_owner IS NULL THEN pushed_version END,
    last_accepted = CASE WHEN lease_owner IS NULL THEN last_accepted END,
    unsettled_until = CASE WHEN lease_owner IS NULL THEN unsettled_until
                           ELSE suite_now() + make_interval(secs => $4) END
FROM due, connections
WHERE listings.id = due.id AND connections.id = listings.connection_id
RETURNING listings.id AS listing_id, listings.agency_id, listings.connection_id, listings.property_id,
    listings.ota_listing_id, connections.adapter, connections.endpoint_url, connections.sealed_secret,
    listings.dirty_version, listings.sent_version, listings.attempts, listings.task_id, listings.lease_epoch,
    listings.traceparent, suite_now() AS claimed_at"""


async def claim_listings(
    conn: Connection, limit: int, owner: str, lease_s: float, settle_s: float
) -> list[ClaimedListing]:
    """Lease up to `limit` stale listings that are due, longest due first; each claim takes the next epoch."""
    rows = await conn.fetch(_CLAIM, limit, owner, lease_s, settle_s)
    return [ClaimedListing(**row) for row in rows]


# Stale until nothing newer was heard of, and this push began when no request with an unknown outcome could still take
# effect after it.
_ACCEPTED = """
UPDATE listings SET
    lease_owner = NULL, lease_expires_at = NULL, attempts = 0,
    sent_version = greatest(sent_version, $3), pushed_version = $3, last_accepted = $4, accepted_at = suite_now(),
    stale_since = CASE WHEN dirty_version <= $3 AND coalesce(unsettled_until <= $5, true) THEN NULL
                       ELSE stale_since END,
    next_attempt_at = CASE WHEN dirty_version <= $3 THEN coalesce(unsettled_until, suite_now()) ELSE suite_now() END,
    unsettled_until = CASE WHEN unsettled_until > $5 THEN unsettled_until END
WHERE id = $1 AND lease_epoch = $2"""


async def update_listing_accepted(
    conn: Connection, claimed: ClaimedListing, version: int, nights: Sequence[dict[str, Any]]
) -> bool:
    """The channel accepted these nights; False when the lease was lost, and then nothing was changed."""
    arguments = (claimed.listing_id, claimed.lease_epoch, version, nights, claimed.claimed_at)
    return affected(await conn.execute(_ACCEPTED, *arguments)) == 1


_FAILED = """
UPDATE listings SET
    lease_owner = NULL, lease_expires_at = NULL, attempts = attempts + 1,
    sent_version = greatest(sent_version, $3),
    next_attempt_at = suite_now() + make_interval(secs => $4),
    pushed_version = CASE WHEN $5 THEN NULL ELSE pushed_version END,
    last_accepted = CASE WHEN $5 THEN NULL ELSE last_accepted END,
    unsettled_until = CASE WHEN $5 THEN suite_now() + make_interval(secs => $6) ELSE unsettled_until END
WHERE id = $1 AND lease_epoch = $2"""


async def update_listing_failed(
    conn: Connection,
    claimed: ClaimedListing,
    *,
    sent_version: int,
    pause_s: float,
    is_unknown: bool,
    settle_s: float,
) -> bool:
    """The push failed; with `is_unknown` the channel may hold it or not. False when the lease was lost."""
    arguments = (claimed.listing_id, claimed.lease_epoch, sent_version, pause_s, is_unknown, settle_s)
    return affected(await conn.execute(_FAILED, *arguments)) == 1


_VOID = """
UPDATE listings SET
    pushed_version = NULL, last_accepted = NULL,
    sent_version = greatest(sent_version, $2),
    unsettled_until = suite_now() + make_interval(secs => $3),
    next_attempt_at = CASE WHEN stale_since IS NULL THEN suite_now() ELSE next_attempt_at END,
    task_id = CASE WHEN stale_since IS NULL THEN gen_random_uuid() ELSE task_id END,
    stale_since = coalesce(stale_since, suite_now())
WHERE id = $1"""


async def void_listing(conn: Connection, listing_id: UUID, sent_version: int, settle_s: float) -> None:
    """A push was sent without a valid lease: what the channel holds is unknown, all is sent again."""
    await conn.execute(_VOID, listing_id, sent_version, settle_s)
