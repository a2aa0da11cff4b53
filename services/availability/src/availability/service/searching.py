"""Which properties of an agency may be booked; called by the api. Memory answers; what it lacks is counted, not told.

A property whose version was asked for is read from booking when memory does not have it.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np

from availability.domain.property_calendar import CalendarState
from availability.domain.search.row_search import search_rows
from availability.domain.search.search import Offer, Position, Search, offer_of
from availability.domain.store.property_store import Rows
from availability.service.cache import Ages, Cache
from availability.service.reading import LedgerUnavailable, Reader, Reading, Source
from rules.stay_rules import TimeZoneUnknown

# Nights times properties looked at in a stretch, conditions judged anew in one, properties judged one by one in one.
NIGHTS_AT_A_STRETCH = 100_000
CONDITIONS_AT_A_STRETCH = 300
ALONE_AT_A_STRETCH = 10
# The day begins last here: a date that is over at this offset is over everywhere.
LAST_TO_END = timedelta(hours=12)


class SearchPast(Exception):
    """Lies in the past, wherever the property is."""


class CurrencyAmbiguous(Exception):
    """Must be named with bounds of the total: the agency's properties are sold in several."""


@dataclass(frozen=True, slots=True)
class Page:
    """Offers in order; with `next_position` there are more behind it. `unknown` properties could not be judged."""

    offers: list[Offer]
    next_position: Position | None
    unknown: int
    as_of: datetime
    lag_ms: int
    source: Source


class Searches:
    """Searches of one replica."""

    def __init__(self, cache: Cache, reader: Reader) -> None:
        self._cache = cache
        self._reader = reader

    async def search(self, agency_id: UUID, search: Search, min_versions: Mapping[UUID, int]) -> Page:
        """The first offers behind `search.after`.

        Raises `SearchPast`, `CurrencyAmbiguous`, `LedgerUnavailable` while memory is not complete, and what
        `Reader.newer` does.
        """
        self._require_ahead(search)
        read = await self._reader.newer(agency_id, min_versions)
        ages = self._cache.ages()
        if ages is None:
            raise LedgerUnavailable(LedgerUnavailable.__doc__)
        search = self._with_currency(agency_id, search)
        tally = _Tally(ages)
        async for rows in self._stretches(agency_id, search, ages.now):
            self._look_at(rows, search, tally)
        tally.unknown += self._cache.store.parked_of(agency_id)
        await self._judge_alone(search, read, tally)
        return tally.page(search.limit, read.values())

    def _require_ahead(self, search: Search) -> None:
        now = self._cache.database_now()
        if now is not None and search.last < (now - LAST_TO_END).date():
            raise SearchPast(SearchPast.__doc__)

    def _with_currency(self, agency_id: UUID, search: Search) -> Search:
        """Bounds are bounds of one currency."""
        if search.currency is not None or not search.has_bounds:
            return search
        store = self._cache.store
        currencies = store.selling.currencies_of(store.rows_of(agency_id))
        if len(currencies) > 1:
            raise CurrencyAmbiguous(CurrencyAmbiguous.__doc__)
        return replace(search, currency=next(iter(currencies), None))

    async def _stretches(self, agency_id: UUID, search: Search, now: datetime) -> AsyncIterator[Rows]:
        """All rows of the agency, as many at a time as can be looked at without keeping others waiting."""
        store, conditions = self._cache.store, self._cache.store.selling.conditions
        size = max(1, NIGHTS_AT_A_STRETCH // (search.end - search.first).days)
        last = -1
        while True:
            rows = store.rows_of(agency_id)
            if last >= 0 or len(rows) > size:
                rows = rows[rows > last]
                if len(rows) > size:
                    rows = np.partition(rows, size - 1)[:size]
            if len(rows) == 0:
                return
            if conditions.values.count > CONDITIONS_AT_A_STRETCH:
                stale = conditions.stale(store.selling.condition_numbers(rows), now)
                if len(stale) > CONDITIONS_AT_A_STRETCH:
                    conditions.judge(stale[:CONDITIONS_AT_A_STRETCH], now)
                    await asyncio.sleep(0)
                    continue
            yield rows
            if len(rows) < size:
                return
            last = int(rows.max())
            await asyncio.sleep(0)

    def _look_at(self, rows: Rows, search: Search, tally: "_Tally") -> None:
        store = self._cache.store
        partitions = store.partitions(rows)
        seen = np.flatnonzero(np.bincount(partitions)).tolist()
        missing = [number for number in seen if number not in tally.ages.as_of]
        if missing:
            is_missing = np.isin(partitions, missing)
            tally.unknown += int(np.count_nonzero(is_missing))
            rows = rows[~is_missing]
        found = search_rows(store, rows, search, tally.ages.now)
        tally.partitions.update(number for number in seen if number not in missing)
        tally.add(found.offers)
        tally.unknown += found.unknown
        tally.alone += map(store.property_id, found.alone)  # rows change hands, ids do not

    async def _judge_alone(self, search: Search, read: Mapping[UUID, Reading], tally: "_Tally") -> None:
        """Properties that are judged one by one: by what booking said, or because of a hold whose time is over."""
        for count, (property_id, state) in enumerate(self._alone(search, read, tally), start=1):
            try:
                if state is not None and (offer := offer_of(property_id, state, search, tally.ages.now)):
                    tally.add([offer])
                tally.unknown += state is None
            except TimeZoneUnknown:
                tally.unknown += 1
            if count % ALONE_AT_A_STRETCH == 0:
                await asyncio.sleep(0)

    def _alone(
        self, search: Search, read: Mapping[UUID, Reading], tally: "_Tally"
    ) -> Iterator[tuple[UUID, CalendarState | None]]:
        for property_id, reading in read.items():
            if self._cache.vouched_version(property_id) is None:
                tally.unknown -= self._cache.owner(property_id) is not None  # it was counted there
                yield property_id, reading.state
        for property_id in tally.alone:
            view = self._cache.view(property_id, search.first, search.end)
            yield property_id, view.state if view is not None else None


class _Tally:
    """What was found so far, each property once."""

    def __init__(self, ages: Ages) -> None:
        self.ages = ages
        self.unknown = 0
        self.alone: list[UUID] = []
        self.partitions: set[int] = set()
        self._offers: dict[int, Offer] = {}

    def add(self, offers: Iterable[Offer]) -> None:
        self._offers.update((offer.number, offer) for offer in offers)

    def page(self, limit: int, read: Collection[Reading]) -> Page:
        offers = sorted(self._offers.values())
        next_position = offers[limit - 1].position if len(offers) > limit else None
        ends = [self.ages.as_of[number] for number in self.partitions] + [reading.as_of for reading in read]
        as_of = min(ends or self.ages.as_of.values())
        lag_ms = max(0, round((self.ages.now - as_of).total_seconds() * 1000))
        return Page(offers[:limit], next_position, self.unknown, as_of, lag_ms, "ledger" if read else "cache")
