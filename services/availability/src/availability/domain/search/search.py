"""What a search asks for and what it offers, and the one property that is judged by itself; used by the service.

`search_rows` (in `row_search`) and `offer_of` find the same offers: the one in columns, the other by asking `rules`.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import numpy as np

from availability.domain.alternatives import open_starts
from availability.domain.geography import Box, Place, distances_km
from availability.domain.property_calendar import CalendarState, Profile
from rules.checks import Sellable, check
from rules.quotes import quote
from rules.stay_rules import RequestedStay

DAY = timedelta(days=1)


class Sort(StrEnum):
    """What comes first: the cheapest, or the nearest."""

    PRICE = "price"
    DISTANCE = "distance"


class Position(NamedTuple):
    """Where an offer stands among all: groups in order, in each by `value`, equal ones by the property's id, a number.

    By price a group is "0" and a currency, `value` minor units; "1" and a currency for what is sold without a price. By
    distance it is "0", `value` metres; "1" where the distance is not known.
    """

    group: str
    value: int
    number: int


@dataclass(frozen=True, slots=True)
class Search:
    """Stays of `nights` that begin on `first`, `last` or between, for so many persons; the offers wanted of them.

    Distances are from `place`. Bounds of totals hold for one `currency`, which must be named with them; they leave out
    what has no price. Offers up to and including the position `after` are left out.
    """

    first: date
    last: date
    nights: int
    persons: int
    place: Place | None = None
    radius_km: float | None = None
    box: Box | None = None
    amenities: frozenset[str] = frozenset()
    currency: str | None = None
    least_minor: int | None = None
    most_minor: int | None = None
    sort: Sort = Sort.PRICE
    limit: int = 20
    after: Position | None = None

    @property
    def end(self) -> date:
        """The day after the last night of all these stays."""
        return self.last + DAY * self.nights

    @property
    def is_one_stay(self) -> bool:
        """True when arrival and departure are given."""
        return self.first == self.last

    @property
    def has_bounds(self) -> bool:
        """True when only priced stays count."""
        return self.least_minor is not None or self.most_minor is not None

    def stay(self, check_in: date) -> RequestedStay:
        """The stay that begins on a date."""
        return RequestedStay(check_in, check_in + DAY * self.nights, self.persons)

    def takes_total(self, total_minor: int | None) -> bool:
        """Whether a stay of this total lies within the bounds."""
        if total_minor is None:
            return not self.has_bounds
        is_enough = self.least_minor is None or total_minor >= self.least_minor
        return is_enough and (self.most_minor is None or total_minor <= self.most_minor)


class Offer(NamedTuple):
    """A stay that may be booked at the property's `version`, at this total (None for one that is sold unpriced).

    Offers are in the order of their positions, which they begin with. `check_in` is the number `date.toordinal` gives.
    """

    group: str
    value: int
    number: int
    check_in: int
    total_minor: int | None
    currency: str
    metres: int | None
    version: int

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.group, self.value, self.number)


def offer_of(property_id: UUID, state: CalendarState, search: Search, now: datetime) -> Offer | None:
    """The cheapest, then earliest of a property's stays; None when there is none, or none that is wanted.

    Raises `TimeZoneUnknown`.
    """
    is_wanted, metres = _is_wanted(state.profile, search)
    if not is_wanted or state.is_gone:
        return None
    sellable = state.sellable
    found: tuple[int, date] | None = None
    for check_in in open_starts(sellable, search.stay(search.first), search.last, now):
        stay = search.stay(check_in)
        if not check(sellable, stay, now):
            total = _total(sellable, stay)
            if search.takes_total(total) and (found is None or (total or 0) < found[0]):
                found = (total or 0, check_in)
    if found is None:
        return None
    total = found[0] if state.pricing.rates.has_any else None
    currency = state.profile.currency
    group, value = _standing(search, total, currency, metres)
    offer = Offer(group, value, property_id.int, found[1].toordinal(), total, currency, metres, state.version)
    return offer if search.after is None or offer.position > search.after else None


def _standing(search: Search, total_minor: int | None, currency: str, metres: int | None) -> tuple[str, int]:
    """The group and the value of an offer's position."""
    if search.sort == Sort.DISTANCE:
        return ("0", metres) if metres is not None else ("1", 0)
    return (f"0{currency}", total_minor) if total_minor is not None else (f"1{currency}", 0)


def _is_wanted(profile: Profile, search: Search) -> tuple[bool, int | None]:
    """Whether the property is one of those asked for, and how many metres away it is."""
    latitude, longitude = (np.array([degrees]) for degrees in profile.location or (np.nan, np.nan))
    is_wanted = search.amenities <= profile.amenities and search.currency in (None, profile.currency)
    if search.box is not None:
        is_wanted = is_wanted and bool(search.box.holds(latitude, longitude)[0])
    if search.place is None:
        return is_wanted, None
    distance_km = float(distances_km(search.place, latitude, longitude)[0])
    if search.radius_km is not None:
        is_wanted = is_wanted and distance_km <= search.radius_km
    return is_wanted, None if profile.location is None else round(distance_km * 1000)


def _total(sellable: Sellable, stay: RequestedStay) -> int | None:
    found = quote(sellable.terms, stay)
    return None if found is None else found.total_minor
