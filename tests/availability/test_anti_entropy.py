"""Proves on a real booking and Kafka that a replica finds what no event will ever tell it, and nothing that one will.

Beside the replica that compares all the time stands one that does not: it stays wrong, so nothing else can have healed
the first.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from availability.clients import Booking
from availability.service.anti_entropy import AntiEntropy
from availability.service.cache import Cache
from availability.service.resync import Resync
from availability.service.wanted import Cause
from contracts.values import DateRange, InventoryRange, RangeKind
from deploy.local.journey_client import Agency, NotYet, until
from deploy.local.ports import HOST
from deploy.local.services import AVAILABILITY, BOOKING
from runtime.loops import Loops
from tests.availability.booking_topics import day
from tests.availability.pair import PARTITIONS, WINDOW, Pair
from tests.e2e.infra.span_receiver import SpanReceiver
from tests.e2e.infra.tcp_proxy import TcpProxy
from tests.waiting import eventually

pytestmark = pytest.mark.stack

WATCHFUL = "availability-watchful"
ROUND_S = 0.2
ROUND = "memory is compared with booking"

LOSE_A_CHANGE = """
WITH bumped AS (UPDATE inventory_versions SET inventory_version = inventory_version + 1
                WHERE property_id = $1 RETURNING agency_id, inventory_version),
     stored AS (INSERT INTO inventory_ranges
                    (id, agency_id, property_id, kind, source_id, stay, occupied, created_at)
                SELECT gen_random_uuid(), agency_id, $1, 'block', gen_random_uuid(), daterange($2, $3),
                       daterange($2, $3), now() FROM bumped)
SELECT inventory_version FROM bumped"""
MOVE_A_RANGE = """
UPDATE inventory_ranges SET stay = daterange($2, $3), occupied = daterange($2, $3) WHERE property_id = $1"""
COPY_PROPERTY = """
WITH sample AS (SELECT properties AS owner, inventory_versions AS version
                FROM properties JOIN inventory_versions ON property_id = id WHERE id = $1),
     copied AS (INSERT INTO properties
                SELECT made.* FROM sample, jsonb_populate_record(owner, jsonb_build_object('id', $2::uuid)) AS made)
