"""Booking's timed loops: expiry of holds and pendings, and the snapshots of changed properties; wired by `main`."""

from collections.abc import Awaitable, Callable

from booking.service import snapshots
from booking.service.expiry import expire_overdue
from booking.service.snapshots import EndOffset, Send
from booking.service.writing import Deps


def expiry(deps: Deps) -> Callable[[], Awaitable[int]]:
    """Expires what is overdue, so that a hold nobody touches gives its nights back too."""

    async def step() -> int:
        return await expire_overdue(deps)

    return step


def snapshot_publisher(deps: Deps, partitions: int, end_offset: EndOffset, send: Send) -> Callable[[], Awaitable[None]]:
    """Publishes the state of every property that changed since its last snapshot, partition by partition."""

    markers = dict.fromkeys(range(partitions), 0)

    async def step() -> None:
        for shard, last_marker in markers.items():
            markers[shard] = await snapshots.publish(deps, shard, end_offset, send, last_marker)

    return step
