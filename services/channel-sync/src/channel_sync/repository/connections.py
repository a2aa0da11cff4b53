"""The statements on `connections`; called by service."""

from uuid import UUID

from channel_sync.domain.channels import Connection as ChannelConnection
from channel_sync.domain.channels import Door, NewConnection
from channel_sync.domain.paging import Position
from channel_sync.repository.rows import position_parameters, present
from runtime.postgres import Connection, Pool

_CONNECTION = "id, name, adapter, endpoint_url, settings, enabled, created_at, updated_at"


async def select_door(system_pool: Pool, connection_id: UUID) -> Door | None:
    """What an inbound revision needs of the connection it names: the one look-up by connection id without a tenant."""
    row = await system_pool.fetchrow(
        """SELECT id AS connection_id, agency_id, adapter, sealed_secret, suite_now() AS now
           FROM connections WHERE id = $1""",
        connection_id,
    )
    return Door(**row) if row is not None else None


async def insert_connection(
    conn: Connection, agency_id: UUID, connection_id: UUID, new: NewConnection, sealed_secret: bytes
) -> ChannelConnection:
    """Store a connection."""
    row = await conn.fetchrow(
        f"""INSERT INTO connections
                (id, agency_id, name, adapter, endpoint_url, sealed_secret, settings, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, suite_now(), suite_now()) RETURNING {_CONNECTION}""",  # noqa: S608
        connection_id,
        agency_id,
        new.name,
        new.adapter,
        new.endpoint_url,
        sealed_secret,
        new.settings,
    )
    return ChannelConnection(**present(row))


async def select_connection(conn: Connection, agency_id: UUID, connection_id: UUID) -> ChannelConnection | None:
    """One connection of the agency."""
    row = await conn.fetchrow(
        f"SELECT {_CONNECTION} FROM connections WHERE agency_id = $1 AND id = $2",  # noqa: S608
        agency_id,
        connection_id,
    )
    return ChannelConnection(**row) if row is not None else None


async def select_connections(
    conn: Connection, agency_id: UUID, after: Position | None, limit: int
) -> list[ChannelConnection]:
    """The agency's connections, newest first."""
    rows = await conn.fetch(
        f"""SELECT {_CONNECTION} FROM connections
            WHERE agency_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $4""",  # noqa: S608
        agency_id,
        *position_parameters(after),
        limit,
    )
    return [ChannelConnection(**row) for row in rows]
