"""Proves on a real Kafka what a search offers: priced, in order, page by page, as fresh as asked, all vouched for."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from contracts.availability_http_v1 import SearchAnswer, SearchOffer
from contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from contracts.values import DatedRate, Rates, StayRule, StayRules
from deploy.local.journey_client import NotYet, Reply, until
from tests.availability.booking_topics import DAY, BookingTopics, PropertyInMaking, day, taken
from tests.availability.conftest import Replica, agency_token

pytestmark = pytest.mark.stack

LISBON, CASCAIS, PORTO = (38.72, -9.14), (38.70, -9.42), (41.15, -8.61)
STAY = {"check_in": str(day(4)), "check_out": str(day(7)), "adults": "2"}


async def ask(replica: Replica, agency_id: UUID, *pairs: tuple[str, str], **params: str | None) -> Reply:
    """A search; `pairs` are parameters that are given several times, None takes a parameter of the good stay away."""
    given = [(name, value) for name, value in {**STAY, **params}.items() if value is not None]
    headers = {"Authorization": f"Bearer {agency_token(agency_id)}"}
    return await replica.nobody.request("GET", "/availability/search", params=[*given, *pairs], headers=headers)


async def found(replica: Replica, agency_id: UUID, *pairs: tuple[str, str], **params: str | None) -> SearchAnswer:
    return SearchAnswer.model_validate((await ask(replica, agency_id, *pairs, **params)).expect(200))


def offered(answer: SearchAnswer) -> list[UUID]:
    return [offer.property_id for offer in answer.items]


async def add(
    topics: BookingTopics, replica: Replica, agency_id: UUID, rate: int | None, **more: Any
) -> PropertyInMaking:
    """A property the replica has heard of, at one rate a night or unpriced."""
    rules = more.pop("stay_rules", StayRules())
    place = PropertyInMaking(agency_id=agency_id, rates=Rates(default_minor=rate), stay_rules=rules, more=more)
    await topics.write(place, place.created())
    await replica.from_cache(place)
    return place


def at(place: tuple[float, float]) -> dict[str, float]:
    return {"latitude": place[0], "longitude": place[1]}


async def refused(reply: Reply, field: str) -> None:
    problem = Problem.model_validate(reply.expect(422))
    assert reply.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    assert [error.field for error in problem.errors or []] == [f"query.{field}"]
    assert problem.detail.startswith(f"query.{field}: ")


async def test_what_may_be_booked_is_offered_cheapest_first_and_unpriced_last(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()
    dear, unpriced = await add(topics, replica, agency_id, 20_000), await add(topics, replica, agency_id, None)
    cheap = await add(topics, replica, agency_id, 9_000)
    await add(topics, replica, agency_id, 1_000, max_occupancy=1)
    await add(topics, replica, agency_id, 1_000, active=False)
    await add(topics, replica, agency_id, 1_000, stay_rules=StayRules(default=StayRule(min_stay_arrival=4)))
    blocked = await add(topics, replica, agency_id, 1_000)
    await topics.write(blocked, blocked.block(6, 7))
    await replica.from_cache(blocked)
    await add(topics, replica, uuid.uuid4(), 1_000)  # somebody else's
    answer = await found(replica, agency_id)
    assert offered(answer) == [cheap.id, dear.id, unpriced.id]
    assert [offer.total_amount_minor for offer in answer.items] == [27_000, 60_000, None]
    assert answer.items[0] == SearchOffer(
        property_id=cheap.id, check_in=day(4), check_out=day(7), total_amount_minor=27_000, currency="EUR",
        inventory_version=1,
    )  # fmt: skip
    assert (answer.unknown, answer.source, answer.next_cursor) == (0, "cache", None)
    assert answer.lag_ms < 5_000


async def test_a_window_offers_each_property_once_with_its_cheapest_then_earliest_stay(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()
    place = await add(topics, replica, agency_id, 9_000)
    dated = [DatedRate(start_date=day(6), end_date=day(9), rate_minor=5_000)]
    await topics.write(place, place.changed(rates=Rates(default_minor=9_000, dated=dated)))
    flat = await add(topics, replica, agency_id, 8_000)
    await topics.write(flat, flat.block(2, 4))
    await replica.from_cache(flat)
    window = {"check_in": None, "check_out": None, "nights": "2", "from_date": str(day(2)), "to_date": str(day(11))}
    answer = await found(replica, agency_id, **window)
    assert [(offer.property_id, offer.check_in, offer.total_amount_minor) for offer in answer.items] == [
        (place.id, day(6), 10_000),
        (flat.id, day(4), 16_000),
    ]
    assert [offer.check_out - offer.check_in for offer in answer.items] == [timedelta(days=2)] * 2
    above = await found(replica, agency_id, **window, min_total_minor="14000", max_total_minor="17000")
    assert [(offer.property_id, offer.check_in, offer.total_amount_minor) for offer in above.items] == [
        (place.id, day(5), 14_000),
        (flat.id, day(4), 16_000),
    ]
    assert offered(await found(replica, agency_id, **{**window, "to_date": str(day(4))})) == [place.id]


async def test_places_amenities_and_distances(topics: BookingTopics, replica: Replica) -> None:
    agency_id = uuid.uuid4()
    near = await add(topics, replica, agency_id, 9_000, location=at(CASCAIS), amenities=["wifi", "pool"])
    far = await add(topics, replica, agency_id, 5_000, location=at(PORTO), amenities=["wifi"])
    nowhere = await add(topics, replica, agency_id, 7_000, amenities=["wifi"])
    here = {"latitude": str(LISBON[0]), "longitude": str(LISBON[1])}
    answer = await found(replica, agency_id, **here, sort="distance")
    assert offered(answer) == [near.id, far.id, nowhere.id]
    assert [offer.distance_km and round(offer.distance_km) for offer in answer.items] == [24, 274, None]
    assert offered(await found(replica, agency_id, **here)) == [far.id, nowhere.id, near.id]
    assert offered(await found(replica, agency_id, **here, radius_km="30")) == [near.id]
    box = {"south": "38", "west": "-10", "north": "39", "east": "-9"}
    assert offered(await found(replica, agency_id, **box)) == [near.id]
    across = {"south": "-90", "west": "170", "north": "90", "east": "-9.2"}
    assert offered(await found(replica, agency_id, **across)) == [near.id]
    assert offered(await found(replica, agency_id, ("amenity", "wifi"), ("amenity", "pool"))) == [near.id]
    assert offered(await found(replica, agency_id, ("amenity", "sauna"))) == []


async def test_bounds_hold_in_one_currency_which_must_be_named_where_there_are_several(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()
    euros = [await add(topics, replica, agency_id, rate) for rate in (5_000, 9_000)]
    assert offered(await found(replica, agency_id, max_total_minor="20000")) == [euros[0].id]
    dollars = await add(topics, replica, agency_id, 4_000, currency="USD")
    await refused(await ask(replica, agency_id, max_total_minor="20000"), "currency")
    await refused(await ask(replica, agency_id, min_total_minor="1"), "currency")
    assert offered(await found(replica, agency_id, max_total_minor="20000", currency="EUR")) == [euros[0].id]
    assert offered(await found(replica, agency_id, min_total_minor="1", currency="USD")) == [dollars.id]
    # Without bounds the currencies come one after the other.
    everything = await found(replica, agency_id)
    assert offered(everything) == [euros[0].id, euros[1].id, dollars.id]
    assert [offer.currency for offer in everything.items] == ["EUR", "EUR", "USD"]


async def test_the_pages_together_hold_everything_once(topics: BookingTopics, replica: Replica) -> None:
    agency_id = uuid.uuid4()
    places = [await add(topics, replica, agency_id, rate) for rate in (9_000, 9_000, 5_000, None, 7_000, 9_000, None)]
    pages, cursor = [], None
    while True:
        answer = await found(replica, agency_id, limit="2", cursor=cursor)
        pages.append(offered(answer))
        if (cursor := answer.next_cursor) is None:
            break
        if len(pages) == 1:  # what changes meanwhile at one place moves no other
            await topics.write(places[2], places[2].block(4, 7))
            await replica.from_cache(places[2])
    everything = [key for page in pages for key in page]
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert sorted(everything) == sorted(place.id for place in places)
    assert everything[:2] == [places[2].id, places[4].id]
    assert everything[2:5] == sorted((places[0].id, places[1].id, places[5].id), key=lambda key: key.int)


async def test_a_cursor_is_of_its_own_question_and_agency_alone(topics: BookingTopics, replica: Replica) -> None:
    agency_id = uuid.uuid4()
    for rate in (9_000, 5_000, 7_000):
        await add(topics, replica, agency_id, rate)
    cursor = (await found(replica, agency_id, limit="1")).next_cursor
    assert cursor is not None
    assert len((await found(replica, agency_id, limit="2", cursor=cursor)).items) == 2
    others: tuple[dict[str, str], ...] = (
        {"adults": "1"}, {"children": "1"}, {"check_out": str(day(8))}, {"currency": "EUR"}, {"max_total_minor": "1"},
        {"latitude": "38", "longitude": "-9"}, {"sort": "distance", "latitude": "38", "longitude": "-9"},
    )  # fmt: skip
    for other in others:
        await refused(await ask(replica, agency_id, cursor=cursor, **other), "cursor")
    await refused(await ask(replica, agency_id, ("amenity", "wifi"), cursor=cursor), "cursor")
    await refused(await ask(replica, uuid.uuid4(), cursor=cursor), "cursor")
    for broken in (cursor[:-2], cursor + "AA", "x" + cursor[1:], "bnVsbA", "e30", "%00", "a" * 300):
        await refused(await ask(replica, agency_id, cursor=broken), "cursor")


async def test_an_own_write_is_waited_for_and_what_memory_cannot_reach_is_not_guessed(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()
    place, other = await add(topics, replica, agency_id, 9_000), await add(topics, replica, agency_id, 9_000)
    await topics.write(place, place.block(5, 6))
    answer = await found(replica, agency_id, ("min_version", f"{place.id}:2"), ("min_version", f"{other.id}:1"))
    assert (offered(answer), answer.source) == ([other.id], "cache")
    ahead = await ask(replica, agency_id, ("min_version", f"{other.id}:7"))
    assert ahead.expect(503)["code"] == "unavailable"  # booking is away
    stranger = await add(topics, replica, uuid.uuid4(), 9_000)
    foreign = await ask(replica, agency_id, ("min_version", f"{stranger.id}:1"))
    assert foreign.expect(404)["code"] == "not_found"
    assert str(stranger.id) not in foreign.content.decode()


async def test_a_property_that_is_parked_is_counted_and_not_offered(topics: BookingTopics, replica: Replica) -> None:
    agency_id = uuid.uuid4()
    place, other = await add(topics, replica, agency_id, 9_000), await add(topics, replica, agency_id, 9_000)
    place.version += 1  # a change that never arrives
    await topics.write(place, place.block(20, 21))

    async def parked() -> SearchAnswer:
        answer = await found(replica, agency_id)
        if answer.unknown == 0:
            raise NotYet(str(answer))
        return answer

    answer = await until(parked, "a parked property")
    assert (offered(answer), answer.unknown) == ([other.id], 1)
    await topics.write_snapshot(place)
    await replica.from_cache(place)
    answer = await found(replica, agency_id)
    assert (set(offered(answer)), answer.unknown) == ({place.id, other.id}, 0)


async def test_a_hold_whose_time_is_over_takes_no_night(topics: BookingTopics, replica: Replica) -> None:
    agency_id = uuid.uuid4()
    held, over = await add(topics, replica, agency_id, 9_000), await add(topics, replica, agency_id, 9_000)
    now = datetime.fromisoformat((await replica.from_cache(held))["as_of"])
    for place, seconds in ((held, 3_600), (over, -1)):
        await topics.write(place, place.take(taken(4, 6, expires_at=now + timedelta(seconds=seconds))))
        await replica.from_cache(place)
    assert offered(await found(replica, agency_id)) == [over.id]
    window = {"check_in": None, "check_out": None, "nights": "2", "from_date": str(day(4)), "to_date": str(day(7))}
    answer = await found(replica, agency_id, **window)
    assert [(offer.property_id, offer.check_in) for offer in answer.items] == [(over.id, day(4))]


async def test_a_time_zone_this_machine_does_not_know_harms_nobody_else(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()
    strange = await add(topics, replica, agency_id, 9_000, time_zone="Mars/Olympus", location=at(LISBON))
    usual = await add(topics, replica, agency_id, 9_000, location=at(LISBON))
    answer = await found(replica, agency_id)
    assert (offered(answer), answer.unknown) == ([usual.id], 1)
    headers = {"Authorization": f"Bearer {agency_token(agency_id)}"}

    async def check(place: PropertyInMaking) -> Reply:
        body = {"property_id": str(place.id), "check_in": STAY["check_in"], "check_out": STAY["check_out"]}
        body |= {"occupancy": {"adults": 2}}  # type: ignore[dict-item]
        return await replica.nobody.request("POST", "/availability/check", body, headers=headers)

    problem = (await check(strange)).expect(503)
    assert problem["code"] == "unavailable"
    assert "time zone" in problem["detail"]
    calendar = f"/availability/calendar?property_id={strange.id}&from_date={day(0)}&to_date={day(3)}"
    assert (await replica.nobody.request("GET", calendar, headers=headers)).expect(503)["code"] == "unavailable"
    await topics.write(usual, usual.block(4, 5))
    await replica.from_cache(usual)
    # A neighbour that cannot be judged is no alternative; closed nights are told without any time zone.
    refusal = (await check(usual)).expect(200)
    assert not refusal["bookable"]
    assert str(strange.id) not in str(refusal)
    await replica.from_cache(strange)


async def test_an_agency_without_properties_gets_an_empty_answer(replica: Replica) -> None:
    answer = await found(replica, uuid.uuid4())
    assert (answer.items, answer.next_cursor, answer.unknown) == ([], None, 0)


async def test_a_search_in_the_past_is_refused_and_one_beyond_every_booking_window_is_empty(
    topics: BookingTopics, replica: Replica
) -> None:
    agency_id = uuid.uuid4()
    await add(topics, replica, agency_id, 9_000)
    past = {"check_in": "2020-05-01", "check_out": "2020-05-03"}
    await refused(await ask(replica, agency_id, **past), "check_in")
    window = {"check_in": None, "check_out": None, "nights": "2", "from_date": "2020-05-01", "to_date": "2020-05-09"}
    await refused(await ask(replica, agency_id, **window), "to_date")
    for ahead in (800, 3_000):
        late = {"check_in": str(DAY + timedelta(days=ahead)), "check_out": str(DAY + timedelta(days=ahead + 2))}
        answer = await found(replica, agency_id, **late)
        assert (answer.items, answer.unknown) == ([], 0)


def test_an_offer_says_nothing_but_what_the_contract_names() -> None:
    model: type[BaseModel] = SearchOffer
    assert set(model.model_fields) == {
        "property_id", "check_in", "check_out", "total_amount_minor", "currency", "distance_km", "inventory_version",
    }  # fmt: skip
