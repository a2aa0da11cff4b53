"""SQL of the auditor: its cursor and positions, the rows and ranges it checks, its findings; for the system role."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from booking.domain.audits import Finding, Overlap, Position, StoredEvent, StoredFinding, Suspect
from runtime.postgres import Connection, Row

LOOK_UP_ROWS = 20_000
_CLOCK_TOLERANCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the auditor has come; `offsets` per partition, `after_property` None at the start of a cycle."""

    outbox_id: int
    offsets: dict[int, int]
    after_property: UUID | None
    cycles: int


@dataclass(frozen=True, slots=True)
class Fence:
    """The newest row, and a transaction that began later: once all before it have ended, no older row can appear."""

    outbox_id: int
    xid: int


async def update_lease(connection: Connection, owner: str, lease_s: float, *, takes_over: bool) -> Cursor | None:
    """Take or renew the auditor's lease; None while another one works."""
    row = await connection.fetchrow(
        """UPDATE audit_cursor SET owner = $1, lease_expires_at = now() + make_interval(secs => $2)
           WHERE owner IS NULL OR owner = $1 OR lease_expires_at < now() OR $3
           RETURNING outbox_id, topic_offsets, cycle_property, cycles""",
        owner,
        lease_s,
        takes_over,
    )
    if row is None:
        return None
    offsets = {int(partition): offset for partition, offset in row["topic_offsets"].items()}
    return Cursor(row["outbox_id"], offsets, row["cycle_property"], row["cycles"])


async def release_lease(connection: Connection, owner: str) -> None:
    """Let the next auditor begin at once."""
    await connection.execute("UPDATE audit_cursor SET owner = NULL WHERE owner = $1", owner)


async def update_cursor(connection: Connection, owner: str, before: Cursor, now: Cursor) -> bool:
    """Store how far it came; False when another auditor moved the cursor meanwhile."""
    moved = await connection.fetchval(
        """UPDATE audit_cursor SET outbox_id = $3, topic_offsets = $4, cycle_property = $5, cycles = $6,
               cycled_at = CASE WHEN cycles < $6 THEN suite_now() ELSE cycled_at END
           WHERE owner = $1 AND outbox_id = $2 AND cycles = $7 RETURNING true""",
        owner,
        before.outbox_id,
        now.outbox_id,
        {str(partition): offset for partition, offset in now.offsets.items()},
        now.after_property,
        now.cycles,
        before.cycles,
    )
    return moved is True


async def select_fence(connection: Connection) -> Fence:
    """The newest row of the outbox, and this transaction, which must end with the statement.

    The snapshot's xmax would not do: it is one more than the last transaction that ended. Whoever began after that one,
    and drew its row's id before, is at work beyond it.
    """
    row = await connection.fetchrow(
        """SELECT (SELECT coalesce(max(id), 0) FROM outbox) AS outbox_id,
                  pg_current_xact_id()::text::bigint AS xid"""
    )
    return Fence(row["outbox_id"], row["xid"]) if row else Fence(0, 0)


async def is_behind(connection: Connection, fence: Fence) -> bool:
    """True once every transaction of the fence's moment has ended: no older row can appear any more."""
    ended = await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1", fence.xid)
    return ended is True


async def select_events(connection: Connection, topic: str, after: int, up_to: int, limit: int) -> list[StoredEvent]:
    """Rows with `after < id <= up_to` in id order."""
    rows = await connection.fetch(
        """SELECT id, event_id, key, agency_id, (data->>'inventory_version')::bigint AS version FROM outbox
           WHERE id > $2 AND id <= $3 AND topic = $1 ORDER BY id LIMIT $4""",
        topic,
        after,
        up_to,
        limit,
    )
    return [StoredEvent(row["id"], row["event_id"], UUID(row["key"]), row["agency_id"], row["version"]) for row in rows]


async def select_known_event_ids(
    connection: Connection, event_ids: Collection[UUID], below: int, not_before: datetime
) -> tuple[set[UUID], int | None]:
    """Which events one stretch of rows up to `below` holds, and where the next, older one begins.

    The id is None when the store ends there, or is older than `not_before`: rows are in the order of time but for
    transactions that were open for a while. There is no index by event id: it would cost every booking.
    """
    row = await connection.fetchrow(
        """WITH stretch AS MATERIALIZED (
               SELECT id, event_id, occurred_at FROM outbox WHERE id <= $2 ORDER BY id DESC LIMIT $3)
           SELECT min(id) AS first, max(occurred_at) AS newest,
                  coalesce(array_agg(event_id) FILTER (WHERE event_id = ANY ($1::uuid[])), '{}') AS found
           FROM stretch""",
        list(event_ids),
        below,
        LOOK_UP_ROWS,
    )
    if row is None or row["first"] is None:
        return set(), None
    is_over = row["newest"] < not_before - _CLOCK_TOLERANCE
    return set(row["found"]), None if is_over else row["first"] - 1


