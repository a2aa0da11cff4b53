"""Proves what a database error means and what is done about it: on real deadlocks and really terminated backends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from deploy.local.provision import DatabaseUrls, in_database
from runtime.kafka import PoisonMessage
from runtime.postgres import (
    Connection,
    DeadlockPersists,
    Pool,
    answers,
    is_transient,
    retrying_deadlocks,
    sqlstate,
    transaction,
)
from tests.conftest import Provisioned
from tests.runtime.conftest import pool_of
from tests.serving import closed_port

pytestmark = pytest.mark.stack

FIRST, SECOND = 9_001, 9_002


@pytest_asyncio.fixture(loop_scope="session")
async def admin(provisioned: Provisioned, database: DatabaseUrls) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """An administrator's connection, for terminating others."""
    name = database.app.rsplit("/", 1)[1]
    connection = await asyncpg.connect(in_database(provisioned.stack.postgres_admin_dsn, name))
    yield connection
    await connection.close()


class Opponent:
    """Takes the same two locks the other way round each time it is asked, and always survives the deadlock."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.deadlocks = 0

    async def deadlock(self, victim: Connection) -> None:
        """Make the transaction of `victim` (which is in one) fail with 40P01."""
        await victim.execute("SET LOCAL deadlock_timeout = '20ms'")
        async with self.pool.acquire() as other, other.transaction():
            # Only the victim looks for deadlocks within this time, so only the victim can be chosen.
            await other.execute("SET LOCAL deadlock_timeout = '30s'")
            await other.execute("SELECT pg_advisory_xact_lock($1)", SECOND)
            await victim.execute("SELECT pg_advisory_xact_lock($1)", FIRST)
            waiting = asyncio.create_task(other.execute("SELECT pg_advisory_xact_lock($1)", FIRST))
            await asyncio.sleep(0.05)
            self.deadlocks += 1
            try:
                await victim.execute("SELECT pg_advisory_xact_lock($1)", SECOND)
            finally:
                # The victim's locks go with its transaction, which ends after this block: let go of ours first.
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="session")
async def opponent(provisioned: Provisioned, database: DatabaseUrls) -> AsyncIterator[Opponent]:
    name = database.app.rsplit("/", 1)[1]
    async with pool_of(in_database(provisioned.stack.postgres_admin_dsn, name)) as pool:
        yield Opponent(pool)


async def test_a_deadlocked_transaction_is_run_again_whole_and_succeeds(opponent: Opponent) -> None:
    attempts = 0

    async def use_case() -> str:
        nonlocal attempts
        attempts += 1
        async with opponent.pool.acquire() as connection, connection.transaction():
            if attempts < 3:
                await opponent.deadlock(connection)
            return "done"

    assert await retrying_deadlocks(use_case) == "done"
    assert (attempts, opponent.deadlocks) == (3, 2)


async def test_a_deadlock_that_persists_is_given_up_after_three_attempts_with_the_exact_words(
    opponent: Opponent,
) -> None:
    started = time.monotonic()

    async def use_case() -> None:
        async with opponent.pool.acquire() as connection, connection.transaction():
            await opponent.deadlock(connection)

    with pytest.raises(DeadlockPersists) as refusal:
        await retrying_deadlocks(use_case)
    assert str(refusal.value) == "Database deadlock detected. Please retry your request."
    assert sqlstate(refusal.value.__cause__ or AssertionError()) == "40P01"
    assert opponent.deadlocks == 3
    assert time.monotonic() - started >= 0.3
    assert is_transient(refusal.value)


async def test_a_serialization_failure_is_run_again(system_pool: Pool) -> None:
    attempts = 0

    async def use_case() -> int:
        nonlocal attempts
        attempts += 1
        async with system_pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            await connection.execute("SELECT 1 FROM inbox")
            if attempts == 1:
                async with system_pool.acquire() as other:
                    await other.execute("UPDATE inbox SET processed_at = now() WHERE consumer = 'serial'")
            return int((await connection.execute("UPDATE inbox SET processed_at = now()")).split()[1])

    await system_pool.execute("INSERT INTO inbox VALUES ('serial', $1) ON CONFLICT DO NOTHING", uuid4())
    assert await retrying_deadlocks(use_case) >= 1
    assert attempts == 2


async def test_another_error_is_not_tried_again(system_pool: Pool) -> None:
    attempts = 0

    async def use_case() -> None:
        nonlocal attempts
        attempts += 1
        await system_pool.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await retrying_deadlocks(use_case)
    assert attempts == 1


async def test_the_error_of_a_terminated_backend_is_transient(
    database: DatabaseUrls, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with pool_of(database.system) as pool:
        async with pool.acquire() as connection:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            waiting = asyncio.create_task(connection.execute("SELECT pg_sleep(10)"))
            await asyncio.sleep(0.05)
            await admin.execute("SELECT pg_terminate_backend($1)", pid)
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as in_the_middle:
                await waiting
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as afterwards:
                await connection.execute("SELECT 1")
        assert is_transient(in_the_middle.value)
        assert is_transient(afterwards.value)
        assert await pool.fetchval("SELECT 1") == 1


async def test_the_error_of_a_backend_that_was_terminated_between_two_statements_is_transient(
    database: DatabaseUrls, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with pool_of(database.system) as pool:

        async def use_case() -> None:
            async with transaction(pool, uuid4()) as connection:
                pid = await connection.fetchval("SELECT pg_backend_pid()")
                await admin.execute("SELECT pg_terminate_backend($1)", pid)
                await asyncio.sleep(0.05)
                await connection.execute("SELECT 1")

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as refusal:
            await use_case()
        assert is_transient(refusal.value)


async def test_a_lock_that_is_waited_for_too_long_is_transient(system_pool: Pool) -> None:
    async with system_pool.acquire() as holder, system_pool.acquire() as waiter, holder.transaction():
        await holder.execute("SELECT pg_advisory_xact_lock($1)", FIRST)
        async with waiter.transaction():
            await waiter.execute("SET LOCAL lock_timeout = '20ms'")
            with pytest.raises(asyncpg.LockNotAvailableError) as refusal:
                await waiter.execute("SELECT pg_advisory_xact_lock($1)", FIRST)
    assert is_transient(refusal.value)


async def test_a_statement_that_takes_too_long_is_transient(system_pool: Pool) -> None:
    async with system_pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = '20ms'")
        with pytest.raises(asyncpg.QueryCanceledError) as refusal:
            await connection.execute("SELECT pg_sleep(5)")
    assert is_transient(refusal.value)


async def test_a_database_that_cannot_be_reached_is_transient_and_not_ready(database: DatabaseUrls) -> None:
    with pytest.raises(OSError, match="Connect call failed") as refusal:
        await asyncpg.connect(f"postgresql://a:b@127.0.0.1:{closed_port()}/x")
    assert is_transient(refusal.value)


async def test_a_closed_pool_is_transient_and_not_ready(database: DatabaseUrls) -> None:
    async with pool_of(database.system) as pool:
        assert await answers(pool) is None
    assert "does not answer" in (await answers(pool) or "")
    with pytest.raises(asyncpg.InterfaceError) as refusal:
        await pool.execute("SELECT 1")
    assert is_transient(refusal.value)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 / 0",
        "SELECT nothing",
        "SELEC 1",
        "SELECT 'x'::int",
        "INSERT INTO relay_leases VALUES (1, NULL, now())",
    ],
)
async def test_an_error_in_a_statement_is_not_transient(system_pool: Pool, statement: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await system_pool.execute(statement)
    assert not is_transient(refusal.value)


async def test_a_wrong_call_of_the_driver_is_not_transient(system_pool: Pool) -> None:
    with pytest.raises(asyncpg.InterfaceError) as too_many:
        await system_pool.execute("SELECT $1::int", 1, 2)
    with pytest.raises(asyncpg.DataError) as wrong_type:
        await system_pool.execute("SELECT $1::int", "one")
    async with system_pool.acquire() as connection:
        running = asyncio.create_task(connection.execute("SELECT pg_sleep(0.1)"))
        await asyncio.sleep(0.02)
        with pytest.raises(asyncpg.InterfaceError) as busy:
            await connection.execute("SELECT 1")
        await running
    for refusal in (too_many, wrong_type, busy):
        assert not is_transient(refusal.value), refusal.value


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), PoisonMessage("x"), KeyError("x")])
def test_an_error_of_our_own_is_not_transient(error: Exception) -> None:
    assert not is_transient(error)
    assert sqlstate(error) is None


async def test_row_security_sees_the_agency_of_the_transaction_and_forgets_it(app_pool: Pool) -> None:
    agency_id = uuid4()
    async with transaction(app_pool, agency_id) as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        assert await connection.fetchval("SELECT current_setting('app.agency_id')") == str(agency_id)
    async with app_pool.acquire() as again:
        assert await again.fetchval("SELECT pg_backend_pid()") == pid
        assert (await again.fetchval("SELECT current_setting('app.agency_id', true)")) in (None, "")


async def test_values_come_back_as_the_types_the_services_use(system_pool: Pool) -> None:
    value = {"nested": [1, "zwei", None], "text": "Ärger"}
    row = await system_pool.fetchrow("SELECT $1::jsonb AS data, $2::uuid AS id, now() AS at", value, UUID(int=7))
    assert row is not None
    assert row["data"] == value
    assert type(row["id"]) is UUID
    assert isinstance(row["at"], datetime)
    assert row["at"].tzinfo == UTC
