"""Proves that the compacted topic tells the ledger's state again after a restore: no key too many, none forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from booking.clients import TopicLog, TopicUnavailable
from booking.service import properties, republishing, snapshots
from booking.service.republishing import EmptyLedger, Scope
from runtime.kafka import TopicWriter, partition_of
from tests.booking.own_database import PARTITIONS, OwnLedger, new_topic, own_ledger
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

SEVERAL_STRETCHES = 3


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        yield made


@dataclass
class StateTopic:
    """A compacted topic of the test's own, written to as the snapshot worker writes."""

    own: OwnLedger
    name: str
    writer: TopicWriter
    before_sending: Callable[[], Awaitable[None]] | None = None
    sent: list[tuple[bytes, bytes | None]] = field(default_factory=list)

    async def send(self, partition: int, key: bytes, value: bytes | None) -> None:
        if self.before_sending is not None:
            meet, self.before_sending = self.before_sending, None
            await meet()
        producer = await self.writer.producer()
        await producer.send_and_wait(self.name, value=value, key=key, partition=partition)
        self.sent.append((key, value))

    async def end_offset(self, partition: int) -> int:
        return await self.writer.end_offset(self.own.topic.name, partition)

    async def publish(self, *houses: UUID) -> None:
        """One round of the snapshot worker over these properties' partitions."""
        for shard in {partition_of(str(house), PARTITIONS) for house in houses}:
            await snapshots.publish(self.own.ledger.system, shard, self.end_offset, self.send, 0)

    async def write(self, key: UUID, value: bytes | None = b"{}") -> None:
        """A record of a property as it was before the restore."""
        await self.send(partition_of(str(key), PARTITIONS), str(key).encode(), value)

    async def forget_unknown(self) -> int:
        """The repair; how many keys it forgot."""
        async with self.log() as log:
            return sum([count async for count in republishing.forget_unknown(self.own.ledger.system, log, self.send)])

    @asynccontextmanager
    async def log(self) -> AsyncIterator[TopicLog]:
        log = TopicLog(self.own.kafka.kafka_bootstrap_servers, self.name, PARTITIONS)
        yield log
        await log.close()

    async def values(self, key: UUID) -> list[bool]:
        """For each record of a key whether it says something."""
        return [record.value is not None for record in await self.own.records(key, self.name)]


@pytest_asyncio.fixture(loop_scope="session")
async def topic(own: OwnLedger) -> AsyncIterator[StateTopic]:
    writer = TopicWriter(own.kafka.kafka_bootstrap_servers)
    yield StateTopic(own, (await new_topic(own.kafka)).name, writer)
    await writer.close()


async def test_a_key_the_ledger_does_not_know_gets_a_null_and_every_other_record_stays(
    own: OwnLedger, topic: StateTopic
) -> None:
    house = await own.ledger.new_property(uuid4())
    await topic.publish(house)
    lost = [uuid4() for _ in range(3)]
    for key in lost:
        await topic.write(key)
    await topic.write(lost[0])
    assert await topic.forget_unknown() == 3
    assert [await topic.values(key) for key in lost] == [[True, True, False], [True, False], [True, False]]
    assert await topic.values(house) == [True]
    markers = [key for key, value in topic.sent if key.startswith(b"delta_offset/") and value is None]
    assert markers == []


async def test_what_was_forgotten_is_not_forgotten_again(own: OwnLedger, topic: StateTopic) -> None:
    await own.ledger.new_property(uuid4())
    lost = uuid4()
    await topic.write(lost)
    assert [await topic.forget_unknown(), await topic.forget_unknown()] == [1, 0]
    assert await topic.values(lost) == [True, False]


async def test_a_topic_of_any_length_is_gone_through_in_stretches(
    own: OwnLedger, topic: StateTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(republishing, "TOPIC_LIMIT", 4)
    houses = [await own.ledger.new_property(uuid4()) for _ in range(5)]
    await topic.publish(*houses)
    lost = [uuid4() for _ in range(4 * SEVERAL_STRETCHES)]
    for key in lost:
        await topic.write(key)
    async with topic.log() as log:
        counts = [count async for count in republishing.forget_unknown(own.ledger.system, log, topic.send)]
    assert len(counts) > SEVERAL_STRETCHES
    assert [await topic.values(key) for key in lost] == [[True, False]] * len(lost)
    assert [(await topic.values(house))[-1] for house in houses] == [True] * len(houses)


async def test_a_property_that_is_made_and_published_meanwhile_is_kept(own: OwnLedger, topic: StateTopic) -> None:
    """Its record is read from the topic, so it was committed before the ledger is asked."""
    await own.ledger.new_property(uuid4())
    lost, made = uuid4(), []
    await topic.write(lost)

    async def make_one() -> None:
        made.append(await own.ledger.new_property(uuid4()))
        await topic.publish(*made)

    topic.before_sending = make_one  # between the look at the ledger and the null
    assert await topic.forget_unknown() == 1
    assert await topic.values(made[0]) == [True]
    assert await topic.forget_unknown() == 0
    assert await topic.values(made[0]) == [True]


async def test_a_deleted_property_is_known_and_left_to_its_own_end(own: OwnLedger, topic: StateTopic) -> None:
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    await properties.delete(own.ledger.api, agency, house)
    await topic.publish(house)
    assert await topic.forget_unknown() == 0
    assert await topic.values(house) == [True]


async def test_an_empty_ledger_forgets_nothing(provisioned: Provisioned) -> None:
    """Whoever points the command at a wrong database must not delete the topic."""
    async with own_ledger(provisioned) as empty:
        writer = TopicWriter(empty.kafka.kafka_bootstrap_servers)
        topic = StateTopic(empty, (await new_topic(empty.kafka)).name, writer)
        lost = uuid4()
        await topic.write(lost)
        with pytest.raises(EmptyLedger):
            await topic.forget_unknown()
        assert await topic.values(lost) == [True]
        await writer.close()


async def test_a_topic_that_gives_nothing_is_said_and_not_waited_for(
    own: OwnLedger, topic: StateTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    await own.ledger.new_property(uuid4())
    await topic.write(uuid4())
    monkeypatch.setattr(republishing, "QUIET_S", 0.5)

    class Silent(TopicLog):
        async def ends(self) -> dict[int, int]:
            """More than there is, as when the rest is never served."""
            return {partition: end + 1 for partition, end in (await super().ends()).items()}

    async def forget(log: TopicLog) -> None:
        async for _ in republishing.forget_unknown(own.ledger.system, log, topic.send):
            pass

    log = Silent(own.kafka.kafka_bootstrap_servers, topic.name, PARTITIONS)
    try:
        with pytest.raises(TopicUnavailable, match="gave nothing"):
            await asyncio.wait_for(forget(log), 30)
    finally:
        await log.close()


@pytest.mark.parametrize("requests", [1, 2])
async def test_a_snapshot_that_is_under_way_does_not_count_for_a_republish_that_came_meanwhile(
    own: OwnLedger, topic: StateTopic, requests: int
) -> None:
    """It may have gone to the topic that was lost: the snapshot is sent once more after it."""
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    if requests == 2:
        await _republish(own, house)

    async def republish() -> None:
        await _republish(own, house)

    topic.before_sending = republish
    await topic.publish(house)
    assert await topic.values(house) == [True, True]
    await topic.publish(house)
    assert await topic.values(house) == [True, True]


async def _republish(own: OwnLedger, house: UUID) -> None:
    async for _ in republishing.republish(own.ledger.system, Scope(house)):
        pass
