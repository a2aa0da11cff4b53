"""Proves retention: what is past leaves the constrained table and the feeds, and nothing anybody reads changes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from booking.service import properties, transitions
from booking.service.retention import Retained, retention_step
from runtime.idempotency import IdempotencyKey
from runtime.postgres import transaction
from tests.booking.own_database import OwnLedger, own_ledger
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

NOTHING = Retained(0, 0, 0, 0, 0)
RANGE = """
INSERT INTO inventory_ranges (id, agency_id, property_id, kind, state, source_id, stay, occupied, created_at,
                              released_at)
SELECT gen_random_uuid(), agency_id, id, 'block', $2, gen_random_uuid(), span, span, now(),
       CASE WHEN $2 = 'released' THEN now() END
FROM properties, daterange((now() AT TIME ZONE 'UTC')::date - $3::int - 1, (now() AT TIME ZONE 'UTC')::date - $3::int)
    AS span WHERE properties.id = $1 RETURNING id"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def own(shared: OwnLedger) -> OwnLedger:
    """A database whose earlier leftovers have been moved and purged."""
    while (await retention_step(shared.ledger.system)).most:
        pass
    return shared


async def add_range(own: OwnLedger, house: UUID, state: str, ended_days_ago: int) -> UUID:
    pool = own.ledger.system.pool
    found: UUID = await pool.fetchval(RANGE, house, state, ended_days_ago)
    return found


async def row(own: OwnLedger, table: str, range_id: UUID) -> dict[str, Any] | None:
    found = await own.ledger.system.pool.fetchrow(f"SELECT * FROM {table} WHERE id = $1", range_id)
    return dict(found) if found else None


async def test_the_state_since_a_date_has_what_was_archived_since(own: OwnLedger) -> None:
    house = await own.ledger.new_property(uuid4())
    for ended_days_ago in (600, 500, 401, 30, 1):
        await add_range(own, house, "active", ended_days_ago)
    await add_range(own, house, "released", 450)
    await retention_step(own.ledger.system)
    today = (await properties.state(own.ledger.system, house)).as_of.date()

    async def ended(since: date | None) -> list[int]:
        found = await properties.state(own.ledger.system, house, since)
        return [(today - stored.occupied_end).days for stored in found.ranges]

    assert await ended(None) == [1]
    assert await ended(today - timedelta(days=501)) == [500, 401, 30, 1]
    assert await ended(today - timedelta(days=500)) == [401, 30, 1]


async def test_past_ranges_move_to_the_archive_whole_and_younger_ones_stay(own: OwnLedger) -> None:
    house = await own.ledger.new_property(uuid4())
    moving = [await add_range(own, house, "released", 31), await add_range(own, house, "active", 401)]
    staying = [
        await add_range(own, house, "released", 30),
        await add_range(own, house, "active", 400),
        await add_range(own, house, "active", 31),
    ]
    before = [await row(own, "inventory_ranges", range_id) for range_id in moving]
    assert await retention_step(own.ledger.system) == Retained(1, 1, 0, 0, 0)
    for range_id, was in zip(moving, before, strict=True):
        archived = await row(own, "inventory_ranges_archive", range_id)
        assert archived is not None
        assert archived.pop("archived_at") is not None
        assert archived == was
        assert await row(own, "inventory_ranges", range_id) is None
    for range_id in staying:
        assert await row(own, "inventory_ranges", range_id) is not None
    assert await retention_step(own.ledger.system) == NOTHING


async def test_archiving_moves_no_version_no_event_no_digest_and_no_snapshot(own: OwnLedger) -> None:
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    made = json.loads((await own.ledger.book(agency, house, 0, 3)).body)
    await own.ledger.book(agency, house, 5, 8)
    await transitions.cancel(own.ledger.api, agency, UUID(made["id"]), None)
    await add_range(own, house, "released", 100)
    await add_range(own, house, "active", 500)
    await add_range(own, house, "active", 3)

    async def told() -> list[Any]:
        state = await properties.state(own.ledger.system, house)
        day = state.as_of.date()
        digests = [(await properties.digests(own.ledger.system, after, None, 1000)).items for after in days(day)]
        events = await own.ledger.system.pool.fetchval("SELECT count(*) FROM outbox")
        return [state.owner, set(state.ranges), digests, events]

    before = await told()
    done = await retention_step(own.ledger.system)
    assert (done.released_ranges, done.active_ranges) == (1, 1)
    assert await told() == before


