"""Proves the deletion of a property on a real PostgreSQL: refused while it is in use, then gone for everybody."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from booking.domain.drafts import BookingDraft, GuestDraft
from booking.domain.errors import DatesUnavailable, NotFound, PropertyInUse
from booking.domain.model import Hold, Page
from booking.events import snapshot
from booking.repository.republishing import reset_published
from booking.service import (
    blocks,
    channel,
    groups,
    guests,
    holds,
    modifying,
    properties,
    reservations,
    selling,
    snapshots,
    transitions,
)
from booking.service.modifying import Patch
from contracts.booking_properties_v1 import PropertySnapshot
from contracts.topics import BOOKING_PROPERTIES
from rules.quotes import Rates
from runtime.consumer import to_record
from runtime.events import parse_event
from runtime.kafka import Record, TopicWriter, partition_of
from runtime.postgres import transaction
from tests.booking.checks import events_by_version, key_of, outbox_of, revision_of
from tests.booking.conftest import Ledger, night
from tests.booking.own_database import PARTITIONS, OwnLedger, new_topic, own_ledger
from tests.booking.served import Served, served_booking
from tests.clock import at, clock_ahead
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

UNKNOWN = datetime.max.replace(tzinfo=UTC)
PAGE = Page(50)
AFTER_THE_STAY = datetime.combine(night(3), datetime.min.time(), UTC) + timedelta(hours=36)


def id_of(answer: Any) -> UUID:
    return UUID(json.loads(answer.body)["id"])


def draft(house: UUID) -> BookingDraft:
    guest = GuestDraft(name="Guest", email="guest@example.com")
    return BookingDraft(house, night(0), night(3), 2, 0, 0, "confirmed", None, guest)


async def held(ledger: Ledger, agency: UUID, house: UUID, lasts: timedelta = timedelta(minutes=5)) -> UUID:
    wanted = Hold(uuid4(), agency, house, night(0), night(3), UNKNOWN)
    return id_of(await holds.place(ledger.api, wanted, lasts, None))


async def gone_house(ledger: Ledger, agency: UUID) -> UUID:
    house = await ledger.new_property(agency)
    await properties.delete(ledger.api, agency, house)
    return house


async def test_a_deleted_property_is_there_for_nobody(ledger: Ledger) -> None:
    agency = uuid4()
    kept, house = await ledger.new_property(agency), await ledger.new_property(agency)
    gone = await properties.delete(ledger.api, agency, house)
    assert gone.deleted_at is not None
    assert gone.inventory_version == 2
    assert await events_by_version(ledger, house) == ["PropertyCreated", "PropertyDeleted"]
    assert [found.id for found in await properties.list_page(ledger.api, agency, PAGE)] == [kept]
    for attempt in (
        properties.get(ledger.api, agency, house),
        selling.get(ledger.api, agency, house),
        selling.modify(ledger.api, agency, house, {"name": "Back"}),
        selling.put_rates(
            ledger.api, agency, house, Rates(1), (await selling.get(ledger.api, agency, kept))[1].fees, []
        ),
        ledger.book(agency, house, 0, 3),
        ledger.book(agency, house, 0, 3, status="inquiry"),
        ledger.book(agency, house, 0, 3, status="pending"),
        ledger.block(agency, house, 0, 3),
        held(ledger, agency, house),
    ):
        with pytest.raises(NotFound, match="no such property"):
            await attempt
    assert len(await outbox_of(ledger, house)) == 2


async def test_deleting_twice_answers_the_same_and_a_strangers_property_is_not_there(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    with pytest.raises(NotFound):
        await properties.delete(ledger.api, uuid4(), house)
    with pytest.raises(NotFound):
        await properties.delete(ledger.api, agency, uuid4())
    first, *others = await asyncio.gather(*(properties.delete(ledger.api, agency, house) for _ in range(4)))
    assert others == [first] * 3
    assert await events_by_version(ledger, house) == ["PropertyCreated", "PropertyDeleted"]


@pytest.mark.parametrize("kind", ["reservation", "block", "hold", "inquiry"])
async def test_a_property_in_use_is_kept_and_the_refusal_says_by_what(ledger: Ledger, kind: str) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    match kind:
        case "block":
            await blocks.delete(ledger.api, agency, id_of(await ledger.block(agency, house, 9, 10)))
            await ledger.block(agency, house, 0, 3)
        case "hold":
            await held(ledger, agency, house)
        case _:
            await ledger.book(agency, house, 0, 3, status="inquiry" if kind == "inquiry" else "confirmed")
    versions = len(await outbox_of(ledger, house))
    with pytest.raises(PropertyInUse) as refusal:
        await properties.delete(ledger.api, agency, house)
    found = refusal.value.competitor
    assert (found.kind, found.start_date, found.end_date) == (kind, night(0), night(3))
    assert (await properties.get(ledger.api, agency, house)).deleted_at is None
    assert len(await outbox_of(ledger, house)) == versions


async def test_an_overbooked_stay_that_waits_keeps_its_property(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    for code in ("FIRST", "SECOND"):
        await channel.apply_revision(ledger.system, revision_of(agency, house, code, 1, 0, 3))
    (first,) = await stays(ledger, agency, house, "confirmed")
    (second,) = await stays(ledger, agency, house, "overbooked")
    with pytest.raises(PropertyInUse):
        await properties.delete(ledger.api, agency, house)
    await transitions.cancel(ledger.api, agency, second, None)
    await transitions.cancel(ledger.api, agency, first, None)
    await properties.delete(ledger.api, agency, house)


async def stays(ledger: Ledger, agency: UUID, house: UUID, status: str) -> list[UUID]:
    rows = await ledger.system.pool.fetch(
        "SELECT id FROM reservations WHERE agency_id = $1 AND property_id = $2 AND status = $3", agency, house, status
    )
    return [row["id"] for row in rows]


async def test_cancelled_and_expired_nights_keep_no_property(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await transitions.cancel(ledger.api, agency, id_of(await ledger.book(agency, house, 0, 3)), None)
    await held(ledger, agency, house, lasts=timedelta(seconds=-1))
    await properties.delete(ledger.api, agency, house)
    assert (await events_by_version(ledger, house))[-2:] == ["HoldExpired", "PropertyDeleted"]


async def test_the_past_keeps_no_property_and_its_records_can_still_be_closed(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency, preparation_days=1)
    stay = id_of(await ledger.book(agency, house, 0, 3))
    await ledger.book(agency, house, 0, 3, status="inquiry")
    async with clock_ahead(ledger.owner_dsn, at(AFTER_THE_STAY - timedelta(days=1))):
        await transitions.check_in(ledger.api, agency, stay)
        with pytest.raises(PropertyInUse):  # still being prepared
            await properties.delete(ledger.api, agency, house)
    async with clock_ahead(ledger.owner_dsn, at(AFTER_THE_STAY)):
        await properties.delete(ledger.api, agency, house)
        assert (await reservations.get(ledger.api, agency, stay)).status == "checked_in"
        assert (await transitions.check_out(ledger.api, agency, stay)).status == "checked_out"
        assert (await transitions.rate(ledger.api, agency, stay, 5)).rating == 5
        assert len(await reservations.history(ledger.api, agency, stay)) == 4
    guest = (await reservations.get(ledger.api, agency, stay)).guest_id
    assert guest is not None
    await guests.erase(ledger.api, agency, guest)
    assert (await events_by_version(ledger, house))[-1] == "GuestErased"


async def test_no_stay_moves_into_a_deleted_property(ledger: Ledger) -> None:
    agency = uuid4()
    house, gone = await ledger.new_property(agency), await gone_house(ledger, agency)
    stay = id_of(await ledger.book(agency, house, 0, 3))
    with pytest.raises(NotFound, match="no such property"):
        await modifying.modify(ledger.api, agency, stay, Patch(property_id=gone))
    assert (await reservations.get(ledger.api, agency, stay)).property_id == house


async def test_a_group_with_a_deleted_property_books_nothing(ledger: Ledger) -> None:
    agency = uuid4()
    house, gone = await ledger.new_property(agency), await gone_house(ledger, agency)
    with pytest.raises(NotFound, match="no such property"):
        await groups.book_group(ledger.api, agency, [draft(house), draft(gone)], None)
    await ledger.book(agency, house, 0, 3)


async def test_a_booking_that_was_answered_is_replayed_though_its_property_is_gone(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    first = await ledger.book(agency, house, 0, 3, key=key_of(agency, "k"))
    await transitions.cancel(ledger.api, agency, id_of(first), None)
    await properties.delete(ledger.api, agency, house)
    again = await ledger.book(agency, house, 0, 3, key=key_of(agency, "k"))
    assert (again.body, again.replayed) == (first.body, True)


async def test_of_a_deletion_and_bookings_at_once_only_one_side_wins(ledger: Ledger) -> None:
    agency = uuid4()
    for _ in range(10):
        house = await ledger.new_property(agency)
        results = await asyncio.gather(
            ledger.book(agency, house, 0, 3),
            ledger.book(agency, house, 5, 8, status="inquiry", email="other@example.com"),
            properties.delete(ledger.api, agency, house),
            return_exceptions=True,
        )
        booked, asked, deleted = (not isinstance(result, BaseException) for result in results)
        assert deleted != (booked or asked), results
        assert [type(r) for r in results if isinstance(r, BaseException)].count(DatesUnavailable) == 0
        assert not deleted or (await events_by_version(ledger, house))[-1] == "PropertyDeleted"


async def test_what_an_ota_sells_of_a_deleted_property_is_kept_as_overbooked(ledger: Ledger) -> None:
    agency = uuid4()
    gone = await gone_house(ledger, agency)
    for code in ("A", "B"):
        await channel.apply_revision(ledger.system, revision_of(agency, gone, code, 1, 0, 3))
    first, second = await stays(ledger, agency, gone, "overbooked")
    waiting = await channel.list_conflicts(ledger.api, agency, PAGE, "open")
    assert {found.source_id for found in waiting} == {first, second}
    told = [event for event in await outbox_of(ledger, gone) if event["data"].get("channel")]
    assert [(event["type"], event["data"]["channel"]["outcome"]) for event in told] == [
        ("ReservationOverbooked", "applied")
    ] * 2
    assert "deleted" in told[0]["data"]["channel"]["reason"]
    ranges = "SELECT count(*) FROM inventory_ranges WHERE property_id = $1 AND state = 'active'"
    assert await ledger.system.pool.fetchval(ranges, gone) == 0
    # Redelivered, cancelled, changed and moved like any other.
    await channel.apply_revision(ledger.system, revision_of(agency, gone, "A", 1, 0, 3))
    await channel.apply_revision(ledger.system, revision_of(agency, gone, "A", 2, 0, 4))
    assert set(await stays(ledger, agency, gone, "overbooked")) == {first, second}
    target = await ledger.new_property(agency)
    waiting = await channel.list_conflicts(ledger.api, agency, PAGE, "open")
    conflict = next(found.id for found in waiting if found.source_id == first)
    await channel.resolve(ledger.api, agency, conflict, None, target)
    moved = await reservations.get(ledger.api, agency, first)
    assert (moved.property_id, moved.status) == (target, "confirmed")
    await transitions.cancel(ledger.api, agency, second, None)
    assert not await channel.list_conflicts(ledger.api, agency, PAGE, "open")
    await events_by_version(ledger, gone)


async def test_a_past_ota_stay_keeps_its_nights_when_the_channel_corrects_its_price(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await channel.apply_revision(ledger.system, revision_of(agency, house, "A", 1, 0, 3))
    async with clock_ahead(ledger.owner_dsn, at(AFTER_THE_STAY)):
        await properties.delete(ledger.api, agency, house)
        await channel.apply_revision(ledger.system, revision_of(agency, house, "A", 2, 0, 3))
    assert len(await stays(ledger, agency, house, "confirmed")) == 1
    assert (await events_by_version(ledger, house))[-1] == "ReservationModified"


async def test_other_services_are_told_gone_for_ever_and_compare_it_no_more(ledger: Ledger) -> None:
    agency = uuid4()
    kept, gone = await ledger.new_property(agency), await gone_house(ledger, agency)
    found = await properties.state(ledger.system, gone)
    assert snapshot(found.owner, found.terms, found.ranges).gone
    listed: set[UUID] = set()
    cursor = None
    while page := (await properties.digests(ledger.system, night(0), cursor, 500)).items:
        listed |= {property_id for property_id, _, _ in page}
        cursor = page[-1][0]
    assert kept in listed
    assert gone not in listed


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        yield made


@dataclass
class Topic:
    """A fresh topic of the real Kafka that the snapshot worker writes, a round at a time."""

    own: OwnLedger
    name: str
    writer: TopicWriter
    seen: int = 0

    async def send(self, partition: int, key: bytes, value: bytes | None) -> None:
        await self.writer.send(self.name, partition, key, value)

    async def end_offset(self, partition: int) -> int:
        return await self.writer.end_offset(self.own.topic.name, partition)

    async def published(self, house: UUID) -> list[tuple[bool, int] | None]:
        """What one round of the worker wrote of a property: each snapshot's `gone` and version, None for a null."""
        shard = partition_of(str(house), PARTITIONS)
        await snapshots.publish(self.own.ledger.system, shard, self.end_offset, self.send, 0)
        records = await self.own.records(house, self.name)
        fresh, self.seen = records[self.seen :], len(records)
        return [None if record.value is None else _gone_and_version(to_record(record)) for record in fresh]


