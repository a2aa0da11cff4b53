"""Owns what the tests of the consumers share: a topic to write to, and what a handler made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from runtime.consumer import Consumers, Handler
from runtime.kafka import Record
from runtime.loops import Loops
from tests.runtime.conftest import SERVICE, TopicOf
from tests.waiting import eventually


class Lane:
    """A topic of one partition: writes to it, and what a handler made of it."""

    def __init__(self, of: TopicOf, producer: AIOKafkaProducer) -> None:
        self.of = of
        self.producer = producer
        self.seen: list[bytes | None] = []

    async def write(self, *values: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        for value in values:
            await self.producer.send_and_wait(self.of.topic.name, value, key=b"key", partition=0, headers=list(headers))

    async def note(self, record: Record) -> None:
        """A handler that only remembers."""
        self.seen.append(record.value)

    async def saw(self, *values: bytes | None) -> None:
        """Wait until exactly these were seen, in this order."""

        async def look() -> bool | None:
            return len(self.seen) >= len(values) or None

        await eventually(look, f"{len(values)} records handled")
        assert self.seen == list(values)

    async def committed(self) -> int:
        """The group's committed offset; 0 when it has none."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.of.settings.kafka_bootstrap_servers)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(self.group)
            found = offsets.get(TopicPartition(self.of.topic.name, 0))
            return 0 if found is None else int(found.offset)
        finally:
            await admin.close()

    async def has_committed(self, offset: int) -> None:
        async def look() -> bool | None:
            return await self.committed() == offset or None

        await eventually(look, f"offset {offset} committed")

    @property
    def group(self) -> str:
        return SERVICE

    @asynccontextmanager
    async def consumed(self, handler: Handler) -> AsyncIterator[Consumers]:
        """Consume as a service does, until the block ends."""
        consumers = Consumers(self.of.settings, SERVICE, {self.of.topic: handler})
        async with Loops() as loops:
            loops.keep(consumers.run, "consumers")
            try:
                yield consumers
            finally:
                await consumers.stop()
