"""Proves Kafka's plumbing: partitions everyone agrees on, topics made by command, producers that can be replaced."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from contracts import dead_letters_v1 as dlq
from contracts.topics import CONSUMED_MAX_BYTES
from runtime.kafka import (
    DeadLetters,
    PoisonMessage,
    Record,
    TopicWriter,
    WrongPartitionCount,
    abort_producer,
    create_topics,
    new_producer,
    partition_of,
)
from runtime.settings import KafkaSettings
from tests.runtime.conftest import SERVICE, TopicOf, topic_named
from tests.serving import closed_port
from tests.waiting import eventually


@given(key=st.uuids(), partitions=st.integers(1, 200))
def test_the_partition_of_an_id_is_kafkas_default(key: uuid.UUID, partitions: int) -> None:
    everyone = list(range(partitions))
    theirs = DefaultPartitioner()(str(key).encode(), everyone, everyone)
    assert partition_of(str(key), partitions) == theirs


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [("21", -973932308), ("foobar", -790332482), ("abc", 479470107), ("a-little-bit-long-string", -985981536)],
)
def test_the_hash_is_the_one_of_kafkas_own_tests(key: str, murmur2: int) -> None:
    assert partition_of(key, 2**31) == murmur2 & 0x7FFFFFFF


@pytest.mark.stack
async def test_missing_topics_are_created_with_their_settings_and_existing_ones_left(
    kafka_settings: KafkaSettings,
) -> None:
    names = [f"runtime.{uuid.uuid4().hex[:8]}.v1" for _ in range(3)]
    first = topic_named(names[0])
    second = topic_named(names[1], cleanup="compact", retention=None)
    third = topic_named(names[2], cleanup="compact,delete")
    assert await create_topics(kafka_settings, [first]) == [names[0]]
    assert await create_topics(kafka_settings, [first, second, third]) == names[1:]
    assert await create_topics(kafka_settings, [first, second, third]) == []
    configs = {name: await _configs(kafka_settings, name) for name in names}
    assert configs[names[0]]["cleanup.policy"] == "delete"
    assert configs[names[0]]["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert configs[names[0]]["max.message.bytes"] == str(CONSUMED_MAX_BYTES)
    assert configs[names[1]]["cleanup.policy"] == "compact"
    assert set(configs[names[2]]["cleanup.policy"].split(",")) == {"compact", "delete"}


async def _configs(settings: KafkaSettings, name: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        return {entry[0]: entry[1] for entry in response.resources[0][4]}
    finally:
        await admin.close()


@pytest.mark.stack
async def test_two_commands_at_once_create_a_topic_once(kafka_settings: KafkaSettings) -> None:
    topic = topic_named(f"runtime.{uuid.uuid4().hex[:8]}.v1")
    await asyncio.gather(*(create_topics(kafka_settings, [topic]) for _ in range(3)))
    assert await create_topics(kafka_settings, [topic]) == []


@pytest.mark.stack
async def test_a_topic_with_another_partition_count_is_refused(single: TopicOf, kafka_settings: KafkaSettings) -> None:
    async def refused() -> str | None:
        try:
            await create_topics(kafka_settings, [single.topic])
        except WrongPartitionCount as refusal:
            return str(refusal)
        return None  # created just now, it may not be described yet

    said = await eventually(refused, "the refusal")
    assert f"{single.topic.name} has 1 partitions and KAFKA_PARTITIONS is 6" in said


@pytest.mark.stack
async def test_an_aborted_producer_sends_nothing_more(single: TopicOf) -> None:
    producer = new_producer(single.settings.kafka_bootstrap_servers)
    await producer.start()
    pending = await producer.send(single.topic.name, b"never", partition=0)
    await abort_producer(producer)
    await abort_producer(producer)
    with pytest.raises(ProducerClosed):
        await pending
    assert await single.records() == []


@pytest.mark.stack
async def test_a_writer_used_by_many_at_once_has_one_producer(single: TopicOf, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def counted(bootstrap_servers: str) -> object:
        nonlocal made
        made += 1
        return new_producer(bootstrap_servers)

    monkeypatch.setattr("runtime.kafka.new_producer", counted)
    writer = TopicWriter(single.settings.kafka_bootstrap_servers)
    await asyncio.gather(*(writer.send(single.topic.name, 0, b"k", str(n).encode()) for n in range(20)))
    assert await writer.end_offset(single.topic.name, 0) == 20
    await writer.close()
    assert sorted(int(record.value or b"") for record in await single.records()) == list(range(20))
    assert made == 1


@pytest.mark.stack
async def test_a_writer_goes_on_with_a_fresh_producer_after_a_failure(single: TopicOf) -> None:
    writer = TopicWriter(single.settings.kafka_bootstrap_servers)
    await writer.send(single.topic.name, 0, b"k", b"1")
    too_large = b"x" * (CONSUMED_MAX_BYTES + 100_000)
    failed = await asyncio.gather(
        *(writer.send(single.topic.name, 0, b"k", too_large) for _ in range(2)), return_exceptions=True
    )
    assert all(isinstance(error, KafkaError) for error in failed), failed
    await writer.send(single.topic.name, 0, b"k", b"2")
    assert await writer.end_offset(single.topic.name, 0) == 2
    await writer.close()


async def test_a_writer_without_a_broker_fails_and_leaves_nothing_open() -> None:
    writer = TopicWriter(f"127.0.0.1:{closed_port()}")
    for _ in range(2):
        with pytest.raises(KafkaError):
            await writer.send("anything", 0, b"k", b"v")
    with pytest.raises(KafkaError):
        await writer.end_offset("anything", 0)
    await writer.close()


@pytest.mark.stack
async def test_a_dead_letter_keeps_the_bytes_and_names_their_origin(with_letters: TopicOf) -> None:
    single = with_letters
    letters = DeadLetters(single.settings.kafka_bootstrap_servers, SERVICE)
    traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = (("traceparent", traceparent), ("other", b"x"))
    record = Record(single.topic.name, 3, 42, b"key", b"\xff\x00bytes", headers)
    await letters.put(single.topic, record, PoisonMessage("it is " + "long " * 1000))
    await letters.put(single.topic, record, PoisonMessage("again"))
    await letters.put(single.topic, Record(single.topic.name, 3, 43, None, None, ()), PoisonMessage("nothing"))
    await letters.close()
    first, again, tombstone = await single.letters()
    origin = dict(first.headers)
    assert first.value == b"\xff\x00bytes"
    assert first.key == again.key == f"{single.topic.name}/3/42".encode()
    assert origin[dlq.HEADER_TOPIC] == single.topic.name.encode()
    assert (origin[dlq.HEADER_PARTITION], origin[dlq.HEADER_OFFSET], origin[dlq.HEADER_KEY]) == (b"3", b"42", b"key")
    assert (origin[dlq.HEADER_ERROR], origin[dlq.HEADER_SERVICE]) == (b"PoisonMessage", SERVICE.encode())
    assert 0 < len(origin[dlq.HEADER_REASON]) <= 2000
    assert origin["traceparent"] == traceparent
    assert "other" not in origin
    assert dlq.HEADER_TOMBSTONE not in origin
    assert tombstone.value == b""
    assert dict(tombstone.headers)[dlq.HEADER_TOMBSTONE] == b"1"
