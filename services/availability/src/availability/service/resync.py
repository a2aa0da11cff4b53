"""Repairs the cache from booking: properties that are wanted, and whole partitions that lost changes; loops of `main`.

Booking being away is no failure of these loops: they wait for it, while the properties concerned are not answered from
memory. A cold cache must not stampede booking: a few properties are fetched at once, and only so many a second.
"""

import asyncio
from uuid import UUID

from aiolimiter import AsyncLimiter

from availability.clients import Booking
from availability.service.cache import SLICE, Cache
from availability.service.wanted import Cause
from contracts.booking_http_v1 import PropertyDigest, PropertyDigests
from runtime.http_client import UpstreamUnavailable
from runtime.logs import get_logger
from runtime.telemetry import counter

log = get_logger(__name__)

AT_ONCE = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0

_RESYNCS = counter("pms.resync.done", "{property}", "Properties read from booking, by cause.")


class Resync:
    """The two repairing loops of one replica, which together fetch at most `resyncs_per_s` properties a second."""

    def __init__(self, cache: Cache, booking: Booking, resyncs_per_s: int) -> None:
        self._cache = cache
        self._booking = booking
        self._limiter = AsyncLimiter(resyncs_per_s, time_period=1)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._pause_s = 0.0

    async def run_wanted(self) -> None:
        """For ever: fetch each property the cache wants, a few at once; pause while none can be fetched."""
        async with asyncio.TaskGroup() as fetching:
            while True:
                await self._cache.wanted.wait()
                await asyncio.sleep(self._pause_s)
                await self._slots.acquire()
                await self._limiter.acquire()
                # Taken last: what came meanwhile may be more urgent, and what was first may be repaired.
                taken = self._cache.wanted.take()
                if taken is None:
                    self._slots.release()
                    continue
                fetching.create_task(self._try_fetch(*taken)).add_done_callback(lambda _: self._slots.release())

    async def run_losses(self) -> None:
        """For ever: compare the partitions that lost changes with booking."""
        is_waiting = False
        while True:
            await self._cache.something_lost.wait()
            # Before that every property changed lately would differ, and be fetched in vain.
            await self._cache.caught_up.wait()
            losses = self._cache.losses()
            try:
                await self._compare(set(losses))
            except UpstreamUnavailable as error:
                if not is_waiting:
                    log.warning("comparison waits for booking", partitions=sorted(losses), error=repr(error))
                is_waiting = True
                await asyncio.sleep(LONGEST_PAUSE_S)
                continue
            is_waiting = False
            self._cache.settle(losses)
            log.info("compared with booking", partitions=sorted(losses))

    async def _compare(self, partitions: set[int]) -> None:
        unlisted = set(self._cache.partition_members(partitions))
        cursor: UUID | None = None
        while True:
            page = await self._booking.digests(self._cache.window_first(), cursor)
            for count, theirs in enumerate(page.items):
                if count % SLICE == 0:
                    await asyncio.sleep(0)
                unlisted.discard(theirs.property_id)
                if self._cache.partition(theirs.property_id) in partitions and self._differs(theirs, page):
                    await self._fetch_lost(theirs.property_id)
            if (cursor := page.next_cursor) is None:
                break
        for property_id in unlisted:
            await self._fetch_lost(property_id)

    def _differs(self, theirs: PropertyDigest, page: PropertyDigests) -> bool:
        """True unless the cache holds the same, or a later version than the page tells of."""
        ours = self._cache.fingerprint(theirs.property_id, page.after)
        if ours is None or ours[0] < theirs.inventory_version:
            return True
        return ours[0] == theirs.inventory_version and ours[1] != theirs.digest

    async def _fetch_lost(self, property_id: UUID) -> None:
        async with self._slots, self._limiter:
            await self._fetch(property_id, Cause.LOST)

    async def _try_fetch(self, property_id: UUID, cause: Cause) -> None:
        try:
            await self._fetch(property_id, cause)
        except asyncio.CancelledError:
            self._cache.want(property_id, cause)
            raise
        except Exception as error:  # one property that cannot be repaired must not stop the others' repair
            self._cache.want(property_id, cause)
            if self._pause_s == 0:
                log.warning("resync waits for booking", properties=len(self._cache.wanted), error=repr(error))
            self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        else:
            self._pause_s = 0.0
        finally:
            self._cache.wanted.done(property_id)

    async def _fetch(self, property_id: UUID, cause: Cause) -> None:
        """Replace what the cache holds of one property; raises `UpstreamUnavailable`."""
        heard = self._cache.heard(property_id)
        answer = await self._booking.state(property_id)
        if answer is None:
            self._cache.remove_unless_newer(property_id, heard)
        else:
            self._cache.apply_ledger(answer, heard)
        _RESYNCS.add(1, {"cause": cause})
        log.info("resynced", property_id=str(property_id), cause=cause, heard=heard, found=answer is not None)
