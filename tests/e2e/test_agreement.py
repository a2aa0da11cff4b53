"""Proves that a check says what a booking then meets: 1,000 generated stays, each checked and booked for real."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import pytest

from deploy.local.journey_client import Agency, Reply
from tests.e2e.infra.agreement_cases import EXPIRING_S, THEMES, UNSOLD, Case, Place, draw, make_place
from tests.e2e.infra.running import Running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

AGENCIES, PLACES, CASES = 5, 5, 40
OVERLAP, HOLD_OVER = "inventory_overlap", "hold_not_active"
CODES = (
    "inactive", "max_occupancy", "past", "lead_time", "booking_window", "closed_to_arrival", "closed_to_departure",
    "min_stay_arrival", "min_stay_through", "max_stay", "stop_sell", "no_rate", OVERLAP, HOLD_OVER,
)  # fmt: skip


@dataclass
class Coverage:
    """What was met: violations by code, checks that said yes and no, alternatives that were booked, disagreements."""

    codes: Counter[str] = field(default_factory=Counter)
    bookable: int = 0
    refused: int = 0
    alternatives: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    disagreements: list[Any] = field(default_factory=list)


async def test_a_check_says_exactly_what_a_booking_meets_and_every_alternative_can_be_booked(running: Running) -> None:
    seen = Coverage()
    await asyncio.gather(*(_one_agency(running, seed, seen) for seed in range(AGENCIES)))
    print(f"\nchecks: {seen.bookable} bookable, {seen.refused} not; violations {dict(seen.codes)}")
    print(f"alternatives booked: {dict(seen.alternatives)}; answered from {dict(seen.sources)}")
    assert seen.disagreements == []
    assert seen.bookable + seen.refused == AGENCIES * PLACES * CASES
    assert 0.3 <= seen.bookable / (seen.bookable + seen.refused) <= 0.7
    assert {code for code in CODES if seen.codes[code] < 30} == set()
    assert set(seen.codes) == set(CODES)
    assert min(seen.alternatives["dates"], seen.alternatives["property"]) >= 100
    assert seen.sources["cache"] > seen.sources["ledger"]


async def _one_agency(running: Running, seed: int, seen: Coverage) -> None:
    chance = random.Random(seed)
    async with running.agency() as agency:
        # One agency has a property that is not sold.
        places = [await make_place(agency, chance, is_sold=number + seed > 0) for number in range(PLACES)]
        by_id = {place.id: place for place in places}
        await asyncio.sleep(EXPIRING_S + 0.5)  # a hold must not run out between a check and its booking
        themes = cycle(theme for theme in THEMES if theme != UNSOLD)
        for number in range(PLACES * CASES):
            place = places[number % PLACES]
            case = draw(place, next(themes) if place.is_sold else UNSOLD, chance)
            await _compare(by_id, place, case, seen)


async def _compare(by_id: Mapping[str, Place], place: Place, case: Case, seen: Coverage) -> None:
    question = {**case.body, "min_version": place.version}
    checked = (await place.agency.request("POST", "/availability/check", question)).expect(200)
    booked = place.heard(await _book(place.agency, case.body))
    seen.codes.update({violation["code"] for violation in checked["violations"]})
    seen.sources[checked["source"]] += 1
    seen.bookable += checked["bookable"]
    seen.refused += not checked["bookable"]
    if _told(checked) != _met(booked, checked):
        seen.disagreements.append((case, checked, booked.status, booked.body))
    if booked.status == 201:
        await _give_back(place, booked.body["id"])
        if "hold_id" in case.body:  # it was consumed, and is a hold that is over from now on
            place.held.clear()
            place.dead_holds.append(case.body["hold_id"])
    for offer in checked["alternatives"]:
        await _take_alternative(by_id, place, case, offer, seen)


def _told(checked: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the check says a booking will meet: status, code, violations, price."""
    codes = {violation["code"] for violation in checked["violations"]}
    rules = [found for found in checked["violations"] if found["code"] not in (OVERLAP, HOLD_OVER)]
    if HOLD_OVER in codes:
        return (409, HOLD_OVER, [], None)
    if rules:
        return (422, "stay_rules_violated", rules, None)
    if OVERLAP in codes:
        return (409, OVERLAP, [], None)
    return (201, None, [], checked.get("total_amount_minor"))


def _met(booked: Reply, checked: Mapping[str, Any]) -> tuple[Any, ...]:
    body = booked.body
    assert body.get("inventory_version", checked["inventory_version"] + 1) > checked["inventory_version"]
    return (booked.status, body.get("code"), body.get("violations", []), body.get("total_amount_minor"))


async def _take_alternative(
    by_id: Mapping[str, Place], place: Place, case: Case, offer: Mapping[str, Any], seen: Coverage
) -> None:
    """Book an alternative as it was offered, and give it back."""
    is_here = offer["property_id"] == place.id
    other = by_id[offer["property_id"]]
    wanted = {**case.body, **{name: offer[name] for name in ("property_id", "check_in", "check_out")}}
    if not is_here or _is_hold_over(case, place):
        wanted.pop("hold_id", None)
    booked = other.heard(await _book(place.agency, wanted))
    if booked.status != 201 or booked.body.get("total_amount_minor") != offer.get("total_amount_minor"):
        seen.disagreements.append(("alternative", case, offer, booked.status, booked.body))
        return
    seen.alternatives["dates" if is_here else "property"] += 1
    await _give_back(other, booked.body["id"])
    if "hold_id" in wanted:
        place.held.clear()
        place.dead_holds.append(wanted["hold_id"])


def _is_hold_over(case: Case, place: Place) -> bool:
    return case.body.get("hold_id") in place.dead_holds


async def _book(agency: Agency, body: Mapping[str, Any]) -> Reply:
    guest = {"name": "Ada Example", "email": f"{uuid.uuid4().hex}@example.org"}
    return await agency.request("POST", "/bookings", {**body, "guest": guest})


async def _give_back(place: Place, booking_id: str) -> None:
    place.heard(await place.agency.cancel(booking_id)).expect(200)


def test_every_code_a_stay_can_be_refused_with_is_generated() -> None:
    themes: Sequence[str] = [theme for theme in THEMES if theme not in ("free", "taken", "own_hold")]
    assert set(themes) | {OVERLAP} == set(CODES)
