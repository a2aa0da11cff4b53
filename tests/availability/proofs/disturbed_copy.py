"""Owns a copy of booking's topics in another Kafka that is disturbed on the way there; caches read the copy.

The records are booking's own, byte for byte: only how often, in which order and whether they arrive is changed, within
windows of a partition's events, and poison may lie between them. Watermarks pass at once, and so do snapshots unless
they are held back; the marks of offsets are left out, because they name those of the original.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, PRODUCER_MAX_BYTES
from deploy.local.journey_client import NotYet, until
from runtime.kafka import new_producer
from tests.availability.proofs.stage import PARTITIONS

WINDOW = 50
DROPPED_EVERY = 50
POISONED_EVERY = 10
TIMES = 10
POLL_MS = 50
TOPICS = (BOOKING_RESERVATIONS.name, BOOKING_PROPERTIES.name)


@dataclass(frozen=True)
class Message:
    """What is written to the copy; `is_poison` for what booking never wrote."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    is_poison: bool = False


Disturbance = Callable[[Sequence[Message], random.Random], list[Message]]


def as_they_are(window: Sequence[Message], _: random.Random) -> list[Message]:
    """Nothing is disturbed."""
    return list(window)


def duplicated(window: Sequence[Message], _: random.Random) -> list[Message]:
    """Each ten times: five times at once, then all of them again, as a relay does that lost its marks."""
    at_once = [message for message in window for _ in range(TIMES // 2)]
    return at_once + list(window) * (TIMES - TIMES // 2)


def shuffled(window: Sequence[Message], dice: random.Random) -> list[Message]:
    """All of them in any order."""
    return dice.sample(window, len(window))


def dropped(window: Sequence[Message], dice: random.Random) -> list[Message]:
    """Every 50th is missing."""
    missing = set(dice.sample(range(len(window)), len(window) // DROPPED_EVERY))
    return [message for number, message in enumerate(window) if number not in missing]


def lost(window: Sequence[Message], _: random.Random) -> list[Message]:
    """None of them ever arrives."""
    return []


def poisoned(window: Sequence[Message], dice: random.Random) -> list[Message]:
    """After every tenth something that nobody can read, mostly under the key of a property that there is."""
    found = []
    for number, message in enumerate(window):
        found.append(message)
        if number % POISONED_EVERY == 0:
            value = message.value or b""
            bad = [b"no event at all", value[: len(value) // 2], value.replace(b'"type"', b'"kind"'), None]
            key = message.key if dice.random() < 0.8 else b"no property"
            found.append(Message(key, dice.choice(bad), is_poison=True))
    return found


def everything(window: Sequence[Message], dice: random.Random) -> list[Message]:
    """All at once: some are missing, the others arrive often and in any order, and poison lies between them."""
    return poisoned(shuffled([*dropped(window, dice)] * 3, dice), dice)


class DisturbedCopy:
    """Copies for as long as it runs. `disturb` says how; `ahead` is added to every watermark.

    `counts` has how many events were `read`, `written`, `missing` (never written), `moved` (written behind one that had
    come after them) and how much `poison` was written; `poison` has its places so far, as (partition, offset).
    """

    def __init__(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, seed: int) -> None:
        self.disturb: Disturbance = as_they_are
        self.ahead = timedelta(0)
        self.holds_snapshots_back = False
        self.counts: Counter[str] = Counter()
        self.poison: list[tuple[int, int]] = []
        self._consumer = consumer
        self._producer = producer
        self._dice = random.Random(seed)
        self._windows: defaultdict[int, list[Message]] = defaultdict(list)
        self._held_back: list[tuple[int, Message]] = []
        self._at_once: list[tuple[str, int, Message]] = []
        self._flush = asyncio.Event()

    async def run(self) -> None:
        """Copy until cancelled."""
        while True:
            for place, batch in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in batch:
                    self._take(place, record)
            # Written only once all are taken: `settle` may look whenever this waits.
            for topic, partition, message in self._at_once:
                await self._write(topic, partition, [message])
            self._at_once.clear()
            for partition, window in self._windows.items():
                while len(window) >= WINDOW or (window and self._flush.is_set()):
                    await self._write_window(partition, window[:WINDOW])
                    del window[:WINDOW]
            if not self.holds_snapshots_back:
                for partition, message in self._held_back:
                    await self._write(BOOKING_PROPERTIES.name, partition, [message])
                self._held_back.clear()

    async def settle(self) -> None:
        """Return once all that lies on the original now has been written, the last windows not full."""
        places = self._consumer.assignment()
        ends = await self._consumer.end_offsets(places)
        self._flush.set()

        async def look() -> None:
            behind = [place for place in places if await self._consumer.position(place) < ends[place]]
            if behind or any(self._windows.values()):
                raise NotYet(f"{behind}")

        try:
            await until(look, "the copy to be complete")
        finally:
            self._flush.clear()

    def _take(self, place: TopicPartition, record: ConsumerRecord[bytes, bytes]) -> None:
        message = Message(record.key, record.value, tuple(record.headers))
        if record.topic == BOOKING_PROPERTIES.name:
            if not (record.key or b"").startswith(b"delta_offset/"):
                self._held_back.append((place.partition, message))
        elif record.key is None:
            self._at_once.append((record.topic, place.partition, self._moved_on(message)))
        else:
            self.counts["read"] += 1
            self._windows[place.partition].append(message)

    def _moved_on(self, watermark: Message) -> Message:
        event = json.loads(watermark.value or b"")
        time = datetime.fromisoformat(event["data"]["database_time"]) + self.ahead
        event["data"]["database_time"] = event["occurred_at"] = time.isoformat()
        return Message(None, json.dumps(event).encode(), watermark.headers)

    async def _write_window(self, partition: int, window: Sequence[Message]) -> None:
        messages = self.disturb(window, self._dice)
        number_of = {id(message): number for number, message in enumerate(window)}
        numbers = [number_of[id(message)] for message in messages if not message.is_poison]
        self.counts["missing"] += len(window) - len(set(numbers))
        self.counts["moved"] += sum(number < max(numbers[:at]) for at, number in enumerate(numbers) if at)
        self.counts["written"] += len(numbers)
        offsets = await self._write(BOOKING_RESERVATIONS.name, partition, messages)
        found = zip(messages, offsets, strict=True)
        bad = [(partition, offset) for message, offset in found if message.is_poison]
        self.counts["poison"] += len(bad)
        self.poison += bad

    async def _write(self, topic: str, partition: int, messages: Sequence[Message]) -> list[int]:
        sent = [
            await self._producer.send(
                topic, message.value, key=message.key, partition=partition, headers=list(message.headers)
            )
            for message in messages
        ]
        return [int(done.offset) for done in await asyncio.gather(*sent)]


@asynccontextmanager
async def disturbed_copy(source: str, target: str, seed: int = 0) -> AsyncIterator[DisturbedCopy]:
    """A running copy of everything on booking's topics at `source` (host:port), from their beginning on."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=source, enable_auto_commit=False, max_partition_fetch_bytes=PRODUCER_MAX_BYTES
    )
    places = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
    consumer.assign(places)
    producer = new_producer(target)
    await consumer.start()
    try:
        await consumer.seek_to_beginning(*places)
        await producer.start()
        try:
            copy = DisturbedCopy(consumer, producer, seed)
            copying = asyncio.create_task(copy.run())
            try:
                yield copy
            finally:
                copying.cancel()
                ended = (await asyncio.gather(copying, return_exceptions=True))[0]
                assert isinstance(ended, asyncio.CancelledError), repr(ended)
        finally:
            await producer.stop()
    finally:
        await consumer.stop()
