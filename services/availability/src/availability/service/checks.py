"""May this stay be booked, and if not, what else may be? Called by the api; agrees with what booking would answer."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice
from operator import attrgetter
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from availability.domain.alternatives import earlier_stays, later_stays, neighbours
from availability.service.cache import Cache, View
from availability.service.reading import Reader, Reading, Window
from rules.checks import Sellable, check, without_hold
from rules.quotes import NightWithoutRate, quote
from rules.stay_rules import RequestedStay, RuleViolation, TimeZoneUnknown

DATES_EACH_WAY = 2
SIMILAR = 3
# How many stays are looked at for alternatives, and how many at a stretch: other readers must not wait for a refusal.
DATES_JUDGED = 200
PROPERTIES_JUDGED = 200
STRETCH = 20


@dataclass(frozen=True, slots=True)
class StayQuestion:
    """A stay at one property; `hold_id` names a hold of the caller's, `min_version` what the answer must contain."""

    property_id: UUID
    stay: RequestedStay
    hold_id: UUID | None = None
    min_version: int | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a stay costs in minor units; None for a property that is sold unpriced."""

    total_minor: int | None
    currency: str


@dataclass(frozen=True, slots=True)
class Alternative:
    """A stay of the same length that may be booked; `distance_km` tells of another property, None when not known."""

    property_id: UUID
    stay: RequestedStay
    price: Price
    version: int
    distance_km: float | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What stands against a stay; with nothing against it there are no alternatives."""

    violations: list[RuleViolation]
    alternatives: list[Alternative]
    price: Price
    reading: Reading


class Checks:
    """Checks stays for one replica."""

    def __init__(self, cache: Cache, reader: Reader) -> None:
        self._cache = cache
        self._reader = reader

    async def check(self, agency_id: UUID, question: StayQuestion) -> Checked:
        """Everything that keeps a stay from being booked, and what could be booked instead; raises what `read` does."""
        reading, found = await self._judge(agency_id, question, needs_all=False)
        alternatives = []
        if found:
            reading, found = await self._judge(agency_id, question, needs_all=True)
            alternatives = await self._other_dates(question, reading)
            alternatives += await self._other_properties(agency_id, question, reading)
        return Checked(found, alternatives, _price(reading.state.sellable, question.stay), reading)

    async def _judge(
        self, agency_id: UUID, question: StayQuestion, *, needs_all: bool
    ) -> tuple[Reading, list[RuleViolation]]:
        stay = question.stay
        window = Window(stay.check_in, stay.check_out, needs_all)
        reading = await self._reader.read(agency_id, question.property_id, question.min_version, window)
        return reading, check(reading.state.sellable, stay, reading.now, question.hold_id)

    async def _other_dates(self, question: StayQuestion, reading: Reading) -> list[Alternative]:
        """The nearest stays before and after; the caller's own hold may be used for them as well."""
        sellable, stay, now = without_hold(reading.state.sellable, question.hold_id), question.stay, reading.now
        conditions = sellable.terms.conditions
        today = now.astimezone(ZoneInfo(conditions.time_zone)).date()
        # The last night must lie within the booking window, so a stay ends on its last day at the latest.
        until = today + timedelta(days=conditions.booking_window_days)
        ways = (earlier_stays(sellable, stay, today, now), later_stays(sellable, stay, until, now))
        found = []
        for way in ways:
            found += await _bookable(sellable, islice(way, DATES_JUDGED), now, DATES_EACH_WAY)
        return [
            Alternative(question.property_id, other, _price(sellable, other), reading.state.version) for other in found
        ]

    async def _other_properties(self, agency_id: UUID, question: StayQuestion, reading: Reading) -> list[Alternative]:
        """The same dates at the nearest properties of the agency that take as many persons; of equally near ones those
        with the nearest price first.
        """
        wanted = _price(reading.state.sellable, question.stay).total_minor
        found: list[Alternative] = []
        # Who they are is settled before anything is awaited: rows change hands when properties go and come.
        rows = self._others(agency_id, question, reading.now)
        ids = self._cache.store.ids(rows)
        near = neighbours(reading.state.profile.location, *self._cache.store.places(rows), PROPERTIES_JUDGED)
        for distance_km, group in groupby(near, key=attrgetter("distance_km")):
            offers = await self._bookable_at([ids[one.at] for one in group], question.stay, distance_km)
            found += sorted(offers, key=lambda offer: _difference(offer.price.total_minor, wanted))
            if len(found) >= SIMILAR:
                break
        return found[:SIMILAR]

    def _others(self, agency_id: UUID, question: StayQuestion, now: datetime) -> NDArray[np.int64]:
        """The agency's other properties that are worth a look: sold, large enough, and with open nights."""
        store, stay = self._cache.store, question.stay
        rows = store.rows_of(agency_id)
        if not self._cache.has_bits(stay.check_in, stay.check_out):
            return rows[:0]
        rows = rows[rows != store.find(question.property_id)]
        numbers = store.selling.condition_numbers(rows)
        suitable = [number for number in np.unique(numbers).tolist() if self._suits(number, stay)]
        rows = rows[np.isin(numbers, suitable)]
        may_be_open = ~store.taken.closed(rows, stay.check_in, stay.nights) | np.isin(rows, store.taken.overdue(now))
        found: NDArray[np.int64] = rows[may_be_open]
        return found

    def _suits(self, number: int, stay: RequestedStay) -> bool:
        conditions = self._cache.store.selling.conditions_of(number)
        return conditions.active and stay.persons <= conditions.max_occupancy

    async def _bookable_at(
        self, property_ids: Iterable[UUID], stay: RequestedStay, distance_km: float | None
    ) -> list[Alternative]:
        found = []
        for count, property_id in enumerate(property_ids, start=1):
            view = self._cache.view(property_id, stay.check_in, stay.check_out)
            if view is not None and _is_free(view, stay):
                price = _price(view.state.sellable, stay)
                found.append(Alternative(property_id, stay, price, view.state.version, distance_km))
            if count % STRETCH == 0:
                await asyncio.sleep(0)
        return found


async def _bookable(
    sellable: Sellable, stays: Iterable[RequestedStay], now: datetime, limit: int
) -> list[RequestedStay]:
    found: list[RequestedStay] = []
    for count, stay in enumerate(stays, start=1):
        if not check(sellable, stay, now):
            found.append(stay)
            if len(found) == limit:
                break
        if count % STRETCH == 0:
            await asyncio.sleep(0)
    return found


def _is_free(view: View, stay: RequestedStay) -> bool:
    with suppress(TimeZoneUnknown):  # nothing is offered that cannot be judged
        return not check(view.state.sellable, stay, view.database_now)
    return False


def _price(sellable: Sellable, stay: RequestedStay) -> Price:
    try:
        found = quote(sellable.terms, stay)
    except NightWithoutRate:
        found = None
    return Price(found.total_minor if found is not None else None, sellable.terms.currency)


def _difference(total_minor: int | None, wanted_minor: int | None) -> float:
    if total_minor is None or wanted_minor is None:
        return float("inf")
    return abs(total_minor - wanted_minor)
