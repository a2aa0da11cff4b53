"""Owns generated properties and stays for the test that availability and booking agree; every rule is met often.

Each property has stretches of dates with one rule each, in a random order, and other nights taken in every way there
is. Each theme draws stays that meet its rule; what really stands against a stay is for the services to say.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from deploy.local.journey_client import Agency, Reply
from tests.e2e.infra.running import TODAY

ZONES = ("UTC", "Europe/Lisbon", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata")
WINDOW_DAYS = 120
MAX_OCCUPANCY = 3
LEAD_TIME_HOURS = 24 * 8
FIRST_DAY, STRETCH_DAYS = 20, 6
"""Days from today on which the stretches begin, and how long each is."""
STRETCHES: Mapping[str, Mapping[str, Any]] = {
    "closed_to_arrival": {"closed_to_arrival": True},
    "closed_to_departure": {"closed_to_departure": True},
    "stop_sell": {"stop_sell": True},
    "min_stay_arrival": {"min_stay_arrival": 4},
    "min_stay_through": {"min_stay_through": 5},
    "max_stay": {"max_stay": 2},
    "no_rate": {},
    "free": {},
    "held": {},
    "taken": {},
}
ELSEWHERE = ("past", "lead_time", "booking_window", "max_occupancy", "inactive", "hold_not_active", "own_hold")
PLAIN, UNSOLD = "free", "inactive"
THEMES = (*(name for name in STRETCHES if name != "held"), *ELSEWHERE, *[PLAIN] * 11)
EXPIRING_S = 1


def day(offset: int) -> date:
    """A date counted from today."""
    return TODAY + timedelta(days=offset)


@dataclass(frozen=True)
class Case:
    """One stay to ask about; `hold_id` names a hold, live or not."""

    theme: str
    body: dict[str, Any]


@dataclass
class Place:
    """One generated property; `version` is the highest anybody answered."""

    agency: Agency
    id: str
    starts: dict[str, int]
    is_sold: bool
    version: int = 0
    held: list[tuple[str, int]] = field(default_factory=list)
    dead_holds: list[str] = field(default_factory=list)

    def heard(self, reply: Reply) -> Reply:
        """Note the version of an answer about this property."""
        body = reply.body
        if reply.status < 300 and body.get("property_id", body.get("id")) == self.id:
            self.version = max(self.version, body["inventory_version"])
        return reply


async def make_place(agency: Agency, chance: random.Random, *, is_sold: bool) -> Place:
    """A property with a rule of every kind, and nights taken by every kind of range."""
    order = list(STRETCHES)
    chance.shuffle(order)
    starts = {name: FIRST_DAY + STRETCH_DAYS * place for place, name in enumerate(order)}
    location = {"latitude": 38.0 + chance.random(), "longitude": -9.0 + chance.random()}
    profile = {
        "time_zone": chance.choice(ZONES),
        "max_occupancy": MAX_OCCUPANCY,
        "preparation_days": chance.choice((0, 0, 1, 2)),
        "lead_time_hours": LEAD_TIME_HOURS,
        "booking_window_days": WINDOW_DAYS,
        **({"location": location} if chance.random() < 0.8 else {}),
    }
    made = (await agency.create_property(**profile)).expect(201)
    place = Place(agency, made["id"], starts, is_sold, made["inventory_version"])
    await _set_terms(place, chance)
    await _take_nights(place, chance)
    if not is_sold:
        place.heard(await agency.request("PATCH", f"/properties/{place.id}", {"active": False}))
    return place


async def _set_terms(place: Place, chance: random.Random) -> None:
    dated = [
        {"start_date": str(day(start)), "end_date": str(day(start + STRETCH_DAYS)), **STRETCHES[name]}
        for name, start in place.starts.items()
        if STRETCHES[name]
    ]
    weekday = {str(chance.randrange(7)): {"max_stay": 9}} if chance.random() < 0.5 else {}
    rules = {"default": chance.choice(({}, {"max_stay": 12})), "weekday": weekday, "dated": dated}
    place.heard(await place.agency.request("PUT", f"/properties/{place.id}/stay-rules", rules)).expect(200)
    gap = place.starts["no_rate"]
    rates = {
        "dated": [
            {"start_date": str(day(0)), "end_date": str(day(gap)), "rate_minor": chance.randrange(5_000, 20_000)},
            {"start_date": str(day(gap + STRETCH_DAYS)), "end_date": str(day(400)), "rate_minor": 10_000},
        ],
        "cleaning_fee_minor": 3_000,
        "extra_guest_fee_minor": 500,
        "included_guests": 1,
        "length_of_stay_discounts": [{"min_nights": 3, "basis_points": 777}],
    }
    place.heard(await place.agency.request("PUT", f"/properties/{place.id}/rates", rates)).expect(200)


async def _take_nights(place: Place, chance: random.Random) -> None:
    """Some nights of the stretch `taken`, by a block, a stay or a hold each; some elsewhere; holds of the caller's."""
    agency, taken = place.agency, place.starts["taken"]
    place.heard(await agency.block(place.id, (day(taken), day(taken + 1))))
    place.heard(await agency.book(place.id, (day(taken + 3), day(taken + 4))))
    place.heard(await _hold(place, taken + 5, 1, 3600))
    for _ in range(3):
        first = FIRST_DAY + chance.randrange(STRETCH_DAYS * len(STRETCHES))
        place.heard(await agency.block(place.id, (day(first), day(first + 1))))
    held = place.heard(await _hold(place, place.starts["held"] + 2, 2, 3600))
    if held.status == 201:
        place.held.append((held.body["id"], place.starts["held"] + 2))
    over = place.heard(await _hold(place, place.starts[PLAIN], 1, EXPIRING_S))
    if over.status == 201:
        place.dead_holds.append(over.body["id"])


async def _hold(place: Place, first: int, nights: int, seconds: int) -> Reply:
    stay = {"check_in": str(day(first)), "check_out": str(day(first + nights))}
    return await place.agency.request("POST", "/holds", {"property_id": place.id, **stay, "expires_in_s": seconds})


def draw(place: Place, theme: str, chance: random.Random) -> Case:
    """A stay that is likely to meet the rule of a theme."""
    nights, adults, hold_id = chance.randint(1, 3), chance.randint(1, MAX_OCCUPANCY), None
    if theme == PLAIN:
        first = place.starts[PLAIN] + chance.randrange(STRETCH_DAYS - nights)
    elif theme in place.starts:
        first = place.starts[theme] + chance.randrange(STRETCH_DAYS)
        first -= nights if theme == "closed_to_departure" else 0
        nights = chance.randint(3, 5) if theme == "max_stay" else nights
    else:
        first = place.starts[PLAIN]
    match theme:
        case "past":
            first = -chance.randint(2, 9)
        case "lead_time":
            first = chance.randint(2, 5)
        case "booking_window":
            first = WINDOW_DAYS + chance.randint(2, 30)
        case "max_occupancy":
            adults = MAX_OCCUPANCY + chance.randint(1, 4)
        case "own_hold" if place.held:
            hold_id, first = place.held[-1]
        case "hold_not_active" if place.dead_holds:
            hold_id = chance.choice(place.dead_holds)
    body: dict[str, Any] = {
        "property_id": place.id,
        "check_in": str(day(first)),
        "check_out": str(day(first + nights)),
        "occupancy": {"adults": adults},
    }
    return Case(theme, body | ({"hold_id": hold_id} if hold_id else {}))
