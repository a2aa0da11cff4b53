"""Reads and marks of whole property states: for the compacted topic, the internal state answer and digests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from booking.domain.model import Property, PropertyTerms
from booking.repository.reads import select_active_ranges, select_now, select_property
from booking.repository.rows import range_from
from booking.repository.terms import select_terms
from rules.calendar import StoredRange
from runtime.postgres import Connection, Pool


@dataclass(frozen=True, slots=True)
class PropertyWithRanges:
    """One property and its active ranges, read in one snapshot at `as_of`."""

    as_of: datetime
    owner: Property
    terms: PropertyTerms
    ranges: tuple[StoredRange, ...]


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


async def select_digest_page(
    connection: Connection, after: date, cursor: UUID | None, limit: int
) -> list[tuple[UUID, int, list[StoredRange]]]:
    """A page of (property, version, active ranges ending after a date), in property order; deleted ones left out."""
    versions = await connection.fetch(
        """SELECT version.property_id, version.inventory_version
           FROM inventory_versions AS version JOIN properties AS owner ON owner.id = version.property_id
           WHERE owner.deleted_at IS NULL AND ($1::uuid IS NULL OR version.property_id > $1)
           ORDER BY version.property_id LIMIT $2""",
        cursor,
        limit,
    )
    ids: Sequence[UUID] = [row["property_id"] for row in versions]
    rows = await connection.fetch(
        """SELECT property_id, id, kind, source_id, stay, occupied, expires_at FROM inventory_ranges
           WHERE property_id = ANY ($1::uuid[]) AND state = 'active' AND upper(occupied) > $2""",
        ids,
        after,
    )
    ranges: dict[UUID, list[StoredRange]] = {property_id: [] for property_id in ids}
    for row in rows:
        ranges[row["property_id"]].append(range_from(row))
    return [(row["property_id"], row["inventory_version"], ranges[row["property_id"]]) for row in versions]
