"""The statements on `sync_operations`; called by service."""

from uuid import UUID

from channel_sync.domain.channels import Operation
from runtime.postgres import Connection

_OPERATION = (
    "log_id, connection_id, listing_id, batch_id, task_id, operation_type, direction, status, inventory_version, "
    "error, duration_ms, trace_id, created_at, updated_at"
)


async def insert_operation(conn: Connection, agency_id: UUID, operation: Operation) -> None:
    """Store one ended attempt."""
    await conn.execute(
        f"""INSERT INTO sync_operations (agency_id, {_OPERATION})
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)""",  # noqa: S608
        agency_id,
        operation.log_id,
        operation.connection_id,
        operation.listing_id,
        operation.batch_id,
        operation.task_id,
        operation.operation_type,
        operation.direction,
        operation.status,
        operation.inventory_version,
        operation.error,
        operation.duration_ms,
        operation.trace_id,
        operation.created_at,
        operation.updated_at,
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
