"""Proves on a real Kafka what calendars and checks say: every reason, alternatives, freshness, and what is refused."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.availability_http_v1 import CalendarAnswer, StayChecked
from contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from contracts.values import DatedRate, DatedStayRule, Rates, StayRule, StayRules
from deploy.local.journey_client import Reply
from tests.availability.booking_topics import BookingTopics, PropertyInMaking, day, taken
from tests.availability.conftest import Replica, agency_token

pytestmark = pytest.mark.stack

SOME_ID, OTHER_ID = UUID(int=7), UUID(int=8)
LISBON, CASCAIS, PORTO = (38.72, -9.14), (38.70, -9.42), (41.15, -8.61)


async def known(topics: BookingTopics, replica: Replica, **fields: Any) -> PropertyInMaking:
    """A property the replica has heard of, whose nights 2 and 3 are blocked."""
    place = PropertyInMaking(**fields)
    await topics.write(place, place.created(), place.block(2, 4))
    await replica.from_cache(place)
    return place


def at(place: tuple[float, float]) -> dict[str, Any]:
    return {"location": {"latitude": place[0], "longitude": place[1]}}


async def ask(
    replica: Replica, agency_id: UUID, method: str, path: str, body: Mapping[str, Any] | None = None
) -> Reply:
    headers = {"Authorization": f"Bearer {agency_token(agency_id)}"}
    return await replica.nobody.request(method, path, body, headers=headers)


async def calendar(replica: Replica, *places: PropertyInMaking, first: int = 0, last: int = 6, more: str = "") -> Reply:
    ids = "&".join(f"property_id={place.id}" for place in places)
    window = f"from_date={day(first)}&to_date={day(last)}"
    return await ask(replica, places[0].agency_id, "GET", f"/availability/calendar?{ids}&{window}{more}")


async def check(replica: Replica, place: PropertyInMaking, first: int, last: int, **more: Any) -> Reply:
    stay = {"check_in": str(day(first)), "check_out": str(day(last)), "occupancy": {"adults": 2}}
    body = {"property_id": str(place.id), **stay, **more}
    return await ask(replica, place.agency_id, "POST", "/availability/check", body)


def starts(checked: StayChecked, place: PropertyInMaking) -> list[int]:
    """The first nights of the alternatives at a property."""
    return [(other.check_in - day(0)).days for other in checked.alternatives if other.property_id == place.id]


async def test_a_calendar_says_of_each_date_what_may_happen_and_why_not(
    topics: BookingTopics, replica: Replica
) -> None:
    rules = StayRules(
        default=StayRule(min_stay_arrival=2),
        dated=[DatedStayRule(start_date=day(4), end_date=day(5), closed_to_departure=True)],
    )
    rates = Rates(dated=[DatedRate(start_date=day(0), end_date=day(5), rate_minor=9_900)])
    place = await known(topics, replica, stay_rules=rules, rates=rates)
    answer = CalendarAnswer.model_validate((await calendar(replica, place)).expect(200))
    (found,) = answer.items
    days = {(status.date - day(0)).days: status for status in found.days}
    assert {number: status.reasons for number, status in days.items()} == {
        0: [],
        1: ["min_stay"],
        2: ["block"],
        3: ["block"],
        4: ["min_stay", "closed_to_departure"],
        5: ["no_rate"],
    }
    assert [days[number].status for number in range(6)] == ["open", "open", "closed", "closed", "open", "closed"]
    assert [days[number].can_arrive for number in range(6)] == [True, False, False, False, False, False]
    assert [days[number].rate_minor for number in (4, 5)] == [9_900, None]
    assert (found.inventory_version, found.source, found.currency) == (2, "cache", "EUR")


async def test_a_calendar_of_several_carries_the_oldest_age_and_a_version_each(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()
    places = [await known(topics, replica, agency_id=agency_id) for _ in range(4)]
    await topics.write(places[1], places[1].block(5, 6))
    wanted = f"&min_version={places[1].id}:{places[1].version}"
    answer = CalendarAnswer.model_validate((await calendar(replica, *places, more=wanted)).expect(200))
    assert [item.property_id for item in answer.items] == [place.id for place in places]
    assert [item.inventory_version for item in answer.items] == [2, 3, 2, 2]
    assert answer.as_of == min(item.as_of for item in answer.items)
    assert answer.lag_ms == max(item.lag_ms for item in answer.items)


async def test_a_calendar_with_a_property_of_another_agency_is_404(topics: BookingTopics, replica: Replica) -> None:
    own, foreign = await known(topics, replica), await known(topics, replica)
    refused = (await calendar(replica, own, foreign)).expect(404)
    missing = (await calendar(replica, own, PropertyInMaking())).expect(503)  # booking is away and could know it
    assert (refused["code"], missing["code"]) == ("not_found", "unavailable")
    assert str(foreign.id) not in str(refused)


async def test_a_free_stay_is_bookable_at_its_price(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica, rates=Rates(default_minor=10_000, cleaning_fee_minor=2_500))
    found = StayChecked.model_validate((await check(replica, place, 4, 7)).expect(200))
    assert (found.bookable, found.violations, found.alternatives) == (True, [], [])
    assert (found.total_amount_minor, found.currency, found.inventory_version) == (32_500, "EUR", 2)


async def test_a_taken_night_and_every_broken_rule_are_told_together(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica, stay_rules=StayRules(default=StayRule(min_stay_arrival=3)))
    found = StayChecked.model_validate((await check(replica, place, 1, 3, occupancy={"adults": 9})).expect(200))
    assert [(violation.code, (violation.date - day(0)).days) for violation in found.violations] == [
        ("max_occupancy", 1),
        ("min_stay_arrival", 1),
        ("inventory_overlap", 2),
    ]
    assert not found.bookable


async def test_the_nearest_dates_before_and_after_are_offered(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica)  # nights 2 and 3 are blocked
    found = StayChecked.model_validate((await check(replica, place, 2, 4)).expect(200))
    assert starts(found, place) == [0, -1, 4, 5]
    assert all((other.check_out - other.check_in).days == 2 for other in found.alternatives)


async def test_similar_properties_are_offered_nearest_first_and_of_equally_near_ones_the_nearest_price(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()

    async def add(where: tuple[float, float] | None, rate: int, **more: Any) -> PropertyInMaking:
        rates = Rates(default_minor=rate)
        located = at(where) if where else {}
        place = PropertyInMaking(agency_id=agency_id, rates=rates, more={**located, **more})
        await topics.write(place, place.created())
        await replica.from_cache(place)
        return place

    asked = await add(LISBON, 10_000)
    await topics.write(asked, asked.block(2, 4))
    await replica.from_cache(asked)
    dear, cheap = await add(CASCAIS, 15_000), await add(CASCAIS, 9_000)
    far, small = await add(PORTO, 10_000), await add(LISBON, 10_000, max_occupancy=1)
    closed, somewhere = await add(LISBON, 10_000, active=False), await add(None, 10_000)
    found = StayChecked.model_validate((await check(replica, asked, 2, 4)).expect(200))
    elsewhere = [other for other in found.alternatives if other.property_id != asked.id]
    assert [other.property_id for other in elsewhere] == [cheap.id, dear.id, far.id]
    assert not {small.id, closed.id, somewhere.id} & {other.property_id for other in elsewhere}
    assert [other.total_amount_minor for other in elsewhere] == [18_000, 30_000, 20_000]
    assert [round(other.distance_km or 0) for other in elsewhere] == [24, 24, 274]


async def test_the_callers_own_hold_is_no_obstacle_and_works_for_other_dates(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    hold = taken(5, 7, expires_at=(await replica_clock(replica, place)))
    await topics.write(place, place.take(hold))
    await replica.from_cache(place)
    refused = StayChecked.model_validate((await check(replica, place, 5, 7)).expect(200))
    assert [violation.actual for violation in refused.violations] == ["hold"]
    own = str(hold.source_id)
    allowed = StayChecked.model_validate((await check(replica, place, 5, 7, hold_id=own)).expect(200))
    assert allowed.bookable
    moved = StayChecked.model_validate((await check(replica, place, 3, 5, hold_id=own)).expect(200))
    assert 4 in starts(moved, place), "the held nights 5 and 6 are the caller's"
    strange = StayChecked.model_validate((await check(replica, place, 5, 7, hold_id=str(uuid.uuid4()))).expect(200))
    assert [violation.code for violation in strange.violations] == ["hold_not_active", "inventory_overlap"]


async def replica_clock(replica: Replica, place: PropertyInMaking) -> datetime:
    """An instant an hour after the replica's notion of now."""
    return datetime.fromisoformat((await replica.from_cache(place))["as_of"]) + timedelta(hours=1)


