"""Proves that a consumer which silently stopped moving is replaced, and one that only has nothing to do is not."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faststream.kafka import KafkaBroker

import runtime.consumer
from runtime.consumer import Consumers
from runtime.kafka import Record
from tests.runtime.conftest import TopicOf
from tests.runtime.lane import Lane
from tests.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.fixture
def lane(with_letters: TopicOf, producer: AIOKafkaProducer) -> Lane:
    return Lane(with_letters, producer)


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.consumer, "LOOK_EVERY_S", 0.05)


async def started(consumers: Consumers) -> KafkaBroker:
    """The broker of consumers that hold all partitions of their topics."""

    async def look() -> KafkaBroker | None:
        broker = consumers._broker
        return broker if broker is not None and consumer_of(broker).assignment() else None

    return await eventually(look, "partitions assigned")


def consumer_of(broker: KafkaBroker) -> AIOKafkaConsumer:
    (subscriber,) = broker.subscribers
    found = getattr(subscriber, "consumer", None)
    assert isinstance(found, AIOKafkaConsumer)
    return found


@pytest.mark.usefixtures("looking_often")
async def test_a_consumer_that_stopped_fetching_is_started_again(lane: Lane) -> None:
    """Stuck as after some broker restarts: its fetching has ended, and nothing says so."""
    async with lane.consumed(lane.note) as consumers:
        first = await started(consumers)
        consumer_of(first)._fetcher._fetch_task.cancel()
        await lane.write(b"1")
        await lane.saw(b"1")
        assert consumers._broker is not first


@pytest.mark.usefixtures("looking_often")
async def test_a_partition_that_is_stuck_beside_living_ones_is_noticed(
    sharded: TopicOf, producer: AIOKafkaProducer
) -> None:
    lane = Lane(sharded, producer)
    async with lane.consumed(lane.note) as consumers:
        first = await started(consumers)
        consumer_of(first).pause(TopicPartition(sharded.topic.name, 3))
        await producer.send_and_wait(sharded.topic.name, b"stuck", partition=3)

        async def is_seen() -> bool | None:
            await producer.send_and_wait(sharded.topic.name, b"alive", partition=1)
            return b"stuck" in lane.seen or None

        await eventually(is_seen, "the record of the stuck partition")
        assert b"alive" in lane.seen
        assert consumers._broker is not first


@pytest.mark.usefixtures("looking_often")
async def test_consumers_with_nothing_to_read_or_a_record_in_hand_are_left_alone(lane: Lane) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def handle(record: Record) -> None:
        in_hand.set()
        await go_on.wait()
        await lane.note(record)

    async with lane.consumed(handle) as consumers:
        first = await started(consumers)
        await asyncio.sleep(runtime.consumer.STUCK_LOOKS * 3 * 0.05)
        await lane.write(b"1", b"2")
        await in_hand.wait()
        await asyncio.sleep(runtime.consumer.STUCK_LOOKS * 3 * 0.05)
        go_on.set()
        await lane.saw(b"1", b"2")
        assert consumers._broker is first
