"""Searches over columns: which rows of an agency can be sold for the dates asked for, in order; used by the service.

The order of the work is the order of its cost: bits, conditions, places, amenities, then prices; stay rules are looked
at for the first in order only, until there are enough. Tests hold every answer against `rules`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from availability.domain.geography import box_around, distances_km
from availability.domain.property_store import PropertyStore
from availability.domain.ranking import Group, Places, Ranked, first_of
from availability.domain.search import Offer, Search, Sort
from availability.domain.window_search import Stays, cheapest_stays

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """The first offers among some rows, one more than are wanted if there are so many.

    `alone` are rows to be judged one by one: a hold whose time is over still counts in their bits. `unknown` counts the
    rows that cannot be judged.
    """

    offers: list[Offer]
    alone: list[int]
    unknown: int


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Rows nothing speaks against so far; `numbers` are those of their conditions, `metres` NaN where not known."""

    rows: Rows
    numbers: NDArray[np.int64]
    metres: NDArray[np.float64] | None = None

    def only(self, mask: Mask) -> "_Candidates":
        metres = None if self.metres is None else self.metres[mask]
        return _Candidates(self.rows[mask], self.numbers[mask], metres)


def search_rows(store: PropertyStore, rows: Rows, search: Search, now: datetime) -> Found:
    """The offers among these rows at an instant. Rows change hands: use none that the answer names after an await."""
    if search.first < store.taken.first or search.end > store.taken.end:
        candidates, unknown = _sold(store, rows, search, now)
        return Found([], [], unknown + len(candidates.rows))
    rows, alone = _may_be_open(store, rows, search, now)
    candidates, unknown = _sold(store, rows, search, now)
    candidates = _wanted(store, candidates, search)
    if len(alone):
        others, more = _sold(store, alone, search, now)
        alone, unknown = _wanted(store, others, search).rows, unknown + more
    return Found(_offers(store, candidates, search, now), alone.tolist(), unknown)


def _may_be_open(store: PropertyStore, rows: Rows, search: Search, now: datetime) -> tuple[Rows, Rows]:
    """The rows whose bits leave a stay, and those whose bits cannot be believed."""
    overdue = store.taken.overdue(now)
    is_due = np.isin(rows, overdue) if len(overdue) else np.zeros(len(rows), bool)
    if search.first < search.last:
        return rows[~is_due], rows[is_due]
    is_closed = store.taken.closed(rows, search.first, search.nights)
    return rows[~is_closed], rows[is_closed & is_due]


def _sold(store: PropertyStore, rows: Rows, search: Search, now: datetime) -> tuple[_Candidates, int]:
    """The rows whose conditions and currency admit a stay; how many cannot be judged."""
    conditions = store.selling.conditions
    numbers = store.selling.condition_numbers(rows)
    sold = conditions.sold(numbers, now)
    first, last, reach = search.first.toordinal(), search.last.toordinal(), search.nights - 1
    admits = (sold.first_arrival <= last) & (sold.last_night >= first + reach) & (sold.most_persons >= search.persons)
    if first < last:
        admits &= sold.first_arrival + reach <= sold.last_night
    if search.currency is not None:
        admits &= conditions.is_in(numbers, search.currency)
    unknown = int(np.count_nonzero(sold.is_unknown))
    return _Candidates(rows[admits], numbers[admits]), unknown


def _wanted(store: PropertyStore, candidates: _Candidates, search: Search) -> _Candidates:
    """Those where the search looks, with what it asks for."""
    if search.amenities:
        candidates = candidates.only(store.having(candidates.rows, search.amenities))
    if search.box is None and search.place is None:
        return candidates
    latitudes, longitudes = store.places(candidates.rows)
    near = np.ones(len(candidates.rows), bool)
    if search.box is not None:
        near &= search.box.holds(latitudes, longitudes)
    if search.place is None:
        return candidates.only(near)
    if search.radius_km is not None:
        near &= box_around(search.place, search.radius_km).holds(latitudes, longitudes)
    candidates = candidates.only(near)
    distances = distances_km(search.place, latitudes[near], longitudes[near])
    candidates = _Candidates(candidates.rows, candidates.numbers, np.rint(distances * 1000))
    return candidates if search.radius_km is None else candidates.only(distances <= search.radius_km)


