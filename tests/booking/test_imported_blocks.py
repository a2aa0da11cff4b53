"""Proves what becomes of blocks that channels' calendars tell of: kept like OTA stays, and waiting for sold nights."""

import json
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from booking.domain.errors import NotFound
from booking.domain.model import Block, Page
from booking.domain.revisions import Revision
from booking.events.bodies import block_body, conflict_body
from booking.service import blocks, channel, transitions
from tests.booking.checks import assert_no_overlap, events_by_version, outbox_of, revision_of
from tests.booking.conftest import Ledger, night

pytestmark = pytest.mark.stack

RANGES = """SELECT kind, lower(occupied) - $2::date AS first, upper(occupied) - $2::date AS last FROM inventory_ranges
            WHERE property_id = $1 AND state = 'active' ORDER BY occupied"""


def imported(agency: UUID, house: UUID, number: int, first: int, last: int, *, gone: bool = False) -> Revision:
    told = replace(revision_of(agency, house, "E", number, first, last), guest_name=None, guest_email=None)
    return replace(told, is_block=True, is_cancellation=gone)


async def told(ledger: Ledger, agency: UUID, house: UUID, number: int, first: int, last: int) -> Block:
    await channel.apply_revision(ledger.system, imported(agency, house, number, first, last))
    return await only_block(ledger, agency, house)


async def only_block(ledger: Ledger, agency: UUID, house: UUID) -> Block:
    (found,) = await blocks.list_page(ledger.api, agency, Page(5), house)
    return found


async def held(ledger: Ledger, house: UUID) -> list[tuple[str, int, int]]:
    return [tuple(row) for row in await ledger.system.pool.fetch(RANGES, house, night(0))]


async def test_an_imported_event_is_a_block_with_its_source_that_follows_the_calendar(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency, preparation_days=2)
    block = await told(ledger, agency, house, 1, 10, 12)
    answer = block_body(block)
    assert (answer["source"], answer["ota_name"], answer["ota_reservation_code"]) == ("ota", "ota", "E")
    assert answer["connection_id"] == str(UUID(int=7))
    assert await held(ledger, house) == [("block", 10, 12)]
    moved = await told(ledger, agency, house, 2, 11, 14)
    assert (moved.id, moved.start_date, moved.end_date) == (block.id, night(11), night(14))
    assert await held(ledger, house) == [("block", 11, 14)]
    await channel.apply_revision(ledger.system, imported(agency, house, 3, 11, 14, gone=True))
    assert not await held(ledger, house)
    assert not (await blocks.get(ledger.api, agency, block.id)).active
    assert (await events_by_version(ledger, house))[-3:] == ["BlockCreated", "BlockModified", "BlockDeleted"]
    outcomes = [
        event["data"]["channel"]["outcome"] for event in await outbox_of(ledger, house) if "block_id" in event["data"]
    ]
    assert outcomes == ["applied"] * 3


async def test_a_block_over_sold_nights_waits_closes_the_rest_and_gets_them_when_they_come_free(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = UUID(json.loads((await ledger.book(agency, house, 10, 12)).body)["id"])
    block = await told(ledger, agency, house, 1, 11, 15)
    assert block.waiting
    assert await held(ledger, house) == [("reservation", 10, 12), ("conflict", 12, 15)]
    (conflict,) = await channel.list_conflicts(ledger.api, agency, Page(5), "open")
    assert conflict.competing_source_ids == (stay,)
    assert conflict_body(conflict)["block_id"] == conflict_body(conflict)["reservation_id"] == str(block.id)
    await transitions.cancel(ledger.api, agency, stay, None)
    assert await held(ledger, house) == [("block", 11, 15)]
    assert not (await only_block(ledger, agency, house)).waiting
    assert (await channel.get_conflict(ledger.api, agency, conflict.id)).resolution == "nights_came_free"
    await assert_no_overlap(ledger, house)
    await events_by_version(ledger, house)


async def test_a_waiting_block_follows_its_calendar_and_can_be_deleted_or_its_competitor_cancelled(
    ledger: Ledger,
) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await ledger.book(agency, house, 10, 12)
    await told(ledger, agency, house, 1, 11, 15)
    assert not (await told(ledger, agency, house, 2, 12, 15)).waiting
    assert (await told(ledger, agency, house, 3, 11, 13)).waiting
    (conflict,) = await channel.list_conflicts(ledger.api, agency, Page(5), "open")
    with pytest.raises(NotFound):
        await channel.resolve(ledger.api, agency, conflict.id, None, await ledger.new_property(agency))
    settled = await channel.resolve(ledger.api, agency, conflict.id, None, None)
    assert (settled.state, settled.resolution) == ("closed", "deleted")
    assert await held(ledger, house) == [("reservation", 10, 12)]
    await events_by_version(ledger, house)


async def test_an_overbooked_stay_waits_for_a_block_and_a_block_for_an_overbooked_stay(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    block = await told(ledger, agency, house, 1, 10, 14)
    await channel.apply_revision(ledger.system, revision_of(agency, house, "X", 1, 13, 16))
    assert await held(ledger, house) == [("block", 10, 14), ("conflict", 14, 16)]
    await blocks.delete(ledger.api, agency, block.id)
    assert await held(ledger, house) == [("reservation", 13, 16)]
    # The calendar still shows the event: its next word closes what is left of its nights.
    again = await told(ledger, agency, house, 2, 10, 14)
    assert (again.id, again.waiting) == (block.id, True)
    assert await held(ledger, house) == [("conflict", 10, 13), ("reservation", 13, 16)]


async def test_repeated_late_and_unneeded_words_change_nothing_and_get_their_outcome(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await channel.apply_revision(ledger.system, imported(agency, house, 5, 10, 12, gone=True))
    await channel.apply_revision(ledger.system, imported(agency, house, 4, 10, 12))
    assert not await held(ledger, house)
    await told(ledger, agency, house, 6, 10, 12)
    for _ in range(2):
        await channel.apply_revision(ledger.system, imported(agency, house, 6, 10, 12))
    await channel.apply_revision(ledger.system, imported(agency, house, 7, 10, 12))
    found = [event["data"]["channel"] for event in await outbox_of(ledger, house) if event["data"].get("channel")]
    assert [(one["revision_no"], one["outcome"]) for one in found] == [
        (5, "applied"),
        (4, "superseded"),
        (6, "applied"),
        (6, "applied"),
        (6, "applied"),
        (7, "applied"),
    ]
    assert await held(ledger, house) == [("block", 10, 12)]
