"""Proves that kill -9 of booking loses nothing it acknowledged, and that a retry never books twice."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import psutil
import pytest

from deploy.local.journey_client import NotYet, until
from deploy.local.journey_scene import Scene, open_scene
from deploy.local.services import BOOKING
from tests.e2e.infra.drain import check_everything
from tests.e2e.infra.load import Attempt, Load
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

KILLS = 2
ACKNOWLEDGED_BEFORE_KILL = 30
PROPERTIES = 4
RETRY_AFTER_S = 0.2


async def retry_until_booked(load: Load, attempt: Attempt) -> None:
    async def look() -> None:
        await load.ask(attempt)
        if not attempt.is_acknowledged:
            await asyncio.sleep(RETRY_AFTER_S)
            raise NotYet(f"{attempt.reply}")

    await until(look, "the retry to be acknowledged")


async def test_booking_killed_under_load_loses_no_acknowledged_booking_and_retries_book_once(
    running: Running, scene: Scene, report_hits: Callable[[int, int], None]
) -> None:
    properties = [scene.property_id]
    properties += [(await open_scene(scene.agency, running.ota)).property_id for _ in range(PROPERTIES - 1)]
    load, hits = Load(scene.agency, properties, days(0, 1)[0]), 0
    for kill in range(1, KILLS + 1):
        async with load.running():
            await load.wait_for(kill * ACKNOWLEDGED_BEFORE_KILL)
            # Frozen first: what is under way then cannot be answered any more while the kill is on its way.
            psutil.Process(running.supervisor.pid(BOOKING)).suspend()
            under_way = set(load.under_way)
            await running.kill(BOOKING)
        # The kill counts when it hit requests that had been sent and were not answered with a booking.
        hits += any(attempt.key in under_way for attempt in load.unknown())
        acknowledged = {attempt.key: attempt.reply for attempt in load.acknowledged()}
        # Its clients do not wait either, until its consumers may join their group again: they retry.
        await running.restart(BOOKING, wait=False)
        await asyncio.gather(*(retry_until_booked(load, attempt) for attempt in load.unknown()))
        for attempt in load.acknowledged()[:10]:
            if (before := acknowledged.get(attempt.key)) is not None:
                await load.ask(attempt)
                assert attempt.reply is not None
                assert attempt.reply.content == before.content
                assert attempt.reply.headers["Idempotent-Replayed"] == "true"
    report_hits(KILLS, hits)
    answered = {attempt.reply.body["id"] for attempt in load.attempts if attempt.reply is not None}
    stored = await running.ledger.fetch(
        "SELECT id::text FROM reservations WHERE agency_id = $1 AND status = 'confirmed'", uuid.UUID(scene.agency.id)
    )
    assert len(answered) == len(load.attempts)
    assert sorted(row["id"] for row in stored) == sorted(answered)
    await check_everything(running)
