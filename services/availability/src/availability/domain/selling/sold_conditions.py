"""Selling conditions by number, and which stays break none of them, for thousands of properties in one pass.

Used by the selling table. `rules.sold_dates` judges, once for each number and as long as what it says holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from availability.domain.arrays.columns import Columns
from availability.domain.arrays.interned import Interned, by_number
from rules.stay_rules import SellingConditions, TimeZoneUnknown, sold_dates

MARGIN_S = 1e-5
"""More than a number of seconds since 1970 is out by as a float."""

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sold:
    """What each of some numbers sells at an instant: days as `date.toordinal` numbers them, at most so many persons.

    These are fewer than none where the time zone is not known on this machine.
    """

    first_arrival: NDArray[np.int64]
    last_night: NDArray[np.int64]
    most_persons: NDArray[np.int64]


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

    def codes(self, numbers: Numbers) -> list[str]:
        """The currency of each of the numbers."""
        if self.has_one_currency:
            return [self._currencies[0]] * len(numbers)
        return [self._currencies[number] for number in self.currencies(numbers).tolist()]

    @property
    def has_one_currency(self) -> bool:
        """True while all is sold in one currency, which has the number 0."""
        return len(self._currencies) == 1

    def currency(self, number: int) -> str:
        """The currency with a number."""
        return self._currencies[number]

    def stale(self, numbers: Numbers, now: datetime) -> list[int]:
        """Which of the numbers must be judged anew before anything is asked of them at this instant."""
        is_stale = self._columns.head("until", self.values.count) <= now.timestamp() + MARGIN_S
        return np.unique(numbers[is_stale[numbers]]).tolist() if is_stale.any() else []

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
        return self._judged(numbers)

    def admit(
        self,
        numbers: Numbers,
        now: datetime,
        *,
        check_ins: tuple[date, date],
        nights: int,
        persons: int,
        currency: str | None,
    ) -> Mask:
        """Which of the numbers sell a stay with a check-in on one of these dates or between, in a currency if named."""
        self.judge(self.stale(numbers, now), now)

        def judge(numbers: Numbers) -> Mask:
            sold = self._judged(numbers)
            (first, last), reach = map(date.toordinal, check_ins), nights - 1
            is_sold = (sold.first_arrival <= last) & (sold.last_night >= first + reach)
            is_sold &= (sold.first_arrival + reach <= sold.last_night) & (sold.most_persons >= persons)
            return is_sold if currency is None else is_sold & self.is_in(numbers, currency)

        return by_number(numbers, self.values.count, judge)

    def unknown(self, numbers: Numbers) -> int:
        """How many of the numbers, once they were judged, could not be."""
        is_unknown = self._columns.head("persons", self.values.count) < 0
        return int(np.count_nonzero(is_unknown[numbers])) if is_unknown.any() else 0

    def _judged(self, numbers: Numbers) -> Sold:
        columns = self._columns
        return Sold(columns.at("first", numbers), columns.at("last", numbers), columns.at("persons", numbers))

    def _note(self, number: int, value: tuple[SellingConditions, str]) -> None:
        known = self._currencies.find(value[1])
        self._columns.make_room(number)
        self._columns.set("until", number, -np.inf)
        self._columns.set("currency", number, self._currencies.take(value[1]) if known is None else known)
