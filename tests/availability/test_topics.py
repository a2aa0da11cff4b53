"""Proves on a real Kafka how a replica reads booking's topics: from nothing, past poison, and through outages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, Topic
from deploy.local.journey_client import NotYet, until
from deploy.local.kafka import KAFKA
from deploy.local.supervisor import Supervisor
from runtime.kafka import partition_of
from tests.availability.booking_topics import (
    PARTITIONS,
    BookingTopics,
    PropertyInMaking,
    dead_letters,
    ends_of,
    envelope,
    expire,
)
from tests.availability.conftest import Replica, replica_spec, started

pytestmark = pytest.mark.stack

EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples"


async def known(topics: BookingTopics, replica: Replica) -> PropertyInMaking:
    """A property that the replica has heard of."""
    place = PropertyInMaking()
    await topics.write(place, place.created(), place.block(2, 4))
    await replica.from_cache(place)
    return place


async def test_every_example_of_the_contracts_is_understood(
    own_kafka: str, topics: BookingTopics, replica: Replica
) -> None:
    origins = []
    for topic in (BOOKING_RESERVATIONS, BOOKING_PROPERTIES):
        for path in sorted((EXAMPLES / topic.name).glob("*.json")):
            example = json.loads(path.read_text())
            property_id = example["data"].get("property_id")
            partition = example["data"].get("partition", partition_of(str(property_id), PARTITIONS))
            # A watermark's partition may be one that this Kafka does not have.
            if "partition" in example["data"]:
                example["data"]["partition"] = partition = partition % PARTITIONS
            key = str(property_id).encode() if property_id else b"marker"
            offset = await topics.put(topic.name, json.dumps(example).encode(), key, partition)
            origins.append(f"{topic.name}/{partition}/{offset}")
    assert len(origins) > 30
    await known(topics, replica)
    for topic in (BOOKING_RESERVATIONS, BOOKING_PROPERTIES):
        assert (await dead_letters(own_kafka, topic)).keys().isdisjoint(origins)
    await topics.write_marks(await ends_of(own_kafka, BOOKING_RESERVATIONS))


def poison(topic: Topic, place: PropertyInMaking) -> dict[str, bytes | None]:
    """Records that nobody can apply."""
    whole = envelope("PropertySnapshot", place.snapshot(), place.agency_id)
    zoneless = {"partition": place.partition, "database_time": "2031-05-01T00:00:00"}
    bad: dict[str, bytes | None] = {
        "malformed bytes": b"not an event",
        "truncated JSON": whole[: len(whole) // 2],
        "bad UTF-8": whole.replace(b"Casa", b"\xff\xfe\xfa"),
        "unknown type": envelope("PropertyTeleported", {"property_id": str(place.id)}, place.agency_id),
        "missing field": envelope("PropertySnapshot", {"property_id": str(place.id)}, place.agency_id),
        "2 MB": b'{"type":"' + b"x" * 2_000_000 + b'"}',
        "instant without zone": envelope("Watermark", zoneless),
    }
    if topic is BOOKING_RESERVATIONS:
        return {**bad, "no agency": envelope("BlockCreated", place.block(8, 9)), "tombstone": None}
    return bad


@pytest.mark.parametrize("topic", [BOOKING_RESERVATIONS, BOOKING_PROPERTIES], ids=lambda topic: topic.name)
async def test_poison_is_put_aside_once_per_origin_and_good_records_behind_it_are_applied(
    own_supervisor: Supervisor, own_kafka: str, topics: BookingTopics, replica: Replica, topic: Topic
) -> None:
    broken, good = PropertyInMaking(), await known(topics, replica)
    while broken.partition != good.partition:
        broken = PropertyInMaking()
    broken.version = 1
    origins: dict[str, tuple[str, bytes]] = {}
    async with started(own_supervisor, replica_spec("availability-2", own_kafka)) as second:
        for name, value in poison(topic, broken).items():
            offset = await topics.put(topic.name, value, str(broken.id).encode(), broken.partition)
            origins[f"{topic.name}/{broken.partition}/{offset}"] = (name, value or b"")
        if topic is BOOKING_PROPERTIES:
            await topics.write_snapshot(good)
        await topics.write(good, good.block(6, 7))
        for each in (replica, second):
            await each.from_cache(good)

    async def all_there() -> dict[str, list[dict[str, bytes]]]:
        letters = await dead_letters(own_kafka, topic)
        if missing := origins.keys() - letters.keys():
            raise NotYet(f"no dead letter for {[origins[key][0] for key in missing]}")
        return letters

    letters = await until(all_there, "a dead letter for each")
    for origin, (name, value) in origins.items():
        for letter in letters[origin]:
            assert letter["value"] == value, name
            place = (letter["dlq-origin-topic"], letter["dlq-origin-partition"], letter["dlq-origin-offset"])
            assert b"/".join(place).decode() == origin
            assert letter["dlq-service"] == b"availability"
            assert (letter.get("dlq-origin-tombstone") == b"1") is (name == "tombstone")


async def test_a_property_whose_record_cannot_be_read_is_not_answered_until_its_state_is_known_again(
    topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    await topics.put(BOOKING_RESERVATIONS.name, b"what did it say?", str(place.id).encode(), place.partition)
    await until(lambda: _refused(replica, place), "a refusal: the record may have closed any night")
    await topics.write_snapshot(place)
    await replica.from_cache(place)


async def test_a_cold_start_takes_states_from_the_compacted_topic_and_later_changes_from_its_mark(
    own_supervisor: Supervisor, own_kafka: str, topics: BookingTopics, replica: Replica
) -> None:
    places = [await known(topics, replica) for _ in range(4)]
    for place in places:
        await topics.write_snapshot(place)
    ends = await ends_of(own_kafka, BOOKING_RESERVATIONS)
    await topics.write_marks(ends)
    await topics.write(places[0], places[0].block(10, 11))
    # What lies before the mark is not needed any more.
    await expire(own_kafka, BOOKING_RESERVATIONS, ends)
    async with started(own_supervisor, replica_spec("availability-cold", own_kafka)) as cold:
        for place in places:
            assert (await cold.from_cache(place))["ranges"] == (await replica.from_cache(place))["ranges"]


async def test_a_cold_start_behind_an_expired_mark_answers_nothing_before_it_was_compared_with_booking(
    own_supervisor: Supervisor, own_kafka: str, topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    await topics.write_snapshot(place)
    await topics.write_marks(await ends_of(own_kafka, BOOKING_RESERVATIONS))
    # Two changes the snapshot does not contain, and that no log has any more.
    await topics.write(place, place.block(10, 11), place.block(12, 13))
    await replica.from_cache(place)
    ends = await ends_of(own_kafka, BOOKING_RESERVATIONS)
    await expire(own_kafka, BOOKING_RESERVATIONS, ends)
    spec = replica_spec("availability-late", own_kafka)
    try:
        async with started(own_supervisor, spec, until_ready=False) as late:

            async def waits_for_booking() -> None:
                reason = await late.unready_because()
                if reason is None or "compared with booking" not in reason:
                    raise NotYet(f"{reason}")

            await until(waits_for_booking, "unready for want of booking")
            (await late.availability(place)).expect(503)
    finally:
        await topics.write_snapshot(place)
        await topics.write_marks(ends)


async def test_it_answers_through_an_outage_of_kafka_and_catches_up_by_itself_and_one_started_meanwhile_becomes_ready(
    own_supervisor: Supervisor, own_kafka: str, topics: BookingTopics, replica: Replica
) -> None:
    place = await known(topics, replica)
    before = await replica.from_cache(place)
    await asyncio.to_thread(own_supervisor.stop, KAFKA)
    async with started(own_supervisor, replica_spec("availability-early", own_kafka), until_ready=False) as early:
        try:
            await asyncio.sleep(6.5)  # beyond the watch for silence
            during = (await replica.availability(place)).expect(200)
            assert during["source"] == "cache"
            assert during["ranges"] == before["ranges"]
            assert during["lag_ms"] > 6000
            assert await replica.unready_because() is None
            assert await early.unready_because() is not None
        finally:
            await asyncio.to_thread(own_supervisor.restart, KAFKA)
        await topics.write(place, place.block(20, 21))
        for each in (replica, early):
            after = await each.from_cache(place)
            assert len(after["ranges"]) == len(before["ranges"]) + 1
        assert await early.unready_because() is None


async def _refused(replica: Replica, place: PropertyInMaking) -> Any:
    if (reply := await replica.availability(place)).status != 503:
        raise NotYet(f"{reply.status} {reply.content[:200]!r}")
