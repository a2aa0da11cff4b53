"""The statements on stale listings: claims under a lease, what channels accepted, failures; called by service."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from itertools import groupby
from typing import Any
from uuid import UUID

from channel_sync.domain.ari import NightValues, ValueRun
from channel_sync.domain.claims import Claim, ClaimedConnection, ClaimedListing, HeldListing
from channel_sync.repository.listings import listing_of, overrides_of
from channel_sync.repository.rows import affected
from runtime.postgres import Connection, Row

LOOKED_AT = 2000
"""Stale listings among which the connections that are served next are chosen: those that close nights, the oldest."""

# A lease that ran out says that a push may have been sent and nobody recorded it: what the channel holds is unknown.
# After so many failures ($7) one listing alone is tried: if the channel answers, the others follow.
_CLAIM = f"""
WITH due AS (
    SELECT listings.connection_id, listings.closes, listings.next_attempt_at
    FROM listings JOIN connections ON connections.id = listings.connection_id
    WHERE listings.stale_since IS NOT NULL AND listings.calendar_token IS NULL
      AND listings.next_attempt_at <= suite_now()
      AND (listings.lease_expires_at IS NULL OR listings.lease_expires_at <= suite_now())
      AND connections.enabled AND (connections.open_until IS NULL OR connections.open_until <= suite_now())
      AND NOT listings.connection_id = ANY ($3)
    ORDER BY listings.closes DESC, listings.next_attempt_at LIMIT {LOOKED_AT}
), chosen AS (
    SELECT connection_id FROM due GROUP BY connection_id ORDER BY bool_or(closes) DESC, min(next_attempt_at) LIMIT $1
), picked AS (
    SELECT own.id
    FROM chosen JOIN connections ON connections.id = chosen.connection_id
    CROSS JOIN LATERAL (
        SELECT listings.id FROM listings
        WHERE listings.connection_id = chosen.connection_id AND listings.stale_since IS NOT NULL
          AND listings.calendar_token IS NULL AND listings.next_attempt_at <= suite_now()
          AND (listings.lease_expires_at IS NULL OR listings.lease_expires_at <= suite_now())
        ORDER BY listings.closes DESC, listings.next_attempt_at
        LIMIT CASE WHEN connections.failures >= $7 THEN 1 ELSE $2 END
        FOR UPDATE SKIP LOCKED
    ) AS own
)
UPDATE listings SET
    lease_owner = $4,
    lease_epoch = lease_epoch + 1,
    lease_expires_at = suite_now() + make_interval(secs => $5),
    pushed_version = CASE WHEN lease_owner IS NULL THEN pushed_version END,
    last_accepted = CASE WHEN lease_owner IS NULL THEN last_accepted END,
    unsettled_until = CASE WHEN lease_owner IS NULL THEN unsettled_until
                           ELSE suite_now() + make_interval(secs => $6) END
