"""Proves with a real booking what memory cannot answer is asked of the ledger, and what memory lost is repaired."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from availability.clients import Booking
from availability.service.cache import Cache
from availability.service.resync import AT_ONCE, Resync
from availability.service.wanted import Cause
from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, Api
from deploy.local.ports import HOST, free_port
from deploy.local.services import AVAILABILITY, BOOKING, Suite
from runtime.loops import Loops
from runtime.tokens import issue_service_token
from tests.availability.booking_topics import day, ends_of, expire
from tests.availability.conftest import DIGESTS
from tests.availability.pair import ONE_ROUND, PARTITIONS, WINDOW, Pair
from tests.waiting import eventually

pytestmark = pytest.mark.stack


async def test_what_memory_has_not_heard_of_yet_is_answered_from_the_ledger(pair: Pair) -> None:
    created = (await pair.booking.create_property()).expect(201)
    version = created["inventory_version"]
    body = (await pair.availability.availability(created["id"], WINDOW, min_version=version)).expect(200)
    assert body["inventory_version"] == version
    assert body["source"] in ("cache", "ledger")
    await pair.from_cache(pair.availability, created["id"], version)


async def test_an_unknown_property_and_another_agencys_get_the_same_404(pair: Pair) -> None:
    property_id = await pair.new_property()
    async with Agency(pair.suite.url(AVAILABILITY), pair.suite.secrets.jwt_secret) as stranger:
        answers = [
            (await asker.availability(asked, WINDOW)).expect(404)
            for asker, asked in ((stranger, property_id), (stranger, str(uuid.uuid4())))
        ]
    for answer in answers:
        answer.pop("trace_id")
    assert answers[0] == answers[1]


async def test_a_version_the_property_never_had_gets_422(pair: Pair) -> None:
    property_id = await pair.new_property()
    reply = await pair.availability.availability(property_id, WINDOW, min_version=1_000)
    assert [error["field"] for error in reply.expect(422)["errors"]] == ["query.min_version"]


async def test_a_property_with_a_gap_is_fetched_once_and_answered_from_memory_again(pair: Pair) -> None:
    property_id = await pair.new_property()
    before = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    await pair.say(property_id, 9)
    await pair.resynced(AVAILABILITY, property_id)
    after = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    assert (after["source"], after["ranges"]) == ("cache", before["ranges"])
    # What booking writes next is its next version, which the made-up one must not hide.
    booked = (await pair.booking.book(property_id, (day(10), day(12)))).expect(201)
    assert booked["inventory_version"] == before["inventory_version"] + 1
    await pair.from_cache(pair.availability, property_id, booked["inventory_version"])
    assert pair.resyncs(AVAILABILITY, property_id) == ["gap"]


async def test_a_gap_is_repaired_nearly_as_soon_as_a_change_is_seen(pair: Pair) -> None:
    """The aim is a second, and a change is seen within some dozens of milliseconds."""
    property_id = await pair.new_property()
    seen_s, repaired_s = [], []
    for attempt in range(5):
        began = time.monotonic()
        booked = (await pair.booking.book(property_id, (day(10 + attempt), day(11 + attempt)))).expect(201)
        await pair.from_cache(pair.availability, property_id, booked["inventory_version"])
        seen_s.append(time.monotonic() - began)
        began = time.monotonic()
        await pair.say(property_id, booked["inventory_version"] + 5)
        await pair.resynced(AVAILABILITY, property_id, times=attempt + 1)
        repaired_s.append(time.monotonic() - began)
    assert statistics.median(repaired_s) < 8 * statistics.median(seen_s), (repaired_s, seen_s)
    assert pair.resyncs(AVAILABILITY, property_id) == ["gap"] * 5


async def test_every_answer_is_right_while_a_property_is_parked_and_repaired(pair: Pair) -> None:
    property_id = await pair.new_property()
    before = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    for _ in range(20):
        await pair.put(property_id, b"what did it say?")
        after = (await pair.availability.availability(property_id, WINDOW)).expect(200)
        assert after["ranges"] == before["ranges"]


async def test_a_property_whose_record_cannot_be_read_is_fetched_once(pair: Pair) -> None:
    property_id = await pair.new_property()
    before = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    await pair.put(property_id, b"what did it say?")
    await pair.resynced(AVAILABILITY, property_id)
    after = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    assert (after["source"], after["ranges"]) == ("cache", before["ranges"])
    assert pair.resyncs(AVAILABILITY, property_id) == ["unreadable"]


async def test_while_resyncs_wait_their_turn_callers_are_answered_from_the_ledger(pair: Pair) -> None:
    async with pair.replica("availability-slow", RESYNCS_PER_S="1", **ONE_ROUND) as (slow, _):
        places = [await pair.new_property() for _ in range(10)]
        for property_id in places:
            await pair.from_cache(slow, property_id, 2)
            await pair.put(property_id, b"what did it say?")
        await pair.resynced("availability-slow", places[0])
        for property_id in places:
            body = (await slow.availability(property_id, WINDOW)).expect(200)
            assert [found["kind"] for found in body["ranges"]] == ["reservation"]
        assert len(pair.resyncs("availability-slow")) < len(places), "the last was answered before its turn came"


@asynccontextmanager
async def resyncing(pair: Pair, cache: Cache, per_s: int, url: str | None = None) -> AsyncIterator[None]:
    """The resync of a cache in this process, from the real booking or from elsewhere."""
    secret = pair.suite.secrets.jwt_secret
    async with Booking(url or pair.suite.url(BOOKING), secret) as booking, Loops() as loops:
        loops.keep(Resync(cache, booking, per_s).run_wanted, "resync")
        yield


async def test_a_cold_cache_reads_no_more_a_second_than_it_may_and_a_gap_does_not_queue_behind_it(pair: Pair) -> None:
    cache, per_s, count = Cache(PARTITIONS), 25, 100
    gap = uuid.UUID(await pair.new_property())
    for _ in range(count):
        cache.want(uuid.uuid4(), Cause.STATELESS)
    began = time.monotonic()
    async with resyncing(pair, cache, per_s):
        await eventually(lambda: _when(len(cache.wanted) <= count // 2), "half of them")
        left = len(cache.wanted)
        cache.want(gap, Cause.GAP)
        await eventually(lambda: _when(cache.shown_version(gap) is not None), "the gap's repair")
        assert left - len(cache.wanted) < count // 4, "it did not wait for the others"
        await eventually(lambda: _when(not cache.wanted), "all of them")
    # What may be read at once is a second's worth.
    assert count + 1 <= per_s * (1 + time.monotonic() - began) + AT_ONCE
    assert cache.shown_version(gap) == 2


async def test_while_booking_is_away_nothing_that_is_wanted_is_forgotten(pair: Pair) -> None:
    cache = Cache(PARTITIONS)
    places = {uuid.UUID(await pair.new_property()) for _ in range(6)}
    for property_id in places:
        cache.want(property_id, Cause.STATELESS)
    async with resyncing(pair, cache, 1000, url=f"http://{HOST}:{free_port()}"):
        await asyncio.sleep(0.5)
        assert set(cache.wanted) == places
    async with resyncing(pair, cache, 1000):
        await eventually(lambda: _when(not cache.wanted), "all of them")
    assert {cache.shown_version(property_id) for property_id in places} == {2}


async def test_a_replica_that_finds_its_changes_expired_compares_with_booking_and_fetches_what_differs(
    pair: Pair,
) -> None:
    places = {await pair.new_property(): 2 for _ in range(5)}
    suite = pair.suite
    await expire(
        suite.kafka_bootstrap, BOOKING_RESERVATIONS, await ends_of(suite.kafka_bootstrap, BOOKING_RESERVATIONS)
    )
    async with pair.replica("availability-late", **ONE_ROUND) as (replica, url):
        for property_id, version in places.items():
            body = await pair.from_cache(replica, property_id, version)
            assert [found["kind"] for found in body["ranges"]] == ["reservation"]
        assert await _digests(suite, url) == await _digests(suite, suite.url(BOOKING))
    assert set(pair.resyncs("availability-late")) == {"lost"}


async def _when(is_so: bool) -> bool | None:
    return is_so or None


async def _digests(suite: Suite, url: str) -> list[Any]:
    async with Api(url, lambda: issue_service_token(suite.secrets.jwt_secret, "test")) as api:
        params = {"after": str(day(-40)), "limit": "1000"}
        items: list[Any] = (await api.request("GET", DIGESTS, params=params)).expect(200)["items"]
        return items
