"""Owns what the cache proofs have in common: traffic under the eyes of readers, processes that sleep, longer logs."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Self

from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError

from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, NotYet, until
from runtime.kafka import new_producer
from tests.availability.proofs.agreement import require_equal
from tests.availability.proofs.stage import OneReplica, Stage, create_cache_topics
from tests.availability.proofs.traffic import Traffic
from tests.availability.proofs.watch import Watch, watching

PROPERTIES = 8
CHANGES = 20


@asynccontextmanager
async def busy(stage: Stage, agency: Agency, replicas: Sequence[OneReplica]) -> AsyncIterator[tuple[Traffic, Watch]]:
    """Traffic on new properties while these replicas are asked about them; at the end every answer is judged."""
    traffic = Traffic(agency, seed=4)
    await traffic.add_places(PROPERTIES)
    await traffic.write(CHANGES)
    await require_equal(stage, replicas)
    urls = [replica.url for replica in replicas]
    async with watching(urls, agency, traffic.places, jwt_secret=stage.suite.secrets.jwt_secret) as watch:
        async with traffic.flowing():
            yield traffic, watch
        await require_equal(stage, replicas)
    watch.require_truth()


@contextmanager
def asleep(stage: Stage, replicas: Sequence[OneReplica]) -> Iterator[None]:
    """These replicas do nothing for a while, and know nothing of it."""
    pids = [stage.supervisor.pid(replica.name) for replica in replicas]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # killed in its sleep
                os.kill(pid, signal.SIGCONT)


async def make_anew(stage: Stage, topic: str) -> None:
    """Delete a topic with all its records, and create it again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.suite.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def gone() -> None:
            (found,) = await admin.describe_topics([topic])
            if found["error_code"] != UnknownTopicOrPartitionError.errno:
                raise NotYet(f"{found}")

        await until(gone, f"{topic} to be gone")
    finally:
        await admin.close()
    await create_cache_topics(stage.suite.kafka_bootstrap)


class Repeater:
    """Writes records of the change log again, as a relay that lost its marks would; enter it."""

    def __init__(self, stage: Stage) -> None:
        self._topics = stage.topics
        self._producer = new_producer(stage.suite.kafka_bootstrap)
        self._records: list[ConsumerRecord[bytes, bytes]] = []

    async def __aenter__(self) -> Self:
        """Read what lies there now."""
        self._records = await self._topics.records(BOOKING_RESERVATIONS.name)
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._producer.stop()

    async def repeat(self, partition: int, count: int) -> None:
        """So many of a partition's records, in their order, from the start again after the last."""
        own = [record for record in self._records if record.partition == partition]
        for record in (own * (count // len(own) + 1))[:count]:
            await self._producer.send(
                record.topic, record.value, key=record.key, partition=partition, headers=list(record.headers)
            )
        await self._producer.flush()
