"""Reads one property for an answer: from memory, or from booking when memory may not answer; used by the answers.

Every answer of this service stands on a `Reading`, so freshness and ownership are decided here and nowhere else.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from availability.clients import Booking
from availability.domain.property_calendar import CalendarState
from availability.service.cache import Cache, View
from availability.snapshots.states import instant, state_of
from runtime.http_client import UpstreamUnavailable

Source = Literal["cache", "ledger"]
# Properties that are asked of booking at once for one question.
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Window:
    """The nights `[start, end)` a question is about; `needs_all` when ranges around them matter as well."""

    start: date
    end: date
    needs_all: bool = False

    @property
    def limits(self) -> tuple[date, date] | tuple[()]:
        """Which nights' ranges are needed, as arguments of `Cache.view`."""
        return () if self.needs_all else (self.start, self.end)


class PropertyUnknown(Exception):
    """There is no property with this id."""


class LedgerUnavailable(Exception):
    """Memory cannot answer this now and booking does not answer. Please retry your request."""


class VersionUnknown(Exception):
    """The property never had this inventory version."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One property's state, complete up to `as_of`, which was `lag_ms` ago; `now` is the database's clock."""

    state: CalendarState
    now: datetime
    as_of: datetime
    lag_ms: int
    source: Source


class Reader:
    """Reads properties for one replica.

    Memory steps back behind booking from a lag of `max_lag_ms` on, and `version_wait_ms` after it was asked for a
    version it does not have.
    """

    def __init__(self, cache: Cache, booking: Booking, max_lag_ms: int, version_wait_ms: int) -> None:
        self._cache = cache
        self._booking = booking
        self._max_lag_ms = max_lag_ms
        self._version_wait_s = version_wait_ms / 1000

    async def read(self, agency_id: UUID, property_id: UUID, min_version: int | None, window: Window) -> Reading:
        """The property of an agency, no older than `min_version`.

        Its state has the ranges the window needs, and maybe others. Raises `PropertyUnknown`, `VersionUnknown` or
        `LedgerUnavailable`.
        """
        self._require_no_strangers(agency_id, property_id)
        is_covered = self._cache.covers(window.start, window.end)
        view = await self._view(property_id, min_version, window) if is_covered else None
        if view is not None and view.lag_ms <= self._max_lag_ms:
            return _from_memory(agency_id, view)
        try:
            return await self._from_ledger(agency_id, property_id, min_version, None if is_covered else window.start)
        except UpstreamUnavailable as error:
            aged = self._cache.view(property_id, *window.limits) if is_covered else None
            if aged is None or min_version is not None:
                raise LedgerUnavailable(LedgerUnavailable.__doc__) from error
            return _from_memory(agency_id, aged)

    async def newer(self, agency_id: UUID, min_versions: Mapping[UUID, int]) -> dict[UUID, Reading]:
        """Those properties of an agency that memory does not have at these versions, as booking has them.

        Memory may be behind otherwise, however far. Raises `PropertyUnknown`, `VersionUnknown` or `LedgerUnavailable`.
        """
        for property_id in min_versions:
            self._require_no_strangers(agency_id, property_id)
        waits = (self._wait(property_id, version) for property_id, version in min_versions.items())
        await asyncio.gather(*waits)
        missing = [key for key, version in min_versions.items() if (self._cache.vouched_version(key) or -1) < version]
        found: dict[UUID, Reading] = {}
        for start in range(0, len(missing), AT_ONCE):
            batch = missing[start : start + AT_ONCE]
            reads = (self._from_ledger(agency_id, key, min_versions[key], None) for key in batch)
            for key, reading in zip(batch, await asyncio.gather(*reads, return_exceptions=True), strict=True):
                if isinstance(reading, UpstreamUnavailable):
                    raise LedgerUnavailable(LedgerUnavailable.__doc__) from reading
                if isinstance(reading, BaseException):
                    raise reading
                found[key] = reading
        return found

    async def _wait(self, property_id: UUID, min_version: int) -> None:
        """Until memory shows the version, or will not soon."""
        shown = self._cache.shown_version(property_id)
        if shown is not None and shown < min_version:
            await self._cache.wait_for_version(property_id, min_version, self._version_wait_s)

    def _require_no_strangers(self, agency_id: UUID, property_id: UUID) -> None:
        owner = self._cache.owner(property_id)
        if owner is not None and owner != agency_id:
            raise PropertyUnknown(PropertyUnknown.__doc__)

    async def _view(self, property_id: UUID, min_version: int | None, window: Window) -> View | None:
        """What memory holds, unless that is older than the version the question names."""
        if min_version is not None:
            await self._wait(property_id, min_version)
        view = self._cache.view(property_id, *window.limits)
        return view if view is not None and (min_version is None or view.state.version >= min_version) else None

    async def _from_ledger(
        self, agency_id: UUID, property_id: UUID, min_version: int | None, since: date | None
    ) -> Reading:
        """Ask booking; with `since` for ranges that memory does not keep, which it does not keep then either."""
        asked_at = time.monotonic()
        heard = self._cache.heard(property_id)
        answer = await self._booking.state(property_id, since)
        if answer is None:
            raise PropertyUnknown(PropertyUnknown.__doc__)
        state = state_of(answer.state) if since is not None else self._cache.apply_ledger(answer, heard)
        _require_own(state, agency_id)
        if min_version is not None and state.version < min_version:
            raise VersionUnknown(VersionUnknown.__doc__)
        as_of = instant(answer.as_of)
        # Booking read the state after it was asked: the answer is at most this old.
        lag_ms = round((time.monotonic() - asked_at) * 1000)
        return Reading(state, as_of, as_of, lag_ms, "ledger")


def _require_own(state: CalendarState, agency_id: UUID) -> None:
    if state.agency_id != agency_id or state.is_gone:
        raise PropertyUnknown(PropertyUnknown.__doc__)


def _from_memory(agency_id: UUID, view: View) -> Reading:
    _require_own(view.state, agency_id)
    return Reading(view.state, view.database_now, view.as_of, view.lag_ms, "cache")
