"""Proves that availability's memory can be thrown away: rebuilt from the topics it equals the ledger."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.journey_client import nights_of
from deploy.local.journey_scene import new_code, open_scene
from deploy.local.services import AVAILABILITY, BOOKING
from tests.e2e.infra.drain import check_everything, digests, drain, ledger_versions
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

PROPERTIES = 15
PAGE = 4


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
