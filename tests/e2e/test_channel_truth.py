"""Proves I15 and I16: after a storm of faults and kills every channel believes the ledger's nights, and every revision
is accounted for.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest

from contracts.booking_http_v1 import PropertyState
from deploy.local.services import BOOKING
from rules.calendar import StoredRange, open_bits
from tests.e2e.infra.channel_processes import quick_channel_sync
from tests.e2e.infra.channel_storm import NIGHTS, Channel, Storm
from tests.e2e.infra.drain import drain
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.e2e.infra.running import Running, days

SCALE = int(os.environ.get("PMS_CHANNEL_SCALE", "1"))
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300 * SCALE)]

CHANNELS, PROPERTIES, STEPS, KILLS = 10, 3, 120 * SCALE, 3 * SCALE
FINAL = {"applied", "duplicate", "superseded", "parked", "unmapped", "unparseable", "echo", "dead_lettered"}


async def test_after_a_storm_every_channel_believes_the_ledger_and_every_revision_is_accounted_for(
    running: Running,
) -> None:
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        agency = await stack.enter_async_context(running.agency())
        names = await stack.enter_async_context(quick_channel_sync(running))
        properties = [
            str((await agency.create_property(preparation_days=number % 2)).expect(201)["id"])
            for number in range(PROPERTIES)
        ]
        channels = []
        for _ in range(CHANNELS):
            ota = await stack.enter_async_context(OtaSimulator())
            connection = await agency.connect(ota.endpoint_url, ota.secret)
            for property_id in properties:
                (await agency.map_listing(connection["id"], property_id, property_id)).expect(201)
            channels.append(Channel(ota, connection["id"], connection["inbound_url"]))
        storm = Storm(agency, channels, properties, dice)
        kills = sorted(dice.sample(range(STEPS), KILLS))
        for number in range(STEPS):
            if number in kills:
                name = dice.choice(names)
                await running.kill(name)
                await running.restart(name, wait=False)
            await storm.step()
        await asyncio.to_thread(running.supervisor.wait_ready, *names)
        await _calm(storm)
        await drain(running, patience_s=120)
        await _hold_the_channels_against_the_ledger(running, storm, seed)
        await _account_for_every_revision(running, storm, seed)


async def _calm(storm: Storm) -> None:
    """The channels behave, and their agency says so: what waits in a long pause is tried at once."""
    for channel in storm.channels:
        channel.ota.behave()
        reply = await storm.agency.request("PATCH", f"/channel-connections/{channel.connection_id}", {"enabled": True})
        reply.expect(200)


async def _hold_the_channels_against_the_ledger(running: Running, storm: Storm, seed: int) -> None:
    first, end = days(-1, NIGHTS + 10)
    async with running.service_api(running.suite.url(BOOKING)) as api:
        for property_id in storm.properties:
            answer = (await api.request("GET", f"/internal/properties/{property_id}/state")).expect(200)
            closed = _closed(PropertyState.model_validate(answer), first, end)
            assert closed, "the storm sold nothing"
            for number, channel in enumerate(storm.channels):
                believed = {night for night in channel.ota.closed_nights(property_id) if first <= night < end}
                assert believed == closed, f"channel {number}, seed {seed}"


def _closed(state: PropertyState, first: date, end: date) -> set[date]:
    """The nights that are closed by the kernel's own rule."""
    ranges = [
        StoredRange(
            held.range_id,
            held.kind.value,
            held.source_id,
            held.stay.start_date,
            held.stay.end_date,
            held.occupied.start_date,
            held.occupied.end_date,
            held.expires_at,
        )
        for held in state.state.ranges
    ]
    count = (end - first).days
    bits = open_bits(ranges, state.state.profile.preparation_days, first, count, state.as_of)
    return {first + timedelta(days=offset) for offset in range(count) if not bits >> offset & 1}


async def _account_for_every_revision(running: Running, storm: Storm, seed: int) -> None:
    for channel in storm.channels:
        rows = await running.channel.fetch(
            "SELECT revision_id, state, settled_at, received_at FROM inbound_revisions WHERE connection_id = $1",
            UUID(channel.connection_id),
        )
        seen = Counter(row["revision_id"] for row in rows)
        assert set(seen) == channel.stored, f"seed {seed}"
        assert set(seen.values()) <= {1}
        assert {row["state"] for row in rows} <= FINAL
        assert all(isinstance(row["settled_at"], datetime) for row in rows)
