"""Owns the floor of P4: a commit, a record to Kafka, and its arrival at a bare consumer; nothing else around them.

`python -m tests.bench.peers.bare_kafka consume|produce`, a `Bare` as JSON in, its times out. Producer and consumer are
processes of their own, as the product's are. The producer commits one row per record before it sends it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

CONNECTIONS = 16
ROW_BYTES = 900
TABLE = "CREATE TABLE IF NOT EXISTS bench_commits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data text)"
_INSERT = "INSERT INTO bench_commits (data) VALUES ($1)"
READY = "ready"


@dataclass(frozen=True)
class Bare:
    """What to send: records of ROW_BYTES at `rate` per second, Poisson arrivals, over all partitions of a topic."""

    dsn: str = field(repr=False)
    bootstrap: str
    topic: str
    partitions: int
    rate: float
    warmup_s: float
    seconds: float
    seed: int


async def produce(load: Bare) -> dict[str, tuple[float, float]]:
    """Commit and send at intended times; of each measured record when it was due and when its commit was done."""
    pool = await asyncpg.create_pool(load.dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    producer = AIOKafkaProducer(bootstrap_servers=load.bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    times: dict[str, tuple[float, float]] = {}
    filling = "x" * ROW_BYTES

    async def one(serial: int, due: float) -> None:
        await pool.execute(_INSERT, filling)
        committed = time.monotonic()
        if due >= measured_from:
            times[str(serial)] = (due, committed)
        await producer.send(load.topic, filling.encode(), str(serial).encode(), partition=serial % load.partitions)

    gaps = random.Random(load.seed)
    due = time.monotonic()
    measured_from, until = due + load.warmup_s, due + load.warmup_s + load.seconds
    serial = 0
    async with asyncio.TaskGroup() as group:
        while (due := due + gaps.expovariate(load.rate)) < until:
            if (ahead := due - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            serial += 1
            group.create_task(one(serial, due))
    await producer.stop()
    await pool.close()
    return times


async def consume(load: Bare) -> dict[str, float]:
    """When each record arrived, until standard input ends and nothing more comes."""
    places = [TopicPartition(load.topic, number) for number in range(load.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=load.bootstrap, enable_auto_commit=False, auto_offset_reset="latest")
    consumer.assign(places)
    await consumer.start()
    await consumer.seek_to_end(*places)
    print(READY, flush=True)
    arrived: dict[str, float] = {}
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while True:
        batches = await consumer.getmany(timeout_ms=500)
        now = time.monotonic()
        arrived |= {record.key.decode(): now for batch in batches.values() for record in batch}
        if not batches and ended.done():
            break
    await consumer.stop()
    return arrived


if __name__ == "__main__":
    wanted = Bare(**json.loads(sys.stdin.readline()))
    made = uvloop.run(consume(wanted) if sys.argv[1] == "consume" else produce(wanted))
    json.dump(made, sys.stdout)