INSERT INTO inventory_versions
SELECT made.* FROM sample, jsonb_populate_record(version, jsonb_build_object('property_id', $2::uuid)) AS made"""
LOSE_A_DELETION = """
WITH deleted AS (UPDATE properties SET deleted_at = now() WHERE id = $1)
UPDATE inventory_versions SET inventory_version = inventory_version + 1 WHERE property_id = $1"""
TAKE_THE_RELAYS_LEASES = "UPDATE relay_leases SET owner = 'a test', expires_at = now() + interval '1 hour'"
GIVE_THEM_BACK = "DELETE FROM relay_leases WHERE owner = 'a test'"


@dataclass(frozen=True)
class Watch:
    """A replica that compares all the time, and what it counts."""

    pair: Pair
    watchful: Agency
    counts: SpanReceiver

    async def new_property(self) -> str:
        """A property with a reservation, at version 2 in both replicas."""
        property_id = await self.pair.new_property()
        await self.pair.from_cache(self.watchful, property_id, 2)
        return property_id

    async def nights(self, replica: Agency, property_id: str, version: int) -> list[tuple[str, str]]:
        """What memory says is closed, once it is at this version: (first night, kind)."""
        body = await self.pair.from_cache(replica, property_id, version)
        return [(found["start_date"], found["kind"]) for found in body["ranges"]]

    async def rounds(self, more: int, replica: str = WATCHFUL) -> None:
        """Return after so many more rounds were begun and ended."""

        def so_far() -> int:
            return sum(line["event"] == ROUND for line in self.pair.lines(replica))

        goal = so_far() + more + 1  # one is under way
        await eventually(lambda: _when(so_far() >= goal), f"{more} rounds")

    async def repaired(self, property_id: str, cause: str) -> None:
        """Require that it was fetched for this and nothing else, and that this was counted."""
        assert self.pair.resyncs(WATCHFUL, property_id) == [cause]
        assert self.pair.resyncs(AVAILABILITY, property_id) == []
        names = ("pms.resync.wanted", "pms.resync.done")
        await eventually(
            lambda: _when(all(self.counts.count("availability", name, cause=cause) == 1 for name in names)),
            f"counts of {cause}",
        )


async def _when(is_so: bool) -> bool | None:
    return is_so or None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watch(pair: Pair) -> AsyncIterator[Watch]:
    async with SpanReceiver() as counts:
        env = {
            "DIGEST_ROUND_S": str(ROUND_S),
            "OTEL_EXPORTER_OTLP_ENDPOINT": counts.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }
        async with pair.replica(WATCHFUL, **env) as (watchful, _):
            yield Watch(pair, watchful, counts)


async def test_ranges_that_differ_at_the_same_version_are_fetched(watch: Watch) -> None:
    property_id = await watch.new_property()
    await watch.pair.sql(MOVE_A_RANGE, UUID(property_id), day(20), day(22))
    await watch.pair.resynced(WATCHFUL, property_id)
    assert await watch.nights(watch.watchful, property_id, 2) == [(str(day(20)), "reservation")]
    assert await watch.nights(watch.pair.availability, property_id, 2) == [(str(day(0)), "reservation")]
    await watch.repaired(property_id, "different")


async def test_a_property_whose_last_event_was_lost_still_converges(watch: Watch) -> None:
    property_id = await watch.new_property()
    version = await watch.pair.sql(LOSE_A_CHANGE, UUID(property_id), day(7), day(9))
    closed = [(str(day(0)), "reservation"), (str(day(7)), "block")]
    assert await watch.nights(watch.watchful, property_id, version) == closed
    assert await watch.nights(watch.pair.availability, property_id, 2) == closed[:1]
    await watch.repaired(property_id, "behind")


async def test_a_property_no_topic_told_of_is_fetched(watch: Watch) -> None:
    known, copy = await watch.new_property(), str(uuid.uuid4())
    await watch.pair.sql(COPY_PROPERTY, UUID(known), UUID(copy))
    await watch.pair.resynced(WATCHFUL, copy)  # nobody has asked about it
    assert await watch.nights(watch.watchful, copy, 2) == []
    reply = (await watch.pair.availability.availability(copy, WINDOW)).expect(200)
    assert reply["source"] == "ledger"
    await watch.repaired(copy, "unknown")


async def test_a_property_whose_deletion_was_lost_is_gone(watch: Watch) -> None:
    property_id = await watch.new_property()
    await watch.pair.sql(LOSE_A_DELETION, UUID(property_id))

    async def gone() -> None:
        if (reply := await watch.watchful.availability(property_id, WINDOW)).status != 404:
            raise NotYet(f"{reply.status}")

    await until(gone, "404")
    assert await watch.nights(watch.pair.availability, property_id, 2) == [(str(day(0)), "reservation")]
    await watch.repaired(property_id, "unlisted")
    await watch.rounds(3)
    await watch.repaired(property_id, "unlisted")


async def test_a_change_that_booking_never_made_is_undone(watch: Watch) -> None:
    property_id = await watch.new_property()
    nights = DateRange(start_date=day(12), end_date=day(14))
    made_up = InventoryRange(
        range_id=uuid.uuid4(), kind=RangeKind.BLOCK, source_id=uuid.uuid4(), stay=nights, occupied=nights
    )
    await watch.pair.say(property_id, 3, occupied=[made_up.model_dump(mode="json")])
    await watch.pair.resynced(WATCHFUL, property_id)
    assert await watch.nights(watch.watchful, property_id, 2) == [(str(day(0)), "reservation")]
    assert len(await watch.nights(watch.pair.availability, property_id, 3)) == 2
    await watch.repaired(property_id, "ahead")


async def test_what_is_only_on_its_way_is_waited_for_however_many_rounds_go_by(watch: Watch) -> None:
    place, gone = await watch.new_property(), (await watch.pair.booking.create_property()).expect(201)["id"]
    await watch.pair.from_cache(watch.watchful, gone, 1)
    await watch.pair.sql(TAKE_THE_RELAYS_LEASES)
    await asyncio.sleep(1)  # the relay renews its leases once a second
    try:
        booked = (await watch.pair.booking.book(place, (day(10), day(11)))).expect(201)
        created = (await watch.pair.booking.create_property()).expect(201)
        (await watch.pair.booking.request("DELETE", f"/properties/{gone}")).expect(200)
        await watch.rounds(4)
        body = (await watch.watchful.availability(place, WINDOW)).expect(200)
        assert (body["source"], body["inventory_version"]) == ("cache", 2)
        (await watch.watchful.availability(gone, WINDOW)).expect(200)
    finally:
        await watch.pair.sql(GIVE_THEM_BACK)
    await watch.pair.from_cache(watch.watchful, place, booked["inventory_version"])
    await watch.pair.from_cache(watch.watchful, created["id"], created["inventory_version"])
    await watch.rounds(2)
    (await watch.watchful.availability(gone, WINDOW)).expect(404)
    assert [watch.pair.resyncs(WATCHFUL, each) for each in (place, gone, created["id"])] == [[], [], []]


async def test_changes_that_overtake_the_page_that_does_not_tell_of_them_fetch_nothing(watch: Watch) -> None:
    far, pair = "availability-far", watch.pair
    async with TcpProxy(HOST, pair.suite.ports.of(BOOKING)) as proxy:
        proxy.delay_s["to_client"] = 0.1
        env = {"BOOKING_URL": f"http://{HOST}:{proxy.port}", "DIGEST_ROUND_S": "0.01"}
        async with pair.replica(far, **env) as (replica, _):
            places = [await watch.new_property() for _ in range(3)]
            for place in places:
                await pair.from_cache(replica, place, 2)
            for number in range(20):
                for place in places:
                    (await pair.booking.book(place, (day(10 + number), day(11 + number)))).expect(201)
            await watch.rounds(2, far)
            assert [pair.resyncs(name, place) for name in (far, WATCHFUL) for place in places] == [[]] * 6


def flip_a_range(cache: Cache, row: int, random: Random) -> None:
    """Turn any bit of a range that memory keeps."""
    place, count = cache.store.taken._list(row)
    assert count > 0
    memory = cache.store.taken._ranges._records[place : place + count].view("u1")
    memory[random.randrange(len(memory))] ^= 1 << random.randrange(8)


def flip_a_night(cache: Cache, row: int, random: Random) -> None:
    """Turn the bit of any night that searches may ask about."""
    nights = cache.store.taken._nights
    first = random.randrange(nights.first, nights.end)
    nights.put(row, ~nights.get(row) >> (first - nights.first) & 1, first, first + 1)


@pytest.mark.parametrize(("flip", "cause"), [(flip_a_range, "different"), (flip_a_night, "bits")])
async def test_any_bit_that_flips_in_memory_is_found_and_mended(
    pair: Pair, flip: Callable[[Cache, int, Random], None], cause: str
) -> None:
    cache, random = Cache(PARTITIONS), Random(5)
    places = [UUID(await pair.new_property()) for _ in range(3)]
    async with Booking(pair.suite.url(BOOKING), pair.suite.secrets.jwt_secret) as booking, Loops() as loops:
        loops.keep(Resync(cache, booking, 1000).run_wanted, "resync")
        for place in places:
            cache.want(place, Cause.STATELESS)
        await eventually(lambda: _when(not cache.wanted), "the states")
        right = {place: cache.fingerprint(place, day(-30)) for place in places}
        cache.report_caught_up()
        with capture_logs() as lines:
            loops.keep(AntiEntropy(cache, booking, 10_000, 0.01).run, "anti-entropy")
            for _ in range(20):
                place = random.choice(places)
                row = cache.store.find(place)
                assert row is not None
                flip(cache, row, random)
                await eventually(partial(_is_right, cache, right, place), "the repair")
        causes = [line["cause"] for line in lines if line["event"] == "resynced"]
        assert set(causes) == {cause}
        assert 20 <= len(causes) <= 40, "a round may end before what the last one found is mended"


async def _is_right(cache: Cache, right: dict[UUID, Any], place: UUID) -> bool | None:
    try:
        return (cache.fingerprint(place, day(-30)) == right[place] and cache.bits_agree(place)) or None
    except (IndexError, ValueError, OverflowError):
        return None
