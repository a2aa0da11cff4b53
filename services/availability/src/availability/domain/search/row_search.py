"""Searches over columns: which rows of an agency can be sold for the dates asked for, in order; used by the service.

The order of the work is the order of its cost: bits, conditions, places, amenities, then prices; stay rules are looked
at for the first in order only, until there are enough. Tests hold every answer against `rules`.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from availability.domain.geography import box_around, distances_km
from availability.domain.search.ranking import Group, Places, Ranked, WillDo, first_of
from availability.domain.search.search import Offer, Search, Sort
from availability.domain.search.window_search import Stays, cheapest_stays
from availability.domain.selling.prepared_stays import PreparedStay
from availability.domain.store.property_store import PropertyStore

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
    """Rows nothing speaks against so far, and where they are among all that were given.

    `numbers` are those of their conditions, `metres` NaN where not known.
    """

    at: Places
    rows: Rows
    numbers: NDArray[np.int64]
    metres: NDArray[np.float64] | None = None

    def only(self, mask: Mask) -> "_Candidates":
        kept = mask.nonzero()[0]
        metres = None if self.metres is None else self.metres[kept]
        return _Candidates(self.at[kept], self.rows[kept], self.numbers[kept], metres)


def search_rows(store: PropertyStore, rows: Rows, search: Search, now: datetime) -> Found:
    """The offers among these rows at an instant. Rows change hands: use none that the answer names after an await."""
    if search.first < store.taken.first or search.end > store.taken.end:
        candidates, unknown = _sold(store, rows, np.arange(len(rows)), search, now)
        return Found([], [], unknown + len(candidates.rows))
    prepared = store.prepared(rows, search.stay(search.first)) if search.is_one_stay else None
    places, alone = _may_be_open(store, rows, search, now, prepared)
    candidates, unknown = _sold(store, rows, places, search, now)
    candidates = _wanted(store, candidates, search)
    if len(alone):
        others, more = _sold(store, rows, alone, search, now)
        alone, unknown = _wanted(store, others, search).rows, unknown + more
    return Found(_offers(store, candidates, search, now, prepared), alone.tolist(), unknown)


def _may_be_open(
    store: PropertyStore, rows: Rows, search: Search, now: datetime, prepared: PreparedStay | None
) -> tuple[Places, Places]:
    """Where the rows are whose bits leave a stay, and those whose bits cannot be believed."""
    overdue = store.taken.overdue(now)
    is_due = np.isin(rows, overdue) if len(overdue) else None
    if not search.is_one_stay:
        everywhere = np.arange(len(rows))
        return (everywhere, everywhere[:0]) if is_due is None else ((~is_due).nonzero()[0], is_due.nonzero()[0])
    is_closed = store.taken.closed(rows, search.first, search.nights)
    is_free = ~is_closed if prepared is None else prepared.is_allowed & ~is_closed
    free = is_free.nonzero()[0]
    return free, free[:0] if is_due is None else (is_closed & is_due).nonzero()[0]


def _sold(store: PropertyStore, rows: Rows, places: Places, search: Search, now: datetime) -> tuple[_Candidates, int]:
    """Of the rows at these places those whose conditions and currency admit a stay; how many cannot be judged."""
    conditions, numbers = store.selling.conditions, store.selling.condition_numbers(rows[places])
    admitted = conditions.admit(
        numbers,
        now,
        check_ins=(search.first, search.last),
        nights=search.nights,
        persons=search.persons,
        currency=search.currency,
    ).nonzero()[0]
    places = places[admitted]
    return _Candidates(places, rows[places], numbers[admitted]), conditions.unknown(numbers)


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
    candidates = replace(candidates, metres=np.rint(distances * 1000))
    return candidates if search.radius_km is None else candidates.only(distances <= search.radius_km)


def _offers(
    store: PropertyStore, candidates: _Candidates, search: Search, now: datetime, prepared: PreparedStay | None
) -> list[Offer]:
    """The first offers in order."""
    will_do: WillDo | None = None
    if not search.is_one_stay:
        sold = store.selling.conditions.sold(candidates.numbers, now)
        stays = cheapest_stays(store, candidates.rows, sold, search)
    elif prepared is not None:
        stays = _prepared_stay(store, candidates, search, prepared)
    else:
        stays = _the_stay(store, candidates.rows, search)
        will_do = partial(_follows_rules, store, candidates, search)
    ranked = _ranked(store, candidates, stays, search)
    found = first_of(store, ranked, search.after, search.limit + 1, will_do)
    return _made(store, candidates, stays, found)


def _prepared_stay(store: PropertyStore, candidates: _Candidates, search: Search, prepared: PreparedStay) -> Stays:
    """The one stay that is asked about, at rows whose rules and rates allow it."""
    fees = store.selling.fees(candidates.rows, search.nights, search.persons)
    total = fees.total(prepared.accommodation[candidates.at].astype(np.int64))
    is_priced = None if prepared.is_priced is None else prepared.is_priced[candidates.at]
    return Stays(search.first.toordinal(), total, is_priced, _within(search, total, is_priced, None))


def _the_stay(store: PropertyStore, rows: Rows, search: Search) -> Stays:
    """The same where its stay rules are still to be looked at."""
    prices = store.selling.prices(rows, search.stay(search.first))
    is_priced = None if prices.is_whole.all() else prices.is_priced
    is_there = None if is_priced is None else prices.is_whole | ~is_priced
    return Stays(search.first.toordinal(), prices.total, is_priced, _within(search, prices.total, is_priced, is_there))


def _follows_rules(store: PropertyStore, candidates: _Candidates, search: Search, places: Places) -> Mask:
    return store.selling.follows_rules(candidates.rows[places], search.stay(search.first))


def _within(search: Search, total: NDArray[np.int64], is_priced: Mask | None, is_there: Mask | None) -> Mask | None:
    """Which of the stays that are there are within the search's bounds; None for all."""
    if not search.has_bounds:
        return is_there
    is_within = np.ones(len(total), bool) if is_priced is None else is_priced.copy()
    if is_there is not None:
        is_within &= is_there
    if search.least_minor is not None:
        is_within &= total >= search.least_minor
    if search.most_minor is not None:
        is_within &= total <= search.most_minor
    return is_within


