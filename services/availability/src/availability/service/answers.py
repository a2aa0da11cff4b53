"""Answers "is it free?" from memory, or from booking when memory may not answer; called by the api."""

import asyncio
import time
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from availability.clients import Booking
from availability.domain.property_calendar import CalendarState
from availability.service.cache import Cache, View
from availability.snapshots import instant
from rules.calendar import ClosedRange, closed_ranges, digest
from runtime.http_client import UpstreamUnavailable

# How long a question that names a version waits for the cache before booking is asked.
VERSION_WAIT_S = 0.2
# Digests computed at a stretch; each is a hash over a property's ranges.
DIGESTS_AT_A_STRETCH = 20


class PropertyUnknown(Exception):
    """There is no property with this id."""


class LedgerUnavailable(Exception):
    """Memory cannot answer this now and booking does not answer. Please retry your request."""


class VersionUnknown(Exception):
    """The property never had this inventory version."""


@dataclass(frozen=True, slots=True)
class Question:
    """The nights `[from_date, to_date)` of one property, no older than `min_version` when it is given."""

    property_id: UUID
    from_date: date
    to_date: date
    min_version: int | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """Why nights of the question are closed, and how fresh that is; `lag_ms` is the age at the time of answering."""

    question: Question
    closed: list[ClosedRange]
    as_of: datetime
    version: int
    lag_ms: int
    source: Literal["cache", "ledger"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of one property's ranges at a version."""

    property_id: UUID
    version: int
    digest: str


class Answers:
    """The reading use cases of one replica; `max_lag_ms` is where memory steps back behind booking."""

    def __init__(self, cache: Cache, booking: Booking, max_lag_ms: int) -> None:
        self._cache = cache
        self._booking = booking
        self._max_lag_ms = max_lag_ms

    async def availability(self, agency_id: UUID, question: Question) -> Availability:
        """The answer for an agency; raises `PropertyUnknown`, `VersionUnknown` or `LedgerUnavailable`."""
        known = self._cache.known(question.property_id)
        if known is not None:
            _require_own(known, agency_id)
        view = await self._view(question)
        if view is not None and view.lag_ms <= self._max_lag_ms:
            return _from_cache(agency_id, question, view)
        try:
            return await self._from_ledger(agency_id, question)
        except UpstreamUnavailable as error:
            aged = self._cache.view(question.property_id)
            if aged is None or question.min_version is not None:
                raise LedgerUnavailable(LedgerUnavailable.__doc__) from error
            return _from_cache(agency_id, question, aged)

    async def _view(self, question: Question) -> View | None:
        """What memory holds, unless that is older than the version the question names."""
        view = self._cache.view(question.property_id)
        if view is None or question.min_version is None or view.state.version >= question.min_version:
            return view
        await self._cache.wait_for_version(question.property_id, question.min_version, VERSION_WAIT_S)
        view = self._cache.view(question.property_id)
        return view if view is not None and view.state.version >= question.min_version else None

    async def _from_ledger(self, agency_id: UUID, question: Question) -> Availability:
        asked_at = time.monotonic()
        heard = self._cache.heard(question.property_id)
        answer = await self._booking.state(question.property_id)
        if answer is None:
            raise PropertyUnknown(PropertyUnknown.__doc__)
        state = self._cache.apply_ledger(answer, heard)
        _require_own(state, agency_id)
        if question.min_version is not None and state.version < question.min_version:
            raise VersionUnknown(VersionUnknown.__doc__)
        as_of = instant(answer.as_of)
        return Availability(
            question=question,
            closed=_closed(state, question, as_of),
            as_of=as_of,
            version=state.version,
            # Booking read the state after it was asked: the answer is at most this old.
            lag_ms=round((time.monotonic() - asked_at) * 1000),
            source="ledger",
        )

    async def digests(self, after: date, cursor: UUID | None, limit: int) -> list[Fingerprint]:
        """Up to `limit` digests of the properties this replica vouches for, in id order beyond `cursor`."""
        found: list[Fingerprint] = []
        for property_id, state in self._cache.trusted(cursor):
            found.append(Fingerprint(property_id, state.version, digest(state.ranges.values(), after)))
            if len(found) == limit:
                break
            if len(found) % DIGESTS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        return found


def _require_own(state: CalendarState, agency_id: UUID) -> None:
    if state.agency_id != agency_id or state.is_gone:
        raise PropertyUnknown(PropertyUnknown.__doc__)


def _from_cache(agency_id: UUID, question: Question, view: View) -> Availability:
    _require_own(view.state, agency_id)
    return Availability(
        question=question,
        closed=_closed(view.state, question, view.database_now),
        as_of=view.as_of,
        version=view.state.version,
        lag_ms=view.lag_ms,
        source="cache",
    )


def _closed(state: CalendarState, question: Question, now: datetime) -> list[ClosedRange]:
    preparation_days = state.profile.preparation_days
    return closed_ranges(state.ranges.values(), preparation_days, question.from_date, question.to_date, now)
