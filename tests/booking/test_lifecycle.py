"""Proves the reservation's life on a real PostgreSQL: transitions, changes, groups, history, its guest's figures."""

import asyncio
import json
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from booking.domain.drafts import BookingDraft, GuestDraft
from booking.domain.errors import DatesUnavailable, IllegalTransition, InvalidStay, NotFound, StayRulesViolated
from booking.domain.model import Page, ReservationFilter
from booking.service import channel, expiry, groups, modifying, reservations, transitions
from booking.service.modifying import Patch
from tests.booking.checks import assert_no_overlap, events_by_version, key_of, revision_of
from tests.booking.conftest import Ledger, night
from tests.clock import at, clock_ahead

pytestmark = pytest.mark.stack

EARLIER = timedelta(seconds=-1)


async def booked(ledger: Ledger, agency: UUID, house: UUID, first: int, last: int, **options: Any) -> UUID:
    return UUID(json.loads((await ledger.book(agency, house, first, last, **options)).body)["id"])


async def active_nights(ledger: Ledger, house: UUID) -> list[tuple[str, int, int]]:
    """Kind, first and last night offset of each active range."""
    rows = await ledger.system.pool.fetch(
        "SELECT kind, stay FROM inventory_ranges WHERE property_id = $1 AND state = 'active' ORDER BY stay", house
    )
    return [(row["kind"], (row["stay"].lower - night(0)).days, (row["stay"].upper - night(0)).days) for row in rows]


