"""Proves how overbooked stays are settled by hand, and that the channel's word still reaches a stay that was moved."""

import json
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from booking.domain.errors import ConflictClosed, DatesUnavailable, NotFound
from booking.domain.model import Conflict, Page, Reservation, ReservationFilter
from booking.service import channel, modifying, reservations
from booking.service.modifying import Patch
from tests.booking.checks import assert_no_overlap, events_by_version, revision_of
from tests.booking.conftest import Ledger, night

pytestmark = pytest.mark.stack


async def overbooked(ledger: Ledger, agency: UUID, house: UUID) -> tuple[UUID, Conflict]:
    """Nights 10 to 12 sold, then 11 to 15 by the OTA: the first stay and the conflict."""
    first = UUID(json.loads((await ledger.book(agency, house, 10, 12)).body)["id"])
    await channel.apply_revision(ledger.system, revision_of(agency, house, "X", 1, 11, 15))
    (conflict,) = await channel.list_conflicts(ledger.api, agency, Page(5), "open")
    return first, conflict


async def stays_of(ledger: Ledger, agency: UUID, house: UUID) -> list[Reservation]:
    only = ReservationFilter(property_id=house)
    return (await reservations.list_page(ledger.api, agency, Page(50), only, with_total=False))[0]


async def test_cancelling_the_competitor_confirms_the_overbooked_stay(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    first, conflict = await overbooked(ledger, agency, house)
    settled = await channel.resolve(ledger.api, agency, conflict.id, first, None)
    assert (settled.state, settled.resolution) == ("closed", "nights_came_free")
    assert {stay.status for stay in await stays_of(ledger, agency, house)} == {"cancelled", "confirmed"}
    with pytest.raises(ConflictClosed):
        await channel.resolve(ledger.api, agency, conflict.id, None, None)


async def test_cancelling_the_overbooked_stay_frees_what_it_kept(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    _, conflict = await overbooked(ledger, agency, house)
    settled = await channel.resolve(ledger.api, agency, conflict.id, None, None)
    assert (settled.state, settled.resolution) == ("closed", "cancelled")
    await ledger.book(agency, house, 12, 15)


@pytest.mark.parametrize("who", ["overbooked", "competitor"])
async def test_either_stay_can_move_to_a_free_property(ledger: Ledger, who: str) -> None:
    agency = uuid4()
    house, free, taken = [await ledger.new_property(agency) for _ in range(3)]
    await ledger.book(agency, taken, 0, 30)
    first, conflict = await overbooked(ledger, agency, house)
    moved = first if who == "competitor" else conflict.source_id
    with pytest.raises(DatesUnavailable):
        await channel.resolve(ledger.api, agency, conflict.id, moved, taken)
    settled = await channel.resolve(ledger.api, agency, conflict.id, moved, free)
    assert settled.state == "closed"
    assert [stay.status for stay in await stays_of(ledger, agency, free)] == ["confirmed"]
    assert [stay.status for stay in await stays_of(ledger, agency, house)] == ["confirmed"]
    for place in (house, free):
        await assert_no_overlap(ledger, place)
        await events_by_version(ledger, place)


async def test_only_stays_of_the_conflict_and_of_the_agency_can_be_chosen(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    _, conflict = await overbooked(ledger, agency, house)
    other = UUID(json.loads((await ledger.book(agency, house, 20, 22)).body)["id"])
    with pytest.raises(NotFound):
        await channel.resolve(ledger.api, agency, conflict.id, other, None)
    with pytest.raises(NotFound):
        await channel.resolve(ledger.api, uuid4(), conflict.id, None, None)


async def test_what_the_channel_says_later_reaches_the_stay_where_it_was_moved(ledger: Ledger) -> None:
    agency = uuid4()
    listed, moved_to = [await ledger.new_property(agency) for _ in range(2)]
    await channel.apply_revision(ledger.system, revision_of(agency, listed, "X", 1, 0, 3))
    (stay,) = await stays_of(ledger, agency, listed)
    await modifying.modify(ledger.api, agency, stay.id, Patch(property_id=moved_to))
    await channel.apply_revision(ledger.system, revision_of(agency, listed, "X", 2, 1, 5))
    assert await stays_of(ledger, agency, listed) == []
    (stay,) = await stays_of(ledger, agency, moved_to)
    assert (stay.check_in, stay.check_out, stay.status) == (night(1), night(5), "confirmed")
    cancelled = replace(revision_of(agency, listed, "X", 3, 1, 5), is_cancellation=True)
    await channel.apply_revision(ledger.system, cancelled)
    assert (await reservations.get(ledger.api, agency, stay.id)).status == "cancelled"
    await ledger.book(agency, moved_to, 1, 5)