async def select_given_up(connection: Connection, property_ids: Collection[UUID]) -> dict[UUID, set[int]]:
    """Versions of events that `resync` gave up, by property."""
    rows = await connection.fetch(
        """SELECT key, (data->>'inventory_version')::bigint AS version FROM outbox
           WHERE quarantined IS NOT NULL AND sent_at IS NOT NULL AND key = ANY ($1::text[])""",
        [str(property_id) for property_id in property_ids],
    )
    versions: dict[UUID, set[int]] = {}
    for row in rows:
        versions.setdefault(UUID(row["key"]), set()).add(row["version"])
    return versions


async def select_oldest_unsent(connection: Connection, shards: Collection[int]) -> dict[int, int]:
    """Per shard the oldest row that waits for the relay, those of quarantined properties left out."""
    rows = await connection.fetch(
        """SELECT wanted.shard, oldest.id FROM unnest($1::smallint[]) AS wanted (shard)
           JOIN LATERAL (
               SELECT id FROM outbox
               WHERE outbox.shard = wanted.shard AND sent_at IS NULL
                 AND key NOT IN (SELECT key FROM outbox WHERE quarantined IS NOT NULL AND sent_at IS NULL)
               ORDER BY id LIMIT 1
           ) AS oldest ON true""",
        sorted(shards),
    )
    return {row["shard"]: row["id"] for row in rows}


async def select_quarantined(connection: Connection) -> set[UUID]:
    """Properties whose events wait behind one that cannot be sent."""
    rows = await connection.fetch("SELECT DISTINCT key FROM outbox WHERE quarantined IS NOT NULL AND sent_at IS NULL")
    return {UUID(row["key"]) for row in rows}


async def select_properties_behind(
    connection: Connection, after: UUID | None, limit: int
) -> tuple[list[UUID], list[Suspect]]:
    """A page of properties in id order, and those of them whose version is ahead of the events seen.

    Run it in one snapshot with nothing else: `outbox_id` is the newest row that snapshot sees.
    """
    rows = await connection.fetch(
        """SELECT version.property_id, version.agency_id, version.shard, version.inventory_version,
                  (SELECT coalesce(max(id), 0) FROM outbox) AS outbox_id,
                  greatest(position.floor_version, position.outbox_version) IS DISTINCT FROM version.inventory_version
                  OR greatest(position.floor_version, position.topic_version) IS DISTINCT FROM version.inventory_version
                      AS is_behind
           FROM inventory_versions AS version LEFT JOIN audit_positions AS position USING (property_id)
           WHERE $1::uuid IS NULL OR version.property_id > $1 ORDER BY version.property_id LIMIT $2""",
        after,
        limit,
    )
    suspects = [
        Suspect(row["property_id"], row["agency_id"], row["shard"], row["inventory_version"], row["outbox_id"])
        for row in rows
        if row["is_behind"]
    ]
    return [row["property_id"] for row in rows], suspects


async def select_overlaps(connection: Connection, property_ids: Sequence[UUID]) -> list[Overlap]:
    """Active ranges that begin before an earlier one of their property ended; does not trust the constraint.

    Changes planner settings until the transaction ends: for a page of 500 of 20,000 properties it would otherwise read
    the whole table, in parallel. Without the constraint's index it still does.
    """
    await connection.execute("SET LOCAL random_page_cost = 1.1; SET LOCAL max_parallel_workers_per_gather = 0")
    rows = await connection.fetch(
        """SELECT agency_id, property_id, id, lower(occupied) AS starts,
                  least(left(reaching, 10)::date, upper(occupied)) AS ends, substr(reaching, 11)::uuid AS earlier_id
           FROM (
               SELECT found.*, max(to_char(upper(occupied), 'YYYY-MM-DD') || id) OVER (
                          PARTITION BY found.property_id ORDER BY occupied, id
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reaching
               FROM unnest($1::uuid[]) AS wanted (property_id)
               JOIN LATERAL (
                   SELECT agency_id, property_id, id, occupied FROM inventory_ranges
                   WHERE inventory_ranges.property_id = wanted.property_id AND state = 'active'
               ) AS found ON true
           ) AS walked WHERE lower(occupied) < left(reaching, 10)::date""",
        list(property_ids),
    )
    return [
        Overlap(row["agency_id"], row["property_id"], row["earlier_id"], row["id"], row["starts"], row["ends"])
        for row in rows
    ]