def _ranked(store: PropertyStore, candidates: _Candidates, stays: Stays, search: Search) -> Ranked:
    count = len(candidates.rows)
    everywhere = np.arange(count) if stays.is_there is None else stays.is_there.nonzero()[0]
    if search.sort == Sort.DISTANCE and candidates.metres is not None:
        is_known = ~np.isnan(candidates.metres)
        metres = np.where(is_known, candidates.metres, 0).astype(np.int64)
        return Ranked(candidates.rows, metres, _split(everywhere, is_known, "0", "1"))
    groups: list[Group] = []
    for code, places in _by_currency(store, candidates, everywhere):
        is_priced = stays.is_priced
        groups += (
            [Group(f"0{code}", places)] if is_priced is None else _split(places, is_priced, f"0{code}", f"1{code}")
        )
    # What has no price has no total: all its values are one.
    values = stays.total if stays.is_priced is None else np.where(stays.is_priced, stays.total, 0)
    return Ranked(candidates.rows, values, groups)


def _split(places: Places, mask: Mask, here: str, there: str) -> list[Group]:
    is_here = mask[places]
    return [Group(here, places[is_here]), Group(there, places[~is_here])]


def _by_currency(store: PropertyStore, candidates: _Candidates, places: Places) -> list[tuple[str, Places]]:
    """The currencies of the candidates at these places, each with those that are sold in it."""
    conditions = store.selling.conditions
    if len(places) == 0 or conditions.has_one_currency:
        return [(conditions.currency(0), places)] if len(places) else []
    currencies = conditions.currencies(candidates.numbers[places])
    numbers = np.bincount(currencies).nonzero()[0].tolist()
    return [(conditions.currency(number), places[currencies == number]) for number in numbers]


def _made(
    store: PropertyStore, candidates: _Candidates, stays: Stays, found: list[tuple[str, int, int]]
) -> list[Offer]:
    """The offers of places found, in their order."""
    if not found:
        return []
    groups, values, places = zip(*found, strict=True)
    at = np.array(places, np.int64)
    rows, count = candidates.rows[at], len(at)
    highs, lows = store.id_halves(rows)
    totals: list[int | None] = stays.total[at].tolist()
    if stays.is_priced is not None:
        has_price = stays.is_priced[at].tolist()
        totals = [total if is_priced else None for total, is_priced in zip(totals, has_price, strict=True)]
    metres: list[int | None] = [None] * count
    if candidates.metres is not None:
        metres = [None if distance != distance else int(distance) for distance in candidates.metres[at].tolist()]
    starts = [stays.start] * count if isinstance(stays.start, int) else stays.start[at].tolist()
    numbers = [high << 64 | low for high, low in zip(highs.tolist(), lows.tolist(), strict=True)]
    currencies = store.selling.conditions.codes(candidates.numbers[at])
    versions = store.versions(rows).tolist()
    return list(map(Offer, groups, values, numbers, starts, totals, currencies, metres, versions))
