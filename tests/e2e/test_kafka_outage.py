"""Proves that bookings do not need Kafka: they go on while it is down, and everyone hears of them in order after."""

from __future__ import annotations

import asyncio
import time

import pytest

from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import closed_nights
from deploy.local.journey_scene import Scene, open_scene
from tests.e2e.infra.drain import check_everything, drain
from tests.e2e.infra.load import Load
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

PROPERTIES = 3
PAUSE_S = 0.1
LAG_AFTER_S, OUTAGE_S = 5.0, 10.0
# Dead members leave their groups after their session ends, and what restarts waits longer each time.
PATIENCE_S = 90.0


async def test_with_kafka_stopped_for_10_s_bookings_go_on_the_lag_is_told_and_the_outbox_drains_in_order(
    running: Running, scene: Scene, embedded_kafka: str
) -> None:
    scenes = [scene, *[await open_scene(scene.agency, running.ota) for _ in range(PROPERTIES - 1)]]
    load = Load(scene.agency, [item.property_id for item in scenes], days(0, 1)[0], pause_s=PAUSE_S)
    await drain(running)
    await running.stop(embedded_kafka)
    stopped_at = time.monotonic()
    try:
        async with load.running(lanes=2):
            await asyncio.sleep(LAG_AFTER_S)
            told = await scene.availability(days(0, 1))
            own = load.acknowledged()[-1]
            assert own.reply is not None
            sold = (
                await scene.agency.availability(
                    own.property_id, own.stay, min_version=own.reply.body["inventory_version"]
                )
            ).expect(200)
            await asyncio.sleep(max(0.0, OUTAGE_S - (time.monotonic() - stopped_at)))
        assert told["source"] == "cache"
        assert told["lag_ms"] > 4000
        assert sold["source"] == "ledger"
        assert len(closed_nights(sold["ranges"])) == 1
        answers = [attempt.reply.status for attempt in load.attempts if attempt.reply is not None]
        assert set(answers) == {201}
        unsent = await running.ledger.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
        assert unsent >= len(answers) > 20
    finally:
        await running.restart(embedded_kafka)
    await drain(running, PATIENCE_S)
    await check_everything(running)
    for item in scenes:
        events = await running.topics.events_of(BOOKING_RESERVATIONS.name, item.property_id)
        booked = [attempt for attempt in load.attempts if attempt.property_id == item.property_id]
        assert len({event.event_id for event in events}) >= 1 + len([one for one in booked if one.is_acknowledged])
        await item.told(days(0, 1), "closed")
