"""Reads booking's own change log back from Kafka, without a group and from given offsets; for the auditor.

The caller keeps the offsets: nothing is committed in Kafka.
"""

import asyncio
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from runtime.kafka import FETCH_MAX_BYTES, PARTITION_FETCH_MAX_BYTES, Record

POLL_MS = 200
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
# The relay's watermarks arrive several times a second: after this long without any the consumer is taken for stuck.
SILENCE_S = 10.0


class TopicUnavailable(Exception):
    """Kafka does not serve the topic."""


@dataclass(frozen=True, slots=True)
class TopicBatch:
    """Records in offset order per partition, the offsets after them, and partitions whose next records were gone."""

    records: list[Record]
    offsets: dict[int, int]
    lost: frozenset[int]


class TopicLog:
    """One topic's log; for one caller at a time. Every call raises `TopicUnavailable` when Kafka does not serve."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._places = {number: TopicPartition(topic, number) for number in range(partitions)}
        self._consumer: AIOKafkaConsumer | None = None
        self._standing: dict[int, int] = {}
        self._heard_at: dict[TopicPartition, float] = {}

    async def read(self, offsets: dict[int, int], limit: int) -> TopicBatch:
        """At most `limit` records from these offsets on; a partition that is not named is read from its start."""
        try:
            return await self._read(offsets, limit)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise TopicUnavailable(repr(error)) from error

    async def ends(self) -> dict[int, int]:
        """Per partition the offset the next record will get."""
        try:
            consumer = await self._started()
            ends = await consumer.end_offsets(list(self._places.values()))
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise TopicUnavailable(repr(error)) from error
        return {place.partition: int(offset) for place, offset in ends.items()}

    async def close(self) -> None:
        """Stop the consumer whatever state it is in; the next call starts a new one."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            # aiokafka's stop() can raise the cancellation of its own tasks into us and leave connections open.
            await asyncio.gather(asyncio.wait_for(consumer.stop(), STOP_TIMEOUT_S), return_exceptions=True)
            await consumer._client.close()

    async def _read(self, offsets: dict[int, int], limit: int) -> TopicBatch:
        consumer = await self._started()
        lost: set[int] = set()
        if not self._standing or offsets != self._standing:
            lost = await self._seek(consumer, offsets)
        try:
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=limit)
        except OffsetOutOfRangeError:
            batches = {}
            lost = await self._seek(consumer, self._standing)
        records = []
        for place, batch in batches.items():
            self._heard_at[place] = asyncio.get_running_loop().time()
            self._standing[place.partition] = batch[-1].offset + 1
            for raw in batch:
                records.append(Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, ()))
        read = TopicBatch(records, dict(self._standing), frozenset(lost))
        await self._replace_when_silent()
        return read

    async def _seek(self, consumer: AIOKafkaConsumer, offsets: dict[int, int]) -> set[int]:
        """Put the consumer there, or at the log's start where that is out of the log: these partitions."""
        places = list(self._places.values())
        starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        lost = set()
        # Nothing may be awaited between this and the seeks: a fetch without a position is an error that stays.
        consumer.assign(places)
        for place in places:
            wanted = offsets.get(place.partition, starts[place])
            if not starts[place] <= wanted <= ends[place]:
                lost.add(place.partition)
                wanted = starts[place]
            self._standing[place.partition] = wanted
            consumer.seek(place, wanted)
        return lost

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap_servers,
                client_id="booking-auditor",
                fetch_max_bytes=FETCH_MAX_BYTES,
                max_partition_fetch_bytes=PARTITION_FETCH_MAX_BYTES,
                enable_auto_commit=False,
                auto_offset_reset="none",
                # Questions about offsets queue behind a waiting fetch.
                fetch_max_wait_ms=50,
            )
            self._consumer = consumer
            self._standing = {}
            async with asyncio.timeout(START_TIMEOUT_S):
                await consumer.start()
            self._heard_at = dict.fromkeys(self._places.values(), asyncio.get_running_loop().time())
        return self._consumer

    async def _replace_when_silent(self) -> None:
        if asyncio.get_running_loop().time() - min(self._heard_at.values()) > SILENCE_S:
            await self.close()