async def test_a_stay_goes_from_pending_to_a_rating(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = await booked(ledger, agency, house, 0, 3, status="pending")
    assert (await transitions.confirm(ledger.api, agency, stay)).hold_expires_at is None
    arrived = await transitions.check_in(ledger.api, agency, stay)
    assert (arrived.status, arrived.checked_in_at is not None) == ("checked_in", True)
    with pytest.raises(IllegalTransition) as refusal:
        await transitions.rate(ledger.api, agency, stay, 5)
    assert refusal.value.allowed == ("check-out",)
    left = await transitions.check_out(ledger.api, agency, stay)
    assert left.status == "checked_out"
    assert (await transitions.rate(ledger.api, agency, stay, 4)).rating == 4
    assert (await events_by_version(ledger, house))[1:] == [
        "ReservationRequested",
        "ReservationConfirmed",
        "ReservationCheckedIn",
        "ReservationCheckedOut",
        "ReservationRated",
    ]


@pytest.mark.parametrize("action", ["confirm", "decline", "check_in", "check_out", "mark_no_show"])
async def test_a_cancelled_stay_can_only_be_cancelled(ledger: Ledger, action: str) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = await booked(ledger, agency, house, 0, 3)
    await transitions.cancel(ledger.api, agency, stay, None)
    change = getattr(transitions, action)
    reason = (None,) if action in ("decline", "mark_no_show") else ()
    with pytest.raises(IllegalTransition) as refusal:
        await change(ledger.api, agency, stay, *reason)
    assert refusal.value.allowed == ("cancel",)


@pytest.mark.parametrize(
    ("status", "action"), [("inquiry", "decline"), ("pending", "decline"), ("confirmed", "mark_no_show")]
)
async def test_a_refused_or_absent_guest_holds_no_night(ledger: Ledger, status: str, action: str) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = await booked(ledger, agency, house, 0, 3, status=status)
    await getattr(transitions, action)(ledger.api, agency, stay, "because")
    assert await active_nights(ledger, house) == []
    await ledger.book(agency, house, 0, 3)


async def test_an_early_check_out_frees_the_remaining_nights(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = await booked(ledger, agency, house, 0, 5)
    await transitions.check_in(ledger.api, agency, stay)
    leaving = datetime.combine(night(2), time(12), UTC)
    async with clock_ahead(ledger.owner_dsn, at(leaving)):
        await transitions.check_out(ledger.api, agency, stay)
    assert await active_nights(ledger, house) == [("reservation", 0, 2)]
    await ledger.book(agency, house, 2, 5)
    await assert_no_overlap(ledger, house)


async def test_a_change_of_dates_gives_the_old_nights_back_only_if_the_new_ones_are_won(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = await booked(ledger, agency, house, 0, 3)
    await booked(ledger, agency, house, 5, 8)
    with pytest.raises(DatesUnavailable):
        await modifying.modify(ledger.api, agency, stay, Patch(check_in=night(4), check_out=night(6)))
    assert await active_nights(ledger, house) == [("reservation", 0, 3), ("reservation", 5, 8)]
    changed = await modifying.modify(ledger.api, agency, stay, Patch(check_in=night(1), check_out=night(5)))
    assert (changed.check_in, changed.check_out) == (night(1), night(5))
    assert await active_nights(ledger, house) == [("reservation", 1, 5), ("reservation", 5, 8)]


async def test_concurrent_changes_into_the_same_nights_have_one_winner(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stays = [await booked(ledger, agency, house, 2 * n, 2 * n + 1, email=f"{n}@example.com") for n in range(8)]
    wanted = Patch(check_in=night(40), check_out=night(43))
    results = await asyncio.gather(
        *(modifying.modify(ledger.api, agency, stay, wanted) for stay in stays), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["DatesUnavailable"] * 7 + ["Reservation"]
    assert len(await active_nights(ledger, house)) == 8


async def test_a_reservation_moves_to_another_property_in_one_commit(ledger: Ledger) -> None:
    agency = uuid4()
    here, there, taken = [await ledger.new_property(agency) for _ in range(3)]
    stay = await booked(ledger, agency, here, 0, 3)
    await booked(ledger, agency, taken, 2, 4)
    with pytest.raises(DatesUnavailable):
        await modifying.modify(ledger.api, agency, stay, Patch(property_id=taken))
    moved = await modifying.modify(ledger.api, agency, stay, Patch(property_id=there))
    assert moved.property_id == there
    assert (await active_nights(ledger, here), await active_nights(ledger, there)) == ([], [("reservation", 0, 3)])
    for house in (here, there):
        assert (await events_by_version(ledger, house))[-1] == "ReservationMoved"
    with pytest.raises(NotFound):
        await modifying.modify(ledger.api, agency, stay, Patch(property_id=await ledger.new_property(uuid4())))


async def test_moves_in_both_directions_at_once_never_deadlock(ledger: Ledger) -> None:
    agency = uuid4()
    one, two = [await ledger.new_property(agency) for _ in range(2)]
    stays = [
        (await booked(ledger, agency, house, 4 * n + shift, 4 * n + shift + 1), other)
        for n in range(6)
        for house, other, shift in ((one, two, 0), (two, one, 2))
    ]
    await asyncio.gather(
        *(modifying.modify(ledger.api, agency, stay, Patch(property_id=other)) for stay, other in stays)
    )
    for house in (one, two):
        assert len(await active_nights(ledger, house)) == 6
        await events_by_version(ledger, house)


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        (Patch(check_out=night(0)), InvalidStay),
        (Patch(check_out=night(731)), InvalidStay),
        (Patch(adults=5), StayRulesViolated),
        (Patch(check_in=night(-1000)), InvalidStay),
    ],
)
async def test_a_change_into_something_that_cannot_be_sold_is_refused(
    ledger: Ledger, patch: Patch, error: type[Exception]
) -> None:
    agency = uuid4()
    stay = await booked(ledger, agency, await ledger.new_property(agency), 0, 3)
    with pytest.raises(error):
        await modifying.modify(ledger.api, agency, stay, patch)


async def test_an_overdue_pending_cannot_be_confirmed_or_changed(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = await booked(ledger, agency, house, 0, 3, status="pending", ttl=EARLIER)
    for attempt in (
        transitions.confirm(ledger.api, agency, stay),
        modifying.modify(ledger.api, agency, stay, Patch(check_out=night(4))),
    ):
        with pytest.raises(IllegalTransition):
            await attempt
    await expiry.expire_overdue(ledger.system)
    assert (await reservations.get(ledger.api, agency, stay)).status == "expired"


def draft(house: UUID, first: int, last: int, email: str = "group@example.com") -> BookingDraft:
    return BookingDraft(
        house, night(first), night(last), 2, 0, 0, "confirmed", None, GuestDraft(name="Group", email=email)
    )


async def test_a_group_is_booked_whole_or_not_at_all(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(3)]
    await booked(ledger, agency, houses[2], 2, 4)
    with pytest.raises(DatesUnavailable):
        await groups.book_group(ledger.api, agency, [draft(house, 0, 3) for house in houses], key_of(agency, "g"))
    assert await active_nights(ledger, houses[0]) == []
    wanted = [draft(houses[0], 0, 3), draft(houses[1], 0, 3), draft(houses[0], 3, 5)]
    made = await groups.book_group(ledger.api, agency, wanted, key_of(agency, "g"))
    again = await groups.book_group(ledger.api, agency, wanted, key_of(agency, "g"))
    assert (again.replayed, again.body) == (True, made.body)
    body = json.loads(made.body)
    assert [one["property_id"] for one in body["bookings"]] == [str(houses[0]), str(houses[1]), str(houses[0])]
    assert {one["group_id"] for one in body["bookings"]} == {body["group_id"]}
    assert len({one["guest_id"] for one in body["bookings"]}) == 1
    assert await active_nights(ledger, houses[0]) == [("reservation", 0, 3), ("reservation", 3, 5)]


async def test_groups_over_the_same_properties_in_any_order_never_deadlock(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(4)]
    results = await asyncio.gather(
        *(
            groups.book_group(
                ledger.api,
                agency,
                [draft(house, 0, 3, f"{n}@example.com") for house in houses[:: 1 if n % 2 else -1]],
                None,
            )
            for n in range(10)
        ),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["DatesUnavailable"] * 9 + ["StoredAnswer"]


async def test_the_history_tells_who_changed_what(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stay = await booked(ledger, agency, house, 0, 3)
    await modifying.modify(ledger.api.by("ana"), agency, stay, Patch(check_out=night(4)))
    await transitions.cancel(ledger.api.by("bo"), agency, stay, "ill")
    found = await reservations.history(ledger.api, agency, stay)
    assert [(entry.action, entry.actor) for entry in found] == [
        ("ReservationConfirmed", "system"),
        ("ReservationModified", "ana"),
        ("ReservationCancelled", "bo"),
    ]
    assert (found[1].before, found[1].after) == (
        {"check_out": night(3).isoformat()},
        {"check_out": night(4).isoformat()},
    )
    assert found[2].after["status"] == "cancelled"
    assert [entry.inventory_version for entry in found] == [2, 3, 4]
    with pytest.raises(NotFound):
        await reservations.history(ledger.api, uuid4(), stay)


async def test_a_guests_figures_follow_every_change(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    first = await booked(ledger, agency, house, 0, 3)
    await booked(ledger, agency, house, 3, 5)
    await booked(ledger, agency, house, 10, 12, status="inquiry")
    assert (await figures(ledger, agency))["total_bookings"] == 2
    await transitions.check_in(ledger.api, agency, first)
    await transitions.check_out(ledger.api, agency, first)
    await transitions.rate(ledger.api, agency, first, 3)
    await transitions.rate(ledger.api, agency, first, 5)
    found = await figures(ledger, agency)
    assert (found["total_bookings"], found["average_rating"]) == (2, 5)
    assert found["first_booking_at"] < found["last_booking_at"]


async def test_an_ota_stays_amount_counts_until_it_is_cancelled(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await channel.apply_revision(ledger.system, revision_of(agency, house, "X", 1, 0, 3))
    assert (await figures(ledger, agency))["total_spent"] == {"EUR": 30000}
    (stay,), _ = await reservations.list_page(ledger.api, agency, Page(5), ReservationFilter(), with_total=False)
    await transitions.cancel(ledger.api, agency, stay.id, None)
    found = await figures(ledger, agency)
    assert (found["total_bookings"], found["total_spent"], found["first_booking_at"]) == (0, {"EUR": 0}, None)


async def figures(ledger: Ledger, agency: UUID) -> Any:
    return await ledger.system.pool.fetchrow("SELECT * FROM guests WHERE agency_id = $1", agency)


async def test_a_list_is_filtered_counted_and_stable_while_bookings_go_on(ledger: Ledger) -> None:
    agency = uuid4()
    house, other = [await ledger.new_property(agency) for _ in range(2)]
    stays = [await booked(ledger, agency, house, 3 * n, 3 * n + 2, email=f"guest{n}@example.com") for n in range(4)]
    await booked(ledger, agency, other, 0, 2, email="ZOE@Example.com")
    await channel.apply_revision(ledger.system, revision_of(agency, other, "HM-77", 1, 10, 12))

    async def ids(only: ReservationFilter) -> int:
        found, total = await reservations.list_page(ledger.api, agency, Page(50), only, with_total=True)
        assert total == len(found)
        return len(found)

    assert await ids(ReservationFilter()) == 6
    assert await ids(ReservationFilter(property_id=house)) == 4
    assert await ids(ReservationFilter(source="ota")) == 1
    assert await ids(ReservationFilter(text="zoe@EXAMPLE")) == 1
    assert await ids(ReservationFilter(text="hm-77")) == 1
    assert await ids(ReservationFilter(text=str(stays[0]))) == 1
    assert await ids(ReservationFilter(text="100%_")) == 0
    assert await ids(ReservationFilter(from_date=night(2), to_date=night(4))) == 1
    newest, _ = await reservations.list_page(ledger.api, agency, Page(2), ReservationFilter(), with_total=False)
    await booked(ledger, agency, other, 20, 22)
    created_at = newest[-1].created_at
    rest, _ = await reservations.list_page(
        ledger.api, agency, Page(50, created_at, newest[-1].id), ReservationFilter(), with_total=False
    )
    assert len({record.id for record in [*newest, *rest]}) == 6
