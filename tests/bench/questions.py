"""Owns what the searches of P3 ask for: the same questions for the product and its peer; pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlencode
from uuid import UUID

from availability.domain.geography import Box
from availability.domain.search.search import Search
from tests.bench.population import AGENCY_SIZE, AMENITIES, Population

LONGEST_STAY = 14
FIRST_DAY, DAYS = 5, 300
"""Stays begin on one of so many days from this one of the window on."""
LIMIT = 50


@dataclass(frozen=True, slots=True)
class Question:
    """A stay of so many persons at one agency; `place` and `radius_km` come together, `box` is for the kernel alone.

    `box` is least and greatest latitude, least and greatest longitude.
    """

    agency_id: UUID
    check_in: date
    check_out: date
    persons: int
    amenities: tuple[str, ...]
    place: tuple[float, float] | None
    radius_km: float | None
    least_minor: int | None
    most_minor: int | None
    box: tuple[float, float, float, float]
    limit: int = LIMIT

    @property
    def search(self) -> Search:
        """As the product's domain has it."""
        return Search(
            first=self.check_in,
            last=self.check_in,
            nights=(self.check_out - self.check_in).days,
            persons=self.persons,
            place=self.place,
            radius_km=self.radius_km,
            amenities=frozenset(self.amenities),
            least_minor=self.least_minor,
            most_minor=self.most_minor,
            limit=self.limit,
        )

    @property
    def over_all(self) -> Search:
        """What the kernel is asked: no price, a box for the place."""
        south, north, west, east = self.box
        return Search(
            first=self.check_in,
            last=self.check_in,
            nights=(self.check_out - self.check_in).days,
            persons=self.persons,
            box=Box(south, west, north, east),
            amenities=frozenset(self.amenities),
        )

    @property
    def path(self) -> str:
        """As the product is asked over HTTP."""
        given = {
            "check_in": self.check_in,
            "check_out": self.check_out,
            "adults": self.persons,
            "latitude": None if self.place is None else self.place[0],
            "longitude": None if self.place is None else self.place[1],
            "radius_km": self.radius_km,
            "amenity": list(self.amenities),
            "min_total_minor": self.least_minor,
            "max_total_minor": self.most_minor,
            "limit": self.limit,
        }
        return "/availability/search?" + urlencode({k: v for k, v in given.items() if v is not None}, doseq=True)


def questions(population: Population, count: int, seed: int) -> Sequence[Question]:
    """So many questions: half of them near a place, a third with bounds of the price."""
    dice = random.Random(seed)
    return [_question(population, dice) for _ in range(count)]


def _question(population: Population, dice: random.Random) -> Question:
    number = dice.randrange(population.size)
    ((_, state),) = population.states(number, number + 1)
    assert state.profile.location is not None
    latitude, longitude = state.profile.location
    check_in = population.first + timedelta(days=FIRST_DAY + dice.randrange(DAYS))
    nights = dice.randint(1, LONGEST_STAY)
    is_near, is_bound = dice.random() < 0.5, dice.random() < 1 / 3
    a_night = dice.randrange(10_000, 40_000)
    return Question(
        agency_id=population.agency_id(number - number % AGENCY_SIZE),
        check_in=check_in,
        check_out=check_in + timedelta(days=nights),
        persons=dice.randint(1, 4),
        amenities=tuple(sorted(dice.sample(list(AMENITIES)[:9], dice.randrange(3)))),
        place=(latitude, longitude) if is_near else None,
        radius_km=dice.choice((5.0, 15.0, 40.0)) if is_near else None,
        least_minor=a_night * nights // 2 if is_bound else None,
        most_minor=a_night * nights * 2 if is_bound else None,
        box=(latitude - 3.0, latitude + 3.0, longitude - 3.0, longitude + 3.0),
    )
