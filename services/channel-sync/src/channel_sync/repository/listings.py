"""The statements on `listings` as they are mapped and marked stale; called by service."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from channel_sync.domain.batches import ListingStaleness
from channel_sync.domain.channels import Listing, NewListing
from channel_sync.domain.night_values import ListingOverrides
from channel_sync.domain.paging import Position
from channel_sync.repository.rows import affected, position_parameters, present
from runtime.postgres import Connection, Row

_LISTING = (
    "id, connection_id, property_id, ota_listing_id, ota_rate_plan_id, stale_since, pushed_version, created_at, "
    "markup_percent, close_out, min_stay, max_nights_sold, calendar_token"
)


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
    calendar_token: UUID | None,
) -> Listing | None:
    """Map a listing and make it stale; `ids` are its own and its first task's. None when it is mapped already."""
    row = await conn.fetchrow(
        f"""INSERT INTO listings (id, agency_id, connection_id, property_id, ota_listing_id, ota_rate_plan_id,
                created_at, dirty_version, stale_since, task_id, traceparent, next_attempt_at,
                calendar_token, markup_percent, close_out, min_stay, max_nights_sold)
            VALUES ($1, $2, $3, $4, $5, $6, suite_now(), $7, suite_now(), $8, $9, suite_now(), $10, $11, $12, $13, $14)
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
        calendar_token,
        *overrides_parameters(new.overrides),
    )
    return listing_of(row) if row is not None else None


async def update_overrides(conn: Connection, agency_id: UUID, listing_id: UUID, overrides: ListingOverrides) -> Listing:
    """Change what a listing tells otherwise, and make it stale; it must exist, locked."""
    row = await conn.fetchrow(
        f"""UPDATE listings SET markup_percent = $3, close_out = $4, min_stay = $5, max_nights_sold = $6,
                stale_since = coalesce(stale_since, suite_now()), closes = true, asks = asks + 1,
                task_id = CASE WHEN stale_since IS NULL THEN gen_random_uuid() ELSE task_id END,
                next_attempt_at = CASE WHEN stale_since IS NULL THEN suite_now() ELSE next_attempt_at END
            WHERE agency_id = $1 AND id = $2 RETURNING {_LISTING}""",  # noqa: S608
        agency_id,
        listing_id,
        *overrides_parameters(overrides),
    )
    return listing_of(present(row))


async def select_listing(conn: Connection, agency_id: UUID, connection_id: UUID, listing_id: UUID) -> Listing | None:
    """One listing, locked until the transaction ends."""
    row = await conn.fetchrow(
        f"""SELECT {_LISTING} FROM listings
            WHERE agency_id = $1 AND connection_id = $2 AND id = $3 FOR UPDATE""",  # noqa: S608
        agency_id,
        connection_id,
        listing_id,
    )
    return listing_of(row) if row is not None else None


async def delete_listing(conn: Connection, agency_id: UUID, listing_id: UUID) -> None:
    """Unmap a listing; what was pushed of it stays in the history."""
    await conn.execute("DELETE FROM listings WHERE agency_id = $1 AND id = $2", agency_id, listing_id)


async def select_nights_sold(conn: Connection, connection_id: UUID, ota_listing_id: str) -> list[tuple[date, date]]:
    """The stays that a listing of a channel sold and that were not cancelled, from check-in to check-out."""
    rows = await conn.fetch(
        """SELECT check_in, check_out FROM (
               SELECT DISTINCT ON (ota_reservation_code) ota_listing_id, revision_status, check_in, check_out
               FROM inbound_revisions
               WHERE connection_id = $1 AND state = 'applied' AND ota_reservation_code IN (
                   SELECT ota_reservation_code FROM inbound_revisions
                   WHERE connection_id = $1 AND ota_listing_id = $2 AND state = 'applied')
               ORDER BY ota_reservation_code, revision_no DESC
           ) AS latest
           WHERE ota_listing_id = $2 AND revision_status <> 'cancelled' AND check_in IS NOT NULL""",
        connection_id,
        ota_listing_id,
    )
    return [(row["check_in"], row["check_out"]) for row in rows]


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
    return [listing_of(row) for row in rows]


_MARK = """
UPDATE listings SET
    dirty_version = $3,
    changed_at = CASE WHEN stale_since IS NULL THEN least($7, suite_now()) ELSE coalesce(changed_at, $7) END,
    next_attempt_at = CASE WHEN stale_since IS NULL
        THEN greatest(suite_now(), accepted_at + make_interval(secs => $6)) ELSE next_attempt_at END,
    closes = $5 OR (closes AND stale_since IS NOT NULL),
    task_id = CASE WHEN stale_since IS NULL THEN gen_random_uuid() ELSE task_id END,
    stale_since = coalesce(stale_since, suite_now()),
    traceparent = coalesce($4, traceparent)
WHERE id IN (
    SELECT id FROM listings
    WHERE agency_id = $1 AND property_id = $2 AND dirty_version < $3 AND coalesce(pushed_version, -1) < $3
    ORDER BY id FOR UPDATE
)"""


async def mark_listings_stale(
    conn: Connection,
    agency_id: UUID,
    property_id: UUID,
    version: int,
    *,
    traceparent: str | None,
    closes: bool,
    changed_at: datetime | None,
    gather_s: float,
) -> int:
    """Make the property's listings stale at a version; the number marked.

    A version we heard of, or one the channel accepted already (pushes send the ledger's state of their own moment),
    marks nothing. A pause before the next attempt is kept. A listing that was pushed a moment ago waits until
    `gather_s` after that, so that a burst of changes makes few calls. `closes` says that nights may have been taken,
    `changed_at` when the change was committed, None when that is not known.
    """
    return affected(
        await conn.execute(_MARK, agency_id, property_id, version, traceparent, closes, gather_s, changed_at)
    )


_MARK_OLD = """
UPDATE listings SET next_attempt_at = suite_now(), task_id = gen_random_uuid(), stale_since = suite_now(),
    traceparent = NULL, closes = false, changed_at = NULL
WHERE id IN (
    SELECT id FROM listings
    WHERE stale_since IS NULL AND calendar_token IS NULL AND accepted_at < suite_now() - make_interval(hours => $1)
    ORDER BY accepted_at LIMIT $2 FOR UPDATE SKIP LOCKED
)"""


async def mark_old_listings_stale(conn: Connection, hours: int, limit: int) -> int:
    """Make listings stale whose last push is `hours` old; the number marked."""
    return affected(await conn.execute(_MARK_OLD, hours, limit))


_ASK = """
UPDATE listings SET
    stale_since = coalesce(stale_since, suite_now()), next_attempt_at = suite_now(),
    task_id = $4, batch_id = $3, asked_for = $5, asks = asks + 1,
    pushed_version = NULL, last_accepted = NULL, closes = true, traceparent = $6
WHERE id = $1 AND agency_id = $2"""


async def ask_for_push(
    conn: Connection,
    agency_id: UUID,
    listing_id: UUID,
    *,
    batch_id: UUID,
    task_id: UUID,
    operation_types: Sequence[str],
    traceparent: str | None,
) -> None:
    """Have all nights of a listing told again as part of a batch, whatever the channel holds."""
    await conn.execute(_ASK, listing_id, agency_id, batch_id, task_id, list(operation_types), traceparent)


async def select_all_listings(conn: Connection, agency_id: UUID, connection_id: UUID) -> list[Listing]:
    """Every listing of a connection, by its id."""
    rows = await conn.fetch(
        f"SELECT {_LISTING} FROM listings WHERE agency_id = $1 AND connection_id = $2 ORDER BY id",  # noqa: S608
        agency_id,
        connection_id,
    )
    return [listing_of(row) for row in rows]


async def make_due(conn: Connection, agency_id: UUID, listing_id: UUID) -> bool:
    """Try a stale listing again at once, whatever pause it is in; False when nothing is left to be told."""
    changed = await conn.execute(
        """UPDATE listings SET next_attempt_at = suite_now()
           WHERE agency_id = $1 AND id = $2 AND stale_since IS NOT NULL""",
        agency_id,
        listing_id,
    )
    return affected(changed) == 1


async def make_all_due(conn: Connection, agency_id: UUID, connection_id: UUID) -> None:
    """Try all stale listings of a connection again at once, whatever pause they are in."""
    await conn.execute(
        """UPDATE listings SET next_attempt_at = suite_now()
           WHERE agency_id = $1 AND connection_id = $2 AND stale_since IS NOT NULL""",
        agency_id,
        connection_id,
    )


_STALENESS = """
SELECT listings.id AS listing_id, property_id, ota_listing_id, stale_since, attempts,
    (extract(epoch FROM suite_now() - coalesce(changed_at, stale_since)) * 1000)::bigint AS age_ms,
    CASE WHEN attempts > 0 THEN (
        SELECT error FROM sync_operations WHERE sync_operations.listing_id = listings.id
        ORDER BY created_at DESC LIMIT 1) END AS error
FROM listings WHERE agency_id = $1 AND connection_id = $2
ORDER BY stale_since NULLS LAST, listings.id"""


async def count_listings(conn: Connection, agency_id: UUID, connection_id: UUID) -> int:
    """How many listings a connection has."""
    found: int = await conn.fetchval(
        "SELECT count(*) FROM listings WHERE agency_id = $1 AND connection_id = $2", agency_id, connection_id
    )
    return found


async def select_staleness(conn: Connection, agency_id: UUID, connection_id: UUID) -> list[ListingStaleness]:
    """How far behind a channel is with each listing, the furthest first."""
    rows = await conn.fetch(_STALENESS, agency_id, connection_id)
    return [ListingStaleness(**row) for row in rows]


def listing_of(row: Row) -> Listing:
    """A listing from its columns."""
    return Listing(
        id=row["id"],
        connection_id=row["connection_id"],
        property_id=row["property_id"],
        ota_listing_id=row["ota_listing_id"],
        ota_rate_plan_id=row["ota_rate_plan_id"],
        stale_since=row["stale_since"],
        pushed_version=row["pushed_version"],
        created_at=row["created_at"],
        overrides=overrides_of(row),
        calendar_token=row["calendar_token"],
    )


def overrides_of(row: Row) -> ListingOverrides:
    """What a listing tells otherwise, from its columns."""
    return ListingOverrides(row["markup_percent"], row["close_out"], row["min_stay"], row["max_nights_sold"])


def overrides_parameters(overrides: ListingOverrides) -> tuple[Decimal | None, bool, int | None, int | None]:
    """The same as parameters, in the order of the columns."""
    return (overrides.markup_percent, overrides.close_out, overrides.min_stay, overrides.max_nights_sold)
