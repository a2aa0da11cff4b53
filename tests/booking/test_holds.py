"""Proves holds on a real PostgreSQL: nights kept for a while, for one booking, and never longer."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from booking.domain.errors import DatesUnavailable, HoldNotActive, NotFound
from booking.domain.model import Hold
from booking.service import expiry, holds
from runtime.idempotency import StoredAnswer
from tests.booking.checks import events_by_version, key_of
from tests.booking.conftest import Ledger, night

pytestmark = pytest.mark.stack

LATER = timedelta(minutes=15)
OVER = timedelta(seconds=-1)
UNKNOWN = datetime.max.replace(tzinfo=UTC)


async def placed(
    ledger: Ledger, agency: UUID, house: UUID, first: int, last: int, lasts: timedelta = LATER, key: str | None = None
) -> UUID:
    wanted = Hold(uuid4(), agency, house, night(first), night(last), UNKNOWN)
    answer = await holds.place(ledger.api, wanted, lasts, key_of(agency, key) if key else None)
    return UUID(json.loads(answer.body)["id"])


async def test_held_nights_are_refused_to_others_and_given_to_the_holder(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    hold = await placed(ledger, agency, house, 0, 5)
    with pytest.raises(DatesUnavailable):
        await ledger.book(agency, house, 1, 3)
    with pytest.raises(DatesUnavailable):
        await placed(ledger, agency, house, 4, 6)
    await ledger.book(agency, house, 1, 3, hold_id=hold)
    assert (await holds.get(ledger.api, agency, hold)).state == "consumed"
    await ledger.book(agency, house, 3, 5)
    assert (await events_by_version(ledger, house))[1:4] == ["HoldPlaced", "HoldConsumed", "ReservationConfirmed"]
    with pytest.raises(HoldNotActive):
        await ledger.book(agency, house, 0, 1, hold_id=hold)


async def test_of_many_bookings_with_one_hold_one_wins(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    hold = await placed(ledger, agency, house, 0, 5)
    results = await asyncio.gather(
        *(ledger.book(agency, house, 0, 5, hold_id=hold, email=f"{n}@example.com") for n in range(8)),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["HoldNotActive"] * 7 + ["StoredAnswer"]


async def test_an_expired_hold_refuses_nobody_and_is_worth_nothing(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    hold = await placed(ledger, agency, house, 0, 5, OVER)
    with pytest.raises(HoldNotActive, match="expired"):
        await ledger.book(agency, house, 0, 5, hold_id=hold)
    with pytest.raises(HoldNotActive, match="expired"):
        await holds.extend(ledger.api, agency, hold, LATER)
    assert isinstance(await ledger.book(agency, house, 0, 5), StoredAnswer)
    assert (await holds.get(ledger.api, agency, hold)).state == "expired"
    assert (await events_by_version(ledger, house))[1:] == ["HoldPlaced", "HoldExpired", "ReservationConfirmed"]


async def test_the_worker_expires_a_hold_nobody_touches(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    hold = await placed(ledger, agency, house, 0, 5, OVER)
    await expiry.expire_overdue(ledger.system)
    assert (await holds.get(ledger.api, agency, hold)).state == "expired"


async def test_a_hold_can_last_longer_and_be_given_back_twice(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    hold = await placed(ledger, agency, house, 0, 5)
    before = await holds.get(ledger.api, agency, hold)
    after = await holds.extend(ledger.api, agency, hold, timedelta(hours=2))
    assert after.hold_expires_at - before.hold_expires_at > timedelta(minutes=100)
    released = await holds.release(ledger.api, agency, hold)
    assert released == await holds.release(ledger.api, agency, hold)
    assert released.state == "released"
    with pytest.raises(HoldNotActive):
        await holds.extend(ledger.api, agency, hold, LATER)
    await ledger.book(agency, house, 0, 5)


async def test_a_hold_is_of_its_agency_and_property(ledger: Ledger) -> None:
    agency = uuid4()
    house, other = [await ledger.new_property(agency) for _ in range(2)]
    hold = await placed(ledger, agency, house, 0, 5)
    with pytest.raises(NotFound):
        await ledger.book(agency, other, 0, 5, hold_id=hold)
    with pytest.raises(NotFound):
        await holds.release(ledger.api, uuid4(), hold)


async def test_a_hold_asked_for_twice_with_one_key_is_placed_once(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    made = await asyncio.gather(*(placed(ledger, agency, house, 0, 5, key="once") for _ in range(5)))
    assert len(set(made)) == 1
