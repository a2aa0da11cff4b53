"""The statements on `connections`; called by service."""

from uuid import UUID

from channel_sync.domain.channels import Connection as ChannelConnection
from channel_sync.domain.channels import ConnectionChange, Door, NewConnection
from channel_sync.domain.paging import Position
from channel_sync.repository.rows import position_parameters, present
from runtime.postgres import Connection, Pool

_CONNECTION = "id, name, adapter, endpoint_url, settings, enabled, created_at, updated_at"


async def select_door(system_pool: Pool, connection_id: UUID) -> Door | None:
    """What an inbound revision needs of the connection it names: the one look-up by connection id without a tenant."""
    row = await system_pool.fetchrow(
        """SELECT id AS connection_id, agency_id, adapter, sealed_secret, suite_now() AS now
           FROM connections WHERE id = $1 AND deleted_at IS NULL""",
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
        f"SELECT {_CONNECTION} FROM connections WHERE agency_id = $1 AND id = $2 AND deleted_at IS NULL",  # noqa: S608
        agency_id,
        connection_id,
    )
    return ChannelConnection(**row) if row is not None else None


async def select_sealed_secret(conn: Connection, agency_id: UUID, connection_id: UUID) -> bytes | None:
    """A connection's secret as it is stored."""
    sealed: bytes | None = await conn.fetchval(
        "SELECT sealed_secret FROM connections WHERE agency_id = $1 AND id = $2 AND deleted_at IS NULL",
        agency_id,
        connection_id,
    )
    return sealed


async def update_connection(
    conn: Connection, agency_id: UUID, connection_id: UUID, change: ConnectionChange, sealed_secret: bytes | None
) -> ChannelConnection | None:
    """Change what is named; None when there is no such connection. A changed connection is tried again at once."""
    row = await conn.fetchrow(
        f"""UPDATE connections SET name = coalesce($3, name), endpoint_url = coalesce($4, endpoint_url),
                settings = coalesce($5, settings), enabled = coalesce($6, enabled),
                sealed_secret = coalesce($7, sealed_secret), updated_at = suite_now(), failures = 0, open_until = NULL
            WHERE agency_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING {_CONNECTION}""",  # noqa: S608
        agency_id,
        connection_id,
        change.name,
        change.endpoint_url,
        change.settings,
        change.enabled,
        sealed_secret,
    )
    return ChannelConnection(**row) if row is not None else None


async def delete_connection(conn: Connection, agency_id: UUID, connection_id: UUID) -> ChannelConnection | None:
    """Forget a connection and its listings, and keep its history; None when there is none."""
    await conn.execute("DELETE FROM listings WHERE agency_id = $1 AND connection_id = $2", agency_id, connection_id)
    row = await conn.fetchrow(
        f"""UPDATE connections SET deleted_at = suite_now(), enabled = false, updated_at = suite_now()
            WHERE agency_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING {_CONNECTION}""",  # noqa: S608
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
            WHERE agency_id = $1 AND deleted_at IS NULL
              AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $4""",  # noqa: S608
        agency_id,
        *position_parameters(after),
        limit,
    )
    return [ChannelConnection(**row) for row in rows]


async def lock_sealed_secrets(conn: Connection, after: UUID, limit: int) -> list[tuple[UUID, bytes]]:
    """Secrets of all agencies as they are stored, by connection id, locked until the transaction ends."""
    rows = await conn.fetch(
        "SELECT id, sealed_secret FROM connections WHERE id > $1 ORDER BY id LIMIT $2 FOR UPDATE", after, limit
    )
    return [(row["id"], row["sealed_secret"]) for row in rows]


async def update_sealed_secret(conn: Connection, connection_id: UUID, sealed_secret: bytes) -> None:
    """Store a secret sealed anew."""
    await conn.execute("UPDATE connections SET sealed_secret = $2 WHERE id = $1", connection_id, sealed_secret)
