"""Proves that availability's memory can be thrown away: rebuilt from the topics it equals the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
import pytest
from aiokafka import ConsumerRecord

from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS
from deploy.local.journey_client import NotYet, nights_of, until
from deploy.local.journey_scene import new_code, open_scene
from deploy.local.services import AVAILABILITY, BOOKING
from tests.e2e.infra.drain import check_everything, digests, drain, ledger_versions
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

PROPERTIES = 15
PAGE = 4


LATEST_MS = 10_000


async def test_every_change_is_on_the_compacted_topic_within_ten_seconds(running: Running) -> None:
    async with running.agency() as agency:
        scene = await open_scene(agency, running.ota)
        for first in (0, 10, 20):
            (await agency.book(scene.property_id, days(first, first + 2))).expect(201)
            (await agency.block(scene.property_id, days(first + 5, first + 6))).expect(201)
            await asyncio.sleep(1)
        await drain(running)
        await until(lambda: _is_published(running, scene.property_id), "the last version on the compacted topic")
        changed = await running.topics.records(BOOKING_RESERVATIONS.name)
        published = await running.topics.records(BOOKING_PROPERTIES.name)
        versions = _versions(changed, scene.property_id)
        assert len(versions) > 6
        for version, changed_at in versions:
            states = [at for found, at in _versions(published, scene.property_id) if found >= version]
            assert min(states) - changed_at <= LATEST_MS, version


async def _is_published(running: Running, property_id: str) -> None:
    versions = await ledger_versions(running)
    found = _versions(await running.topics.records(BOOKING_PROPERTIES.name), property_id)
    if not found or max(found)[0] < versions[property_id]:
        raise NotYet(f"{found} of {versions[property_id]}")


def _versions(records: Iterable[ConsumerRecord[bytes, bytes]], property_id: str) -> list[tuple[int, int]]:
    """Version and time in ms of each record of a property."""
    own = (record for record in records if record.key == property_id.encode() and record.value)
    return [(orjson.loads(record.value or b"")["data"]["inventory_version"], record.timestamp) for record in own]


async def test_availability_restarted_from_nothing_equals_the_ledger(running: Running) -> None:
    async with running.agency() as agency:
        scenes = await asyncio.gather(
            *(open_scene(agency, running.ota, preparation_days=n % 3) for n in range(PROPERTIES))
        )
        for number, scene in enumerate(scenes):
            booked = (await agency.book(scene.property_id, days(0, 2 + number % 4))).expect(201)
            (await agency.block(scene.property_id, days(20, 22))).expect(201)
            if number % 2:
                (await agency.cancel(booked["id"])).expect(200)
            else:
                await scene.sell(days(1, 9), new_code())
        await drain(running)
        before = await digests(running, running.suite.url(AVAILABILITY))
        await running.kill(AVAILABILITY)
        (running.supervisor.run_dir / f"{AVAILABILITY}.snapshot").unlink(missing_ok=True)
        # Changes it did not hear of: it finds them on the topic.
        missed = scenes[1]
        (await agency.book(missed.property_id, days(40, 42))).expect(201)
        await running.restart(AVAILABILITY)
        ledger = await digests(running, running.suite.url(BOOKING), PAGE)
        assert len(ledger) >= PROPERTIES
        assert {key: version for key, (version, _) in ledger.items()} == await ledger_versions(running)
        await drain(running)
        rebuilt = await digests(running, running.suite.url(AVAILABILITY), PAGE)
        assert rebuilt == ledger
        assert {key for key in ledger if ledger[key] != before[key]} == {missed.property_id}
        await missed.shown(days(40, 42), closed=nights_of(days(40, 42)))
    await check_everything(running)