async def select_positions(connection: Connection, property_ids: Collection[UUID]) -> dict[UUID, Position]:
    """The last versions seen of these properties; unknown ones are left out."""
    rows = await connection.fetch(
        """SELECT property_id, agency_id, floor_version, outbox_version, topic_version FROM audit_positions
           WHERE property_id = ANY ($1::uuid[])""",
        list(property_ids),
    )
    return {
        row["property_id"]: Position(
            row["agency_id"], row["floor_version"], row["outbox_version"], row["topic_version"]
        )
        for row in rows
    }


async def upsert_positions(connection: Connection, positions: Mapping[UUID, Position]) -> None:
    """Note the last versions seen; floors are `bump-versions`'s and stay."""
    known = {key: position for key, position in positions.items() if position.agency_id is not None}
    await connection.execute(
        """INSERT INTO audit_positions (property_id, agency_id, outbox_version, topic_version)
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) AS seen ORDER BY 1
           ON CONFLICT (property_id) DO UPDATE SET
               outbox_version = excluded.outbox_version, topic_version = excluded.topic_version""",
        list(known),
        [position.agency_id for position in known.values()],
        [position.outbox for position in known.values()],
        [position.topic for position in known.values()],
    )


async def forget_topic_positions(connection: Connection, shards: Collection[int]) -> None:
    """Records of these partitions were lost unread: whatever comes next of their properties is consecutive."""
    await connection.execute(
        """UPDATE audit_positions SET topic_version = NULL FROM inventory_versions AS version
           WHERE version.property_id = audit_positions.property_id AND version.shard = ANY ($1::smallint[])""",
        sorted(shards),
    )


async def upsert_findings(connection: Connection, findings: Sequence[Finding]) -> list[Finding]:
    """Store what was found, and note that known ones were seen again; those that are new."""
    unique = {finding.fingerprint: finding for finding in findings}
    rows: list[Row] = []
    for finding in unique.values():
        rows += await connection.fetch(
            """INSERT INTO audit_findings (fingerprint, invariant, kind, agency_id, property_id, detail,
                                           found_at, last_seen_at)
               VALUES ($1, $2, $3, $4, $5, $6, suite_now(), suite_now())
               ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO UPDATE SET last_seen_at = suite_now()
               RETURNING fingerprint, xmax::text = '0' AS is_new""",
            finding.fingerprint,
            finding.invariant,
            finding.kind,
            finding.agency_id,
            finding.property_id,
            finding.detail,
        )
    return [unique[row["fingerprint"]] for row in rows if row["is_new"]]


async def resolve_findings(
    connection: Connection, invariant: str, property_ids: Collection[UUID], still: Collection[str]
) -> None:
    """Close the findings of an invariant in these properties that are not there any more."""
    await connection.execute(
        """UPDATE audit_findings SET resolved_at = suite_now()
           WHERE resolved_at IS NULL AND invariant = $1 AND property_id = ANY ($2::uuid[])
             AND fingerprint <> ALL ($3::text[])""",
        invariant,
        list(property_ids),
        list(still),
    )


async def resolve_finding(connection: Connection, finding_id: int) -> bool:
    """Close one finding by hand; False when there is no such open one."""
    closed = await connection.fetchval(
        "UPDATE audit_findings SET resolved_at = suite_now() WHERE id = $1 AND resolved_at IS NULL RETURNING true",
        finding_id,
    )
    return closed is True


async def select_open_findings(connection: Connection, limit: int) -> list[StoredFinding]:
    """Findings that are not resolved, oldest first."""
    rows = await connection.fetch(
        """SELECT id, invariant, kind, agency_id, property_id, detail, found_at, last_seen_at
           FROM audit_findings WHERE resolved_at IS NULL ORDER BY id LIMIT $1""",
        limit,
    )
    return [StoredFinding(*row.values()) for row in rows]