def _gone_and_version(record: Record) -> tuple[bool, int]:
    whole = parse_event(BOOKING_PROPERTIES, record).data
    assert isinstance(whole, PropertySnapshot)
    return whole.gone, whole.inventory_version


@pytest_asyncio.fixture(loop_scope="session")
async def topic(own: OwnLedger) -> AsyncIterator[Topic]:
    writer = TopicWriter(own.kafka.kafka_bootstrap_servers)
    yield Topic(own, (await new_topic(own.kafka)).name, writer)
    await writer.close()


async def test_a_deleted_property_is_published_as_gone_for_thirty_days_then_once_as_a_null(
    own: OwnLedger, topic: Topic
) -> None:
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    assert await topic.published(house) == [(False, 1)]
    await properties.delete(own.ledger.api, agency, house)
    assert await topic.published(house) == [(True, 2)]
    assert await topic.published(house) == []
    async with clock_ahead(own.ledger.owner_dsn, timedelta(days=29)):
        assert await topic.published(house) == [(True, 2)]
    async with clock_ahead(own.ledger.owner_dsn, timedelta(days=31)):
        assert await topic.published(house) == [None]
    async with clock_ahead(own.ledger.owner_dsn, timedelta(days=90)):
        assert await topic.published(house) == []
        # A revision that comes late, and an operator who publishes everything again, do not bring it back.
        await channel.apply_revision(own.ledger.system, revision_of(agency, house, "LATE", 1, 0, 3))
        assert await topic.published(house) == [None]
        async with transaction(own.ledger.system.pool, None) as connection:
            await reset_published(connection, [house])
        assert await topic.published(house) == [None]
        assert await topic.published(house) == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    async with served_booking(ledger, provisioned) as made:
        yield made


