"""Proves the consumers on a real Kafka: nothing skipped, nothing lost, poison put aside once and the good go on."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import runtime.consumer
from contracts import dead_letters_v1 as dlq
from contracts.topics import Topic
from runtime.consumer import should_wait
from runtime.events import parse_event
from runtime.http_client import UpstreamUnavailable
from runtime.kafka import DeadLetters, PoisonMessage, Record
from runtime.telemetry import carrier_of, current_trace_id, span
from tests.runtime.conftest import TopicOf
from tests.runtime.lane import Lane
from tests.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.fixture
def lane(with_letters: TopicOf, producer: AIOKafkaProducer) -> Lane:
    return Lane(with_letters, producer)


async def test_records_written_before_the_first_start_are_consumed_too(lane: Lane) -> None:
    await lane.write(b"1", b"2")
    async with lane.consumed(lane.note):
        await lane.saw(b"1", b"2")
        await lane.write(b"3")
        await lane.saw(b"1", b"2", b"3")
        await lane.has_committed(3)


async def test_a_second_start_goes_on_behind_the_last_effect(lane: Lane) -> None:
    await lane.write(b"1", b"2")
    async with lane.consumed(lane.note):
        await lane.has_committed(2)
    await lane.write(b"3")
    async with lane.consumed(lane.note):
        await lane.saw(b"1", b"2", b"3")


@pytest.mark.parametrize(
    "error",
    [UpstreamUnavailable("x"), asyncpg.AdminShutdownError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_a_transient_error_is_retried_until_it_passes_and_nothing_is_skipped(
    lane: Lane, error: Exception
) -> None:
    attempts = 0

    async def handle(record: Record) -> None:
        nonlocal attempts
        attempts += 1
        if record.value == b"1" and attempts <= 4:
            raise error
        await lane.note(record)

    await lane.write(b"1", b"2")
    async with lane.consumed(handle):
        await lane.saw(b"1", b"2")
    assert attempts == 6
    assert await lane.of.letters() == []


async def test_poison_goes_to_the_dead_letters_once_and_the_next_good_record_is_processed(lane: Lane) -> None:
    async def handle(record: Record) -> None:
        if record.value == b"bad":
            raise PoisonMessage("it is bad")
        await lane.note(record)

    await lane.write(b"1", b"bad", b"2")
    async with lane.consumed(handle):
        await lane.saw(b"1", b"2")
        await lane.has_committed(3)
    (letter,) = await lane.of.letters()
    origin = dict(letter.headers)
    assert (letter.key, letter.value) == (f"{lane.of.topic.name}/0/1".encode(), b"bad")
    assert (origin[dlq.HEADER_TOPIC], origin[dlq.HEADER_PARTITION]) == (lane.of.topic.name.encode(), b"0")
    assert (origin[dlq.HEADER_OFFSET], origin[dlq.HEADER_KEY]) == (b"1", b"key")
    assert (origin[dlq.HEADER_ERROR], origin[dlq.HEADER_REASON]) == (b"PoisonMessage", b"it is bad")


async def test_a_tombstone_where_none_is_legal_is_a_dead_letter_that_says_so(lane: Lane) -> None:
    async def handle(record: Record) -> None:
        if record.value != b"end":
            parse_event(lane.of.topic, record)
        await lane.note(record)

    await lane.write(None, b"", b"end")
    async with lane.consumed(handle):
        await lane.saw(b"end")
    tombstone, nothing = await lane.of.letters()
    assert tombstone.value == nothing.value == b""
    assert dict(tombstone.headers)[dlq.HEADER_TOMBSTONE] == b"1"
    assert b"tombstone" in dict(tombstone.headers)[dlq.HEADER_REASON]
    assert dlq.HEADER_TOMBSTONE not in dict(nothing.headers)


async def test_an_error_of_the_handler_is_tried_three_times_before_it_is_poison(lane: Lane) -> None:
    attempts: list[bytes | None] = []

    async def handle(record: Record) -> None:
        attempts.append(record.value)
        if record.value == b"bad" or attempts.count(record.value) == 1:
            raise KeyError("\udcff")
        await lane.note(record)

    await lane.write(b"bad", b"2")
    async with lane.consumed(handle):
        await lane.saw(b"2")
    assert attempts == [b"bad"] * 3 + [b"2"] * 2
    (letter,) = await lane.of.letters()
    assert b"KeyError in 3 attempts" in dict(letter.headers)[dlq.HEADER_REASON]


async def test_any_bytes_and_headers_reach_the_handler_as_they_are(lane: Lane) -> None:
    values = [b"", b"{", b"\xff\xfe", b'{"a": 1}', b"null", None, b"x" * 2_000_000, b"end"]
    headers: list[tuple[str, Any]] = [
        ("content-type", b"application/json"),
        ("traceparent", b"\xff"),
        ("reply_to", b"elsewhere"),
        ("nothing", None),
    ]
    await lane.write(*values)
    await lane.write(*values, headers=headers)
    found: list[Record] = []

    async def handle(record: Record) -> None:
        found.append(record)
        await lane.note(record)

    async with lane.consumed(handle):
        await lane.saw(*values, *values)
    assert [record.headers for record in found] == [()] * len(values) + [tuple(headers)] * len(values)
    assert {record.key for record in found} == {b"key"}


async def test_dead_letters_are_waited_for_while_they_cannot_be_written(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    class Flaky(DeadLetters):
        async def put(self, topic: Topic, record: Record, error: Exception) -> None:
            nonlocal failures
            failures += 1
            if failures <= 2:
                raise ConnectionError("away")
            await super().put(topic, record, error)

    async def handle(record: Record) -> None:
        if record.value == b"bad":
            raise PoisonMessage("it is bad")
        await lane.note(record)

    monkeypatch.setattr(runtime.consumer, "DeadLetters", Flaky)
    await lane.write(b"bad", b"2")
    async with lane.consumed(handle):
        await lane.saw(b"2")
    assert failures == 3
    assert len(await lane.of.letters()) == 1


async def test_what_breaks_beside_the_handler_does_not_skip_the_record(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may be committed past a record that was neither applied nor put aside."""
    breaks = True
    process = runtime.consumer.process

    async def breaking(*args: object) -> None:
        nonlocal breaks
        if breaks:
            breaks = False
            raise RuntimeError("an error in the floor itself")
        await process(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(runtime.consumer, "process", breaking)
    await lane.write(b"1", b"2")
    async with lane.consumed(lane.note):
        await lane.saw(b"1", b"2")
        await lane.has_committed(2)


async def test_offsets_are_committed_after_the_effect_and_an_interrupted_record_comes_again(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.consumer, "STOP_GRACE_S", 0.5)
    in_hand = asyncio.Event()

    async def hang(record: Record) -> None:
        if record.value == b"1":
            return
        in_hand.set()
        await asyncio.Event().wait()

    await lane.write(b"1", b"2", b"3")
    started = time.monotonic()
    async with lane.consumed(hang):
        await asyncio.wait_for(in_hand.wait(), 10)
        await lane.has_committed(1)
    assert time.monotonic() - started < 6, "a record in hand holds up the end of the process"
    assert await lane.committed() == 1
    async with lane.consumed(lane.note):
        await lane.saw(b"2", b"3")


async def test_a_record_whose_effect_was_not_acknowledged_is_delivered_again(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The effect is durable and the process dies before the offset is committed."""
    monkeypatch.setattr(runtime.consumer, "STOP_GRACE_S", 0.5)
    done = asyncio.Event()

    async def handle(record: Record) -> None:
        await lane.note(record)
        done.set()

    async def no_ack(_: object) -> None:
        await asyncio.Event().wait()

    await lane.write(b"1")
    with monkeypatch.context() as patch:
        patch.setattr("faststream.kafka.message.KafkaAckableMessage.ack", no_ack)
        async with lane.consumed(handle):
            await asyncio.wait_for(done.wait(), 10)
    assert await lane.committed() == 0
    async with lane.consumed(lane.note):
        await lane.saw(b"1", b"1")


async def test_the_trace_of_the_publisher_is_the_parent(lane: Lane, spans: InMemorySpanExporter) -> None:
    traces: list[str | None] = []

    async def handle(record: Record) -> None:
        traces.append(current_trace_id())
        await lane.note(record)

    with span("publisher") as publisher:
        headers = [(name, value.encode()) for name, value in carrier_of().items()]
        trace_id = current_trace_id()
    await lane.write(b"1", headers=headers)
    await lane.write(b"2")
    async with lane.consumed(handle):
        await lane.saw(b"1", b"2")
    assert traces == [trace_id, None]
    (consumed,) = [found for found in spans.get_finished_spans() if found.kind is SpanKind.CONSUMER]
    assert consumed.parent is not None
    assert consumed.parent.span_id == publisher.get_span_context().span_id
    assert consumed.attributes is not None
    assert consumed.attributes["messaging.kafka.offset"] == 0


async def test_readiness_says_whether_the_subscriptions_run(lane: Lane) -> None:
    async with lane.consumed(lane.note) as consumers:

        async def is_ready() -> bool | None:
            return await consumers.ready() is None or None

        assert await consumers.ready() is not None
        await eventually(is_ready, "ready")
    assert await consumers.ready() is not None


async def test_nothing_is_lost_while_a_second_member_joins(sharded: TopicOf, producer: AIOKafkaProducer) -> None:
    seen: list[bytes] = []
    lane = Lane(sharded, producer)

    async def handle(record: Record) -> None:
        seen.append(record.value or b"")

    async def write(numbers: range) -> None:
        for number in numbers:
            await producer.send_and_wait(sharded.topic.name, str(number).encode(), partition=number % 6)

    async def all_seen() -> bool | None:
        return len(set(seen)) == 60 or None

    async with lane.consumed(handle):
        await write(range(30))
        async with lane.consumed(handle):
            await write(range(30, 60))
            await eventually(all_seen, "every record handled")


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (PoisonMessage("x"), False),
        (ValueError("x"), False),
        (asyncpg.UniqueViolationError("x"), False),
        (ConnectionResetError("x"), True),
        (asyncpg.DeadlockDetectedError("x"), True),
    ],
)
def test_only_what_is_not_the_records_fault_is_waited_for(error: Exception, waits: bool) -> None:
    assert should_wait(error) is waits
