"""The statements that erase a guest from what a channel sent; called by service."""

from uuid import UUID

from runtime.postgres import Connection


async def insert_erased_reservation(conn: Connection, agency_id: UUID, connection_id: UUID, code: str) -> None:
    """Remember that nothing that names the guest of this reservation may be kept."""
    await conn.execute(
        """INSERT INTO erased_reservations (agency_id, connection_id, ota_reservation_code, erased_at)
           VALUES ($1, $2, $3, suite_now()) ON CONFLICT DO NOTHING""",
        agency_id,
        connection_id,
        code,
    )


async def select_raw_revisions(
    conn: Connection, agency_id: UUID, connection_id: UUID, code: str
) -> list[tuple[UUID, str, bytes]]:
    """Log id, adapter and bytes of the reservation's revisions, and of unreadable ones that name its code."""
    rows = await conn.fetch(
        """SELECT revision.id, connection.adapter, revision.raw
           FROM inbound_revisions AS revision JOIN connections AS connection ON connection.id = revision.connection_id
           WHERE revision.agency_id = $1 AND revision.connection_id = $2
             AND (revision.ota_reservation_code = $3
                  OR (revision.state = 'unparseable' AND position(convert_to($3, 'UTF8') IN revision.raw) > 0))""",
        agency_id,
        connection_id,
        code,
    )
    return [(row["id"], row["adapter"], row["raw"]) for row in rows]


async def update_raw_revision(conn: Connection, log_id: UUID, raw: bytes) -> None:
    """Put other bytes in a revision's place."""
    await conn.execute("UPDATE inbound_revisions SET raw = $2 WHERE id = $1", log_id, raw)


async def update_outbox_guests(conn: Connection, agency_id: UUID, connection_id: UUID, code: str) -> None:
    """Take the guest out of the reservation's events, sent or not."""
    await conn.execute(
        """UPDATE outbox SET data = data - 'guest'
           WHERE agency_id = $1 AND data->>'connection_id' = $2 AND data->>'ota_reservation_code' = $3""",
        agency_id,
        str(connection_id),
        code,
    )
