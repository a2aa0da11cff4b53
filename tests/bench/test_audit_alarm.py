"""I22: how long the auditor takes from a corruption of the ledger or the topic to its alarm, at the aim's size.

The auditor runs as the worker runs it, beside a real relay. Each corruption hits the property its round through the
ledger has just left, which is the worst moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from booking.clients import TopicLog
from booking.main import AUDIT_INTERVAL_S
from booking.service.audits import Auditor
from booking.workers import auditing
from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.ports import HOST
from runtime.kafka import TopicWriter
from runtime.loops import Loops
from runtime.postgres import Connection, create_pool
from tests.bench.effort import QUICK, ROUNDS
from tests.bench.report import Report
from tests.bench.seed import AUDITED_FROM_HERE, PARTITIONS, multiply_ranges, seed_ledger
from tests.bench.stage import OUTBOX, Stage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(0)]

AUDITED_PROPERTIES = 2_000 if QUICK else 20_000
RANGES_EACH = 5 if QUICK else 50
ALARM_S = 60.0
GIVE_UP_S = 600.0
LOOK_S = 0.1

_CURSOR = "UPDATE audit_cursor SET topic_offsets = $1::text::jsonb"
_JUST_LEFT = """
SELECT version.property_id, version.agency_id, version.shard, version.inventory_version
FROM inventory_versions AS version, audit_cursor
WHERE version.property_id <= coalesce(cycle_property, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  AND NOT EXISTS (SELECT FROM audit_findings WHERE property_id = version.property_id)
ORDER BY version.property_id DESC LIMIT 1"""
_OVERLAP = """
INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, created_at)
SELECT gen_random_uuid(), agency_id, property_id, kind, gen_random_uuid(), stay, occupied, created_at
FROM inventory_ranges WHERE property_id = $1 AND state = 'active' LIMIT 1"""
_LOST_EVENT = "UPDATE inventory_versions SET inventory_version = inventory_version + 1 WHERE property_id = $1"
_ALARMS = "SELECT count(*) FROM audit_findings WHERE property_id = $1 AND invariant = $2"


@dataclass(frozen=True)
class Target:
    """The property a corruption hits."""

    property_id: UUID
    agency_id: UUID
    shard: int
    version: int


Corrupt = Callable[[Connection, TopicWriter, Target], Awaitable[object]]


async def _overlap(connection: Connection, _: TopicWriter, target: Target) -> None:
    await connection.execute(_OVERLAP, target.property_id)


async def _lose_event(connection: Connection, _: TopicWriter, target: Target) -> None:
    await connection.execute(_LOST_EVENT, target.property_id)


async def _tell_a_lie(_: Connection, writer: TopicWriter, target: Target) -> None:
    """An event on the topic that no transaction wrote."""
    event = {
        "event_id": str(uuid4()),
        "type": "BlockCreated",
        "subject": f"property/{target.property_id}",
        "agency_id": str(target.agency_id),
        "occurred_at": datetime.now(UTC).isoformat(),
        "producer": "booking",
        "data": {"inventory_version": target.version + 1},
    }
    key = str(target.property_id).encode()
    await writer.send(BOOKING_RESERVATIONS.name, target.shard, key, orjson.dumps(event))


CORRUPTIONS: dict[str, tuple[str, Corrupt]] = {
    "two ranges over the same nights": ("I1", _overlap),
    "a version without an event": ("I10", _lose_event),
    "an event of no transaction": ("I8", _tell_a_lie),
}


def test_a_corruption_raises_the_alarm_within_a_minute(stage: Stage, report: Report) -> None:
    ranges = AUDITED_PROPERTIES * RANGES_EACH
    section = report.section("i22", f"I22: corruption to alarm, {AUDITED_PROPERTIES:,} properties, {ranges:,} ranges")
    stage.ledger()
    with stage.copy(OUTBOX) as database:
        _seed(stage, database)
        with stage.relay(database):
            seconds = asyncio.run(_measure(stage, database))
    for name, values in seconds.items():
        section.limit(name, section.add(name, values, "s", CORRUPTIONS[name][0]), ALARM_S)
    assert max(max(values) for values in seconds.values()) < GIVE_UP_S


def _seed(stage: Stage, database: str) -> None:
    with stage.product(database) as (target,):
        url = f"http://{HOST}:{target[1]}"
        asyncio.run(seed_ledger(stage.admin(database), url, stage.jwt_secret, AUDITED_PROPERTIES))
    asyncio.run(multiply_ranges(stage.admin(database), AUDITED_PROPERTIES, range(1, RANGES_EACH)))
    stage.sql(database, "ALTER TABLE inventory_ranges DROP CONSTRAINT inventory_ranges_no_overlap")
    # The constraint's index is what the auditor finds a property's ranges by; without it the measure would be of that.
    stage.sql(database, "CREATE INDEX bench_ranges ON inventory_ranges (property_id, occupied) WHERE state = 'active'")
    stage.sql(database, "VACUUM ANALYZE inventory_ranges")


async def _measure(stage: Stage, database: str) -> dict[str, list[float]]:
    connection = await asyncpg.connect(stage.admin(database))
    writer = TopicWriter(stage.kafka_bootstrap)
    seconds: dict[str, list[float]] = {name: [] for name in CORRUPTIONS}
    try:
        for statement in AUDITED_FROM_HERE:
            await connection.execute(statement)
        async with _auditing(stage, database, connection) as auditor:
            await _until(lambda: _is(auditor.totals.cycles > 0))
            for _ in range(ROUNDS):
                for name, (invariant, corrupt) in CORRUPTIONS.items():
                    row = await connection.fetchrow(_JUST_LEFT)
                    assert row is not None
                    target = Target(*row.values())
                    began = time.monotonic()
                    await corrupt(connection, writer, target)
                    await _until(partial(_alarm, connection, target, invariant))
                    seconds[name].append(time.monotonic() - began)
    finally:
        await writer.close()
        await connection.close()
    return seconds


@asynccontextmanager
async def _auditing(stage: Stage, database: str, connection: Connection) -> AsyncIterator[Auditor]:
    pool = await create_pool(stage.urls(database).system, size=4, application_name="bench-auditor")
    log = TopicLog(stage.kafka_bootstrap, BOOKING_RESERVATIONS.name, PARTITIONS)
    # What other databases of this run sent is not this ledger's.
    ends = {str(partition): end for partition, end in (await log.ends()).items()}
    await connection.execute(_CURSOR, orjson.dumps(ends).decode())
    auditor = Auditor(pool, log, BOOKING_RESERVATIONS.name)
    try:
        async with Loops() as loops:
            loops.every(AUDIT_INTERVAL_S, auditing(auditor), "auditor")
            yield auditor
    finally:
        await auditor.close()
        await pool.close()


async def _is(value: bool) -> bool:
    return value


async def _alarm(connection: Connection, target: Target, invariant: str) -> bool:
    return bool(await connection.fetchval(_ALARMS, target.property_id, invariant))


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while not await look():
        assert time.monotonic() < deadline, f"no alarm within {GIVE_UP_S:.0f} s"
        await asyncio.sleep(LOOK_S)
