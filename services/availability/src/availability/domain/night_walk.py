"""Terms of many properties night after night, for searches over a window; made by the selling table."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from availability.domain.dated_lists import EPOCH, DatedLists, Rows

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


class NightWalk:
    """Looks at the rows' terms on one date, then on the next, and so on."""

    def __init__(self, rows: Rows, first: date, rules: DatedLists, rates: DatedLists, levels: Terms) -> None:
        self._day = first.toordinal() - EPOCH
        self._rules, self._rates, self._levels = rules, rates, levels
        self._rule_at, self._rate_at = rules.find(rows, self._day), rates.find(rows, self._day)

    def step(self) -> None:
        """Go on to the next date."""
        self._day += 1
        self._rule_at = self._rules.following(self._rule_at, self._day)
        self._rate_at = self._rates.following(self._rate_at, self._day)

    def rate(self) -> NDArray[np.int64]:
        """The rate of each row in minor units, NO_RATE for none."""
        is_dated = self._rates.field("end", self._rate_at) > self._day
        return np.where(is_dated, self._rates.field("rate", self._rate_at), self._levels.rate[:, self._weekday])

    def terms(self) -> Terms:
        """Everything that holds."""
        at, levels, weekday = self._rule_at, self._levels, self._weekday
        is_dated = self._rules.field("end", at) > self._day

        def lengths(name: str, below: Lengths) -> Lengths:
            said = self._rules.field(name, at)
            return np.where(is_dated & (said > 0), said, below[:, weekday])

        says = np.where(is_dated, self._rules.field("says", at), 0).astype(np.uint8)
        flags = (levels.flags[:, weekday] & ~says) | (self._rules.field("flags", at).astype(np.uint8) & says)
        return Terms(
            lengths("arrival", levels.arrival),
            lengths("through", levels.through),
            lengths("longest", levels.longest),
            flags,
            self.rate(),
        )

    @property
    def _weekday(self) -> int:
        return (self._day + EPOCH - 1) % 7
