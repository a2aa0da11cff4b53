"""SQL of the operator's commands: publish snapshots again, give up unsendable events, bump versions; system role."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from runtime.postgres import Connection

VERSIONS_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An event that could not be sent: its version, type and why."""

    version: int
    type: str
    reason: str


async def select_property_ids(
    connection: Connection, property_id: UUID | None, agency_id: UUID | None, after: UUID | None, limit: int
) -> list[UUID]:
    """A page of the chosen properties (all without a choice), in id order."""
    rows = await connection.fetch(
        """SELECT property_id FROM inventory_versions
           WHERE ($1::uuid IS NULL OR property_id = $1) AND ($2::uuid IS NULL OR agency_id = $2)
             AND ($3::uuid IS NULL OR property_id > $3)
           ORDER BY property_id LIMIT $4""",
        property_id,
        agency_id,
        after,
        limit,
    )
    return [row["property_id"] for row in rows]


async def count_properties(connection: Connection) -> int:
    """How many properties there are, of every agency."""
    return int(await connection.fetchval("SELECT count(*) FROM inventory_versions"))


async def reset_published(connection: Connection, property_ids: Collection[UUID]) -> None:
    """Nothing counts as published of these: the snapshot worker publishes them in its next round.

    The instant tells one request from another: a snapshot that was under way before it cannot count for it.
    """
    await connection.execute(
        """UPDATE inventory_versions SET published_version = 0, published_at = clock_timestamp()
           WHERE property_id IN (
               SELECT property_id FROM inventory_versions WHERE property_id = ANY ($1::uuid[])
               ORDER BY property_id FOR UPDATE)""",
        list(property_ids),
    )


async def select_unknown(connection: Connection, property_ids: Collection[UUID]) -> set[UUID]:
    """Which of these ids are no property of this ledger, of any agency; for the system role."""
    rows = await connection.fetch(
        """SELECT wanted.id FROM unnest($1::uuid[]) AS wanted (id)
           WHERE NOT EXISTS (SELECT FROM inventory_versions WHERE property_id = wanted.id)""",
        list(property_ids),
    )
    return {row["id"] for row in rows}


async def count_unpublished(
    connection: Connection, property_id: UUID | None, agency_id: UUID | None, created_until: datetime
) -> int:
    """How many of the chosen properties that existed at an instant wait for their snapshot."""
    return int(
        await connection.fetchval(
            """SELECT count(*) FROM inventory_versions AS version JOIN properties AS owner ON owner.id = property_id
               WHERE version.published_version = 0 AND owner.created_at <= $3
                 AND ($1::uuid IS NULL OR property_id = $1) AND ($2::uuid IS NULL OR version.agency_id = $2)""",
            property_id,
            agency_id,
            created_until,
        )
    )


async def give_up_quarantined(connection: Connection, property_id: UUID) -> list[GivenUp]:
    """Take what cannot be sent out of the relay's way; the reason stays, so that audits know of the gap."""
    rows = await connection.fetch(
        """UPDATE outbox SET sent_at = suite_now()
           WHERE key = $1 AND quarantined IS NOT NULL AND sent_at IS NULL
           RETURNING (data->>'inventory_version')::bigint AS version, type, quarantined""",
        str(property_id),
    )
    return [GivenUp(row["version"], row["type"], row["quarantined"]) for row in rows]


async def bump_versions(connection: Connection, property_ids: Collection[UUID]) -> int:
    """Jump beyond every version that was ever given out; the properties' locks are held. How many jumped.

    Rules jump too: what was judged by a rules_version of before the restore must be judged again. The auditor gets the
    new version as its floor, since the jump has no event.
    """
    return int(
        await connection.fetchval(
            """WITH jumped AS (
                   UPDATE inventory_versions SET inventory_version = jump.version, rules_version = jump.version
                   FROM (SELECT property_id, greatest(inventory_version + 1,
                             floor(extract(epoch FROM suite_now()))::bigint * $2::bigint) AS version
                         FROM inventory_versions WHERE property_id = ANY ($1::uuid[])) AS jump
                   WHERE inventory_versions.property_id = jump.property_id
                   RETURNING inventory_versions.property_id, agency_id, inventory_version),
               noted AS (
                   INSERT INTO audit_positions (property_id, agency_id, floor_version)
                   SELECT property_id, agency_id, inventory_version FROM jumped ORDER BY property_id
                   ON CONFLICT (property_id) DO UPDATE SET floor_version = excluded.floor_version)
               SELECT count(*) FROM jumped""",
            list(property_ids),
            VERSIONS_PER_SECOND,
        )
    )
