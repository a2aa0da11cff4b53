"""Owns writing outbox rows, running relays on them, and what of it is seen on the topic; for the relay's tests."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import uuid4

import orjson

from contracts.envelope import Envelope
from runtime.kafka import partition_of
from runtime.loops import Loops
from runtime.postgres import Connection, Pool
from runtime.relay import Relay
from tests.runtime.conftest import SERVICE, Consumed, TopicOf
from tests.waiting import eventually

INSERT = """
INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data)
SELECT gen_random_uuid(), $1, row.shard, row.key, 'Changed', 'thing/' || row.key, gen_random_uuid(), now(),
       jsonb_build_object('n', row.n, 'filling', repeat('x', $5))
FROM unnest($2::smallint[], $3::text[], $4::int[]) AS row (shard, key, n)"""


def keys_of(count: int) -> list[str]:
    """As many ids."""
    return [str(uuid4()) for _ in range(count)]


class Outbox:
    """The outbox of one topic: every key's rows are numbered from 0 in the order they are written."""

    def __init__(self, pool: Pool, of: TopicOf) -> None:
        self.pool = pool
        self.of = of
        self.written: dict[str, int] = defaultdict(int)

    async def add(self, keys: Sequence[str], *, to: Connection | None = None, size: int = 20) -> None:
        """Write one row per key, in this order, in one statement."""
        partitions = self.of.settings.kafka_partitions
        numbers = [self._next(key) for key in keys]
        shards = [partition_of(key, partitions) for key in keys]
        await (to or self.pool).execute(INSERT, self.of.topic.name, shards, list(keys), numbers, size)

    async def add_many(self, keys: Sequence[str], rows: int) -> None:
        """Write `rows` rows in a random order of keys."""
        chosen = random.Random(7)
        await self.add([chosen.choice(keys) for _ in range(rows)])

    def _next(self, key: str) -> int:
        self.written[key] += 1
        return self.written[key] - 1

    async def unsent(self) -> int:
        """How many rows are not marked as sent."""
        return int(await self.pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"))

    async def drained(self, timeout_s: float = 15.0) -> None:
        """Wait until every row is marked as sent."""

        async def look() -> bool | None:
            return await self.unsent() == 0 or None

        await eventually(look, "every row sent", timeout_s)

    async def numbers(self) -> dict[str, list[int]]:
        """What is on the topic by key, in the order of the log, duplicates included."""
        return numbers_in(await self.of.records())

    async def check_complete_and_in_order(self) -> int:
        """Every row is on the topic, first appearances in the order of each key; how many records are duplicates."""
        found = await self.numbers()
        firsts = {key: list(dict.fromkeys(numbers)) for key, numbers in found.items()}
        assert firsts == {key: list(range(count)) for key, count in self.written.items()}
        return sum(map(len, found.values())) - sum(self.written.values())


@asynccontextmanager
async def relaying(pool: Pool, of: TopicOf) -> AsyncIterator[Relay]:
    """A relay that runs as in a service, and ends without giving its leases back, as a killed one does."""
    relay = Relay(pool, of.settings, SERVICE, [of.topic])
    async with Loops() as loops:
        loops.keep(relay.run, "relay")
        yield relay


def is_watermark(record: Consumed) -> bool:
    """A watermark has no key."""
    return record.key is None


def numbers_in(records: Iterable[Consumed]) -> dict[str, list[int]]:
    """The numbers of the events by key."""
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        if not is_watermark(record):
            found[(record.key or b"").decode()].append(orjson.loads(record.value or b"")["data"]["n"])
    return found


def database_time(watermark: Consumed) -> datetime:
    """The database time a watermark speaks of."""
    envelope = Envelope.model_validate_json(watermark.value or b"")
    assert envelope.type == "Watermark"
    assert envelope.data["partition"] == watermark.partition
    return datetime.fromisoformat(envelope.data["database_time"])


async def watermarks_flow(of: TopicOf, count: int) -> None:
    """Wait until every partition has that many watermarks."""

    async def look() -> bool | None:
        marks = [record.partition for record in await of.records() if is_watermark(record)]
        return all(marks.count(number) >= count for number in range(of.settings.kafka_partitions)) or None

    await eventually(look, f"{count} watermarks on every partition")
    await asyncio.sleep(0)
