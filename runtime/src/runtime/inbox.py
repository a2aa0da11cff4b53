"""The inbox: remembers which events a consumer applied, in the transaction of their effect; used by repositories."""

from uuid import UUID

from runtime.postgres import Connection

_INSERT = "INSERT INTO inbox (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"


async def insert_inbox_entry(connection: Connection, consumer: str, event_id: UUID) -> bool:
    """Note an event as applied; False when it was applied before, and then nothing else may be done."""
    return await connection.fetchval(_INSERT, consumer, event_id) is True
