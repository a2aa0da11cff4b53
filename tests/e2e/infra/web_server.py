"""Owns how a test serves HTTP on a port of its own and ends it without leaving a connection behind."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web


async def listen(application: web.Application, host: str = "127.0.0.1", port: int = 0, **options: Any) -> web.AppRunner:
    """Serve an application; `runner.addresses` names the port. `options` are those of `AppRunner`."""
    runner = web.AppRunner(application, access_log=None, **{"shutdown_timeout": 1.0, **options})
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


async def close(runner: web.AppRunner) -> None:
    """Stop listening, then close all connections."""
    for site in list(runner.sites):
        await site.stop()
    # A connection accepted in the last moment becomes known to the runner only now; it would stay open otherwise.
    await asyncio.sleep(0.05)
    await runner.cleanup()
