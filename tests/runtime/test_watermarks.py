"""Proves that a watermark never claims more than was sent: what committed before its time lies before it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from deploy.local.provision import DatabaseUrls
from runtime.kafka import partition_of
from runtime.postgres import Pool
from runtime.relay import WATERMARK_INTERVAL_S
from tests.runtime.conftest import TopicOf, pool_of
from tests.runtime.outbox import Outbox, database_time, is_watermark, keys_of, numbers_in, relaying, watermarks_flow
from tests.runtime.postgres_proxy import proxied

pytestmark = pytest.mark.stack


class Commits:
    """The database time after each commit, by key and number: what a watermark of that time must lie behind."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.known_at: dict[tuple[str, int], datetime] = {}

    async def add(self, key: str, open_s: float = 0.0) -> None:
        """Write one row; its transaction stays open for a while before it commits."""
        async with self.outbox.pool.acquire() as connection:
            async with connection.transaction():
                await self.outbox.add([key], to=connection)
                number = self.outbox.written[key] - 1
                await asyncio.sleep(open_s)
            self.known_at[key, number] = await connection.fetchval("SELECT clock_timestamp()")

    async def check(self) -> int:
        """Every commit before a watermark's time lies before it on the partition; how many watermarks were checked."""
        partitions = self.outbox.of.settings.kafka_partitions
        checked = 0
        for number in range(partitions):
            seen: set[tuple[str, int]] = set()
            for record in await self.outbox.of.records():
                if record.partition != number:
                    continue
                if not is_watermark(record):
                    ((key, (n,)),) = numbers_in([record]).items()
                    seen.add((key, n))
                    continue
                until = database_time(record)
                due = {
                    (key, n)
                    for (key, n), at in self.known_at.items()
                    if at < until and partition_of(key, partitions) == number
                }
                assert due <= seen, f"the watermark at offset {record.offset} lies before {due - seen}"
                checked += 1
        return checked


async def test_whatever_committed_before_a_watermark_lies_before_it(empty_outbox: Pool, sharded: TopicOf) -> None:
    outbox = Outbox(empty_outbox, sharded)
    commits = Commits(outbox)
    quick, slow = keys_of(12), keys_of(4)

    async def write_quickly(key: str) -> None:
        for _ in range(15):
            await commits.add(key)
            await asyncio.sleep(0.05)

    async def write_slowly(key: str) -> None:
        for _ in range(3):
            await commits.add(key, open_s=0.3)

    async with relaying(outbox.pool, outbox.of) as relay:
        writers = [asyncio.create_task(write_quickly(key)) for key in quick]
        # An open transaction occupies one of the pool's connections: leave some for the relay.
        await asyncio.gather(*(write_slowly(key) for key in slow))
        await asyncio.gather(*writers)
        relay.wake()
        await outbox.drained()
        await watermarks_flow(sharded, 5)
    assert await commits.check() >= 30
    assert await outbox.check_complete_and_in_order() == 0


async def test_a_row_that_commits_between_snapshot_and_execution_of_the_claim_is_not_claimed_as_sent(
    empty_outbox: Pool, single: TopicOf, database: DatabaseUrls
) -> None:
    outbox = Outbox(empty_outbox, single)
    commits = Commits(outbox)
    (key,) = keys_of(1)
    async with (
        proxied(database.system, b"claimed_at") as (proxy, url),
        pool_of(url) as pool,
        relaying(pool, single),
    ):
        await watermarks_flow(single, 2)
        proxy.armed = True
        await asyncio.wait_for(proxy.held.wait(), 5)
        await commits.add(key)
        await asyncio.sleep(WATERMARK_INTERVAL_S)  # so that the held claim is followed by a watermark
        proxy.release.set()
        await outbox.drained()
        await watermarks_flow(single, 4)
    assert await commits.check() >= 4


async def test_an_idle_partition_has_a_watermark_at_least_every_half_second(
    empty_outbox: Pool, single: TopicOf
) -> None:
    async with relaying(empty_outbox, single):
        await asyncio.sleep(1.3)
    times = [database_time(record) for record in await single.records()]
    assert len(times) >= 3
    assert times == sorted(times)
    assert max(later - earlier for earlier, later in pairwise(times)) < timedelta(seconds=0.5)


async def test_a_backlog_is_sent_before_any_watermark_of_its_shard(empty_outbox: Pool, single: TopicOf) -> None:
    outbox = Outbox(empty_outbox, single)
    await outbox.add_many(keys_of(5), 1700)
    async with relaying(outbox.pool, single):
        await outbox.drained()
        await watermarks_flow(single, 1)
    kinds = [is_watermark(record) for record in await single.records()]
    assert kinds[:1700] == [False] * 1700
    assert any(kinds)
