"""The statements on `sync_operations`; called by service."""

from uuid import UUID

from channel_sync.domain.batches import DELAY_BOUNDS_MS, Delays, Operation
from channel_sync.repository.rows import present
from runtime.postgres import Connection

_OPERATION = (
    "log_id, connection_id, listing_id, batch_id, task_id, operation_type, direction, status, inventory_version, "
    "error, error_class, attempt, payload_digest, staleness_ms, duration_ms, trace_id, created_at, updated_at"
)

# An attempt somebody asked for has a row already, `triggered`: it becomes the attempt. Others get the next number.
_ENDED = f"""
WITH awaited AS (
    UPDATE sync_operations SET status = $8, inventory_version = $9, error = $10, error_class = $11,
        payload_digest = $12, staleness_ms = $13, duration_ms = $14, trace_id = $15, updated_at = $17
    WHERE task_id = $6 AND status = 'triggered' RETURNING {_OPERATION}
), added AS (
    INSERT INTO sync_operations (agency_id, log_id, connection_id, listing_id, batch_id, task_id, operation_type,
        direction, status, inventory_version, error, error_class, payload_digest, staleness_ms, duration_ms, trace_id,
        created_at, updated_at, attempt)
    SELECT $1, $2, $3, $4, $5, $6, $7, $18, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
        1 + (SELECT count(*) FROM sync_operations WHERE task_id = $6)
    WHERE NOT EXISTS (SELECT FROM awaited) RETURNING {_OPERATION}
)
SELECT {_OPERATION} FROM awaited UNION ALL SELECT {_OPERATION} FROM added"""  # noqa: S608 - columns of our own


async def note_attempt(conn: Connection, agency_id: UUID, operation: Operation) -> Operation:
    """Store one ended attempt as the next of its task; as it was stored."""
    row = await conn.fetchrow(
        _ENDED,
        agency_id,
        operation.log_id,
        operation.connection_id,
        operation.listing_id,
        operation.batch_id,
        operation.task_id,
        operation.operation_type,
        operation.status,
        operation.inventory_version,
        operation.error,
        operation.error_class,
        operation.payload_digest,
        operation.staleness_ms,
        operation.duration_ms,
        operation.trace_id,
        operation.created_at,
        operation.updated_at,
        operation.direction,
    )
    return Operation(**present(row))


async def insert_triggered(conn: Connection, agency_id: UUID, operation: Operation) -> None:
    """Store the first attempt of a task before it is made."""
    await conn.execute(
        """INSERT INTO sync_operations (agency_id, log_id, connection_id, listing_id, batch_id, task_id, operation_type,
               direction, status, trace_id, created_at, updated_at, attempt)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'triggered', $9, $10, $10, 1)""",
        agency_id,
        operation.log_id,
        operation.connection_id,
        operation.listing_id,
        operation.batch_id,
        operation.task_id,
        operation.operation_type,
        operation.direction,
        operation.trace_id,
        operation.created_at,
    )


async def select_operations(
    conn: Connection, agency_id: UUID, connection_id: UUID, limit: int, offset: int
) -> list[Operation]:
    """The operations of a connection, newest first."""
    rows = await conn.fetch(
        f"""SELECT {_OPERATION} FROM sync_operations WHERE agency_id = $1 AND connection_id = $2
            ORDER BY created_at DESC, log_id DESC LIMIT $3 OFFSET $4""",  # noqa: S608
        agency_id,
        connection_id,
        limit,
        offset,
    )
    return [Operation(**row) for row in rows]


async def count_operations(conn: Connection, agency_id: UUID, connection_id: UUID) -> int:
    """How many operations a connection has."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM sync_operations WHERE agency_id = $1 AND connection_id = $2", agency_id, connection_id
    )
    return count


async def select_operations_of_batch(conn: Connection, agency_id: UUID, batch_id: UUID) -> list[Operation]:
    """All attempts of a batch, task by task, the first of each first."""
    rows = await conn.fetch(
        f"""SELECT {_OPERATION} FROM sync_operations WHERE agency_id = $1 AND batch_id = $2
            ORDER BY created_at, task_id, attempt""",  # noqa: S608
        agency_id,
        batch_id,
    )
    return [Operation(**row) for row in rows]


async def select_latest_attempt(conn: Connection, agency_id: UUID, log_id: UUID) -> Operation | None:
    """The latest attempt of the task that an attempt belongs to."""
    row = await conn.fetchrow(
        f"""SELECT {_OPERATION} FROM sync_operations
            WHERE agency_id = $1
              AND task_id = (SELECT task_id FROM sync_operations WHERE agency_id = $1 AND log_id = $2)
            ORDER BY attempt DESC LIMIT 1""",  # noqa: S608
        agency_id,
        log_id,
    )
    return Operation(**row) if row is not None else None


_DELAYS = f"""
SELECT count(*) AS told,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY staleness_ms) AS p50_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY staleness_ms) AS p99_ms,
    ARRAY(
        SELECT count(delays.staleness_ms) FROM generate_series(0, {len(DELAY_BOUNDS_MS)}) AS place
        LEFT JOIN sync_operations AS delays
          ON delays.agency_id = $1 AND delays.connection_id = $2 AND delays.created_at > suite_now() - interval '1 day'
         AND width_bucket(delays.staleness_ms - 1, $3::bigint[]) = place
        GROUP BY place ORDER BY place
    ) AS counts
FROM sync_operations
WHERE agency_id = $1 AND connection_id = $2 AND created_at > suite_now() - interval '1 day'
  AND staleness_ms IS NOT NULL"""  # noqa: S608 - a number of our own


async def select_delays(conn: Connection, agency_id: UUID, connection_id: UUID) -> Delays:
    """How long changes took to their acceptance by the channel, over the last day."""
    row = present(await conn.fetchrow(_DELAYS, agency_id, connection_id, list(DELAY_BOUNDS_MS)))
    return Delays(row["told"], row["p50_ms"], row["p99_ms"], tuple(row["counts"]))
