"""Kafka in: replays booking's two topics into the cache and then follows them, without a group; a loop of `main`.

Each replica reads all partitions itself. A start from the snapshot file reads on where that was written; without one
the compacted topic is read to its end, then the change log from the mark the states left. Positions live here, so a
consumer that got stuck is replaced where it stood.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from availability.domain.positions import LOOK_BACK, Place, first_delta
from availability.service.cache import Cache
from availability.service.saving import Saving
from availability.service.wanted import Cause
from contracts.booking_properties_v1 import DeltaOffset, PropertySnapshot
from contracts.booking_reservations_v1 import InventoryChange, Watermark
from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, Topic
from runtime.consumer import process, to_record
from runtime.events import parse_event
from runtime.kafka import (
    PARTITION_FETCH_MAX_BYTES,
    DeadLetters,
    PoisonMessage,
    Record,
    WrongPartitionCount,
)
from runtime.logs import get_logger
from runtime.settings import KafkaSettings

log = get_logger(__name__)

TOPICS = {topic.name: topic for topic in (BOOKING_RESERVATIONS, BOOKING_PROPERTIES)}
POLL_MS = 500
# Watermarks arrive several times a second: after this long without a record the consumer is taken for stuck.
SILENCE_S = 5.0
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_MS = 10_000
RETRY_S = 0.5
# A replay must not keep a reader waiting: how long records are applied at a stretch, from which size on one has a
# stretch of its own, how many are taken from the client at once, and how much of the logs the client unpacks at once.
STRETCH_S = 0.002
LONG_BYTES = 16 * 1024
AT_ONCE = 500
FETCH_MAX_BYTES = 1024 * 1024

Positions = dict[TopicPartition, int]
Batches = dict[TopicPartition, "list[ConsumerRecord[bytes, bytes]]"]


class Silent(Exception):
    """Nothing arrived for a while where something always does."""


class Silence:
    """How long each source has kept us waiting; only time spent waiting counts, not time spent on what arrived."""

    def __init__(self, sources: Iterable[Hashable]) -> None:
        self._waited_s = dict.fromkeys(sources, 0.0)

    def note(self, heard: Collection[Hashable], waited_s: float) -> None:
        """After a wait of `waited_s` in which these sources were heard; raises `Silent`."""
        for source in self._waited_s:
            self._waited_s[source] = 0.0 if source in heard else self._waited_s[source] + waited_s
        if max(self._waited_s.values()) > SILENCE_S:
            raise Silent(Silent.__doc__)


class Tail:
    """One replica's reading of both topics; `run` is to be kept alive for the life of the process."""

    def __init__(self, settings: KafkaSettings, cache: Cache, letters: DeadLetters, saving: Saving) -> None:
        self._settings = settings
        self._cache = cache
        self._letters = letters
        self._saving = saving
        self._last_events: dict[TopicPartition, tuple[int, UUID]] = {}
        self._positions: Positions = {}
        self._goal: Positions = {}
        self._marks: dict[int, int] = {}
        self._is_following = False
        self._is_away = False

    async def run(self) -> None:
        """Read for ever; Kafka being away is waited for."""
        while True:
            try:
                if not self._is_following:
                    await self._start()
                    self._is_following = True
                await self._follow()
            except Silent:
                log.warning("no record arrived, reading on with a new consumer", after_s=SILENCE_S)
            except (KafkaError, OSError, TimeoutError) as error:
                if not self._is_away:
                    log.warning("kafka does not serve, trying again until it does", error=repr(error))
                self._is_away = True
                await asyncio.sleep(RETRY_S)

    def places(self) -> list[Place] | None:
        """How far the topics are applied; None before they are followed."""
        if not self._is_following:
            return None
        return [
            Place(at.topic, at.partition, offset, *self._last_events.get(at, ()))
            for at, offset in self._positions.items()
        ]

    async def _start(self) -> None:
        """Take up the snapshot file, or else read the states on the compacted topic."""
        reached = await self._saving.load(self._why_not)
        if not reached:
            await self._replay_snapshots()
            return
        starts, self._goal = await self._bounds(
            [*self._places(BOOKING_PROPERTIES), *self._places(BOOKING_RESERVATIONS)]
        )
        for place in reached:
            at = TopicPartition(place.topic, place.partition)
            self._positions[at] = max(starts[at], place.offset - LOOK_BACK)
            if place.event_offset is not None and place.event_id is not None:
                self._last_events[at] = place.event_offset, place.event_id

    async def _why_not(self, places: Sequence[Place]) -> str | None:
        """Why the topics cannot be read on from these places; None when they can."""
        ours = self._all_places()
        offsets = {TopicPartition(place.topic, place.partition): place.offset for place in places}
        if set(offsets) != set(ours):
            return "it is of other topics or partitions"
        starts, ends = await self._bounds(ours)
        for at, offset in offsets.items():
            is_expired = offset < starts[at] and at.topic == BOOKING_RESERVATIONS.name
            if is_expired or offset > ends[at]:
                return f"{at.topic} does not reach to offset {offset} of partition {at.partition} any more"
        named = {TopicPartition(one.topic, one.partition): one for one in places if one.event_offset is not None}
        found = await self._events_at({at: one.event_offset or 0 for at, one in named.items()})
        strange = sorted(at.partition for at, one in named.items() if found.get(at) != one.event_id)
        return f"the partitions {strange} lack the event it was written after" if strange else None

    async def _events_at(self, offsets: Positions) -> dict[TopicPartition, UUID]:
        """The ids of the events at these offsets, as far as there are any."""
        found: dict[TopicPartition, UUID] = {}
        seen: set[TopicPartition] = set()
        if not offsets:
            return found
        async with self._consumer(offsets, offsets) as consumer, asyncio.timeout(START_TIMEOUT_S):
            while len(seen) < len(offsets):
                try:
                    batches: Batches = await consumer.getmany(timeout_ms=POLL_MS)
                except OffsetOutOfRangeError as error:  # expired: the log may begin right behind it
                    seen |= error.args[0].keys()
                    continue
                for at, batch in batches.items():
                    if at not in seen and batch[0].offset == offsets[at]:
                        with suppress(PoisonMessage):
                            found[at] = parse_event(TOPICS[at.topic], to_record(batch[0])).envelope.event_id
                    seen.add(at)
        return found

    async def _replay_snapshots(self) -> None:
        """Read the compacted topic to its end, and find where the change log continues it."""
        snapshots, changes = self._places(BOOKING_PROPERTIES), self._places(BOOKING_RESERVATIONS)
        starts, self._goal = await self._bounds([*snapshots, *changes])
        self._positions = {place: starts[place] for place in snapshots}
        silence = Silence(["any"])
        async with self._consumer(snapshots, self._positions) as consumer:
            while not self._has_reached(snapshots):
                batches, waited_s = await self._poll(consumer)
                silence.note(["any"] if batches else [], waited_s)
                await self._apply_all(batches)
        starts, ends = await self._bounds(changes)
        for place in changes:
            first = first_delta(self._marks.get(place.partition), starts[place], ends[place])
            self._positions[place] = first.offset
            if not first.is_complete:
                self._cache.report_loss(place.partition)
        log.info("the snapshots are read", marks=self._marks)

    async def _follow(self) -> None:
        silence = Silence(self._places(BOOKING_RESERVATIONS))
        async with self._consumer(self._positions, self._positions) as consumer:
            while True:
                if not self._cache.is_caught_up and self._has_reached(self._goal):
                    self._cache.report_caught_up()
                    log.info("the topics are read to the ends they had at the start")
                batches, waited_s = await self._poll(consumer)
                silence.note(batches, waited_s)
                await self._apply_all(batches)

    async def _bounds(self, places: Collection[TopicPartition]) -> tuple[Positions, Positions]:
        """The logs' starts and ends."""
        async with self._consumer(places) as consumer:
            return await consumer.beginning_offsets(places), await consumer.end_offsets(places)

    async def _poll(self, consumer: AIOKafkaConsumer) -> tuple[Batches, float]:
        """What has arrived, and the seconds waited for it."""
        began = time.monotonic()
        try:
            batches: Batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)
        except OffsetOutOfRangeError as error:
            await self._reposition(consumer, list(error.args[0]))
            batches = {}
        if batches and self._is_away:
            log.info("kafka serves again")
            self._is_away = False
        return batches, time.monotonic() - began

    async def _reposition(self, consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> None:
        """Go on at the log's start where our position is no longer in the log: expired, or the topic was made anew."""
        starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            log.warning("position is out of range", topic=place.topic, partition=place.partition, start=starts[place])
            self._positions[place] = starts[place]
            self._goal[place] = min(self._goal[place], ends[place])
            consumer.seek(place, starts[place])
            if place.topic == BOOKING_RESERVATIONS.name:
                self._cache.report_loss(place.partition)

    async def _apply_all(self, batches: Batches) -> None:
        began = 0.0  # taking them from the client was a stretch already
        for place, batch in batches.items():
            for raw in batch:
                if time.monotonic() - began > STRETCH_S or len(raw.value or b"") > LONG_BYTES:
                    await asyncio.sleep(0)
                    began = time.monotonic()
                await self._consume(TOPICS[place.topic], to_record(raw))
                self._positions[place] = raw.offset + 1

    async def _consume(self, topic: Topic, record: Record) -> None:
        """Apply one record, or put it aside. What carries no trace (watermarks, states) and the replay need no span."""
        if not record.headers or not self._cache.is_caught_up:
            with suppress(Exception):  # `process` meets it again, and knows what to do
                self._apply(topic, record)
                return
        await process(topic, record, self._handle, self._letters)

    async def _handle(self, record: Record) -> None:
        try:
            self._apply(TOPICS[record.topic], record)
        except Exception:
            with suppress(ValueError):
                self._cache.distrust(UUID((record.key or b"").decode()), Cause.UNREADABLE)
            raise

    def _apply(self, topic: Topic, record: Record) -> None:
        """Raises `PoisonMessage` or `ZonelessInstant`."""
        if record.value is None and topic.null_is_legal:
            self._cache.remove(_property_id(record))
            return
        event = parse_event(topic, record)
        if topic is BOOKING_RESERVATIONS:
            self._last_events[TopicPartition(topic.name, record.partition)] = record.offset, event.envelope.event_id
        match event.data:
            case Watermark() as mark:
                _require(mark.partition == record.partition, "a watermark of another partition")
                self._cache.apply_watermark(record.partition, mark.database_time, mark.held_back)
            case DeltaOffset() as mark:
                _require(mark.partition == record.partition, "a mark of another partition")
                # The last mark counts, not the highest: that may be of a log that was deleted since.
                self._marks[record.partition] = mark.delta_offset
            case PropertySnapshot() as snapshot:
                _require(snapshot.property_id == _property_id(record), "a snapshot under the key of another property")
                self._cache.apply_snapshot(snapshot)
            case InventoryChange() as change:
                _require(change.property_id == _property_id(record), "a change under the key of another property")
                if event.envelope.agency_id is None:
                    raise PoisonMessage("a change without agency_id")
                self._cache.apply_change(event.envelope.agency_id, change)

    def _places(self, topic: Topic) -> list[TopicPartition]:
        return [TopicPartition(topic.name, number) for number in range(self._settings.kafka_partitions)]

    def _all_places(self) -> list[TopicPartition]:
        return [*self._places(BOOKING_PROPERTIES), *self._places(BOOKING_RESERVATIONS)]

    def _has_reached(self, places: Iterable[TopicPartition]) -> bool:
        return all(self._positions.get(place, 0) >= self._goal[place] for place in places)

    @asynccontextmanager
    async def _consumer(
        self, places: Collection[TopicPartition], positions: Positions | None = None
    ) -> AsyncIterator[AIOKafkaConsumer]:
        """A started consumer without a group, at these positions; without positions it must not be polled."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            client_id="availability",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_bytes=FETCH_MAX_BYTES,
            max_partition_fetch_bytes=PARTITION_FETCH_MAX_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        consumer.assign(list(places))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await consumer.start()
            # Nothing may be awaited before this: a fetch without a position is an error.
            for place, offset in (positions or {}).items():
                consumer.seek(place, offset)
            self._check_partitions(consumer, {place.topic for place in places})
            yield consumer
        finally:
            await _stop(consumer)

    def _check_partitions(self, consumer: AIOKafkaConsumer, names: Iterable[str]) -> None:
        wanted = self._settings.kafka_partitions
        for name in names:
            count = len(consumer.partitions_for_topic(name) or ())
            if count != wanted:
                raise WrongPartitionCount(f"{name} has {count} partitions and KAFKA_PARTITIONS is {wanted}")


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer whatever state it is in.

    aiokafka's `stop()` cancels its own tasks and awaits them: one that is in a back-off, or never ran yet, raises
    CancelledError into the caller, who was not cancelled, and leaves the connections open. Hence a task of its own.
    """
    await asyncio.gather(asyncio.wait_for(consumer.stop(), STOP_TIMEOUT_S), return_exceptions=True)
    await consumer._client.close()


def _property_id(record: Record) -> UUID:
    try:
        return UUID((record.key or b"").decode())
    except ValueError:
        raise PoisonMessage("the key is not a property's id") from None


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PoisonMessage(otherwise)
