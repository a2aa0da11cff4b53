"""Owns agencies of generated properties, and the slow way to search them: each stay checked and priced by itself."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from math import acos, cos, radians, sin
from uuid import UUID

from availability.domain.geography import Box, Place
from availability.domain.property_calendar import CalendarState, Pricing, Profile
from availability.domain.search.search import Search, Sort
from availability.domain.store.property_store import PropertyStore
from rules.calendar import StoredRange
from rules.checks import check
from rules.dated import put_over
from rules.quotes import DatedRate, Fees, LengthOfStayDiscount, Rates, quote
from rules.stay_rules import DatedStayRule, SellingConditions, StayRule, StayRules, TimeZoneUnknown
from tests.availability.packing import packed

DAY = timedelta(days=1)
TODAY = date(2031, 3, 25)  # Europe's clocks change five days on
NOW = datetime(2031, 3, 25, 10, 30, tzinfo=UTC)
OWN, OTHER = UUID(int=7), UUID(int=8)
AMENITIES = ("wifi", "pool", "sauna", "dogs")
ZONES = ("UTC", "Europe/Lisbon", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu")
NOWHERE = "Mars/Olympus"
BOXES = (Box(37.5, -9.5, 39.5, -8.2), Box(-80, 179, 80, -179), Box(-90, -180, 90, 180))
STRETCH = 40
"""Days from today on which everything generated happens."""


@dataclass
class GeneratedPlace:
    """One generated property."""

    id: UUID
    state: CalendarState
    is_parked: bool = False


@dataclass
class Generated:
    """A store and what was put into it; `codes` counts what stood against stays."""

    store: PropertyStore
    places: list[GeneratedPlace]
    codes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Fixed:
    """Terms that hold for all properties in place of generated ones."""

    rates: Rates | None = None
    fees: Fees | None = None
    rules: StayRules | None = None


def generated(chance: random.Random, count: int, fixed: Fixed = Fixed()) -> Generated:
    """An agency's properties among those of another, some of them parked or gone."""
    store, places = PropertyStore(TODAY - DAY * 2), []
    for number in range(count):
        agency_id = OWN if chance.random() < 0.8 else OTHER
        # Some ids differ in one half only, so that both must be compared.
        property_id = UUID(int=chance.getrandbits(128) if chance.random() < 0.7 else chance.choice((2, 2**70)) * number)
        place = GeneratedPlace(property_id, _state(chance, agency_id, fixed), chance.random() < 0.03)
        row = store.put(place.id, number % 6, place.state)
        store.park(row, is_parked=place.is_parked)
        places.append(place)
    for place in places[::10]:  # rows are used again
        store.remove(place.id)
        store.put(place.id, 0, place.state)
        place.is_parked = False
    return Generated(store, places)


def _state(chance: random.Random, agency_id: UUID, fixed: Fixed) -> CalendarState:
    conditions = SellingConditions(
        chance.choice(ZONES) if chance.random() < 0.98 else NOWHERE,
        chance.choice((1, 2, 3, 4, 6)),
        chance.choice((0, 0, 0, 5, 24, 72)),
        chance.choice((8, 20, 730, 730, 730)),
        time(chance.choice((0, 12, 15, 23)), chance.choice((0, 30))),
        chance.random() < 0.95,
    )
    location = (chance.uniform(37, 40), chance.uniform(-10, -8)) if chance.random() < 0.8 else None
    if location and chance.random() < 0.2:
        location = (chance.uniform(-85, 85), chance.choice((-1, 1)) * chance.uniform(178, 180))
    amenities = frozenset(chance.sample(AMENITIES, chance.randint(0, 4)))
    days = chance.choice((0, 0, 1, 2, 5))
    return CalendarState(
        agency_id, chance.randint(1, 90), 1,
        Profile(days, conditions, chance.choice(("EUR", "EUR", "EUR", "USD", "JPY")), location, amenities),
        fixed.rules or _rules(chance), Pricing(fixed.rates or _rates(chance), fixed.fees or _fees(chance)),
        packed(_ranges(chance)), is_gone=chance.random() < 0.03,
    )  # fmt: skip


def _rule(chance: random.Random) -> StayRule:
    flag = (None, None, None, None, None, False, True)
    return StayRule(
        chance.choice((None, None, 1, 2, 4)), chance.choice((None, None, None, 2, 3)),
        chance.choice((None, None, None, 2, 5)), chance.choice(flag), chance.choice(flag), chance.choice(flag),
    )  # fmt: skip


def _rules(chance: random.Random) -> StayRules:
    dated: tuple[DatedStayRule, ...] = ()
    for _ in range(chance.choice((0, 1, 3, 9))):
        start = TODAY + DAY * chance.randint(-3, STRETCH)
        dated = put_over(dated, start, start + DAY * chance.randint(1, 9), _rule(chance), DatedStayRule)
    weekday = {day: _rule(chance) for day in range(7) if chance.random() < 0.1}
    return StayRules(_rule(chance) if chance.random() < 0.2 else StayRule(), weekday, dated)


def _rates(chance: random.Random) -> Rates:
    if chance.random() < 0.15:
        return Rates()
    dated: tuple[DatedRate, ...] = ()
    for _ in range(chance.choice((0, 1, 4, 12))):
        start = TODAY + DAY * chance.randint(-3, STRETCH)
        rate = chance.choice((0, 5_000, 9_999, chance.randrange(20_000)))
        dated = put_over(dated, start, start + DAY * chance.randint(1, 12), rate, DatedRate)
    weekday = {day: chance.choice((7_000, 8_001)) for day in range(7) if chance.random() < 0.2}
    return Rates(chance.choice((None, 6_000, 10_000)), weekday, dated)


