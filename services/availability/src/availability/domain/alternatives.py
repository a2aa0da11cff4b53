"""Where to look for another stay when the wanted one cannot be booked: other dates, other properties; for the answers.

Nothing here decides whether a stay can be booked: it lists what is worth asking `rules.checks`, nearest first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import isnan

import numpy as np
from numpy.typing import NDArray

from availability.domain.geography import Place, distances_km
from rules.calendar import open_bits
from rules.checks import Sellable
from rules.stay_rules import RequestedStay

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Which of the others it is and how far, to a tenth of a kilometre; None when either has no location."""

    at: int
    distance_km: float | None


def neighbours(
    here: Place | None, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64], limit: int
) -> list[Neighbour]:
    """The nearest `limit` of other places, nearest first; those without a location come last."""
    distances = np.full(len(latitudes), np.nan) if here is None else distances_km(here, latitudes, longitudes)
    distances = np.round(distances, 1)
    order = np.argsort(distances, kind="stable")[:limit]  # NaN comes last
    found = zip(order.tolist(), distances[order].tolist(), strict=True)
    return [Neighbour(at, None if isnan(distance) else distance) for at, distance in found]


def earlier_stays(sellable: Sellable, stay: RequestedStay, today: date, now: datetime) -> Iterator[RequestedStay]:
    """Stays of the same length that begin before this one, nearest first, down to `today`, with open nights only."""
    count = (stay.check_in - today).days
    starts = _open_starts(sellable, today, count, stay.nights, now)
    return (_moved(stay, today + DAY * at) for at in range(count - 1, -1, -1) if starts >> at & 1)


def later_stays(sellable: Sellable, stay: RequestedStay, until: date, now: datetime) -> Iterator[RequestedStay]:
    """Stays of the same length that begin after this one, nearest first, and end by `until`, with open nights only."""
    first = stay.check_in + DAY
    count = (until - first).days - stay.nights + 1
    starts = _open_starts(sellable, first, count, stay.nights, now)
    return (_moved(stay, first + DAY * at) for at in range(count) if starts >> at & 1)


def open_starts(sellable: Sellable, stay: RequestedStay, last: date, now: datetime) -> Iterator[date]:
    """The dates from the stay's own check-in to `last` on which one of its length begins that has open nights only."""
    count = (last - stay.check_in).days + 1
    starts = _open_starts(sellable, stay.check_in, count, stay.nights, now)
    return (stay.check_in + DAY * at for at in range(count) if starts >> at & 1)


def _moved(stay: RequestedStay, check_in: date) -> RequestedStay:
    return RequestedStay(check_in, check_in + DAY * stay.nights, stay.persons)


def _open_starts(sellable: Sellable, first: date, count: int, nights: int, now: datetime) -> int:
    """Bitmap of the dates among the `count` from `first` on which a stay of so many open nights begins."""
    if count <= 0:
        return 0
    bits = open_bits(sellable.ranges, sellable.preparation_days, first, count + nights - 1, now)
    reached = 1
    while reached < nights:  # doubling: a bit says that `reached` nights from it are open
        step = min(reached, nights - reached)
        bits &= bits >> step
        reached += step
    return bits & ((1 << count) - 1)
