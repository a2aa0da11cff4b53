"""Owns writing made records to booking's two topics, as fast as one producer can; for P4, P6 and the reader's stall."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from aiokafka import AIOKafkaProducer

from availability.domain.property_calendar import CalendarState
from contracts.topics import BOOKING_RESERVATIONS
from runtime.kafka import Batches, TopicWriter, new_producer
from tests.bench.events_made import Made, Maker, check
from tests.bench.seed import PARTITIONS

AT_ONCE = 200
"""Records made and sent at a time."""


class Filler:
    """Writes made records; those of the first property are held against the contracts."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._maker = Maker(PARTITIONS)

    async def snapshots(self, states: Iterable[tuple[UUID, CalendarState]]) -> int:
        """The whole states of properties; how many records."""
        return await self._write(self._maker.snapshot(property_id, state) for property_id, state in states)

    async def changes(self, states: Iterable[tuple[UUID, CalendarState]]) -> int:
        """A week of changes of properties from these states on; how many records."""
        return await self._write(
            record for property_id, state in states for record in self._maker.changes(property_id, state)
        )

    async def end(self, delta_offsets: Mapping[int, int]) -> None:
        """After the snapshots: which changes they contain, by partition, and that nothing is unsent."""
        await self._send([self._maker.mark(partition, offset) for partition, offset in delta_offsets.items()])
        await self.watermarks(delta_offsets)

    async def watermarks(self, partitions: Iterable[int]) -> None:
        """Nothing is unsent up to here: a replica is not ready before it has read this of every partition."""
        await self._send([self._maker.watermark(partition) for partition in partitions])

    async def _write(self, records: Iterable[Made]) -> int:
        count, source = 0, iter(records)
        while some := list(itertools.islice(source, AT_ONCE)):
            if count == 0:
                check(some[0])
            await self._send(some)
            count += len(some)
        return count

    async def _send(self, records: Iterable[Made]) -> None:
        batches = Batches(self._producer)
        for record in records:
            batches.add(record.topic.name, record.partition, record.key, record.value, list(record.headers))
        await batches.send()


@asynccontextmanager
async def filling(bootstrap: str) -> AsyncIterator[Filler]:
    """A filler with a started producer."""
    producer = new_producer(bootstrap)
    await producer.start()
    try:
        yield Filler(producer)
    finally:
        await producer.stop()


async def change_ends(bootstrap: str) -> dict[int, int]:
    """The end of each partition of the change log."""
    writer = TopicWriter(bootstrap)
    try:
        return {number: await writer.end_offset(BOOKING_RESERVATIONS.name, number) for number in range(PARTITIONS)}
    finally:
        await writer.close()
