"""Consumers whose handlers end in a database transaction: FastStream with the suite's one middleware.

Per record: a consumer span as child of the publisher's, retry of transient failures with backoff for as long as they
last, three tries for anything else, then the dead letters; the offset is committed only after that. FastStream's own
acknowledgement policies lose, drop or hot-loop, hence `MANUAL`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from opentelemetry.trace import SpanKind
from tenacity import AsyncRetrying, retry_if_exception, wait_exponential_jitter

from contracts.topics import Topic
from runtime.http_client import UpstreamUnavailable
from runtime.kafka import FETCH_MAX_BYTES, PARTITION_FETCH_MAX_BYTES, DeadLetters, PoisonMessage, Record
from runtime.logs import get_logger
from runtime.postgres import is_transient
from runtime.settings import KafkaSettings
from runtime.telemetry import carrier_from_headers, span

log = get_logger(__name__)

POISON_ATTEMPTS = 3
LOOK_EVERY_S = 1.0
STUCK_LOOKS = 10
POSITION_TIMEOUT_S = 0.5
STOP_GRACE_S = 3.0
Handler = Callable[[Record], Awaitable[None]]


class PartitionStuck(Exception):
    """A partition has more to read and does not move."""


def to_record(raw: "ConsumerRecord[bytes, bytes]") -> Record:
    """Our view of an aiokafka record."""
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers))


def should_wait(error: BaseException) -> bool:
    """True when the record is not to blame: database, Kafka or another service is away for a while."""
    return is_transient(error) or isinstance(error, UpstreamUnavailable | KafkaError)


async def process(topic: Topic, record: Record, handler: Handler, letters: DeadLetters) -> None:
    """Apply one record, or put it aside; returns when the effect, or the dead letter, is durable."""
    attributes: dict[str, Any] = {
        "messaging.system": "kafka",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.operation.type": "process",
    }
    parent = carrier_from_headers(record.headers)
    # Watermarks and foreign records belong to no trace; they would only be roots of one span.
    traced = span(f"process {record.topic}", SpanKind.CONSUMER, parent=parent, attributes=attributes)
    with traced if parent else nullcontext():
        try:
            await _patiently(partial(handler, record))
        except Exception as error:  # whatever it is, it must not stop the partition nor vanish
            place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            log.error("dead letter", **place, error=type(error).__name__, reason=str(error)[:300])
            await _patiently(partial(letters.put, topic, record, error))


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Take a step until it succeeds: for as long as something is away; at most three times for other reasons."""
    failures = 0
    async for attempt in AsyncRetrying(
        # tenacity catches a cancellation too: it must not be tried again.
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and not isinstance(error, PoisonMessage)),
        wait=wait_exponential_jitter(multiplier=0.05, max=5.0, jitter=0.05),
        reraise=True,
    ):
        with attempt:
            try:
                await step()
            except Exception as error:
                failures += not should_wait(error)
                if failures >= POISON_ATTEMPTS and not isinstance(error, PoisonMessage):
                    raise PoisonMessage(f"{type(error).__name__} in {POISON_ATTEMPTS} attempts: {error}") from error
                raise


class Consumers:
    """All subscriptions of one service as one member of its group; started again when a partition gets stuck."""

    def __init__(self, settings: KafkaSettings, service: str, handlers: Mapping[Topic, Handler]) -> None:
        self._servers = settings.kafka_bootstrap_servers
        self._service = service
        self._handlers = {topic.name: (topic, handler) for topic, handler in handlers.items()}
        self._letters = DeadLetters(self._servers, service)
        self._broker: KafkaBroker | None = None
        self._is_busy = False

    async def run(self) -> None:
        """Consume until cancelled; raises `PartitionStuck`, to be started again."""
        broker = KafkaBroker(
            self._servers, client_id=self._service, graceful_timeout=STOP_GRACE_S, consumer_only=True, logger=None
        )
        # One subscriber for all topics: each would be a member of its own, and every join rebalances the whole group.
        subscriber = broker.subscriber(
            *self._handlers,
            group_id=self._service,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=PARTITION_FETCH_MAX_BYTES,
            fetch_max_bytes=FETCH_MAX_BYTES,
        )
        subscriber(self._consume, parser=_parse)
        try:
            await broker.start()
            self._broker = broker
            await self._watch(cast("AIOKafkaConsumer", subscriber.consumer))
        finally:
            self._broker = None
            await broker.stop()

    async def _consume(self, _: Any, message: KafkaMessage) -> None:
        record = to_record(cast("ConsumerRecord[bytes, bytes]", message.raw_message))
        topic, handler = self._handlers[record.topic]
        self._is_busy = True
        try:
            await process(topic, record, handler, self._letters)
        except Exception as error:  # FastStream would pass over it, and the next record's ack would commit it
            log.error("neither applied nor put aside, once more", offset=record.offset, error=repr(error))
            await asyncio.sleep(1.0)
            await message.nack()
        else:
            await message.ack()
        finally:
            self._is_busy = False

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Look after the partitions for ever; raises `PartitionStuck`.

        A consumer can stay stuck after a broker restart without any public signal (aiokafka issue 1154). A look counts
        only while no record is in hand: then every partition with more to read should move.
        """
        looks: Counter[tuple[TopicPartition, int | None]] = Counter()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(KafkaError):  # Kafka is away: the client finds it again by itself
                if not self._is_busy:
                    looks = Counter({place: looks[place] + 1 for place in await _behind(consumer)})
            if stuck := [place for (place, _), count in looks.items() if count >= STUCK_LOOKS]:
                raise PartitionStuck(f"there is more to read, and nothing moves: {stuck}")

    async def stop(self) -> None:
        """Leave the group; a record in hand is delivered again to whoever takes over."""
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.stop()
        await self._letters.close()

    async def ready(self) -> str | None:
        """Readiness: None once the subscriptions run."""
        return "the consumers are not started" if self._broker is None else None


async def _behind(consumer: AIOKafkaConsumer) -> list[tuple[TopicPartition, int | None]]:
    """The member's partitions with more to read, each with the offset to be read next (None: not known yet)."""
    ends = await consumer.end_offsets(consumer.assignment())
    places = [(place, await _position(consumer, place)) for place in ends]
    return [(place, at) for place, at in places if at is None or at < ends[place]]


async def _position(consumer: AIOKafkaConsumer, place: TopicPartition) -> int | None:
    with suppress(TimeoutError):
        return int(await asyncio.wait_for(consumer.position(place), POSITION_TIMEOUT_S))
    return None


async def _parse(raw: Any, parse: Any) -> Any:
    """FastStream parses headers and body outside the handler, where an error skips the record: it sees neither."""
    message = await parse(replace(raw, value=b"", headers=()))
    message.raw_message = raw
    return message
