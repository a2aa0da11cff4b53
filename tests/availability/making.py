"""Owns random properties for tests of availability's memory: every kind of range, terms and places."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from availability.domain.property_calendar import CalendarState, Pricing, Profile
from rules.calendar import StoredRange
from rules.quotes import DatedRate, Fees, Rates
from rules.stay_rules import DatedStayRule, SellingConditions, StayRule, StayRules
from tests.availability.packing import packed

TODAY = date(2031, 5, 1)
NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOW = 800


def stored(chance: random.Random, first: int, nights: int, extra: int) -> StoredRange:
    """A range of any kind from the night `TODAY + first` on."""
    kind = chance.choice(("reservation", "reservation", "block", "conflict", "hold"))
    start, end = TODAY + DAY * first, TODAY + DAY * (first + nights)
    is_expiring = kind == "hold" or chance.random() < 0.1
    expires_at = NOW + timedelta(seconds=chance.randrange(-900, 900)) if is_expiring else None
    return StoredRange(UUID(int=chance.getrandbits(128)), kind, UUID(int=chance.getrandbits(128)), start, end,
                       start, end + DAY * extra, expires_at)  # fmt: skip


def make_ranges(chance: random.Random, count: int) -> tuple[StoredRange, ...]:
    """Ranges that do not overlap; some begin before the window, some lie beyond it."""
    at, found = chance.randrange(-40, 0), []
    for _ in range(count):
        nights, extra = chance.randint(1, 9), chance.choice((0, 0, 1, 3))
        found.append(stored(chance, at, nights, extra))
        at += nights + extra + chance.choice((0, 0, 1, 2, 60))
    return tuple(found)


def make_state(chance: random.Random, agency_id: UUID, version: int) -> CalendarState:
    conditions = SellingConditions("Europe/Lisbon", chance.randint(1, 3), 0, 365, time(15), chance.random() < 0.9)
    location = (chance.uniform(-90, 90), chance.uniform(-180, 180)) if chance.random() < 0.7 else None
    amenities = frozenset(chance.sample(("pool", "wifi", "sauna"), chance.randint(0, 3)))
    dated = tuple(
        DatedStayRule(TODAY + DAY * at, TODAY + DAY * (at + 3), StayRule(min_stay_arrival=2)) for at in (1, 9)
    )
    rates = Rates(chance.choice((None, 9_000)), {}, (DatedRate(TODAY, TODAY + DAY * 90, 12_000),))
    return CalendarState(
        agency_id, version, max(1, version - 1), Profile(chance.randint(0, 2), conditions, "EUR", location, amenities),
        StayRules(StayRule(max_stay=20), {5: StayRule(min_stay_through=2)}, dated[: chance.randint(0, 2)]),
        Pricing(rates, Fees(cleaning_fee_minor=chance.choice((0, 500)))),
        packed(make_ranges(chance, chance.choice((0, 1, 5, 40)))), is_gone=chance.random() < 0.05,
    )  # fmt: skip
