"""Booking's timed loops: expiry, snapshots of changed properties, audits, retention; wired by `main`."""

from collections.abc import Awaitable, Callable

from booking.service import snapshots
from booking.service.accounts import operator
from booking.service.audits import Auditor
from booking.service.expiry import expire_overdue
from booking.service.retention import retention_step
from booking.service.snapshots import EndOffset, Send
from booking.service.writing import Deps


def expiry(deps: Deps) -> Callable[[], Awaitable[int]]:
    """Expires what is overdue, so that a hold nobody touches gives its nights back too."""

    async def step() -> int:
        return await expire_overdue(deps)

    return step


def auditing(auditor: Auditor) -> Callable[[], Awaitable[None]]:
    """Re-checks the invariants on live data, changed properties first."""
    return auditor.run_rounds


def retention(deps: Deps) -> Callable[[], Awaitable[object]]:
    """Archives past ranges and purges what nobody reads any more, a batch at a time."""

    async def step() -> object:
        return await retention_step(deps)

    return step


def access_purge(deps: Deps) -> Callable[[], Awaitable[object]]:
    """Forgets tokens, links and failures that ran out long ago."""

    async def step() -> object:
        return await operator.purge(deps.pool)

    return step


def snapshot_publisher(deps: Deps, partitions: int, end_offset: EndOffset, send: Send) -> Callable[[], Awaitable[None]]:
    """Publishes the state of every property that changed since its last snapshot, partition by partition."""

    markers = dict.fromkeys(range(partitions), 0)

    async def step() -> None:
        for shard, last_marker in markers.items():
            markers[shard] = await snapshots.publish(deps, shard, end_offset, send, last_marker)

    return step
