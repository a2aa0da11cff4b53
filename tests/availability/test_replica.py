"""Proves on a real Kafka what a replica answers from memory, how fresh that is, and what it refuses to answer."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.availability_http_v1 import AvailabilityAnswer
from contracts.topics import BOOKING_PROPERTIES
from deploy.local.journey_client import NotYet, until
from deploy.local.supervisor import Supervisor
from rules.calendar import StoredRange, digest
from tests.availability.booking_topics import BookingTopics, PropertyInMaking, day, taken
from tests.availability.conftest import DIGESTS, Replica, replica_spec, started

pytestmark = pytest.mark.stack


def ranges(body: dict[str, Any]) -> list[tuple[int, int, str]]:
    """The answer's ranges as (first day, last day, kind), counted from the test calendar's first day."""
    answer = AvailabilityAnswer.model_validate(body)
    return [((found.start_date - day(0)).days, (found.end_date - day(0)).days, found.kind) for found in answer.ranges]


async def known(topics: BookingTopics, replica: Replica, **fields: Any) -> PropertyInMaking:
    """A property that the replica has heard of, with the nights 2 and 3 blocked."""
    place = PropertyInMaking(**fields)
    await topics.write(place, place.created(), place.block(2, 4))
    await replica.from_cache(place)
    return place


async def test_a_change_is_answered_from_memory_with_its_version_and_age(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    first = await replica.from_cache(place)
    assert ranges(first) == [(2, 4, "block")]
    assert first["inventory_version"] == 2
    assert first["property_id"] == str(place.id)
    await asyncio.sleep(0.5)
    second = await replica.from_cache(place)
    assert second["as_of"] > first["as_of"], "as_of goes on although nothing changed"


async def test_nights_of_a_gap_too_short_for_its_preparation_are_closed(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica, preparation_days=2)
    await topics.write(place, place.block(6, 8))
    body = await replica.from_cache(place)
    # [2, 4) with its preparation ends at 6, where the next begins; a stay must leave two days before either.
    assert ranges(body) == [
        (0, 2, "preparation"),
        (2, 4, "block"),
        (4, 6, "preparation"),
        (6, 8, "block"),
        (8, 10, "preparation"),
    ]


async def test_another_agencys_property_gets_404(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica)
    reply = await replica.ask(uuid.uuid4(), place.id, day(0), day(9))
    assert reply.expect(404)["code"] == "not_found"
    assert str(place.id) not in reply.body["detail"]


async def test_a_question_that_names_a_version_waits_for_it_and_is_answered_as_it_arrives(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    change = place.block(7, 8)
    asked = asyncio.create_task(replica.availability(place, min_version=place.version))
    await asyncio.sleep(0.05)
    assert not asked.done()
    await topics.write(place, change)
    body = (await asked).expect(200)
    assert (body["source"], body["inventory_version"]) == ("cache", place.version)
    assert (7, 8, "block") in ranges(body)


async def test_a_version_that_does_not_arrive_gets_503_rather_than_an_older_answer(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    reply = await replica.availability(place, min_version=place.version + 1)
    assert reply.expect(503)["code"] == "unavailable"
    assert reply.ms >= 150, "it is waited for"
    assert (await replica.availability(place)).expect(200)["inventory_version"] == place.version


async def test_versions_of_one_commit_appear_together(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica)
    first, last = place.block(10, 11, last_of_commit=4), place.block(12, 13)
    await topics.write(place, first)
    marker = await known(topics, replica, id=_of_partition(place.partition))
    assert marker.partition == place.partition
    assert ranges((await replica.availability(place)).expect(200)) == [(2, 4, "block")]
    await topics.write(place, last)
    assert ranges(await replica.from_cache(place)) == [(2, 4, "block"), (10, 11, "block"), (12, 13, "block")]


def _of_partition(partition: int) -> uuid.UUID:
    while PropertyInMaking(id=(found := uuid.uuid4())).partition != partition:
        continue
    return found


async def test_a_property_with_a_gap_is_not_answered_until_a_whole_state_arrives(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    place.block(10, 11)
    await topics.write(place, place.block(12, 13))
    await until(lambda: _refused(replica, place), "a refusal: the missing change may have closed any night")
    await topics.write_snapshot(place)
    assert ranges(await replica.from_cache(place)) == [(2, 4, "block"), (10, 11, "block"), (12, 13, "block")]


async def test_duplicates_and_older_records_change_nothing(topics: BookingTopics, replica: Replica) -> None:
    place = PropertyInMaking()
    changes = [place.created(), place.block(2, 4), place.block(6, 7)]
    await topics.write(place, *changes)
    before = await replica.from_cache(place)
    await topics.write(place, *changes, changes[1])
    await topics.write(place, place.block(9, 10))
    assert ranges(await replica.from_cache(place)) == [*ranges(before), (9, 10, "block")]


async def test_a_hold_ends_when_its_time_is_over_without_any_event(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica)
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    long_ago, much_later = soon - timedelta(hours=1), soon + timedelta(hours=1)
    holds = [(5, long_ago), (7, soon), (9, much_later)]
    await topics.write(place, *(place.take(taken(first, first + 1, expires_at=end)) for first, end in holds))
    assert ranges(await replica.from_cache(place)) == [(2, 4, "block"), (7, 8, "hold"), (9, 10, "hold")]

    async def over() -> None:
        if (left := ranges((await replica.availability(place)).expect(200))) != [(2, 4, "block"), (9, 10, "hold")]:
            raise NotYet(f"{left}")

    await until(over, "the end of the hold")
    assert datetime.now(UTC) >= soon


async def test_with_the_relay_stopped_the_lag_says_so_and_the_replica_stays_ready(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    topics.has_relay = False
    try:
        await asyncio.sleep(5.5)  # beyond the watch for silence, too
        body = (await replica.availability(place)).expect(200)
        assert body["source"] == "cache"
        assert 5000 <= body["lag_ms"] < 8000
        assert await replica.unready_because() is None
    finally:
        topics.has_relay = True
    await replica.from_cache(place)


async def test_a_property_the_relay_holds_back_is_not_answered_from_memory_because_no_watermark_covers_it(
    topics: BookingTopics, replica: Replica
) -> None:
    held = await known(topics, replica)
    other = await known(topics, replica, id=_of_partition(held.partition))
    topics.held_back.add(held.id)
    try:
        await until(lambda: _refused(replica, held), "a refusal: only booking could know")
        assert ranges(await replica.from_cache(other)) == [(2, 4, "block")]
        await replica.from_cache(other)
        (await replica.availability(held)).expect(503)
    finally:
        topics.held_back.clear()
    assert ranges(await replica.from_cache(held)) == [(2, 4, "block")]


async def test_after_a_restore_the_jump_of_versions_replaces_what_was_held(
    topics: BookingTopics, replica: Replica
) -> None:
    place, told_first = await known(topics, replica), await known(topics, replica)
    for restored in (place, told_first):
        restored.ranges.clear()  # the backup was made before them
        restored.version = 1_900_000_000_000_000
    # Booking publishes states after a restore; a change may come before the state does.
    change = told_first.block(6, 7)
    await topics.write(told_first, change)
    await until(lambda: _refused(replica, told_first), "a refusal: what was held is of before the restore")
    for restored in (place, told_first):
        await topics.write_snapshot(restored)
    assert ranges(await replica.from_cache(place)) == []
    assert ranges(await replica.from_cache(told_first)) == [(6, 7, "block")]
    await topics.write(place, place.block(8, 9))
    assert ranges(await replica.from_cache(place)) == [(8, 9, "block")]


async def test_past_the_lag_limit_memory_answers_only_who_named_no_version_when_booking_is_away(
    own_supervisor: Supervisor, own_kafka: str, topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    spec = replica_spec("availability-strict", own_kafka, MAX_CACHE_LAG_MS="1")
    async with started(own_supervisor, spec) as strict:

        async def lagging() -> None:
            reply = await strict.availability(place, min_version=1)
            if reply.status != 503:
                raise NotYet(f"{reply.status}")

        await until(lagging, "503 for a question that names a version")
        body = (await strict.availability(place)).expect(200)
        assert body["source"] == "cache"


async def test_nights_outside_the_window_are_refused_rather_than_called_free_when_booking_is_away(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    today = datetime.now(UTC).date()
    # A day more on either side, for a session that runs past midnight.
    first, end = today - timedelta(days=2), today + timedelta(days=798)
    for asked in ((first - timedelta(days=2), first), (end - timedelta(days=1), end + timedelta(days=2))):
        reply = await replica.ask(place.agency_id, place.id, *asked)
        assert reply.expect(503)["code"] == "unavailable"
    for asked in ((first + timedelta(days=1), today), (end - timedelta(days=5), end)):
        assert (await replica.ask(place.agency_id, place.id, *asked)).expect(200)["source"] == "cache"


async def test_a_deleted_property_is_gone_and_a_tombstone_removes_its_last_trace(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    await topics.write(place, place.deleted())

    async def gone() -> None:
        if (reply := await replica.availability(place)).status != 404:
            raise NotYet(f"{reply.status}")

    await until(gone, "404")
    await topics.put(BOOKING_PROPERTIES.name, None, str(place.id).encode(), place.partition)
    await until(lambda: _refused(replica, place), "503: only booking could know")


async def test_digests_are_those_of_the_stored_ranges_page_by_page(topics: BookingTopics, replica: Replica) -> None:
    places = [await known(topics, replica) for _ in range(3)]
    parked = await known(topics, replica)
    await topics.write(parked, place_after_a_gap(parked))
    await until(lambda: _refused(replica, parked), "a parked property")
    found: dict[str, Any] = {}
    params = {"after": str(day(-40)), "limit": "2"}
    while True:
        page = (await replica.internal.request("GET", DIGESTS, params=params)).expect(200)
        ids = [item["property_id"] for item in page["items"]]
        assert ids == sorted(ids)
        found |= {item["property_id"]: item for item in page["items"]}
        if page["next_cursor"] is None:
            break
        assert len(ids) == 2
        params["cursor"] = page["next_cursor"]
    for place in places:
        assert found[str(place.id)]["inventory_version"] == place.version
        assert found[str(place.id)]["digest"] == digest(_stored(place), day(-40))
    assert str(parked.id) not in found


def place_after_a_gap(place: PropertyInMaking) -> Any:
    """A change whose predecessor is never written."""
    place.block(10, 11)
    return place.block(12, 13)


def _stored(place: PropertyInMaking) -> list[StoredRange]:
    return [
        StoredRange(
            found.range_id,
            found.kind.value,
            found.source_id,
            found.stay.start_date,
            found.stay.end_date,
            found.occupied.start_date,
            found.occupied.end_date,
            found.expires_at,
        )
        for found in place.ranges.values()
    ]


async def _refused(replica: Replica, place: PropertyInMaking) -> None:
    if (reply := await replica.availability(place)).status != 503:
        raise NotYet(f"{reply.status} {reply.content[:200]!r}")