def _fees(chance: random.Random) -> Fees:
    tiers = [LengthOfStayDiscount(chance.randint(1, 5), chance.choice((333, 1_000, 10_000))) for _ in range(2)]
    included = chance.choice((None, 1, 2))
    return Fees(chance.choice((0, 2_500)), chance.choice((0, 999)), included, tuple(tiers[: chance.randint(0, 2)]))


def _ranges(chance: random.Random) -> list[StoredRange]:
    at, found = chance.randint(-6, 12), []
    while at < STRETCH:
        nights, extra = chance.randint(1, 6), chance.choice((0, 0, 1, 2))
        kind, expires_at = chance.choice(("reservation", "block", "hold", "conflict")), None
        if kind == "hold" or chance.random() < 0.1:
            expires_at = NOW + timedelta(seconds=chance.choice((-900, -1, 0, 1, 900)))
        start, end = TODAY + DAY * at, TODAY + DAY * (at + nights)
        ids = UUID(int=chance.getrandbits(128)), UUID(int=chance.getrandbits(128))
        found.append(StoredRange(ids[0], kind, ids[1], start, end, start, end + DAY * extra, expires_at))
        at += nights + extra + chance.randint(0, 14)
    return found


Told = tuple[UUID, date, int | None, str, int | None, int]


def slowly(made: Generated, search: Search) -> list[Told]:
    """Every offer in order: property, check-in, total, currency, metres, version."""
    found = []
    for place in made.places:
        profile = place.state.profile
        if place.is_parked or place.state.is_gone or place.state.agency_id != OWN or not _is_wanted(profile, search):
            continue
        stays = _stays(made, place.state, search)
        if stays:
            total, check_in = min(stays, key=lambda one: (one[0] or 0, one[1]))
            metres = None
            if search.place is not None and profile.location is not None:
                metres = round(_away_km(search.place, profile.location) * 1000)
            found.append((place.id, check_in, total, profile.currency, metres, place.state.version))
    return sorted(found, key=lambda one: _key(one, search.sort))


def _key(told: Told, sort: Sort) -> tuple[object, ...]:
    property_id, _, total, currency, metres, _ = told
    if sort == Sort.DISTANCE:
        return (metres is None, metres or 0, property_id.int)
    return (total is None, currency, total or 0, property_id.int)


def _stays(made: Generated, state: CalendarState, search: Search) -> list[tuple[int | None, date]]:
    """Total and check-in of every stay that may be booked and is within the bounds."""
    found: list[tuple[int | None, date]] = []
    for ahead in range((search.last - search.first).days + 1):
        stay = search.stay(search.first + DAY * ahead)
        try:
            against = check(state.sellable, stay, NOW)
        except TimeZoneUnknown:
            return []
        made.codes.update({violation.code for violation in against} or {"bookable"})
        if against:
            continue
        price = quote(state.terms, stay)
        if price is None and not search.has_bounds:
            found.append((None, stay.check_in))
        elif price is not None:
            is_within = (search.least_minor or 0) <= price.total_minor <= (search.most_minor or 10**15)
            found += [(price.total_minor, stay.check_in)] if is_within else []
    return found


def _is_wanted(profile: Profile, search: Search) -> bool:
    if not search.amenities <= profile.amenities or search.currency not in (None, profile.currency):
        return False
    if search.box is not None and not (profile.location and _is_inside(search.box, profile.location)):
        return False
    if search.place is not None and search.radius_km is not None:
        return profile.location is not None and _away_km(search.place, profile.location) <= search.radius_km
    return True


def _is_inside(box: Box, place: Place) -> bool:
    width = box.east - box.west if box.west <= box.east else box.east - box.west + 360
    return box.south <= place[0] <= box.north and (place[1] - box.west) % 360 <= width


def _away_km(here: Place, there: Place) -> float:
    """By the spherical law of cosines, which is not how the suite does it."""
    one, other, between = radians(here[0]), radians(there[0]), radians(there[1] - here[1])
    return 6371.0 * acos(max(-1.0, min(1.0, sin(one) * sin(other) + cos(one) * cos(other) * cos(between))))


def drawn(chance: random.Random) -> Search:
    """A search that finds something, mostly."""
    first = TODAY + DAY * chance.randint(-2, 24)
    last = first + DAY * chance.choice((0, 0, 0, 1, 3, 12))
    place = (38.7, -9.1) if chance.random() < 0.5 else None
    if place and chance.random() < 0.2:
        place = (chance.uniform(-80, 80), 179.5)
    currency = chance.choice(("EUR", "EUR", "USD", "CHF")) if chance.random() < 0.3 else None
    least = chance.choice((None, 9_000, 20_000)) if currency else None
    box = chance.choice((None, None, None, *BOXES))
    return Search(
        first, last, chance.choice((1, 1, 2, 3, 4, 7)), chance.choice((1, 2, 2, 3, 5)), place,
        chance.choice((None, 30.0, 120.0, 9_000.0)) if place else None, box,
        frozenset(chance.sample(AMENITIES, chance.choice((0, 0, 0, 1, 2)))), currency, least,
        chance.choice((None, (least or 9_000) + 12_000)) if currency else None,
        Sort.DISTANCE if place and chance.random() < 0.5 else Sort.PRICE, chance.choice((1, 7, 20, 50)),
    )  # fmt: skip
