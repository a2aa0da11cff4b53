"""Proves guests on a real PostgreSQL: found by e-mail, counted rightly, and gone at once when they are erased."""

import asyncio
import json
import subprocess
from functools import partial
from uuid import UUID, uuid4

import pytest

from booking.domain.errors import AnswerErased, GuestExists, NotFound
from booking.domain.model import Guest, Page
from booking.repository.writes import lock_properties
from booking.service import channel, guests, modifying, reservations, transitions
from booking.service.modifying import Patch
from deploy.local.postgres import find_binaries
from runtime.postgres import transaction
from tests.booking.checks import events_by_version, key_of, outbox_of, revision_of
from tests.booking.conftest import Ledger, night
from tests.waiting import eventually

pytestmark = pytest.mark.stack


async def made(ledger: Ledger, agency: UUID, name: str, email: str | None, key: str | None = None) -> UUID:
    guest = Guest(uuid4(), agency, name, email, None)
    answer = await guests.create(ledger.api, guest, key_of(agency, key) if key else None)
    return UUID(json.loads(answer.body)["id"])


async def test_an_agency_has_one_guest_per_email_whatever_its_case(ledger: Ledger) -> None:
    agency = uuid4()
    ana = await made(ledger, agency, "Ana", "Ana@Example.com")
    with pytest.raises(GuestExists):
        await made(ledger, agency, "Another", "ana@example.COM")
    await made(ledger, uuid4(), "Ana elsewhere", "ana@example.com")
    (found,) = await guests.list_page(ledger.api, agency, Page(5), "ANA@example.com", None)
    assert found.guest.id == ana
    booked = json.loads(
        (await ledger.book(agency, await ledger.new_property(agency), 0, 2, email="ana@EXAMPLE.com")).body
    )
    assert booked["guest_id"] == str(ana)


async def test_concurrent_requests_with_one_key_make_one_guest(ledger: Ledger) -> None:
    agency = uuid4()
    ids = await asyncio.gather(*(made(ledger, agency, "Bo", "bo@example.com", key="one") for _ in range(6)))
    assert len(set(ids)) == 1


async def test_a_guest_is_changed_and_hidden_and_their_email_is_free_again(ledger: Ledger) -> None:
    agency = uuid4()
    cleo = await made(ledger, agency, "Cleo", "cleo@example.com")
    await made(ledger, agency, "Dan", "dan@example.com")
    with pytest.raises(GuestExists):
        await guests.modify(ledger.api, agency, cleo, {"email": "DAN@example.com"})
    changed = await guests.modify(ledger.api, agency, cleo, {"name": "Cleopatra", "phone": "+351 1"})
    assert (changed.guest.name, changed.guest.email) == ("Cleopatra", "cleo@example.com")
    once = await guests.delete(ledger.api, agency, cleo)
    assert once == await guests.delete(ledger.api, agency, cleo)
    assert [found.guest.name for found in await guests.list_page(ledger.api, agency, Page(5), None, None)] == ["Dan"]
    with pytest.raises(NotFound):
        await guests.modify(ledger.api, agency, cleo, {"name": "X"})
    assert await made(ledger, agency, "New Cleo", "cleo@example.com") != cleo


