"""Proves I1 to I7 on the history of 32 clients at two booking processes, one or the other killed in between.

Which request made a change is told by the trace id both carry; see `tests/e2e/infra/history.py` for what is shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import date
from typing import Any

import asyncpg
import psutil
import pytest

from deploy.local.journey_client import Agency, NotYet, until
from deploy.local.services import BOOKING
from tests.e2e.infra.drain import check_everything
from tests.e2e.infra.history import CHECKED, check
from tests.e2e.infra.history_clients import Clients
from tests.e2e.infra.history_records import EVENTS, ActiveRange, Change, Ledger, Nights, Operation
from tests.e2e.infra.running import Running, days

SECONDS = float(os.environ.get("PMS_HISTORY_SECONDS", "20"))
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180 + 4 * SECONDS)]

CLIENTS = 32
PROPERTIES = 20
SECONDS_BETWEEN_KILLS = 3.0
LEAST_KILLS = 2
NAMES = ("booking-2", "booking-3")

_CHANGES = """
SELECT key, type, subject, traceparent, data FROM outbox WHERE agency_id = $1 AND type <> 'PropertyCreated'"""
_RANGES = """
SELECT property_id::text, source_id::text, lower(stay) AS since, upper(stay) AS until
FROM inventory_ranges WHERE agency_id = $1 AND state = 'active'"""
_RECORDS = """
SELECT id::text FROM reservations WHERE agency_id = $1 UNION ALL SELECT id::text FROM holds WHERE agency_id = $1"""
_AT_WORK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'booking' AND state <> 'idle'"""


async def test_what_many_clients_saw_while_processes_were_killed_fits_one_set_of_disjoint_nights(
    running: Running,
    agency: Agency,
    report_hits: Callable[[int, int], None],
    report_counts: Callable[[str], None],
) -> None:
    properties = [str((await agency.create_property()).expect(201)["id"]) for _ in range(PROPERTIES)]
    seed = uuid.uuid4().int
    async with two_processes(running, agency.id) as processes:
        clients = Clients(processes, properties, days(0, 1)[0], seed)
        async with working(clients):
            kills = await kill_in_turn(running, clients)
    hits = [sum(made.is_unknown for made in clients.operations if made.trace_id in killed) for killed in kills]
    await until(lambda: _nobody_at_work(running), "the statements of killed processes to end")
    operations, ledger = clients.operations, await read_ledger(running, agency.id)
    violations = await asyncio.to_thread(check, operations, ledger)
    assert not violations, f"{len(violations)}, seed {seed}: " + "\n".join(map(str, violations[:10]))
    # The same history and a ledger that lost one of its rows.
    assert "I3" in {found.invariant for found in check(operations, replace(ledger, ranges=ledger.ranges[1:]))}
    report_hits(len(kills), sum(hit > 0 for hit in hits))
    report_counts(_counted(operations, ledger, hits))
    # What never happened proves nothing.
    assert len(operations) > 10 * CLIENTS
    assert {made.action for made in operations if made.is_acknowledged} == set(EVENTS)
    await check_everything(running)


@asynccontextmanager
async def two_processes(running: Running, agency_id: str) -> AsyncIterator[list[Agency]]:
    """Two more booking processes in the API's role, as clients of one agency see them."""
    async with AsyncExitStack() as closing:
        specs = [running.role(BOOKING, "api", name=name) for name in NAMES]
        urls = await closing.enter_async_context(running.added(*specs))
        yield [await closing.enter_async_context(running.agency(agency_id, at=url)) for url in urls]


@asynccontextmanager
async def working(clients: Clients) -> AsyncIterator[None]:
    """All clients at work; at the end each finishes what it has begun."""
    tasks = [asyncio.create_task(clients.run(number)) for number in range(CLIENTS)]
    try:
        yield
    finally:
        clients.stopping = True
        await asyncio.gather(*tasks)


async def kill_in_turn(running: Running, clients: Clients) -> list[set[str]]:
    """`kill -9` of one process, then the other, for as long as it lasts; what each had not answered, by trace id."""
    ends = time.monotonic() + SECONDS
    kills: list[set[str]] = []
    while len(kills) < LEAST_KILLS or time.monotonic() + SECONDS_BETWEEN_KILLS < ends:
        await asyncio.to_thread(running.supervisor.wait_ready, *NAMES)
        await asyncio.sleep(SECONDS_BETWEEN_KILLS)
        number = len(kills) % len(NAMES)
        # Frozen first: what is under way then cannot be answered any more while the kill is on its way.
        psutil.Process(running.supervisor.pid(NAMES[number])).suspend()
        kills.append({trace_id for trace_id, at in clients.under_way.items() if at is clients.processes[number]})
        await running.kill(NAMES[number])
        await running.restart(NAMES[number], wait=False)
    await asyncio.sleep(max(0.0, ends - time.monotonic()))
    return kills


async def read_ledger(running: Running, agency_id: str) -> Ledger:
    """What the database holds of the agency."""
    agency = uuid.UUID(agency_id)
    ranges = [
        ActiveRange(row["property_id"], row["source_id"], (row["since"], row["until"]))
        for row in await running.ledger.fetch(_RANGES, agency)
    ]
    records = frozenset(row["id"] for row in await running.ledger.fetch(_RECORDS, agency))
    return Ledger([_change(row) for row in await running.ledger.fetch(_CHANGES, agency)], ranges, records)


def _change(row: asyncpg.Record) -> Change:
    data = json.loads(row["data"])
    return Change(
        row["key"],
        data["inventory_version"],
        row["type"],
        row["subject"].partition("/")[2],
        row["traceparent"].split("-")[1],
        tuple(_nights(taken) for taken in data["occupied"]),
        tuple(_nights(given) for given in data["released"]),
    )


def _nights(stored: Any) -> Nights:
    return date.fromisoformat(stored["stay"]["start_date"]), date.fromisoformat(stored["stay"]["end_date"])


async def _nobody_at_work(running: Running) -> None:
    if at_work := await running.ledger.fetchval(_AT_WORK):
        raise NotYet(f"{at_work} are at work")


def _counted(operations: list[Operation], ledger: Ledger, hits: list[int]) -> str:
    answers = Counter("unknown" if made.is_unknown else str(made.status) for made in operations)
    told = ", ".join(f"{count:,} {answer}" for answer, count in sorted(answers.items()))
    lasted_s = max(made.began for made in operations) - min(made.began for made in operations)
    return (
        f"{len(operations):,} operations in {lasted_s:.0f} s ({told}), {len(ledger.changes):,} changes, "
        f"{len(hits)} kills that left {sum(hits)} requests unanswered; {', '.join(CHECKED)} hold"
    )