def days(today: date) -> list[date]:
    """The dates digests may ask for: the window of a calendar begins two days ago."""
    return [today - timedelta(days=2), today, today + timedelta(days=100)]


async def test_a_step_takes_one_batch_of_each(own: OwnLedger) -> None:
    house = await own.ledger.new_property(uuid4())
    for number in range(5):
        await add_range(own, house, "released", 40 + number)
    counts = [(await retention_step(own.ledger.system, batch=2)).released_ranges for _ in range(4)]
    assert counts == [2, 2, 1, 0]


async def test_nights_of_an_archived_range_can_be_written_again(own: OwnLedger) -> None:
    house = await own.ledger.new_property(uuid4())
    await add_range(own, house, "active", 401)
    with pytest.raises(asyncpg.ExclusionViolationError):
        await add_range(own, house, "active", 401)
    await retention_step(own.ledger.system)
    await add_range(own, house, "active", 401)


async def test_the_archive_has_every_column_of_the_ledger(own: OwnLedger) -> None:
    """A column that is added to the ledger and not to the archive would be lost on the way."""

    async def columns(table: str) -> list[str]:
        rows = await own.ledger.system.pool.fetch(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position",
            table,
        )
        return [found["column_name"] for found in rows]

    assert await columns("inventory_ranges_archive") == [*await columns("inventory_ranges"), "archived_at"]


async def test_an_agency_sees_its_own_archive_only_and_can_change_nothing_of_it(own: OwnLedger) -> None:
    agency = uuid4()
    await add_range(own, await own.ledger.new_property(agency), "released", 90)
    await add_range(own, await own.ledger.new_property(uuid4()), "released", 90)
    await retention_step(own.ledger.system)
    async with transaction(own.ledger.api.pool, agency) as connection:
        rows = await connection.fetch("SELECT agency_id FROM inventory_ranges_archive")
        assert {found["agency_id"] for found in rows} == {agency}
    for statement in (
        "DELETE FROM inventory_ranges_archive",
        "UPDATE inventory_ranges_archive SET kind = kind",
        "DELETE FROM inventory_ranges",
        "SELECT FROM audit_findings",
        "SELECT FROM audit_positions",
        "SELECT FROM audit_cursor",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with transaction(own.ledger.api.pool, agency) as connection:
                await connection.execute(statement)


async def test_sent_events_go_after_14_days_and_unsent_ones_never(own: OwnLedger) -> None:
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    for number in range(3):
        await own.ledger.book(agency, house, number, number + 1, email=f"{number}@example.com")
    ages = {1: None, 2: timedelta(days=14, minutes=1), 3: timedelta(days=13, hours=23), 4: timedelta(days=20)}
    for version, age in ages.items():
        await own.ledger.system.pool.execute(
            """UPDATE outbox SET sent_at = now() - $3::interval
               WHERE key = $1 AND (data->>'inventory_version')::int = $2""",
            str(house),
            version,
            age,
        )
    assert (await retention_step(own.ledger.system)).events == 2
    left = await own.ledger.system.pool.fetch(
        "SELECT (data->>'inventory_version')::int AS version FROM outbox WHERE key = $1 ORDER BY id", str(house)
    )
    assert [found["version"] for found in left] == [1, 3]


async def test_inbox_rows_go_after_30_days_and_keys_when_they_expire(own: OwnLedger) -> None:
    agency = uuid4()
    house = await own.ledger.new_property(agency)
    for number in range(2):
        key = IdempotencyKey(agency, "caller", f"k{number}", "f")
        await own.ledger.book(agency, house, number, number + 1, key=key)
    pool = own.ledger.system.pool
    await pool.execute("UPDATE idempotency_keys SET expires_at = now() WHERE key = 'k0'")
    await pool.execute(
        """INSERT INTO inbox SELECT 'c', gen_random_uuid(), now() - age
           FROM unnest(ARRAY[interval '29 days', interval '31 days']) AS age"""
    )
    assert await retention_step(own.ledger.system) == replace(NOTHING, inbox=1, idempotency_keys=1)
    assert await pool.fetchval("SELECT array_agg(key) FROM idempotency_keys WHERE agency_id = $1", agency) == ["k1"]
