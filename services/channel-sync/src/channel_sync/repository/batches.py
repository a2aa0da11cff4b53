"""The statements on `sync_batches`; called by service."""

from collections.abc import Sequence
from uuid import UUID

from channel_sync.domain.batches import Batch
from channel_sync.repository.rows import present
from runtime.postgres import Connection

_BATCH = "id AS batch_id, connection_id, sync_type, batch_status, created_at, updated_at"


async def insert_batch(conn: Connection, agency_id: UUID, connection_id: UUID, batch_id: UUID, sync_type: str) -> Batch:
    """Begin a batch; running until its operations say otherwise."""
    row = await conn.fetchrow(
        f"""INSERT INTO sync_batches (id, agency_id, connection_id, sync_type, batch_status, created_at, updated_at)
            VALUES ($1, $2, $3, $4, 'running', suite_now(), suite_now()) RETURNING {_BATCH}""",  # noqa: S608
        batch_id,
        agency_id,
        connection_id,
        sync_type,
    )
    return Batch(**present(row))


async def batch_of_changes(
    conn: Connection, agency_id: UUID, connection_id: UUID, batch_id: UUID, window_s: float
) -> UUID:
    """The batch of changes of a connection that began within the last `window_s` seconds; else this one begins."""
    found: UUID | None = await conn.fetchval(
        """SELECT id FROM sync_batches
           WHERE connection_id = $1 AND sync_type = 'changes' AND created_at > suite_now() - make_interval(secs => $2)
           ORDER BY created_at DESC LIMIT 1""",
        connection_id,
        window_s,
    )
    if found is not None:
        return found
    return (await insert_batch(conn, agency_id, connection_id, batch_id, "changes")).batch_id


_SETTLE = """
UPDATE sync_batches SET batch_status = derived.batch_status, updated_at = suite_now()
FROM (SELECT id, batch_status FROM sync_batches WHERE id = $1 FOR UPDATE) AS old,
    (SELECT CASE WHEN bool_or(status = 'failed') THEN 'failed'
                 WHEN bool_or(status IN ('triggered', 'running')) THEN 'running' ELSE 'success' END AS batch_status
     FROM (SELECT DISTINCT ON (task_id) status FROM sync_operations WHERE batch_id = $1
           ORDER BY task_id, attempt DESC) AS latest) AS derived
WHERE sync_batches.id = old.id
RETURNING old.batch_status <> derived.batch_status AS is_changed,
    sync_batches.id AS batch_id, connection_id, sync_type, sync_batches.batch_status, created_at, updated_at"""


async def settle_batch(conn: Connection, batch_id: UUID) -> Batch | None:
    """Derive a batch's status from the last attempts of its tasks; the batch when its status is another one now."""
    row = await conn.fetchrow(_SETTLE, batch_id)
    if row is None or not row["is_changed"]:
        return None
    return Batch(**{name: value for name, value in row.items() if name != "is_changed"})


async def select_batches(
    conn: Connection, agency_id: UUID, connection_id: UUID, statuses: Sequence[str], limit: int, offset: int
) -> list[Batch]:
    """The batches of a connection with one of these statuses, newest first."""
    rows = await conn.fetch(
        f"""SELECT {_BATCH} FROM sync_batches
            WHERE agency_id = $1 AND connection_id = $2 AND batch_status = ANY ($3)
            ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5""",  # noqa: S608
        agency_id,
        connection_id,
        statuses,
        limit,
        offset,
    )
    return [Batch(**row) for row in rows]


async def count_batches(conn: Connection, agency_id: UUID, connection_id: UUID, statuses: Sequence[str]) -> int:
    """How many batches of a connection have one of these statuses."""
    count: int = await conn.fetchval(
        """SELECT count(*) FROM sync_batches
           WHERE agency_id = $1 AND connection_id = $2 AND batch_status = ANY ($3)""",
        agency_id,
        connection_id,
        statuses,
    )
    return count


async def select_batch(conn: Connection, agency_id: UUID, connection_id: UUID, batch_id: UUID) -> Batch | None:
    """One batch."""
    row = await conn.fetchrow(
        f"SELECT {_BATCH} FROM sync_batches WHERE agency_id = $1 AND connection_id = $2 AND id = $3",  # noqa: S608
        agency_id,
        connection_id,
        batch_id,
    )
    return Batch(**row) if row is not None else None


_OLD = """
    agency_id = $1 AND connection_id = $2 AND created_at < suite_now() - make_interval(days => $3)
    AND batch_status <> 'running'"""


async def count_old(conn: Connection, agency_id: UUID, connection_id: UUID, days: int) -> tuple[int, int]:
    """How many ended batches are older than so many days, and how many operations they have."""
    row = present(
        await conn.fetchrow(
            f"""WITH old AS (SELECT id FROM sync_batches WHERE {_OLD})
                SELECT (SELECT count(*) FROM old) AS batches,
                    (SELECT count(*) FROM sync_operations WHERE batch_id IN (SELECT id FROM old)) AS operations""",  # noqa: S608
            agency_id,
            connection_id,
            days,
        )
    )
    return row["batches"], row["operations"]


async def delete_old(conn: Connection, agency_id: UUID, connection_id: UUID, days: int) -> tuple[int, int]:
    """Delete the ended batches older than so many days with their operations; how many of both."""
    row = present(
        await conn.fetchrow(
            f"""WITH old AS (DELETE FROM sync_batches WHERE {_OLD} RETURNING id),
                gone AS (DELETE FROM sync_operations WHERE batch_id IN (SELECT id FROM old) RETURNING log_id)
                SELECT (SELECT count(*) FROM old) AS batches, (SELECT count(*) FROM gone) AS operations""",  # noqa: S608
            agency_id,
            connection_id,
            days,
        )
    )
    return row["batches"], row["operations"]
