"""Owns changes written at a rate that bookings do not reach, beside booking's own relay: `python -m
tests.bench.change_writer`, a `Changes` as JSON in, what was committed and when out; for P4.

Relay and writer share a process, as in `booking serve`: the writer wakes the relay after each commit. What comes while
a database call is under way goes with the next one, through booking's own grouping. A change takes a version, closes a
night of its own and leaves an event of the size and type of a booking's; what else a booking does is left out.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from uuid import UUID

import uvloop

from booking.service.grouping import Grouped
from contracts.topics import BOOKING_RESERVATIONS
from runtime.loops import Loops
from runtime.postgres import Pool, create_pool
from runtime.relay import Relay
from runtime.settings import KafkaSettings
from tests.bench.loadgen import Created
from tests.bench.traffic import SEEDED_FROM_DAY, first_night, property_id

GROUP = 32
# Behind everything that is booked or seeded; one night per version, so that no two ever meet.
_BEHIND = timedelta(days=SEEDED_FROM_DAY + 60)
_WRITE = """
WITH changed AS (
    UPDATE inventory_versions SET inventory_version = inventory_version + 1 WHERE property_id = ANY ($1::uuid[])
    RETURNING property_id, agency_id, shard, inventory_version AS version, gen_random_uuid() AS range_id,
              gen_random_uuid() AS source_id, $2::date + inventory_version::int AS night
), closed AS (
    INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, created_at)
    SELECT range_id, agency_id, property_id, 'reservation', source_id, daterange(night, night + 1),
           daterange(night, night + 1), now()
    FROM changed)
INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data, traceparent)
SELECT gen_random_uuid(), $3, shard, property_id, 'ReservationConfirmed', 'reservation/' || source_id, agency_id, now(),
       (SELECT event FROM bench_sizes) || jsonb_build_object(
           'property_id', property_id, 'inventory_version', version, 'commit_version', version,
           'reservation_id', source_id, 'check_in', night, 'check_out', night + 1, 'nights', 1,
           'occupied', jsonb_build_array(jsonb_build_object(
               'range_id', range_id, 'kind', 'reservation', 'source_id', source_id, 'expires_at', NULL,
               'stay', jsonb_build_object('start_date', night, 'end_date', night + 1),
               'occupied', jsonb_build_object('start_date', night, 'end_date', night + 1)))),
       '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
FROM changed
RETURNING key, (data->>'inventory_version')::bigint AS version"""


@dataclass(frozen=True)
class Changes:
    """What to write: changes at `rate` per second, Poisson arrivals, to `properties` of a seeded ledger.

    `admin_dsn` writes, whom row security lets; `system_dsn` is the relay's.
    """

    admin_dsn: str = field(repr=False)
    system_dsn: str = field(repr=False)
    bootstrap: str
    partitions: int
    properties: int
    rate: float
    warmup_s: float
    seconds: float
    seed: int


@dataclass(frozen=True)
class Committed:
    """The changes of the measured window, each with the moment its commit was known; changes per second."""

    created: list[Created]
    per_second: float


async def _together(pool: Pool, changed: Sequence[UUID]) -> list[int]:
    rows = await pool.fetch(_WRITE, list(changed), first_night() + _BEHIND, BOOKING_RESERVATIONS.name)
    versions = {UUID(row["key"]): int(row["version"]) for row in rows}
    return [versions[item] for item in changed]


async def _alone(pool: Pool, changed: UUID) -> int:
    return (await _together(pool, [changed]))[0]


async def write(load: Changes) -> Committed:
    """Write and relay; ends when all was written, and the relay a second later."""
    pool = await create_pool(load.admin_dsn, size=2, application_name="bench-writer")
    system = await create_pool(load.system_dsn, size=10, application_name="bench-relay")
    settings = KafkaSettings(kafka_bootstrap_servers=load.bootstrap, kafka_partitions=load.partitions)
    relay = Relay(system, settings, "booking", [BOOKING_RESERVATIONS])
    grouped = Grouped(_together, _alone, GROUP)
    created: list[Created] = []
    chosen = random.Random(load.seed)
    ids = [property_id(number) for number in range(load.properties)]

    async def one(due: float) -> None:
        changed = ids[int(chosen.random() * len(ids))]
        version = await grouped.ask(pool, changed, frozenset([changed]))
        relay.wake()
        if due >= measured_from:
            created.append((str(changed), version, time.monotonic()))

    async with Loops() as loops:
        loops.keep(relay.run, "relay")
        due = time.monotonic()
        measured_from, until = due + load.warmup_s, due + load.warmup_s + load.seconds
        async with asyncio.TaskGroup() as group:
            while (due := due + chosen.expovariate(load.rate)) < until:
                if (ahead := due - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                group.create_task(one(due))
        took = time.monotonic() - measured_from
        await asyncio.sleep(1)
    await relay.close()
    await pool.close()
    await system.close()
    return Committed(created, len(created) / took)


if __name__ == "__main__":
    made = uvloop.run(write(Changes(**json.load(sys.stdin))))
    json.dump(asdict(made), sys.stdout)
