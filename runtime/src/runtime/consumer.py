"""Consumers whose handlers end in a database transaction: FastStream with the suite's one middleware.

Per record: a consumer span as child of the publisher's, retry of transient failures with backoff for as long as they
last, three tries for anything else, then the dead letters; the offset is committed only after that. FastStream's own
acknowledgement policies lose, drop or hot-loop, hence `MANUAL`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from opentelemetry.trace import SpanKind
from tenacity import AsyncRetrying, retry_if_exception, stop_never, wait_exponential_jitter

from contracts.topics import Topic
from runtime.http_client import UpstreamUnavailable
from runtime.kafka import FETCH_MAX_BYTES, PARTITION_FETCH_MAX_BYTES, DeadLetters, PoisonMessage, Record
from runtime.logs import get_logger
from runtime.postgres import is_transient
from runtime.settings import KafkaSettings
from runtime.telemetry import carrier_from_headers, span

log = get_logger(__name__)

POISON_ATTEMPTS = 3
STUCK_AFTER_S = 10.0
Handler = Callable[[Record], Awaitable[None]]


def to_record(raw: "ConsumerRecord[bytes, bytes]") -> Record:
    """Our view of an aiokafka record."""
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers))


def should_wait(error: BaseException) -> bool:
    """True when the record is not to blame: database, Kafka or another service is away for a while."""
    return not isinstance(error, PoisonMessage) and (
        is_transient(error) or isinstance(error, UpstreamUnavailable | KafkaError)
    )


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
            await _retrying(handler, record)
        except Exception as error:  # whatever it is, it must not stop the partition nor vanish
            log.error(
                "dead letter",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=type(error).__name__,
                reason=str(error)[:300],
            )
            async for attempt in _until_available():
                with attempt:
                    await letters.put(topic, record, error)


async def _retrying(handler: Handler, record: Record) -> None:
    failures = 0
    async for attempt in _until_available():
        with attempt:
            try:
                await handler(record)
                return
            except Exception as error:
                if should_wait(error) or isinstance(error, PoisonMessage):
                    raise
                failures += 1
                if failures >= POISON_ATTEMPTS:
                    raise PoisonMessage(f"{type(error).__name__} in {POISON_ATTEMPTS} attempts: {error}") from error
                raise _TryAgain from error


class _TryAgain(Exception):
    """The handler failed for a reason that may be the record's fault; attempts are counted."""


def _until_available() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception(lambda error: should_wait(error) or isinstance(error, _TryAgain)),
        wait=wait_exponential_jitter(initial=0.05, max=5.0),
        stop=stop_never,
        reraise=True,
    )


class NoProgress(Exception):
    """The consumers received nothing for a while; they are started again."""


class Consumers:
    """All subscriptions of one service in one consumer group; restarts them when they stop making progress."""

    def __init__(self, settings: KafkaSettings, service: str, handlers: Mapping[Topic, Handler]) -> None:
        self._settings = settings
        self._service = service
        self._handlers = dict(handlers)
        self._letters = DeadLetters(settings.kafka_bootstrap_servers, service)
        self._broker: KafkaBroker | None = None
        self._last_seen = time.monotonic()
        self._in_hand = 0
        self._running = False

    async def start(self) -> None:
        """Join the group and begin to consume; an earlier membership ends first."""
        self._running = False
        if self._broker is not None:
            await self._broker.stop()
        broker = KafkaBroker(
            self._settings.kafka_bootstrap_servers, logger=None, allow_auto_create_topics=False, client_id=self._service
        )
        for topic, handler in self._handlers.items():
            self._subscribe(broker, topic, handler)
        self._broker = broker
        await broker.start()
        self._last_seen = time.monotonic()
        self._running = True

    def _subscribe(self, broker: KafkaBroker, topic: Topic, handler: Handler) -> None:
        subscriber = broker.subscriber(
            topic.name,
            group_id=self._service,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=PARTITION_FETCH_MAX_BYTES,
            fetch_max_bytes=FETCH_MAX_BYTES,
        )

        async def consume(_: Any, message: KafkaMessage) -> None:
            raw = message.raw_message
            if isinstance(raw, tuple):
                raise TypeError("batches are not subscribed")
            self._in_hand += 1
            try:
                await process(topic, to_record(raw), handler, self._letters)
            finally:
                self._in_hand -= 1
                self._last_seen = time.monotonic()
            await message.ack()

        subscriber(consume, decoder=_raw_body)

    async def stop(self) -> None:
        """Leave the group; a record in hand is delivered again to whoever takes over."""
        self._running = False
        if self._broker is not None:
            await self._broker.stop()
            self._broker = None
        await self._letters.close()

    async def run(self) -> None:
        """Consume until cancelled; rebuilds the consumers when nothing arrives although watermarks always flow.

        A consumer can stay stuck after a broker restart without any public signal (aiokafka issue 1154). A member
        without partitions has nothing to receive and is left alone.
        """
        await self.start()
        while True:
            await asyncio.sleep(1.0)
            idle_s = time.monotonic() - self._last_seen
            if idle_s > STUCK_AFTER_S and self._in_hand == 0 and self._assigned():
                raise NoProgress(f"no record for {idle_s:.0f} s although watermarks flow")

    def _assigned(self) -> bool:
        if self._broker is None:
            return False
        consumers = [getattr(subscriber, "consumer", None) for subscriber in self._broker.subscribers]
        return any(consumer is not None and consumer.assignment() for consumer in consumers)

    async def ready(self) -> str | None:
        """Readiness: None once the subscriptions run."""
        return None if self._running else "the consumers are not started"


async def _raw_body(message: KafkaMessage) -> bytes:
    """Keeps the bytes: the default decoder parses JSON outside the handler, where an error cannot be handled."""
    return bytes(message.body or b"")
