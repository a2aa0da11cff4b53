"""Where to look for another stay when the wanted one cannot be booked: other dates, other properties; for the answers.

Nothing here decides whether a stay can be booked: it lists what is worth asking `rules.checks`, nearest first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from math import asin, cos, radians, sin, sqrt
from uuid import UUID

from rules.calendar import open_bits
from rules.checks import Sellable
from rules.stay_rules import RequestedStay

EARTH_RADIUS_KM = 6371.0
DAY = timedelta(days=1)

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another property and how far it is, to a tenth of a kilometre; None when either has no location."""

    property_id: UUID
    distance_km: float | None


def distance_km(one: Place, other: Place) -> float:
    """Great-circle distance of two points (latitude, longitude) in degrees."""
    latitude, longitude, other_latitude, other_longitude = map(radians, (*one, *other))
    chord = (
        sin((other_latitude - latitude) / 2) ** 2
        + cos(latitude) * cos(other_latitude) * sin((other_longitude - longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, chord)))


def neighbours(here: Place | None, others: Iterable[tuple[UUID, Place | None]]) -> Iterator[list[Neighbour]]:
    """The other properties nearest first, those at one distance together; those without a location come last."""
    found = [
        Neighbour(key, round(distance_km(here, place), 1) if here is not None and place is not None else None)
        for key, place in others
    ]
    found.sort(key=_by_distance)
    for _, group in groupby(found, key=_by_distance):
        yield list(group)


def _by_distance(neighbour: Neighbour) -> float:
    return float("inf") if neighbour.distance_km is None else neighbour.distance_km


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
