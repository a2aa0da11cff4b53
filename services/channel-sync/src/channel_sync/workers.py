"""Owns the timed loops of channel-sync: the pusher, the second hand-over, the daily refresh; wired by main."""

import asyncio
from uuid import UUID

from channel_sync.service import alarms, feeds, inbound, outbound
from channel_sync.service.deps import Deps
from channel_sync.service.pushing import Push
from runtime.logs import get_logger
from runtime.loops import Loops

log = get_logger(__name__)

POLL_S = 0.1
HAND_OVER_EVERY_S = 30.0
REFRESH_EVERY_S = 60.0
FEEDS_EVERY_S = 1.0
FEEDS_AT_ONCE = 8
COUNT_EVERY_S = 60.0


class Pusher:
    """Tells channels what is stale, `concurrency` of them at a time in this process, each once at a time.

    What becomes stale at a channel while it is being told is told together afterwards. Each listing is leased to one
    process.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._wake = asyncio.Event()
        self._running: dict[UUID, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """There is something to push; called after commit by consumers and the API of the same process."""
        self._wake.set()

    async def run(self, deps: Deps) -> None:
        """Push until cancelled; then what is under way is finished, so that its outcome is not unknown."""
        try:
            while True:
                self._wake.clear()
                free = self._concurrency - len(self._running)
                claimed = await outbound.claim(deps, free, list(self._running)) if free > 0 else []
                for push in claimed:
                    self._start(deps, push)
                if len(claimed) < free or free == 0:
                    await self._pause()
        finally:
            if self._running:
                await asyncio.wait(self._running.values(), timeout=deps.push.lease_s)

    def _start(self, deps: Deps, push: Push) -> None:
        connection_id = push.claim.connection.connection_id
        task = asyncio.create_task(outbound.push(deps, push))
        self._running[connection_id] = task
        task.add_done_callback(lambda ended: self._ended(connection_id, ended))

    def _ended(self, connection_id: UUID, task: asyncio.Task[None]) -> None:
        del self._running[connection_id]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The record was not possible; the lease runs out and the listings are claimed again.
            log.warning("push was not recorded", error=repr(error)[:300])

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_S)
        except TimeoutError:
            return


async def poll_feeds(deps: Deps) -> None:
    """Ask the channels that are due for their revisions, side by side."""
    claimed = await feeds.claim_feeds(deps, FEEDS_AT_ONCE)
    await asyncio.gather(*(feeds.poll(deps, feed) for feed in claimed))


def start_workers(loops: Loops, deps: Deps, pusher: Pusher) -> None:
    """Add the loops of the role `worker`."""
    loops.keep(lambda: pusher.run(deps), "pusher")
    loops.every(HAND_OVER_EVERY_S, lambda: inbound.hand_over_again(deps), "hand over again")
    loops.every(FEEDS_EVERY_S, lambda: poll_feeds(deps), "feeds")
    loops.every(COUNT_EVERY_S, lambda: alarms.raise_alarms(deps), "alarms")
    loops.every(REFRESH_EVERY_S, lambda: outbound.refresh_old(deps), "refresh")
