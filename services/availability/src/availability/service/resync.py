"""Repairs the cache from booking: properties that are parked, and whole partitions that lost changes; loops of `main`.

Booking being away is no failure of these loops: they wait for it, while the properties concerned are not answered from
memory.
"""

import asyncio
from datetime import UTC, date, datetime
from uuid import UUID

from availability.clients import Booking
from availability.service.cache import SLICE, WINDOW_BEFORE_TODAY, Cache
from contracts.booking_http_v1 import PropertyDigest
from runtime.http_client import UpstreamUnavailable
from runtime.logs import get_logger

log = get_logger(__name__)

# A cold cache must not stampede booking.
AT_ONCE = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0


class Resync:
    """The two repairing loops of one replica."""

    def __init__(self, cache: Cache, booking: Booking) -> None:
        self._cache = cache
        self._booking = booking

    async def run_wanted(self) -> None:
        """For ever: fetch each property the cache wants, a few at once; pause while none can be fetched."""
        pause_s = FIRST_PAUSE_S
        while True:
            await self._cache.something_wanted.wait()
            batch = list(self._cache.wanted)[:AT_ONCE]
            for property_id in batch:
                del self._cache.wanted[property_id]
            if not self._cache.wanted:
                self._cache.something_wanted.clear()
            errors = await asyncio.gather(*(self._try_fetch(property_id) for property_id in batch))
            if None in errors:
                pause_s = FIRST_PAUSE_S
                continue
            if pause_s == FIRST_PAUSE_S:
                log.warning("resync waits for booking", properties=len(self._cache.wanted), error=repr(errors[0]))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

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
        # A day more or less is harmless here, so without a watermark our own clock will do.
        now = self._cache.database_now() or datetime.now(UTC)
        after = now.date() - WINDOW_BEFORE_TODAY
        unlisted = set(self._cache.partition_members(partitions))
        async for page in self._booking.digests(after):
            for count, theirs in enumerate(page):
                if count % SLICE == 0:
                    await asyncio.sleep(0)
                unlisted.discard(theirs.property_id)
                if self._cache.partition(theirs.property_id) in partitions and self._differs(theirs, after):
                    await self._fetch(theirs.property_id)
        for property_id in unlisted:
            await self._fetch(property_id)

    def _differs(self, theirs: PropertyDigest, after: date) -> bool:
        """True unless the cache holds the same, or a later version than the page tells of."""
        ours = self._cache.fingerprint(theirs.property_id, after)
        if ours is None or ours[0] < theirs.inventory_version:
            return True
        return ours[0] == theirs.inventory_version and ours[1] != theirs.digest

    async def _try_fetch(self, property_id: UUID) -> Exception | None:
        try:
            await self._fetch(property_id)
        except Exception as error:  # one property that cannot be repaired must not stop the others' repair
            self._cache.want(property_id)
            return error
        return None

    async def _fetch(self, property_id: UUID) -> None:
        """Replace what the cache holds of one property; raises `UpstreamUnavailable`."""
        heard = self._cache.heard(property_id)
        answer = await self._booking.state(property_id)
        if answer is None:
            self._cache.remove_unless_newer(property_id, heard)
        else:
            self._cache.apply_ledger(answer, heard)
        log.info("resynced", property_id=str(property_id), heard=heard, found=answer is not None)
