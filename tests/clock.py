"""Owns the tests' hold on time: a database's one clock function `suite_now()` replaced, and put back as it was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg

from runtime.postgres import Connection


def at(moment: datetime) -> timedelta:
    """How far ahead the clock must run to show `moment` now."""
    return moment - datetime.now(UTC)


@asynccontextmanager
async def clock_ahead(owner_dsn: str, ahead: timedelta) -> AsyncIterator[None]:
    """The database's clock runs ahead inside the block; `owner_dsn` may replace its functions."""
    connection = await asyncpg.connect(owner_dsn)
    try:
        await set_clock(connection, ahead)
        yield
    finally:
        await set_clock(connection, None)
        await connection.close()


async def set_clock(connection: Connection, ahead: timedelta | None) -> None:
    """Let the clock run ahead by so much; None puts back what the migration says, to the letter."""
    body = "SELECT now()" if ahead is None else f"SELECT now() + interval '{ahead.total_seconds()} seconds'"
    await connection.execute(
        f"CREATE OR REPLACE FUNCTION suite_now() RETURNS timestamptz LANGUAGE sql STABLE AS $${body}$$"
    )
