"""Proves that the digests booking computes in SQL are those that `rules.calendar` computes of the same ranges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from booking.service import properties
from rules.calendar import StoredRange, digest
from tests.booking.conftest import make_property, night
from tests.booking.own_database import OwnLedger, own_ledger
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

HOUSES = 80
KINDS = ("reservation", "block", "hold", "conflict")
FIRST_DAYS = (date(1, 2, 1), date(1969, 12, 20), date(1998, 12, 1), date(2027, 1, 1), date(9998, 1, 1))
"""Where calendars of generated properties begin: long ago, around 1970 and the day digests count from, far ahead."""
INSERT = """
INSERT INTO inventory_ranges
    (id, agency_id, property_id, kind, source_id, stay, occupied, expires_at, created_at, state, released_at)
VALUES ($1, $2, $3, $4, $5, daterange($6, $7), daterange($8, $9), $10, now(), $11::text,
        CASE WHEN $11 = 'released' THEN now() END)"""


def generated(random: Random, first_day: date) -> StoredRange:
    """Any range that begins within some weeks of `first_day`; many overlap, and some begin alike."""
    kind = random.choice(KINDS)
    start = first_day + timedelta(days=random.randrange(20))
    end = start + timedelta(days=random.randint(1, 14))
    occupied_start, occupied_end = (
        start - timedelta(days=random.choice((0, 0, 1))),
        end + timedelta(random.randrange(4)),
    )
    has_end = kind == "hold" or random.random() < 0.2
    expires_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=random.randrange(-(10**6), 2 * 10**15))
    return StoredRange(
        UUID(int=random.getrandbits(128)),
        kind,
        UUID(int=random.getrandbits(128)),
        start,
        end,
        occupied_start,
        occupied_end,
        expires_at if has_end else None,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    async with own_ledger(provisioned) as made:
        # Ranges may overlap here, so that the order of equals is compared too.
        await made.as_admin("ALTER TABLE inventory_ranges DROP CONSTRAINT inventory_ranges_no_overlap")
        yield made


async def store(own: OwnLedger, house: UUID, ranges: list[StoredRange], state: str = "active") -> None:
    """Write ranges of a property straight into the table."""
    connection = await asyncpg.connect(own.ledger.admin_dsn)
    try:
        agency_id = await connection.fetchval("SELECT agency_id FROM properties WHERE id = $1", house)
        rows: list[tuple[Any, ...]] = [
            (
                stored.range_id,
                agency_id,
                house,
                stored.kind,
                stored.source_id,
                stored.stay_start,
                stored.stay_end,
                stored.occupied_start,
                stored.occupied_end,
                stored.expires_at,
                state,
            )
            for stored in ranges
        ]
        await connection.executemany(INSERT, rows)
    finally:
        await connection.close()


async def new_house(own: OwnLedger) -> UUID:
    """A property without ranges."""
    house = make_property(UUID(int=1))
    await properties.create(own.ledger.api, house, None)
    return house.id


async def told(own: OwnLedger, after: date, limit: int = 1000) -> dict[UUID, tuple[int, str]]:
    """(version, digest) of every property, from pages of `limit`."""
    found: dict[UUID, tuple[int, str]] = {}
    cursor: UUID | None = None
    while True:
        page = await properties.digests(own.ledger.system, after, cursor, limit)
        ids = [property_id for property_id, _, _ in page.items]
        assert ids == sorted(ids)
        assert found.keys().isdisjoint(ids)
        found |= {property_id: (version, text) for property_id, version, text in page.items}
        if len(ids) < limit:
            return found
        cursor = ids[-1]


async def test_sql_and_the_rules_give_the_same_digest_of_any_ranges(own: OwnLedger) -> None:
    random = Random(1999)
    calendars: dict[UUID, list[StoredRange]] = {}
    for number in range(HOUSES):
        house, first_day = await new_house(own), FIRST_DAYS[number % len(FIRST_DAYS)]
        calendars[house] = [generated(random, first_day) for _ in range(number // 2)]
        await store(own, house, calendars[house])
        await store(own, house, [generated(random, first_day) for _ in range(3)], "released")
    everything = [stored for ranges in calendars.values() for stored in ranges]
    for kind in KINDS:
        of_kind = [stored for stored in everything if stored.kind == kind]
        assert len(of_kind) > 200
        assert any(stored.expires_at is not None and stored.expires_at.microsecond % 1000 for stored in of_kind)
    # Every end of a calendar is a date to cut at, and so is one before and behind all of them.
    cuts = [date.min, date(9999, 12, 1), *(first + timedelta(days=days) for first in FIRST_DAYS for days in (8, 16))]
    for after in cuts:
        found = await told(own, after)
        for house, ranges in calendars.items():
            assert found[house] == (1, digest(ranges, after)), (after, ranges)


async def test_a_page_tells_every_property_once_and_an_empty_one_has_the_digest_of_nothing(own: OwnLedger) -> None:
    houses = [await new_house(own) for _ in range(7)]
    everything = await told(own, night(0))
    assert {everything[house] for house in houses} == {(1, digest([], night(0)))}
    for limit in (1, 3, len(everything)):
        assert await told(own, night(0), limit) == everything


async def test_what_a_page_tells_was_committed_before_its_as_of(own: OwnLedger) -> None:
    house = await new_house(own)
    await store(own, house, [replace(generated(Random(1), night(0)), kind="block")])
    committed_at = await own.ledger.system.pool.fetchval("SELECT clock_timestamp()")
    page = await properties.digests(own.ledger.system, night(-30), None, 1000)
    assert page.as_of > committed_at
    beyond = await properties.digests(own.ledger.system, night(0), UUID(int=2**128 - 1), 1000)
    assert (beyond.items, beyond.as_of > page.as_of) == ([], True)
