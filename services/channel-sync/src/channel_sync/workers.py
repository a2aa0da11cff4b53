"""Owns the timed loops of channel-sync: the pusher, the second hand-over, the daily refresh; wired by main."""

import asyncio

from channel_sync.service import inbound, outbound
from channel_sync.service.deps import Deps
from runtime.logs import get_logger
from runtime.loops import Loops

log = get_logger(__name__)

POLL_S = 0.1
HAND_OVER_EVERY_S = 30.0
REFRESH_EVERY_S = 60.0


class Pusher:
    """Pushes stale listings, at most `concurrency` at a time in this process; each listing is leased to one."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """There is something to push; called after commit by consumers and the API of the same process."""
        self._wake.set()

    async def run(self, deps: Deps) -> None:
        """Push until cancelled; then what is under way is finished, so that its outcome is not unknown."""
        try:
            while True:
                self._wake.clear()
                free = self._concurrency - len(self._running)
                claimed = await outbound.claim(deps, free) if free > 0 else []
                for push in claimed:
                    self._start(deps, push)
                if not claimed or len(claimed) < free:
                    await self._pause()
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=deps.push.lease_s)

    def _start(self, deps: Deps, push: outbound.Push) -> None:
        task = asyncio.create_task(outbound.push(deps, push))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The record was not possible; the lease runs out and the listing is claimed again.
            log.warning("push was not recorded", error=repr(error)[:300])

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_S)
        except TimeoutError:
            return


def start_workers(loops: Loops, deps: Deps, pusher: Pusher) -> None:
    """Add the loops of the role `worker`."""
    loops.keep(lambda: pusher.run(deps), "pusher")
    loops.every(HAND_OVER_EVERY_S, lambda: inbound.hand_over_again(deps), "hand over again")
    loops.every(REFRESH_EVERY_S, lambda: outbound.refresh_old(deps), "refresh")
