"""Compares memory with booking for ever, page by page of digests, and has what differs fetched; a loop of `main`.

What the topics bring is right as long as nothing is lost and no bit flips; this finds out. It works in small slices at
a steady pace, so that a reader never waits for it and booking hardly notices.
"""

import asyncio
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from availability.clients import Booking
from availability.domain.awaited import Awaited
from availability.service.cache import SLICE, SLICE_OF_BITS, Cache
from availability.service.wanted import Cause
from contracts.booking_http_v1 import PropertyDigest, PropertyDigests
from runtime.http_client import UpstreamUnavailable
from runtime.logs import get_logger
from runtime.telemetry import counter

log = get_logger(__name__)

# Properties compared at a stretch; each is a hash over its ranges.
AT_A_STRETCH = 8
# Time that a slow answer of booking took is made up for, but no more than this.
CATCH_UP_S = 1.0
RETRY_S = 1.0

_PROPERTIES = counter("pms.anti_entropy.properties", "{property}", "Properties compared with booking, again and again.")
_CYCLES = counter("pms.anti_entropy.cycles", "{cycle}", "Rounds through all properties that ended.")


class Listed:
    """The properties of a round in eight bytes each, told in the order of their ids.

    Of two ids with the same first half one passes for the other: it is missed if it is wrong, nothing else.
    """

    def __init__(self) -> None:
        self._highs = array("Q")

    def add(self, property_id: UUID) -> None:
        """The next one."""
        self._highs.append(property_id.int >> 64)

    def __contains__(self, property_id: UUID) -> bool:
        high = property_id.int >> 64
        at = bisect_left(self._highs, high)
        return at < len(self._highs) and self._highs[at] == high


