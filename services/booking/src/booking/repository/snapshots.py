"""Reads and marks of whole property states: for the compacted topic, the internal state answer and digests."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from booking.domain.model import Property, PropertyTerms
from booking.repository.reads import select_active_ranges, select_now, select_property
from booking.repository.rows import range_from
from booking.repository.terms import select_terms
from rules.calendar import DAY_ZERO, StoredRange
from runtime.postgres import Connection, Pool

_BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class PropertyWithRanges:
    """One property and its active ranges, read in one snapshot at `as_of`."""

    as_of: datetime
    owner: Property
    terms: PropertyTerms
    ranges: tuple[StoredRange, ...]


@dataclass(frozen=True, slots=True)
class DigestPage:
    """(property, version, digest) in property order; all of it was committed before database time `as_of`."""

    as_of: datetime
    items: list[tuple[UUID, int, str]]


async def select_property_with_ranges(connection: Connection, property_id: UUID) -> PropertyWithRanges | None:
    """Must run in a REPEATABLE READ transaction: version and ranges belong together."""
    owner = await select_property(connection, property_id)
    if owner is None:
        return None
    as_of = await select_now(connection)
    _, terms = await select_terms(connection, property_id) or (0, PropertyTerms())
    return PropertyWithRanges(as_of, owner, terms, tuple(await select_active_ranges(connection, property_id)))


async def select_archived_ranges(connection: Connection, property_id: UUID, after: date) -> list[StoredRange]:
    """Ranges that were active when they were archived, and end after a date."""
    rows = await connection.fetch(
        """SELECT id, kind, source_id, stay, occupied, expires_at FROM inventory_ranges_archive
           WHERE property_id = $1 AND state = 'active' AND upper(occupied) > $2 ORDER BY occupied""",
        property_id,
        after,
    )
    return [range_from(row) for row in rows]


async def select_unpublished(pool: Pool, shard: int, behind: UUID | None, limit: int) -> list[UUID]:
    """Properties of a shard whose snapshot is behind, or a day old, in property order; those behind a property."""
    rows = await pool.fetch(
        """SELECT property_id FROM inventory_versions
           WHERE shard = $1 AND ($2::uuid IS NULL OR property_id > $2)
             AND (published_version < inventory_version OR published_at < suite_now() - interval '1 day')
           ORDER BY property_id LIMIT $3""",
        shard,
        behind,
        limit,
    )
    return [row["property_id"] for row in rows]


async def select_published(pool: Pool, property_id: UUID) -> str | None:
    """What the marks compare with: it is another one after every mark, and after every request to publish again."""
    query = "SELECT published_at::text FROM inventory_versions WHERE property_id = $1"
    marked = await pool.fetchval(query, property_id)
    return None if marked is None else str(marked)


async def mark_published(pool: Pool, property_id: UUID, version: int, seen: str | None) -> bool:
    """Note a snapshot Kafka acknowledged; False when `select_published` would not say `seen` any more.

    Then another snapshot was noted meanwhile, behind which this one may lie, or it was asked for a new one.
    """
    return await _mark(pool, property_id, version, seen, "suite_now()")


async def mark_forgotten(pool: Pool, property_id: UUID, version: int, seen: str | None) -> bool:
    """`mark_published` for the null of a deleted property, which never grows a day old: it is written once."""
    return await _mark(pool, property_id, version, seen, "'infinity'")


async def _mark(pool: Pool, property_id: UUID, version: int, seen: str | None, instant: str) -> bool:
    marked = await pool.fetchval(
        f"""UPDATE inventory_versions SET published_version = $2, published_at = {instant}
           WHERE property_id = $1 AND published_at IS NOT DISTINCT FROM $3::text::timestamptz
             AND published_version <= $2 RETURNING true""",  # noqa: S608
        property_id,
        version,
        seen,
    )
    return marked is True


async def select_digest_page(connection: Connection, after: date, cursor: UUID | None, limit: int) -> DigestPage:
    """The digests over active ranges that end after a date, as `rules.calendar.digest` defines them; one snapshot.

    A page of properties in order beyond `cursor`, deleted ones left out. Both tables of the page are cut at the cursor:
    the planner carries no inequality through a join.
    """
    rows = await connection.fetch(
        """SELECT clock.as_of, page.property_id, page.inventory_version, found.digest
           FROM (SELECT clock_timestamp() AS as_of) AS clock
           LEFT JOIN (
                 SELECT version.property_id, version.inventory_version
                 FROM inventory_versions AS version JOIN properties AS owner ON owner.id = version.property_id
                 WHERE owner.deleted_at IS NULL AND version.property_id > $1 AND owner.id > $1
                 ORDER BY version.property_id LIMIT $2) AS page ON true
           LEFT JOIN LATERAL (
                 SELECT md5(coalesce(string_agg(
                     line, E'\n' ORDER BY lower(occupied), lower(stay), line COLLATE "C"), '')) AS digest
                 FROM (SELECT occupied, stay, concat_ws(
                           ' ', kind, lower(stay) - $4::date, upper(stay) - $4::date,
                           lower(occupied) - $4::date, upper(occupied) - $4::date,
                           coalesce(floor(extract(epoch FROM expires_at) * 1000)::bigint::text, '-'),
                           CASE kind WHEN 'hold' THEN source_id::text ELSE '-' END) AS line
                       FROM inventory_ranges
                       WHERE property_id = page.property_id AND state = 'active' AND upper(occupied) > $3) AS lines
               ) AS found ON true
           ORDER BY page.property_id""",
        cursor or _BEFORE_ALL,
        limit,
        after,
        DAY_ZERO,
    )
    items = [(row["property_id"], row["inventory_version"], row["digest"]) for row in rows if row["property_id"]]
    return DigestPage(rows[0]["as_of"], items)
