"""Searches over a window of dates: each row's cheapest stay, night after night in one pass; used by `row_search`."""

from collections import deque
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from availability.domain.search.search import DAY, Search
from availability.domain.selling.night_walk import Terms
from availability.domain.selling.packed_terms import CLOSED_TO_ARRIVAL, CLOSED_TO_DEPARTURE, NO_RATE, STOP_SELL
from availability.domain.selling.sold_conditions import Sold
from availability.domain.store.property_store import PropertyStore

NO_TOTAL = np.iinfo(np.int64).max

Rows = NDArray[np.int64]
Amounts = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stays:
    """A stay per row: the day it begins on (one for all, or by row) and its total in minor units.

    The total means nothing where the row is not `is_priced`, and the stay is there only where `is_there`; None stands
    for all rows. Days are numbered as `date.toordinal` does.
    """

    start: int | NDArray[np.int64]
    total: Amounts
    is_priced: Mask | None
    is_there: Mask | None


def cheapest_stays(store: PropertyStore, rows: Rows, sold: Sold, search: Search) -> Stays:
    """Each row's cheapest stay, of several the earliest, that bits, conditions, rules and the search's bounds allow.

    All nights must have bits, and no row may have a hold whose time is over.
    """
    walk, sliding = store.selling.walk(rows, search.first), _Sliding(store, rows, sold, search)
    day = search.first
    while day < search.end:
        terms = walk.terms()
        sliding.depart(day, terms)
        sliding.spend(day, terms, ~store.taken.closed(rows, day, 1))
        day += DAY
        walk.step()
    sliding.depart(day, walk.terms())
    return sliding.found()


class _Sliding:
    """Stays of one length, by row, as one date after the other is seen."""

    def __init__(self, store: PropertyStore, rows: Rows, sold: Sold, search: Search) -> None:
        self._search, self._nights = search, search.nights
        self._fees = store.selling.fees(rows, search.nights, search.persons)
        self._is_priced = store.selling.is_priced(rows)
        self._first, self._last = sold.first_arrival, sold.last_night - (search.nights - 1)
        self._starts, self._totals = np.zeros(len(rows), np.int64), np.full(len(rows), NO_TOTAL)
        # Rates of all nights so far; nights in a row, up to the last, that can be sold.
        self._spent, self._run = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        # Of the last nights, as many as a stay has: may a stay begin on it, and what was spent before it?
        self._begun: deque[tuple[Mask, Amounts]] = deque(maxlen=search.nights)

    def spend(self, day: date, terms: Terms, is_open: Mask) -> None:
        """The night of a date."""
        number, nights = day.toordinal(), self._nights
        may_begin = (terms.arrival <= nights) & (terms.longest >= nights) & (terms.flags & CLOSED_TO_ARRIVAL == 0)
        may_begin &= (self._first <= number) & (number <= self._last)
        self._begun.append((may_begin, self._spent))
        is_sold = is_open & (terms.through <= nights) & (terms.flags & STOP_SELL == 0)
        is_sold &= (terms.rate != NO_RATE) | ~self._is_priced
        self._run = (self._run + 1) * is_sold
        self._spent = self._spent + terms.rate

    def depart(self, day: date, terms: Terms) -> None:
        """A date, before its night is spent: the stay that ends on it."""
        if len(self._begun) < self._nights:
            return
        may_begin, spent_before = self._begun[0]
        is_stay = may_begin & (self._run >= self._nights) & (terms.flags & CLOSED_TO_DEPARTURE == 0)
        if not is_stay.any():
            return
        total = np.where(self._is_priced, self._fees.total(self._spent - spent_before), 0)
        if self._search.has_bounds:
            is_stay &= self._is_priced
        if self._search.least_minor is not None:
            is_stay &= total >= self._search.least_minor
        if self._search.most_minor is not None:
            is_stay &= total <= self._search.most_minor
        is_stay &= total < self._totals
        self._totals[is_stay] = total[is_stay]
        self._starts[is_stay] = day.toordinal() - self._nights

    def found(self) -> Stays:
        """The cheapest of all."""
        return Stays(self._starts, self._totals, self._is_priced, self._totals < NO_TOTAL)
