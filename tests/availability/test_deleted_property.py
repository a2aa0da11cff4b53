"""Proves on a real Kafka that a deleted property is never shown as free, whichever way a replica hears of it."""

from __future__ import annotations

import pytest

from contracts.booking_reservations_v1 import ChannelRevisionApplied
from contracts.topics import BOOKING_PROPERTIES
from deploy.local.journey_client import NotYet, until
from deploy.local.supervisor import Supervisor
from tests.availability.booking_topics import BookingTopics, PropertyInMaking, day, envelope
from tests.availability.conftest import DIGESTS, Replica, replica_spec, started

pytestmark = pytest.mark.stack


async def known(topics: BookingTopics, replica: Replica) -> PropertyInMaking:
    """A property that the replica answers for."""
    place = PropertyInMaking()
    await topics.write(place, place.created())
    await replica.from_cache(place)
    return place


async def write_gone(topics: BookingTopics, place: PropertyInMaking) -> None:
    """The snapshot of a deleted property, as booking publishes it for 30 days."""
    whole = place.snapshot().model_copy(update={"gone": True})
    value = envelope("PropertySnapshot", whole, place.agency_id)
    await topics.put(BOOKING_PROPERTIES.name, value, str(place.id).encode(), place.partition)


async def until_gone(replica: Replica, place: PropertyInMaking, min_version: int | None = None) -> None:
    async def look() -> None:
        reply = await replica.availability(place, min_version=min_version)
        if reply.status != 404:
            raise NotYet(f"{reply.status} {reply.body}")

    await until(look, "404")


async def test_a_deletion_is_answered_at_the_version_it_took_and_its_digest_is_told_no_more(
    topics: BookingTopics, replica: Replica
) -> None:
    place, kept = await known(topics, replica), await known(topics, replica)
    await topics.write(place, place.deleted())
    await until_gone(replica, place, place.version)
    page = await replica.internal.request("GET", DIGESTS, params={"after": str(day(-40)), "limit": "1000"})
    listed = {item["property_id"] for item in page.expect(200)["items"]}
    assert str(kept.id) in listed
    assert str(place.id) not in listed


async def test_a_snapshot_that_says_gone_is_enough(topics: BookingTopics, replica: Replica) -> None:
    place = await known(topics, replica)
    place.deleted()  # the change itself never arrives
    await write_gone(topics, place)
    await until_gone(replica, place)


async def test_what_still_happens_to_a_deleted_property_does_not_bring_it_back(
    topics: BookingTopics, replica: Replica
) -> None:
    place, mark = await known(topics, replica), await known(topics, replica)
    await topics.write(place, place.deleted())
    place.version += 1
    late = ChannelRevisionApplied(property_id=place.id, inventory_version=place.version, commit_version=place.version)
    await topics.write(place, late)
    await until_gone(replica, place, place.version)
    await topics.write(mark, mark.block(1, 2))
    await replica.from_cache(mark)
    (await replica.availability(place)).expect(404)


async def test_a_cold_start_from_the_compacted_topic_sees_that_it_is_gone(
    own_supervisor: Supervisor, own_kafka: str, topics: BookingTopics, replica: Replica
) -> None:
    gone, kept = await known(topics, replica), await known(topics, replica)
    await topics.write(gone, gone.deleted())
    await write_gone(topics, gone)
    await topics.write_snapshot(kept)
    async with started(own_supervisor, replica_spec("availability-after-deletion", own_kafka)) as cold:
        await cold.from_cache(kept)
        (await cold.availability(gone)).expect(404)