async def test_another_agencys_guest_is_not_there(ledger: Ledger) -> None:
    eva = await made(ledger, uuid4(), "Eva", "eva@example.com")
    stranger = uuid4()
    for attempt in (
        guests.get(ledger.api, stranger, eva),
        guests.modify(ledger.api, stranger, eva, {"name": "Mine"}),
        guests.delete(ledger.api, stranger, eva),
        guests.erase(ledger.api, stranger, eva),
        guests.timeline(ledger.api, stranger, eva, None, 5),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_the_timeline_tells_every_change_of_the_guests_stays_page_by_page(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(2)]
    stays = [UUID(json.loads((await ledger.book(agency, house, 0, 2)).body)["id"]) for house in houses]
    await transitions.cancel(ledger.api, agency, stays[0], None)
    guest_id = (await reservations.get(ledger.api, agency, stays[0])).guest_id
    assert guest_id is not None
    first = await guests.timeline(ledger.api, agency, guest_id, None, 2)
    rest = await guests.timeline(ledger.api, agency, guest_id, first[-1][0], 2)
    assert [(entry.action, entry.reservation_id) for _, entry in [*first, *rest]] == [
        ("ReservationCancelled", stays[0]),
        ("ReservationConfirmed", stays[1]),
        ("ReservationConfirmed", stays[0]),
    ]


async def test_figures_equal_what_a_recount_finds_after_any_mix_of_changes(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    stays = [UUID(json.loads((await ledger.book(agency, house, 3 * n, 3 * n + 2)).body)["id"]) for n in range(5)]
    await channel.apply_revision(ledger.system, revision_of(agency, house, "X", 1, 40, 43))
    await asyncio.gather(
        transitions.cancel(ledger.api, agency, stays[0], None),
        transitions.mark_no_show(ledger.api, agency, stays[1], None),
        transitions.check_in(ledger.api, agency, stays[2]),
        modifying.modify(ledger.api, agency, stays[3], Patch(check_out=night(12))),
    )
    await transitions.check_out(ledger.api, agency, stays[2])
    await transitions.rate(ledger.api, agency, stays[2], 4)
    assert [miscount for miscount in await guests.reconcile(ledger.system) if miscount.agency_id == agency] == []
    await ledger.system.pool.execute("UPDATE guests SET total_bookings = 99 WHERE agency_id = $1", agency)
    wrong = [miscount for miscount in await guests.reconcile(ledger.system) if miscount.agency_id == agency]
    assert {(miscount.stored["total_bookings"], miscount.counted["total_bookings"]) for miscount in wrong} == {
        (99, 3),
        (99, 1),
    }


async def test_an_erased_guest_is_found_nowhere_in_the_database(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(2)]
    name, email, phone = f"Zeta{uuid4().hex}", f"{uuid4().hex}@example.com", f"+99 {uuid4().hex[:12]}"
    note = f"note{uuid4().hex}"
    guest = Guest(uuid4(), agency, name, email, phone)
    key = key_of(agency, "made")
    await guests.create(ledger.api, guest, key)
    stays = [UUID(json.loads((await ledger.book(agency, house, 0, 2, email=email)).body)["id"]) for house in houses]
    await modifying.modify(ledger.api, agency, stays[0], Patch(notes=note, sets_notes=True))
    await transitions.cancel(ledger.api, agency, stays[1], f"because {note}")
    secrets = [name, email, phone, note]
    assert all(secret in dump_of(ledger) for secret in secrets)
    erased = await guests.erase(ledger.api, agency, guest.id)
    assert (erased.guest.name, erased.guest.email, erased.erased_at is not None) == ("erased", None, True)
    assert await guests.erase(ledger.api, agency, guest.id) == erased
    after = dump_of(ledger)
    assert [secret for secret in secrets if secret in after] == []
    for house in houses:
        assert (await events_by_version(ledger, house))[-1] == "GuestErased"
        data = (await outbox_of(ledger, house))[-1]["data"]
        assert (data["guest_id"], data["reservation_id"] in {str(stay) for stay in stays}) == (str(guest.id), True)
    with pytest.raises(AnswerErased):
        await guests.create(ledger.api, guest, key)
    assert await made(ledger, agency, "Somebody new", email) != guest.id


async def test_a_stay_booked_while_its_guest_is_erased_is_told_too(ledger: Ledger) -> None:
    agency = uuid4()
    first, second = [await ledger.new_property(agency) for _ in range(2)]
    guest = UUID(json.loads((await ledger.book(agency, first, 0, 2)).body)["guest_id"])
    async with transaction(ledger.system.pool, None) as holder:
        await lock_properties(holder, [first])
        erasing = asyncio.create_task(guests.erase(ledger.api, agency, guest))
        await eventually(partial(_waits_for_a_property, ledger), "the erasure to wait for the property")
        await ledger.book(agency, second, 0, 2)
    await erasing
    for house in (first, second):
        assert (await events_by_version(ledger, house))[-1] == "GuestErased"


async def _waits_for_a_property(ledger: Ledger) -> bool | None:
    waiting = """SELECT true FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
                 WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted LIMIT 1"""
    return bool(await ledger.system.pool.fetchval(waiting)) or None


def dump_of(ledger: Ledger) -> str:
    """Everything in the database as text."""
    dumped = subprocess.run(
        [find_binaries(None) / "pg_dump", "--data-only", "--inserts", "--dbname", ledger.admin_dsn],
        capture_output=True,
        text=True,
        check=True,
    )
    return dumped.stdout
