"""Booking's use cases on a real PostgreSQL: exclusivity, idempotency, versions and events, tenancy."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from booking.domain.errors import DatesUnavailable, NotFound
from booking.domain.model import Page, ReservationFilter
from booking.service import blocks, channel, expiry, properties, reservations, transitions
from runtime.idempotency import IdempotencyMismatch, StoredAnswer
from runtime.postgres import transaction
from tests.booking.checks import assert_no_overlap, events_by_version, key_of, outbox_of, revision_of
from tests.booking.conftest import Ledger, make_property, night

pytestmark = pytest.mark.stack

EARLIER = timedelta(seconds=-1)


async def test_of_fifty_concurrent_bookings_of_the_same_nights_one_wins(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    results = await asyncio.gather(
        *(ledger.book(agency, house, 0, 3, email=f"{n}@example.com") for n in range(50)), return_exceptions=True
    )
    assert sum(isinstance(result, StoredAnswer) for result in results) == 1
    assert sum(isinstance(result, DatesUnavailable) for result in results) == 49
    assert await events_by_version(ledger, house) == ["PropertyCreated", "ReservationConfirmed"]


async def test_concurrent_requests_with_one_key_make_one_reservation_and_answer_alike(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    answers = await asyncio.gather(*(ledger.book(agency, house, 0, 3, key=key_of(agency, "k")) for _ in range(20)))
    assert len({answer.body for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(await outbox_of(ledger, house)) == 2


async def test_one_key_on_two_properties_at_once_has_one_effect(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(2)]
    results: Sequence[Any] = await asyncio.gather(
        *(ledger.book(agency, houses[n % 2], 0, 3, key=key_of(agency, "k", f"f{n % 2}")) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, StoredAnswer) and not result.replayed for result in results) == 1
    assert sum(isinstance(result, IdempotencyMismatch) for result in results) == 5
    assert sorted([len(await outbox_of(ledger, house)) for house in houses]) == [1, 2]


async def test_a_refused_request_leaves_its_key_unused(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    first = json.loads((await ledger.book(agency, house, 0, 3)).body)
    with pytest.raises(DatesUnavailable):
        await ledger.book(agency, house, 1, 2, key=key_of(agency, "again"))
    await transitions.cancel(ledger.api, agency, UUID(first["id"]), None)
    assert not (await ledger.book(agency, house, 1, 2, key=key_of(agency, "again"))).replayed


async def test_cancelling_twice_answers_the_same_and_writes_once(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    made = json.loads((await ledger.book(agency, house, 0, 3)).body)
    once = await transitions.cancel(ledger.api, agency, UUID(made["id"]), "sick")
    twice = await transitions.cancel(ledger.api, agency, UUID(made["id"]), "other")
    assert once == twice
    assert (await events_by_version(ledger, house))[-1] == "ReservationCancelled"
    await ledger.book(agency, house, 0, 3)


async def test_a_block_closes_nights_and_its_deletion_opens_them(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    block = json.loads((await ledger.block(agency, house, 0, 3)).body)
    with pytest.raises(DatesUnavailable):
        await ledger.book(agency, house, 2, 4)
    once = await blocks.delete(ledger.api, agency, UUID(block["id"]))
    assert once == await blocks.delete(ledger.api, agency, UUID(block["id"]))
    await ledger.book(agency, house, 2, 4)


async def test_an_inquiry_takes_no_nights_and_its_confirmation_decides_like_a_booking(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    asked = [json.loads((await ledger.book(agency, house, 0, 3, status="inquiry")).body) for _ in range(2)]
    results = await asyncio.gather(
        *(transitions.confirm(ledger.api, agency, UUID(one["id"])) for one in asked), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["DatesUnavailable", "Reservation"]


async def test_an_overbooked_ota_stay_is_kept_and_confirmed_when_its_nights_come_free(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    first = json.loads((await ledger.book(agency, house, 10, 12)).body)
    await channel.apply_revision(ledger.system, revision_of(agency, house, "X", 1, 11, 15))
    with pytest.raises(DatesUnavailable):
        await ledger.book(agency, house, 12, 14)
    open_conflicts = await channel.list_conflicts(ledger.api, agency, Page(10), "open")
    assert [str(source) for source in open_conflicts[0].competing_source_ids] == [first["id"]]
    await transitions.cancel(ledger.api, agency, UUID(first["id"]), None)
    only = ReservationFilter(property_id=house, status="confirmed")
    stays, _ = await reservations.list_page(ledger.api, agency, Page(10), only, with_total=False)
    assert [(stay.check_in, stay.check_out) for stay in stays] == [(night(11), night(15))]
    assert await channel.list_conflicts(ledger.api, agency, Page(10), "open") == []
    events = await events_by_version(ledger, house)
    assert events[-3:] == ["ReservationCancelled", "ReservationConfirmed", "ConflictClosed"]
    rows = await outbox_of(ledger, house)
    assert {row["commit_version"] for row in rows[-3:]} == {rows[-1]["version"]}


async def test_a_redelivered_revision_is_applied_once_and_told_again(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    for _ in range(3):
        await channel.apply_revision(ledger.system, revision_of(agency, house, "X", 1, 0, 3))
    assert await events_by_version(ledger, house) == [
        "PropertyCreated",
        "ReservationConfirmed",
        "ChannelRevisionApplied",
        "ChannelRevisionApplied",
    ]
    outcomes = [row["data"]["channel"]["outcome"] for row in (await outbox_of(ledger, house))[1:]]
    assert outcomes == ["applied", "applied", "applied"]


async def test_ota_and_direct_bookings_racing_never_share_a_night(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    work: list[Any] = [
        *(ledger.book(agency, house, n % 6, n % 6 + 3, email=f"{n}@example.com") for n in range(20)),
        *(
            channel.apply_revision(ledger.system, revision_of(agency, house, f"R{n}", 1, n % 6, n % 6 + 3))
            for n in range(6)
        ),
    ]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert not [r for r in results if isinstance(r, Exception) and not isinstance(r, DatesUnavailable)]
    await assert_no_overlap(ledger, house)
    await events_by_version(ledger, house)
    known = await ledger.system.pool.fetchval(
        "SELECT count(*) FROM reservations WHERE property_id = $1 AND source = 'ota'", house
    )
    assert known == 6


async def test_an_overdue_pending_never_refuses_anyone_without_a_worker(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await ledger.book(agency, house, 0, 3, status="pending", ttl=EARLIER)
    await ledger.book(agency, house, 1, 2)
    events = await events_by_version(ledger, house)
    assert events[1:] == ["ReservationRequested", "ReservationExpired", "ReservationConfirmed"]


async def test_a_pending_refuses_until_it_expires_and_the_worker_frees_it(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await ledger.book(agency, house, 0, 3, status="pending")
    with pytest.raises(DatesUnavailable):
        await ledger.book(agency, house, 1, 2)
    other = await ledger.new_property(agency)
    await ledger.book(agency, other, 0, 3, status="pending", ttl=EARLIER)
    await expiry.expire_overdue(ledger.system)
    assert await ledger.system.pool.fetchval(
        "SELECT count(*) FROM inventory_ranges WHERE property_id = $1 AND state = 'active'", other
    ) == 0  # fmt: skip


async def test_back_to_back_stays_share_a_date_and_preparation_keeps_them_apart(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await ledger.book(agency, house, 0, 3)
    await ledger.book(agency, house, 3, 5)
    prepared = await ledger.new_property(agency, preparation_days=1)
    await ledger.book(agency, prepared, 0, 3)
    with pytest.raises(DatesUnavailable):
        await ledger.book(agency, prepared, 3, 5)
    await ledger.book(agency, prepared, 4, 5)


async def test_another_agency_finds_nothing(ledger: Ledger) -> None:
    agency, stranger = uuid4(), uuid4()
    house = await ledger.new_property(agency)
    made = json.loads((await ledger.book(agency, house, 0, 3)).body)
    with pytest.raises(NotFound):
        await reservations.get(ledger.api, stranger, UUID(made["id"]))
    with pytest.raises(NotFound):
        await transitions.cancel(ledger.api, stranger, UUID(made["id"]), None)
    with pytest.raises(NotFound):
        await properties.get(ledger.api, stranger, house)
    with pytest.raises(NotFound):
        await ledger.book(stranger, house, 5, 6)
    with pytest.raises(NotFound):
        await ledger.block(stranger, house, 5, 6)
    assert await reservations.list_page(ledger.api, stranger, Page(10), ReservationFilter(), with_total=True) == ([], 0)


async def test_row_security_hides_every_table_from_the_application_role_without_an_agency(ledger: Ledger) -> None:
    agency = uuid4()
    await ledger.book(agency, await ledger.new_property(agency), 0, 3)
    async with transaction(ledger.api.pool, None) as connection:
        for table in ("properties", "reservations", "inventory_ranges", "guests", "outbox", "idempotency_keys"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_every_table_with_an_agency_has_forced_row_security(ledger: Ledger) -> None:
    connection = await asyncpg.connect(ledger.admin_dsn)
    try:
        unguarded = await connection.fetch(
            """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'agency_id'
               WHERE c.relkind = 'r' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
        )
    finally:
        await connection.close()
    assert not unguarded


