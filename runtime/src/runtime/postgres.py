"""The asyncpg pool, transactions scoped to an agency, and what a database error means; used by services and runtime."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import asyncpg
import orjson

from runtime.logs import get_logger

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    Row = asyncpg.Record
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool
    Row = asyncpg.Record

log = get_logger(__name__)

DEADLOCK_BACKOFF_S = (0.1, 0.2)
_DEADLOCK_STATES = frozenset({"40P01", "40001"})
# Classes 08 connection, 40 rollback, 53 resources, 57 operator intervention; 55P03 lock not available, 25P03/25P04
# session timeouts.
_TRANSIENT = ("08", "40", "53", "57", "55P03", "25P03", "25P04")

Result = TypeVar("Result")


class DeadlockPersists(Exception):
    """Database deadlock detected. Please retry your request."""


async def _prepare(connection: Any) -> None:
    for name in ("json", "jsonb"):
        as_text = {"encoder": lambda value: orjson.dumps(value).decode(), "decoder": orjson.loads}
        await connection.set_type_codec(name, **as_text, schema="pg_catalog")
    # asyncpg's own UUID is a subclass that orjson refuses.
    await connection.set_type_codec("uuid", encoder=str, decoder=UUID, schema="pg_catalog")


async def _leave_as_is(connection: Any) -> None:
    """Replaces the pool's reset query, a round trip: transactions here only use SET LOCAL and transaction locks."""


async def create_pool(dsn: str, *, size: int, application_name: str) -> Pool:
    """A pool of at most `size` connections; a lock is waited for at most 5 s, a statement at most 15 s."""
    return await asyncpg.create_pool(
        dsn,
        min_size=min(2, size),
        max_size=size,
        init=_prepare,
        reset=_leave_as_is,
        timeout=5,
        max_inactive_connection_lifetime=60,
        server_settings={
            "application_name": application_name,
            "statement_timeout": "15000",
            "lock_timeout": "5000",
            "idle_in_transaction_session_timeout": "30000",
            "timezone": "UTC",
            "jit": "off",
        },
    )


@asynccontextmanager
async def transaction(pool: Pool, agency_id: UUID | None) -> AsyncIterator[Connection]:
    """One transaction; row security sees `agency_id`. None is for system roles, whose policies span agencies."""
    async with pool.acquire() as connection, connection.transaction():
        if agency_id is not None:
            await connection.execute("SELECT set_config('app.agency_id', $1, true)", str(agency_id))
        yield connection


async def answers(pool: Pool) -> str | None:
    """Readiness of a database: None when it answers, else one sentence."""
    try:
        await pool.fetchval("SELECT 1", timeout=2)
    except Exception as error:  # whatever keeps it from answering is the answer
        return f"the database does not answer: {type(error).__name__}"
    return None


def sqlstate(error: BaseException) -> str | None:
    """The five-character SQLSTATE of a database error; None for anything else."""
    return error.sqlstate if isinstance(error, asyncpg.PostgresError) else None


def is_transient(error: BaseException) -> bool:
    """True when trying again later can succeed: connection lost, resources, shutdown, lock timeout, deadlock."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_TRANSIENT)
    if isinstance(error, asyncpg.InterfaceError):  # the driver's, for lost connections and for wrong calls alike
        return any(word in str(error) for word in ("closed", "closing", "released back to the pool"))
    return isinstance(error, OSError | DeadlockPersists)  # a TimeoutError is an OSError


async def retrying_deadlocks(use_case: Callable[[], Awaitable[Result]]) -> Result:
    """Run a whole transaction again on deadlock or serialization failure: 3 attempts, 100 and 200 ms apart.

    A backstop, never the mechanism: sorted locks and ON CONFLICT leave nothing to deadlock on. Raises
    `DeadlockPersists` after the last attempt.
    """
    for pause_s in (*DEADLOCK_BACKOFF_S, None):
        try:
            return await use_case()
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _DEADLOCK_STATES:
                raise
            log.warning("deadlock", sqlstate=error.sqlstate, retry_in_s=pause_s)
            if pause_s is None:
                raise DeadlockPersists(DeadlockPersists.__doc__) from error
            await asyncio.sleep(pause_s)
    raise AssertionError("unreachable")