def _offers(store: PropertyStore, candidates: _Candidates, search: Search, now: datetime) -> list[Offer]:
    """The first offers in order."""
    if search.first < search.last:
        sold = store.selling.conditions.sold(candidates.numbers, now)
        stays = cheapest_stays(store, candidates.rows, sold, search)
    else:
        stays = _the_stay(store, candidates.rows, search)
    candidates = candidates.only(stays.is_there)
    stays = stays.only(stays.is_there)

    def will_do(places: Places) -> Mask:
        if search.first < search.last:
            return np.ones(len(places), bool)
        return store.selling.follows_rules(candidates.rows[places], search.stay(search.first))

    ranked = _ranked(store, candidates, stays, search)
    places = first_of(store, ranked, search.after, search.limit + 1, will_do)
    return list(_made(store, candidates, stays, search, [place for _, place in places]))


def _the_stay(store: PropertyStore, rows: Rows, search: Search) -> Stays:
    """The one stay that is asked about, where it has a price or needs none; its stay rules are not looked at here."""
    prices = store.selling.prices(rows, search.stay(search.first))
    is_there = prices.is_whole | ~prices.is_priced
    if search.has_bounds:
        is_there &= prices.is_priced
    if search.least_minor is not None:
        is_there &= prices.total >= search.least_minor
    if search.most_minor is not None:
        is_there &= prices.total <= search.most_minor
    starts = np.full(len(rows), search.first.toordinal())
    return Stays(starts, prices.total, prices.is_priced, is_there)


def _ranked(store: PropertyStore, candidates: _Candidates, stays: Stays, search: Search) -> Ranked:
    everything = np.arange(len(candidates.rows))
    if search.sort == Sort.DISTANCE and candidates.metres is not None:
        is_known = ~np.isnan(candidates.metres)
        metres = np.where(is_known, candidates.metres, 0).astype(np.int64)
        groups = [Group("0", everything[is_known]), Group("1", everything[~is_known])]
        return Ranked(candidates.rows, metres, groups)
    currencies = store.selling.conditions.currencies(candidates.numbers)
    values = np.where(stays.is_priced, stays.total, 0)
    return Ranked(candidates.rows, values, _by_currency(store, currencies, stays.is_priced))


def _by_currency(store: PropertyStore, currencies: NDArray[np.int64], is_priced: Mask) -> Iterator[Group]:
    numbers = currencies[:1] if len(currencies) and (currencies == currencies[0]).all() else np.unique(currencies)
    for number in numbers.tolist():
        code = store.selling.conditions.currency(number)
        for name, mask in ((f"0{code}", is_priced), (f"1{code}", ~is_priced)):
            (places,) = np.nonzero(mask & (currencies == number))
            if len(places):
                yield Group(name, places)


def _made(
    store: PropertyStore, candidates: _Candidates, stays: Stays, search: Search, places: list[int]
) -> Iterator[Offer]:
    rows = candidates.rows[places]
    metres = [None] * len(places) if candidates.metres is None else candidates.metres[places].tolist()
    each = zip(
        store.ids(rows),
        stays.starts[places].tolist(),
        stays.total[places].tolist(),
        stays.is_priced[places].tolist(),
        store.selling.conditions.currencies(candidates.numbers[places]).tolist(),
        metres,
        store.versions(rows).tolist(),
        strict=True,
    )
    for property_id, start, total, is_priced, currency, distance, version in each:
        code, minor = store.selling.conditions.currency(currency), total if is_priced else None
        away = None if distance is None or distance != distance else int(distance)
        position = search.position(property_id, minor, code, away)
        yield Offer(position, date.fromordinal(start), minor, code, away, version)
