"""Owns the properties the benchmarks of availability are run on: as many as wanted, the same ones every time.

60 % of the nights of the window are sold in stays of four nights, at random places of every property. Properties are
made in chunks, one after another, so that a million of them never exist at once. `python -m tests.bench.population
<size> <rules> <rates>` writes the chunks as pickles, for a process whose own memory is measured.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from availability.domain.packed_ranges import EPOCH, NUMBERS, RECORD, PackedRanges
from availability.domain.property_calendar import CalendarState, Pricing, Profile
from availability.domain.store.night_matrix import WINDOW_NIGHTS
from deploy.local.places import REPOSITORY
from rules.rates import DatedRate, Fees, LengthOfStayDiscount, Rates
from rules.stay_rules import DatedStayRule, SellingConditions, StayRule, StayRules

STAY_NIGHTS = 4
STAYS = WINDOW_NIGHTS * 6 // 10 // STAY_NIGHTS
AGENCY_SIZE = 1_000
CHUNK = 1_000
"""Properties made at a time; a chunk is an agency."""
CITIES = 60
CITY_KM = 12.0
"""One property in three lies farther from the middle of its city."""
KM_PER_DEGREE = 111.2
AMENITIES = {
    "wifi": 0.95, "kitchen": 0.9, "washer": 0.7, "parking": 0.6, "balcony": 0.5, "lift": 0.45, "cot": 0.4,
    "air_conditioning": 0.4, "pets": 0.3, "sea_view": 0.2, "pool": 0.15, "sauna": 0.05,
}  # fmt: skip
"""Each with the share of the properties that have it."""
ZONES = ("Europe/Lisbon", "Europe/Madrid", "Europe/Paris", "Europe/Athens")
_FEES = (
    Fees(),
    Fees(cleaning_fee_minor=4_000),
    Fees(cleaning_fee_minor=6_000, extra_guest_fee_minor=1_500, included_guests=2),
    Fees(cleaning_fee_minor=5_000, length_of_stay_discounts=(LengthOfStayDiscount(7, 1_000),)),
    Fees(length_of_stay_discounts=(LengthOfStayDiscount(3, 500), LengthOfStayDiscount(7, 1_500))),
)
_DEFAULTS = (StayRule(), StayRule(), StayRule(min_stay_arrival=2), StayRule(min_stay_arrival=3, max_stay=28))
_WEEKDAYS: tuple[dict[int, StayRule], ...] = (
    {},
    {},
    {4: StayRule(min_stay_arrival=2), 6: StayRule(closed_to_arrival=True)},
    {5: StayRule(min_stay_through=2, closed_to_departure=True)},
)
# What dated rules say, in turn: two neighbours never say the same.
_DATED = (
    StayRule(min_stay_arrival=3),
    StayRule(min_stay_through=2),
    StayRule(closed_to_arrival=True),
    StayRule(min_stay_arrival=5, max_stay=14),
    StayRule(closed_to_departure=True, closed_to_arrival=False),
    StayRule(stop_sell=True),
    StayRule(min_stay_arrival=1, min_stay_through=1),
)


@dataclass(frozen=True)
class Chunk:
    """The numbers of CHUNK properties: per property a row; `ranges` are the packed records of its stays."""

    ranges: NDArray[np.void]
    preparation_days: NDArray[np.int64]
    persons: NDArray[np.int64]
    places: NDArray[np.float64]
    amenities: NDArray[np.bool_]
    choices: NDArray[np.int64]
    rate_minor: NDArray[np.int64]


class Population:
    """`size` properties with `rules` dated stay rules each and `rates` dated rates (0: no rates at all).

    Properties are numbered from 0; agency k has those from k * AGENCY_SIZE on. `first` is the first night of the
    window, that of today unless given.
    """

    def __init__(self, size: int, *, rules: int = 0, rates: int = 0, first: date | None = None) -> None:
        self.size = size
        self.first = first or datetime.now(UTC).date() - timedelta(days=2)
        self._rules, self._rates = rules, rates
        self._days = [self.first + timedelta(days=number) for number in range(WINDOW_NIGHTS + 40)]

    @staticmethod
    def property_id(number: int) -> UUID:
        """The id of a property: spread like random ones."""
        low, high = _mixed(2 * number), _mixed(2 * number + 1)
        return UUID(int=high << 64 | low)

    @staticmethod
    def agency_id(number: int) -> UUID:
        """The agency of a property's number."""
        return UUID(int=_mixed(2**40 + number // AGENCY_SIZE) << 64 | _mixed(2**41 + number // AGENCY_SIZE))

    def states(self, start: int = 0, end: int | None = None) -> Iterator[tuple[UUID, CalendarState]]:
        """The properties `[start, end)` as the domain has them, each with its id; made as they are asked for."""
        end = self.size if end is None else min(end, self.size)
        for begin in range(start - start % CHUNK, end, CHUNK):
            chunk = self._chunk(begin // CHUNK)
            for number in range(max(begin, start), min(begin + CHUNK, end)):
                yield self.property_id(number), self._state(number, chunk)

    def _chunk(self, index: int) -> Chunk:
        dice = np.random.default_rng([20_260, index])
        preparation = (dice.random(CHUNK) < 0.2).astype(np.int64)
        return Chunk(
            ranges=_ranges(dice, self.first, preparation),
            preparation_days=preparation,
            persons=dice.integers(1, 11, CHUNK),
            places=_places(dice, index),
            amenities=dice.random((CHUNK, len(AMENITIES))) < np.array(list(AMENITIES.values())),
            choices=dice.integers(0, 1_000, (CHUNK, 6)),
            rate_minor=dice.integers(40, 400, CHUNK) * 100,
        )

    def _state(self, number: int, chunk: Chunk) -> CalendarState:
        row = number % CHUNK
        choices = chunk.choices[row].tolist()
        return CalendarState(
            agency_id=self.agency_id(number),
            version=1 + STAYS,
            rules_version=1,
            profile=_profile(chunk, row, choices),
            rules=self._stay_rules(choices),
            pricing=self._pricing(int(chunk.rate_minor[row]), choices),
            ranges=PackedRanges(chunk.ranges[row].tobytes()),
        )

    def _stay_rules(self, choices: list[int]) -> StayRules:
        return StayRules(
            _DEFAULTS[choices[0] % len(_DEFAULTS)],
            _WEEKDAYS[choices[1] % len(_WEEKDAYS)],
            self._dated_rules(choices[2]),
        )

    def _dated_rules(self, turn: int) -> tuple[DatedStayRule, ...]:
        """Over the whole window, each a little shorter than its share of it."""
        if not self._rules:
            return ()
        share = WINDOW_NIGHTS // self._rules
        days = self._days
        spans = (
            (number * share + turn % share // 2, number * share + share - turn % 2) for number in range(self._rules)
        )
        return tuple(
            DatedStayRule(days[begin], days[end], _DATED[(number + turn) % len(_DATED)])
            for number, (begin, end) in enumerate(spans)
        )

    def _pricing(self, base_minor: int, choices: list[int]) -> Pricing:
        if not self._rates:
            return Pricing()
        share = WINDOW_NIGHTS // self._rates
        dated = tuple(
            DatedRate(
                self._days[number * share],
                self._days[(number + 1) * share],
                base_minor + 500 * ((number * 7 + choices[3]) % 40) + 100 * (number % 2),
            )
            for number in range(self._rates)
            if (number + choices[3]) % 4
        )
        weekdays = {4: base_minor * 12 // 10, 5: base_minor * 12 // 10} if choices[4] % 2 else {}
        return Pricing(Rates(base_minor, weekdays, dated), _FEES[choices[5] % len(_FEES)])


def made_elsewhere(size: int, rules: int, rates: int) -> Iterator[tuple[UUID, CalendarState]]:
    """The same as `Population.states`, made by another process."""
    argv = [sys.executable, "-m", "tests.bench.population", str(size), str(rules), str(rates)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=REPOSITORY) as maker:
        assert maker.stdout is not None
        for _ in range(0, size, CHUNK):
            yield from pickle.load(maker.stdout)


def _write(size: int, rules: int, rates: int) -> None:
    population = Population(size, rules=rules, rates=rates)
    for start in range(0, size, CHUNK):
        pickle.dump(list(population.states(start, start + CHUNK)), sys.stdout.buffer)


def _ranges(dice: np.random.Generator, first: date, preparation: NDArray[np.int64]) -> NDArray[np.void]:
    """Per property the records of its stays, sorted; one in ten is a block."""
    ranges = np.zeros((CHUNK, STAYS), RECORD)
    ranges["start"] = first.toordinal() - EPOCH + _starts(dice, preparation)
    ranges["nights"] = STAY_NIGHTS
    ranges["extra"] = preparation[:, None]
    ranges["kind"] = np.where(dice.random((CHUNK, STAYS)) < 0.1, NUMBERS["block"], NUMBERS["reservation"])
    return ranges


def _starts(dice: np.random.Generator, preparation: NDArray[np.int64]) -> NDArray[np.int64]:
    """Per property the first nights of its stays, sorted, so that no two `occupied` ranges meet.

    STAYS places are drawn among the free nights and the stays taken for one night each; every stay then pushes those
    behind it on by what it really takes.
    """
    taken = STAY_NIGHTS + preparation
    places = WINDOW_NIGHTS - STAYS * (taken - 1)
    drawn = dice.random((CHUNK, int(places.max())))
    drawn[np.arange(drawn.shape[1]) >= places[:, None]] = 2.0
    slots = np.sort(np.argpartition(drawn, STAYS - 1, axis=1)[:, :STAYS], axis=1)
    starts: NDArray[np.int64] = slots + np.arange(STAYS) * (taken - 1)[:, None]
    return starts


def _places(dice: np.random.Generator, index: int) -> NDArray[np.float64]:
    """Latitude and longitude in degrees: an agency's properties lie in three of the cities."""
    cities = np.random.default_rng(7).uniform((36.0, -9.0), (56.0, 25.0), (CITIES, 2))
    middles = cities[(index * 3 + dice.integers(0, 3, CHUNK)) % CITIES]
    return np.round(middles + dice.normal(0.0, CITY_KM / KM_PER_DEGREE, (CHUNK, 2)), 6)


def _profile(chunk: Chunk, row: int, choices: list[int]) -> Profile:
    conditions = SellingConditions(
        time_zone=ZONES[choices[0] % len(ZONES)],
        max_occupancy=int(chunk.persons[row]),
        lead_time_hours=(0, 0, 24)[choices[1] % 3],
        booking_window_days=(730, 730, 365)[choices[2] % 3],
        check_in_time=time(15),
        active=choices[3] >= 10,
    )
    return Profile(
        preparation_days=int(chunk.preparation_days[row]),
        conditions=conditions,
        currency="EUR",
        location=(float(chunk.places[row, 0]), float(chunk.places[row, 1])),
        amenities=frozenset(name for name, has in zip(AMENITIES, chunk.amenities[row].tolist(), strict=True) if has),
    )


def _mixed(number: int) -> int:
    """A number of 64 bits that looks random: splitmix64, one for each number."""
    mixed = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return mixed ^ mixed >> 31


if __name__ == "__main__":
    _write(*map(int, sys.argv[1:4]))
