"""Runs a use case for a command, with the system role's pool; called by the other modules of `commands`."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from booking.service.writing import Deps
from runtime.postgres import create_pool
from runtime.settings import PostgresSettings, load

Result = TypeVar("Result")

POOL_SIZE = 4


def run_use_case(use_case: Callable[[Deps], Awaitable[Result]]) -> Result:
    """The result of a use case that neither creates properties nor places pendings."""
    dsn = load(PostgresSettings).system_database_url.get_secret_value()

    async def run() -> Result:
        pool = await create_pool(dsn, size=POOL_SIZE, application_name="booking-command")
        try:
            return await use_case(Deps(pool, _nobody_to_wake, 0, timedelta(0)))
        finally:
            await pool.close()

    return asyncio.run(run())


def _nobody_to_wake() -> None:
    """A running relay polls."""