FROM picked, connections
WHERE listings.id = picked.id AND connections.id = listings.connection_id
RETURNING listings.id AS listing_id, listings.property_id, listings.ota_listing_id, listings.ota_rate_plan_id,
    listings.dirty_version, listings.sent_version, listings.last_accepted, listings.attempts, listings.task_id,
    listings.lease_epoch, listings.traceparent, listings.stale_since, listings.changed_at, listings.batch_id,
    listings.asked_for, listings.asks, listings.markup_percent, listings.close_out,
    listings.min_stay, listings.max_nights_sold, listings.connection_id, listings.agency_id, connections.adapter,
    connections.endpoint_url, connections.sealed_secret, connections.settings, connections.failures,
    suite_now() AS claimed_at"""  # noqa: S608 - a number of our own


async def claim_listings(
    conn: Connection,
    *,
    connections: int,
    listings: int,
    busy: Collection[UUID],
    owner: str,
    lease_s: float,
    settle_s: float,
    failures: int,
) -> list[Claim]:
    """Lease stale listings that are due, up to `listings` of each of up to `connections` that are not `busy`.

    What closes nights goes first, then what is due longest; each claim of a listing takes its next epoch. A connection
    with so many `failures` is tried with one listing.
    """
    rows = await conn.fetch(_CLAIM, connections, listings, list(busy), owner, lease_s, settle_s, failures)
    rows = sorted(rows, key=lambda row: (row["connection_id"], row["listing_id"]))
    return [_claim(list(of_one)) for _, of_one in groupby(rows, key=lambda row: row["connection_id"])]


# Stale until nothing newer was heard of or asked for, and this push began when no request with an unknown outcome could
# still take effect after it: until then what was accepted may be undone, so nothing is known and all is told once more.
_ACCEPTED = """
UPDATE listings SET
    lease_owner = NULL, lease_expires_at = NULL, attempts = 0,
    sent_version = greatest(sent_version, $3), pushed_version = $3, accepted_at = suite_now(),
    last_accepted = CASE WHEN asks = $8 AND coalesce(unsettled_until <= $5, true) THEN $4::jsonb END,
    stale_since = CASE WHEN dirty_version <= $3 AND asks = $8 AND coalesce(unsettled_until <= $5, true) THEN NULL
                       ELSE stale_since END,
    batch_id = CASE WHEN asks <> $8 THEN batch_id
                    WHEN dirty_version <= $3 AND coalesce(unsettled_until <= $5, true) THEN NULL
                    ELSE $7::uuid END,
    changed_at = CASE WHEN dirty_version > $3 THEN $5 END,
    asked_for = CASE WHEN asks = $8 THEN '{}' ELSE asked_for END,
    next_attempt_at = CASE WHEN dirty_version <= $3 THEN coalesce(unsettled_until, suite_now())
                           ELSE suite_now() + make_interval(secs => $6) END,
    unsettled_until = CASE WHEN unsettled_until > $5 THEN unsettled_until END
WHERE id = $1 AND lease_epoch = $2"""


async def update_listing_accepted(
    conn: Connection,
    claim: Claim,
    listing: ClaimedListing,
    *,
    version: int,
    accepted: Sequence[ValueRun],
    gather_s: float,
    batch_id: UUID | None,
) -> bool:
    """The channel accepted all that was wanted; False when the lease was lost, and then nothing was changed.

    `batch_id` is that of what is left to be told, if anything is.
    """
    arguments = (listing.listing_id, listing.lease_epoch, version, packed_runs(accepted), claim.connection.claimed_at)
    return affected(await conn.execute(_ACCEPTED, *arguments, gather_s, batch_id, listing.asks)) == 1


_NOT_ACCEPTED = """
UPDATE listings SET
    lease_owner = NULL, lease_expires_at = NULL, attempts = attempts + $5,
    sent_version = greatest(sent_version, $3),
    next_attempt_at = suite_now() + make_interval(secs => $4),
    last_accepted = CASE WHEN asks = $10 AND coalesce(unsettled_until <= $9, true) THEN $6::jsonb END,
    pushed_version = CASE WHEN $6::jsonb IS NULL THEN NULL ELSE pushed_version END,
    unsettled_until = CASE WHEN $7::float8 IS NULL THEN unsettled_until
                           ELSE suite_now() + make_interval(secs => $7) END,
    batch_id = CASE WHEN asks = $10 THEN $8 ELSE batch_id END
