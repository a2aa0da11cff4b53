"""Proves I13 and I14: two clients that book and read over two replicas see their own writes, and never go back.

Each alternates between the replicas; they read each other's properties, too, and echo the highest version they know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from deploy.local.journey_client import Agency
from tests.availability.proofs.agreement import require_agreement
from tests.availability.proofs.stage import SCALE, Stage
from tests.availability.proofs.traffic import Traffic
from tests.availability.proofs.watch import Reader, Watch

OPERATIONS_A_SECOND = 200
CLIENTS = 2
SECONDS = 5 * SCALE
OPERATIONS = OPERATIONS_A_SECOND * SECONDS // CLIENTS
PROPERTIES = 10
pytestmark = [pytest.mark.stack, pytest.mark.timeout(120 + 10 * SECONDS)]


async def test_two_clients_over_two_replicas_read_their_own_writes_and_never_go_back(
    stage: Stage, agency: Agency, report_counts: Callable[[str], None]
) -> None:
    traffics = [Traffic(agency, seed) for seed in range(CLIENTS)]
    for traffic in traffics:
        await traffic.add_places(PROPERTIES)
    places = [place for traffic in traffics for place in traffic.places]
    async with AsyncExitStack() as closing:
        urls = [replica.url for replica in stage.replicas]
        clients = [await closing.enter_async_context(stage.agency(url, agency.id)) for url in urls]
        watch = Watch([Reader(number, clients, places, seed=number) for number in range(CLIENTS)], places)
        began = time.monotonic()
        await asyncio.gather(*map(_client, traffics, watch.readers))
        lasted_s = time.monotonic() - began
    counts = watch.require_truth()
    asked = [seen for reader in watch.readers for seen in reader.seen]
    report_counts(
        f"{CLIENTS * OPERATIONS:,} operations at {CLIENTS * OPERATIONS / lasted_s:.0f}/s, "
        f"{sum(traffic.writes for traffic in traffics):,} writes, {len(asked):,} states read: {counts['cache']:,} from "
        f"memory, {counts['ledger']:,} from the ledger, {counts['503']} refused; none older than known to its reader"
    )
    assert counts["503"] == 0, "booking runs: it answers what memory does not"
    await require_agreement(stage, agency, places)


async def _client(traffic: Traffic, reader: Reader) -> None:
    """Every second operation is a write; each read goes to the other replica than the one before.

    The read after a write is of what was written, then of anything. Paced by intended times, so that one slow operation
    does not slow the rate down.
    """
    began = time.monotonic()
    for number in range(OPERATIONS):
        await asyncio.sleep(max(0.0, began + number * CLIENTS / OPERATIONS_A_SECOND - time.monotonic()))
        written = traffic.places[(number // 4) % len(traffic.places)]
        if number % 2 == 0:
            await traffic.change(written)
        else:
            client = reader.clients[(number // 2) % len(reader.clients)]
            await reader.ask(client, written if number % 4 == 1 else None)
