"""Proves that no event is lost or reordered whatever happens to relays, with booking run as a process per role."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
import pytest_asyncio

from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, NotYet, Unexpected, closed_nights, nights_of, until
from deploy.local.journey_scene import Scene, open_scene
from deploy.local.services import AVAILABILITY, BOOKING
from tests.e2e.infra.channel_processes import frozen
from tests.e2e.infra.drain import check_everything, drain
from tests.e2e.infra.load import Load
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

STAY = days(0, 3)
TRIES = 3
STAYS_PER_TRY = 4
LAG_SAMPLES, PAUSE_MS = 5, 500
LAG_LIMIT_MS = 1500
LEASES_DELETED_EVERY_S = 0.02

_UNSENT = "SELECT id, event_id FROM outbox WHERE sent_at IS NULL AND key = $1 ORDER BY id"
_BLOCKED_MARKS = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE outbox SET sent_at%' AND datname = 'pms_booking'"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def roles(running: Running) -> AsyncIterator[dict[str, str]]:
    """Booking as a process per role; their names."""
    async with running.booking_by_roles() as names:
        yield names


@asynccontextmanager
async def rows_locked(running: Running, ids: list[int]) -> AsyncIterator[None]:
    """Whoever wants to mark one of these outbox rows waits."""
    connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    async with running.ledger.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SELECT FROM outbox WHERE id = ANY ($1::bigint[]) FOR UPDATE", ids)
            yield
        finally:
            await transaction.rollback()


async def book_stays(agency: Agency, property_id: str, first: int) -> None:
    for number in range(first, first + STAYS_PER_TRY):
        (await agency.book(property_id, days(number, number + 1))).expect(201)


async def wait_for_sent_and_unmarked(running: Running, property_id: str, times: int) -> Counter[str]:
    """Once every unsent event of the property is on the topic at least `times`, and as many marks wait for the lock."""

    async def look() -> Counter[str]:
        unsent = await running.ledger.fetch(_UNSENT, property_id)
        blocked = await running.ledger.fetchval(_BLOCKED_MARKS)
        on_topic = Counter(
            event.event_id for event in await running.topics.events_of(BOOKING_RESERVATIONS.name, property_id)
        )
        seen = Counter({str(row["event_id"]): on_topic[str(row["event_id"])] for row in unsent})
        if len(seen) < STAYS_PER_TRY or min(seen.values()) < times or blocked < times:
            raise NotYet(f"unsent rows and their events on the topic: {dict(seen)}, marks waiting: {blocked}")
        return seen

    return await until(look, f"{STAYS_PER_TRY} events sent {times} times and not marked")


async def test_a_read_that_names_a_version_the_cache_does_not_have_goes_to_the_ledger(
    running: Running, roles: dict[str, str], scene: Scene
) -> None:
    await drain(running)
    # The worker too: the snapshots it publishes would bring the cache up to date without the relay.
    with frozen(running, roles["relay"], roles["worker"]):
        booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
        with pytest.raises(Unexpected, match="events not sent yet"):
            await drain(running, patience_s=0.2)
        stale = await scene.availability(STAY)
        assert (stale["source"], stale["inventory_version"], stale["ranges"]) == ("cache", 1, [])
        answer = await scene.availability(STAY, min_version=booked["inventory_version"])
        assert answer["source"] == "ledger"
        assert answer["inventory_version"] >= booked["inventory_version"]
        assert closed_nights(answer["ranges"]) == nights_of(STAY)
    await scene.shown(STAY, closed=nights_of(STAY))


async def test_with_the_relay_stopped_the_lag_grows_and_past_its_limit_answers_come_from_the_ledger_or_say_their_age(
    running: Running, roles: dict[str, str], scene: Scene
) -> None:
    await drain(running)
    spec = running.role(AVAILABILITY, "serve", name="availability-strict", env={"MAX_CACHE_LAG_MS": str(LAG_LIMIT_MS)})
    async with running.added(spec) as (strict_url,), running.agency(scene.agency.id, at=strict_url) as strict:
        await running.stop(roles["relay"])
        try:
            # The worker's snapshots would bring the caches up to date without the relay.
            with frozen(running, roles["worker"]):
                await _require_the_lag_to_tell(scene, strict)
                await running.stop(roles["api"])
                await _require_age_or_refusal(scene, strict)
        finally:
            await running.restart(roles["api"])
            await running.restart(roles["relay"])

        async def look() -> None:
            answer = (await strict.availability(scene.property_id, STAY)).expect(200)
            if answer["source"] != "cache" or answer["lag_ms"] >= 1000:
                raise NotYet(f"{answer}")

        await until(look, "fresh answers from memory again")
    await scene.shown(STAY, closed=nights_of(STAY))


async def _require_the_lag_to_tell(scene: Scene, strict: Agency) -> None:
    """Memory says how old it is; past a replica's limit, and for who names a version, the ledger answers."""
    booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    lags = []
    for _ in range(LAG_SAMPLES):
        await asyncio.sleep(PAUSE_MS / 1000)
        answer = await scene.availability(STAY)
        assert (answer["source"], answer["ranges"]) == ("cache", [])
        lags.append(answer["lag_ms"])
    assert lags[-1] - lags[0] >= PAUSE_MS * (LAG_SAMPLES - 1)
    assert lags[-1] > LAG_LIMIT_MS
    named = await scene.availability(STAY, min_version=booked["inventory_version"])
    moved = (await strict.availability(scene.property_id, STAY)).expect(200)
    for told in (named, moved):
        assert (told["source"], told["inventory_version"]) == ("ledger", booked["inventory_version"])
        assert closed_nights(told["ranges"]) == nights_of(STAY)
        assert told["lag_ms"] < lags[-1]


