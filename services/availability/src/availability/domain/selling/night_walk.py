"""Terms of many properties night after night, for searches over a window; made by the selling table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from availability.domain.selling.dated_lists import EPOCH, DatedLists, Rows
from availability.domain.selling.dated_rates import DatedRates

Lengths = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds by row: shortest stays by arrival and by night, the longest by arrival, flags, the rate (or NO_RATE).

    On a date; or, by row and weekday from Monday on, where no dated rule or rate says otherwise.
    """

    arrival: Lengths
    through: Lengths
    longest: Lengths
    flags: NDArray[np.uint8]
    rate: NDArray[np.int64]


class RateWalk:
    """Looks at the rows' rates on one date, then on the next, and so on; `levels` are their rates by weekday."""

    def __init__(self, rows: Rows, first: int, rates: DatedRates, levels: NDArray[np.int64]) -> None:
        self._day, self._rates, self._levels = first, rates, levels
        self._at = rates.find(rows, first)

    def step(self) -> None:
        """Go on to the next date."""
        self._day += 1
        self._at = self._rates.following(self._at, self._day)

    def rate(self) -> NDArray[np.int64]:
        """The rate of each row in minor units, NO_RATE for none."""
        is_dated = self._rates.field("end", self._at) > self._day
        return np.where(is_dated, self._rates.amounts(self._at), self._levels[:, weekday_of(self._day)])


class NightWalk:
    """Looks at all the rows' terms on one date, then on the next, and so on; days are numbered from EPOCH."""

    def __init__(self, rows: Rows, first: int, rules: DatedLists, rates: DatedRates, levels: Terms) -> None:
        self._day, self._rules, self._levels = first, rules, levels
        self._at, self._rates = rules.find(rows, first), RateWalk(rows, first, rates, levels.rate)

    def step(self) -> None:
        """Go on to the next date."""
        self._day += 1
        self._at = self._rules.following(self._at, self._day)
        self._rates.step()

    def terms(self) -> Terms:
        """Everything that holds."""
        at, levels, weekday = self._at, self._levels, weekday_of(self._day)
        is_dated = self._rules.field("end", at) > self._day

        def lengths(name: str, below: Lengths) -> Lengths:
            said = self._rules.field(name, at)
            return np.where(is_dated & (said > 0), said, below[:, weekday])

        says = self._rules.field("says", at) * is_dated
        return Terms(
            lengths("arrival", levels.arrival),
            lengths("through", levels.through),
            lengths("longest", levels.longest),
            levels.flags[:, weekday] & ~says | self._rules.field("flags", at) & says,
            self._rates.rate(),
        )


def weekday_of(day: int) -> int:
    """The weekday of a day counted from EPOCH, 0 for Monday."""
    return (day + EPOCH - 1) % 7
