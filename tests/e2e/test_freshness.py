"""Proves that every answer says how fresh it is, and that availability answers while booking does not."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.journey_client import nights_of
from deploy.local.journey_scene import Scene
from deploy.local.services import BOOKING
from tests.e2e.infra.drain import drain
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

STAY = days(0, 3)
SAMPLES = 40
SAMPLE_EVERY_S = 0.05


async def test_idle_and_healthy_the_lag_stays_under_1000_ms(running: Running, scene: Scene) -> None:
    await drain(running)
    answers = []
    for _ in range(SAMPLES):
        answers.append(await scene.availability(STAY))
        await asyncio.sleep(SAMPLE_EVERY_S)
    assert {answer["source"] for answer in answers} == {"cache"}
    assert max(answer["lag_ms"] for answer in answers) < 1000
    as_of = [answer["as_of"] for answer in answers]
    assert as_of == sorted(as_of)
    assert len(set(as_of)) > 1, "as_of must go on although nothing is booked"


async def test_with_booking_stopped_availability_still_answers_from_its_cache(running: Running, scene: Scene) -> None:
    booked = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    await scene.shown(STAY, closed=nights_of(STAY))
    await running.stop(BOOKING)
    try:
        for min_version in (None, booked["inventory_version"]):
            answer = await scene.availability(STAY, min_version=min_version)
            assert answer["source"] == "cache"
            assert answer["ranges"] == [{"start_date": str(STAY[0]), "end_date": str(STAY[1]), "kind": "reservation"}]
        # What the cache does not have only booking could answer.
        newer = await scene.agency.availability(scene.property_id, STAY, min_version=booked["inventory_version"] + 1)
        assert newer.expect(503)["code"] == "unavailable"
        assert newer.headers["Retry-After"]
        refused = await scene.agency.book(scene.property_id, days(5, 6))
        assert refused.expect(503)["code"] == "unavailable"
    finally:
        await running.restart(BOOKING)
    (await scene.agency.book(scene.property_id, days(5, 6))).expect(201)
    await scene.shown(days(5, 6), closed=nights_of(days(5, 6)))
