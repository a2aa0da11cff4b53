"""Nightly rates and fees of a property: what a night costs; used by `rules.stay_rules` and `rules.quotes`.

Money is integer minor units of the property's currency everywhere. Callers import these names from `rules.quotes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from rules.dated import DatedRange, entry_on


@dataclass(frozen=True, slots=True)
class DatedRate(DatedRange):
    """The nightly rate of the dates `[start_date, end_date)`."""

    rate_minor: int


@dataclass(frozen=True, slots=True)
class Rates:
    """Nightly rates: a dated one wins over its weekday's (0 = Monday), which wins over the default.

    `dated` is in the normal form of `rules.dated`. A rate of 0 is a rate: the night is free, not unpriced.
    """

    default_minor: int | None = None
    weekday_minor: Mapping[int, int] = field(default_factory=dict)
    dated: tuple[DatedRate, ...] = ()

    @property
    def has_any(self) -> bool:
        """True once the property is priced at all, be it for dates long past."""
        return self.default_minor is not None or bool(self.weekday_minor) or bool(self.dated)

    def rate_of(self, night: date) -> int | None:
        """The rate of one night; None when no level has one."""
        if self.dated and (entry := entry_on(self.dated, night)) is not None:
            return entry.rate_minor
        return self.weekday_minor.get(night.weekday(), self.default_minor)


@dataclass(frozen=True, slots=True)
class LengthOfStayDiscount:
    """From `min_nights` nights on, this part of the accommodation is off; 10,000 basis points are all of it."""

    min_nights: int
    basis_points: int


@dataclass(frozen=True, slots=True)
class Fees:
    """What is added to and taken off the nightly rates.

    `cleaning_fee_minor` is per stay, `extra_guest_fee_minor` per night and person above `included_guests` (None: nobody
    is extra). The order of the discounts means nothing.
    """

    cleaning_fee_minor: int = 0
    extra_guest_fee_minor: int = 0
    included_guests: int | None = None
    length_of_stay_discounts: tuple[LengthOfStayDiscount, ...] = ()
