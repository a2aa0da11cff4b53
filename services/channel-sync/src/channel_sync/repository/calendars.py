"""The statements on calendars: what is known of those we read, and what ours showed; called by service."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from channel_sync.domain.ical_feed import EventState, KnownEvent
from channel_sync.domain.night_values import ListingOverrides
from channel_sync.repository.feeds import ClaimedFeed
from channel_sync.repository.listings import overrides_of
from channel_sync.repository.rows import affected
from runtime.postgres import Connection

TOLD_FOR_DAYS = 3
"""A channel may show nights of ours as its own so long after it read them."""


@dataclass(frozen=True, slots=True)
class MappedCalendar:
    """The listing whose calendar a connection reads, and what its next request says."""

    listing_id: UUID
    property_id: UUID
    ota_listing_id: str
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ShownCalendar:
    """The listing of whom our calendar is asked for."""

    listing_id: UUID
    agency_id: UUID
    connection_id: UUID
    property_id: UUID
    ota_listing_id: str
    dirty_version: int
    overrides: ListingOverrides


async def select_mapped_calendar(conn: Connection, connection_id: UUID) -> MappedCalendar | None:
    """What a connection's calendar is of; None while nothing is mapped."""
    row = await conn.fetchrow(
        """SELECT listings.id AS listing_id, property_id, ota_listing_id, calendars.cursor
           FROM listings LEFT JOIN calendars ON calendars.listing_id = listings.id
           WHERE listings.connection_id = $1 ORDER BY listings.created_at, listings.id LIMIT 1""",
        connection_id,
    )
    return MappedCalendar(**row) if row is not None else None


async def lock_known_events(conn: Connection, feed: ClaimedFeed, listing_id: UUID) -> dict[str, KnownEvent] | None:
    """What is known of a calendar, kept from others until the transaction ends; None when the lease was lost."""
    is_ours = await conn.fetchval(
        "SELECT true FROM feeds WHERE connection_id = $1 AND lease_epoch = $2 FOR UPDATE",
        feed.door.connection_id,
        feed.lease_epoch,
    )
    if not is_ours:
        return None
    stored = await conn.fetchval("SELECT events FROM calendars WHERE listing_id = $1", listing_id)
    return {key: _event(fields) for key, fields in (stored or {}).items()}


async def keep_known_events(
    conn: Connection, listing_id: UUID, known: Mapping[str, KnownEvent], cursor: str | None
) -> None:
    """Note what a calendar showed, in the transaction that stores its revisions; nothing for a listing that is gone."""
    await conn.execute(
        """INSERT INTO calendars (listing_id, agency_id, cursor, events)
           SELECT id, agency_id, $2, $3 FROM listings WHERE id = $1 FOR SHARE
           ON CONFLICT (listing_id) DO UPDATE SET cursor = excluded.cursor, events = excluded.events""",
        listing_id,
        cursor,
        {key: _fields(event) for key, event in known.items()},
    )


async def select_told_nights(conn: Connection, listing_id: UUID) -> list[tuple[date, date]]:
    """The closed nights our calendar showed lately."""
    rows = await conn.fetch(
        """SELECT start_date, end_date FROM calendar_nights
           WHERE listing_id = $1 AND told_at > suite_now() - make_interval(days => $2)""",
        listing_id,
        TOLD_FOR_DAYS,
    )
    return [(row["start_date"], row["end_date"]) for row in rows]


async def select_shown_calendar(conn: Connection, token: UUID) -> ShownCalendar | None:
    """Whose calendar is asked for; None for a token nobody was given, or of a connection that is switched off."""
    row = await conn.fetchrow(
        """SELECT listings.* FROM listings JOIN connections ON connections.id = listings.connection_id
           WHERE listings.calendar_token = $1 AND connections.enabled AND connections.deleted_at IS NULL""",
        token,
    )
    if row is None:
        return None
    return ShownCalendar(
        listing_id=row["id"],
        agency_id=row["agency_id"],
        connection_id=row["connection_id"],
        property_id=row["property_id"],
        ota_listing_id=row["ota_listing_id"],
        dirty_version=row["dirty_version"],
        overrides=overrides_of(row),
    )


async def select_sources_of(conn: Connection, connection_id: UUID, sources: Collection[UUID]) -> set[UUID]:
    """Which of these blocks and reservations came from the connection itself."""
    rows = await conn.fetch(
        """SELECT block_id AS source FROM inbound_revisions WHERE connection_id = $1 AND block_id = ANY ($2)
           UNION
           SELECT reservation_id FROM inbound_revisions WHERE connection_id = $1 AND reservation_id = ANY ($2)""",
        connection_id,
        list(sources),
    )
    return {row["source"] for row in rows}


async def note_told(
    conn: Connection, calendar: ShownCalendar, nights: Sequence[tuple[date, date]]
) -> dict[tuple[date, date], datetime]:
    """Our calendar shows these nights; when it first showed each. What it showed long ago is forgotten."""
    await conn.execute(
        "DELETE FROM calendar_nights WHERE listing_id = $1 AND told_at < suite_now() - make_interval(days => $2)",
        calendar.listing_id,
        TOLD_FOR_DAYS,
    )
    rows = await conn.fetch(
        """INSERT INTO calendar_nights (listing_id, agency_id, start_date, end_date, first_told_at, told_at)
           SELECT $1, $2, night.first, night.last, suite_now(), suite_now()
           FROM unnest($3::date[], $4::date[]) AS night (first, last) ORDER BY night.first, night.last
           ON CONFLICT (listing_id, start_date, end_date) DO UPDATE SET told_at = suite_now()
           RETURNING start_date, end_date, first_told_at""",
        calendar.listing_id,
        calendar.agency_id,
        [start for start, _ in nights],
        [end for _, end in nights],
    )
    return {(row["start_date"], row["end_date"]): row["first_told_at"] for row in rows}


async def update_listing_read(conn: Connection, listing_id: UUID, version: int) -> bool:
    """The channel read our calendar as of a version; False when it had read a later one already."""
    changed = await conn.execute(
        """UPDATE listings SET pushed_version = $2, sent_version = greatest(sent_version, $2),
               accepted_at = suite_now(), changed_at = CASE WHEN dirty_version > $2 THEN changed_at END,
               stale_since = CASE WHEN dirty_version > $2 THEN stale_since END
           WHERE id = $1 AND coalesce(pushed_version, -1) <= $2""",
        listing_id,
        version,
    )
    return affected(changed) == 1


def _fields(event: KnownEvent) -> list[Any]:
    since = event.missing_since.isoformat() if event.missing_since is not None else None
    dates = (event.start.isoformat(), event.end.isoformat())
    return [*dates, event.sequence, event.state.value, event.life, event.revision, since]


def _event(fields: Sequence[Any]) -> KnownEvent:
    start, end, sequence, state, life, revision, since = fields
    return KnownEvent(
        date.fromisoformat(start),
        date.fromisoformat(end),
        sequence,
        EventState(state),
        life,
        revision,
        datetime.fromisoformat(since) if since is not None else None,
    )
