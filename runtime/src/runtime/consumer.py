"""Consumers whose handlers end in a database transaction: FastStream with the suite's one middleware.

Per record: a consumer span as child of the publisher's, retry of transient failures with backoff for as long as they
last, three tries for anything else, then the dead letters; the offset is committed only after that. FastStream's own
acknowledgement policies lose, drop or hot-loop, hence `MANUAL`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, cast

from aiokafka import ConsumerRecord
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
STUCK_AFTER_S = 10.0
STOP_GRACE_S = 3.0
Handler = Callable[[Record], Awaitable[None]]


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
    """All subscriptions of one service in one consumer group; restarts them when they stop making progress."""

    def __init__(self, settings: KafkaSettings, service: str, handlers: Mapping[Topic, Handler]) -> None:
        self._bootstrap_servers = settings.kafka_bootstrap_servers
        self._service = service
        self._handlers = handlers
        self._letters = DeadLetters(self._bootstrap_servers, service)
        self._broker: KafkaBroker | None = None
        self._last_seen = 0.0
        self._in_hand = 0

    async def run(self) -> None:
        """Consume until cancelled; fails when nothing arrives although watermarks always flow, to be started again.

        A consumer can stay stuck after a broker restart without any public signal (aiokafka issue 1154). A member
        without partitions has nothing to receive and is left alone.
        """
        broker = KafkaBroker(
            self._bootstrap_servers,
            client_id=self._service,
            consumer_only=True,
            graceful_timeout=STOP_GRACE_S,
            logger=None,
        )
        for topic, handler in self._handlers.items():
            self._subscribe(broker, topic, handler)
        try:
            await broker.start()
            self._broker, self._last_seen = broker, time.monotonic()
            while True:
                await asyncio.sleep(1.0)
                idle_s = time.monotonic() - self._last_seen
                if idle_s > STUCK_AFTER_S and self._in_hand == 0 and _has_partitions(broker):
                    raise TimeoutError(f"no record for {idle_s:.0f} s although watermarks flow")
        finally:
            self._broker = None
            await broker.stop()

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
            record = to_record(cast("ConsumerRecord[bytes, bytes]", message.raw_message))
            self._in_hand += 1
            try:
                await process(topic, record, handler, self._letters)
            except Exception as error:  # FastStream would pass over it, and the next record's ack would commit it
                log.error("neither applied nor put aside, once more", offset=record.offset, error=repr(error))
                await asyncio.sleep(1.0)
                await message.nack()
            else:
                await message.ack()
            finally:
                self._in_hand -= 1
                self._last_seen = time.monotonic()

        subscriber(consume, parser=_parse)

    async def stop(self) -> None:
        """Leave the group; a record in hand is delivered again to whoever takes over."""
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.stop()
        await self._letters.close()

    async def ready(self) -> str | None:
        """Readiness: None once the subscriptions run."""
        return "the consumers are not started" if self._broker is None else None


def _has_partitions(broker: KafkaBroker) -> bool:
    consumers = (getattr(subscriber, "consumer", None) for subscriber in broker.subscribers)
    return any(consumer.assignment() for consumer in consumers if consumer is not None)


async def _parse(raw: Any, parse: Any) -> Any:
    """FastStream parses headers and body outside the handler, where an error skips the record: it sees neither."""
    message = await parse(replace(raw, value=b"", headers=()))
    message.raw_message = raw
    return message