WHERE id = $1 AND lease_epoch = $2"""


async def update_listing_not_accepted(
    conn: Connection,
    claim: Claim,
    listing: ClaimedListing,
    *,
    sent_version: int,
    pause_s: float,
    is_failure: bool,
    accepted: Sequence[ValueRun] | None,
    settle_s: float | None,
    batch_id: UUID | None,
) -> bool:
    """The push did not get through, or in part; False when the lease was lost, and then nothing was changed.

    `accepted` is what the channel holds now, None when nobody knows. For `settle_s` seconds what was sent may still
    take effect; None when it cannot.
    """
    arguments = (listing.listing_id, listing.lease_epoch, sent_version, pause_s, int(is_failure))
    runs = None if accepted is None else packed_runs(accepted)
    rest = (runs, settle_s, batch_id, claim.connection.claimed_at, listing.asks)
    return affected(await conn.execute(_NOT_ACCEPTED, *arguments, *rest)) == 1


async def select_accepted(conn: Connection, agency_id: UUID, connection_id: UUID) -> list[HeldListing]:
    """What a channel holds of each listing, as far as it is known."""
    rows = await conn.fetch(
        """SELECT id, connection_id, property_id, ota_listing_id, ota_rate_plan_id, stale_since, pushed_version,
               created_at, calendar_token, last_accepted, markup_percent, close_out, min_stay, max_nights_sold
           FROM listings WHERE agency_id = $1 AND connection_id = $2 ORDER BY id""",
        agency_id,
        connection_id,
    )
    return [HeldListing(listing_of(row), _accepted(row), overrides_of(row)) for row in rows]


_VOID = """
UPDATE listings SET
    pushed_version = NULL, last_accepted = NULL,
    sent_version = greatest(sent_version, $2),
    unsettled_until = suite_now() + make_interval(secs => $3),
    next_attempt_at = CASE WHEN stale_since IS NULL THEN suite_now() ELSE next_attempt_at END,
    task_id = CASE WHEN stale_since IS NULL THEN gen_random_uuid() ELSE task_id END,
    stale_since = coalesce(stale_since, suite_now()), closes = true
WHERE id = $1"""


async def void_listing(conn: Connection, listing_id: UUID, sent_version: int, settle_s: float) -> None:
    """A push was sent without a valid lease: what the channel holds is unknown, all is sent again."""
    await conn.execute(_VOID, listing_id, sent_version, settle_s)


def packed_runs(runs: Iterable[ValueRun]) -> list[list[Any]]:
    """Runs as they are stored: an array each, its dates first, then its values in the order of their fields."""
    return [[run.start.isoformat(), run.end.isoformat(), *_fields(run.values)] for run in runs]


def unpacked_runs(stored: Iterable[Sequence[Any]]) -> tuple[ValueRun, ...]:
    """What `packed_runs` made."""
    return tuple(
        ValueRun(date.fromisoformat(start), date.fromisoformat(end), NightValues(*fields))
        for start, end, *fields in stored
    )


def _fields(values: NightValues) -> tuple[Any, ...]:
    return (
        values.available,
        values.rate_minor,
        values.min_stay_arrival,
        values.min_stay_through,
        values.max_stay,
        values.closed_to_arrival,
        values.closed_to_departure,
        values.stop_sell,
    )


def _claim(rows: Sequence[Row]) -> Claim:
    first = rows[0]
    connection = ClaimedConnection(
        connection_id=first["connection_id"],
        agency_id=first["agency_id"],
        adapter=first["adapter"],
        endpoint_url=first["endpoint_url"],
        sealed_secret=first["sealed_secret"],
        settings=first["settings"],
        failures=first["failures"],
        claimed_at=first["claimed_at"],
    )
    return Claim(connection, tuple(map(_claimed_listing, rows)))


def _claimed_listing(row: Row) -> ClaimedListing:
    return ClaimedListing(
        listing_id=row["listing_id"],
        property_id=row["property_id"],
        ota_listing_id=row["ota_listing_id"],
        ota_rate_plan_id=row["ota_rate_plan_id"],
        dirty_version=row["dirty_version"],
        sent_version=row["sent_version"],
        accepted=_accepted(row),
        overrides=overrides_of(row),
        attempts=row["attempts"],
        task_id=row["task_id"],
        lease_epoch=row["lease_epoch"],
        traceparent=row["traceparent"],
        stale_since=row["stale_since"],
        changed_at=row["changed_at"],
        batch_id=row["batch_id"],
        asked_for=tuple(row["asked_for"]),
        asks=row["asks"],
    )


def _accepted(row: Row) -> tuple[ValueRun, ...] | None:
    return None if row["last_accepted"] is None else unpacked_runs(row["last_accepted"])
