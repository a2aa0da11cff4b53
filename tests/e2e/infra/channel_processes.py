"""Owns channel-sync's processes where tests stop, kill and freeze them: quick to try again, in place of the one."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from deploy.local.services import CHANNEL_SYNC
from tests.e2e.infra.running import Running

# Retries, breakers and leases take seconds here, not tens of seconds.
QUICK = {
    "PUSH_TIMEOUT_S": "1",
    "PUSH_SETTLE_S": "1",
    "PUSH_LEASE_S": "6",
    "BREAKER_S": "1",
    "BREAKER_FAILURES": "3",
    "FEED_POLL_S": "1",
}
WORKERS = ("channel-sync-worker-1", "channel-sync-worker-2")
RELAY = "channel-sync-relay"


@asynccontextmanager
async def quick_channel_sync(running: Running) -> AsyncIterator[list[str]]:
    """Two processes of channel-sync that do everything; their names."""
    await running.stop(CHANNEL_SYNC)
    first = running.suite.process(CHANNEL_SYNC, name="channel-sync-quick", env=QUICK)
    second = running.role(CHANNEL_SYNC, "serve", name="channel-sync-second", env=QUICK)
    try:
        async with running.added(first, second):
            yield [first.name, second.name]
    finally:
        await running.restart(CHANNEL_SYNC)


@asynccontextmanager
async def channel_sync_by_roles(running: Running) -> AsyncIterator[None]:
    """The API, the consumer, the relay and two workers, each a process."""
    await running.stop(CHANNEL_SYNC)
    specs = [
        running.suite.process(CHANNEL_SYNC, "api", name="channel-sync-api", env=QUICK),
        running.role(CHANNEL_SYNC, "consumer", name="channel-sync-consumer", env=QUICK),
        running.role(CHANNEL_SYNC, "relay", name=RELAY, env=QUICK),
        *(running.role(CHANNEL_SYNC, "worker", name=name, env=QUICK) for name in WORKERS),
    ]
    try:
        async with running.added(*specs):
            yield
    finally:
        await running.restart(CHANNEL_SYNC)


@contextmanager
def frozen(running: Running, *names: str) -> Iterator[None]:
    """These processes do nothing for a while, and know nothing of it."""
    pids = [running.supervisor.pid(name) for name in names]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
