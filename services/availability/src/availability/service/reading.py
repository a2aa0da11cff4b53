"""Reads one property for an answer: from memory, or from booking when memory may not answer; used by the answers.

Every answer of this service stands on a `Reading`, so freshness and ownership are decided here and nowhere else.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from availability.clients import Booking
from availability.domain.property_calendar import CalendarState
from availability.service.cache import Cache, View
from availability.snapshots import instant
from runtime.http_client import UpstreamUnavailable


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
    source: Literal["cache", "ledger"]


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

    async def read(self, agency_id: UUID, property_id: UUID, min_version: int | None = None) -> Reading:
        """The property of an agency, no older than `min_version`.

        Raises `PropertyUnknown`, `VersionUnknown` or `LedgerUnavailable`.
        """
        known = self._cache.known(property_id)
        if known is not None:
            _require_own(known, agency_id)
        view = await self._view(property_id, min_version)
        if view is not None and view.lag_ms <= self._max_lag_ms:
            return _from_memory(agency_id, view)
        try:
            return await self._from_ledger(agency_id, property_id, min_version)
        except UpstreamUnavailable as error:
            aged = self._cache.view(property_id)
            if aged is None or min_version is not None:
                raise LedgerUnavailable(LedgerUnavailable.__doc__) from error
            return _from_memory(agency_id, aged)

    async def _view(self, property_id: UUID, min_version: int | None) -> View | None:
        """What memory holds, unless that is older than the version the question names."""
        view = self._cache.view(property_id)
        if view is None or min_version is None or view.state.version >= min_version:
            return view
        await self._cache.wait_for_version(property_id, min_version, self._version_wait_s)
        view = self._cache.view(property_id)
        return view if view is not None and view.state.version >= min_version else None

    async def _from_ledger(self, agency_id: UUID, property_id: UUID, min_version: int | None) -> Reading:
        asked_at = time.monotonic()
        heard = self._cache.heard(property_id)
        answer = await self._booking.state(property_id)
        if answer is None:
            raise PropertyUnknown(PropertyUnknown.__doc__)
        state = self._cache.apply_ledger(answer, heard)
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