async def test_new_terms_count_from_their_version_on(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica, rates=Rates(default_minor=10_000))
    await topics.write(place, place.changed(rates=Rates(default_minor=20_000)))
    await topics.write(place, place.changed(stay_rules=StayRules(default=StayRule(stop_sell=True))))
    found = StayChecked.model_validate((await check(replica, place, 4, 5, min_version=place.version)).expect(200))
    assert (found.inventory_version, found.total_amount_minor) == (place.version, 20_000)
    assert [violation.code for violation in found.violations] == ["stop_sell"]


async def test_another_agencys_property_is_404_for_a_check(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica)
    stranger = PropertyInMaking(id=place.id)
    assert (await check(replica, stranger, 4, 5)).expect(404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from_date=2031-05-01&to_date=2031-05-08", "property_id"),
        ("property_id=casa&from_date=2031-05-01&to_date=2031-05-08", "property_id.0"),
        ("&".join([f"property_id={UUID(int=number)}" for number in range(1000)])
         + "&from_date=2031-05-01&to_date=2031-05-08", "property_id"),
        (f"property_id={SOME_ID}&from_date=2031-05-08&to_date=2031-05-01", "to_date"),
        (f"property_id={SOME_ID}&from_date=2031-05-08&to_date=2031-05-08", "to_date"),
        (f"property_id={SOME_ID}&from_date=2031-05-08&to_date=2032-05-08", "to_date"),
        (f"property_id={SOME_ID}&from_date=NaN&to_date=2032-05-08", "from_date"),
        (f"property_id={SOME_ID}&to_date=2032-05-08", "from_date"),
        (f"property_id={SOME_ID}&from_date=2031-05-01&to_date=2031-05-08&min_version=7", "min_version"),
        (f"property_id={SOME_ID}&from_date=2031-05-01&to_date=2031-05-08&min_version={OTHER_ID}:7",
         "min_version"),
        (f"property_id={SOME_ID}&from_date=2031-05-01&to_date=2031-05-08&min_version={OTHER_ID}:x",
         "min_version"),
    ],
)  # fmt: skip
async def test_a_malformed_calendar_question_is_422_naming_the_parameter(
    replica: Replica, query: str, field: str
) -> None:
    reply = await ask(replica, uuid.uuid4(), "GET", f"/availability/calendar?{query}")
    problem = Problem.model_validate(reply.expect(422))
    assert reply.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert problem.errors is not None
    assert {error.field for error in problem.errors} == {f"query.{field}"}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"property_id": "casa"}, "body.property_id"),
        ({"check_in": None}, "body.check_in"),
        ({"check_in": "2031-02-30"}, "body.check_in"),
        ({"check_in": 1935360000}, "body.check_in"),
        ({"check_out": "2031-05-01"}, "body"),
        ({"check_out": "2034-05-01"}, "body"),
        ({"check_in": "1999-12-31"}, "body.check_in"),
        ({"occupancy": {"adults": 0}}, "body.occupancy.adults"),
        ({"occupancy": {}}, "body.occupancy.adults"),
        ({"hold_id": "mine"}, "body.hold_id"),
        ({"min_version": -1}, "body.min_version"),
        ({"min_version": "7"}, "body.min_version"),
        ({"guest": {"name": "Ada"}}, "body.guest"),
    ],
)
async def test_a_malformed_check_is_422_naming_the_field(replica: Replica, changed: dict[str, Any], field: str) -> None:
    good = {"property_id": str(uuid.uuid4()), "check_in": str(date(2031, 5, 1)), "check_out": str(date(2031, 5, 3))}
    body = {**good, "occupancy": {"adults": 2}, **changed}
    reply = await ask(replica, uuid.uuid4(), "POST", "/availability/check", body)
    problem = Problem.model_validate(reply.expect(422))
    assert reply.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert problem.errors is not None
    assert {error.field for error in problem.errors} == {field}
