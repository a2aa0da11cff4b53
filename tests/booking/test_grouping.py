"""Proves that bookings which share a database call are answered each by itself, and wait only for their own locks."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from booking.domain.errors import DatesUnavailable, NotFound
from booking.repository import writes
from booking.service import transitions
from booking.service.grouping import Grouped, LedgerCalls
from runtime.idempotency import StoredAnswer
from runtime.postgres import Pool, transaction
from tests.booking.checks import assert_no_overlap, events_by_version, key_of
from tests.booking.conftest import Ledger

pytestmark = pytest.mark.stack

MANY = 40
PATIENCE_S = 10


async def bookings_by_commit(ledger: Ledger, houses: Sequence[UUID]) -> list[int]:
    """How many bookings of the houses each transaction wrote."""
    rows = await ledger.system.pool.fetch(
        """SELECT count(*) AS bookings FROM outbox
           WHERE key = ANY ($1) AND type = 'ReservationConfirmed' GROUP BY xid::text""",
        [str(house) for house in houses],
    )
    return [row["bookings"] for row in rows]


async def test_bookings_of_several_agencies_share_commits_and_are_answered_each(ledger: Ledger) -> None:
    owners = [uuid4() for _ in range(3)]
    houses = [await ledger.new_property(agency) for agency in owners]
    results = await asyncio.gather(
        *(ledger.book(owners[n % 3], houses[n % 3], n // 6, n // 6 + 1, email=f"{n}@example.com") for n in range(MANY)),
        return_exceptions=True,
    )
    booked = [result for result in results if isinstance(result, StoredAnswer)]
    refused = [result for result in results if isinstance(result, DatesUnavailable)]
    assert (len(booked), len(refused)) == (MANY // 2 + 1, MANY - MANY // 2 - 1)
    commits = await bookings_by_commit(ledger, houses)
    assert sum(commits) == len(booked)
    assert max(commits) > 1, "no two bookings shared a call"
    for agency, house in zip(owners, houses, strict=True):
        await events_by_version(ledger, house)
        await assert_no_overlap(ledger, house)
        stored = await ledger.system.pool.fetch(
            "SELECT DISTINCT agency_id FROM reservations WHERE property_id = $1", house
        )
        assert [row["agency_id"] for row in stored] == [agency]


async def test_versions_of_one_property_in_one_call_are_shown_together(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    answers = await asyncio.gather(
        *(ledger.book(agency, house, n, n + 1, email=f"{n}@example.com") for n in range(MANY))
    )
    assert sorted(json.loads(answer.body)["inventory_version"] for answer in answers) == list(range(2, MANY + 2))
    rows = await ledger.system.pool.fetch(
        """SELECT max((data->>'inventory_version')::bigint) AS last, count(*) AS events,
                  array_agg(DISTINCT (data->>'commit_version')::bigint) AS told
           FROM outbox WHERE key = $1 GROUP BY xid::text""",
        str(house),
    )
    assert all(row["told"] == [row["last"]] for row in rows)
    assert max(row["events"] for row in rows) > 1, "no two bookings shared a call"


async def test_requests_with_one_key_and_a_guest_who_books_twice_at_once_never_share_a_call(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(10)]
    answers = await asyncio.gather(
        *(ledger.book(agency, house, 0, 3, email="same@example.com") for house in houses),
        *(ledger.book(agency, houses[0], 5, 6, key=key_of(agency, "one"), email="k@example.com") for _ in range(10)),
    )
    guests = {json.loads(answer.body)["guest_id"] for answer in answers[: len(houses)]}
    assert len(guests) == 1
    keyed = answers[len(houses) :]
    assert len({answer.body for answer in keyed}) == 1
    assert sum(not answer.replayed for answer in keyed) == 1
    counted = await ledger.system.pool.fetchval("SELECT total_bookings FROM guests WHERE id = $1", UUID(guests.pop()))
    assert counted == len(houses)


async def test_a_booking_that_has_to_wait_for_its_property_keeps_nobody_else_waiting(ledger: Ledger) -> None:
    agency = uuid4()
    busy, *idle = [await ledger.new_property(agency) for _ in range(20)]
    async with transaction(ledger.system.pool, None) as holder:
        await writes.lock_properties(holder, [busy])
        stuck = [asyncio.create_task(ledger.book(agency, busy, n, n + 1, email=f"b{n}@example.com")) for n in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(2):
                others = [ledger.book(agency, house, 0, 1, email=f"{house}@example.com") for house in idle]
                idle = []
                await asyncio.gather(*others)
        assert not any(task.done() for task in stuck)
    await asyncio.gather(*stuck)
    assert len(await events_by_version(ledger, busy)) == 1 + len(stuck)


async def test_a_guest_another_transaction_works_on_keeps_nobody_else_waiting(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(6)]
    known = json.loads((await ledger.book(agency, houses[0], 0, 1, email="known@example.com")).body)["guest_id"]
    async with transaction(ledger.system.pool, None) as holder:
        await holder.execute("SELECT FROM guests WHERE id = $1 FOR UPDATE", UUID(known))
        stuck = asyncio.create_task(ledger.book(agency, houses[1], 0, 1, email="known@example.com"))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(
                *(ledger.book(agency, house, 3, 4, email=f"{house}@example.com") for house in houses[2:])
            )
        assert not stuck.done()
    assert json.loads((await stuck).body)["guest_id"] == known


async def test_a_key_another_process_is_about_to_take_keeps_nobody_else_waiting(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(6)]
    key = key_of(agency, "taken elsewhere")
    async with ledger.system.pool.acquire() as holder:
        elsewhere = holder.transaction()
        await elsewhere.start()
        await holder.execute(
            """INSERT INTO idempotency_keys (agency_id, caller, key, fingerprint, status, body)
               VALUES ($1, $2, $3, '', 201, '')""",
            agency,
            key.caller,
            key.key,
        )
        stuck = asyncio.create_task(ledger.book(agency, houses[0], 0, 1, key=key))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(
                *(ledger.book(agency, house, 0, 1, email=f"{house}@example.com") for house in houses[1:])
            )
        assert not stuck.done()
        await elsewhere.rollback()
    assert not (await stuck).replayed


async def test_a_call_names_each_requests_own_agency_and_reaches_no_other(ledger: Ledger) -> None:
    mine, theirs = uuid4(), uuid4()
    house, foreign = await ledger.new_property(mine), await ledger.new_property(theirs)
    results = await asyncio.gather(
        *(ledger.book(mine, house, n, n + 1, email=f"{n}@example.com") for n in range(5)),
        *(ledger.book(mine, foreign, n, n + 1, email=f"f{n}@example.com") for n in range(5)),
        *(ledger.book(theirs, foreign, n, n + 1, email=f"{n}@example.com") for n in range(5)),
        return_exceptions=True,
    )
    assert [isinstance(result, NotFound) for result in results] == [False] * 5 + [True] * 5 + [False] * 5
    seen = await ledger.system.pool.fetchval("SELECT count(*) FROM guests WHERE agency_id = $1", theirs)
    assert seen == 5


async def test_a_request_that_fails_its_call_is_sent_again_alone_and_so_are_the_others(ledger: Ledger) -> None:
    agency = uuid4()
    houses = [await ledger.new_property(agency) for _ in range(8)]
    async with ledger.owner() as owner:
        await owner.execute(
            """CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = '22000'; END $$;
               CREATE TRIGGER refuse_poison BEFORE INSERT ON guests FOR EACH ROW WHEN (NEW.name = 'Guest'
                   AND NEW.email LIKE 'poison@%') EXECUTE FUNCTION refuse_poison()"""
        )
    try:
        emails = ["poison@example.com", *(f"{n}@example.com" for n in range(len(houses) - 1))]
        results = await asyncio.gather(
            *(ledger.book(agency, house, 0, 1, email=email) for house, email in zip(houses, emails, strict=True)),
            return_exceptions=True,
        )
    finally:
        async with ledger.owner() as owner:
            await owner.execute("DROP TRIGGER refuse_poison ON guests; DROP FUNCTION refuse_poison()")
    assert isinstance(results[0], asyncpg.DataError)
    assert all(isinstance(result, StoredAnswer) for result in results[1:])


async def test_without_grouping_every_booking_commits_by_itself(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    single = replace(ledger, api=replace(ledger.api, calls=LedgerCalls(largest=1)))
    await asyncio.gather(*(single.book(agency, house, n, n + 1, email=f"{n}@example.com") for n in range(10)))
    assert await bookings_by_commit(ledger, [house]) == [1] * 10


async def test_a_stay_changed_after_a_grouped_booking_counts_once_for_its_guest(ledger: Ledger) -> None:
    agency = uuid4()
    house = await ledger.new_property(agency)
    made = json.loads((await ledger.book(agency, house, 0, 2)).body)
    guest = "SELECT total_bookings, first_booking_at IS NOT NULL AS dated, updated_at FROM guests WHERE id = $1"
    booked = await ledger.system.pool.fetchrow(guest, UUID(made["guest_id"]))
    assert booked is not None
    assert (booked["total_bookings"], booked["dated"]) == (1, True)
    await transitions.check_in(ledger.api, agency, UUID(made["id"]))
    assert await ledger.system.pool.fetchrow(guest, UUID(made["guest_id"])) == booked
    await transitions.check_out(ledger.api, agency, UUID(made["id"]))
    await transitions.rate(ledger.api, agency, UUID(made["id"]), 5)
    assert (await ledger.system.pool.fetchrow(guest, UUID(made["guest_id"]))) != booked


async def test_who_is_told_that_the_connection_broke_is_not_sent_again(ledger: Ledger) -> None:
    calls: list[int] = []

    async def together(_: Pool, asked: Sequence[int]) -> Sequence[int]:
        calls.append(len(asked))
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    async def alone(_: Pool, __: int) -> int:
        raise AssertionError("what happened to the first call is not known")

    grouped = Grouped(together, alone, 8)
    results = await asyncio.gather(*(grouped.ask(ledger.api.pool, n) for n in range(3)), return_exceptions=True)
    assert all(isinstance(result, asyncpg.ConnectionDoesNotExistError) for result in results)
    assert sum(calls) == 3


async def test_a_request_whose_caller_went_away_is_not_sent(ledger: Ledger) -> None:
    sent: list[int] = []

    async def together(_: Pool, asked: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.01)
        sent.extend(asked)
        return asked

    async def alone(_: Pool, asked: int) -> int:
        return asked

    grouped = Grouped(together, alone, 2)
    tasks = [asyncio.create_task(grouped.ask(ledger.api.pool, n)) for n in range(8)]
    await asyncio.sleep(0)
    tasks[7].cancel()
    assert await asyncio.gather(*tasks[:7]) == list(range(7))
    assert sorted(sent) == list(range(7))
    assert await grouped.ask(ledger.api.pool, 9) == 9
