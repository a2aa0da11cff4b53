"""Owns one measured drain of an outbox by the product's relay or by the peer's loop, read back; called by P5."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from uuid import NAMESPACE_OID, uuid5

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import BOOKING_RESERVATIONS
from runtime.kafka import create_topics, partition_of
from runtime.settings import KafkaSettings
from tests.bench.effort import BACKLOG, KEYS
from tests.bench.seed import PARTITIONS
from tests.bench.stage import OUTBOX, Stage

LOOK_S = 0.2
TIMEOUT_S = 900.0
FILLING = 205
"""Characters beside the number, so that the data of a row has 250 bytes."""
_FILL = """
INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data, traceparent)
SELECT gen_random_uuid(), $1, keys.shard, keys.key, 'ReservationConfirmed', 'reservation/' || keys.key,
       gen_random_uuid(), now(), jsonb_build_object('n', n / $4::int, 'filling', repeat('x', $5::int)),
       '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
FROM generate_series(0, $6::int - 1) AS n
JOIN unnest($2::smallint[], $3::text[]) WITH ORDINALITY AS keys (shard, key, place) ON keys.place = n % $4::int + 1
ORDER BY n"""
# The first mark's rows were claimed and sent before the clock of the others begins.
_RATE = """
SELECT (count(*) - count(*) FILTER (WHERE sent_at = first))
       / greatest(extract(epoch FROM max(sent_at) - min(sent_at)), 0.001)::float8
FROM outbox, (SELECT min(sent_at) AS first FROM outbox) AS begun"""
_runs = itertools.count(1)


@dataclass(frozen=True)
class Drained:
    """A drain: rows per second, and what the topic says afterwards."""

    per_second: float
    violations: int
    missing: int
    duplicates: int


def drain_by_product(stage: Stage) -> Drained:
    """Drain a fresh backlog with booking's relay process."""
    stage.ledger()
    with stage.copy(OUTBOX) as database:
        topic = _fill(stage, database)
        with stage.relay(database):
            _wait(stage, database)
        return _result(stage, database, topic)


def drain_by_peer(stage: Stage) -> Drained:
    """Drain a fresh backlog with the plain loop."""
    stage.ledger()
    with stage.copy(OUTBOX) as database:
        topic = _fill(stage, database)
        stage.supervisor.run_all([stage.relay_peer(database)], timeout_s=TIMEOUT_S)
        return _result(stage, database, topic)


def _fill(stage: Stage, database: str) -> str:
    """A backlog for a topic of its own; the topic's name."""
    topic = replace(BOOKING_RESERVATIONS, name=f"bench.backlog.{next(_runs)}")
    settings = KafkaSettings(kafka_bootstrap_servers=stage.kafka_bootstrap, kafka_partitions=PARTITIONS)
    asyncio.run(create_topics(settings, [topic]))
    keys = [str(uuid5(NAMESPACE_OID, str(number))) for number in range(KEYS)]
    shards = [partition_of(key, PARTITIONS) for key in keys]
    stage.sql(database, _FILL, topic.name, shards, keys, KEYS, FILLING, BACKLOG)
    stage.sql(database, "VACUUM ANALYZE outbox")
    stage.sql(database, "CHECKPOINT")
    return topic.name


def _wait(stage: Stage, database: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while stage.sql(database, "SELECT EXISTS (SELECT 1 FROM outbox WHERE sent_at IS NULL)"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the backlog was not drained within {TIMEOUT_S:.0f} s")
        stage.supervisor.check()
        time.sleep(LOOK_S)


def _result(stage: Stage, database: str, topic: str) -> Drained:
    rate = float(stage.sql(database, _RATE))
    seen = asyncio.run(_read_back(stage.kafka_bootstrap, topic))
    firsts = {key: list(dict.fromkeys(numbers)) for key, numbers in seen.items()}
    return Drained(
        rate,
        violations=sum(
            later < earlier for numbers in firsts.values() for earlier, later in itertools.pairwise(numbers)
        ),
        missing=BACKLOG - sum(map(len, firsts.values())),
        duplicates=sum(map(len, seen.values())) - sum(map(len, firsts.values())),
    )


async def _read_back(bootstrap: str, topic: str) -> dict[bytes, list[int]]:
    """The numbers on the topic by key, in the order of the log."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        seen: dict[bytes, list[int]] = defaultdict(list)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    seen[record.key].append(orjson.loads(record.value)["data"]["n"])
        return seen
    finally:
        await consumer.stop()