class AntiEntropy:
    """The comparison of one replica: at most `digests_per_s` properties a second, a round in `round_s` at the least."""

    def __init__(self, cache: Cache, booking: Booking, digests_per_s: float, round_s: float) -> None:
        self._cache = cache
        self._booking = booking
        self._pause_s = 1 / digests_per_s
        self._round_s = round_s
        self._next_s = 0.0
        self._row = 0
        self._awaited = Awaited()
        self._unlisted = Awaited()
        self._ahead: dict[UUID, int] = {}

    async def run(self) -> None:
        """For ever, from when the topics are read: before that nearly every property would differ."""
        await self._cache.caught_up.wait()
        while True:
            began = time.monotonic()
            await self._go_round()
            await asyncio.sleep(max(0.0, began + self._round_s - time.monotonic()))

    async def _go_round(self) -> None:
        began, found, listed, ahead = time.monotonic(), Counter[Cause](), Listed(), self._ahead
        self._ahead = {}
        old_rows = self._cache.store.row_count
        cursor: UUID | None = None
        compared = 0
        while True:
            page = await self._page(cursor)
            for start in range(0, len(page.items), AT_A_STRETCH):
                stretch = page.items[start : start + AT_A_STRETCH]
                await self._keep_pace(len(stretch))
                self._compare(page, stretch, listed, ahead, found)
            await self._check_bits(len(page.items), found)
            compared += len(page.items)
            _PROPERTIES.add(len(page.items))
            self._look_again(found)
            if (cursor := page.next_cursor) is None:
                break
        await self._find_unlisted(listed, old_rows, page.as_of)
        _CYCLES.add(1)
        say, seconds = log.warning if found else log.info, round(time.monotonic() - began, 1)
        differing = {cause.value: count for cause, count in found.items()}
        say("memory is compared with booking", properties=compared, seconds=seconds, **differing)

    async def _page(self, cursor: UUID | None) -> PropertyDigests:
        """The next page, waiting for booking while it is away."""
        is_waiting = False
        while True:
            try:
                return await self._booking.digests(self._cache.window_first(), cursor)
            except UpstreamUnavailable as error:
                if not is_waiting:
                    log.warning("anti-entropy waits for booking", error=repr(error))
                is_waiting = True
                await asyncio.sleep(RETRY_S)

    async def _keep_pace(self, count: int) -> None:
        """Wait until that many more may be compared."""
        now = time.monotonic()
        await asyncio.sleep(max(0.0, self._next_s - now))
        self._next_s = max(self._next_s, now - CATCH_UP_S) + count * self._pause_s

    def _compare(
        self,
        page: PropertyDigests,
        stretch: Sequence[PropertyDigest],
        listed: Listed,
        ahead: dict[UUID, int],
        found: Counter[Cause],
    ) -> None:
        losses = self._cache.losses()
        for theirs in stretch:
            property_id = theirs.property_id
            listed.add(property_id)
            if losses and self._cache.partition(property_id) in losses:
                continue  # it is compared for that reason
            try:
                cause = self._difference(page, theirs, ahead)
            except Exception as error:  # a flipped bit can make of the ranges what is no range
                log.warning("what is kept cannot be read", property_id=str(property_id), error=repr(error))
                cause = Cause.DIFFERENT
            if cause is not None:
                self._want(property_id, cause, found)

    def _difference(self, page: PropertyDigests, theirs: PropertyDigest, ahead: dict[UUID, int]) -> Cause | None:
        """What is wrong with a property in memory, as far as it can be told yet."""
        property_id = theirs.property_id
        shown = self._cache.fingerprint(property_id, page.after)
        if shown is None or shown[0] < theirs.inventory_version:
            self._await(self._awaited, property_id, theirs.inventory_version, page.as_of)
        elif shown[0] > theirs.inventory_version:
            # A page is soon older than memory. What was shown before this page was read is another matter.
            if theirs.inventory_version < ahead.get(property_id, 0):
                return Cause.AHEAD
            self._ahead[property_id] = shown[0]
        elif shown[1] != theirs.digest:
            return Cause.DIFFERENT
        return None

    async def _check_bits(self, count: int, found: Counter[Cause]) -> None:
        """Look at the bits of so many rows on from where the last look ended, in a round of its own."""
        for _ in range(0, count, SLICE_OF_BITS):
            for property_id in self._cache.wrong_bits(self._row):
                self._want(property_id, Cause.BITS, found)
            self._row += SLICE_OF_BITS
            if self._row >= self._cache.store.row_count:
                self._row = 0
                return
            await asyncio.sleep(0)

    def _await(self, awaited: Awaited, property_id: UUID, version: int, told_at: datetime | None) -> None:
        if told_at is not None:
            awaited.put(self._cache.partition(property_id), property_id, version, told_at)

    def _look_again(self, found: Counter[Cause]) -> None:
        """Want what should have arrived by now. What booking's relay holds back is here, too: it comes no other way."""
        for partition in range(self._cache.partitions):
            as_of = self._cache.as_of(partition)
            if as_of is None or partition in self._cache.losses():
                continue
            for property_id, version in self._awaited.due(partition, as_of):
                here, is_known = self._cache.shown_version(property_id) or 0, self._cache.owner(property_id) is not None
                if here < version or (here == version and not is_known):
                    self._want(property_id, Cause.BEHIND if is_known else Cause.UNKNOWN, found)
            for property_id, _ in self._unlisted.due(partition, as_of):
                if self._cache.owner(property_id) is not None:
                    self._want(property_id, Cause.UNLISTED, found)

    async def _find_unlisted(self, listed: Listed, old_rows: int, told_at: datetime | None) -> None:
        """Find what booking did not list, also late; a property that came during this round has one of the new rows."""
        store, start = self._cache.store, 0
        while start < old_rows:
            for property_id in store.ids(store.rows_in(start, min(start + SLICE, old_rows))):
                if property_id not in listed and self._cache.owner(property_id) is not None:
                    self._await(self._unlisted, property_id, 0, told_at)
            start += SLICE
            await asyncio.sleep(0)

    def _want(self, property_id: UUID, cause: Cause, found: Counter[Cause]) -> None:
        if cause is Cause.AHEAD:
            self._cache.distrust(property_id, cause)  # a lower version does not replace what is kept
        else:
            self._cache.want(property_id, cause)
        found[cause] += 1