async def test_over_http_it_is_refused_by_name_then_gone_with_its_bookings_readable(served: Served) -> None:
    agency = uuid4()
    house = await served.ledger.new_property(agency)
    stay = id_of(await served.ledger.book(agency, house, 0, 3))

    async def call(method: str, path: str, body: Any = None) -> Any:
        return await served.call(method, path, body, agency_id=agency)

    refused = await call("DELETE", f"/properties/{house}")
    assert (refused.status, refused.body["code"]) == (409, "property_in_use")
    wanted = {"kind": "reservation", "start_date": str(night(0)), "end_date": str(night(3))}
    assert refused.body["conflict"] == wanted
    assert (await call("POST", f"/bookings/{stay}/cancel")).status == 200
    first, second = await call("DELETE", f"/properties/{house}"), await call("DELETE", f"/properties/{house}")
    assert (first.status, first.text) == (200, second.text)
    assert first.body["deleted_at"] is not None
    missing = await call("GET", f"/properties/{uuid4()}")
    gone = await call("GET", f"/properties/{house}")
    assert (gone.status, gone.body["detail"]) == (404, missing.body["detail"])
    dates = {"check_in": str(night(0)), "check_out": str(night(3)), "occupancy": {"adults": 2}}
    guest = {"guest": {"name": "Guest", "email": "guest@example.com"}}
    assert (await call("POST", "/quotes", {"property_id": str(house), **dates})).status == 404
    assert (await call("POST", "/bookings", {"property_id": str(house), **dates, **guest})).status == 404
    assert (await call("GET", f"/bookings/{stay}")).status == 200
    listed = await call("GET", f"/bookings?property_id={house}")
    assert [found["id"] for found in listed.body["items"]] == [str(stay)]
    assert (await call("GET", "/properties")).body["items"] == []