async def test_the_constraint_refuses_what_slips_past_the_lock(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    await ledger.book(agency, house, 0, 3)
    async with transaction(ledger.system.pool, None) as connection:
        with pytest.raises(asyncpg.ExclusionViolationError, match="inventory_ranges_no_overlap"):
            await connection.execute(
                """INSERT INTO inventory_ranges
                   SELECT gen_random_uuid(), agency_id, property_id, kind, state, source_id, stay, occupied, expires_at,
                          created_at, released_at
                   FROM inventory_ranges WHERE property_id = $1""",
                house,
            )


async def test_a_property_that_changed_meanwhile_is_judged_again(ledger: Ledger) -> None:
    agency = uuid4()
    record = make_property(agency)
    answer = await properties.create(ledger.api, record, None)
    assert json.loads(answer.body)["inventory_version"] == 1
    async with transaction(ledger.system.pool, None) as holder:
        await holder.execute("SELECT pg_advisory_xact_lock(property_lock_key($1))", record.id)
        waiting = asyncio.create_task(ledger.book(agency, record.id, 0, 3))
        await asyncio.sleep(0.2)
        await holder.execute(
            "UPDATE inventory_versions SET inventory_version = 2, rules_version = 2 WHERE property_id = $1", record.id
        )
    assert json.loads((await waiting).body)["inventory_version"] == 3


async def test_the_guest_is_found_again_by_email_whatever_its_case(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    one = json.loads((await ledger.book(agency, house, 0, 1, email="Ana@Example.com")).body)
    two = json.loads((await ledger.book(agency, house, 1, 2, email="ana@example.COM ")).body)
    assert one["guest_id"] == two["guest_id"]
