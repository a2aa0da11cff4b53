"""Selling conditions by number, and which stays break none of them, for thousands of properties in one pass.

Used by the selling table. `rules.sold_dates` judges, once for each number and as long as what it says holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from availability.domain.columns import Columns
from availability.domain.interned import Interned
from rules.stay_rules import SellingConditions, TimeZoneUnknown, sold_dates

MARGIN_S = 1e-5
"""More than a number of seconds since 1970 is out by as a float."""

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sold:
    """What each of some numbers sells at an instant: days as `date.toordinal` numbers them, at most so many persons.

    Where `is_unknown` nothing is sold: the time zone is not known on this machine.
    """

    first_arrival: NDArray[np.int64]
    last_night: NDArray[np.int64]
    most_persons: NDArray[np.int64]

    @property
    def is_unknown(self) -> Mask:
        """Which cannot be judged."""
        found: Mask = self.most_persons < 0
        return found


class ConditionsTable:
    """`values` by number: conditions, each with the currency of its properties."""

    def __init__(self) -> None:
        self.values: Interned[tuple[SellingConditions, str]] = Interned(self._note)
        self._currencies: Interned[str] = Interned()  # there are few: none is ever forgotten
        self._columns = Columns(first="<i8", last="<i8", persons="<i8", until="<f8", currency="<u2")

    def currencies(self, numbers: Numbers) -> NDArray[np.int64]:
        """The number of each one's currency, for `currency`."""
        return self._columns.at("currency", numbers)

    def is_in(self, numbers: Numbers, currency: str) -> Mask:
        """Which of the numbers are of this currency."""
        number = self._currencies.find(currency)
        return np.zeros(len(numbers), bool) if number is None else self._columns.at("currency", numbers) == number

    def currency(self, number: int) -> str:
        """The currency with a number."""
        return self._currencies[number]

    def stale(self, numbers: Numbers, now: datetime) -> list[int]:
        """Which of the numbers must be judged anew before `sold` can tell of this instant."""
        is_stale = self._columns.at("until", numbers) <= now.timestamp() + MARGIN_S
        return np.unique(numbers[is_stale]).tolist() if is_stale.any() else []

    def judge(self, numbers: Iterable[int], now: datetime) -> None:
        """Judge these numbers at an instant."""
        for number in numbers:
            try:
                found = sold_dates(self.values[number][0], now)
            except TimeZoneUnknown:
                first, last, persons, until = 0, 0, -1, np.inf
            else:
                first, last = found.first_arrival.toordinal(), found.last_night.toordinal()
                persons, until = found.most_persons, found.until.timestamp()
            for name, value in (("first", first), ("last", last), ("persons", persons), ("until", until)):
                self._columns.set(name, number, value)

    def sold(self, numbers: Numbers, now: datetime) -> Sold:
        """What each of the numbers sells at an instant."""
        self.judge(self.stale(numbers, now), now)
        columns = self._columns
        return Sold(columns.at("first", numbers), columns.at("last", numbers), columns.at("persons", numbers))

    def _note(self, number: int, value: tuple[SellingConditions, str]) -> None:
        known = self._currencies.find(value[1])
        self._columns.make_room(number)
        self._columns.set("until", number, -np.inf)
        self._columns.set("currency", number, self._currencies.take(value[1]) if known is None else known)