async def _require_age_or_refusal(scene: Scene, strict: Agency) -> None:
    """Without booking: 503 for who names a version past the limit, else what memory has, with its age."""
    refused = await strict.availability(scene.property_id, STAY, min_version=1)
    assert refused.expect(503)["code"] == "unavailable"
    assert refused.headers["Retry-After"]
    aged = (await strict.availability(scene.property_id, STAY)).expect(200)
    assert aged["source"] == "cache"
    assert aged["lag_ms"] > LAG_LIMIT_MS


async def test_a_relay_killed_between_kafkas_acknowledgement_and_its_mark_loses_and_reorders_nothing(
    running: Running, roles: dict[str, str], scene: Scene, report_hits: Callable[[int, int], None]
) -> None:
    relay, hits = roles["relay"], 0
    await running.kill(relay)
    try:
        for number in range(TRIES):
            await book_stays(scene.agency, scene.property_id, number * STAYS_PER_TRY)
            rows = await running.ledger.fetch(_UNSENT, scene.property_id)
            # The lease of the killed relay would only make the next one wait.
            await running.ledger.execute("DELETE FROM relay_leases")
            async with rows_locked(running, [rows[-1]["id"]]):
                await running.restart(relay)
                await wait_for_sent_and_unmarked(running, scene.property_id, times=1)
                await running.kill(relay)
                still = [row["id"] for row in await running.ledger.fetch(_UNSENT, scene.property_id)]
                hits += still == [row["id"] for row in rows]
    finally:
        await running.ledger.execute("DELETE FROM relay_leases")
        await running.restart(relay)
    report_hits(TRIES, hits)
    await scene.shown(days(0, 12), closed=nights_of(days(0, TRIES * STAYS_PER_TRY)))
    await check_everything(running)


async def test_two_relays_on_one_shard_without_a_lease_send_duplicates_only(
    running: Running, roles: dict[str, str], scene: Scene, report_hits: Callable[[int, int], None]
) -> None:
    async def delete_leases() -> None:
        while True:
            await running.ledger.execute("DELETE FROM relay_leases")
            await asyncio.sleep(LEASES_DELETED_EVERY_S)

    relays = (roles["relay"], "booking-relay-2")
    hits = 0
    async with running.added(running.role(BOOKING, "relay", name=relays[1])):
        deleting = asyncio.create_task(delete_leases())
        try:
            for number in range(TRIES):
                with frozen(running, *relays):
                    await book_stays(scene.agency, scene.property_id, number * STAYS_PER_TRY)
                    rows = await running.ledger.fetch(_UNSENT, scene.property_id)
                    locked = rows_locked(running, [row["id"] for row in rows])
                    await locked.__aenter__()
                try:
                    await wait_for_sent_and_unmarked(running, scene.property_id, times=2)
                    hits += 1
                finally:
                    await locked.__aexit__(None, None, None)
            # And both running freely under load.
            others = [await open_scene(scene.agency, running.ota) for _ in range(3)]
            load = Load(scene.agency, [other.property_id for other in others], days(0, 1)[0])
            async with load.running():
                await load.wait_for(60)
        finally:
            deleting.cancel()
            with suppress(asyncio.CancelledError):
                await deleting
    report_hits(TRIES, hits)
    await check_everything(running)


async def test_a_relay_that_wakes_up_after_its_successor_took_over_disturbs_nothing(
    running: Running, roles: dict[str, str], scene: Scene, report_hits: Callable[[int, int], None]
) -> None:
    successor = "booking-relay-2"
    load = Load(scene.agency, [scene.property_id], days(0, 1)[0])
    async with running.added(running.role(BOOKING, "relay", name=successor)), load.running(lanes=2):
        await load.wait_for(10)
        with frozen(running, roles["relay"]):
            await load.wait_for(20)
            await wait_until_all_leases_belong_to(running, successor)
            await load.wait_for(len(load.acknowledged()) + 10)
        await load.wait_for(len(load.acknowledged()) + 20)
    report_hits(1, 1)
    await check_everything(running)


async def wait_until_all_leases_belong_to(running: Running, name: str) -> None:
    pid = running.supervisor.pid(name)

    async def look() -> None:
        owners = [row["owner"] for row in await running.ledger.fetch("SELECT owner FROM relay_leases")]
        if len(owners) != running.suite.kafka_partitions or any(f"/{pid}/" not in owner for owner in owners):
            raise NotYet(f"owners {owners}")

    await until(look, f"{name}, process {pid}, to hold every lease")
